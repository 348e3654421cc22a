"""Identify cases: identities in a comparable form, and the pseudonyms made from them."""

from __future__ import annotations

import hmac
import json

import numpy as np
import pyarrow as pa

from ctdc_pipeline.harmonisation.cells import Texts, texts
from ctdc_pipeline.partners.layout import Layout


def identities(raw: pa.Table, *, layout: Layout) -> list[Texts]:
    """Return the parts of each row's case identity in ``normal_form``.

    Args:
        raw: A table as ``ingest`` wrote it.
        layout: Its layout; the fields with role ``case_id`` form the identity.

    Returns:
        One array (object, length rows) for each identity field; "" where a part is blank.
    """
    return [texts(raw, field=field, layout=layout) for field in layout.having("case_id")]


def written_identities(raw: pa.Table, *, layout: Layout) -> list[Texts]:
    """Return the same parts as they were written, without outer spaces.

    Look-alikes stay different here.
    """
    return [
        np.where(part == "", "", np.array([cell.strip() for cell in raw.column(field.name).to_pylist()], object))
        for field, part in zip(layout.having("case_id"), identities(raw, layout=layout), strict=True)
    ]


def pseudonyms(parts: list[Texts], *, source: str, key: bytes) -> Texts:
    """Return the pseudonym of each row: HMAC-SHA256 of its source and identity, in hexadecimal.

    The identity is written as a JSON list, so that no two identities run together.
    """
    rows = zip(*parts, strict=True)
    return np.array([hmac.digest(key, json.dumps([source, *row]).encode(), "sha256").hex() for row in rows], object)
