"""Ingested tables: the rows of a delivery as text, with their positions in the file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NoReturn

import pyarrow as pa

from ctdc_pipeline.errors import TableError
from ctdc_pipeline.ingestion.accepted_layouts import in_any_layout
from ctdc_pipeline.ingestion.delivery_store import Delivery
from ctdc_pipeline.partners.layout import Layout, Source
from ctdc_pipeline.partners.reading import InputFile, read
from ctdc_pipeline.storage.files import parquet_rows, parquet_schema, read_parquet, write_parquet

FILES = "files"
"""The name of the table that lists the files that were read."""


@dataclass(frozen=True)
class FileRead:
    """One file that was read: its table, name, size in bytes, SHA-256 and data rows."""

    table: str
    name: str
    size: int
    sha256: str
    rows: int


@dataclass(frozen=True)
class IngestSummary:
    """What was read of one source.

    ``unknown_columns`` are (file, column) pairs that no layout knows; they were left out.
    """

    source: str
    files: tuple[FileRead, ...]
    unknown_columns: tuple[tuple[str, str], ...]
    rows: dict[str, int]


@dataclass(frozen=True)
class Ingested:
    """The tables of one delivery by name.

    ``layout`` is the title of the layout in which it was sent.
    """

    delivery: str
    layout: str
    tables: dict[str, pa.Table]
    summary: IngestSummary

    def write(self, folder: Path) -> None:
        """Write each table to ``folder``, and ``files.parquet`` last.

        Without that file the tables are incomplete.
        """
        files_path = folder / f"{FILES}.parquet"
        files_path.unlink(missing_ok=True)
        for name, content in self.tables.items():
            write_parquet(content, folder / f"{name}.parquet")
        origin = {"delivery": self.delivery, "layout": self.layout}
        write_parquet(pa.Table.from_pylist([{**asdict(file), **origin} for file in self.summary.files]), files_path)


def ingest(source: Source, *, delivery: Delivery) -> Ingested:
    """Read every file of ``delivery`` into one table for each layout.

    Args:
        source: The source, in the layout in which the delivery was sent (``accepted_layouts.as_sent``).
        delivery: The delivery, in the store.

    Returns:
        The tables. Columns: ``_file`` (text), ``_row`` (int64; 1 is the first row below the headings), then the fields of the
            layout in order (text; an empty cell is the empty text). Rows are ordered by file name and row.

    Raises:
        DeliveryError: If a file is unexpected, missing, damaged or not as its layout requires.
    """
    paths = delivery.paths()
    if delivery.kind == "increment" and delivery.since:
        # An increment may contain opt-outs only, without any new case.
        source = replace(source, cases=replace(source.cases, may_be_empty=True))
    table_by_path = {path: table for table, layout in source.layouts.items() for path in paths if path.match(layout.file_pattern)}
    for path in paths:
        if path not in table_by_path:
            InputFile(source.name, path.name).refuse("no file of this name is expected", "Rename or remove it.")
    tables: dict[str, pa.Table] = {}
    reads: list[FileRead] = []
    unknown_columns: list[tuple[str, str]] = []
    for table, layout in source.layouts.items():
        table_paths = [path for path in paths if table_by_path[path] == table]
        if not table_paths:
            missing_file = InputFile(source.name, layout.file_pattern)
            missing_file.refuse("the file is missing", f"Land the {layout.title.lower()} and run again.")
        parts: list[pa.Table] = []
        for path in table_paths:
            part, unknown_headings = read(path, layout=layout, source=source.name)
            parts.append(part)
            unknown_columns += [(path.name, column) for column in unknown_headings]
            (file,) = (file for file in delivery.files if file.name == path.name)
            reads.append(FileRead(table, file.name, file.size, file.sha256, part.num_rows))
        tables[table] = pa.concat_tables(parts)
    rows = {name: content.num_rows for name, content in tables.items()}
    summary = IngestSummary(source.name, tuple(reads), tuple(unknown_columns), rows)
    return Ingested(delivery.content, source.cases.title, tables, summary)


def ingested_columns(layout: Layout) -> pa.Schema:
    """Return the columns of a table that ``ingest`` writes."""
    return pa.schema([("_file", pa.string()), ("_row", pa.int64()), *((field.name, pa.string()) for field in layout.fields)])


ROW_POSITION = ("_refresh", "_file", "_row")
"""The columns that say where a row of the current state comes from."""


def require_ingested(source: Source, *, folder: Path) -> tuple[Source, str]:
    """Check that the ingested tables of one delivery are there and complete.

    Args:
        source: The source of the delivery.
        folder: The folder of the tables; its name is the refresh.

    Returns:
        ``source`` in the layout in which the delivery was sent, and the content hash of the delivery.

    Raises:
        TableError: If a table is missing, incomplete or not of that layout. The message names the refresh and the fault.
    """
    label = f"{source.name}, {folder.name}"
    try:
        files = read_parquet(folder / f"{FILES}.parquet", columns=["table", "rows", "delivery", "layout"]).to_pandas()
        (title,), (content,) = {*files["layout"]}, {*files["delivery"]}
        sent = in_any_layout(source)[title]
        for name, layout in sent.layouts.items():
            schema, rows = parquet_schema(folder / f"{name}.parquet"), parquet_rows(folder / f"{name}.parquet")
            if not schema.equals(ingested_columns(layout)):
                _ingest_again(f"{label}: the columns of {name} are not those of its layout")
            if rows != files.loc[files["table"] == name, "rows"].sum():
                _ingest_again(f"{label}: the table {name} has {rows} rows, which is not the number that was read")
    except (OSError, pa.ArrowException, KeyError, ValueError):
        _ingest_again(f"{label} has not been ingested, or was ingested with a layout that no longer exists")
    return sent, content


def ingested_problems(source: Source, *, ingested: Path) -> list[str]:
    """List what is wrong with the ingested tables of each refresh of ``source``.

    Args:
        source: The source.
        ingested: The folder with one folder of tables for each refresh.

    Returns:
        One message for each problem: wrong columns, wrong number of rows, or rows without a unique position in their file.
    """
    problems: list[str] = []
    for folder in sorted(folder for folder in ingested.glob("[!.]*") if folder.is_dir()):
        try:
            sent, _ = require_ingested(source, folder=folder)
        except TableError as error:
            problems.append(error.message)
            continue
        for name in sent.layouts:
            positions = read_parquet(folder / f"{name}.parquet", columns=list(ROW_POSITION[1:])).to_pandas()
            if bad_rows := int((positions.duplicated() | positions.isna().any(axis=1) | (positions["_row"] < 1)).sum()):
                problems.append(f"{source.name}, {folder.name}: {bad_rows} rows of {name} have no unique position in their file")
    return problems


def _ingest_again(message: str) -> NoReturn:
    raise TableError(message, remedy="Ingest it again.") from None
