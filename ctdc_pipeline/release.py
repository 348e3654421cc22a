"""A release: its files, built in staging, proved from those very files, and then renamed into the public zone in one step.

What may be in a release is decided elsewhere (synthesis, aggregates, codebook); whether it discloses anyone is proved by
``ctdc_pipeline.disclosure``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version as installed_version
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from ctdc_pipeline import disclosure
from ctdc_pipeline.codebook import Codebook
from ctdc_pipeline.errors import CtdcError, ParameterError, ReleaseError, ResourceError
from ctdc_pipeline.files import PUBLIC_FILE, sha256, sync

RECORDS = "global_synthetic_dataset"
AGGREGATES = "reportable_aggregates"
DICTIONARY = "data_dictionary"
MANIFEST = "manifest.json"
PUBLIC_FOLDER = 0o755


@dataclass(frozen=True)
class Release:
    """A published release: where it is and what its manifest says."""

    folder: Path
    version: str
    proof: disclosure.Proof
    files: Mapping[str, str]
    """SHA-256 of each file, by name."""


def next_version(releases: Path, *, today: date) -> str:
    """The first free version of the day, such as ``2026.11.21-1``."""
    taken = {folder.name for folder in releases.glob(f"{today:%Y.%m.%d}-*")}
    return next(name for number in range(1, len(taken) + 2) if (name := f"{today:%Y.%m.%d}-{number}") not in taken)


def publish(
    *,
    victims: Path,
    synthetic: Path,
    aggregates: Path,
    releases: Path,
    scratch: Path,
    codebook: Codebook,
    version: str,
    k: int,
    length: int,
    inputs: Mapping[str, str],
) -> Release:
    """Build release ``version`` from three Parquet tables, prove it against ``victims`` and move it to ``releases``.

    ``scratch`` is private and on the same file system as ``releases``; nothing is left there. ``inputs`` maps the name of
    each input to its SHA-256. A version that exists is never overwritten, and after any error nothing is published.
    Raises ParameterError, PrivacyError, ReleaseError and ResourceError.
    """
    if not re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z.-]*", version):
        raise ParameterError("the version is not a name", remedy="Use letters, digits, dots and hyphens, as in 2026.11.21-1.")
    if (releases / version).exists():
        raise ReleaseError(f"release {version} exists already", remedy="Choose another version; a release never changes.")
    try:
        with TemporaryDirectory(dir=scratch, prefix=f"release-{version}-") as folder:
            staging = Path(folder) / version
            staging.mkdir(mode=0o700)
            _write_records(synthetic, staging, codebook=codebook)
            _write_aggregates(aggregates, staging)
            _write_dictionary(staging, codebook=codebook)
            proof = _prove(staging, victims, codebook=codebook, k=k)
            files = {file.name: sha256(file) for file in sorted(staging.iterdir())}
            _write_manifest(staging, version=version, length=length, proof=proof, files=files, inputs=inputs)
            _move(staging, releases / version)
    except CtdcError:
        raise
    except (OSError, duckdb.Error, pa.ArrowException) as error:
        raise ResourceError(
            f"release {version} could not be written ({type(error).__name__})",
            remedy="Check space and permissions of the data folder, then run the release again; nothing was published.",
        ) from None
    return Release(folder=releases / version, version=version, proof=proof, files=files)


def _write_records(synthetic: Path, staging: Path, *, codebook: Codebook) -> None:
    """CSV, TSV and Parquet of the codebook's variables in its order."""
    table = pq.read_table(synthetic, columns=list(codebook.names))
    _write_text(table, staging / f"{RECORDS}.csv")
    _write_text(table, staging / f"{RECORDS}.tsv", delimiter="\\t")
    pq.write_table(table, staging / f"{RECORDS}.parquet", compression="zstd")


def _write_aggregates(aggregates: Path, staging: Path) -> None:
    _write_text(pq.read_table(aggregates), staging / f"{AGGREGATES}.csv")


