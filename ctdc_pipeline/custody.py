"""What keeps the data over the years: backups, restoring them, and sealing the sensitive zone anew under another key.

A backup holds what nothing else can be made from: the deliveries and what was decided about them, the secrets and the releases.
Tables are made from deliveries again; what only landed is the partner's to send again.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from ctdc_pipeline import encryption
from ctdc_pipeline.errors import BackupError, ParameterError
from ctdc_pipeline.files import read_bytes, read_parquet, sha256, staged, sync, write_bytes, write_parquet
from ctdc_pipeline.tables import unwritable
from ctdc_pipeline.zones import PRIVATE_FOLDER, Zones

SUMS = "SHA256SUMS"
KEPT = ("sensitive/deliveries", "sensitive/secrets", "sensitive/withdrawn", "releases")
HISTORY = "dagster"
"""Dagster's embedded storage: runs, events and logs."""


def reseal(zones: Zones) -> int:
    """Write every file of the sensitive zone anew under the first key, also those in clear; returns how many.

    Each file is replaced in one step, so that after an interruption it is simply run again. Raises ParameterError without a key,
    and ResourceError.
    """
    if not encryption.enabled():
        raise ParameterError(f"{encryption.KEY} is not set", remedy="Set it to the new key, a comma and the old one, if any.")
    with unwritable(zones.sensitive), zones.alone():
        files = zones.private_files()
        for path in files:
            if encryption.begins(path).startswith((encryption.TABLE, encryption.PLAIN_TABLE)):
                write_parquet(read_parquet(path), path)
            else:
                write_bytes(read_bytes(path), path)
    return len(files)


def unsealed(zones: Zones) -> int:
    """How many files of the sensitive zone are in clear."""
    begins = (encryption.begins(path) for path in zones.private_files())
    return sum(not begin.startswith((encryption.TABLE, encryption.TOKEN)) for begin in begins)


def backup(zones: Zones, path: Path, *, history: bool = False) -> int:
    """Write a tar file of all that must not be lost, with its hashes, and read it back; returns how many files it holds.

    Files are as they are in the zone, encrypted or not. ``history`` adds Dagster's embedded storage, which nothing may be using.
    Raises BackupError and ResourceError.
    """
    if path.exists():
        raise BackupError(f"{path.name} exists already", remedy="Name another file; a backup is never overwritten.")
    with unwritable(path), zones.alone(), staged(path) as part:
        kept = [zones.root / place for place in (*KEPT, *([HISTORY] if history else []))]
        files = sorted(file for place in kept for file in place.rglob("*") if file.is_file())
        if not files:
            raise BackupError("there is nothing to back up", remedy="Set CTDC_HOME to the home of the data.")
        names = [file.relative_to(zones.root).as_posix() for file in files]
        sums = "".join(f"{sha256(file)}  {name}\n" for file, name in zip(files, names, strict=True)).encode()
        with tarfile.open(part, "w") as archive:
            about = tarfile.TarInfo(SUMS)
            about.size = len(sums)
            archive.addfile(about, io.BytesIO(sums))
            for file, name in zip(files, names, strict=True):
                archive.add(file, name)
        with _verified(part):
            return len(files)


def restore(zones: Zones, path: Path) -> int:
    """Put a backup into a home that holds nothing, whole or not at all; returns how many files it held.

    Raises BackupError and ResourceError.
    """
    if not path.is_file():
        raise BackupError(f"{path.name}: no such file", remedy="Check the path.")
    with unwritable(zones.root):
        zones.root.mkdir(parents=True, exist_ok=True)
        if any(zones.root.iterdir()):
            raise BackupError("the home is not empty", remedy="Move it away or name another CTDC_HOME; nothing was restored.")
        with _verified(path) as archive, TemporaryDirectory(dir=zones.root, prefix=".restore-") as folder:
            staging = Zones(Path(folder)).prepare()
            archive.extractall(staging.root, filter="data")
            (staging.root / SUMS).unlink()
            for place in staging.sensitive.rglob("*"):
                if place.is_dir():
                    place.chmod(PRIVATE_FOLDER)
                else:
                    sync(place)
            # The sensitive zone comes last: without it there is no home yet, and it can be emptied and restored again.
            for place in sorted(staging.root.iterdir()):
                place.rename(zones.root / place.name)
            sync(zones.root)
            return len(archive.getmembers()) - 1


@contextmanager
def _verified(path: Path) -> Generator[tarfile.TarFile]:
    """The backup at ``path``, once all it lists, and nothing else, was found in it unchanged. Raises BackupError."""
    try:
        with tarfile.open(path, "r:") as archive:
            found: dict[str, str] = {}
            listed: dict[str, str] = {}
            for member in archive:
                content = archive.extractfile(member)
                if content is None:
                    raise tarfile.TarError
                if member.name == SUMS:
                    lines = content.read().decode().splitlines()
                    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
                else:
                    found[member.name] = hashlib.file_digest(cast("io.BufferedReader", content), "sha256").hexdigest()
            if not listed or found != listed:
                raise tarfile.TarError
            yield archive
    except (tarfile.TarError, UnicodeDecodeError, EOFError):
        raise BackupError(f"{path.name} is no backup, or it is damaged", remedy="Use another one; nothing was changed.") from None
