"""Files written whole or not at all, private where they hold case records, and their hashes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator, Sequence
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


def read_parquet(path: Path, *, columns: Sequence[str] | None = None) -> pa.Table:
    """The table at ``path``, or only its ``columns``. Raises OSError and pyarrow.ArrowInvalid."""
    return pq.read_table(path, columns=columns)


def parquet_rows(path: Path) -> int:
    """How many rows the table at ``path`` has. Raises OSError and pyarrow.ArrowInvalid."""
    return pq.read_metadata(path).num_rows


def parquet_schema(path: Path) -> pa.Schema:
    """The columns of the table at ``path``. Raises OSError and pyarrow.ArrowInvalid."""
    return pq.read_schema(path)


def write_bytes(content: bytes, path: Path) -> None:
    """Write a private file that is no table, such as a delivered one, in one step. Raises OSError."""
    with staged(path) as part:
        part.write_bytes(content)


def read_bytes(path: Path) -> bytes:
    """What ``write_bytes`` wrote. Raises OSError."""
    return path.read_bytes()
