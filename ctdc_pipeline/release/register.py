"""What was ever published: a register in the sensitive zone, by which releases that are missing or altered are found out.

It lists versions in the order of publication with the SHA-256 of their manifests. A release that is there and not listed, because
a run was killed or the zone restored, is listed when the register is next read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ctdc_pipeline.errors import ReleaseError
from ctdc_pipeline.ingestion.profiles import LastRelease
from ctdc_pipeline.storage.approval import APPROVALS
from ctdc_pipeline.storage.files import read_bytes, sha256, write_bytes
from ctdc_pipeline.storage.signature import SUFFIX
from ctdc_pipeline.storage.zones import Zones

MANIFEST = "manifest.json"
PUBLICATION = "publication.json"
"""Who published a release, when and why. Written after the manifest, which therefore does not list it."""
TOMBSTONE = "WITHDRAWN.json"
"""What is left in the public zone of a release that was withdrawn."""


@dataclass(frozen=True)
class Published:
    """A release that was published. ``folder`` holds its files: in the public zone or, once withdrawn, in the sensitive one."""

    version: str
    folder: Path
    withdrawn: bool
    manifest: Mapping[str, Any]


def history(zones: Zones) -> list[Published]:
    """Every release that was published, in order, each with exactly the files that were published.

    Raises ReleaseError when one is missing or was altered, for nothing can be compared with it then.
    """
    listed = _listed(zones)
    unlisted = {folder.name: folder for folder in sorted(zones.releases.iterdir()) if folder.name not in listed}
    if unlisted:
        listed |= _found(unlisted)
        write_bytes(json.dumps(listed, indent=2).encode(), _register(zones))
    return [_published(zones, version, digest=digest) for version, digest in listed.items()]


def is_private(manifest: Mapping[str, Any]) -> bool:
    """Whether a release is differentially private."""
    return "epsilon" in manifest


def last(releases: Sequence[Published]) -> Published | None:
    """The last of ``releases`` that was not withdrawn."""
    return next((release for release in reversed(releases) if not release.withdrawn), None)


def last_released(zones: Zones) -> LastRelease | None:
    """Return what the last release is made of that was not withdrawn, None if there is none. Verifies nothing."""
    listed = _listed(zones)
    folders = sorted(
        (path.parent for path in zones.releases.glob(f"*/{MANIFEST}")), key=lambda one: [*listed, one.name].index(one.name)
    )
    for folder in reversed(folders):
        with suppress(ReleaseError):
            sources = read_manifest(folder)["deliveries"].items()
            sent = {(name, label, content) for name, said in sources for label, content in said["content"].items()}
            return LastRelease(folder.name, frozenset(sent))
    return None


@dataclass(frozen=True)
class Withdrawn:
    """A release that was withdrawn: when, to the second, and why."""

    version: str
    day: str
    reason: str


def withdrawn(zones: Zones) -> list[Withdrawn]:
    """Return the releases that were withdrawn, by name."""
    tombstones = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(zones.releases.glob(f"*/{TOMBSTONE}"))]
    return [Withdrawn(said["version"], said["withdrawn"], said["reason"]) for said in tombstones]


def last_published(zones: Zones) -> str:
    """When the last release was published that is public, to the second; empty if there is none."""
    publications = [json.loads(path.read_text(encoding="utf-8")) for path in zones.releases.glob(f"*/{PUBLICATION}")]
    return max((str(said["published"]) for said in publications), default="")


def first_released(zones: Zones) -> dict[str, str]:
    """By the content hash of a delivery, the first release, by name, that was made of it and is public. Verifies nothing."""
    found: dict[str, str] = {}
    for folder in sorted((path.parent for path in zones.releases.glob(f"*/{MANIFEST}")), reverse=True):
        with suppress(ReleaseError):  # A candidate is refused then; a refresh is not.
            for source in read_manifest(folder)["deliveries"].values():
                found |= dict.fromkeys(source["content"].values(), folder.name)
    return found


def file_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of a release that its manifest lists, by its place below ``folder``."""
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if not path.is_dir()}
    beside = (MANIFEST, MANIFEST + SUFFIX, PUBLICATION, PUBLICATION + SUFFIX, APPROVALS)
    return {name: sha256(path) for name, path in files.items() if name not in beside}


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a release. Raises ReleaseError when there is none that can be read."""
    try:
        return dict(json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        raise ReleaseError(f"release {folder.name} has no manifest that can be read", remedy=_RESTORE) from None


_RESTORE = "Restore its folder from a backup or anybody's copy, or end its withdrawal; a release is compared with all before it."


def _register(zones: Zones) -> Path:
    return zones.sensitive / "published.json"


def _listed(zones: Zones) -> dict[str, str]:
    path = _register(zones)
    return dict(json.loads(read_bytes(path))) if path.is_file() else {}


def _found(folders: Mapping[str, Path]) -> dict[str, str]:
    """Manifests' SHA-256 of releases by version, each after the one that it names as the one before."""
    said: dict[str, tuple[str | None, str]] = {}
    for version, folder in folders.items():
        if (folder / TOMBSTONE).is_file():
            tombstone = json.loads((folder / TOMBSTONE).read_text(encoding="utf-8"))
            said[version] = (tombstone["previous"], tombstone["manifest"])
        else:
            said[version] = (read_manifest(folder)["previous"], sha256(folder / MANIFEST))
    ordered: dict[str, str] = {}
    while said:
        ready = [version for version, (before, _) in said.items() if before not in said] or list(said)[:1]
        ordered |= {version: said.pop(version)[1] for version in ready}
    return ordered


def _published(zones: Zones, version: str, *, digest: str) -> Published:
    withdrawn = (zones.releases / version / TOMBSTONE).is_file()
    folder = (zones.withdrawn if withdrawn else zones.releases) / version
    if not (folder / MANIFEST).is_file():
        raise ReleaseError(f"release {version} was published and is missing", remedy=_RESTORE)
    if sha256(folder / MANIFEST) != digest or read_manifest(folder)["files"] != file_hashes(folder):
        raise ReleaseError(f"release {version} was altered since it was published", remedy=_RESTORE)
    return Published(version=version, folder=folder, withdrawn=withdrawn, manifest=read_manifest(folder))
