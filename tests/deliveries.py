"""Small deliveries for tests: valid rows of each source, and how to land them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq

from ctdc_pipeline.files import write_parquet
from ctdc_pipeline.harmonise import HarmoniseSummary, harmonise
from ctdc_pipeline.partners.layout import Layout
from ctdc_pipeline.partners.registry import PARTNERS, SOURCES

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
}
FILES = {
    "iom_mimosa": "mimosa_1.csv",
    "iom_legacy": "iom_legacy.xlsx",
    "polaris": "polaris_cases.csv",
    "polaris_opt_outs": "polaris_opt_out.csv",
    "liberty_shared": "vcms_NP01.csv",
    "liberty_shared_consents": "consent_register.csv",
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


def land(landing: Path, table: str, *rows: Mapping[str, str], name: str = "") -> Path:
    """Write ``rows`` below ``landing``/<source>/ as that partner would; returns the file."""
    source = next(source for source in SOURCES.values() if table in source.layouts)
    path, layout = landing / source.name / (name or FILES[table]), LAYOUTS[table]
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


def harmonised(
    tmp_path: Path,
    partner: str,
    *rows: Mapping[str, str],
    listed: tuple[Mapping[str, str], ...] = (),
    key: bytes = KEY,
    proxies: dict[str, list[str]] | None = None,
) -> HarmoniseSummary:
    """Harmonise ``rows`` (of IOM: as rows of MiMOSA, beside one of the legacy workbook) with ``listed`` as its list."""
    ingested = tmp_path / "ingestion"
    for source in PARTNERS[partner]:
        own = ({},) if source.name == "iom_legacy" else rows
        tables = {source.name: own, f"{source.name}_opt_outs": listed, f"{source.name}_consents": listed}
        for name in source.layouts:
            write_parquet(raw(name, *tables[name]), ingested / f"{name}.parquet")
    return harmonise(partner, ingested=ingested, folder=tmp_path / "harmonised", key=key, as_of=TODAY, proxies=proxies)


def outcome(tmp_path: Path, name: str) -> list[dict[str, object]]:
    """A table that ``harmonised`` wrote, as a list of rows."""
    return pq.read_table(tmp_path / "harmonised" / f"{name}.parquet").to_pylist()


def left_out(tmp_path: Path, partner: str) -> dict[object, object]:
    """Row numbers and the rule that excluded them."""
    return {row["source_row"]: row["rule"] for row in outcome(tmp_path, f"{partner}_exclusions")}
