"""Locate data: the sensitive zone and the public zone in one home folder. Only this module builds these paths."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PRIVATE_FOLDER = 0o700
LOCK = ".lock"
UNFINISHED = ".*.part"
"""Pattern of the names that `files.staged` gives to files until they are complete."""
STAGES = ("ingestion", "harmonised", "counts", "synthetic", "quality")
MEASURED = "measured"
"""The stage whose tables are not sensitive: noisy counts, and tables made only from them."""


@contextmanager
def locked(path: Path, *, message: str = "") -> Generator[None]:
    """Hold an exclusive lock on `path`; if another process holds it, log `message` and wait.

    The operating system releases the lock when the process ends, however it ends.

    Raises:
        OSError: the lock file cannot be opened.

    """
    lock = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if message:
                logging.getLogger(__name__).warning(message)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


@dataclass(frozen=True)
class Zones:
    """The folders in the home `root`.

    `sensitive` contains case records (folders 0700, files 0600); `releases` is public.
    """

    root: Path

    @classmethod
    def from_environment(cls) -> Zones:
        """Return the zones in ``CTDC_HOME``, or in ``./var`` when it is not set."""
        return cls(Path(os.environ.get("CTDC_HOME") or "var").resolve())

    @property
    def sensitive(self) -> Path:
        return self.root / "sensitive"

    @property
    def landing(self) -> Path:
        return self.sensitive / "landing"

    @property
    def deliveries(self) -> Path:
        """The delivery store; files in it never change."""
        return self.sensitive / "deliveries"

    @property
    def tmp(self) -> Path:
        """Scratch space, as sensitive as the data."""
        return self.sensitive / "tmp"

    @property
    def outbox(self) -> Path:
        """Files to send to partners, in clear."""
        return self.sensitive / "outbox"

    @property
    def candidates(self) -> Path:
        """Releases that wait for approval: proved, and in clear as they would be published."""
        return self.sensitive / "candidates"

    @property
    def ledger(self) -> Path:
        """The privacy budget that has been spent, one file for each entry. If it is lost, nothing more can be measured."""
        return self.sensitive / "ledger"

    @property
    def ledger_lock(self) -> Path:
        return self.sensitive / ".ledger.lock"

    @property
    def measured(self) -> Path:
        """The folder of the stage `MEASURED`. Each draw of noise was charged as if it had been published."""
        return self.root / MEASURED

    @property
    def withdrawn(self) -> Path:
        """The content of withdrawn releases. Others may have copies, so later releases are still compared with it."""
        return self.sensitive / "withdrawn"

    @property
    def releases(self) -> Path:
        return self.root / "releases"

    @property
    def partners(self) -> Path:
        """Partner layouts that only this installation has."""
        return self.root / "partners"

    def ingested(self, source: str) -> Path:
        """Return the folder of a source's tables; it contains one folder for each refresh."""
        return self.sensitive / "ingestion" / source

    def table(self, stage: str, name: str) -> Path:
        """Return the Parquet file of one table: in the sensitive zone, unless its stage is `MEASURED`."""
        return (self.measured if stage == MEASURED else self.sensitive / stage) / f"{name}.parquet"

    def folder(self, stage: str, name: str) -> Path:
        """Return the folder of a sensitive table that consists of several files."""
        return self.sensitive / stage / name

    @contextmanager
    def alone(self) -> Generator[None]:
        """Hold the sensitive zone for writing; wait for other processes and remove what killed ones left.

        Call `prepare` first. A process that holds the zone must not request it again.

        Raises:
            OSError: the disk refuses.

        """
        with locked(self.sensitive / LOCK, message="Another process is writing to the sensitive zone; waiting for it to finish."):
            files = (*self.private_files(), *self.candidates.rglob("*"), *self.measured.iterdir())
            for leftover in (*self.tmp.iterdir(), *(file for file in files if file.match(UNFINISHED))):
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
            yield

    def private_files(self) -> list[Path]:
        """Return every file that only this software uses, sorted.

        Excludes the files that others land or receive, scratch files and locks.
        """
        excluded = {self.landing, self.outbox, self.candidates, self.withdrawn, self.tmp, self.sensitive / LOCK, self.ledger_lock}
        entries = sorted(path for path in self.sensitive.iterdir() if path not in excluded)
        return [file for place in entries for file in sorted([place, *place.rglob("*")]) if file.is_file()]

    def prepare(self) -> Zones:
        """Create the folders, and restrict the sensitive ones to the owner even if they already exist.

        Raises:
            OSError: the disk refuses.

        """
        for folder in (self.sensitive, self.landing, self.deliveries, self.tmp, *(self.sensitive / stage for stage in STAGES)):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(PRIVATE_FOLDER)
        self.releases.mkdir(parents=True, exist_ok=True)
        self.measured.mkdir(parents=True, exist_ok=True)
        return self
