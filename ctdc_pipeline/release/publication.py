"""Publishing a candidate that a person approved, and withdrawing a release: each moves a folder in one step, and says why.

What was approved is named by the SHA-256 of the candidate's manifest, which in turn names every file by its own.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ctdc_pipeline.errors import ParameterError, ReleaseError
from ctdc_pipeline.privacy import k_synthetic_proof
from ctdc_pipeline.privacy.suppressed_countries import NO_COUNTRIES, SuppressedCountries
from ctdc_pipeline.release import private_candidate
from ctdc_pipeline.release.candidate import Release
from ctdc_pipeline.release.gates import inputs_digest, move, prove, refused_by_disk, require_inputs, require_no_difference
from ctdc_pipeline.release.measuring import require_unmixed
from ctdc_pipeline.release.open_warnings import open_warnings, require_acknowledged
from ctdc_pipeline.release.register import (
    MANIFEST,
    PUBLICATION,
    TOMBSTONE,
    Published,
    file_hashes,
    history,
    is_private,
    last,
    read_manifest,
)
from ctdc_pipeline.storage import approval
from ctdc_pipeline.storage.files import PUBLIC_FILE, sha256, staged, temporary_folder
from ctdc_pipeline.storage.signature import sign_as_configured
from ctdc_pipeline.storage.zones import Zones

PUBLIC_FOLDER = 0o755


def publish(
    zones: Zones,
    *,
    candidate: str,
    approver: str,
    reason: str,
    version: str = "",
    acknowledged: Sequence[str] = (),
    k: int,
    suppressed: SuppressedCountries = NO_COUNTRIES,
) -> Release:
    """Prove a candidate once more and move it into the public zone.

    Nothing is published if anything that the candidate was made from, or was compared with, has changed since.

    Args:
        zones: the folders of the home.
        candidate: the SHA-256 of the candidate's manifest.
        approver: who approves. Published. Where approvers' keys are configured, enough of them must have signed, this one
            included.
        reason: why. Published.
        version: the version of the candidate; needed if a newer candidate waits.
        acknowledged: the names of the open warnings that the approver knows of. Published.
        k: the resolution of the home.
        suppressed: the countries that no table may name.

    Returns:
        The release: its folder, its version, its proof and the hashes of its files.

    Raises:
        ParameterError: the hash, the approver or the reason is missing.
        PrivacyError: a proof fails, or a group follows by subtraction.
        ReleaseError: there is no such candidate, something changed since, an approval is missing, or a warning is not
            acknowledged.
        ResourceError: the disk does not suffice.
        TableError: a table is missing or broken.
    """
    candidate = candidate.strip().lower()
    for what, said in (("candidate's hash", candidate), ("approver", approver), ("reason", reason)):
        if not said.strip():
            raise ParameterError(f"the {what} is missing", remedy="Say which candidate is published, who approves it, and why.")
    with refused_by_disk():
        folder = _chosen(zones, candidate, version=version)
        approval.require(folder, digest=candidate, approver=approver)
        releases = history(zones)
        manifest = read_manifest(folder)
        _require_current(zones, folder, before=last(releases))
        require_acknowledged(warnings := open_warnings(zones, k=k), [name.strip() for name in acknowledged])
        proof = None
        if is_private(manifest):
            private_candidate.prove(zones, folder, manifest)
        else:
            proof = _proved_again(zones, folder, manifest, releases, k=k, suppressed=suppressed)
        said = {"approver": approver, "reason": reason, "candidate": candidate, "published": _now()}
        # A warning follows from the records, without noise: a differentially private release must not tell of it.
        has_warnings = warnings and not is_private(manifest)
        acknowledgement = {"acknowledged_warnings": [warning.name for warning in warnings]} if has_warnings else {}
        _write_json({"version": folder.name, **said, **acknowledgement}, folder / PUBLICATION)
        sign_as_configured(folder / PUBLICATION)  # which names the manifest
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


def sign_candidate(zones: Zones, candidate: str, *, key: Path) -> tuple[Path, str]:
    """Sign a waiting candidate with an approver's private key.

    Args:
        zones: the folders of the home.
        candidate: the version of the candidate, or the SHA-256 of its manifest.
        key: a PEM file with an Ed25519 private key.

    Returns:
        The folder of the candidate, and the name of the approver.

    Raises:
        ParameterError: the file holds no such key, or the key is no approver's.
        ReleaseError: there is no such candidate.
    """
    configured = approval.approvers()
    if not configured:
        raise ParameterError(f"{approval.APPROVERS} is not set", remedy="Set it to the folder of the approvers' public keys.")
    waiting = {path.parent.name: path for path in zones.candidates.glob(f"*/{MANIFEST}")}
    chosen = [path.parent for version, path in waiting.items() if candidate.strip().lower() in (version.lower(), sha256(path))]
    if len(chosen) != 1:
        raise ReleaseError("no waiting candidate has this version or hash", remedy="Take both from the candidate's page.")
    manifest = read_manifest(chosen[0])
    if manifest["files"] != file_hashes(chosen[0]):
        raise ReleaseError(f"the files of candidate {chosen[0].name} are not those that it was made with", remedy=_AGAIN)
    return chosen[0], approval.approve(chosen[0], key=key, configured=configured)


def withdraw(zones: Zones, version: str, *, reason: str) -> Path:
    """Take a release out of the public zone and leave a tombstone that says so.

    Its files are kept in the sensitive zone, because whoever has a copy can still subtract it from later releases. If this is
    interrupted, run it again.

    Args:
        zones: the folders of the home.
        version: the name of the release.
        reason: why it is withdrawn. Published.

    Returns:
        The tombstone, a JSON file.

    Raises:
        ParameterError: the reason is missing.
        ReleaseError: there is no such release, or it was withdrawn before.
        ResourceError: the disk does not suffice.
    """
    if not reason.strip():
        raise ParameterError("the reason is missing", remedy="Say why the release is withdrawn; the reason is published.")
    released, kept = zones.releases / version, zones.withdrawn / version
    if Path(version).name != version:
        raise ReleaseError("the version is not a name", remedy="Name one in the folder of releases.")
    if (released / TOMBSTONE).is_file():
        raise ReleaseError(f"release {version} was withdrawn before", remedy="There is nothing more to do.")
    with refused_by_disk(), temporary_folder(zones.tmp, prefix="withdraw-") as folder:
        if (released / MANIFEST).is_file():
            move(released, kept)
        if not (kept / MANIFEST).is_file():
            raise ReleaseError(f"there is no release {version}", remedy="Name one in the folder of releases.")
        notice = {"reason": reason, "withdrawn": _now(), "previous": read_manifest(kept)["previous"]}
        left = folder / version
        left.mkdir()
        _write_json({"version": version, **notice, "manifest": sha256(kept / MANIFEST)}, left / TOMBSTONE)
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


def _proved_again(
    zones: Zones,
    folder: Path,
    manifest: Mapping[str, Any],
    releases: Sequence[Published],
    *,
    k: int,
    suppressed: SuppressedCountries,
) -> k_synthetic_proof.Proof:
    """Prove a k-synthetic candidate from the tables it was made from, which must be those of now."""
    require_unmixed(zones, folder.name, mixing="")
    if manifest["k"] != k:
        raise ReleaseError(f"the candidate was made with k = {manifest['k']}, and k is {k} now", remedy=_AGAIN)
    require_inputs(zones, suppressed=suppressed)
    if manifest["inputs"] != inputs_digest(zones):
        raise ReleaseError("the tables have changed since the candidate was made", remedy=_AGAIN)
    proof = prove(zones, folder, k=k)
    require_no_difference(zones, folder, manifest, releases)
    return proof


def _require_current(zones: Zones, folder: Path, *, before: Published | None) -> None:
    """Refuse a candidate that is not as it was made, or was made to follow another release than the last one."""
    manifest = read_manifest(folder)
    if manifest["version"] != folder.name or (zones.releases / folder.name).exists():
        raise ReleaseError(f"candidate {folder.name} has the name of another release", remedy=_AGAIN)
    if manifest["files"] != file_hashes(folder):
        text = f"the files of candidate {folder.name} are not those that it was made with"
        raise ReleaseError(text, remedy=_AGAIN, failed=["whole_files"])
    if manifest["previous"] != (before.version if before else None):
        raise ReleaseError("another release was published or withdrawn since the candidate was made", remedy=_AGAIN)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _write_json(content: Mapping[str, str | list[str]], path: Path) -> None:
    with staged(path, private=False) as part:
        part.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
