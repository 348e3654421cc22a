"""Releases: whole or absent, never overwritten, and only what was proved."""

import csv
import json
import resource
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from python_calamine import CalamineWorkbook

from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.errors import CtdcError, ParameterError, PrivacyError, ReleaseError, ResourceError, TableError
from ctdc_pipeline.partners.registry import SOURCES
from ctdc_pipeline.privacy.suppressed_countries import SUPPRESSED, SuppressedCountries
from ctdc_pipeline.release.candidate import Release, make_candidate, next_version
from ctdc_pipeline.release.publication import publish
from ctdc_pipeline.storage.files import sha256, write_parquet
from ctdc_pipeline.storage.zones import Zones


@pytest.fixture
def zones(tmp_path: Path) -> Zones:
    """A sensitive zone with everything a release needs: five victims, of whom four can be published with k = 2."""
    zones = Zones(tmp_path / "home").prepare()
    victims = [{"yearOfRegistration": "2016", "gender": "Female"}] * 4 + [{"yearOfRegistration": "2017", "gender": "Female"}]
    write(zones, "harmonised", "victims", victims)
    write(zones, "synthetic", "records", victims[:4])
    counts = {"yearOfRegistration": "2016", "gender": "Female"}
    aggregates = [{"length": 1, "variable_1": name, "value_1": value, "count": 4} for name, value in sorted(counts.items())]
    write_parquet(pa.Table.from_pylist(aggregates), zones.table("counts", "reportable_aggregates"))
    sent = [{"source": source, "refresh": "2016", "content": "0" * 64, "invented": False} for source in SOURCES]
    write_parquet(pa.Table.from_pylist(sent), zones.table("harmonised", "deliveries"))
    write_parquet(SUPPRESSED.empty_table(), zones.table("harmonised", "suppressed"))
    return zones


def write(zones: Zones, stage: str, name: str, rows: list[dict[str, str]]) -> None:
    names = ("partner", "source", *codebook().names)
    columns = {name: pa.array([row.get(name) for row in rows], pa.string()) for name in names}
    write_parquet(pa.table(columns), zones.table(stage, name))


def release(zones: Zones, version: str = "2026.11.21-1") -> Release:
    made = make_candidate(zones, version=version, k=2, length=1, last_year=2021)
    return publish(zones, candidate=made.digest, approver="test", reason="test", k=2)


def test_a_release_tells_how_many_values_were_suppressed_and_no_more(zones: Zones) -> None:
    """Users must know that values are missing on purpose; which countries, and exactly how many, would undo it."""
    rows = [{"partner": "iom", "source": "iom_mimosa", "refresh": "2016", "variable": "citizenship", "values": 5}]
    write_parquet(pa.Table.from_pylist(rows, schema=SUPPRESSED), zones.table("harmonised", "suppressed"))
    manifest = json.loads((release(zones).folder / "manifest.json").read_text())
    assert manifest["suppressed_values"] == {"citizenship": 4, "CountryOfExploitation": 0}


@pytest.mark.parametrize(("stage", "name"), [("harmonised", "victims"), ("synthetic", "records")])
def test_tables_from_before_a_country_was_listed_are_not_released(zones: Zones, stage: str, name: str) -> None:
    """A list that was lengthened after the refresh would otherwise be found wanting by the public."""
    write(zones, stage, name, [{"yearOfRegistration": "2016", "gender": "Female", "citizenship": "ERI"}] * 4)
    with pytest.raises(PrivacyError, match="suppressed countries in 4 rows"):
        make_candidate(
            zones, version="", k=2, length=1, last_year=2021, suppressed=SuppressedCountries.of({"citizenship": ["ERI"]})
        )
    assert nothing_published(zones)


def nothing_published(zones: Zones) -> bool:
    return not any(list(place.glob("*")) for place in (zones.releases, zones.tmp, zones.candidates))


