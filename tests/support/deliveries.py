"""Small deliveries for tests: valid rows of each source, and how to land them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq

from ctdc_pipeline.harmonisation.account import HarmoniseSummary
from ctdc_pipeline.harmonisation.harmonise import harmonise
from ctdc_pipeline.harmonisation.policy import HarmonisationPolicy
from ctdc_pipeline.ingestion.delivery_store import TERMS, Store
from ctdc_pipeline.ingestion.ingested import IngestSummary
from ctdc_pipeline.ingestion.intake import take_in
from ctdc_pipeline.ingestion.landing import Landing
from ctdc_pipeline.partners.layout import Layout
from ctdc_pipeline.partners.registry import PARTNERS, SOURCES
from ctdc_pipeline.samples.generate import REFRESH, generate
from ctdc_pipeline.storage.zones import Zones

KEY = b"0123456789abcdef0123456789abcdef"
TODAY = date(2021, 6, 30)
SENTINEL = "zqsentinelzq"
"""A value that no message may ever carry."""

VALID: dict[str, dict[str, str]] = {
    "iom_mimosa": {
        "CASE_NO": "MD-1",
        "INDIVIDUAL_NO": "1",
        "VICTIM_STATUS_CD": "VOT",
        "DATA_CONSENT_YN": "Y",
        "REG_DATE": "07-Mar-2016",
    },
    "iom_legacy": {"Case ref": "KV/1", "Entry type": "1", "Date reg.": "2006"},
    "polaris": {"Case_ID": "C1", "Victim_ID": "V1", "Situation_Status": "High", "Report_Date": "03/07/2016 21:40"},
    "polaris_opt_outs": {"Case_ID": "C1", "Victim_ID": "V1"},
    "liberty_shared": {"NGO Code": "NP01", "Client ID": "7", "Client Type": "Survivor", "Date of Entry": "2016-03-07"},
    "liberty_shared_consents": {"NGO Code": "NP01", "Client ID": "", "Consent to CTDC": "Yes"},
    "a21": {"Case File No": "A21-1", "Client Category": "Survivor", "Consent to Share": "Yes", "Intake Date": "2016-03-07"},
    "otsh": {
        "N.º do guião": "S-1",
        "N.º da vítima": "1",
        "Situação da vítima": "Confirmada",
        "Data da sinalização": "07/03/2016",
    },
}
FILES = {
    "iom_mimosa": "mimosa_1.csv",
    "iom_legacy": "iom_legacy.xlsx",
    "polaris": "polaris_cases.csv",
    "polaris_opt_outs": "polaris_opt_out.csv",
    "liberty_shared": "vcms_NP01.csv",
    "liberty_shared_consents": "consent_register.csv",
    "a21": "a21_case_files.xlsx",
    "otsh": "otsh_sinalizacoes.csv",
}
LAYOUTS: dict[str, Layout] = {name: layout for source in SOURCES.values() for name, layout in source.layouts.items()}

Rows = Iterable[Mapping[str, str]]


def cells(table: str, rows: Rows) -> list[list[str]]:
    """Headings and full rows: each of ``rows`` over the valid row of ``table``, blank elsewhere."""
    names = [field.name for field in LAYOUTS[table].fields]
    return [names, *([{**VALID[table], **row}.get(name, "") for name in names] for row in rows)]


def raw(table: str, *rows: Mapping[str, str]) -> pa.Table:
    """``rows`` as reading would give them."""
    names, *lines = cells(table, rows)
    origin = {"_file": pa.array([FILES[table]] * len(lines), pa.string()), "_row": pa.array(range(1, len(lines) + 1), pa.int64())}
    return pa.table({**origin, **{name: pa.array([line[i] for line in lines], pa.string()) for i, name in enumerate(names)}})


def home(tmp_path: Path) -> Zones:
    """The data home of a test."""
    return Zones(tmp_path).prepare()


def land(tmp_path: Path, table: str, *rows: Mapping[str, str], name: str = "", refresh: str = REFRESH) -> Path:
    """Write ``rows`` below landing/<source>/<refresh>/ as that partner would; returns the file."""
    source = next(source for source in SOURCES.values() if table in source.layouts)
    path, layout = home(tmp_path).landing / source.name / refresh / (name or FILES[table]), LAYOUTS[table]
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = cells(table, rows)
    if layout.format == "xlsx":
        workbook = openpyxl.Workbook()
        sheet = workbook.worksheets[0]
        sheet.title = layout.sheet
        for line in lines:
            sheet.append(line)
        workbook.save(path)
    else:
        with path.open("w", encoding=layout.encoding, newline="") as file:
            csv.writer(file, delimiter=layout.delimiter).writerows(lines)
    return path


def deliver(
    tmp_path: Path, source: str, *rows: Mapping[str, str], listed: Rows = (), refresh: str = REFRESH, terms: str = ""
) -> IngestSummary:
    """Land ``rows`` and ``listed`` as one delivery of ``source``, with ``terms`` as its delivery.toml, and take it in."""
    for table in SOURCES[source].layouts:
        path = land(tmp_path, table, *(rows if table == source else listed), refresh=refresh)
        if terms:
            (path.parent / TERMS).write_text(terms)
    return receive(tmp_path, source, refresh=refresh)


def receive(tmp_path: Path, source: str, *, refresh: str = REFRESH) -> IngestSummary:
    """Take in what landed for ``source``."""
    zones = home(tmp_path)
    return take_in(SOURCES[source], refresh=refresh, landing=Landing(zones.landing), zones=zones)[1]


def ingested(tmp_path: Path, table: str, *, refresh: str = REFRESH) -> Path:
    """Where one table of a delivery was read to."""
    source = next(source for source in SOURCES.values() if table in source.layouts)
    return home(tmp_path).ingested(source.name) / refresh / f"{table}.parquet"


def land_sample(zones: Zones, *, victims: int, seed: int) -> None:
    """Land the sample deliveries of all partners."""
    generate(zones.landing, victims=victims, seed=seed)


def receive_all(zones: Zones) -> None:
    """Take in all that landed."""
    landing = Landing(zones.landing)
    for landed in landing.landed():
        take_in(SOURCES[landed.source], refresh=landed.refresh, landing=landing, zones=zones)


def harmonise_all(
    tmp_path: Path,
    partner: str,
    *,
    key: bytes = KEY,
    as_of: date = TODAY,
    proxies: dict[str, list[str]] | None = None,
    admits: dict[str, list[str]] | None = None,
) -> HarmoniseSummary:
    """Harmonise what ``partner`` delivered so far."""
    zones = home(tmp_path)
    ingestion, folder = zones.sensitive / "ingestion", zones.sensitive / "harmonised"
    return harmonise(
        partner,
        store=Store(zones.deliveries),
        ingested=ingestion,
        folder=folder,
        key=key,
        policy=HarmonisationPolicy(as_of, proxies or {}, admits or {}),
    )


def harmonised(
    tmp_path: Path,
    partner: str,
    *rows: Mapping[str, str],
    listed: Rows = (),
    key: bytes = KEY,
    proxies: dict[str, list[str]] | None = None,
) -> HarmoniseSummary:
    """Deliver and harmonise ``rows`` (of IOM: as rows of MiMOSA, beside one of the legacy workbook) with ``listed`` as list."""
    for source in PARTNERS[partner]:
        deliver(tmp_path, source.name, *({},) if source.name == "iom_legacy" else rows, listed=listed)
    return harmonise_all(tmp_path, partner, key=key, proxies=proxies)


def outcome(tmp_path: Path, name: str) -> list[dict[str, object]]:
    """A table that harmonising wrote, as a list of rows."""
    return pq.read_table(home(tmp_path).table("harmonised", name)).to_pylist()


def left_out(tmp_path: Path, partner: str) -> dict[object, object]:
    """Row numbers and the rule that excluded them."""
    return {row["source_row"]: row["rule"] for row in outcome(tmp_path, f"{partner}_exclusions")}
