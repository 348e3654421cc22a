"""A release candidate: its files, built in staging, proved from those very files, and put where it waits for approval.

What may be in a release is decided elsewhere (synthesis, aggregates, codebook); whether it discloses anyone is proved by
``ctdc_pipeline.disclosure``. Publishing it is a person's decision, and the matter of ``ctdc_pipeline.publication``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from importlib.metadata import version as installed_version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa

from ctdc_pipeline import anonymity, changes, differencing, disclosure
from ctdc_pipeline.codebook import codebook
from ctdc_pipeline.errors import ParameterError, ReleaseError, ResourceError, TableError
from ctdc_pipeline.files import parquet_sha256, queries, read_parquet, sha256, sync, write_parquet
from ctdc_pipeline.partners.registry import SOURCES
from ctdc_pipeline.products import catalogue, k_anonymous
from ctdc_pipeline.products.dictionary import AGGREGATES
from ctdc_pipeline.products.inputs import Inputs
from ctdc_pipeline.products.records import NAME as RECORDS
from ctdc_pipeline.refreshes import Refresh
from ctdc_pipeline.register import MANIFEST, Published, file_hashes, history, last
from ctdc_pipeline.schemas import release_schema
from ctdc_pipeline.sensitive_countries import NOTHING, DenyList, published
from ctdc_pipeline.validation import validate
from ctdc_pipeline.zones import PRIVATE_FOLDER, Zones

INPUTS = (
    ("harmonised", "victims"),
    ("harmonised", "deliveries"),
    ("harmonised", "suppressed"),
    ("synthetic", "records"),
    ("counts", "reportable_aggregates"),
)
"""The tables that a release is made of, by stage and name."""


@dataclass(frozen=True)
class Release:
    """A release or a candidate: where it is and what was proved of it."""

    folder: Path
    version: str
    proof: disclosure.Proof
    files: Mapping[str, str]
    """SHA-256 of each file, by name."""
    plots: Mapping[str, str] = field(default_factory=dict[str, str])
    """Plots of the report as SVG, by name, when the release was made just now."""

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest, which names every other file: whoever approves it approves these very files."""
        return sha256(self.folder / MANIFEST)


def next_version(taken: Sequence[str], *, today: date) -> str:
    """The first version of the day that is not ``taken``, such as ``2026.11.21-1``."""
    return next(name for number in range(1, len(taken) + 2) if (name := f"{today:%Y.%m.%d}-{number}") not in taken)


