"""Keep a copy of everything that partners sent, and what people decided about it.

``<root>/<source>/<refresh>/<first 12 digits of the content hash>/`` contains the files of one delivery and its
``delivery.json``. Stored files never change; a delivery appears completely, by one rename. If two deliveries arrive for one
refresh, both are kept, and the refresh is *contested* until a person chooses. ``landing`` fetches the files;
``partners.reading`` reads them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn, cast

from ctdc_pipeline.errors import ContestedError, DeliveryError, ParameterError, TableError
from ctdc_pipeline.ingestion.checksums import CHECKSUMS
from ctdc_pipeline.ingestion.refreshes import Refresh
from ctdc_pipeline.partners.layout import Source
from ctdc_pipeline.storage.files import read_bytes, sha256, sync, temporary_folder, write_bytes

TERMS = "delivery.toml"
MAX_TERMS = 4096
"""The largest accepted ``delivery.toml``, in bytes. Parsing a longer one could take minutes and gigabytes."""
RECORD = "delivery.json"
CHOSEN = "chosen.json"
CLOSED = "closed.json"
SHORT_DIGITS = 12
"""How many digits of the content hash name a delivery's folder."""

Kind = Literal["snapshot", "increment"]
Fetch = Callable[[Path], object]
"""Copies the landed files of one delivery into a new folder, checked against their checksums. Raises a CtdcError."""
Check = Callable[["Delivery"], object]
"""Reads a delivery to find out whether it is readable. Raises a CtdcError."""


