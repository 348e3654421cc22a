"""Where data lives: the sensitive zone and the public zone below one home folder. No other module builds these paths."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PRIVATE_FOLDER = 0o700
STAGES = ("ingestion", "harmonised", "counts", "synthetic", "quality")


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
    def tmp(self) -> Path:
        """Spill and scratch space: as sensitive as the data."""
        return self.sensitive / "tmp"

    @property
    def releases(self) -> Path:
        return self.root / "releases"

    def table(self, stage: str, name: str) -> Path:
        """The Parquet file of one sensitive table."""
        return self.sensitive / stage / f"{name}.parquet"

    def folder(self, stage: str, name: str) -> Path:
        """The folder of one sensitive table that is several files."""
        return self.sensitive / stage / name

    def prepare(self) -> Zones:
        """Make the folders; tighten the sensitive ones to the owner, also where they existed. Raises OSError."""
        for folder in (self.sensitive, self.landing, self.tmp, *(self.sensitive / stage for stage in STAGES)):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(PRIVATE_FOLDER)
        self.releases.mkdir(parents=True, exist_ok=True)
        return self
