"""What a candidate must pass before it exists."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.errors import ReleaseError, ResourceError, TableError
from ctdc_pipeline.privacy import differencing, k_anonymity_proof, k_synthetic_proof
from ctdc_pipeline.privacy.suppressed_countries import SuppressedCountries
from ctdc_pipeline.products import k_anonymous
from ctdc_pipeline.products.dictionary import AGGREGATES
from ctdc_pipeline.products.records import NAME as RECORDS
from ctdc_pipeline.release.register import Published, is_private
from ctdc_pipeline.storage.files import parquet_sha256, queries, read_parquet, sync, write_parquet
from ctdc_pipeline.storage.zones import PRIVATE_FOLDER, Zones

INPUTS = (
    ("harmonised", "victims"),
    ("harmonised", "deliveries"),
    ("harmonised", "suppressed"),
    ("synthetic", "records"),
    ("counts", "reportable_aggregates"),
)
"""The tables that a release is made of, by stage and name."""


def require_no_difference(zones: Zones, folder: Path, manifest: Mapping[str, Any], releases: Sequence[Published]) -> None:
    """Refuse a release that discloses a group by subtraction, alone or with an earlier one.

    Withdrawn releases count too, because whoever has a copy can subtract it. The groups are listed in the sensitive zone.

    Args:
        zones: the folders of the home.
        folder: the files of the new release.
        manifest: what the new release says of itself.
        releases: all releases before it.

    Raises:
        PrivacyError: a group follows.
        ReleaseError: the files of an earlier release are missing or changed.
    """
    before = [release.folder for release in releases if not is_private(release.manifest)]
    findings = differencing.find_disclosed_groups(folder, before, manifest=manifest)
    write_parquet(findings, zones.table("quality", "differencing"))
    differencing.require_no_disclosure(findings, k=manifest["k"], report="quality/differencing.parquet in the sensitive zone")


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


def require_inputs(zones: Zones, *, suppressed: SuppressedCountries) -> None:
    """Refuse to go on if a table is missing or names a suppressed country.

    Args:
        zones: the folders of the home.
        suppressed: the countries that no table may name.

    Raises:
        PrivacyError: a table names such a country.
        TableError: a table is missing.
    """
    for stage, name in INPUTS:
        if not zones.table(stage, name).is_file():
            raise TableError(f"there is no table {stage}/{name} to release", remedy="Run the full refresh first.")
    for stage, name in (("harmonised", "victims"), ("synthetic", "records")):
        suppressed.require(read_parquet(zones.table(stage, name), columns=list(codebook().names)))


def inputs_digest(zones: Zones) -> str:
    """One SHA-256 over all ``INPUTS``: another one says that a candidate is out of date, and nothing else."""
    digests = "".join(f"{parquet_sha256(zones.table(stage, name))}  {stage}/{name}\n" for stage, name in INPUTS)
    return hashlib.sha256(digests.encode()).hexdigest()


def prove(zones: Zones, staging: Path, *, k: int) -> k_synthetic_proof.Proof:
    """Prove the staged records, aggregates and k-anonymised dataset against the sensitive records.

    Args:
        zones: the folders of the home.
        staging: the files of the release.
        k: the resolution.

    Returns:
        What the proof of the synthetic records looked at.

    Raises:
        PrivacyError: a proof fails.
        ReleaseError: CSV, TSV and Parquet do not hold the same records.
    """
    forms = ("csv", "tsv", "parquet")
    with queries(**{form: staging / f"{RECORDS}.{form}" for form in forms}) as connection:
        csv, tsv, parquet = (connection.sql(f"FROM {form}").to_arrow_table() for form in forms)
    if not csv.equals(tsv) or not csv.equals(parquet.cast(csv.schema)) or csv.column_names != list(codebook().names):
        raise ReleaseError(
            "the CSV, TSV and Parquet files do not hold the same records",
            remedy="Nothing was published. Check the disk and run the release again.",
            failed=["whole_files"],
        )
    victims, records, aggregates = zones.table("harmonised", "victims"), staging / f"{RECORDS}.csv", staging / f"{AGGREGATES}.csv"
    alone = staging / f"{k_anonymous.NAME}.csv"
    k_anonymity_proof.prove_k_anonymity(
        victims, alone, columns=k_anonymous.quasi_identifiers(), k=k_anonymous.least_group(k)
    ).require()
    return k_synthetic_proof.prove_k_synthetic(victims, records, aggregates, variables=codebook().names, k=k).require()


def move(staging: Path, target: Path) -> None:
    """Rename a folder once all of it is on the disk. A folder that holds files is never replaced: the rename itself refuses.

    Args:
        staging: the folder as it is.
        target: where it is to be. Folders above it are made.
    """
    for path in (*staging.rglob("*"), staging):
        sync(path)
    target.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
    staging.rename(target)
    sync(target.parent)
