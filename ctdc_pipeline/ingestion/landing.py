"""Read the landing area, where partners put their deliveries: a local folder, S3 or SFTP.

Deliveries are in ``<root>/<source>/<refresh>/``. ``Landing`` lists what is there, and copies a delivery: completely and
verified, or not at all. ``Observations`` decides from several looks, by our own clock, which folder is complete. Nothing in
this module writes to the landing area or interprets the files. ``delivery_store`` keeps what was fetched. docs/landing.md
explains the landing area to people.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import SplitResult, unquote, urlsplit

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from ctdc_pipeline.errors import CtdcError, DeliveryError, ParameterError, ResourceError
from ctdc_pipeline.ingestion.checksums import CHECKSUMS, match_checksums, read_checksums
from ctdc_pipeline.ingestion.landed import MAX_NAME_BYTES, Landed, LandedEntry, sort_key
from ctdc_pipeline.ingestion.protocols import LANDING_URL, PROTOCOLS, SETTINGS_ERRORS, is_library_error, may_be_temporary
from ctdc_pipeline.storage.files import staged, temporary_folder

CHUNK_BYTES = 1 << 20
MAX_WAIT_SECONDS = 30.0

Answer = TypeVar("Answer")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Landing:
    """The landing root at ``url``, and what it contains.

    The URL is a local path, ``file:///folder``, ``s3://bucket/prefix`` or ``sftp://user@host:port/path``. Failures that may be
    temporary are retried up to ``attempts`` times, after ``first_wait`` seconds and then twice as long each time. Credentials
    come only from the environment. Any other URL raises ParameterError.
    """

    url: str | Path
    attempts: int = 5
    first_wait: float = 1.0

    def __post_init__(self) -> None:
        parts = self._parts
        # A slash in a password ends the part where a password is expected, so an @ in the path also belongs to a password.
        is_split = parts.scheme != "file" and "@" in parts.path
        if parts.password is not None or is_split or (parts.scheme == "s3" and "@" in parts.netloc):
            raise ParameterError(
                f"{LANDING_URL} contains a credential", remedy="Remove it; docs/landing.md says where credentials go."
            )
        try:
            port_is_valid = parts.port is None or parts.scheme == "sftp"
        except ValueError:
            port_is_valid = False
        if (
            not port_is_valid
            or parts.scheme not in PROTOCOLS
            or (parts.scheme == "file") != (not parts.netloc)
            or parts.query
            or parts.fragment
        ):
            raise ParameterError(
                f"{LANDING_URL} is not a landing root",
                remedy="Give file:///folder, s3://bucket/prefix or sftp://user@host:port/path, without ? and #.",
            )

    @classmethod
    def from_environment(cls, default: Path) -> Landing:
        """Return the landing root of ``CTDC_LANDING``, or else the folder ``default``.

        Raises ParameterError.
        """
        return cls(os.environ.get(LANDING_URL) or default)

    def __str__(self) -> str:
        """The root for people, without the name of a user."""
        parts = self._parts
        return parts.path if parts.scheme == "file" else f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    __repr__ = __str__

    def landed(self) -> tuple[Landed, ...]:
        """Return every folder <source>/<refresh>, and the files that are in no such folder.

        They are ordered by source and period. Folders whose label is not a refresh come last. Names that begin with a dot are
        ignored.

        Raises:
            ResourceError: If the root cannot be listed.
        """
        return self._attempt(self._landed)

    def find(self, source: str, refresh: str) -> Landed | None:
        """Return the landed folder of one refresh, or None.

        A link to a folder is returned with a problem, as it cannot be taken.

        Raises:
            ResourceError: If the root cannot be listed.
        """
        return self._attempt(lambda system: self._find(system, source, refresh))

    def matches(self, landed: Landed) -> bool:
        """Return whether ``landed`` has checksums and matches them exactly. Reads all files.

        Raises:
            ResourceError: If the root cannot be read.
        """
        if CHECKSUMS not in {entry.name for entry in landed.files}:
            return False
        try:
            landed.require_valid()
            self._attempt(lambda system: self._match(system, landed), landed)
        except DeliveryError:
            return False
        return True

    def digests(self, landed: Landed) -> dict[str, str]:
        """Return the SHA-256 of each file of ``landed``, by name. Reads all files.

        Raises:
            DeliveryError: If ``landed`` is not a valid delivery, or disappears.
            ResourceError: If the root cannot be read.
        """
        landed.require_valid()
        return self._attempt(lambda system: self._digests(system, landed)[0], landed)

    def fetch(self, landed: Landed, folder: Path) -> tuple[Path, ...]:
        """Copy the files of ``landed`` into ``folder``: all of them or none.

        Args:
            landed: The landed folder, as it was listed.
            folder: The target; it is absent or empty.

        Returns:
            The paths of the copies.

        Raises:
            DeliveryError: If it is not a valid delivery, does not match its checksums, disappears, or changed since it was
                listed.
            ResourceError: If the root cannot be read, or the copy cannot be written.
        """
        landed.require_valid()
        with temporary_folder(folder.parent, prefix=f".{folder.name}.") as temporary:
            staging = temporary / folder.name
            staging.mkdir(mode=0o700)
            sums: dict[str, str] = {}
            self._attempt(lambda system: self._copy(system, landed, staging, sums), landed)
            if CHECKSUMS in sums:
                listed = read_checksums((staging / CHECKSUMS).read_bytes(), partner=landed.source, refresh=landed.refresh)
                match_checksums(listed, sums, partner=landed.source, refresh=landed.refresh)
            staging.rename(folder)
        return tuple(folder / entry.name for entry in landed.files)

    @property
    def _parts(self) -> SplitResult:
        return SplitResult("file", "", str(self.url.absolute()), "", "") if isinstance(self.url, Path) else urlsplit(self.url)

    @property
    def _base(self) -> str:
        parts = self._parts
        return ((parts.netloc if parts.scheme == "s3" else "") + unquote(parts.path)).rstrip("/")

    def _landed(self, system: Any) -> tuple[Landed, ...]:
        root = _listing(system, self._base or "/")
        folders = [_strays("", root)]
        for source in _folders(root):
            infos = _listing(system, f"{self._base}/{source}", may_vanish=True)
            folders += [_strays(source, infos), *(self._folder(system, source, refresh) for refresh in _folders(infos))]
        return tuple(sorted(filter(None, folders), key=sort_key))

    def _find(self, system: Any, source: str, refresh: str) -> Landed | None:
        for folder, name in ((self._base or "/", source), (f"{self._base}/{source}", refresh)):
            try:
                infos = _listing(system, folder)
            except (FileNotFoundError, NotADirectoryError):
                return None
            if name in infos and (infos[name].get("islink") or infos[name]["type"] == "link"):
                return Landed(source, refresh, (LandedEntry("", 0, "", "the folder is a link, which is not followed"),))
            if name not in _folders(infos):
                return None
        return self._folder(system, source, refresh)

    def _folder(self, system: Any, source: str, refresh: str) -> Landed | None:
        try:
            infos = _listing(system, f"{self._base}/{source}/{refresh}")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError:
            return Landed(source, refresh, (LandedEntry("", 0, "", "the folder may not be listed"),))
        except UnicodeDecodeError:
            return Landed(source, refresh, (LandedEntry("", 0, "", "a name is not UTF-8"),))
        return Landed(source, refresh, tuple(sorted(_entry(name, info) for name, info in infos.items())))

    def _unchanged(self, system: Any, landed: Landed) -> None:
        now = self._folder(system, landed.source, landed.refresh)
        if now is None:
            landed.refuse("the folder disappeared while it was copied", "Land it again.")
        if now != landed:
            landed.refuse("the folder changed while it was copied", "Wait until the upload is finished, and run again.")

    def _match(self, system: Any, landed: Landed) -> None:
        digests, content = self._digests(system, landed)
        match_checksums(read_checksums(content, partner=landed.source), digests, partner=landed.source)

    def _digests(self, system: Any, landed: Landed) -> tuple[dict[str, str], bytes]:
        """Return SHA-256 by name, and the content of the checksum file."""
        digests: dict[str, str] = {}
        content = b""
        for entry in landed.files:
            digest = hashlib.sha256()
            for chunk in _read(system, f"{self._base}/{landed.key}/{entry.name}", size=entry.size):
                digest.update(chunk)
                content += chunk if entry.name == CHECKSUMS else b""
            digests[entry.name] = digest.hexdigest()
        return digests, content

    def _copy(self, system: Any, landed: Landed, staging: Path, sums: dict[str, str]) -> None:
        """Copy what an earlier attempt did not copy; the folder must be the same before and after."""
        self._unchanged(system, landed)
        for entry in landed.files:
            if entry.name not in sums:
                path = f"{self._base}/{landed.key}/{entry.name}"
                sums[entry.name] = download(system, path, staging / entry.name, size=entry.size)
        self._unchanged(system, landed)

    def _attempt(self, work: Callable[[Any], Answer], landed: Landed | None = None) -> Answer:
        """Return the result of ``work``, and explain its errors.

        Each attempt gives ``work`` a new connection.
        """

        def log_retry(state: RetryCallState) -> None:
            log.warning("The landing root %s broke off; attempt %d of %d follows.", self, state.attempt_number + 1, self.attempts)

        attempts = Retrying(
            stop=stop_after_attempt(self.attempts),
            wait=wait_exponential(multiplier=self.first_wait, max=MAX_WAIT_SECONDS),
            retry=retry_if_exception(may_be_temporary),
            before_sleep=log_retry,
            reraise=True,
        )

        def attempt() -> Answer:
            with PROTOCOLS[self._parts.scheme](self._parts) as system:
                return work(system)

        try:
            return attempts(attempt)
        except CtdcError:
            raise
        except Exception as error:
            raise self._explained(error, landed) from None

    def _explained(self, error: Exception, landed: Landed | None) -> Exception:
        """Return the error to raise instead of ``error``, whose text could contain a credential.

        An error that does not come from reading files is returned unchanged.
        """
        kind = type(error).__name__
        if may_be_temporary(error):
            return ResourceError(
                f"the landing root {self} could not be reached, or broke off, {self.attempts} times ({kind}); nothing was kept",
                remedy="Check the network and the server, and run again.",
            )
        if isinstance(error, FileNotFoundError | NotADirectoryError) and landed:
            return DeliveryError(
                "a file disappeared while it was copied; nothing was kept",
                remedy="Land it again.",
                partner=landed.source,
                refresh=landed.refresh,
            )
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return ResourceError(f"the landing root {self} is not there", remedy=f"Make it, mount it, or correct {LANDING_URL}.")
        if isinstance(error, PermissionError) and landed:
            return DeliveryError(
                "a file may not be read; nothing was kept",
                remedy="Permit us to read the folder and all that is in it.",
                partner=landed.source,
                refresh=landed.refresh,
            )
        if isinstance(error, PermissionError) or kind in SETTINGS_ERRORS:
            return ResourceError(
                f"the landing root {self} may not be read ({kind})",
                remedy="Check the credentials and what they permit; docs/landing.md has them.",
            )
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            return ResourceError("the disk is full; nothing was kept of the delivery", remedy="Make room, and run again.")
        if isinstance(error, OSError | UnicodeDecodeError) or is_library_error(error):
            return ResourceError(
                f"the landing root {self} cannot be read ({kind})", remedy=f"Check {LANDING_URL} and the server."
            )
        return error


def download(system: Any, path: str, target: Path, *, size: int) -> str:
    """Copy one remote file to the private file ``target``: completely or not at all.

    Args:
        system: The fsspec file system.
        path: The path of the remote file.
        target: The local file.
        size: The expected number of bytes.

    Returns:
        The SHA-256 of the bytes.

    Raises:
        ConnectionError: If fewer or more bytes came.
        OSError: If ``target`` cannot be written.
        Exception: Whatever ``system`` raises.
    """
    digest = hashlib.sha256()
    with staged(target) as part, part.open("wb") as file:
        for chunk in _read(system, path, size=size):
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def _read(system: Any, path: str, *, size: int) -> Generator[bytes]:
    """Yield the bytes of a file.

    Raises ConnectionError if there are fewer or more than ``size``.
    """
    remaining = size
    try:
        with system.open(path, "rb", block_size=CHUNK_BYTES) as file:
            while remaining >= 0 and (chunk := file.read(min(CHUNK_BYTES, remaining + 1))):
                remaining -= len(chunk)
                yield chunk
    except IndexError:  # s3fs raises this at a time limit whose error has no text
        raise TimeoutError from None
    if remaining:
        raise ConnectionError


def _listing(system: Any, folder: str, *, may_vanish: bool = False) -> dict[str, Any]:
    """Return what a folder contains, by name.

    Raises:
        FileNotFoundError: If there is no such folder, unless it ``may_vanish``.
        NotADirectoryError: If it is a file.
        UnicodeDecodeError: If an SFTP server gives a name that is not UTF-8; paramiko then lists nothing.
    """
    try:
        infos = system.ls(folder, detail=True, refresh=True)
    except FileNotFoundError:
        if may_vanish:
            return {}
        raise
    info_by_name = {info["name"].removeprefix(f"{folder.rstrip('/')}/"): info for info in infos}
    if folder in info_by_name:
        raise NotADirectoryError
    return {name: info for name, info in info_by_name.items() if name or info["type"] == "directory"}


def _folders(infos: Mapping[str, Any]) -> list[str]:
    """Return the names of folders that may contain deliveries."""
    return [name for name, info in infos.items() if _plain(name) and not name.startswith(".") and _is_folder(info)]


def _strays(source: str, infos: Mapping[str, Any]) -> Landed | None:
    """Return what is next to the folders that may contain deliveries, if there is anything."""
    folders = {*_folders(infos), ""}
    entries = sorted(_entry(name, info) for name, info in infos.items() if name not in folders and not name.startswith("."))
    return Landed(source, "", tuple(entries)) if entries else None


def _is_folder(info: Mapping[str, Any]) -> bool:
    return info["type"] == "directory" and not info.get("islink")


def _plain(name: str) -> bool:
    return name.isprintable() and not {"/", "\\"} & {*name} and name not in ("", ".", "..")


def _entry(name: str, info: Mapping[str, Any]) -> LandedEntry:
    problem = ""
    if not _plain(name) or len(name.encode()) > MAX_NAME_BYTES:
        problem = "a name is too long, or has characters that no plain file name has"
    elif name.startswith("."):
        pass
    elif _is_folder(info):
        problem = "there is a folder where only files belong"
    elif info["type"] != "file" or info.get("islink"):
        problem = "a link, or something else than a file, is not followed"
    token = info.get("ETag") or info.get("mtime")
    return LandedEntry(name, int(info["size"] or 0), "" if info["type"] == "directory" else str(token), problem)
