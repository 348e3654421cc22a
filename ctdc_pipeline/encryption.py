"""Encryption of the sensitive zone at rest, under the keys of ``CTDC_SENSITIVE_KEY``. Which files it applies to: ``files``.

Nothing here is a scheme of ours. Tables are encrypted by Parquet itself (AES-GCM, a data key a file, which is kept in the file,
wrapped), other files by Fernet, and Fernet wraps the data keys too. Several keys may be given: the first encrypts, all decrypt.
"""

from __future__ import annotations

import os
from base64 import urlsafe_b64encode
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet.encryption as pe
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from ctdc_pipeline.errors import ParameterError, ResourceError

KEY = "CTDC_SENSITIVE_KEY"
KEY_BYTES = 32
TABLE, PLAIN_TABLE, TOKEN = b"PARE", b"PAR1", b"gAAAAA"
"""How an encrypted table, a table in clear and any other encrypted file begin."""


def keys() -> tuple[Fernet, ...]:
    """The keys, the one to encrypt with first; none if the zone is not encrypted. Raises ParameterError."""
    given = [text.strip() for text in os.environ.get(KEY, "").split(",") if text.strip()]
    try:
        raw = [bytes.fromhex(text) for text in given]
    except ValueError:
        raw = [b""]
    if any(len(key) != KEY_BYTES for key in raw):
        raise ParameterError(
            f"{KEY} is not a key",
            remedy=f"Set it to {2 * KEY_BYTES} hexadecimal digits, or to several such keys with commas between them.",
        )
    return tuple(Fernet(urlsafe_b64encode(key)) for key in raw)


def enabled() -> bool:
    """Whether what is written into the sensitive zone is encrypted. Raises ParameterError."""
    return bool(keys())


def notice() -> str:
    """One line for people on whether the zone is encrypted. Raises ParameterError."""
    return "encrypted at rest" if enabled() else f"NOT encrypted at rest: {KEY} is not set"


def encrypt(content: bytes) -> bytes:
    """``content`` under the first key, or as it is when there is none. Raises ParameterError."""
    return keys()[0].encrypt(content) if enabled() else content


def decrypt(content: bytes, *, name: str) -> bytes:
    """What ``encrypt`` was given; content in clear as it is. ``name`` is the file's, for errors. Raises as ``opening``."""
    if not content.startswith(TOKEN):
        return content
    with opening(name, encrypted=True):
        return MultiFernet(keys()).decrypt(content)


def table_encryption() -> Any:
    """What a Parquet writer takes as ``encryption_properties``: None without a key. Raises ParameterError."""
    config = pe.EncryptionConfiguration(footer_key=KEY, uniform_encryption=True)
    return _factory().file_encryption_properties(pe.KmsConnectionConfig(), config) if enabled() else None


def table_decryption() -> ds.ParquetFileFormat:
    """How a dataset reads Parquet: what is encrypted with the keys, what is in clear as it is. Raises ParameterError."""
    if not enabled():
        return ds.ParquetFileFormat()
    config = ds.ParquetDecryptionConfig(_factory(), pe.KmsConnectionConfig(), pe.DecryptionConfiguration())
    return ds.ParquetFileFormat(default_fragment_scan_options=ds.ParquetFragmentScanOptions(decryption_config=config))


@contextmanager
def opening(name: str, *, encrypted: bool) -> Generator[None]:
    """Say what to do where no key, or none of the keys, opens the file ``name``. Raises ParameterError and ResourceError."""
    if encrypted and not enabled():
        raise ResourceError(
            f"{name} is encrypted and {KEY} is not set", remedy="Set it to the key that the file was written with."
        )
    try:
        yield
    except (InvalidToken, pa.ArrowException):
        if not encrypted:
            raise
        raise ResourceError(
            f"{name} cannot be decrypted with any key of {KEY}",
            remedy="Add the key that it was written with, after the others and a comma; if it is there, the file is damaged.",
        ) from None


def begins(path: Path) -> bytes:
    """The first bytes of a file, which tell whether and how it is encrypted. Raises OSError."""
    with path.open("rb") as file:
        return file.read(len(TOKEN))


def _factory() -> pe.CryptoFactory:
    return pe.CryptoFactory(lambda _: _Ring())


class _Ring(pe.KmsClient):  # pyright: ignore[reportUntypedBaseClass]
    """What Parquet asks to wrap and unwrap a file's data key."""

    def wrap_key(self, key_bytes: bytes, _: str) -> bytes:
        return keys()[0].encrypt(key_bytes)

    def unwrap_key(self, wrapped_key: bytes, _: str) -> bytes:
        return MultiFernet(keys()).decrypt(wrapped_key)
