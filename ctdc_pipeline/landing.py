"""Where partners drop their deliveries: ``<root>/<source>/<refresh>/<files>`` in a local folder, on S3 or on SFTP.

``Landing`` lists what is there and copies a delivery, whole and verified or not at all. ``Observations`` tells from several
looks, by our own clock, which folder is complete. Nothing here writes into the landing root or reads what is in a file; what is
kept of a delivery is ``store``. What people have to know is docs/landing.md.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn, TypeVar
from urllib.parse import SplitResult, unquote, urlsplit

from fsspec.implementations.local import LocalFileSystem
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from ctdc_pipeline.checksums import CHECKSUMS, match_checksums, read_checksums
from ctdc_pipeline.errors import CtdcError, DeliveryError, ParameterError, ResourceError
from ctdc_pipeline.files import staged
from ctdc_pipeline.refreshes import Refresh

URL = "CTDC_LANDING"
S3_ENDPOINT = "CTDC_LANDING_S3_ENDPOINT"
HALF_WRITTEN = (".part", ".tmp", ".filepart", ".crdownload")
"""How programs that upload end the name of a file until it is whole."""
LONGEST_NAME = 200
CHUNK = 1 << 20
CONNECT_SECONDS, READ_SECONDS = 10, 60
LONGEST_WAIT = 30.0

Answer = TypeVar("Answer")
log = logging.getLogger(__name__)


@dataclass(frozen=True, order=True)
class Entry:
    """One name in a landed folder. ``token`` (a time or an ETag of the server) is only ever compared with itself.

    ``problem`` says why it cannot be taken, such as a folder or a link. ``hidden`` names begin with a dot and are left alone.
    """

    name: str
    size: int
    token: str
    problem: str = ""

    @property
    def hidden(self) -> bool:
        return self.name.startswith(".") and not self.problem


@dataclass(frozen=True)
class Landed:
    """What is in one landed folder, by name. ``entries`` are all names, ``files`` those that belong to the delivery.

    What lies beside the folders of refreshes, where no delivery is, has no ``refresh``; beside those of sources, no ``source``.
    """

    source: str
    refresh: str
    entries: tuple[Entry, ...]

    @property
    def files(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if not entry.hidden)

    @property
    def key(self) -> str:
        return f"{self.source}/{self.refresh}"

    @property
    def fingerprint(self) -> str:
        """Changes with every name, size and token in the folder, also of what is hidden or half written."""
        told = [(entry.name, entry.size, entry.token, entry.problem) for entry in self.entries]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]

    def require(self) -> None:
        """Raise DeliveryError if this is no delivery that could be taken."""
        try:
            Refresh.parse(self.refresh)
        except ParameterError as error:
            self.refuse(error.message, error.remedy)
        for entry in self.files:
            if entry.problem:
                name = entry.name if entry.name.isprintable() and len(entry.name) <= LONGEST_NAME else None
                self.refuse(entry.problem, "Ask the partner for plain files with plain names, in this folder itself.", name)
            if entry.name.lower().endswith(HALF_WRITTEN):
                self.refuse("the upload of a file is not finished", "Finish it, or remove what is left of it.", entry.name)
        if not [entry for entry in self.files if entry.name != CHECKSUMS]:
            self.refuse("there are no files", "Land the delivery and run again.")

    def refuse(self, message: str, remedy: str, file: str | None = None) -> NoReturn:
        """Raise DeliveryError about this folder."""
        refresh = self.refresh if self.refresh.isprintable() else None
        raise DeliveryError(message, remedy=remedy, partner=self.source, refresh=refresh, file=file) from None


@dataclass(frozen=True)
class Watched:
    """What several looks at one folder told: for how many seconds it has been as ``fingerprint`` says, and if that is all."""

    fingerprint: str
    quiet: float
    complete: bool


@dataclass(frozen=True)
class Observations:
    """What earlier looks at the landing root saw, for a sensor to keep as its cursor.

    Only our own clock is asked, and only for the time between two looks. One step of it counts for half the quiet time at most
    and never backwards, so no clock that jumps makes a folder complete: that takes three looks that agree.
    """

    at: float | None = None
    folders: Mapping[str, Watched] = field(default_factory=dict[str, Watched])

    @classmethod
    def parse(cls, cursor: str | None) -> Observations:
        """What ``dump`` wrote. A cursor that is not ours begins anew: that only waits once more."""
        try:
            said = json.loads(cursor or "{}")
            folders = {
                str(key): Watched(str(one), float(quiet), bool(done)) for key, (one, quiet, done) in said["folders"].items()
            }
            return cls(float(said["at"]), folders)
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls()

    def dump(self) -> str:
        """These observations as text."""
        folders = {key: (one.fingerprint, one.quiet, one.complete) for key, one in sorted(self.folders.items())}
        return json.dumps({"at": self.at, "folders": folders})

    def look(
        self, landed: Sequence[Landed], *, now: float, quiet_minutes: float, matches: Callable[[Landed], bool]
    ) -> Observations:
        """The observations after one more look, ``now`` in seconds of our clock. Raises ParameterError, and as ``matches``.

        A folder is complete if it ``matches`` its checksums, which is asked once for each state of it, or was the same for
        ``quiet_minutes``. A folder that is quiet but wrong is complete as well: to fetch it says what is wrong.
        """
        if not quiet_minutes > 0:
            raise ParameterError("the quiet time is not more than 0 minutes", remedy="Give the minutes an upload may pause.")
        needed = quiet_minutes * 60
        step = 0.0 if self.at is None else min(max(now - self.at, 0.0), needed / 2)
        folders: dict[str, Watched] = {}
        for one in landed:
            before, fingerprint = self.folders.get(one.key), one.fingerprint
            if before is None or before.fingerprint != fingerprint:
                folders[one.key] = Watched(fingerprint, 0.0, matches(one))
            else:
                quiet = min(before.quiet + step, needed)
                folders[one.key] = Watched(fingerprint, quiet, before.complete or (bool(one.files) and quiet >= needed))
        return Observations(now, folders)

    def complete(self, landed: Landed) -> bool:
        """Whether ``landed`` is complete, in the state that it was last seen in."""
        seen = self.folders.get(landed.key)
        return seen is not None and seen.complete and seen.fingerprint == landed.fingerprint


@dataclass(frozen=True)
class Landing:
    """The landing root at ``url``: a local path, ``file:///folder``, ``s3://bucket/prefix`` or ``sftp://user@host:port/path``.

    What may pass is tried ``attempts`` times, waiting ``first_wait`` seconds and then twice as long each time. Credentials come
    from the environment only. Raises ParameterError for another URL.
    """

    url: str | Path
    attempts: int = 5
    first_wait: float = 1.0

    def __post_init__(self) -> None:
        parts = self._parts
        if parts.password is not None or (parts.scheme == "s3" and "@" in parts.netloc):
            raise ParameterError(f"{URL} holds a credential", remedy="Take it out; docs/landing.md says where credentials go.")
        if parts.scheme not in _PLACES or (parts.scheme == "file") != (not parts.netloc) or parts.query or parts.fragment:
            raise ParameterError(
                f"{URL} is no landing root",
                remedy="Give file:///folder, s3://bucket/prefix or sftp://user@host:port/path, without ? and #.",
            )

    @classmethod
    def from_environment(cls, default: Path) -> Landing:
        """The landing root that ``CTDC_LANDING`` says, or the folder ``default``. Raises ParameterError."""
        return cls(os.environ.get(URL) or default)

    def __str__(self) -> str:
        """The root for people: without a user's name."""
        parts = self._parts
        return parts.path if parts.scheme == "file" else f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    __repr__ = __str__

    def landed(self) -> tuple[Landed, ...]:
        """Every folder <source>/<refresh>, by source and period; those whose label means no period come last.

        So do files beside them, which are in no folder of a refresh. Names that begin with a dot are left alone. Raises
        ResourceError if the root cannot be listed.
        """
        return self._attempt(self._landed)

    def find(self, source: str, refresh: str) -> Landed | None:
        """What landed for one refresh, if there is such a folder. Raises ResourceError."""
        return self._attempt(lambda system: self._folder(system, source, refresh))

    def matches(self, landed: Landed) -> bool:
        """Whether ``landed`` has checksums and is just what they list. Reads all files. Raises ResourceError."""
        if CHECKSUMS not in {entry.name for entry in landed.files}:
            return False
        try:
            landed.require()
            self._attempt(lambda system: self._match(system, landed), landed)
        except DeliveryError:
            return False
        return True

    def digests(self, landed: Landed) -> dict[str, str]:
        """SHA-256 of each file of ``landed``, by name. Reads all of them. Raises DeliveryError and ResourceError."""
        landed.require()
        return self._attempt(lambda system: self._digests(system, landed)[0], landed)

    def fetch(self, landed: Landed, folder: Path) -> tuple[Path, ...]:
        """Copy the files of ``landed`` into ``folder``, which is absent or empty, and return them; all of them or none.

        Raises DeliveryError if it is no delivery, is not as its checksums say, vanishes or is no longer as ``landed`` says, and
        ResourceError if the root cannot be read or the copy not be written.
        """
        landed.require()
        with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
            staging = Path(temporary) / folder.name
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
        found = [_strays("", root)]
        for source in _folders(root):
            infos = _listing(system, f"{self._base}/{source}", may_vanish=True)
            found += [_strays(source, infos), *(self._folder(system, source, refresh) for refresh in _folders(infos))]
        return tuple(sorted((one for one in found if one), key=_order))

    def _folder(self, system: Any, source: str, refresh: str) -> Landed | None:
        try:
            infos = _listing(system, f"{self._base}/{source}/{refresh}")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError:
            return Landed(source, refresh, (Entry("", 0, "", "the folder may not be listed"),))
        except UnicodeDecodeError:
            return Landed(source, refresh, (Entry("", 0, "", "a name is not UTF-8"),))
        return Landed(source, refresh, tuple(sorted(_entry(name, info) for name, info in infos.items())))

    def _unchanged(self, system: Any, landed: Landed) -> None:
        now = self._folder(system, landed.source, landed.refresh)
        if now is None:
            landed.refuse("the folder vanished while it was copied", "Land it again.")
        if now != landed:
            landed.refuse("the folder changed while it was copied", "Wait until the upload is finished, and run again.")

    def _match(self, system: Any, landed: Landed) -> None:
        found, content = self._digests(system, landed)
        match_checksums(read_checksums(content, partner=landed.source), found, partner=landed.source)

    def _digests(self, system: Any, landed: Landed) -> tuple[dict[str, str], bytes]:
        """SHA-256 by name, and the checksum file."""
        found: dict[str, str] = {}
        content = b""
        for entry in landed.files:
            digest = hashlib.sha256()
            for chunk in _read(system, f"{self._base}/{landed.key}/{entry.name}", size=entry.size):
                digest.update(chunk)
                content += chunk if entry.name == CHECKSUMS else b""
            found[entry.name] = digest.hexdigest()
        return found, content

    def _copy(self, system: Any, landed: Landed, staging: Path, sums: dict[str, str]) -> None:
        """Copy what an earlier attempt did not; the folder has to be the same before and after."""
        self._unchanged(system, landed)
        for entry in landed.files:
            if entry.name not in sums:
                path = f"{self._base}/{landed.key}/{entry.name}"
                sums[entry.name] = download(system, path, staging / entry.name, size=entry.size)
        self._unchanged(system, landed)

    def _attempt(self, work: Callable[[Any], Answer], landed: Landed | None = None) -> Answer:
        """What ``work`` answers, given a file system that is connected anew for each attempt; its errors in our words."""

        def told(state: RetryCallState) -> None:
            log.warning("The landing root %s broke off; attempt %d of %d follows.", self, state.attempt_number + 1, self.attempts)

        attempts = Retrying(
            stop=stop_after_attempt(self.attempts),
            wait=wait_exponential(multiplier=self.first_wait, max=LONGEST_WAIT),
            retry=retry_if_exception(_may_pass),
            before_sleep=told,
            reraise=True,
        )

        def attempt() -> Answer:
            with _PLACES[self._parts.scheme](self._parts) as system:
                return work(system)

        try:
            return attempts(attempt)
        except CtdcError:
            raise
        except Exception as error:
            raise self._explained(error, landed) from None

    def _explained(self, error: Exception, landed: Landed | None) -> Exception:
        """What is told of ``error``, whose own words could hold a credential; itself if it is none of reading files."""
        kind = type(error).__name__
        if _may_pass(error):
            return ResourceError(
                f"the landing root {self} could not be reached, or broke off, {self.attempts} times ({kind}); nothing was kept",
                remedy="Check the network and the server, and run again.",
            )
        if isinstance(error, FileNotFoundError | NotADirectoryError) and landed:
            return DeliveryError(
                "a file vanished while it was copied; nothing was kept",
                remedy="Land it again.",
                partner=landed.source,
                refresh=landed.refresh,
            )
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return ResourceError(f"the landing root {self} is not there", remedy=f"Make it, mount it, or correct {URL}.")
        if isinstance(error, PermissionError) and landed:
            return DeliveryError(
                "a file may not be read; nothing was kept",
                remedy="Permit us to read the folder and all that is in it.",
                partner=landed.source,
                refresh=landed.refresh,
            )
        if isinstance(error, PermissionError) or kind in _SETTINGS:
            return ResourceError(
                f"the landing root {self} may not be read ({kind})",
                remedy="Check the credentials and what they permit; docs/landing.md has them.",
            )
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            return ResourceError("the disk is full; nothing was kept of the delivery", remedy="Make room, and run again.")
        if isinstance(error, OSError | UnicodeDecodeError) or _library(error):
            return ResourceError(f"the landing root {self} cannot be read ({kind})", remedy=f"Check {URL} and the server.")
        return error


