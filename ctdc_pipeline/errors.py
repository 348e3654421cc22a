"""The errors this project raises. Each says where, what and what to do; none carries a value of a case record.

Messages are built from names (partner, file, column, rule), positions (row numbers) and counts only. Where an underlying
exception could quote a cell, raise with ``from None``.
"""

from __future__ import annotations

import traceback
from pathlib import Path

PACKAGES = frozenset({"ctdc_pipeline", "assets"})


class CtdcError(Exception):
    """Base of every error a user can act on. ``str()`` is one line: what happened, then the remedy."""

    def __init__(self, message: str, *, remedy: str) -> None:
        super().__init__(f"{message.rstrip('.')}. {remedy}")
        self.message = message
        self.remedy = remedy


class DeliveryError(CtdcError):
    """A partner's delivery cannot be read as its layout says; nothing of it was taken in."""

    def __init__(
        self,
        message: str,
        *,
        remedy: str,
        partner: str,
        refresh: str | None = None,
        file: str | None = None,
        row: int | None = None,
        column: str | None = None,
    ) -> None:
        place = [partner]
        place += [f"refresh {refresh}"] if refresh else []
        place += [f"file {file}"] if file else []
        place += [f"row {row}"] if row is not None else []
        place += [f"column {column}"] if column else []
        super().__init__(f"{', '.join(place)}: {message}", remedy=remedy)
        self.partner, self.refresh, self.file, self.row, self.column = partner, refresh, file, row, column


class TableError(CtdcError):
    """A table is missing, unreadable or not of the shape that was asked for."""


class ParameterError(CtdcError):
    """A parameter is out of its range."""


class PrivacyError(CtdcError):
    """A privacy guarantee does not hold; whatever was about to be published must not be."""


class ReleaseError(CtdcError):
    """A release cannot be written, or exists already."""


class BackupError(CtdcError):
    """A backup is not what it should be, or restoring it would replace data."""


class ResourceError(CtdcError):
    """Memory, disk or a temp folder does not suffice."""


def type_and_place(error: Exception) -> str:
    """What may be told of an error that nobody foresaw, whose text could quote a cell: its type, and where in our code."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if not PACKAGES.isdisjoint(Path(frame.filename).parts)]
    place = (ours or list(frames))[-1]
    return f"{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}"
