"""Test that differencing finds the small groups that subtraction reveals, in one release and between two, and passes honest
releases.
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ctdc_pipeline.errors import PrivacyError, ReleaseError
from ctdc_pipeline.privacy.differencing import find_disclosed_groups, require_no_disclosure

K = 10
Combination = Mapping[str, str]
Record = Mapping[str, str]
FEMALE, MALE, CHILD, YEAR, UKR = (
    {"gender": "Female"},
    {"gender": "Male"},
    {"ageBroad": "9--17"},
    {"yearOfRegistration": "2002"},
    {"citizenship": "UKR"},
)


def write(path: Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


class Folder:
    """A folder laid out as a release, that holds what a test says and nothing else."""

    def __init__(self, path: Path, *, k: int = K, length: int = 3, last_year: int = 2021, content: str = "") -> None:
        self.path, self.length = path / f"r{len(list(path.iterdir()))}", length
        self.path.mkdir()
        said = {"content": {"2016": content or self.path.name}}
        self.manifest = {
            "version": self.path.name,
            "k": k,
            "reporting_length": length,
            "last_year": last_year,
            "deliveries": {"polaris": said},
        }
        (self.path / "manifest.json").write_text(json.dumps(self.manifest))

    def aggregates(self, *counted: tuple[Combination, int]) -> Folder:
        places = [f"{part}_{place}" for place in range(1, self.length + 1) for part in ("variable", "value")]
        rows: list[dict[str, Any]] = []
        for combination, count in counted:
            row: dict[str, Any] = {"length": len(combination), "count": count}
            for place, (variable, value) in enumerate(sorted(combination.items()), start=1):
                row |= {f"variable_{place}": variable, f"value_{place}": value}
            rows.append(row)
        write(self.path / "reportable_aggregates.csv", rows, ["length", *places, "count"])
        return self

    def story(self, *rows: Mapping[str, Any], by: Sequence[str] = ("gender",), name: str = "story_a.csv") -> Folder:
        write(self.path / name, rows, [*by, "variable", "value", "count", "denominator", "percentage"])
        return self

    def anonymised(self, *groups: tuple[Record, int]) -> Folder:
        rows = [group for group, times in groups for _ in range(times)]
        write(self.path / "global_dataset_k_anonymised.csv", rows, ["gender", "ageBroad", "citizenship"])
        return self

    def records(self, **rows: int) -> Folder:
        table = pa.table({"gender": pa.array([value for value, times in rows.items() for _ in range(times)], pa.string())})
        from ctdc_pipeline.codebook.variables import codebook

        for name in codebook().names:
            if name != "gender":
                table = table.append_column(name, pa.nulls(len(table), pa.string()))
        pq.write_table(table.select(list(codebook().names)), self.path / "global_synthetic_dataset.parquet")
        return self

    def findings(self, *before: Folder) -> list[dict[str, Any]]:
        return find_disclosed_groups(self.path, [folder.path for folder in before], manifest=self.manifest).to_pylist()


def rules(findings: Sequence[Mapping[str, Any]]) -> set[str]:
    return {finding["rule"] for finding in findings}


def test_a_count_below_k_is_found(tmp_path: Path) -> None:
    """Guards against the plainest case: a group of four is published."""
    (found,) = Folder(tmp_path).aggregates((FEMALE, 4)).findings()
    assert (found["rule"], found["group"], found["lower"], found["upper"]) == ("counted", "gender=Female", 4, 4)


def test_exact_counts_of_a_group_and_a_part_of_it_are_found(tmp_path: Path) -> None:
    """Guards against revealing five people: 25 women, 20 of them from Ukraine."""
    found = Folder(tmp_path).aggregates((FEMALE, 25), ({**FEMALE, **UKR}, 20)).findings()
    assert {"parent less child", "parent less children"} == rules(found)
    assert {(one["lower"], one["upper"]) for one in found} == {(5, 5)}
    assert "gender=Female, not citizenship=UKR" in {one["group"] for one in found}


def test_a_group_and_a_part_that_says_two_things_more_are_found(tmp_path: Path) -> None:
    """Guards against subtracting only groups that differ by one attribute."""
    found = Folder(tmp_path).aggregates((FEMALE, 31), ({**FEMALE, **UKR, **CHILD}, 25)).findings()
    assert [(one["rule"], one["lower"]) for one in found] == [("parent less child", 6)]


def test_a_group_less_all_its_parts_is_found(tmp_path: Path) -> None:
    """Guards against parts that reveal nothing alone, but together leave four people."""
    found = Folder(tmp_path).aggregates((UKR, 47), ({**UKR, **FEMALE}, 23), ({**UKR, **MALE}, 20)).findings()
    assert [(one["rule"], one["variables"], one["lower"]) for one in found] == [
        ("parent less children", "citizenship, gender", 4)
    ]


def test_exact_counts_in_two_files_are_subtracted(tmp_path: Path) -> None:
    """Guards against comparing counts only within one file."""
    exact = {"gender": "Female", "variable": "citizenship", "value": "UKR", "count": 21}
    assert "parent less child" in rules(Folder(tmp_path).records(Female=25).story(exact).findings())


def test_a_year_that_must_be_the_missing_one_is_found(tmp_path: Path) -> None:
    """Guards against rounded counts that reveal a hidden year: 20 to 29 from Ukraine, 10 to 19 of them in 2002, so some in
    2003.
    """
    release = Folder(tmp_path, last_year=2003).aggregates((UKR, 20), (YEAR, 40), ({**UKR, **YEAR}, 10))
    (found,) = release.findings()
    assert (found["rule"], found["group"]) == ("one value not told", "citizenship=UKR, yearOfRegistration=not told")
    assert (found["lower"], found["upper"]) == (1, 9)


@pytest.mark.parametrize(("denominator", "disclosed"), [(20, True), (10, False)])
def test_a_denominator_that_betrays_a_hidden_cell_is_found(tmp_path: Path, denominator: int, disclosed: bool) -> None:
    """Guards against margins that reveal a suppressed cell, because they are not suppressed as well."""
    row = {"gender": "Female", "variable": "majorityStatusAtExploit", "value": "Adult", "count": 10, "denominator": denominator}
    assert ("one value not told" in rules(Folder(tmp_path).story(row).findings())) is disclosed


def test_a_release_that_withholds_nothing_is_refused(tmp_path: Path) -> None:
    """Guards against releases of an earlier version: 10 to 19 from Ukraine, at least 10 women and 10 children, so somebody is
    both.
    """
    overlapping = ((UKR, 10), ({**UKR, **FEMALE}, 10), ({**UKR, **CHILD}, 10), (FEMALE, 60), (CHILD, 60))
    first = Folder(tmp_path).aggregates(*overlapping)
    (found,) = first.findings()
    assert (found["rule"], found["lower"], found["upper"]) == ("intersection", 1, K - 1)
    assert found["group"] == "ageBroad=9--17, citizenship=UKR, gender=Female"
    with pytest.raises(PrivacyError, match="intersection"):
        require_no_disclosure(find_disclosed_groups(first.path, [], manifest=first.manifest), k=K, report="the report")
    # The next release tells the overlap itself, and more people: nothing follows from it, nor from both.
    both = (UKR, 30), ({**UKR, **FEMALE}, 20), ({**UKR, **CHILD}, 20), ({**UKR, **FEMALE, **CHILD}, 10)
    assert Folder(tmp_path).aggregates(*both, (FEMALE, 80), (CHILD, 80)).findings(first) == []


def test_what_two_releases_of_the_same_deliveries_tell_together_is_found(tmp_path: Path) -> None:
    """Guards against two releases that each leave out one of three counts, and together prove the overlap."""
    first = Folder(tmp_path, content="same").aggregates((UKR, 10), ({**UKR, **FEMALE}, 10))
    second = Folder(tmp_path, content="same").aggregates((UKR, 10), ({**UKR, **CHILD}, 10))
    assert first.findings() == second.findings() == []
    assert second.findings(first)


def test_the_map_is_read_too(tmp_path: Path) -> None:
    """Guards against ignoring counts because of the kind of file in which they are published."""
    release = Folder(tmp_path).aggregates((UKR, 30))
    columns = ["by", "country", "name", "variable", "value", "count", "denominator", "percentage"]
    row = {"by": "citizenship", "country": "UKR", "name": "Ukraine"}
    exact = [{**row, "count": 31}, {**row, "variable": "gender", "value": "Female", "count": 27}]
    write(release.path / "map.csv", exact, columns)
    assert "parent less child" in rules(release.findings())


def test_counts_that_contradict_each_other_are_found(tmp_path: Path) -> None:
    """Guards against two figures for one group: at least one is wrong, and what they disclose is unknown."""
    release = Folder(tmp_path).aggregates((FEMALE, 30)).records(Female=20)
    assert rules(release.findings()) == {"contradictory"}


def test_an_exact_count_that_changes_a_little_is_found(tmp_path: Path) -> None:
    """Guards against three more women than in the last release, which reveals that three women are new."""
    before = Folder(tmp_path).aggregates((FEMALE, 25))
    (found,) = Folder(tmp_path).aggregates((FEMALE, 28)).findings(before)
    assert (found["rule"], found["release"], found["lower"], found["upper"]) == ("came or went", "r0", 3, 3)


@pytest.mark.parametrize("change", [1, -1, 9])
def test_a_k_anonymised_group_that_changes_a_little_is_found(tmp_path: Path, change: int) -> None:
    """Guards against the classic attack: each release is k-anonymous, and their difference is one person's whole row."""
    before = Folder(tmp_path).anonymised(({**FEMALE, **UKR}, 22), (MALE, 30))
    found = Folder(tmp_path).anonymised(({**FEMALE, **UKR}, 22 + change), (MALE, 30)).findings(before)
    assert rules(found) == {"k-anonymised rows came or went"}


