"""What assets and checks tell Dagster: tables and releases in figures, and failures without a value of a case. No assets here."""

from base64 import b64encode
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import Any

import dagster as dg

from assets.catalogue import COLUMNS
from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.errors import CtdcError, DeliveryError, type_and_place
from ctdc_pipeline.ingestion.checksums import CHECKSUMS
from ctdc_pipeline.ingestion.delivery_store import TERMS
from ctdc_pipeline.operations.interrupts import ends_soon
from ctdc_pipeline.partners.registry import SOURCES
from ctdc_pipeline.release.candidate import RECORDS, Release
from ctdc_pipeline.storage import encryption
from ctdc_pipeline.storage.files import parquet_rows, parquet_schema, parquet_sha256

STOPPED = "The step was asked to stop and went on, so its process was ended. Run it again."

Materialized = dg.MaterializeResult[Any]


@contextmanager
def guarded() -> Generator[None]:
    """Let no exception reach Dagster's event log with a text that could quote a case. Use it as a decorator, below Dagster's.

    Our own errors are free of values by construction. Of any other error only the type and the place are told. A step that is
    asked to stop ends soon, whatever it is at.
    """
    try:
        with ends_soon(_canceled()):
            yield
    except dg.Failure:
        raise
    except CtdcError as error:
        raise dg.Failure(_loggable(error), allow_retries=False) from None
    except Exception as error:
        text = f"{type_and_place(error)}. Its message is withheld, for it could quote a case; see docs/operations.md."
        raise dg.Failure(text, allow_retries=False) from None


def _canceled() -> Callable[[], None]:
    """What is still to be done for the run of this step, if it is one, when its process ends without cleaning up."""
    try:
        context = dg.OpExecutionContext.get()
    except dg.DagsterInvariantViolationError:  # a sensor
        return lambda: None

    def cancel() -> None:
        context.instance.report_run_canceled(context.run, message=STOPPED)

    return cancel


def _loggable(error: CtdcError) -> str:
    """The text of ``error``, without the name of a file that no layout of the partner expects: it can name a person."""
    if not isinstance(error, DeliveryError) or error.file is None:
        return str(error)
    layouts = SOURCES[error.partner].layouts.values() if error.partner in SOURCES else ()
    patterns = {CHECKSUMS, TERMS, *(layout.file_pattern for layout in layouts)}
    expected = any(error.file == pattern or PurePath(error.file).match(pattern) for pattern in patterns)
    return str(error) if expected else error.without_file()


def table_result(
    path: Path,
    *,
    key: Sequence[str] = (),
    described: Mapping[str, str] = MappingProxyType({}),
    **figures: dg.MetadataValue | float | str,
) -> Materialized:
    """The materialisation of the Parquet table at ``path``, of asset ``key`` or named so: rows, hash, columns, ``figures``.

    ``described`` says what the columns of a partner's file are; the codebook and the catalogue know the others.
    """
    digest = parquet_sha256(path)
    return dg.MaterializeResult(
        asset_key=list(key) or [path.parent.name, path.stem],
        metadata={
            "dagster/row_count": parquet_rows(path),
            "dagster/column_schema": column_schema(path, described),
            "sha256": digest,
            "encryption": encryption.notice(),
            **figures,
        },
        data_version=dg.DataVersion(digest),
    )


PROOFS = {
    "k_at_any_length": "Every distinct synthetic record is contained in at least k sensitive records, and none is empty.",
    "exact_counts": "Every attribute is published as often as it is in the sensitive records, rounded down to a multiple of k.",
    "aggregates": "Every reportable aggregate is the exact support rounded down to a multiple of k, and none is below k.",
    "anonymity": "Every group of the k-anonymised dataset is as large as it must be.",
    "differencing": "No group follows by subtraction within this release or from one before.",
    "whole_files": "CSV, TSV and Parquet hold the same records, files that tell the same figure agree, and every file has the"
    " hash that the manifest lists.",
}
"""What is proved of a candidate and a release, by check. Where one does not hold, it fails, nothing is made, and the run ends."""


