"""Write files whole or not at all, keep them private and encrypted where needed, and hash them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from ctdc_pipeline.storage import encryption

if TYPE_CHECKING:
    import pyarrow.dataset as ds

PRIVATE_FILE = 0o600
PUBLIC_FILE = 0o644
MAX_BYTES = 1 << 30
"""Largest delivered file or workbook, and largest content of a compressed one, in bytes."""
SPILL = ".spill-"
"""Prefix of the folders that a command spills to, next to its output."""
_OURS = re.compile(rf"\..+\.\d+\.part|{re.escape(SPILL)}.+")
_unfinished: set[Path] = set()
"""Files and folders that this process is writing and removes if it fails."""


@contextmanager
def staged(path: Path, *, private: bool = True) -> Generator[Path]:
    """Write a file whole or not at all: yield a temporary path, then rename it over `path`.

    The temporary file is in the same folder. On success it is synced to the disk and renamed; on failure it is removed.

    Args:
        path: the file to write.
        private: only the owner can read the file, from the first byte on.

    Yields:
        The temporary path to write to.

    Raises:
        OSError: the disk refuses.

    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700 if private else 0o755)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    _unfinished.add(part)
    handle = os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, PRIVATE_FILE)
    try:
        with in_use(handle):
            yield part
            part.chmod(PRIVATE_FILE if private else PUBLIC_FILE)
            sync(part)
            part.rename(path)
            sync(path.parent)
    finally:
        part.unlink(missing_ok=True)
        _unfinished.discard(part)


@contextmanager
def temporary_folder(parent: Path, *, prefix: str) -> Generator[Path]:
    """Yield a new private folder in `parent`; remove it with its content at the end of the block.

    Raises:
        OSError: the disk refuses.

    """
    with TemporaryDirectory(dir=parent, prefix=prefix) as name:
        folder = Path(name)
        _unfinished.add(folder)
        try:
            yield folder
        finally:
            _unfinished.discard(folder)


def remove_unfinished() -> None:
    """Remove the files and folders that this process is writing, when it ends without cleaning up.

    Raises:
        OSError: the disk refuses.

    """
    for path in [*_unfinished]:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


@contextmanager
def in_use(handle: int) -> Generator[None]:
    """Lock an open file or folder inside the block and close it afterwards.

    The lock protects it from `remove_abandoned`. It ends with the process, however the process ends.

    Args:
        handle: file descriptor of the open file or folder.

    """
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)


@contextmanager
def scratch(parent: Path) -> Generator[Path]:
    """Yield a private folder in `parent` to spill to; remove it at the end of the block.

    If the process is killed, `remove_abandoned` removes the folder later.

    Raises:
        OSError: the disk refuses.

    """
    with temporary_folder(parent, prefix=SPILL) as folder, in_use(os.open(folder, os.O_RDONLY)):
        yield folder


def remove_abandoned(folder: Path) -> int:
    """Remove the unfinished files and spill folders that killed processes left in `folder`.

    They can contain case records or exact counts in clear. Only files that belong to this user and that no process has locked are
    removed.

    Returns:
        The number of files and folders removed.

    Raises:
        OSError: the disk refuses.

    """
    removed = 0
    for path in folder.iterdir():
        if not _OURS.fullmatch(path.name) or path.is_symlink() or path.stat().st_uid != os.getuid():
            continue
        handle = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            removed += 1
        except BlockingIOError:  # somebody is writing to it
            continue
        finally:
            os.close(handle)
    return removed


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to the disk.

    Raises:
        OSError: the disk refuses.

    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_parquet(table: pa.Table, path: Path, *, private: bool = True) -> None:
    """Write a table to `path` in one step.

    The same table gives the same bytes, unless it is encrypted.

    Args:
        table: the table to write.
        path: the Parquet file.
        private: only the owner can read the file, and it is encrypted when a key is set.

    Raises:
        OSError: the disk refuses.
        ParameterError: the key setting is not valid.

    """
    with staged(path, private=private) as part:
        encrypted = encryption.table_encryption() if private else None
        pq.write_table(table, part, compression="zstd", encryption_properties=encrypted)


def open_parquet(path: Path) -> ds.Dataset:
    """Open the table at `path` lazily; only the columns you request are read.

    Raises:
        OSError: the file cannot be read.
        pyarrow.ArrowInvalid: the file is not Parquet.
        ParameterError: the key setting is not valid.
        ResourceError: the file is encrypted and no key decrypts it.

    """
    import pyarrow.dataset as ds  # loads pandas, which a command on a CSV file need not wait for

    with encryption.opening(path.name, encrypted=encryption.begins(path).startswith(encryption.TABLE)):
        return ds.dataset(path, format=encryption.table_decryption())


def read_parquet(path: Path, *, columns: Sequence[str] | None = None) -> pa.Table:
    """Read the table at `path`, or only its `columns`. Raises the errors of `open_parquet`."""
    return open_parquet(path).to_table(columns=None if columns is None else list(columns))


def parquet_rows(path: Path) -> int:
    """Return the number of rows of the table at `path`. Raises the errors of `open_parquet`."""
    return open_parquet(path).count_rows()


def parquet_schema(path: Path) -> pa.Schema:
    """Return the schema of the table at `path`. Raises the errors of `open_parquet`."""
    return open_parquet(path).schema


def parquet_sha256(path: Path) -> str:
    """Return the SHA-256 of the table at `path` as `write_parquet` would write it in clear.

    The bytes of an encrypted file differ each time it is written, so they cannot be compared.
    Raises the errors of `open_parquet`.
    """
    if not encryption.begins(path).startswith(encryption.TABLE):
        return sha256(path)
    clear = pa.BufferOutputStream()
    pq.write_table(read_parquet(path), clear, compression="zstd")
    return hashlib.sha256(clear.getvalue()).hexdigest()


@contextmanager
def queries(**tables: Path) -> Generator[duckdb.DuckDBPyConnection]:
    """Open an in-memory DuckDB with `tables` as views. It never spills, because spilled data would be in clear.

    In CSV and TSV files every cell is text and an empty cell is null; types are not guessed from the data being checked.

    Args:
        tables: a Parquet, CSV or TSV file for each view name.

    Raises:
        duckdb.Error: a file cannot be read. Also the errors of `open_parquet`.

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
    """Write a private file that is not a table, such as a delivered file; encrypt it when a key is set.

    Raises:
        OSError: the disk refuses.
        ParameterError: the key setting is not valid.

    """
    with staged(path) as part:
        part.write_bytes(encryption.encrypt(content))


def read_bytes(path: Path) -> bytes:
    """Read a file that `write_bytes` wrote.

    Raises:
        OSError: the file cannot be read.
        ParameterError: the key setting is not valid.
        ResourceError: the file is encrypted and no key decrypts it.

    """
    return encryption.decrypt(path.read_bytes(), name=path.name)
