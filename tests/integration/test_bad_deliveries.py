"""Bad deliveries as Dagster sees them: a failed run that names the file and the remedy, and nothing published or lost."""

import csv
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pyarrow.parquet as pq
import pytest

from ctdc_pipeline.partners.registry import SOURCES
from ctdc_pipeline.storage.zones import Zones
from tests.integration.conftest import Graph, told
from tests.support.deliveries import REFRESH

Damage = Callable[[Path], object]


def landed_file(graph: Graph, source: str, kind: str = "") -> Path:
    layout = SOURCES[source].layouts[kind or source]
    (*_, last) = sorted((graph.zones.landing / source).iterdir())
    return max(last.glob(layout.file_pattern), key=lambda path: path.stat().st_size)


def rewritten(edit: Callable[[list[list[str]]], list[list[str]]]) -> Damage:
    """Damage that changes the cells of a CSV file, headings first."""

    def damage(path: Path) -> None:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(edit(rows))

    return damage


def bomb(path: Path) -> None:
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("xl/worksheets/sheet1.xml", "w") as entry,
    ):
        for _ in range(1100):
            entry.write(bytes(1 << 20))


def formula(path: Path) -> None:
    book = openpyxl.load_workbook(path)
    book.worksheets[0]["A1"] = "=1+1"
    book.save(path)


REFUSED: dict[str, tuple[str, str, Damage]] = {
    "missing file": ("polaris", "", Path.unlink),
    "empty file": ("polaris", "", lambda path: path.write_bytes(b"")),
    "header only": ("polaris", "", rewritten(lambda rows: rows[:1])),
    "wrong delimiter": ("polaris", "", lambda path: path.write_text(path.read_text().replace(",", ";"))),
    "wrong encoding": ("polaris", "", lambda path: path.write_text(path.read_text(), encoding="utf-16")),
    "truncated last line": ("polaris", "", lambda path: path.write_bytes(path.read_bytes()[:-20])),
    "duplicate column": ("polaris", "", rewritten(lambda rows: [[*row, row[0]] for row in rows])),
    "missing required column": ("polaris", "", rewritten(lambda rows: [row[1:] for row in rows])),
    "oversized cell": ("polaris", "", rewritten(lambda rows: [rows[0], [*rows[1][:-1], "x" * 40_000], *rows[2:]])),
    "opt-outs match nobody": (
        "polaris",
        "polaris_opt_outs",
        rewritten(lambda rows: [rows[0], *[[f"{cell}x" for cell in row] for row in rows[1:]]]),
    ),
    "consent register without an NGO that sent data": (
        "liberty_shared",
        "liberty_shared_consents",
        rewritten(lambda rows: rows[:2]),
    ),
    "zip bomb": ("iom_legacy", "", bomb),
    "password-protected workbook": (
        "iom_legacy",
        "",
        lambda path: path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)),
    ),
    "not a workbook": ("iom_legacy", "", lambda path: path.write_bytes(b"PK\x03\x04 damaged")),
    "formula for a heading": ("iom_legacy", "", formula),
}


@pytest.mark.parametrize(("source", "kind", "damage"), REFUSED.values(), ids=REFUSED.keys())
def test_a_bad_file_fails_the_run_and_nothing_is_published(refreshed: Graph, source: str, kind: str, damage: Damage) -> None:
    """Half a delivery that is taken for a whole one is worse than none; the last good tables must survive it."""
    victims = refreshed.zones.table("harmonised", "victims").read_bytes()
    refreshed.land_again(source, refresh="2022")
    damage(landed_file(refreshed, source, kind))
    result = refreshed.run(f"ingest_{source}", partition="2022")
    if result.success:
        result = refreshed.run("full_refresh")

    assert not result.success
    assert source in told(result)
    assert refreshed.released() == []
    assert refreshed.zones.table("harmonised", "victims").read_bytes() == victims
    made = {event.asset_key.to_user_string() for event in result.get_asset_materialization_events() if event.asset_key}
    assert "synthetic/records" not in made


def in_row(row: int, column: str, value: str) -> Damage:
    def edit(rows: list[list[str]]) -> list[list[str]]:
        rows[row][rows[0].index(column)] = value
        return rows

    return rewritten(edit)


QUARANTINED: dict[str, tuple[str, int, str, str]] = {
    "unknown code": ("polaris", 1, "Situation_Status", "ZZ"),
    "impossible date": ("polaris", 2, "Report_Date", "02/30/2016 10:00"),
    "spreadsheet formula": ("polaris", 3, "Case_ID", "=cmd|' /C calc'!A0"),
    "registered before 2002": ("liberty_shared", 1, "Date of Entry", "1999-01-01"),
    "registered in the future": ("liberty_shared", 2, "Date of Entry", "2099-01-01"),
}


@pytest.fixture(scope="module")
def flawed(_landed: Zones, tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """A refresh of deliveries with a bad cell in a row each, a case that comes twice, and a column that nobody declared."""
    graph = Graph(Zones(tmp_path_factory.mktemp("flawed") / "home"))
    shutil.copytree(_landed.root, graph.zones.root)
    for source, row, column, value in QUARANTINED.values():
        in_row(row, column, value)(landed_file(graph, source))
    rewritten(lambda rows: [*rows, rows[10]])(landed_file(graph, "polaris"))
    rewritten(lambda rows: [[*rows[0], "Surprise"], *[[*row, "x"] for row in rows[1:]]])(landed_file(graph, "polaris"))
    result = graph.refresh()
    assert result.success, told(result)
    return graph


@pytest.mark.parametrize(("source", "row", "column", "value"), QUARANTINED.values(), ids=QUARANTINED.keys())
def test_a_bad_row_is_quarantined_and_the_rest_goes_on(flawed: Graph, source: str, row: int, column: str, value: str) -> None:
    """One wrong cell must neither stop a delivery of thousands nor be let in or dropped in silence."""
    quarantine = pq.read_table(flawed.zones.table("harmonised", "quarantine")).to_pandas()
    hit = quarantine[(quarantine["source_file"] == landed_file(flawed, source).name) & (quarantine["source_row"] == row)]
    assert column in set(hit["field"])
    assert not hit["rule"].str.contains(value, regex=False).any()


def test_a_case_that_comes_twice_enters_once(flawed: Graph) -> None:
    """Counted twice, one person can lift a rare combination over k."""
    victims = pq.read_table(flawed.zones.table("harmonised", "victims"))
    assert len(set(victims["case_key"].to_pylist())) == len(victims)


def test_an_unknown_column_is_kept_out_and_reported(flawed: Graph) -> None:
    """A column that nobody declared could hold anything, names included."""
    again = flawed.run("ingest_polaris", partition=REFRESH)
    (polaris,) = again.asset_materializations_for_node("ingestion__polaris")
    assert "Surprise" in str(polaris.metadata["columns_kept_out"].value)
    path = flawed.zones.ingested("polaris") / REFRESH / "polaris.parquet"
    assert "Surprise" not in pq.read_schema(path).names
