"""The store of deliveries: an immutable copy of all that a partner ever sent, and what a person decided about it.

``<root>/<source>/<refresh>/<first 12 digits of the content hash>/`` holds the files of one delivery and its ``delivery.json``.
What is there never changes; a delivery appears whole, by one rename. Two deliveries for one refresh are both kept, and the
refresh is *contested* until a person chooses. How files get here is ``landing``; what they say is ``partners.reading``.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NoReturn, cast

from ctdc_pipeline.checksums import CHECKSUMS
from ctdc_pipeline.errors import DeliveryError, ParameterError, TableError
from ctdc_pipeline.files import read_bytes, sha256, sync, write_bytes
from ctdc_pipeline.partners.layout import Source
from ctdc_pipeline.refreshes import Refresh

TERMS = "delivery.toml"
RECORD = "delivery.json"
CHOSEN = "chosen.json"
CLOSED = "closed.json"
SHORT = 12
"""Digits of the content hash that name a delivery's folder."""

Kind = Literal["snapshot", "increment"]
Fetch = Callable[[Path], object]
"""Copies the landed files of one delivery, which are as their checksums say, into a new folder. Raises a CtdcError."""
Check = Callable[["Delivery"], object]
"""Reads a delivery to see whether it can be read. Raises a CtdcError."""


@dataclass(frozen=True, order=True)
class DeliveredFile:
    """One file of a delivery: its name, size in bytes and SHA-256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Delivery:
    """One delivery in the store. ``since`` is the refresh that an increment says it continues."""

    source: str
    refresh: Refresh
    kind: Kind
    since: Refresh | None
    content: str
    files: tuple[DeliveredFile, ...]
    folder: Path

    @property
    def short(self) -> str:
        """The first digits of the content hash, by which people tell deliveries apart."""
        return self.content[:SHORT]

    def paths(self) -> list[Path]:
        """The files as the partner sent them, without what only describes the delivery."""
        return [self.folder / file.name for file in self.files if file.name != TERMS]


def content_hash(files: Iterable[tuple[str, str]]) -> str:
    """SHA-256 over the sorted (name, SHA-256) pairs of a delivery's files; the checksum file is not one of them."""
    lines = sorted(f"{digest}  {name}\n" for name, digest in files if name != CHECKSUMS)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class Store:
    """The deliveries below ``root``. Nothing here deletes or changes one."""

    root: Path

    def sources(self) -> list[str]:
        """Of which sources anything is stored."""
        return sorted(folder.name for folder in self.root.glob("[!.]*") if folder.is_dir())

    def deliveries(self, source: str) -> list[Delivery]:
        """All that ``source`` delivered, by refresh and content, contested or not. Raises TableError if a record is damaged."""
        folders = (path.parent for path in self.root.glob(f"{source}/*/*/{RECORD}") if not path.parent.name.startswith("."))
        return sorted(map(_recorded, folders), key=lambda one: (one.refresh, one.content))

    def variants(self, source: str) -> dict[Refresh, list[Delivery]]:
        """The same by refresh: more than one is a contest."""
        found: dict[Refresh, list[Delivery]] = {}
        for delivery in self.deliveries(source):
            found.setdefault(delivery.refresh, []).append(delivery)
        return found

    def chosen(self, variants: list[Delivery]) -> Delivery | None:
        """Which of the deliveries for one refresh counts; none while they are contested.

        A choice was made among the deliveries of its day: when another one arrives, somebody has to choose again.
        """
        if len(variants) == 1:
            return variants[0]
        choice = _read_json(variants[0].folder.parent / CHOSEN)
        if not {one.content for one in variants} <= {*choice.get("among", [])}:
            return None
        return next((one for one in variants if one.content == choice["content"]), None)

    def used(self, source: str) -> tuple[Delivery, ...]:
        """The deliveries that count, one a refresh, in the order of their periods. Raises DeliveryError while one is contested.

        To go on without a contested refresh would also be to forget the opt-outs in it.
        """
        found: list[Delivery] = []
        for refresh, variants in sorted(self.variants(source).items()):
            delivery = self.chosen(variants)
            if delivery is None:
                _contested(source, refresh, variants)
            found.append(delivery)
        return tuple(found)

    def closed(self, source: str) -> Refresh | None:
        """The last refresh of ``source`` for which nothing is accepted any more."""
        label = _read_json(self.root / source / CLOSED).get("refresh")
        return Refresh.parse(label) if label else None

    def receive(self, source: Source, refresh: str, fetch: Fetch, *, check: Check, tmp: Path) -> Delivery:
        """Take what landed for ``refresh`` into the store and return the delivery; the same bytes again change nothing.

        ``check`` reads a new delivery before it is kept, so that what is in the store can be read. ``tmp`` is a private folder on
        the same file system. Raises what ``fetch`` and ``check`` raise, DeliveryError if the delivery is for a closed refresh or
        continues what was never delivered, and ParameterError for a malformed label; then nothing is kept. Raises DeliveryError
        as well, but keeps both, if the refresh is contested.
        """
        period = Refresh.parse(refresh)
        with TemporaryDirectory(dir=tmp, prefix=f"receive-{source.name}-") as folder:
            landed, copy = Path(folder) / "landed", Path(folder) / "delivery"
            copy.mkdir(mode=0o700)
            fetch(landed)
            paths = sorted(path for path in landed.iterdir() if path.name != CHECKSUMS)
            files = tuple(DeliveredFile(path.name, path.stat().st_size, sha256(path)) for path in paths)
            if not [file for file in files if file.name != TERMS]:
                _refuse(f"there are no files for {refresh}", "Land the delivery and run again.", source.name)
            if any(file.name == RECORD for file in files):
                _refuse("a delivery has no file of this name", "Rename it.", source.name, RECORD)
            kind, since = _terms(source, landed / TERMS)
            content = content_hash((file.name, file.sha256) for file in files)
            target = self.root / source.name / refresh / content[:SHORT]
            if not target.exists():
                self._admit(source.name, period, kind, since)
                for path in paths:
                    write_bytes(path.read_bytes(), copy / path.name)
                check(Delivery(source.name, period, kind, since, content, files, copy))
                _write_json(
                    {
                        "source": source.name,
                        "refresh": refresh,
                        "kind": kind,
                        "since": since.label if since else None,
                        "content": content,
                        "files": [asdict(file) for file in files],
                    },
                    copy / RECORD,
                )
                _place(copy, target)
        return self.require(source.name, refresh)

    def require(self, source: str, refresh: str) -> Delivery:
        """The delivery that counts for ``refresh``. Raises DeliveryError if there is none or if they are contested."""
        period = Refresh.parse(refresh)
        variants = self.variants(source).get(period, [])
        if not variants:
            _refuse(f"nothing was delivered for {period}", "Land the delivery and run again.", source)
        return self.chosen(variants) or _contested(source, period, variants)

    def choose(self, source: str, refresh: str, content: str) -> Delivery:
        """Let the delivery whose content hash begins with ``content`` count for ``refresh``. Raises ParameterError."""
        variants = self.variants(source).get(Refresh.parse(refresh), [])
        found = [one for one in variants if one.content.startswith(content.lower())]
        if len(found) != 1 or not content:
            told = ", ".join(one.short for one in variants) or "none is stored"
            raise ParameterError(f"this names no single delivery of {source} for {refresh}", remedy=f"Choose among: {told}.")
        among = [one.content for one in variants]
        _write_json({"content": found[0].content, "among": among}, found[0].folder.parent / CHOSEN)
        return found[0]

    def close(self, source: str, refresh: str) -> Refresh:
        """Accept nothing for ``refresh`` or an earlier one of ``source`` any more. Raises ParameterError.

        A refresh once closed stays closed: closing an earlier one is refused.
        """
        period, before = Refresh.parse(refresh), self.closed(source)
        if before and period < before:
            raise ParameterError(f"{source} is closed up to {before} already", remedy="Close a later refresh, or leave it.")
        _write_json({"refresh": refresh}, self.root / source / CLOSED)
        return period

    def _admit(self, source: str, refresh: Refresh, kind: Kind, since: Refresh | None) -> None:
        """Refuse what no new delivery may be: late, or without what it continues."""
        closed = self.closed(source)
        if closed and refresh <= closed:
            _refuse(f"refresh {refresh} is closed", "Ask the partner to send it with the next refresh.", source)
        if since is None:
            return
        if kind == "snapshot" or since >= refresh:
            _refuse(f"{TERMS} says since {since}, which does not fit", "Only an increment continues an earlier refresh.", source)
        if since not in self.variants(source):
            _refuse(
                f"refresh {refresh} continues {since}, which was never delivered",
                f"Ask the partner for {since}, or for a snapshot.",
                source,
            )


