"""Publishing a candidate that a person approved, and withdrawing a release: each moves a folder in one step, and says why.

What was approved is named by the SHA-256 of the candidate's manifest, which in turn names every file by its own.
"""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from ctdc_pipeline.errors import ParameterError, ReleaseError
from ctdc_pipeline.files import PUBLIC_FILE, sha256, staged
from ctdc_pipeline.register import MANIFEST, PUBLICATION, TOMBSTONE, Published, file_hashes, history, last, read_manifest
from ctdc_pipeline.release import Release, inputs_digest, move, prove, refused_by_disk, require_inputs, require_no_difference
from ctdc_pipeline.sensitive_countries import NOTHING, DenyList
from ctdc_pipeline.signature import sign_as_configured
from ctdc_pipeline.zones import Zones

PUBLIC_FOLDER = 0o755


def publish(
    zones: Zones, *, candidate: str, approver: str, reason: str, version: str = "", k: int, deny: DenyList = NOTHING
) -> Release:
    """Move the candidate whose manifest has the SHA-256 ``candidate`` into the public zone, having proved it once more.

    ``approver`` and ``reason`` are published with it. Name its ``version`` too if a newer candidate waits. Nothing is published
    when anything that the candidate was made from, or compared with, has changed since. Raises ParameterError, PrivacyError,
    ReleaseError, ResourceError, TableError.
    """
    candidate = candidate.strip().lower()
    for what, said in (("candidate's hash", candidate), ("approver", approver), ("reason", reason)):
        if not said.strip():
            raise ParameterError(f"the {what} is missing", remedy="Say which candidate is published, who approves it, and why.")
    with refused_by_disk():
        folder = _chosen(zones, candidate, version=version)
        releases = history(zones)
        manifest = read_manifest(folder)
        _require_current(zones, folder, before=last(releases))
        if manifest["k"] != k:
            raise ReleaseError(f"the candidate was made with k = {manifest['k']}, and k is {k} now", remedy=_AGAIN)
        require_inputs(zones, deny=deny)
        if manifest["inputs"] != inputs_digest(zones):
            raise ReleaseError("the tables have changed since the candidate was made", remedy=_AGAIN)
        proof = prove(zones, folder, k=k)
        require_no_difference(zones, folder, manifest, releases)
        said = {"approver": approver, "reason": reason, "candidate": candidate, "published": _now()}
        _write_json({"version": folder.name, **said}, folder / PUBLICATION)
        sign_as_configured(folder / MANIFEST)
        for path in sorted(folder.rglob("*")):
            path.chmod(PUBLIC_FOLDER if path.is_dir() else PUBLIC_FILE)
        folder.chmod(PUBLIC_FOLDER)
        released = zones.releases / folder.name
        move(folder, released)
    with suppress(OSError):  # it is published, whatever the disk says now; it is also listed when the register is next read
        history(zones)
    for other in zones.candidates.iterdir():
        shutil.rmtree(other, ignore_errors=True)  # it follows the release before this one, so that nobody can publish it any more
    return Release(folder=released, version=released.name, proof=proof, files=manifest["files"])


def withdraw(zones: Zones, version: str, *, reason: str) -> Path:
    """Take a release out of the public zone and leave a tombstone that says so; returns the tombstone.

    Its files are kept in the sensitive zone: whoever has a copy can still subtract it from later releases. Interrupted, it is
    simply run again. Raises ParameterError, ReleaseError and ResourceError.
    """
    if not reason.strip():
        raise ParameterError("the reason is missing", remedy="Say why the release is withdrawn; the reason is published.")
    released, kept = zones.releases / version, zones.withdrawn / version
    if Path(version).name != version:
        raise ReleaseError("the version is not a name", remedy="Name one in the folder of releases.")
    if (released / TOMBSTONE).is_file():
        raise ReleaseError(f"release {version} was withdrawn before", remedy="There is nothing more to do.")
    with refused_by_disk(), TemporaryDirectory(dir=zones.tmp) as folder:
        if (released / MANIFEST).is_file():
            move(released, kept)
        if not (kept / MANIFEST).is_file():
            raise ReleaseError(f"there is no release {version}", remedy="Name one in the folder of releases.")
        said = {"reason": reason, "withdrawn": _now(), "previous": read_manifest(kept)["previous"]}
        left = Path(folder) / version
        left.mkdir()
        _write_json({"version": version, **said, "manifest": sha256(kept / MANIFEST)}, left / TOMBSTONE)
        left.chmod(PUBLIC_FOLDER)
        move(left, released)
    return released / TOMBSTONE


_AGAIN = "Nothing was published. Make a new candidate, and let it be approved."


def _chosen(zones: Zones, candidate: str, *, version: str) -> Path:
    """The folder of the candidate; unless its version is named, it must be the newest one."""
    waiting = sorted(zones.candidates.glob(f"*/{MANIFEST}"), key=lambda path: path.stat().st_mtime_ns)
    chosen = [path.parent for path in waiting if sha256(path) == candidate and version in ("", path.parent.name)]
    if not chosen:
        raise ReleaseError(
            "no candidate has this hash: there never was one, it was altered, or another one was published since", remedy=_AGAIN
        )
    newest = waiting[-1].parent
    if chosen[-1] != newest and not version:
        raise ReleaseError(
            f"candidate {newest.name} is newer than {chosen[-1].name}",
            remedy="Approve that one, or name the version of this one.",
        )
    return chosen[-1]


def _require_current(zones: Zones, folder: Path, *, before: Published | None) -> None:
    """Refuse a candidate that is not as it was made, or was made to follow another release than the last one."""
    manifest = read_manifest(folder)
    if manifest["version"] != folder.name or (zones.releases / folder.name).exists():
        raise ReleaseError(f"candidate {folder.name} has the name of another release", remedy=_AGAIN)
    if manifest["files"] != file_hashes(folder):
        raise ReleaseError(f"the files of candidate {folder.name} are not those that it was made with", remedy=_AGAIN)
    if manifest["previous"] != (before.version if before else None):
        raise ReleaseError("another release was published or withdrawn since the candidate was made", remedy=_AGAIN)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _write_json(said: dict[str, str], path: Path) -> None:
    with staged(path, private=False) as part:
        part.write_text(json.dumps(said, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
