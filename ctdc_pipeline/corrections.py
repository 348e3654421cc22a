"""What a partner has to correct: its rows in quarantine in the layout they came in, which land again as an increment.

Two columns stand before those of the layout and are ignored when the file is read: where each row was, and what to correct in
it. The file holds case records in clear.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from ctdc_pipeline.current import sent_and_whole
from ctdc_pipeline.dialects import in_any_layout
from ctdc_pipeline.errors import ParameterError, TableError
from ctdc_pipeline.files import read_parquet, staged
from ctdc_pipeline.interchange import htcds
from ctdc_pipeline.partners.layout import Layout, Source
from ctdc_pipeline.partners.registry import PARTNERS, SOURCES
from ctdc_pipeline.partners.writing import write
from ctdc_pipeline.store import TERMS, Store
from ctdc_pipeline.zones import Zones

DELIVERED, TO_CORRECT = "Delivered as", "To correct"
"""The two columns before those of the layout."""


@dataclass(frozen=True)
class Corrections:
    """What was written for ``source`` to ``folder``, which lands as one increment: rows, and the refresh that it continues."""

    source: str
    folder: Path
    rows: int
    since: str


def export_quarantine(name: str, folder: Path, *, zones: Zones, outside: bool = False) -> list[Corrections]:
    """Write the current quarantine of a source, or of each source of a partner, to ``folder``/<source>/.

    Rows that came as HTCDS are written so, to ``folder``/<source>_htcds/, because a delivery has all its cases in one layout.
    Beside the files stands what makes of them an increment, and an empty opt-out list or the last consent register where the
    source sends one. Sources without quarantine are left out. Raises ParameterError for an unknown name, a folder that is not
    empty, or one outside the sensitive zone unless ``outside``; TableError if the tables are missing.
    """
    sources = PARTNERS.get(name) or ((SOURCES[name],) if name in SOURCES else ())
    if not sources:
        raise ParameterError("there is no such partner or source", remedy=f"Choose among {', '.join([*PARTNERS, *SOURCES])}.")
    place = folder.resolve()
    if not outside and not place.is_relative_to(zones.sensitive):
        remedy = "Name a folder there, or allow another one with --outside and keep it as safe."
        raise ParameterError("the folder is outside the sensitive zone, and rows of cases would be written to it", remedy=remedy)
    if place.is_relative_to(zones.landing):
        raise ParameterError("what is written to the landing folder is taken in as it is", remedy="Name another folder.")
    if place.exists() and any(place.iterdir()):
        raise ParameterError("the folder is not empty", remedy="Name a new folder.")
    return [done for source in sources for done in _export(source, place, zones)]


def _export(source: Source, place: Path, zones: Zones) -> Iterator[Corrections]:
    path = zones.table("harmonised", f"{source.partner}_quarantine")
    if not path.exists():
        raise TableError(f"{source.partner} has not been harmonised", remedy="Run the full refresh first.")
    broken = read_parquet(path).to_pandas()
    broken = broken[broken["source"] == source.name]
    used = Store(zones.deliveries).used(source.name)
    if not used:
        return
    found: dict[str, list[pd.DataFrame]] = {}
    for refresh, rows in broken.groupby("refresh"):
        folder = zones.ingested(source.name) / str(refresh)
        sent, _ = sent_and_whole(source, folder=folder)
        table = read_parquet(folder / f"{source.name}.parquet").to_pandas()
        found.setdefault(sent.cases.title, []).append(_rows(table, rows, refresh=str(refresh)))
    for title, sent in in_any_layout(source).items():
        if title not in found:
            continue
        cases, rows = sent.cases, pd.concat(found[title])
        folder = place / (source.name if cases == source.cases else f"{source.name}_htcds")
        rows["_written"] = [_file(name, cases) for name in rows["_file"]]
        columns = [DELIVERED, TO_CORRECT, *(field.name for field in cases.fields if field.name != htcds.COUNTRY)]
        for name, part in rows.groupby("_written"):
            form = cases.format if str(name).endswith(".xlsx") else "csv"
            write(part.loc[:, columns], folder / str(name), layout=replace(cases, format=form))
        _write_rest(source, folder, zones, latest=used[-1].refresh.label)
        yield Corrections(source.name, folder, len(rows), used[-1].refresh.label)


def _rows(table: pd.DataFrame, broken: pd.DataFrame, *, refresh: str) -> pd.DataFrame:
    """The rows of one delivery that broke a rule, with where they were and why before them."""
    broken = broken.assign(why=broken["field"] + ": " + broken["rule"])
    why = broken.groupby(["source_file", "source_row"])["why"].agg("; ".join).reset_index()
    rows = table.merge(why, left_on=["_file", "_row"], right_on=["source_file", "source_row"])
    rows[TO_CORRECT] = rows["why"]
    formulas = broken.loc[broken["rule"] == "formula-text", ["source_file", "source_row", "field"]]
    for file, row, field in formulas.itertuples(index=False, name=None):
        # Else opening the file could run it.
        hit = (rows["_file"] == file) & (rows["_row"] == row)
        rows.loc[hit, field] = "'" + rows.loc[hit, field]
    rows[DELIVERED] = refresh + ", " + rows["_file"] + ", row " + rows["_row"].astype(str)
    return rows


def _write_rest(source: Source, folder: Path, zones: Zones, *, latest: str) -> None:
    """What an increment of ``source`` needs besides cases: an empty opt-out list, the last consent register, and its terms."""
    for name, layout in source.layouts.items():
        if layout is not source.cases:
            frame = read_parquet(zones.ingested(source.name) / latest / f"{name}.parquet").to_pandas()
            names = [field.name for field in layout.fields]
            rows = frame[names].iloc[:0] if layout.may_be_empty else frame[names]
            write(rows, folder / layout.file_pattern.replace("*", ""), layout=layout)
    with staged(folder / TERMS) as part:
        part.write_text(f'kind = "increment"\nsince = "{latest}"\n', encoding="utf-8")


def _file(name: str, layout: Layout) -> str:
    """What rows of the file ``name`` are written to. A layout that is text or a workbook is text if that was a .csv."""
    return name if layout.format == "csv" or name.lower().endswith(".csv") else f"{Path(name).stem}.xlsx"
