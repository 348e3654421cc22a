"""What a partner has to correct: its rows in quarantine as a file in its own layout, which lands again as an increment.

Two columns stand before those of the layout and are ignored when the file is read: where each row was, and what to correct in
it. The file holds case records in clear.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ctdc_pipeline.current import sent_and_whole
from ctdc_pipeline.errors import ParameterError, TableError
from ctdc_pipeline.files import read_parquet, staged
from ctdc_pipeline.partners.layout import Source
from ctdc_pipeline.partners.registry import PARTNERS, SOURCES
from ctdc_pipeline.partners.writing import write
from ctdc_pipeline.store import TERMS, Store
from ctdc_pipeline.zones import Zones

DELIVERED, TO_CORRECT = "Delivered as", "To correct"
"""The two columns before those of the layout."""


@dataclass(frozen=True)
class Corrections:
    """What was written for ``source`` below ``folder``: rows, the refresh they continue, and rows left out as they came in the
    standard form instead of the source's own layout."""

    source: str
    folder: Path
    rows: int
    since: str
    standard_form: int


def export_quarantine(name: str, folder: Path, *, zones: Zones, outside: bool = False) -> list[Corrections]:
    """Write the current quarantine of a source, or of each source of a partner, to ``folder``/<source>/.

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
    return [done for source in sources if (done := _export(source, place / source.name, zones))]


def _export(source: Source, folder: Path, zones: Zones) -> Corrections | None:
    path = zones.table("harmonised", f"{source.partner}_quarantine")
    if not path.exists():
        raise TableError(f"{source.partner} has not been harmonised", remedy="Run the full refresh first.")
    broken = read_parquet(path).to_pandas()
    broken = broken[broken["source"] == source.name]
    used = Store(zones.deliveries).used(source.name)
    if broken.empty or not used:
        return None
    parts: list[pd.DataFrame] = []
    for refresh, rows in broken.groupby("refresh"):
        sent, _ = sent_and_whole(source, folder=zones.ingested(source.name) / str(refresh))
        if sent.cases == source.cases:
            table = read_parquet(zones.ingested(source.name) / str(refresh) / f"{source.name}.parquet").to_pandas()
            parts.append(_rows(table, rows, refresh=str(refresh)))
    found = pd.concat(parts) if parts else pd.DataFrame({"_file": []})
    places = len(broken.drop_duplicates(["refresh", "source_file", "source_row"]))
    columns = [DELIVERED, TO_CORRECT, *(field.name for field in source.cases.fields)]
    for name, part in found.groupby("_file"):
        write(part.loc[:, columns], folder / str(name), layout=source.cases)
    if len(found):
        _write_rest(source, folder, zones, latest=used[-1].refresh.label)
    return Corrections(source.name, folder, len(found), used[-1].refresh.label, places - len(found))


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
