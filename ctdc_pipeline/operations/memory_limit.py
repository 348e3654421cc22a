"""Limit the memory of work that DuckDB does not manage."""

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
    """Limit the data memory of this process inside the block.

    Memory that the process already uses counts.

    Args:
        limit: a size such as 500MB or 4GB; None sets no limit.

    Raises:
        ParameterError: the limit is not a size.
        ResourceError: the process needs more than the limit.

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
    """Return the bytes of a size such as ``500MB`` or ``4GiB``.

    Raises:
        ParameterError: the text is not a size.

    """
    number = text.strip().upper().rstrip("BIKMGT ")
    unit = text.strip().upper().removeprefix(number).strip()
    try:
        size_in_bytes = int(float(number) * UNITS[unit])
    except (ValueError, KeyError, OverflowError):
        size_in_bytes = 0
    if not 0 < size_in_bytes < 1 << 63:
        raise ParameterError("the memory limit is not understood", remedy="Write it such as 500MB or 4GB.") from None
    return size_in_bytes


def _held() -> int:
    """Return the bytes of data this process has mapped; 0 if the system does not report them."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmData:")), 0)