def download(system: Any, path: str, target: Path, *, size: int) -> str:
    """Copy one remote file of ``size`` bytes to the private file ``target``, whole or not at all; returns its SHA-256.

    Raises ConnectionError if fewer or more bytes came, OSError if ``target`` cannot be written, and what ``system`` raises.
    """
    digest = hashlib.sha256()
    with staged(target) as part, part.open("wb") as file:
        for chunk in _read(system, path, size=size):
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def _read(system: Any, path: str, *, size: int) -> Generator[bytes]:
    """The bytes of a file, which are as many as its folder says. Raises ConnectionError if they are not."""
    left = size
    try:
        with system.open(path, "rb", block_size=CHUNK) as file:
            while left >= 0 and (chunk := file.read(min(CHUNK, left + 1))):
                left -= len(chunk)
                yield chunk
    except IndexError:  # s3fs fails so on a time limit, whose error has no text
        raise TimeoutError from None
    if left:
        raise ConnectionError


def _listing(system: Any, folder: str, *, may_vanish: bool = False) -> dict[str, Any]:
    """What a folder holds, by name. Raises FileNotFoundError, unless it ``may_vanish``, and NotADirectoryError.

    Raises UnicodeDecodeError if an SFTP server gives a name that is not UTF-8: paramiko then gives none.
    """
    try:
        infos = system.ls(folder, detail=True, refresh=True)
    except FileNotFoundError:
        if may_vanish:
            return {}
        raise
    found = {info["name"].removeprefix(f"{folder.rstrip('/')}/"): info for info in infos}
    if folder in found:
        raise NotADirectoryError
    return {name: info for name, info in found.items() if name or info["type"] == "directory"}