def _write_text(table: pa.Table, path: Path, *, delimiter: str = ",") -> None:
    """Delimited text: UTF-8, header, quoted where needed, empty for missing, rows in the order of ``table``."""
    with duckdb.connect() as connection:
        connection.register("source", table)
        connection.execute(f"COPY source TO '{_sql(path)}' (FORMAT csv, HEADER, DELIMITER E'{delimiter}', NULLSTR '')")


def _write_dictionary(staging: Path, *, codebook: Codebook) -> None:
    """The data dictionary of the released variables, as CSV and as Markdown."""
    rows = [
        {
            "position": variable.position,
            "name": variable.name,
            "label": variable.label,
            "group": variable.group,
            "type": variable.kind,
            "values": " | ".join(variable.values),
            "definition": variable.definition,
            "aliases": " | ".join(variable.aliases),
        }
        for variable in codebook.variables
    ]
    _write_text(pa.Table.from_pylist(rows), staging / f"{DICTIONARY}.csv")
    text = ["# Data dictionary", ""]
    text += ["An empty cell is a missing value. A flag is 1 or missing; missing does not mean that it did not happen.", ""]
    for row in rows:
        text += [f"## {row['position']}. {row['name']}", ""]
        text += [f"- {field}: {str(row[field]).replace(' | ', ', ')}" for field in ("label", "group", "type")]
        text += [f"- {field}: {row[field].replace(' | ', ', ')}" for field in ("values", "aliases") if row[field]]
        text += ["", str(row["definition"]), ""]
    (staging / f"{DICTIONARY}.md").write_text("\n".join(text), encoding="utf-8")


def _prove(staging: Path, victims: Path, *, codebook: Codebook, k: int) -> disclosure.Proof:
    """Prove the staged CSV, and that the other two files hold the same records."""
    with duckdb.connect() as connection:
        text = "all_varchar = true, header = true, nullstr = ''"
        copies = [
            f"SELECT * FROM read_csv('{_sql(staging / f'{RECORDS}.csv')}', {text}, delim = ',')",
            f"SELECT * FROM read_csv('{_sql(staging / f'{RECORDS}.tsv')}', {text}, delim = '\t')",
            f"SELECT * FROM read_parquet('{_sql(staging / f'{RECORDS}.parquet')}')",
        ]
        csv, tsv, parquet = (connection.sql(copy).to_arrow_table() for copy in copies)
    if not csv.equals(tsv) or not csv.equals(parquet.cast(csv.schema)) or csv.column_names != list(codebook.names):
        raise ReleaseError(
            "the CSV, TSV and Parquet files do not hold the same records",
            remedy="Nothing was published. Check the disk and run the release again.",
        )
    return disclosure.prove(
        victims, staging / f"{RECORDS}.csv", staging / f"{AGGREGATES}.csv", variables=codebook.names, k=k
    ).require()


def _write_manifest(
    staging: Path,
    *,
    version: str,
    length: int,
    proof: disclosure.Proof,
    files: Mapping[str, str],
    inputs: Mapping[str, str],
) -> None:
    # The smallest support is an exact count of victims, which is never published; that it reaches k is what is proved.
    manifest = {
        "version": version,
        "software": {"name": "ctdc-pipeline", "version": installed_version("ctdc-pipeline")},
        "k": proof.k,
        "reporting_length": length,
        "rows": {RECORDS: proof.synthetic_records, AGGREGATES: proof.aggregates},
        "proof": {name: value for name, value in asdict(proof).items() if name != "smallest_support"},
        "files": dict(files),
        "inputs": dict(sorted(inputs.items())),
    }
    (staging / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _move(staging: Path, target: Path) -> None:
    """Make the staged folder public in one step. A folder that holds files is never replaced: the rename itself refuses."""
    for file in staging.iterdir():
        file.chmod(PUBLIC_FILE)
        sync(file)
    staging.chmod(PUBLIC_FOLDER)
    sync(staging)
    target.parent.mkdir(parents=True, exist_ok=True)
    staging.rename(target)
    sync(target.parent)


def _sql(path: Path) -> str:
    return str(path).replace("'", "''")
