"""Test the exports as a whole: a run finds exactly what was planted, and the same seed gives the same bytes."""

import csv
import shutil
import stat
from collections import Counter
from datetime import date
from itertools import combinations, product
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ctdc_pipeline.errors import ParameterError
from ctdc_pipeline.harmonisation.derivation import RULES
from ctdc_pipeline.harmonisation.exclusions import EXCLUSIONS
from ctdc_pipeline.harmonisation.harmonise import unite
from ctdc_pipeline.ingestion.delivery_store import Store
from ctdc_pipeline.partners.registry import PARTNERS, SOURCES
from ctdc_pipeline.samples.generate import SampleSummary, generate
from ctdc_pipeline.storage.files import sha256
from tests.support.deliveries import harmonise_all, home, receive_all

Sample = tuple[Path, SampleSummary]


def harmonised(landing: Path, folder: Path) -> Path:
    """Take sample exports through landing, ingestion and harmonisation; the folder of the resulting tables."""
    shutil.copytree(landing, home(folder).landing, dirs_exist_ok=True)
    receive_all(home(folder))
    for partner in PARTNERS:
        harmonise_all(folder, partner, as_of=date(2021, 12, 31))
    stages = {"ingested": home(folder).sensitive / "ingestion", "folder": home(folder).sensitive / "harmonised"}
    unite(PARTNERS, store=Store(home(folder).deliveries), **stages)
    return stages["folder"]


