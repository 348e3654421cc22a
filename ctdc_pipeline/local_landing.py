"""A stand-in for ``landing`` until that is there: deliveries in a local folder."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Landed:
    """One delivery that landed."""

    source: str
    refresh: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class Landing:
    """Deliveries below ``root``/<source>/<refresh>/."""

    root: Path

    def landed(self) -> list[Landed]:
        """What is there."""
        folders = sorted(folder for folder in self.root.glob("[!.]*/[!.]*") if folder.is_dir())
        return [Landed(one.parent.name, one.name, tuple(sorted(path.name for path in one.iterdir()))) for one in folders]

    def fetch(self, source: str, refresh: str, folder: Path) -> None:
        """Copy one delivery into ``folder``. Raises OSError."""
        for path in (self.root / source / refresh).iterdir():
            shutil.copy(path, folder)
