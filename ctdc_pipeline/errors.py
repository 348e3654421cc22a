"""Define the errors of this project.

Each names the place, the fault and the remedy, and none contains a case value. Messages are built only from names (partner,
file, column, rule), positions (row numbers) and counts. Where an underlying exception could quote a cell, raise the new one
with ``from None``.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from pathlib import Path

PACKAGES = frozenset({"ctdc_pipeline", "assets"})
"""Top-level folders of our own code, by which `type_and_place` recognises our frames in a traceback."""


class CtdcError(Exception):
    """Base class of every error that a user can act on.

    ``str()`` gives one line: what happened, then the remedy. ``failed`` names the proofs of a release that do not hold, if that
    is the reason.
    """

    def __init__(self, message: str, *, remedy: str, failed: Sequence[str] = ()) -> None:
        super().__init__(f"{message.rstrip('.')}. {remedy}")
        self.message = message
        self.remedy = remedy
        self.failed = tuple(failed)


class DeliveryError(CtdcError):
    """A partner's delivery cannot be read as its layout requires; nothing of it was taken in."""

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
        self.partner, self.refresh, self.file, self.row, self.column = partner, refresh, file, row, column
        self._fault = message
        super().__init__(self._located(f"file {file}" if file else None), remedy=remedy)

    def without_file(self) -> str:
        """Return the same line without the file's name.

        A name that a person chose can name a person.
        """
        message = self._located("a file whose name no layout expects" if self.file else None)
        return f"{message.rstrip('.')}. {self.remedy}"

    def _located(self, file: str | None) -> str:
        location = [self.partner]
        location += [f"refresh {self.refresh}"] if self.refresh else []
        location += [file] if file else []
        location += [f"row {self.row}"] if self.row is not None else []
        location += [f"column {self.column}"] if self.column else []
        return f"{', '.join(location)}: {self._fault}"


class UnreadableError(CtdcError):
    """A file does not follow its format.

    ``row`` counts from 1 below the headings. The caller adds the name of the file.
    """

    def __init__(self, message: str, *, remedy: str, row: int | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.row = row


class LayoutError(CtdcError):
    """A partner's layout breaks the rules for layouts.

    ``problems`` lists every problem with its place and its remedy.
    """

    def __init__(self, message: str, *, remedy: str, file: str, key: str, problems: tuple[str, ...]) -> None:
        super().__init__(message, remedy=remedy)
        self.file, self.key, self.problems = file, key, problems


class ContestedError(DeliveryError):
    """A refresh was delivered more than once with different content, and nobody has chosen yet."""


class TableError(CtdcError):
    """A table is missing, unreadable, or does not have the expected shape."""


class ParameterError(CtdcError):
    """A parameter is outside its range."""


class PrivacyError(CtdcError):
    """A privacy guarantee does not hold, so the result must not be published."""


class BudgetError(CtdcError):
    """The privacy budget is too small, or the amount already spent is not known for certain."""


class ReleaseError(CtdcError):
    """A release cannot be written, or it exists already."""


class BackupError(CtdcError):
    """A backup is damaged or incomplete, or restoring it would replace data."""


class ResourceError(CtdcError):
    """Memory or disk space is too small, or a server refuses the connection."""


def type_and_place(error: Exception) -> str:
    """Describe an unexpected error safely: its type and the line of our code, never its text.

    The text of such an error could quote a cell.

    Args:
        error: An exception with a traceback.

    Returns:
        For example ``"ValueError in harmonise.py, line 12"``.
    """
    frames = traceback.extract_tb(error.__traceback__)
    our_frames = [entry for entry in frames if not PACKAGES.isdisjoint(Path(entry.filename).parts)]
    frame = (our_frames or list(frames))[-1]
    return f"{type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}"