@pytest.fixture(scope="module")
def tables(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return harmonised(sample[0], tmp_path_factory.mktemp("harmonised"))


def test_each_defect_is_found_by_the_rule_it_was_planted_for(sample: Sample, tables: Path) -> None:
    """Guards against rows that are dropped, mended or blamed on another rule on the way in, and against miscounted planting."""
    accounting = pq.read_table(tables / "accounting.parquet").to_pylist()
    found = {(row["source"], row["rule"]): row["rows"] for row in accounting if row["outcome"] != "accepted"}
    rules = RULES.keys() | EXCLUSIONS.keys()
    planted = {
        (source, rule): rows
        for source, kinds in sample[1].planted.items()
        for rule, rows in kinds.items()
        if rule in rules and rows
    }
    assert found == planted


@pytest.mark.parametrize(("victims", "seed", "refreshes"), [(100, 5, 1), (700, 8, 1), (100, 5, 12), (700, 1, 2), (3_000, 3, 8)])
def test_small_samples_and_many_refreshes_add_up_too(victims: int, seed: int, refreshes: int, tmp_path: Path) -> None:
    """Guards against defects that collide in few rows, so that one hides another, and against a row lost or judged twice over
    deliveries that replace or continue each other."""
    summary = generate(tmp_path / "landing", victims=victims, seed=seed, refreshes=refreshes)
    accounting = pq.read_table(harmonised(tmp_path / "landing", tmp_path / "out") / "accounting.parquet").to_pylist()
    found: Counter[tuple[str, str]] = Counter()
    for row in accounting:
        found[row["source"], row["rule"]] += row["rows"]
    rules = RULES.keys() | EXCLUSIONS.keys()
    planted = {(source, rule): rows for source, kinds in summary.planted.items() for rule, rows in kinds.items() if rule in rules}
    assert {kind: rows for kind, rows in found.items() if kind[1]} == {kind: rows for kind, rows in planted.items() if rows}
    assert summary.rows == {source: sum(rows for kind, rows in found.items() if kind[0] == source) for source in SOURCES}


def test_refreshes_come_as_each_partner_sends_them(tmp_path: Path) -> None:
    """Guards against samples that show only one way of delivering: whole, in parts, once, or not any more."""
    generate(tmp_path, victims=2_000, seed=3, refreshes=4)
    sent = {source: sorted(path.name for path in (tmp_path / source).iterdir()) for source in SOURCES}
    every = ["2019-H2", "2020-H1", "2020-H2", "2021-H1"]
    assert sent == dict.fromkeys(SOURCES, every) | {
        "iom_legacy": every[:1],
        "a21": every[:2],
        "otsh": every[:2],
    }

    def cases(source: str, refresh: str) -> list[list[str]]:
        layout = SOURCES[source].cases
        (path,) = (tmp_path / source / refresh).glob(layout.file_pattern)
        with path.open(encoding=layout.encoding, newline="") as file:
            return list(csv.reader(file, delimiter=layout.delimiter))[1:]

    first, second = ({tuple(row[:2]) for row in cases("iom_mimosa", refresh)} for refresh in every[:2])
    assert first < second
    numbers = [{tuple(row[:2]) for row in cases("polaris", refresh)} for refresh in every]
    assert sum(map(len, numbers[1:])) < len(numbers[0])
    assert any(earlier & later for earlier, later in combinations(numbers, 2))
    assert (tmp_path / "polaris" / every[0] / "delivery.toml").read_text() == "invented = true\n"
    assert (
        tmp_path / "polaris" / every[2] / "delivery.toml"
    ).read_text() == 'invented = true\nkind = "increment"\nsince = "2020-H1"\n'


def test_who_opts_out_or_withdraws_later_was_there_before(tmp_path: Path) -> None:
    """Guards against samples in which no opt-out and no withdrawn consent ever reaches back to an earlier delivery."""
    generate(tmp_path / "landing", victims=20_000, seed=1, refreshes=4)

    def left_out(refreshes: list[str]) -> Counter[str]:
        folder = tmp_path / f"{len(refreshes)}"
        for source, refresh in product(("polaris", "liberty_shared"), refreshes):
            shutil.copytree(tmp_path / "landing" / source / refresh, home(folder).landing / source / refresh)
        receive_all(home(folder))
        summaries = [harmonise_all(folder, partner, as_of=date(2021, 12, 31)) for partner in ("polaris", "liberty_shared")]
        return Counter({rule: rows for summary in summaries for rule, rows in summary.excluded.items()})

    before, after = left_out(["2019-H2"]), left_out(["2019-H2", "2020-H1", "2020-H2", "2021-H1"])
    for rule in ("opted-out", "individual-without-consent"):
        assert before[rule] < after[rule]


def test_most_rows_in_scope_are_accepted(sample: Sample, tables: Path) -> None:
    """Guards against a sample so dirty that its releases say nothing of the method."""
    accounting = pq.read_table(tables / "accounting.parquet").to_pylist()
    in_scope = sum(row["rows"] for row in accounting if row["rule"] != "reported-too-early")
    accepted = sum(row["rows"] for row in accounting if row["outcome"] == "accepted")
    assert accepted / in_scope > 0.95


def test_oddities_change_no_outcome_but_are_there(sample: Sample) -> None:
    """Guards against a sample too clean to try the reader's tolerance; that they do no harm is in the counts above."""
    oddities = (
        {kind for kinds in sample[1].planted.values() for kind, rows in kinds.items() if rows} - RULES.keys() - EXCLUSIONS.keys()
    )
    assert oddities == {"trailing space", "other case", "word for a blank", "looks like a formula"}


def test_every_rule_is_tried(sample: Sample) -> None:
    """Guards against a new rule of harmonisation that no sample row breaks."""
    tried = {kind for kinds in sample[1].planted.values() for kind, rows in kinds.items() if rows}
    assert RULES.keys() | EXCLUSIONS.keys() - {"superseded"} <= tried


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(sample: Sample, tmp_path: Path) -> None:
    """Guards against clocks, hash order or global state in what is written: releases would not be reproducible."""
    folder, summary = sample
    again = generate(tmp_path / "again", victims=summary.victims, seed=3)
    first = {str(path.relative_to(folder)): sha256(path) for path in summary.files}
    assert {str(path.relative_to(tmp_path / "again")): sha256(path) for path in again.files} == first
    other = generate(tmp_path / "other", victims=100, seed=4)
    marks = {sha256(path) for path in other.files if path.name == "delivery.toml"}
    assert not {sha256(path) for path in other.files} & set(first.values()) - marks


def test_layout_of_the_landing_zone(sample: Sample) -> None:
    """Guards against exports that no landing zone takes: a folder a source and refresh, private files, forty and more NGOs."""
    folder, summary = sample
    assert sorted(path.name for path in folder.iterdir()) == sorted(SOURCES)
    assert {stat.S_IMODE(path.stat().st_mode) for path in summary.files} == {0o600}
    assert {path for path in folder.rglob("*") if path.is_file()} == set(summary.files)
    assert len(list((folder / "liberty_shared" / "2021-H1").glob("vcms_*.csv"))) > 40
    assert summary.rows == {name: summary.rows[name] for name in SOURCES}
    assert summary.victims < sum(summary.rows.values()) < 1.01 * summary.victims


@pytest.mark.parametrize(
    ("victims", "seed", "refreshes"), [(99, 0, 1), (0, 0, 1), (-1, 0, 1), (100, -1, 1), (100, 0, 0), (100, 0, 13)]
)
def test_senseless_parameters_are_refused(victims: int, seed: int, refreshes: int, tmp_path: Path) -> None:
    """Guards against half a sample being written before numpy complains."""
    with pytest.raises(ParameterError):
        generate(tmp_path / "none", victims=victims, seed=seed, refreshes=refreshes)
    assert not list(tmp_path.iterdir())


def test_a_smaller_sample_does_not_mix_with_a_larger_one(sample: Sample, tmp_path: Path) -> None:
    """Guards against NGOs of an earlier sample that stay behind and are harmonised with the new one."""
    generate(tmp_path, victims=1_000, seed=1)
    before = {path: sha256(path) for path in tmp_path.rglob("*.*")}
    with pytest.raises(ParameterError, match="empty folder"):
        generate(tmp_path, victims=100, seed=1)
    assert {path: sha256(path) for path in tmp_path.rglob("*.*")} == before
    generate(tmp_path, victims=1_000, seed=2)
