"""Export a partner's quarantined rows, to be corrected and landed as an increment.

They are in the layout in which they came. Two columns precede those of the layout and are ignored when the file is read: where
each row was, and what to correct in it. The file contains case records in clear.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pyarrow as pa

from ctdc_pipeline.errors import ParameterError, TableError
from ctdc_pipeline.harmonisation.derivation import unusable_cells
from ctdc_pipeline.ingestion.accepted_layouts import in_any_layout
from ctdc_pipeline.ingestion.delivery_store import TERMS, Store
from ctdc_pipeline.ingestion.ingested import require_ingested
from ctdc_pipeline.partners import htcds
from ctdc_pipeline.partners.layout import Layout, Source
from ctdc_pipeline.partners.registry import PARTNERS, SOURCES
from ctdc_pipeline.partners.writing import write
from ctdc_pipeline.storage.files import read_parquet, staged
from ctdc_pipeline.storage.zones import Zones

DELIVERED, TO_CORRECT = "Delivered as", "To correct"
"""The two columns before those of the layout."""


@dataclass(frozen=True)
class Corrections:
    """What was written for ``source``.

    The folder lands as one increment that continues the refresh ``since``.
    """

    source: str
    folder: Path
    rows: int
    since: str


def export_quarantine(name: str, folder: Path, *, zones: Zones, outside: bool = False) -> list[Corrections]:
    """Write the current quarantine of a source or partner to ``folder``/<source>/.

    Rows that came as HTCDS are written as HTCDS to ``folder``/<source>_htcds/, because a delivery has all its cases in one
    layout. Each folder also gets the file that makes it an increment, and an empty opt-out list or the last consent register if
    the source sends one. Sources without quarantine are left out.

    Args:
        name: The name of a source or partner.
        folder: A new or empty folder.
        zones: The zones of the installation.
        outside: Allow a folder outside the sensitive zone.

    Returns:
        What was written, by source and layout.

    Raises:
        ParameterError: If the name is unknown, or the folder is not empty, is in the landing area, or is outside the sensitive
            zone without ``outside``.
        TableError: If the tables are missing.
    """
    sources = PARTNERS.get(name) or ((SOURCES[name],) if name in SOURCES else ())
    if not sources:
        raise ParameterError("there is no such partner or source", remedy=f"Choose among {', '.join([*PARTNERS, *SOURCES])}.")
    target = folder.resolve()
    if not outside and not target.is_relative_to(zones.sensitive):
        remedy = "Name a folder there, or allow another one with --outside and keep it as safe."
        raise ParameterError("the folder is outside the sensitive zone, and rows of cases would be written to it", remedy=remedy)
    if target.is_relative_to(zones.landing):
        raise ParameterError("files in the landing folder would be taken in uncorrected", remedy="Name another folder.")
    if target.exists() and any(target.iterdir()):
        raise ParameterError("the folder is not empty", remedy="Name a new folder.")
    return [corrections for source in sources for corrections in _export(source, target, zones)]


def _export(source: Source, target: Path, zones: Zones) -> Iterator[Corrections]:
    path = zones.table("harmonised", f"{source.partner}_quarantine")
    if not path.exists():
        raise TableError(f"{source.partner} has not been harmonised", remedy="Run the full refresh first.")
    quarantine = read_parquet(path).to_pandas()
    quarantine = quarantine[quarantine["source"] == source.name]
    deliveries = Store(zones.deliveries).used(source.name)
    if not deliveries:
        return
    rows_by_layout: dict[str, list[pd.DataFrame]] = {}
    for refresh, rows in quarantine.groupby("refresh"):
        folder = zones.ingested(source.name) / str(refresh)
        as_sent, _ = require_ingested(source, folder=folder)
        table = read_parquet(folder / f"{source.name}.parquet").to_pandas()
        rows_by_layout.setdefault(as_sent.cases.title, []).append(_rows(table, rows, refresh=str(refresh)))
    for title, as_sent in in_any_layout(source).items():
        if title not in rows_by_layout:
            continue
        cases, rows = as_sent.cases, pd.concat(rows_by_layout[title])
        folder = target / (source.name if cases == source.cases else f"{source.name}_htcds")
        rows["_written"] = [_export_name(name, cases) for name in rows["_file"]]
        columns = [DELIVERED, TO_CORRECT, *(field.name for field in cases.fields if field.name != htcds.COUNTRY)]
        for name, part in rows.groupby("_written"):
            file_format = cases.format if str(name).endswith(".xlsx") else "csv"
            write(part.loc[:, columns], folder / str(name), layout=replace(cases, format=file_format))
        _write_rest(source, folder, zones, latest=deliveries[-1].refresh.label)
        yield Corrections(source.name, folder, len(rows), deliveries[-1].refresh.label)


def _rows(table: pd.DataFrame, quarantine: pd.DataFrame, *, refresh: str) -> pd.DataFrame:
    """Return the quarantined rows of one delivery, with their positions and reasons."""
    quarantine = quarantine.assign(why=quarantine["field"] + ": " + quarantine["rule"])
    reasons = quarantine.groupby(["source_file", "source_row"])["why"].agg("; ".join).reset_index()
    rows = table.merge(reasons, left_on=["_file", "_row"], right_on=["source_file", "source_row"])
    rows[TO_CORRECT] = rows["why"]
    for name in table.columns.drop(["_file", "_row"]):
        # Opening the file could run a formula, even one in a field that no rule checks.
        formulas = dict(unusable_cells(pa.chunked_array([rows[name]], pa.string()))).get("formula-text")
        if formulas is not None:
            rows.loc[formulas, name] = "'" + rows.loc[formulas, name]
    rows[DELIVERED] = refresh + ", " + rows["_file"] + ", row " + rows["_row"].astype(str)
    return rows


def _write_rest(source: Source, folder: Path, zones: Zones, *, latest: str) -> None:
    """Write the other files of an increment: an empty opt-out list, consents, and terms.

    The consents are the last register.
    """
    for name, layout in source.layouts.items():
        if layout is not source.cases:
            frame = read_parquet(zones.ingested(source.name) / latest / f"{name}.parquet").to_pandas()
            names = [field.name for field in layout.fields]
            rows = frame[names].iloc[:0] if layout.may_be_empty else frame[names]
            write(rows, folder / layout.file_pattern.replace("*", ""), layout=layout)
    with staged(folder / TERMS) as part:
        part.write_text(f'kind = "increment"\nsince = "{latest}"\n', encoding="utf-8")


def _export_name(name: str, layout: Layout) -> str:
    """Return the name of the exported file.

    Rows of a .csv file are exported as text even if the layout accepts workbooks.
    """
    return name if layout.format == "csv" or name.lower().endswith(".csv") else f"{Path(name).stem}.xlsx"
