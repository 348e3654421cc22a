"""Limit how much of the machine one piece of work may use."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from ctdc_pipeline.parameters import MAX_THREADS, require_whole


@dataclass(frozen=True)
class Limits:
    """How much of the machine a piece of work may use. No result depends on it.

    Attributes:
        threads: how many threads work; None for as many as there are processors.
        memory: such as ``500MB`` or ``4GB``; None for what the machine has.
        temp_folder: where counting spills what memory does not hold; None for the folder of its output, if it has one.
    """

    threads: int | None = None
    memory: str | None = None
    temp_folder: Path | None = None

    @property
    def workers(self) -> int:
        """The number of threads that work. Raises ParameterError."""
        return os.cpu_count() or 1 if self.threads is None else require_whole("threads", self.threads, maximum=MAX_THREADS)

    def spilling_to(self, folder: Path) -> Limits:
        """Return these limits, with `folder` as the temp folder if they have none."""
        return replace(self, temp_folder=self.temp_folder or folder)


UNLIMITED = Limits()
ONE_THREAD = Limits(threads=1)
