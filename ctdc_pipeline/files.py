"""Files written whole or not at all, private and encrypted where they hold case records, and their hashes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from ctdc_pipeline import encryption

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
    """Write ``table`` to ``path`` in one step. Raises OSError and ParameterError.

    The same table gives the same bytes, unless it is encrypted, as a ``private`` one is when there is a key.
    """
    with staged(path, private=private) as part:
        encrypted = encryption.table_encryption() if private else None
        pq.write_table(table, part, compression="zstd", encryption_properties=encrypted)


def open_parquet(path: Path) -> ds.Dataset:
    """The table at ``path``, of which is read what is asked for. Raises OSError, pyarrow.ArrowInvalid, and as keys do."""
    with encryption.opening(path.name, encrypted=encryption.begins(path).startswith(encryption.TABLE)):
        return ds.dataset(path, format=encryption.table_decryption())


def read_parquet(path: Path, *, columns: Sequence[str] | None = None) -> pa.Table:
    """The table at ``path``, or only its ``columns``. Raises as ``open_parquet``."""
    return open_parquet(path).to_table(columns=None if columns is None else list(columns))


def parquet_rows(path: Path) -> int:
    """How many rows the table at ``path`` has. Raises as ``open_parquet``."""
    return open_parquet(path).count_rows()


def parquet_schema(path: Path) -> pa.Schema:
    """The columns of the table at ``path``. Raises as ``open_parquet``."""
    return open_parquet(path).schema


def parquet_sha256(path: Path) -> str:
    """SHA-256 of the table at ``path`` as ``write_parquet`` writes it in clear: encrypted, its bytes differ every time."""
    if not encryption.begins(path).startswith(encryption.TABLE):
        return sha256(path)
    clear = pa.BufferOutputStream()
    pq.write_table(read_parquet(path), clear, compression="zstd")
    return hashlib.sha256(clear.getvalue()).hexdigest()


@contextmanager
def queries(**tables: Path) -> Generator[duckdb.DuckDBPyConnection]:
    """A DuckDB in memory that knows ``tables`` by name and never spills, for that would be in clear.

    They are Parquet, or CSV or TSV, in which every cell is text and an empty one null: types are not guessed from what is being
    checked. Raises as ``open_parquet``, and duckdb.Error.
    """
    separators = {".csv": ",", ".tsv": "\t"}
    with duckdb.connect(config={"temp_directory": ""}) as connection:
        for name, path in tables.items():
            if separator := separators.get(path.suffix):
                connection.read_csv(
                    str(path), header=True, all_varchar=True, sep=separator, quotechar='"', na_values="", strict_mode=True
                ).create_view(name)
            else:
                connection.register(name, open_parquet(path))
        yield connection


def write_bytes(content: bytes, path: Path) -> None:
    """Write a private file that is no table, such as a delivered one, in one step; encrypted when there is a key.

    Raises OSError and ParameterError.
    """
    with staged(path) as part:
        part.write_bytes(encryption.encrypt(content))


def read_bytes(path: Path) -> bytes:
    """What ``write_bytes`` wrote. Raises OSError, and as keys do."""
    return encryption.decrypt(path.read_bytes(), name=path.name)