PRIVATE_PROOFS = {
    "within_budget": "The measurements were charged to the privacy budget, and the release tells the ledger as it is.",
    "follows_from_measurements": "Records and counts are those that the published measurements give; nothing else of the persons"
    " is told.",
}
"""The same of a differentially private candidate and release."""


def proof_specs(key: Sequence[str], proofs: Mapping[str, str] = PROOFS) -> list[dg.AssetCheckSpec]:
    """The checks of what ``release_result`` reports as proved."""
    return [dg.AssetCheckSpec(name, asset=key, description=about) for name, about in proofs.items()]


def _proved(done: Release) -> list[dg.AssetCheckResult]:
    if (proof := done.proof) is None:
        return [dg.AssetCheckResult(passed=True, check_name=name) for name in PRIVATE_PROOFS]
    figures: dict[str, dict[str, int]] = {
        "k_at_any_length": {"rare_records": proof.rare_records, "empty_records": proof.empty_records, "k": proof.k},
        "exact_counts": {"attributes": proof.attributes, "inexact_counts": proof.inexact_counts},
        "aggregates": {"aggregates": proof.aggregates, "wrong_aggregates": proof.wrong_aggregates},
        "whole_files": {"files": len(done.files)},
    }
    return [
        dg.AssetCheckResult(passed=proof.holds, check_name=name, metadata=dict(figures.get(name, {"k": proof.k})))
        for name in PROOFS
    ]


def proved(
    make: Callable[[], Release], result: Callable[[Release], Materialized]
) -> Generator[Materialized | dg.AssetCheckResult]:
    """What an asset yields that makes a release: its ``result``, or the checks of the proofs that do not hold, and the error."""
    try:
        done = make()
    except CtdcError as error:
        yield from (dg.AssetCheckResult(passed=False, check_name=name, description=str(error)) for name in error.failed)
        raise
    yield result(done)


def release_result(done: Release, **said: dg.MetadataValue | float | str) -> Materialized:
    """The materialisation of a release or a candidate: version, ``said``, rows, columns, folder, proof, files and any plots."""
    return dg.MaterializeResult(
        metadata={
            "version": done.version,
            **said,
            "dagster/row_count": parquet_rows(done.folder / f"{RECORDS}.parquet"),
            "dagster/column_schema": column_schema(done.folder / f"{RECORDS}.parquet"),
            "folder": dg.MetadataValue.path(done.folder),
            "files": grid([{"file": name, "sha256": digest} for name, digest in done.files.items()]),
            **{f"plot_{name}": plot(svg) for name, svg in done.plots.items()},
        },
        check_results=_proved(done),
    )


def acknowledgeable(candidate: dg.AssetMaterialization) -> list[str]:
    """The names of the open warnings that the materialisation of a candidate lists."""
    rows = candidate.metadata["warnings"]
    return [str(row.data["warning"]) for row in rows.records] if isinstance(rows, dg.TableMetadataValue) else []


def column_schema(path: Path, described: Mapping[str, str] = MappingProxyType({})) -> dg.TableSchema:
    """The columns of a Parquet file, as ``described``, the codebook or the catalogue describes them."""
    known = COLUMNS | {variable.name: variable.definition for variable in codebook().harmonised} | {**described}
    columns = [dg.TableColumn(field.name, str(field.type), known.get(field.name)) for field in parquet_schema(path)]
    return dg.TableSchema(columns)


def grid(rows: Sequence[Mapping[str, Any]]) -> dg.MetadataValue:
    """Figures as a table, with the columns of the first row."""
    columns = [dg.TableColumn(name) for name in (rows or [{}])[0]]
    return dg.MetadataValue.table([dg.TableRecord(dict(row)) for row in rows], schema=dg.TableSchema(columns))


def plot(svg: str) -> dg.MetadataValue:
    """A plot of protected figures, to be looked at in the catalogue."""
    return dg.MetadataValue.md(f"![plot](data:image/svg+xml;base64,{b64encode(svg.encode()).decode('ascii')})")