def test_people_who_move_between_k_anonymised_groups_are_found(tmp_path: Path) -> None:
    """Guards against comparing only the number of rows, which stays the same when two people change their group."""
    before = Folder(tmp_path).anonymised((FEMALE, 22), (MALE, 30))
    assert Folder(tmp_path).anonymised((FEMALE, 24), (MALE, 28)).findings(before)


def test_a_k_anonymised_group_below_k_is_found(tmp_path: Path) -> None:
    """Guards against publishing a file that is not k-anonymous."""
    assert rules(Folder(tmp_path).anonymised((FEMALE, 9), (MALE, 30)).findings()) == {"k-anonymised"}


def test_another_k_over_the_same_people_is_found(tmp_path: Path) -> None:
    """Guards against comparing two k: 33 to 39 Ukrainians, 30 to 32 of them women, so there are few others."""
    before = Folder(tmp_path, content="same").aggregates((UKR, 30), ({**UKR, **FEMALE}, 30))
    now = Folder(tmp_path, k=11, content="same").aggregates((UKR, 33), ({**UKR, **FEMALE}, 22))
    assert now.findings() == []
    found = now.findings(before)
    assert {(one["release"], one["lower"], one["upper"]) for one in found} == {("r0", 1, 9)}


def test_a_larger_k_over_the_same_people_does_not_single_out_what_it_hides(tmp_path: Path) -> None:
    """Guards against a group published with k = 10 and hidden with k = 11, which has exactly ten people."""
    before = Folder(tmp_path, content="same").aggregates((FEMALE, 10), (MALE, 30))
    found = Folder(tmp_path, k=11, content="same").aggregates((MALE, 33)).findings(before)
    assert [(one["rule"], one["group"], one["lower"], one["upper"]) for one in found] == [("counted", "gender=Female", 10, 10)]