def make_candidate(zones: Zones, *, version: str, k: int, length: int, last_year: int, deny: DenyList = NOTHING) -> Release:
    """Build release ``version`` from the tables of the sensitive zone, prove it, and put it in ``zones.candidates``.

    ``version`` is a name, or empty for the next one of the day. A version that exists is never overwritten, and after any error
    there is no candidate and nothing is left in staging. ``k``, ``length`` and ``last_year`` are what the tables were made with;
    if they were not, the proof or the schema fails. No table may hold a country on the list ``deny``. Raises ParameterError,
    PrivacyError, ReleaseError, ResourceError, TableError.
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
    require_inputs(zones, deny=deny)
    before = last(releases)
    # In the sensitive zone, so that the public one never holds a file that was not proved.
    with refused_by_disk(), TemporaryDirectory(dir=zones.tmp, prefix=f"release-{version}-") as folder:
        staging = Path(folder) / version
        staging.mkdir(mode=0o700)
        deliveries = _deliveries(zones, before.manifest if before else {})
        inputs = Inputs.read(zones, version=version, k=k, length=length, last_year=last_year, deliveries=deliveries)
        validate(inputs.synthetic.to_pandas(), schema=release_schema(last_year), table="synthetic records")
        catalogue.write(inputs, staging)
        proof = prove(zones, staging, k=k)
        manifest = _manifest(zones, version, length=length, last_year=last_year, proof=proof, before=before)
        require_no_difference(zones, staging, manifest, releases)
        plots = catalogue.conclude(inputs, staging, manifest=manifest, since=changes.since(before, manifest, staging))
        manifest["files"] = file_hashes(staging)
        (staging / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        move(staging, zones.candidates / version)
    return Release(folder=zones.candidates / version, version=version, proof=proof, files=manifest["files"], plots=plots)


def require_no_difference(zones: Zones, folder: Path, manifest: Mapping[str, Any], releases: Sequence[Published]) -> None:
    """Refuse a release that discloses a group by subtraction, alone or with one before, and list the groups inside.

    Withdrawn releases count too, for whoever has a copy can subtract. Raises PrivacyError and ReleaseError.
    """
    found = differencing.check(folder, [release.folder for release in releases], manifest=manifest)
    write_parquet(found, zones.table("quality", "differencing"))
    differencing.require(found, k=manifest["k"], report="quality/differencing.parquet in the sensitive zone")


@contextmanager
def refused_by_disk() -> Generator[None]:
    """Turn whatever the disk refuses into a ResourceError."""
    try:
        yield
    except (ResourceError, OSError, duckdb.Error, pa.ArrowException) as error:
        raise ResourceError(
            f"the release could not be written ({type(error).__name__})",
            remedy="Check space and permissions of the data folder, then run the job again; nothing was published.",
        ) from None


def require_inputs(zones: Zones, *, deny: DenyList) -> None:
    """Refuse tables that are not there or name a country that must not be named. Raises PrivacyError and TableError."""
    for stage, name in INPUTS:
        if not zones.table(stage, name).is_file():
            raise TableError(f"there is no table {stage}/{name} to release", remedy="Run the full refresh first.")
    for stage, name in (("harmonised", "victims"), ("synthetic", "records")):
        deny.require(read_parquet(zones.table(stage, name), columns=list(codebook().names)))


def inputs_digest(zones: Zones) -> str:
    """One SHA-256 over all ``INPUTS``: another one says that a candidate is out of date, and nothing else."""
    digests = "".join(f"{parquet_sha256(zones.table(stage, name))}  {stage}/{name}\n" for stage, name in INPUTS)
    return hashlib.sha256(digests.encode()).hexdigest()


def prove(zones: Zones, staging: Path, *, k: int) -> disclosure.Proof:
    """Prove the staged CSV and the k-anonymised dataset, and that TSV and Parquet hold the same records as the CSV."""
    forms = ("csv", "tsv", "parquet")
    with queries(**{form: staging / f"{RECORDS}.{form}" for form in forms}) as connection:
        csv, tsv, parquet = (connection.sql(f"FROM {form}").to_arrow_table() for form in forms)
    if not csv.equals(tsv) or not csv.equals(parquet.cast(csv.schema)) or csv.column_names != list(codebook().names):
        raise ReleaseError(
            "the CSV, TSV and Parquet files do not hold the same records",
            remedy="Nothing was published. Check the disk and run the release again.",
        )
    victims, records, aggregates = zones.table("harmonised", "victims"), staging / f"{RECORDS}.csv", staging / f"{AGGREGATES}.csv"
    alone = staging / f"{k_anonymous.NAME}.csv"
    anonymity.check(victims, alone, columns=k_anonymous.quasi_identifiers(), k=k_anonymous.least_group(k)).require()
    return disclosure.prove(victims, records, aggregates, variables=codebook().names, k=k).require()


def _manifest(
    zones: Zones, version: str, *, length: int, last_year: int, proof: disclosure.Proof, before: Published | None
) -> dict[str, Any]:
    """What the manifest says, but for the files."""
    # Exact figures about the sensitive records are never published; that the guarantees hold is what the proof says.
    internal = {"smallest_support", "attributes"}
    return {
        "version": version,
        "software": {"name": "ctdc-pipeline", "version": installed_version("ctdc-pipeline")},
        "codebook": codebook().version,
        "k": proof.k,
        "reporting_length": length,
        "last_year": last_year,
        "rows": {RECORDS: proof.synthetic_records, AGGREGATES: proof.aggregates},
        "proof": {name: value for name, value in asdict(proof).items() if name not in internal},
        "previous": before.version if before else None,
        "inputs": inputs_digest(zones),
        "deliveries": _deliveries(zones, before.manifest if before else {}),
        "suppressed_values": published(read_parquet(zones.table("harmonised", "suppressed")), k=proof.k),
    }


def _deliveries(zones: Zones, before: Mapping[str, Any]) -> dict[str, Any]:
    """What each source contributes: content hashes of its deliveries by refresh, and what is new since the release ``before``.

    File names can name organisations and stay inside; the content hash stands for them.
    """
    table = read_parquet(zones.table("harmonised", "deliveries")).to_pylist()
    said: dict[str, Any] = {}
    for source in SOURCES.values():
        own = sorted((Refresh.parse(row["refresh"]), row["content"]) for row in table if row["source"] == source.name)
        latest = own[-1][0].label if own else None
        known = before.get("deliveries", {}).get(source.name, {}).get("latest_refresh")
        state = "missing" if latest is None else "carried forward" if latest == known else "new"
        said[source.name] = {
            "partner": source.partner,
            "state": state,
            "latest_refresh": latest,
            "stopped": source.stopped.isoformat() if source.stopped else None,
            "content": {refresh.label: content for refresh, content in own},
        }
    return said


def move(staging: Path, target: Path) -> None:
    """Rename a folder once it is on the disk. A folder that holds files is never replaced: the rename itself refuses."""
    for path in (*staging.rglob("*"), staging):
        sync(path)
    target.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
    staging.rename(target)
    sync(target.parent)