@contextmanager
def full_disk(size: int) -> Generator[None]:
    """Every write beyond ``size`` bytes of a file fails, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_release_holds_the_files_its_manifest_lists(zones: Zones) -> None:
    """A manifest that does not match the files cannot be used to check them."""
    done = release(zones)

    manifest = json.loads((done.folder / "manifest.json").read_text())
    assert {path.name for path in done.folder.iterdir()} == {"manifest.json", "publication.json", *manifest["files"]}
    assert all(sha256(done.folder / name) == digest for name, digest in manifest["files"].items())
    assert manifest["rows"] == {"global_synthetic_dataset": 4, "reportable_aggregates": 2}
    assert (manifest["version"], manifest["k"], manifest["reporting_length"]) == ("2026.11.21-1", 2, 1)
    assert set(manifest["deliveries"]) == set(SOURCES)
    assert "seed" not in json.dumps(manifest)
    assert not list(zones.tmp.iterdir())


def test_all_formats_hold_the_same_records_in_codebook_order(zones: Zones) -> None:
    """Users of one format would otherwise work with other data than users of another."""
    folder = release(zones).folder

    comma = pd.read_csv(folder / "global_synthetic_dataset.csv", dtype=str)
    tab = pd.read_csv(folder / "global_synthetic_dataset.tsv", dtype=str, sep="\t")
    columns = pq.read_table(folder / "global_synthetic_dataset.parquet")
    assert tuple(comma.columns) == codebook().names
    pd.testing.assert_frame_equal(comma, tab)
    assert columns.to_pylist() == comma.astype(object).where(comma.notna(), None).to_dict("records")


def test_the_data_dictionary_describes_every_variable(zones: Zones) -> None:
    """A variable without a description cannot be used responsibly; separators in texts must not shift columns."""
    folder = release(zones).folder

    with (folder / "data_dictionary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == list(codebook().names)
    assert [row["definition"] for row in rows] == [variable.definition for variable in codebook().variables]
    text = (folder / "data_dictionary.md").read_text()
    assert all(variable.definition in text for variable in codebook().variables)


def test_what_is_published_can_be_read_by_all_and_what_is_not_by_none(zones: Zones) -> None:
    """Permissions of the sensitive zone on a public file hide it; public ones on a sensitive file open it."""
    folder = release(zones).folder

    assert folder.stat().st_mode & 0o777 == 0o755
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}
    assert zones.sensitive.stat().st_mode & 0o777 == 0o700


def test_the_same_tables_give_the_same_bytes(zones: Zones) -> None:
    """A release that cannot be reproduced cannot be audited."""
    first = make_candidate(zones, version="1", k=2, length=1, last_year=2021)
    shutil.rmtree(first.folder)
    second = make_candidate(zones, version="1", k=2, length=1, last_year=2021)

    assert first.files == second.files


def test_an_existing_version_is_never_overwritten(zones: Zones) -> None:
    """People cite a version; what it holds must not change."""
    before = release(zones).files
    with pytest.raises(ReleaseError, match="exists already"):
        release(zones)

    assert {name: sha256(zones.releases / "2026.11.21-1" / name) for name in before} == dict(before)


@pytest.mark.parametrize("version", ["../escape", "a/b", ".hidden", "a b"])
def test_a_version_cannot_leave_the_public_zone(zones: Zones, version: str) -> None:
    """A version that is a path would write anywhere."""
    with pytest.raises(ParameterError):
        release(zones, version)
    assert nothing_published(zones)


def test_the_next_version_is_free() -> None:
    """A second release on one day must not collide with the first."""
    day = date(2026, 11, 21)
    assert next_version([], today=day) == "2026.11.21-1"
    assert next_version(["2026.11.21-1", "2026.1"], today=day) == "2026.11.21-2"


TAMPERED = {
    "a rare record": [{"yearOfRegistration": "2016", "gender": "Female"}] * 3 + [{"yearOfRegistration": "2017"}],
    "an inexact count": [{"yearOfRegistration": "2016", "gender": "Female"}] * 3,
    "an empty record": [{"yearOfRegistration": "2016", "gender": "Female"}] * 4 + [{}],
}


@pytest.mark.parametrize("rows", TAMPERED.values(), ids=TAMPERED.keys())
def test_nothing_is_published_that_could_disclose(zones: Zones, rows: list[dict[str, str]]) -> None:
    """The gates of an earlier run do not hold for a release; it must see for itself."""
    write(zones, "synthetic", "records", rows)
    with pytest.raises(PrivacyError):
        release(zones)
    assert nothing_published(zones)


@pytest.mark.parametrize("value", ["=cmd|' /C calc'!A0", "a,b", 'quo"te', "line\nbreak", "Unlisted"])
def test_a_value_outside_the_codebook_is_not_published(zones: Zones, value: str) -> None:
    """A cell that no code list knows could be a formula, shift columns, or be a name."""
    rows = [{"yearOfRegistration": "2016", "gender": value}] * 4
    write(zones, "harmonised", "victims", rows)
    write(zones, "synthetic", "records", rows)
    with pytest.raises(TableError) as caught:
        release(zones)
    assert value not in str(caught.value)
    assert nothing_published(zones)


def test_a_wrong_aggregate_is_not_published(zones: Zones) -> None:
    """Aggregates are published too, and an exact count is as bad there."""
    wrong = [{"length": 1, "variable_1": "gender", "value_1": "Female", "count": 5}]
    write_parquet(pa.Table.from_pylist(wrong), zones.table("counts", "reportable_aggregates"))
    with pytest.raises(PrivacyError):
        release(zones)
    assert nothing_published(zones)


@pytest.mark.parametrize("table", [("harmonised", "victims"), ("synthetic", "records"), ("counts", "reportable_aggregates")])
def test_a_missing_table_is_named(zones: Zones, table: tuple[str, str]) -> None:
    """Who releases before refreshing must read what to do, not a traceback."""
    zones.table(*table).unlink()
    with pytest.raises(TableError, match="full refresh"):
        release(zones)
    assert nothing_published(zones)


@pytest.mark.parametrize("size", [0, 200, 600, 4_000, 8_000])
def test_a_full_disk_leaves_nothing_behind(zones: Zones, size: int) -> None:
    """A release cut short would be taken for a whole one."""
    with full_disk(size), pytest.raises(ResourceError, match="nothing was published"):
        release(zones)
    assert nothing_published(zones)


def test_an_unwritable_output_folder_is_an_error(zones: Zones) -> None:
    """Root may write anywhere, so the folder is made impossible: a file stands in its place."""
    zones.releases.rmdir()
    zones.releases.write_text("")
    with pytest.raises(CtdcError, match="nothing was published"):
        release(zones)
    assert not list(zones.tmp.iterdir())


@pytest.mark.parametrize("invented", [False, True])
def test_one_invented_delivery_marks_the_whole_release(zones: Zones, invented: bool) -> None:
    """Guards against a demonstration that is taken for figures of people, and against a real release that is not believed."""
    sent = [{"source": source, "refresh": "2016", "content": "0" * 64, "invented": False} for source in SOURCES]
    sent[-1]["invented"] = invented
    write_parquet(pa.Table.from_pylist(sent), zones.table("harmonised", "deliveries"))
    folder = release(zones).folder
    assert json.loads((folder / "manifest.json").read_text())["invented"] is invented
    for name in ("showcase.html", "map.html", "quality_report.html", "codebook.html"):
        page = (folder / name).read_text()
        assert ('class="invented" role="note"' in page) is invented
        assert ("<title>INVENTED DATA" in page) is invented
    for name in ("datapackage.json", "CHANGELOG.md", "data_dictionary.md", "map_citizenship.geojson"):
        assert ("nvented data: the people" in (folder / name).read_text()) is invented
    book = CalamineWorkbook.from_path(folder / "global_synthetic_dataset.xlsx")
    assert book.sheet_names == ["INVENTED DATA" if invented else "Data"]
    assert ("INVENTED DATA" in CalamineWorkbook.from_path(folder / "codebook.xlsx").sheet_names) is invented