@dataclass(frozen=True, order=True)
class DeliveredFile:
    """One file of a delivery: its name, its size in bytes and its SHA-256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Delivery:
    """One delivery in the store.

    ``since`` is the refresh that an increment continues. ``invented`` is true if its ``delivery.toml`` says that its people do
    not exist; a release with any such delivery is marked as invented.
    """

    source: str
    refresh: Refresh
    kind: Kind
    since: Refresh | None
    content: str
    files: tuple[DeliveredFile, ...]
    folder: Path
    invented: bool = False

    @property
    def short(self) -> str:
        """The first digits of the content hash, by which people distinguish deliveries."""
        return self.content[:SHORT_DIGITS]

    def paths(self) -> list[Path]:
        """Return the paths of the files that the partner sent, without ``delivery.toml``."""
        return [self.folder / file.name for file in self.files if file.name != TERMS]


def content_hash(files: Iterable[tuple[str, str]]) -> str:
    """Return the SHA-256 over the sorted (name, SHA-256) pairs of a delivery's files.

    The checksum file is not included.
    """
    lines = sorted(f"{digest}  {name}\n" for name, digest in files if name != CHECKSUMS)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class Store:
    """The deliveries below ``root``. No method deletes or changes a delivery."""

    root: Path

    def sources(self) -> list[str]:
        """Return the names of the sources with stored deliveries, sorted."""
        return sorted(folder.name for folder in self.root.glob("[!.]*") if folder.is_dir())

    def deliveries(self, source: str) -> list[Delivery]:
        """Return all deliveries of ``source`` by refresh and content, contested or not.

        Raises:
            TableError: If a record is damaged.
        """
        folders = (path.parent for path in self.root.glob(f"{source}/*/*/{RECORD}") if not path.parent.name.startswith("."))
        return sorted(map(_recorded, folders), key=lambda delivery: (delivery.refresh, delivery.content))

    def variants(self, source: str) -> dict[Refresh, list[Delivery]]:
        """Return the deliveries of ``source`` by refresh.

        A refresh with more than one is contested until somebody chooses.
        """
        by_refresh: dict[Refresh, list[Delivery]] = {}
        for delivery in self.deliveries(source):
            by_refresh.setdefault(delivery.refresh, []).append(delivery)
        return by_refresh

    def chosen(self, variants: list[Delivery]) -> Delivery | None:
        """Return which of the deliveries for one refresh counts; None if they are contested.

        A choice was made among the deliveries of its day: when another one arrives, somebody has to choose again.
        """
        if len(variants) == 1:
            return variants[0]
        choice = _read_json(variants[0].folder.parent / CHOSEN)
        if not {variant.content for variant in variants} <= {*choice.get("among", [])}:
            return None
        return next((variant for variant in variants if variant.content == choice["content"]), None)

    def decided(self, delivery: Delivery) -> bool:
        """Return whether a person chose ``delivery``, even if it is the only one for its refresh."""
        return _read_json(delivery.folder.parent / CHOSEN).get("content") == delivery.content

    def used(self, source: str) -> tuple[Delivery, ...]:
        """Return the deliveries that count, one for each refresh, in the order of their periods.

        Leaving out a contested refresh would also forget its opt-outs, so it is an error.

        Raises:
            DeliveryError: If a refresh is contested.
        """
        deliveries: list[Delivery] = []
        for refresh, variants in sorted(self.variants(source).items()):
            delivery = self.chosen(variants)
            if delivery is None:
                _contested(source, refresh, variants)
            deliveries.append(delivery)
        return tuple(deliveries)

    def closed(self, source: str) -> Refresh | None:
        """Return the last refresh of ``source`` that accepts no more deliveries, or None."""
        label = _read_json(self.root / source / CLOSED).get("refresh")
        return Refresh.parse(label) if label else None

    def receive(self, source: Source, refresh: str, fetch: Fetch, *, check: Check, tmp: Path) -> Delivery:
        """Take the landed files for ``refresh`` into the store.

        The same bytes again change nothing.

        Args:
            source: The source that sent the files.
            refresh: The label of the refresh.
            fetch: Copies the landed files into the folder that it is given.
            check: Reads a new delivery before it is kept, so that every stored delivery is readable.
            tmp: A private folder on the same file system as the store.

        Returns:
            The delivery that counts for ``refresh``.

        Raises:
            DeliveryError: If the refresh is closed, or the delivery continues a refresh that was never delivered; nothing is
                kept. Also if the refresh is contested; then both deliveries are kept.
            ParameterError: If the label is malformed; nothing is kept.
            CtdcError: Whatever ``fetch`` and ``check`` raise; nothing is kept.
        """
        period = Refresh.parse(refresh)
        with temporary_folder(tmp, prefix=f"receive-{source.name}-") as folder:
            landed, copy = folder / "landed", folder / "delivery"
            copy.mkdir(mode=0o700)
            fetch(landed)
            paths = sorted(path for path in landed.iterdir() if path.name != CHECKSUMS)
            files = tuple(DeliveredFile(path.name, path.stat().st_size, sha256(path)) for path in paths)
            if not [file for file in files if file.name != TERMS]:
                _refuse(f"there are no files for {refresh}", "Land the delivery and run again.", source.name)
            if any(file.name == RECORD for file in files):
                _refuse("a delivery has no file of this name", "Rename it.", source.name, RECORD)
            kind, since, invented = _terms(source, landed / TERMS)
            content = content_hash((file.name, file.sha256) for file in files)
            target = self.root / source.name / refresh / content[:SHORT_DIGITS]
            if not target.exists():
                self._admit(source.name, period, kind, since)
                for path in paths:
                    write_bytes(path.read_bytes(), copy / path.name)
                check(Delivery(source.name, period, kind, since, content, files, copy, invented))
                _write_json(
                    {
                        "source": source.name,
                        "refresh": refresh,
                        "kind": kind,
                        "since": since.label if since else None,
                        "invented": invented,
                        "content": content,
                        "files": [asdict(file) for file in files],
                    },
                    copy / RECORD,
                )
                _move_into_place(copy, target)
        return self.require(source.name, refresh)

    def require(self, source: str, refresh: str) -> Delivery:
        """Return the delivery that counts for ``refresh``.

        Raises:
            DeliveryError: If there is none, or if they are contested.
        """
        period = Refresh.parse(refresh)
        variants = self.variants(source).get(period, [])
        if not variants:
            _refuse(f"nothing was delivered for {period}", "Land the delivery and run again.", source)
        return self.chosen(variants) or _contested(source, period, variants)

    def choose(self, source: str, refresh: str, content: str) -> Delivery:
        """Let one delivery count for ``refresh``.

        Args:
            source: The name of the source.
            refresh: The label of the refresh.
            content: The beginning of the delivery's content hash.

        Raises:
            ParameterError: If ``content`` does not identify one delivery.
        """
        variants = self.variants(source).get(Refresh.parse(refresh), [])
        matching = [variant for variant in variants if variant.content.startswith(content.lower())]
        if len(matching) != 1 or not content:
            choices = ", ".join(variant.short for variant in variants) or "none is stored"
            raise ParameterError(f"this names no single delivery of {source} for {refresh}", remedy=f"Choose among: {choices}.")
        among = [variant.content for variant in variants]
        _write_json({"content": matching[0].content, "among": among}, matching[0].folder.parent / CHOSEN)
        return matching[0]

    def close(self, source: str, refresh: str) -> Refresh:
        """Accept no more deliveries of ``source`` for ``refresh`` or earlier refreshes.

        A closed refresh stays closed: closing an earlier one is refused.

        Raises:
            ParameterError: If a later refresh is closed already, or the label is malformed.
        """
        period, closed_before = Refresh.parse(refresh), self.closed(source)
        if closed_before and period < closed_before:
            raise ParameterError(
                f"{source} is closed up to {closed_before} already", remedy="Close a later refresh, or leave it."
            )
        _write_json({"refresh": refresh}, self.root / source / CLOSED)
        return period

    def _admit(self, source: str, refresh: Refresh, kind: Kind, since: Refresh | None) -> None:
        """Refuse a new delivery that is late, or that continues a refresh that was never delivered."""
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
    choices = " or ".join(variant.short for variant in variants)
    raise ContestedError(
        f"refresh {refresh} was delivered more than once with other content, and all are kept",
        remedy=f"Decide which one counts: ctdc deliveries choose {source} {refresh} {choices}",
        partner=source,
    )


def _terms(source: Source, path: Path) -> tuple[Kind, Refresh | None, bool]:
    """Read ``delivery.toml``: kind, since and invented, with the source's default for the kind."""
    try:
        if path.exists() and path.stat().st_size > MAX_TERMS:
            raise ValueError
        terms = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        since = Refresh.parse(str(terms["since"])) if "since" in terms else None
    except (ValueError, RecursionError, ParameterError):
        _refuse("it cannot be read", 'It contains: kind = "snapshot" or "increment", since = "2021-H1".', source.name, TERMS)
    kind = terms.get("kind", source.delivers)
    invented = terms.get("invented", False)
    if kind not in ("snapshot", "increment") or not isinstance(invented, bool) or terms.keys() - {"kind", "since", "invented"}:
        _refuse(
            "it contains something else than kind, since and invented",
            'kind is "snapshot" or "increment"; invented is true or false.',
            source.name,
            TERMS,
        )
    return kind, since, invented


def _move_into_place(copy: Path, target: Path) -> None:
    """Move a finished copy to its final folder in one step.

    If another process was faster, its copy stays.
    """
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
    record = _read_json(folder / RECORD)
    try:
        files = tuple(DeliveredFile(**file) for file in record["files"])
        since = Refresh.parse(record["since"]) if record["since"] else None
        kind = cast("Kind", record["kind"])
        return Delivery(
            record["source"],
            Refresh.parse(record["refresh"]),
            kind,
            since,
            record["content"],
            files,
            folder,
            bool(record.get("invented")),
        )
    except (KeyError, TypeError):
        location = "/".join(folder.parts[-3:])
        raise TableError(f"the record of delivery {location} is damaged", remedy="Restore the store from a backup.") from None


def _write_json(content: Mapping[str, Any], path: Path) -> None:
    write_bytes(json.dumps(content, indent=1, sort_keys=True).encode(), path)


def _read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file; {} if it does not exist. Raises TableError if it is damaged."""
    if not path.exists():
        return {}
    try:
        return cast("dict[str, Any]", json.loads(read_bytes(path)))
    except (OSError, ValueError):
        raise TableError(f"{path.name} is damaged", remedy="Restore the store from a backup.") from None
