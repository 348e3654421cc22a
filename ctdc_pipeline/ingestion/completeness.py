"""Decide when a landed delivery is complete: if its files did not change for a while."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ctdc_pipeline.errors import ParameterError
from ctdc_pipeline.ingestion.landed import Landed


@dataclass(frozen=True)
class FolderState:
    """What was observed of one folder.

    ``quiet`` is the number of seconds for which ``fingerprint`` has not changed.
    """

    fingerprint: str
    quiet: float
    complete: bool


@dataclass(frozen=True)
class Observations:
    """What earlier looks at the landing root saw; a sensor keeps this as its cursor.

    Only our own clock is used, and only for the time between two looks. One interval counts for at most half the quiet time and
    never backwards, so a clock that jumps cannot make a folder complete: that takes three looks with the same result.
    """

    seen_at: float | None = None
    folders: Mapping[str, FolderState] = field(default_factory=dict[str, FolderState])

    @classmethod
    def parse(cls, cursor: str | None) -> Observations:
        """Read the text that ``dump`` wrote.

        An unreadable cursor starts again, which only costs more waiting.
        """
        try:
            content = json.loads(cursor or "{}")
            folders = {
                str(key): FolderState(str(fingerprint), float(quiet), bool(complete))
                for key, (fingerprint, quiet, complete) in content["folders"].items()
            }
            return cls(float(content["at"]), folders)
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls()

    def dump(self) -> str:
        """Return these observations as text."""
        folders = {key: (state.fingerprint, state.quiet, state.complete) for key, state in sorted(self.folders.items())}
        return json.dumps({"at": self.seen_at, "folders": folders})

    def look(
        self, landed: Sequence[Landed], *, now: float, quiet_minutes: float, matches: Callable[[Landed], bool]
    ) -> Observations:
        """Return the observations after one more look.

        A folder is complete if it matches its checksums, which is checked once for each state of the folder, or if it did not
        change for the quiet time. A quiet folder with wrong checksums is complete as well: fetching it reports what is wrong.

        Args:
            landed: Every folder that was listed now.
            now: The time of this look, in seconds of our clock.
            quiet_minutes: How long a folder without checksums must stay unchanged.
            matches: Tells whether a folder matches its checksums; its errors are raised.

        Raises:
            ParameterError: If ``quiet_minutes`` is not more than 0.
        """
        if not quiet_minutes > 0:
            raise ParameterError("the quiet time is not more than 0 minutes", remedy="Give the minutes an upload may pause.")
        quiet_seconds = quiet_minutes * 60
        elapsed = 0.0 if self.seen_at is None else min(max(now - self.seen_at, 0.0), quiet_seconds / 2)
        states: dict[str, FolderState] = {}
        for folder in landed:
            before, fingerprint = self.folders.get(folder.key), folder.fingerprint
            if before is None or before.fingerprint != fingerprint:
                states[folder.key] = FolderState(fingerprint, 0.0, matches(folder))
            else:
                quiet = min(before.quiet + elapsed, quiet_seconds)
                states[folder.key] = FolderState(
                    fingerprint, quiet, before.complete or (bool(folder.files) and quiet >= quiet_seconds)
                )
        return Observations(now, states)

    def complete(self, landed: Landed) -> bool:
        """Return whether ``landed`` is complete, if it is still in the state that was seen last."""
        seen = self.folders.get(landed.key)
        return seen is not None and seen.complete and seen.fingerprint == landed.fingerprint
