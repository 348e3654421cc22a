"""What assets and checks tell Dagster: tables and releases in figures, and failures without a value of a case. No assets here."""

from base64 import b64encode
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dagster as dg

from ctdc_pipeline import encryption
from ctdc_pipeline.codebook import codebook
from ctdc_pipeline.errors import CtdcError, type_and_place
from ctdc_pipeline.files import parquet_rows, parquet_schema, parquet_sha256
from ctdc_pipeline.release import RECORDS, Release

OWNERS = ["team:ctdc-data"]
KINDS = {"python", "parquet"}

Materialized = dg.MaterializeResult[Any]


@contextmanager
def guarded() -> Generator[None]:
    """Let no exception reach Dagster's event log with a text that could quote a case. Use it as a decorator, below Dagster's.

    Our own errors are free of values by construction. Of any other error only the type and the place are told.
    """
    try:
        yield
    except dg.Failure:
        raise
    except CtdcError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    except Exception as error:
        text = f"{type_and_place(error)}. Its message is withheld, for it could quote a case; see docs/operations.md."
        raise dg.Failure(text, allow_retries=False) from None


def table_result(path: Path, *, key: Sequence[str] = (), **figures: dg.MetadataValue | float | str) -> Materialized:
    """The materialisation of the Parquet table at ``path``, of asset ``key`` or named so: rows, hash, columns, ``figures``."""
    digest = parquet_sha256(path)
    return dg.MaterializeResult(
        asset_key=list(key) or [path.parent.name, path.stem],
        metadata={
            "dagster/row_count": parquet_rows(path),
            "dagster/column_schema": column_schema(path),
            "sha256": digest,
            "encryption": encryption.notice(),
            **figures,
        },
        data_version=dg.DataVersion(digest),
    )


def release_result(done: Release, **said: dg.MetadataValue | str) -> Materialized:
    """The materialisation of a release or a candidate: version, ``said``, rows, columns, folder, proof, files and any plots."""
    return dg.MaterializeResult(
        metadata={
            "version": done.version,
            **said,
            "dagster/row_count": done.proof.synthetic_records,
            "dagster/column_schema": column_schema(done.folder / f"{RECORDS}.parquet"),
            "folder": dg.MetadataValue.path(done.folder),
            **asdict(done.proof),
            **done.files,
            **{f"plot_{name}": plot(svg) for name, svg in done.plots.items()},
        }
    )


def column_schema(path: Path) -> dg.TableSchema:
    """The columns of a Parquet file, described by the codebook where it knows them."""
    described = {variable.name: variable.definition for variable in codebook().harmonised}
    columns = [dg.TableColumn(field.name, str(field.type), described.get(field.name)) for field in parquet_schema(path)]
    return dg.TableSchema(columns)


def grid(rows: Sequence[Mapping[str, Any]]) -> dg.MetadataValue:
    """Figures as a table, with the columns of the first row."""
    columns = [dg.TableColumn(name) for name in (rows or [{}])[0]]
    return dg.MetadataValue.table([dg.TableRecord(dict(row)) for row in rows], schema=dg.TableSchema(columns))


def plot(svg: str) -> dg.MetadataValue:
    """A plot of protected figures, to be looked at in the catalogue."""
    return dg.MetadataValue.md(f"![plot](data:image/svg+xml;base64,{b64encode(svg.encode()).decode('ascii')})")