def test_what_an_earlier_release_tells_by_itself_does_not_hold_up_the_next(tmp_path: Path) -> None:
    """Guards against an installation that can publish nothing any more because of what it published long ago."""
    before = Folder(tmp_path, content="same").aggregates((UKR, 10), ({**UKR, **FEMALE}, 10), ({**UKR, **CHILD}, 10))
    assert rules(before.findings()) == {"intersection"}
    now = Folder(tmp_path, content="same").aggregates((UKR, 10), ({**UKR, **FEMALE}, 10))
    assert now.findings() == []
    assert now.findings(before) == []


def test_a_narrower_bound_than_an_earlier_release_told_is_found(tmp_path: Path) -> None:
    """Guards against a second release that says how many there are where the first said that there are some."""
    groups = UKR, {**UKR, **FEMALE}, {**UKR, **CHILD}
    before = Folder(tmp_path, content="same").aggregates(*((group, 10) for group in groups))
    now = Folder(tmp_path, k=12, content="same").aggregates(*((group, 12) for group in groups))
    found = {(row["rule"], row["lower"]) for row in now.findings(before) if row["release"]}
    assert found == {("intersection", 12 + 12 - 19)}


def test_deliveries_that_were_read_in_another_way_are_not_taken_for_the_same_people(tmp_path: Path) -> None:
    """Guards against a group that is nobody's: one version read 1,340 women, the next 1,330, and no value is missing of them."""
    whole, years = {}, [({"yearOfRegistration": str(year)}, 100) for year in range(2002, 2022)]
    before = Folder(tmp_path, content="same").aggregates((whole, 2000), *years)
    now = Folder(tmp_path, content="same").aggregates((whole, 2020), *years[:-1], (years[-1][0], 120))
    assert now.findings() == []
    assert now.findings(before) == []


