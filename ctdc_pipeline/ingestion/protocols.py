"""Connect to the landing area, and say which of its failures may be temporary.

The area is a folder, or is on S3 or SFTP.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from urllib.parse import SplitResult, unquote

from fsspec.implementations.local import LocalFileSystem

from ctdc_pipeline.errors import ParameterError

LANDING_URL = "CTDC_LANDING"
S3_ENDPOINT = "CTDC_LANDING_S3_ENDPOINT"
CONNECT_SECONDS, READ_SECONDS = 10, 60


def is_library_error(error: Exception) -> bool:
    """Return whether a library for S3 or SFTP raised the error."""
    return type(error).__module__.partition(".")[0] in ("aiobotocore", "aiohttp", "botocore", "paramiko", "s3fs")


def may_be_temporary(error: BaseException) -> bool:
    """Return whether another attempt may succeed."""
    if isinstance(error, FileNotFoundError | NotADirectoryError | PermissionError) or type(error).__name__ in SETTINGS_ERRORS:
        return False
    if isinstance(error, OSError | EOFError):
        return getattr(error, "errno", None) not in _PERMANENT_ERRNOS
    return isinstance(error, Exception) and is_library_error(error)


@contextmanager
def _local(_: SplitResult) -> Generator[Any]:
    yield LocalFileSystem()


@contextmanager
def _s3(_: SplitResult) -> Generator[Any]:
    """Connect to S3 with the standard settings of AWS. Listings are not cached.

    Retries happen in ``landing``, not in s3fs.
    """
    try:
        from s3fs import S3FileSystem
    except ImportError:
        raise _missing("s3") from None
    config = {"connect_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS, "retries": {"total_max_attempts": 1}}
    system = S3FileSystem(
        endpoint_url=os.environ.get(S3_ENDPOINT) or None,
        config_kwargs=config,
        use_listings_cache=False,
        skip_instance_cache=True,
    )
    system.retries = 1
    yield system


@contextmanager
def _sftp(parts: SplitResult) -> Generator[Any]:
    try:
        from ctdc_pipeline.ingestion import sftp
    except ImportError:
        raise _missing("sftp") from None
    with sftp.connected(
        parts.hostname or "",
        port=parts.port or 22,
        user=unquote(parts.username) if parts.username else None,
        connect_seconds=CONNECT_SECONDS,
        read_seconds=READ_SECONDS,
    ) as system:
        yield system


def _missing(extra: str) -> ParameterError:
    return ParameterError(
        f"{LANDING_URL} is on {extra.upper()}, for which a library is missing", remedy=f"pip install 'ctdc-pipeline[{extra}]'"
    )


PROTOCOLS = {"file": _local, "s3": _s3, "sftp": _sftp}
_PERMANENT_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EINVAL, errno.ENAMETOOLONG})
SETTINGS_ERRORS = frozenset(
    {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound", "ParamValidationError"}
)
"""Names of the errors that S3 raises for wrong settings of ours. They are names because botocore is not always installed."""
