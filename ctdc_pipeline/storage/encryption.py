"""Encrypt the sensitive zone at rest with the keys of ``CTDC_SENSITIVE_KEY``.

`files` decides which files are encrypted. We use no scheme of our own: Parquet encrypts tables (AES-GCM; each file has its own
data key, which is stored wrapped in the file), Fernet encrypts other files and wraps the data keys. If several keys are set,
the first one encrypts and all of them decrypt.
"""

from __future__ import annotations

import os
from base64 import urlsafe_b64encode
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet.encryption as pe
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from ctdc_pipeline.errors import ParameterError, ResourceError

if TYPE_CHECKING:
    import pyarrow.dataset as ds

KEY = "CTDC_SENSITIVE_KEY"
KEY_BYTES = 32
TABLE, PLAIN_TABLE, TOKEN = b"PARE", b"PAR1", b"gAAAAA"
"""How an encrypted table, a table in clear and any other encrypted file begin."""


def keys() -> tuple[Fernet, ...]:
    """Return the configured keys. The first one encrypts; without any, the zone is not encrypted.

    Raises:
        ParameterError: a key is not 32 bytes in hexadecimal.

    """
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
    """Return whether new files in the sensitive zone are encrypted.

    Raises:
        ParameterError: the key setting is not valid.

    """
    return bool(keys())


def notice() -> str:
    """Return one line for people that says whether the zone is encrypted.

    Raises:
        ParameterError: the key setting is not valid.

    """
    return "encrypted at rest" if enabled() else f"NOT encrypted at rest: {KEY} is not set"


def encrypt(content: bytes) -> bytes:
    """Encrypt `content` with the first key; return it unchanged when no key is set.

    Raises:
        ParameterError: the key setting is not valid.

    """
    return keys()[0].encrypt(content) if enabled() else content


def decrypt(content: bytes, *, name: str) -> bytes:
    """Decrypt what `encrypt` returned; content in clear is returned unchanged.

    Args:
        content: the bytes of the file.
        name: the name of the file, for error messages.

    Raises:
        ParameterError: the key setting is not valid.
        ResourceError: no key decrypts the content.

    """
    if not content.startswith(TOKEN):
        return content
    with opening(name, encrypted=True):
        return MultiFernet(keys()).decrypt(content)


def table_encryption() -> Any:
    """Return the `encryption_properties` for a Parquet writer; None when no key is set.

    Raises:
        ParameterError: the key setting is not valid.

    """
    config = pe.EncryptionConfiguration(footer_key=KEY, uniform_encryption=True)
    return _factory().file_encryption_properties(pe.KmsConnectionConfig(), config) if enabled() else None


def table_decryption() -> ds.ParquetFileFormat:
    """Return the Parquet format for a dataset that reads both encrypted files and files in clear.

    Raises:
        ParameterError: the key setting is not valid.

    """
    import pyarrow.dataset as ds  # loads pandas, which a command on a CSV file need not wait for

    if not enabled():
        return ds.ParquetFileFormat()
    config = ds.ParquetDecryptionConfig(_factory(), pe.KmsConnectionConfig(), pe.DecryptionConfiguration())
    return ds.ParquetFileFormat(default_fragment_scan_options=ds.ParquetFragmentScanOptions(decryption_config=config))


@contextmanager
def opening(name: str, *, encrypted: bool) -> Generator[None]:
    """Turn a failed decryption of the file `name` into an error that says what to do.

    Raises:
        ParameterError: the key setting is not valid.
        ResourceError: no key is set, or none of the keys decrypts the file.

    """
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
    """Return the first bytes of a file, which show whether and how it is encrypted.

    Raises:
        OSError: the file cannot be read.

    """
    with path.open("rb") as file:
        return file.read(len(TOKEN))


def _factory() -> pe.CryptoFactory:
    return pe.CryptoFactory(lambda _: _Ring())


class _Ring(pe.KmsClient):  # pyright: ignore[reportUntypedBaseClass]
    """Wrap and unwrap the data key of a file when Parquet asks for it."""

    def wrap_key(self, key_bytes: bytes, _: str) -> bytes:
        return keys()[0].encrypt(key_bytes)

    def unwrap_key(self, wrapped_key: bytes, _: str) -> bytes:
        return MultiFernet(keys()).decrypt(wrapped_key)