def test_every_earlier_release_counts(tmp_path: Path) -> None:
    """Guards against comparing only with the last release, as readers may have kept earlier ones."""
    first = Folder(tmp_path).aggregates((FEMALE, 25))
    second = Folder(tmp_path).aggregates((FEMALE, 61))
    assert [one["release"] for one in Folder(tmp_path).aggregates((FEMALE, 63)).findings(first, second)] == ["r1"]
    assert [one["release"] for one in Folder(tmp_path).aggregates((FEMALE, 27)).findings(first, second)] == ["r0"]


def test_a_table_of_counts_that_is_not_understood_is_refused(tmp_path: Path) -> None:
    """Guards against publishing a new product without checking it."""
    release = Folder(tmp_path).aggregates((FEMALE, 30))
    write(release.path / "new.csv", [{"shelter": "a", "count": 3}], ["shelter", "count"])
    with pytest.raises(PrivacyError, match=r"new\.csv"):
        release.findings()


def test_a_release_that_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    """Guards against treating a release as safe because it could not be compared."""
    before = Folder(tmp_path).aggregates((FEMALE, 30))
    (before.path / "reportable_aggregates.csv").write_text("")
    (before.path / "manifest.json").unlink()
    with pytest.raises(ReleaseError, match="r0"):
        Folder(tmp_path).aggregates((FEMALE, 30)).findings(before)


def test_an_honest_release_passes(tmp_path: Path) -> None:
    """Guards against refusing rounded counts that grow, k-anonymised groups in multiples, and denominators cut to what is
    published.
    """
    before = (
        Folder(tmp_path)
        .aggregates((FEMALE, 30), (MALE, 20), (UKR, 40), ({**UKR, **FEMALE}, 30), ({**UKR, **YEAR}, 10))
        .anonymised((FEMALE, 22), ({**MALE, **UKR}, 11))
        .story({"gender": "Female", "variable": "citizenship", "value": "UKR", "count": 30, "denominator": 30})
        .records(Female=30, Male=20)
    )
    now = (
        Folder(tmp_path)
        .aggregates((FEMALE, 30), (MALE, 30), (UKR, 50), ({**UKR, **FEMALE}, 30), (CHILD, 10))
        .anonymised((FEMALE, 22), ({**MALE, **UKR}, 22))
        .story({"gender": "Female", "variable": "citizenship", "value": "UKR", "count": 30, "denominator": 30})
        .records(Female=30, Male=30)
    )
    assert before.findings() == []
    assert now.findings(before) == []
    assert before.findings(before) == [], "the same again"


def test_the_refusal_names_variables_and_no_group(tmp_path: Path) -> None:
    """Guards against naming the group in the message, which goes into logs."""
    release = Folder(tmp_path).aggregates((FEMALE, 25), ({**FEMALE, **UKR}, 20))
    with pytest.raises(PrivacyError) as caught:
        require_no_disclosure(find_disclosed_groups(release.path, [], manifest=release.manifest), k=K, report="the report")
    assert all(word in str(caught.value) for word in ("citizenship, gender", "parent less child", "the report"))
    assert not any(value in str(caught.value) for value in ("Female", "UKR"))