def _folders(infos: Mapping[str, Any]) -> list[str]:
    """The names of folders that may hold deliveries."""
    return [name for name, info in infos.items() if _plain(name) and not name.startswith(".") and _is_folder(info)]


def _strays(source: str, infos: Mapping[str, Any]) -> Landed | None:
    """What lies beside the folders that may hold deliveries, if anything does."""
    folders = {*_folders(infos), ""}
    entries = sorted(_entry(name, info) for name, info in infos.items() if name not in folders and not name.startswith("."))
    return Landed(source, "", tuple(entries)) if entries else None


def _is_folder(info: Mapping[str, Any]) -> bool:
    return info["type"] == "directory" and not info.get("islink")


def _plain(name: str) -> bool:
    return name.isprintable() and not {"/", "\\"} & {*name} and name not in ("", ".", "..")


def _entry(name: str, info: Mapping[str, Any]) -> Entry:
    problem = ""
    if not _plain(name) or len(name.encode()) > LONGEST_NAME:
        problem = "a name is too long, or has characters that no plain file name has"
    elif name.startswith("."):
        pass
    elif _is_folder(info):
        problem = "there is a folder where only files belong"
    elif info["type"] != "file" or info.get("islink"):
        problem = "a link, or something else than a file, is not followed"
    token = info.get("ETag") or info.get("mtime")
    return Entry(name, int(info["size"] or 0), "" if info["type"] == "directory" else str(token), problem)


