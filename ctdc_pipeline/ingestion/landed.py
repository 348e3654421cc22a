"""The contents of the landing area: files by source and refresh."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import date
from typing import NoReturn

from ctdc_pipeline.errors import DeliveryError, ParameterError
from ctdc_pipeline.ingestion.checksums import CHECKSUMS
from ctdc_pipeline.ingestion.delivery_store import TERMS
from ctdc_pipeline.ingestion.refreshes import Refresh
from ctdc_pipeline.storage.files import MAX_BYTES

HALF_WRITTEN = (".part", ".tmp", ".filepart", ".crdownload")
"""Endings that upload programs give to the name of a file until it is complete."""
MAX_NAME_BYTES = 200
MAX_TERMS = 1 << 20
"""The largest accepted file that only describes a delivery, in bytes."""


@dataclass(frozen=True, order=True)
class LandedEntry:
    """One name in a landed folder.

    ``token`` (a time or an ETag of the server) is only compared with an earlier token. ``problem`` says why the entry cannot be
    taken, for example because it is a folder or a link. ``hidden`` names begin with a dot and are ignored.
    """

    name: str
    size: int
    token: str
    problem: str = ""

    @property
    def hidden(self) -> bool:
        """Whether the entry is ignored."""
        return self.name.startswith(".") and not self.problem


@dataclass(frozen=True)
class Landed:
    """What is in one landed folder.

    ``entries`` are all names, ``files`` those that belong to the delivery. Files found directly in a source folder have an
    empty ``refresh``; files found directly in the root also have an empty ``source``.
    """

    source: str
    refresh: str
    entries: tuple[LandedEntry, ...]

    @property
    def files(self) -> tuple[LandedEntry, ...]:
        """The entries that belong to the delivery."""
        return tuple(entry for entry in self.entries if not entry.hidden)

    @property
    def key(self) -> str:
        """Identifies the folder."""
        return f"{self.source}/{self.refresh}"

    @property
    def fingerprint(self) -> str:
        """Changes with every name, size and token in the folder, also of hidden files."""
        state = [(entry.name, entry.size, entry.token, entry.problem) for entry in self.entries]
        return hashlib.sha256(json.dumps(state).encode()).hexdigest()[:16]

    def require_valid(self) -> None:
        """Raise DeliveryError if this folder is not a delivery that can be taken in."""
        try:
            Refresh.parse(self.refresh)
        except ParameterError as error:
            self.refuse(error.message, error.remedy)
        for entry in self.files:
            if entry.problem:
                name = entry.name if entry.name.isprintable() and len(entry.name) <= MAX_NAME_BYTES else None
                self.refuse(entry.problem, "Ask the partner for plain files with plain names, in this folder itself.", name)
            if entry.name.lower().endswith(HALF_WRITTEN):
                self.refuse("the upload of a file is not finished", "Finish it, or remove what is left of it.", entry.name)
            max_bytes = MAX_TERMS if entry.name in (CHECKSUMS, TERMS) else MAX_BYTES
            if entry.size > max_bytes:
                self.refuse(f"the file is larger than {max_bytes} bytes", "Ask the partner for smaller files.", entry.name)
        if not [entry for entry in self.files if entry.name != CHECKSUMS]:
            self.refuse("there are no files", "Land the delivery and run again.")

    def refuse(self, message: str, remedy: str, file: str | None = None) -> NoReturn:
        """Raise DeliveryError about this folder."""
        refresh = self.refresh if self.refresh.isprintable() else None
        raise DeliveryError(message, remedy=remedy, partner=self.source, refresh=refresh, file=file) from None


def sort_key(landed: Landed) -> tuple[str, bool, date, str]:
    """Return the key that sorts by source, then by period; labels without a period come last."""
    try:
        return landed.source, False, Refresh.parse(landed.refresh).last, landed.refresh
    except ParameterError:
        return landed.source, True, date.max, landed.refresh
