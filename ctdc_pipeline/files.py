"""Files written whole or not at all, private where they hold case records, and their hashes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

PRIVATE_FILE = 0o600
PUBLIC_FILE = 0o644


@contextmanager
def staged(path: Path, *, private: bool = True) -> Generator[Path]:
    """Yield a path beside ``path`` to write to; on success it is synced and renamed over ``path``, else removed.

    ``private`` files are readable by their owner only, from the first byte on. Raises OSError when the disk refuses.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700 if private else 0o755)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    os.close(os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, PRIVATE_FILE))
    try:
        yield part
        part.chmod(PRIVATE_FILE if private else PUBLIC_FILE)
        sync(part)
        part.rename(path)
        sync(path.parent)
    finally:
        part.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Flush a file or a folder entry to the disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_parquet(table: pa.Table, path: Path, *, private: bool = True) -> None:
    """Write ``table`` to ``path`` in one step; the same table gives the same bytes. Raises OSError."""
    with staged(path, private=private) as part:
        pq.write_table(table, part, compression="zstd")
