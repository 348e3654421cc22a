"""Where data lives: the sensitive zone and the public zone below one home folder. No other module builds these paths."""

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
"""What ``files.staged`` names a file until it is whole."""
STAGES = ("ingestion", "harmonised", "counts", "synthetic", "quality")


@contextmanager
def locked(path: Path, *, told: str = "") -> Generator[None]:
    """Go on while no other holder of ``path`` does, and log ``told`` if that means to wait. Raises OSError.

    The lock is the kernel's and ends with the process, however that ends.
    """
    lock = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if told:
                logging.getLogger(__name__).warning(told)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


@dataclass(frozen=True)
class Zones:
    """Folders below ``root``. ``sensitive`` holds case records (folders 0700, files 0600); ``releases`` is public."""

    root: Path

    @classmethod
    def from_environment(cls) -> Zones:
        """Zones below ``CTDC_HOME``, or below ``./var`` when it is unset."""
        return cls(Path(os.environ.get("CTDC_HOME") or "var").resolve())

    @property
    def sensitive(self) -> Path:
        return self.root / "sensitive"

    @property
    def landing(self) -> Path:
        return self.sensitive / "landing"

    @property
    def deliveries(self) -> Path:
        """The store of deliveries, which nothing changes."""
        return self.sensitive / "deliveries"

    @property
    def tmp(self) -> Path:
        """Spill and scratch space: as sensitive as the data."""
        return self.sensitive / "tmp"

    @property
    def outbox(self) -> Path:
        """What goes to partners, in clear."""
        return self.sensitive / "outbox"

    @property
    def candidates(self) -> Path:
        """Releases that wait for approval: proved, and in clear as they would be published."""
        return self.sensitive / "candidates"

    @property
    def withdrawn(self) -> Path:
        """What withdrawn releases held. Others may have copies, so that later releases are still compared with it."""
        return self.sensitive / "withdrawn"

    @property
    def releases(self) -> Path:
        return self.root / "releases"

    def ingested(self, source: str) -> Path:
        """The folder of a source's tables, one folder a refresh."""
        return self.sensitive / "ingestion" / source

    def table(self, stage: str, name: str) -> Path:
        """The Parquet file of one sensitive table."""
        return self.sensitive / stage / f"{name}.parquet"

    def folder(self, stage: str, name: str) -> Path:
        """The folder of one sensitive table that is several files."""
        return self.sensitive / stage / name

    @contextmanager
    def alone(self) -> Generator[None]:
        """Write into the sensitive zone while no other process does: wait for it, and remove what a killed one left unfinished.

        A process that has the zone must not ask again. Needs ``prepare``. Raises OSError.
        """
        with locked(self.sensitive / LOCK, told="Another process is writing into the sensitive zone; waiting for its end."):
            files = (*self.private_files(), *self.candidates.rglob("*"))
            for left in (*self.tmp.iterdir(), *(file for file in files if file.match(UNFINISHED))):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            yield

    def private_files(self) -> list[Path]:
        """Every file that is private to this software, sorted; not what others land or get, no scratch, no lock."""
        others = {self.landing, self.outbox, self.candidates, self.withdrawn, self.tmp, self.sensitive / LOCK}
        places = sorted(path for path in self.sensitive.iterdir() if path not in others)
        return [file for place in places for file in sorted([place, *place.rglob("*")]) if file.is_file()]

    def prepare(self) -> Zones:
        """Make the folders; tighten the sensitive ones to the owner, also where they existed. Raises OSError."""
        for folder in (self.sensitive, self.landing, self.deliveries, self.tmp, *(self.sensitive / stage for stage in STAGES)):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(PRIVATE_FOLDER)
        self.releases.mkdir(parents=True, exist_ok=True)
        return self