def _order(landed: Landed) -> tuple[str, bool, date, str]:
    try:
        return landed.source, False, Refresh.parse(landed.refresh).last, landed.refresh
    except ParameterError:
        return landed.source, True, date.max, landed.refresh


def _library(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] in ("aiobotocore", "aiohttp", "botocore", "paramiko", "s3fs")


def _may_pass(error: BaseException) -> bool:
    """Whether another attempt may go better."""
    if isinstance(error, FileNotFoundError | NotADirectoryError | PermissionError) or type(error).__name__ in _SETTINGS:
        return False
    if isinstance(error, OSError | EOFError):
        return getattr(error, "errno", None) not in _LASTING
    return isinstance(error, Exception) and _library(error)


@contextmanager
def _local(_: SplitResult) -> Generator[Any]:
    yield LocalFileSystem()


@contextmanager
def _s3(_: SplitResult) -> Generator[Any]:
    """S3 with the standard settings of AWS, and no cache of what was listed. s3fs retries nothing: that is done here."""
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
        from ctdc_pipeline import sftp
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
        f"{URL} is on {extra.upper()}, for which a library is missing", remedy=f"pip install 'ctdc-pipeline[{extra}]'"
    )


_PLACES = {"file": _local, "s3": _s3, "sftp": _sftp}
_LASTING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EINVAL, errno.ENAMETOOLONG})
_SETTINGS = frozenset(
    {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound", "ParamValidationError"}
)
"""What is wrong with our settings of S3, by the name of the error: botocore is not always installed."""
