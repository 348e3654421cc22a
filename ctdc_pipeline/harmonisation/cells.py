"""Read the cells of a column as texts, codes or days."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from ctdc_pipeline.partners.layout import Field, Layout
from ctdc_pipeline.spelling import normal_form

Texts = NDArray[np.object_]
Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]


def texts(raw: pa.Table, *, field: Field, layout: Layout) -> Texts:
    """Return the text of each row in ``normal_form``; "" where the cell is blank."""
    distinct, rows = distinct_cells(raw, field, layout)
    return distinct[rows]


def coded(raw: pa.Table, *, field: Field, layout: Layout) -> tuple[Texts, Mask]:
    """Return what the code in each row means, and which codes are unknown.

    The field has one code in each row.

    Args:
        raw: A table as ``ingest`` wrote it.
        field: The field; its codes are recognised in any case.
        layout: The layout of the table.

    Returns:
        The first meaning of each row's code, None if it has none; and a mask of rows whose code is not listed.
    """
    listed = {normal_form(code.code).casefold(): code.means[0] if code.means else None for code in field.codes}
    distinct, rows = distinct_cells(raw, field, layout)
    known = np.array([not text or text.casefold() in listed for text in distinct], bool)
    return np.array([listed.get(text.casefold()) for text in distinct], object)[rows], ~known[rows]


def parse_days(raw: pa.Table, *, field: Field, layout: Layout) -> tuple[NDArray[np.datetime64], Mask]:
    """Return the day in each row, and which rows have a text that is not a day.

    A year alone is read as its first day.

    Args:
        raw: A table as ``ingest`` wrote it.
        field: The field.
        layout: The layout of the table; it lists the accepted date formats.

    Returns:
        Days (datetime64[D]; NaT where blank or impossible), and a mask of impossible dates.
    """
    distinct, rows = distinct_cells(raw, field, layout)
    days = np.full(len(distinct), np.datetime64("NaT", "D"))
    for date_format in layout.date_formats:
        read = (
            pd.to_datetime(pd.Series(distinct, dtype="str"), format=date_format, errors="coerce")
            .to_numpy()
            .astype("datetime64[D]")
        )
        days = np.where(np.isnat(days), read, days)
    return days[rows], (np.isnat(days) & (distinct != ""))[rows]


def distinct_cells(raw: pa.Table, field: Field, layout: Layout) -> tuple[Texts, NDArray[np.intp]]:
    """Return the distinct texts of a column, and the index of each row's text.

    Texts are in ``normal_form``. Texts that the layout calls blank are "".
    """
    rows, cells = pd.factorize(raw.column(field.name).to_numpy())
    blanks = {normal_form(blank).casefold() for blank in layout.blanks}
    plain = [normal_form(text) for text in cells]
    return np.array(["" if text.casefold() in blanks else text for text in plain], object), rows
