"""A release candidate: its files, built in staging, proved from those very files, and put where it waits for approval.

What may be in a release is decided elsewhere (synthesis, aggregates, codebook); whether it discloses anyone is proved by
``ctdc_pipeline.privacy.k_synthetic_proof``. Publishing it is a person's decision: see ``ctdc_pipeline.release.publication``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from ctdc_pipeline.codebook.schemas import release_schema
from ctdc_pipeline.codebook.validation import validate
from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.errors import ParameterError, ReleaseError, TableError
from ctdc_pipeline.ingestion.refreshes import Refresh
from ctdc_pipeline.operations import installation
from ctdc_pipeline.partners.registry import SOURCES
from ctdc_pipeline.privacy import k_synthetic_proof
from ctdc_pipeline.privacy.suppressed_countries import NO_COUNTRIES, SuppressedCountries, published
from ctdc_pipeline.products import catalogue, changelog
from ctdc_pipeline.products.dictionary import AGGREGATES
from ctdc_pipeline.products.inputs import Inputs
from ctdc_pipeline.products.records import NAME as RECORDS
from ctdc_pipeline.release import shares
from ctdc_pipeline.release.gates import inputs_digest, move, prove, refused_by_disk, require_inputs, require_no_difference
from ctdc_pipeline.release.measuring import accept_mixture, require_unmixed
from ctdc_pipeline.release.register import MANIFEST, Published, file_hashes, history, is_private, last
from ctdc_pipeline.storage.files import read_parquet, sha256, temporary_folder
from ctdc_pipeline.storage.zones import Zones


@dataclass(frozen=True)
class Release:
    """A release or a candidate: where it is and what was proved of it."""

    folder: Path
    version: str
    proof: k_synthetic_proof.Proof | None
    """None of a differentially private release, of which other things are proved."""
    files: Mapping[str, str]
    """SHA-256 of each file, by name."""
    plots: Mapping[str, str] = field(default_factory=dict[str, str])
    """Plots of the report as SVG, by name, when the release was made just now."""

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest, which names every other file: whoever approves it approves these very files."""
        return sha256(self.folder / MANIFEST)


def next_version(taken: Sequence[str], *, today: date) -> str:
    """Return the first version of the day that is not taken.

    Args:
        taken: the names of the versions that exist.
        today: the day of the release.

    Returns:
        A name such as ``2026.11.21-1``.
    """
    return next(name for number in range(1, len(taken) + 2) if (name := f"{today:%Y.%m.%d}-{number}") not in taken)


def free_version(zones: Zones, version: str) -> tuple[str, list[Published]]:
    """Return the name for a new release, and all releases before it.

    Args:
        zones: the folders of the home.
        version: the name that is wished for; empty for the next one of the day.

    Raises:
        ParameterError: ``version`` is no name.
        ReleaseError: the version exists, or the history is not whole.
        ResourceError: the disk or the memory does not suffice.
    """
    with refused_by_disk():
        releases = history(zones)
        waiting = [folder.name for folder in zones.candidates.glob("*")]
    taken = [*(release.version for release in releases), *waiting]
    version = version or next_version(taken, today=datetime.now(UTC).date())
    if not re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z.-]*", version):
        raise ParameterError("the version is not a name", remedy="Use letters, digits, dots and hyphens, as in 2026.11.21-1.")
    if version in taken:
        raise ReleaseError(f"release {version} exists already", remedy="Choose another version; a release never changes.")
    return version, releases


