"""A differentially private release: all its figures follow from the measurements, and it tells nothing else of the persons.

It names no hash of a delivery or of a table: whoever knows all records but one could try records until the hash fits.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ctdc_pipeline.codebook.schemas import release_schema
from ctdc_pipeline.codebook.validation import validate
from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.errors import ReleaseError
from ctdc_pipeline.operations import installation
from ctdc_pipeline.privacy.ledger import UNIT, UNIVERSE, Account
from ctdc_pipeline.privacy.measurements import Measurements, read_measurements
from ctdc_pipeline.products import codebook_files, datapackage, dictionary, measured_figures, noisy_counts, records, story_tables
from ctdc_pipeline.products.inputs import Released
from ctdc_pipeline.release.candidate import Release, deliveries_told, free_version, invented, seal
from ctdc_pipeline.release.gates import move, refused_by_disk
from ctdc_pipeline.release.measuring import require_charged
from ctdc_pipeline.release.register import Published, last
from ctdc_pipeline.storage.files import queries, read_parquet, sha256, temporary_folder
from ctdc_pipeline.storage.zones import MEASURED, Zones
from ctdc_pipeline.synthesis.differentially_private import MADE_OF, records_of, seed_of

MEASUREMENTS = "measurements.parquet"
_RECORDS = {
    "csv": "comma-separated",
    "tsv": "tab-separated",
    "parquet": "Parquet",
    "xlsx": "workbook",
    "dta": "Stata 14 and later",
}
FILES: Mapping[str, str] = {
    **{f"{records.NAME}.{form}": f"The Global Synthetic Dataset, {said}" for form, said in _RECORDS.items()},
    MEASUREMENTS: "Noisy counts of all values and pairs of values, from which everything else here is made",
    f"{noisy_counts.NAME}.csv": "The counts to read: of each value and of the pairs that show, with 95% intervals of the noise",
    **{
        story_tables.file_name(story): f"{story.title}: noisy count, denominator and percentage, with 95% intervals of the noise"
        for story in story_tables.STORIES
    },
    f"{story_tables.KNOWN}.csv": "Of how many people each variable but the flags is known, with 95% intervals of the noise",
    f"{codebook_files.NAME}.xlsx": "Codebook as a workbook, with how many records have each value",
    f"{codebook_files.NAME}.html": "Codebook as one page",
    f"{codebook_files.NAME}.pdf": "Codebook as PDF/UA-1",
    f"{dictionary.DICTIONARY}.csv": "The variables: name, label, group, type, values, definition",
    f"{dictionary.DICTIONARY}.md": "The same to read",
    datapackage.NAME: "Data Package descriptor: all files above with their hashes, columns and code lists",
}
"""Every file of the release and what it is."""
ABOUT_ROWS = "Records are synthetic: they are as many as victims, up to noise."
_AGAIN = "Nothing was published. Make a new candidate, and let it be approved."


def make_candidate(zones: Zones, *, version: str, k: int, last_year: int) -> Release:
    """Build release ``version`` of the stored measurements, prove it, and put it in ``zones.candidates``. It costs no budget.

    ``version`` as for ``release.make_candidate``; ``k`` is the least noisy count of a pair of strict support. Raises BudgetError,
    ParameterError, ReleaseError, ResourceError and TableError.
    """
    version, releases = free_version(zones, version)
    account = require_charged(zones)
    path = zones.table(MEASURED, "measurements")
    measured = read_measurements(path)
    synthetic = read_parquet(_made_of(zones.table(MEASURED, "records"), path), columns=list(codebook().names))
    release = Released(version=version, last_year=last_year, synthetic=synthetic, invented=invented(zones), about_rows=ABOUT_ROWS)
    with refused_by_disk(), temporary_folder(zones.tmp, prefix=f"release-{version}-") as folder:
        staging = folder / version
        staging.mkdir(mode=0o700)
        validate(synthetic.to_pandas(), schema=release_schema(last_year), table="synthetic records")
        rows = write_products(release, path, staging)
        manifest = _manifest(zones, release, measured, account, rows=rows, k=k, before=last(releases))
        prove(zones, staging, manifest)
        seal(staging, manifest)
        move(staging, zones.candidates / version)
    return Release(folder=zones.candidates / version, version=version, proof=None, files=manifest["files"])


def write_products(release: Released, path: Path, folder: Path) -> dict[str, int]:
    """Write all ``FILES`` to ``folder``, from the records of ``release`` and the measurements at ``path`` alone.

    Returns the rows of records and counts. Raises OSError, ResourceError and TableError.
    """
    measured = read_measurements(path)
    shutil.copyfile(path, folder / MEASUREMENTS)
    records.write(release, folder)
    dictionary.write_dictionary(release, folder)
    codebook_files.write_measured(release, measured, folder)
    measured_figures.write(measured, folder)
    counts = noisy_counts.write(measured, folder)
    datapackage.write(release, folder, abouts=FILES)
    return {records.NAME: len(release.synthetic), noisy_counts.NAME: counts}


def prove(zones: Zones, folder: Path, manifest: Mapping[str, Any]) -> None:
    """Prove that the records and counts in ``folder`` follow from its measurements, and that these were charged.

    The account must be as the manifest tells it. Raises BudgetError, ReleaseError and TableError.
    """
    account = require_charged(zones)
    path = folder / MEASUREMENTS
    measured = read_measurements(path)
    if sha256(path) not in account.measured or manifest["epsilon"] != epsilon_told(measured, account, digest=sha256(path)):
        raise ReleaseError("the budget was spent otherwise than the candidate tells", remedy=_AGAIN, failed=["within_budget"])
    forms = ("csv", "tsv", "parquet")
    with queries(**{form: folder / f"{records.NAME}.{form}" for form in forms}) as connection:
        copies = [connection.sql(f"FROM {form}").to_arrow_table() for form in forms]
    wanted = records_of(path, k=manifest["support"]["k"])
    if not all(copy.cast(wanted.schema).equals(wanted) for copy in copies):
        raise ReleaseError("the records are not those of the measurements", remedy=_AGAIN, failed=["follows_from_measurements"])
    figures = {f"{noisy_counts.NAME}.csv": noisy_counts.noisy_counts(measured), **measured_figures.tables(measured)}
    for name, wanted_figures in figures.items():
        with queries(figures=folder / name) as connection:
            written = connection.sql("FROM figures").to_arrow_table()
        if written.column_names != wanted_figures.column_names or not written.cast(wanted_figures.schema).equals(wanted_figures):
            raise ReleaseError("figures are not those of the measurements", remedy=_AGAIN, failed=["follows_from_measurements"])


def epsilon_told(measured: Measurements, account: Account, *, digest: str) -> dict[str, Any]:
    """What a release says of the budget: of these measurements, and of all that was ever measured of the same persons."""
    return {
        "measurements": {
            "sha256": digest,
            "epsilon": measured.epsilon,
            "delta": measured.delta,
            "mu_squared": str(measured.mu_squared),
        },
        "total": {
            "epsilon": None if account.epsilon is None else math.ceil(account.epsilon * 1e6) / 1e6,
            "delta": account.delta,
            "mu_squared": str(account.spent),
            "draws": len(account.charges),
        },
        "uncontrolled": list(account.uncontrolled),
        "neighbours": "tables that differ in one record",
        "unit": UNIT,
        "universe": UNIVERSE,
        "ledger": account.head,
    }


def _manifest(
    zones: Zones,
    release: Released,
    measured: Measurements,
    account: Account,
    *,
    rows: Mapping[str, int],
    k: int,
    before: Published | None,
) -> dict[str, Any]:
    """What the manifest says, but for the files."""
    digest = sha256(zones.table(MEASURED, "measurements"))
    deliveries = deliveries_told(zones, before.manifest if before else {})
    return {
        "version": release.version,
        "series": "dp",
        "invented": release.invented,
        "software": {"name": installation.NAME, "version": installation.version()},
        "codebook": codebook().version,
        "last_year": release.last_year,
        "epsilon": epsilon_told(measured, account, digest=digest),
        "domain_sha256": measured.domain.sha256,
        "support": {"k": k, "strict": list(measured.domain.strict)},
        "seed": seed_of(digest),
        "rows": dict(rows),
        "previous": before.version if before else None,
        "deliveries": {name: {**said, "content": {}} for name, said in deliveries.items()},
    }


def _made_of(made: Path, measured: Path) -> Path:
    """The records at ``made``, if they are of the measurements at ``measured``. Raises ReleaseError."""
    if not made.is_file() or read_parquet(made, columns=[]).schema.metadata != {MADE_OF.encode(): sha256(measured).encode()}:
        raise ReleaseError("there are no records of these measurements", remedy="Materialise measured/records first.")
    return made
