"""Back up and restore the data, and encrypt the sensitive zone again with another key.

A backup contains everything that cannot be made again: deliveries, the decisions about them, secrets and releases. Tables are
made again from deliveries; a partner can send again what has only landed.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from ctdc_pipeline.errors import BackupError, ParameterError
from ctdc_pipeline.storage import encryption
from ctdc_pipeline.storage.files import (
    read_bytes,
    read_parquet,
    sha256,
    staged,
    sync,
    temporary_folder,
    write_bytes,
    write_parquet,
)
from ctdc_pipeline.storage.tables import unwritable
from ctdc_pipeline.storage.zones import PRIVATE_FOLDER, Zones

SUMS = "SHA256SUMS"
KEPT = (
    "sensitive/deliveries",
    "sensitive/secrets",
    "sensitive/ledger",
    "sensitive/withdrawn",
    "measured",
    "releases",
    "partners",
)
HISTORY = "dagster"
"""Dagster's embedded storage: runs, events and logs."""


def reseal(zones: Zones) -> int:
    """Rewrite every file of the sensitive zone with the first key, including files in clear.

    Each file is replaced in one step. After an interruption, run it again.

    Returns:
        The number of files.

    Raises:
        ParameterError: no key is set, or it is not valid.
        ResourceError: the disk refuses, or a file cannot be decrypted.

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
    """Count the files of the sensitive zone that are in clear."""
    begins = (encryption.begins(path) for path in zones.private_files())
    return sum(not begin.startswith((encryption.TABLE, encryption.TOKEN)) for begin in begins)


def backup(zones: Zones, path: Path, *, history: bool = False) -> int:
    """Write everything that must not be lost to a tar file with hashes, and read the file back.

    Files are copied as they are, encrypted or not.

    Args:
        zones: the zones to back up.
        path: the tar file; it must not exist.
        history: also include Dagster's embedded storage, which no process may be using.

    Returns:
        The number of files in the backup.

    Raises:
        BackupError: the file exists, there is nothing to back up, or reading back failed.
        ResourceError: the disk refuses.

    """
    if path.exists():
        raise BackupError(f"{path.name} exists already", remedy="Name another file; a backup is never overwritten.")
    with unwritable(path), zones.alone(), staged(path) as part:
        included = [zones.root / path_in_home for path_in_home in (*KEPT, *([HISTORY] if history else []))]
        files = sorted(file for path_in_home in included for file in path_in_home.rglob("*") if file.is_file())
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
    """Restore a backup into an empty home, whole or not at all.

    Returns:
        The number of files restored.

    Raises:
        BackupError: the home is not empty, or the backup is missing or damaged.
        ResourceError: the disk refuses.

    """
    if not path.is_file():
        raise BackupError(f"{path.name}: no such file", remedy="Check the path.")
    with unwritable(zones.root):
        zones.root.mkdir(parents=True, exist_ok=True)
        if any(zones.root.iterdir()):
            raise BackupError("the home is not empty", remedy="Move it away or name another CTDC_HOME; nothing was restored.")
        with _verified(path) as archive, temporary_folder(zones.root, prefix=".restore-") as folder:
            staging = Zones(folder).prepare()
            archive.extractall(staging.root, filter="data")
            (staging.root / SUMS).unlink()
            for entry in staging.sensitive.rglob("*"):
                if entry.is_dir():
                    entry.chmod(PRIVATE_FOLDER)
                else:
                    sync(entry)
            # The sensitive zone comes last: without it there is no home yet, and it can be emptied and restored again.
            for entry in sorted(staging.root.iterdir()):
                entry.rename(zones.root / entry.name)
            sync(zones.root)
            return len(archive.getmembers()) - 1


@contextmanager
def _verified(path: Path) -> Generator[tarfile.TarFile]:
    """Open the backup and check that it contains exactly the files it lists, unchanged. Raises BackupError."""
    try:
        with tarfile.open(path, "r:") as archive:
            digests: dict[str, str] = {}
            listed: dict[str, str] = {}
            for member in archive:
                content = archive.extractfile(member)
                if content is None:
                    raise tarfile.TarError
                if member.name == SUMS:
                    lines = content.read().decode().splitlines()
                    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
                else:
                    digests[member.name] = hashlib.file_digest(cast("io.BufferedReader", content), "sha256").hexdigest()
            if not listed or digests != listed:
                raise tarfile.TarError
            yield archive
    except (tarfile.TarError, UnicodeDecodeError, EOFError):
        raise BackupError(
            f"{path.name} is not a backup, or it is damaged", remedy="Use another one; nothing was changed."
        ) from None