def _refuse(message: str, remedy: str, source: str, file: str | None = None) -> NoReturn:
    raise DeliveryError(message, remedy=remedy, partner=source, file=file) from None


def _contested(source: str, refresh: Refresh, variants: list[Delivery]) -> NoReturn:
    told = " or ".join(one.short for one in variants)
    _refuse(
        f"refresh {refresh} was delivered more than once with other content, and all are kept",
        f"Decide which one counts: ctdc deliveries choose {source} {refresh} {told}",
        source,
    )


def _terms(source: Source, path: Path) -> tuple[Kind, Refresh | None]:
    """What ``delivery.toml`` says, and the source's own way where it says nothing."""
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        since = Refresh.parse(str(said["since"])) if "since" in said else None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ParameterError):
        _refuse("it cannot be read", 'It holds: kind = "snapshot" or "increment", since = "2021-H1".', source.name, TERMS)
    kind = said.get("kind", source.delivers)
    if kind not in ("snapshot", "increment") or said.keys() - {"kind", "since"}:
        _refuse("it says something else than kind and since", 'kind is "snapshot" or "increment".', source.name, TERMS)
    return kind, since


def _place(copy: Path, target: Path) -> None:
    """Move a finished copy into place in one step; whoever comes second finds it there."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for folder in (target.parent.parent, target.parent):
        folder.chmod(0o700)
    sync(copy)
    try:
        copy.rename(target)
    except OSError:
        if not target.exists():
            raise
        shutil.rmtree(copy)
    sync(target.parent)


def _recorded(folder: Path) -> Delivery:
    said = _read_json(folder / RECORD)
    try:
        files = tuple(DeliveredFile(**file) for file in said["files"])
        since = Refresh.parse(said["since"]) if said["since"] else None
        kind = cast("Kind", said["kind"])
        return Delivery(said["source"], Refresh.parse(said["refresh"]), kind, since, said["content"], files, folder)
    except (KeyError, TypeError):
        place = "/".join(folder.parts[-3:])
        raise TableError(f"the record of delivery {place} is damaged", remedy="Restore the store from a backup.") from None


def _write_json(said: Mapping[str, Any], path: Path) -> None:
    write_bytes(json.dumps(said, indent=1, sort_keys=True).encode(), path)


def _read_json(path: Path) -> dict[str, Any]:
    """What the file says; nothing if there is none. Raises TableError if it is damaged."""
    if not path.exists():
        return {}
    try:
        return cast("dict[str, Any]", json.loads(read_bytes(path)))
    except (OSError, ValueError):
        raise TableError(f"{path.name} is damaged", remedy="Restore the store from a backup.") from None
