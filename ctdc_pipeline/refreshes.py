"""Refresh labels: the period a delivery is about, as ``2021``, ``2021-H1``, ``2021-Q3``, ``2021-06`` or ``2021-06-30``.

Labels order by the last day of their period, so that a year, a half-year and a month of one partner can follow each other; of
two that end on the same day the one that sorts later as text comes later.
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date

from ctdc_pipeline.errors import ParameterError

FORMS = "2021, 2021-H1, 2021-Q3, 2021-06 or 2021-06-30"
_LABEL = re.compile(r"(20\d\d)(?:-(?:H([12])|Q([1-4])|(\d\d)(?:-(\d\d))?))?", re.ASCII)


@dataclass(frozen=True, order=True)
class Refresh:
    """A refresh: the last day of its period, by which it orders, and its label."""

    last: date
    label: str

    @classmethod
    def parse(cls, label: str) -> Refresh:
        """The refresh that ``label`` names. Raises ParameterError, which quotes no label that it cannot read."""
        found = _LABEL.fullmatch(label)
        if found is None:
            raise ParameterError("the refresh label is not understood", remedy=f"Name the refresh such as {FORMS}.")
        year, half, quarter, month, day = (int(part) if part else 0 for part in found.groups())
        month = half * 6 or quarter * 3 or month or (0 if found[4] else 12)
        try:
            return cls(date(year, month, day if found[5] else monthrange(year, month)[1]), label)
        except ValueError:
            raise ParameterError(f"the refresh {label} names no day of the calendar", remedy=f"Write {FORMS}.") from None

    def __str__(self) -> str:
        return self.label