VALUES = {"gender": ("Female", "Male", ""), "ageBroad": ("9--17", "18--20"), "citizenship": ("UKR", "USA", "")}


def draw_records(draw: random.Random, number: int) -> list[Record]:
    rows = [{name: draw.choice(values) for name, values in VALUES.items()} for _ in range(number)]
    return [{name: value for name, value in row.items() if value} for row in rows]


def count(records: Sequence[Record]) -> dict[frozenset[tuple[str, str]], int]:
    counts: dict[frozenset[tuple[str, str]], int] = {}
    for record in records:
        for size in range(1, 4):
            for some in combinations(sorted(record.items()), size):
                counts[frozenset(some)] = counts.get(frozenset(some), 0) + 1
    return counts


def told(counts: Mapping[frozenset[tuple[str, str]], int]) -> list[tuple[Combination, int]]:
    return [(dict(sorted(combination)), number) for combination, number in counts.items()]


@pytest.mark.parametrize("seed", range(150))
def test_whatever_one_subtraction_of_exact_counts_tells_is_found(tmp_path: Path, seed: int) -> None:
    """Guards against missing a subtraction. Brute force tries each: a group and a group within it, or all its parts; before and
    now.
    """
    draw, k = random.Random(seed), 3  # noqa: S311
    people = draw_records(draw, draw.randrange(8, 30))
    shown = [
        {c: n for c, n in count(some).items() if n >= k and draw.random() < 0.5}
        for some in (people, people[: -draw.randrange(1, 6)])
    ]
    if any(all(n % k == 0 for n in counts.values()) for counts in shown):
        shown[0][frozenset({("traffickMonths", "0--12")})] = k + 1  # not rounded, and no multiple of k
        shown[1][frozenset({("traffickMonths", "0--12")})] = k + 1
    now, before = shown
    alone = [now[parent] - now[child] for parent in now for child in now if parent < child]
    for parent, size in now.items():
        for name in VALUES:
            parts = [
                now[child] for child in now if len(child) == len(parent) + 1 and parent < child and name in dict(child - parent)
            ]
            alone += [size - sum(parts)] if parts else []
    for s, t in combinations(now, 2):  # and two groups that must share people, although what they share is not told
        if s & t in now and s | t not in now and len(dict(s | t)) == len(s | t):
            alone.append(now[s] + now[t] - now[s & t])
    together = [abs(now[same] - before[same]) for same in now.keys() & before.keys()]
    new, old = Folder(tmp_path, k=k).aggregates(*told(now)), Folder(tmp_path, k=k).aggregates(*told(before))
    assert bool(new.findings()) == any(1 <= size < k for size in alone)
    assert bool(new.findings(old)) == any(1 <= size < k for size in (*alone, *together))


@pytest.mark.parametrize("seed", range(40))
def test_rounded_counts_pass_or_rightly_fail(tmp_path: Path, seed: int) -> None:
    """Guards against false alarms: whoever comes or goes, rounded counts reveal no small group, except a year of which it is
    true.
    """
    draw, k = random.Random(seed), 3  # noqa: S311
    people = [{**record, "yearOfRegistration": draw.choice(("2002", "2003"))} for record in draw_records(draw, 30)]
    truth = [count(some) for some in (people, people[: -draw.randrange(1, 6)])]
    rounded = [{c: n // k * k for c, n in counts.items() if n >= k and len(c) <= 2} for counts in truth]
    now, before = (Folder(tmp_path, k=k, length=2, last_year=2003).aggregates(*told(counts)) for counts in rounded)
    for found in now.findings(before):
        assert found["rule"] == "one value not told"
        group = {tuple(part.split("=")) for part in found["group"].split(", ") if "not told" not in part}
        hidden = [truth[0].get(frozenset({*group, ("yearOfRegistration", year)}), 0) for year in ("2002", "2003")]
        assert any(found["lower"] <= size <= found["upper"] for size in hidden)
