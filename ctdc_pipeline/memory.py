"""A bound on the memory of what no database bounds."""

from __future__ import annotations

import resource
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ctdc_pipeline.errors import ParameterError, ResourceError

UNITS = {
    "": 1,
    "B": 1,
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGT", start=1)},
    **{f"{letter}IB": 1024**power for power, letter in enumerate("KMGT", start=1)},
}
_REMEDY = "Raise the memory limit, or give fewer rows."


@contextmanager
def bounded(limit: str | None) -> Generator[None]:
    """Hold this process's data below ``limit``, such as 500MB or 4GB, inside the block; None bounds nothing.

    What the process holds already counts. Raises ParameterError for a limit that is not understood, ResourceError at the limit.
    """
    before = resource.getrlimit(resource.RLIMIT_DATA)
    if limit is not None:
        most = size(limit)
        if most < _held():
            raise ResourceError("the memory does not suffice to begin", remedy=_REMEDY)
        resource.setrlimit(resource.RLIMIT_DATA, (most, before[1]))
    try:
        yield
    except MemoryError:
        raise ResourceError("the memory does not suffice", remedy=_REMEDY) from None
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def size(text: str) -> int:
    """Bytes of a size such as ``500MB`` or ``4GiB``. Raises ParameterError."""
    number = text.strip().upper().rstrip("BIKMGT ")
    unit = text.strip().upper().removeprefix(number).strip()
    try:
        return int(float(number) * UNITS[unit])
    except (ValueError, KeyError, OverflowError):
        raise ParameterError("the memory limit is not understood", remedy="Write it such as 500MB or 4GB.") from None


def _held() -> int:
    """Bytes of data this process has mapped; 0 where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmData:")), 0)