def make_candidate(
    zones: Zones,
    *,
    version: str,
    k: int,
    length: int,
    last_year: int,
    core: Sequence[str] = (),
    suppressed: SuppressedCountries = NO_COUNTRIES,
    mixing: str = "",
) -> Release:
    """Build a release from the tables of the sensitive zone, prove it, and put it in ``zones.candidates``.

    A version that exists is never overwritten. After any error there is no candidate, and nothing is left in staging.

    Args:
        zones: the folders of the home.
        version: the name of the release; empty for the next one of the day.
        k: the resolution that the tables were made with. If it was another, the proof fails.
        length: the reporting length that the tables were made with.
        last_year: the last year of registration that a record may have.
        core: the core variables of the synthesis, which the manifest names.
        suppressed: the countries that no table may name.
        mixing: why the release is accepted although the same persons were measured for a differentially private one.

    Returns:
        The candidate: its folder, its version, its proof and the hashes of its files.

    Raises:
        BudgetError: the persons were measured, and ``mixing`` is empty.
        ParameterError: ``version`` is no name.
        PrivacyError: a proof fails, a group follows by subtraction, or a table names a suppressed country.
        ReleaseError: the version exists, or the files do not hold the same records.
        ResourceError: the disk or the memory does not suffice.
        TableError: a table is missing or broken.
    """
    version, releases = free_version(zones, version)
    require_inputs(zones, suppressed=suppressed)
    require_unmixed(zones, version, mixing=mixing)
    before = last(releases)
    # In the sensitive zone, so that the public one never holds a file that was not proved.
    with refused_by_disk(), temporary_folder(zones.tmp, prefix=f"release-{version}-") as folder:
        staging = folder / version
        staging.mkdir(mode=0o700)
        deliveries = deliveries_told(zones, before.manifest if before else {})
        inputs = Inputs.read(
            zones,
            version=version,
            k=k,
            length=length,
            last_year=last_year,
            deliveries=deliveries,
            invented=invented(zones),
        )
        validate(inputs.synthetic.to_pandas(), schema=release_schema(last_year), table="synthetic records")
        catalogue.write(inputs, staging)
        proof = prove(zones, staging, k=k)
        manifest = _manifest(zones, version, length=length, last_year=last_year, core=core, proof=proof, before=before)
        shares.require_same(staging)
        require_no_difference(zones, staging, manifest, releases)
        like = before if before and not is_private(before.manifest) else None
        since = changelog.since(like.folder if like else None, manifest, staging)
        plots = catalogue.conclude(inputs, staging, manifest=manifest, since=since)
        seal(staging, manifest)
        accept_mixture(zones, version, mixing=mixing)
        move(staging, zones.candidates / version)
    return Release(folder=zones.candidates / version, version=version, proof=proof, files=manifest["files"], plots=plots)


def seal(staging: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest, with the hashes of all files that are there."""
    manifest["files"] = file_hashes(staging)
    (staging / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _manifest(
    zones: Zones,
    version: str,
    *,
    length: int,
    last_year: int,
    core: Sequence[str],
    proof: k_synthetic_proof.Proof,
    before: Published | None,
) -> dict[str, Any]:
    """What the manifest says, but for the files."""
    # Exact figures about the sensitive records are never published; that the guarantees hold is what the proof says.
    internal = {"smallest_support", "attributes"}
    return {
        "version": version,
        "invented": invented(zones),
        "software": {"name": installation.NAME, "version": installation.version()},
        "codebook": codebook().version,
        "k": proof.k,
        "reporting_length": length,
        "last_year": last_year,
        "core": list(core),
        "rows": {RECORDS: proof.synthetic_records, AGGREGATES: proof.aggregates},
        "withheld": _withheld(zones),
        "proof": {name: value for name, value in asdict(proof).items() if name not in internal},
        "previous": before.version if before else None,
        "inputs": inputs_digest(zones),
        "deliveries": deliveries_told(zones, before.manifest if before else {}),
        "suppressed_values": published(read_parquet(zones.table("harmonised", "suppressed")), k=proof.k),
    }


def _withheld(zones: Zones) -> dict[str, int]:
    """How many common combinations of each length are not reported, so that the others prove no small group."""
    path = zones.table("counts", "withheld")
    rows = read_parquet(path).to_pylist() if path.is_file() else []
    return {str(row["length"]): row["count_all"] for row in rows}


def invented(zones: Zones) -> bool:
    """Whether any delivery that counts is of invented people. Raises TableError for tables that do not say."""
    table = read_parquet(zones.table("harmonised", "deliveries"))
    if "invented" not in table.column_names:
        raise TableError("the harmonised tables are of an earlier version", remedy="Run the full refresh again.")
    return any(table["invented"].to_pylist())


def deliveries_told(zones: Zones, before: Mapping[str, Any]) -> dict[str, Any]:
    """Return what each source contributes: the content hashes of its deliveries by refresh, and what is new.

    Names of files can name organisations and stay inside. The content hash stands for them.

    Args:
        zones: the folders of the home.
        before: the manifest of the release before; empty for a first release.
    """
    table = read_parquet(zones.table("harmonised", "deliveries")).to_pylist()
    contributions: dict[str, Any] = {}
    for source in SOURCES.values():
        deliveries = sorted((Refresh.parse(row["refresh"]), row["content"]) for row in table if row["source"] == source.name)
        latest = deliveries[-1][0].label if deliveries else None
        known = before.get("deliveries", {}).get(source.name, {}).get("latest_refresh")
        state = "missing" if latest is None else "carried forward" if latest == known else "new"
        contributions[source.name] = {
            "partner": source.partner,
            "state": state,
            "latest_refresh": latest,
            "stopped": source.stopped.isoformat() if source.stopped else None,
            "content": {refresh.label: content for refresh, content in deliveries},
        }
    return contributions
