"""Refresh labels name the period of a delivery, such as ``2021-H1``.

The forms are ``2021``, ``2021-H1``, ``2021-Q3``, ``2021-06`` and ``2021-06-30``. Labels are ordered by the last day of their
period, so a partner's years, half-years and months can follow each other. If two periods end on the same day, the label that
sorts later as text comes later.
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date

from ctdc_pipeline.errors import ParameterError

LABEL_EXAMPLES = "2021, 2021-H1, 2021-Q3, 2021-06 or 2021-06-30"
_LABEL = re.compile(r"(20\d\d)(?:-(?:H([12])|Q([1-4])|(\d\d)(?:-(\d\d))?))?", re.ASCII)


@dataclass(frozen=True, order=True)
class Refresh:
    """A refresh: the last day of its period, which orders refreshes, and its label."""

    last: date
    label: str

    @classmethod
    def parse(cls, label: str) -> Refresh:
        """Return the refresh with this label.

        Raises:
            ParameterError: If it is not a refresh label; the message does not quote it.

        >>> Refresh.parse("2021-H1") < Refresh.parse("2021")
        True
        """
        match = _LABEL.fullmatch(label)
        if match is None:
            raise ParameterError("the refresh label is not understood", remedy=f"Name the refresh like {LABEL_EXAMPLES}.")
        year, half, quarter, month, day = (int(part) if part else 0 for part in match.groups())
        month = half * 6 or quarter * 3 or month or (0 if match[4] else 12)
        try:
            return cls(date(year, month, day if match[5] else monthrange(year, month)[1]), label)
        except ValueError:
            raise ParameterError(
                f"the refresh {label} contains a day that does not exist", remedy=f"Write {LABEL_EXAMPLES}."
            ) from None

    def __str__(self) -> str:
        return self.label
