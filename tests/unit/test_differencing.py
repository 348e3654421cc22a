"""Differencing: what subtraction would tell of few people is found, in one release and between two, and honest releases pass."""

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

from ctdc_pipeline.differencing import check, require
from ctdc_pipeline.errors import PrivacyError, ReleaseError

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
        from ctdc_pipeline.codebook import codebook

        for name in codebook().names:
            if name != "gender":
                table = table.append_column(name, pa.nulls(len(table), pa.string()))
        pq.write_table(table.select(list(codebook().names)), self.path / "global_synthetic_dataset.parquet")
        return self

    def findings(self, *before: Folder) -> list[dict[str, Any]]:
        return check(self.path, [folder.path for folder in before], manifest=self.manifest).to_pylist()


def rules(findings: Sequence[Mapping[str, Any]]) -> set[str]:
    return {finding["rule"] for finding in findings}


def test_a_count_below_k_is_found(tmp_path: Path) -> None:
    """The plainest of all: a group of four is told."""
    (found,) = Folder(tmp_path).aggregates((FEMALE, 4)).findings()
    assert (found["rule"], found["group"], found["lower"], found["upper"]) == ("counted", "gender=Female", 4, 4)


def test_exact_counts_of_a_group_and_a_part_of_it_are_found(tmp_path: Path) -> None:
    """25 women, 20 of them from Ukraine: five are not."""
    found = Folder(tmp_path).aggregates((FEMALE, 25), ({**FEMALE, **UKR}, 20)).findings()
    assert {"parent less child", "parent less children"} == rules(found)
    assert {(one["lower"], one["upper"]) for one in found} == {(5, 5)}
    assert "gender=Female, not citizenship=UKR" in {one["group"] for one in found}


def test_a_group_and_a_part_that_says_two_things_more_are_found(tmp_path: Path) -> None:
    """Subtraction does not need what lies between."""
    found = Folder(tmp_path).aggregates((FEMALE, 31), ({**FEMALE, **UKR, **CHILD}, 25)).findings()
    assert [(one["rule"], one["lower"]) for one in found] == [("parent less child", 6)]


def test_a_group_less_all_its_parts_is_found(tmp_path: Path) -> None:
    """No part alone tells, but together they leave four people."""
    found = Folder(tmp_path).aggregates((UKR, 47), ({**UKR, **FEMALE}, 23), ({**UKR, **MALE}, 20)).findings()
    assert [(one["rule"], one["variables"], one["lower"]) for one in found] == [
        ("parent less children", "citizenship, gender", 4)
    ]


def test_exact_counts_in_two_files_are_subtracted(tmp_path: Path) -> None:
    """Whoever subtracts does not mind which file a count is in."""
    exact = {"gender": "Female", "variable": "citizenship", "value": "UKR", "count": 21}
    assert "parent less child" in rules(Folder(tmp_path).records(Female=25).story(exact).findings())


def test_a_year_that_must_be_the_missing_one_is_found(tmp_path: Path) -> None:
    """Rounded counts: 20 to 29 from Ukraine, 10 to 19 of them in 2002; 2003 is hidden, so fewer than ten, but somebody."""
    release = Folder(tmp_path, last_year=2003).aggregates((UKR, 20), (YEAR, 40), ({**UKR, **YEAR}, 10))
    (found,) = release.findings()
    assert (found["rule"], found["group"]) == ("one value not told", "citizenship=UKR, yearOfRegistration=not told")
    assert (found["lower"], found["upper"]) == (1, 9)


@pytest.mark.parametrize(("denominator", "disclosed"), [(20, True), (10, False)])
def test_a_denominator_that_betrays_a_hidden_cell_is_found(tmp_path: Path, denominator: int, disclosed: bool) -> None:
    """Margins reveal what suppression hid, unless they are suppressed as well."""
    row = {"gender": "Female", "variable": "majorityStatusAtExploit", "value": "Adult", "count": 10, "denominator": denominator}
    assert ("one value not told" in rules(Folder(tmp_path).story(row).findings())) is disclosed


def test_the_map_is_read_too(tmp_path: Path) -> None:
    """A count is public in whatever file it is."""
    release = Folder(tmp_path).aggregates((UKR, 30))
    columns = ["by", "country", "name", "variable", "value", "count", "denominator", "percentage"]
    row = {"by": "citizenship", "country": "UKR", "name": "Ukraine"}
    exact = [{**row, "count": 31}, {**row, "variable": "gender", "value": "Female", "count": 27}]
    write(release.path / "map.csv", exact, columns)
    assert "parent less child" in rules(release.findings())


def test_counts_that_contradict_each_other_are_found(tmp_path: Path) -> None:
    """Two figures for one group: at least one is wrong, and what either discloses is unknown."""
    release = Folder(tmp_path).aggregates((FEMALE, 30)).records(Female=20)
    assert rules(release.findings()) == {"contradictory"}


def test_an_exact_count_that_changes_a_little_is_found(tmp_path: Path) -> None:
    """Three women more than last time: three women are new."""
    before = Folder(tmp_path).aggregates((FEMALE, 25))
    (found,) = Folder(tmp_path).aggregates((FEMALE, 28)).findings(before)
    assert (found["rule"], found["release"], found["lower"], found["upper"]) == ("came or went", "r0", 3, 3)


@pytest.mark.parametrize("change", [1, -1, 9])
def test_a_k_anonymised_group_that_changes_a_little_is_found(tmp_path: Path, change: int) -> None:
    """The classic attack: each release is k-anonymous, and their difference is one person with all that the row says."""
    before = Folder(tmp_path).anonymised(({**FEMALE, **UKR}, 22), (MALE, 30))
    found = Folder(tmp_path).anonymised(({**FEMALE, **UKR}, 22 + change), (MALE, 30)).findings(before)
    assert rules(found) == {"k-anonymised rows came or went"}


def test_people_who_move_between_k_anonymised_groups_are_found(tmp_path: Path) -> None:
    """The number of rows is the same, and still two are not where they were."""
    before = Folder(tmp_path).anonymised((FEMALE, 22), (MALE, 30))
    assert Folder(tmp_path).anonymised((FEMALE, 24), (MALE, 28)).findings(before)


def test_a_k_anonymised_group_below_k_is_found(tmp_path: Path) -> None:
    """It is not k-anonymous."""
    assert rules(Folder(tmp_path).anonymised((FEMALE, 9), (MALE, 30)).findings()) == {"k-anonymised"}


def test_another_k_over_the_same_people_is_found(tmp_path: Path) -> None:
    """33 to 39 Ukrainians, 30 to 32 of them women, once both releases are compared: few others."""
    before = Folder(tmp_path, content="same").aggregates((UKR, 30), ({**UKR, **FEMALE}, 30))
    now = Folder(tmp_path, k=11, content="same").aggregates((UKR, 33), ({**UKR, **FEMALE}, 22))
    assert now.findings() == []
    found = now.findings(before)
    assert {(one["release"], one["lower"], one["upper"]) for one in found} == {("r0", 1, 9)}


def test_a_larger_k_over_the_same_people_does_not_single_out_what_it_hides(tmp_path: Path) -> None:
    """Told with k = 10 and hidden with k = 11: they are exactly ten."""
    before = Folder(tmp_path, content="same").aggregates((FEMALE, 10), (MALE, 30))
    found = Folder(tmp_path, k=11, content="same").aggregates((MALE, 33)).findings(before)
    assert [(one["rule"], one["group"], one["lower"], one["upper"]) for one in found] == [("counted", "gender=Female", 10, 10)]


def test_every_earlier_release_counts(tmp_path: Path) -> None:
    """Whoever kept the one before the last can subtract as well."""
    first = Folder(tmp_path).aggregates((FEMALE, 25))
    second = Folder(tmp_path).aggregates((FEMALE, 61))
    assert [one["release"] for one in Folder(tmp_path).aggregates((FEMALE, 63)).findings(first, second)] == ["r1"]
    assert [one["release"] for one in Folder(tmp_path).aggregates((FEMALE, 27)).findings(first, second)] == ["r0"]


def test_a_table_of_counts_that_is_not_understood_is_refused(tmp_path: Path) -> None:
    """A new product would otherwise be published without being looked at."""
    release = Folder(tmp_path).aggregates((FEMALE, 30))
    write(release.path / "new.csv", [{"shelter": "a", "count": 3}], ["shelter", "count"])
    with pytest.raises(PrivacyError, match=r"new\.csv"):
        release.findings()


def test_a_release_that_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    """What is not compared is not safe."""
    before = Folder(tmp_path).aggregates((FEMALE, 30))
    (before.path / "reportable_aggregates.csv").write_text("")
    (before.path / "manifest.json").unlink()
    with pytest.raises(ReleaseError, match="r0"):
        Folder(tmp_path).aggregates((FEMALE, 30)).findings(before)


def test_an_honest_release_passes(tmp_path: Path) -> None:
    """Rounded counts that grow, k-anonymised groups in multiples, denominators cut to what is told."""
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
    """The message goes into logs; which group it is stays inside."""
    release = Folder(tmp_path).aggregates((FEMALE, 25), ({**FEMALE, **UKR}, 20))
    with pytest.raises(PrivacyError) as caught:
        require(check(release.path, [], manifest=release.manifest), k=K, report="the report")
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
    """Compared with trying every subtraction there is: a group and one within it, or all its parts; before and now."""
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
    together = [abs(now[same] - before[same]) for same in now.keys() & before.keys()]
    new, old = Folder(tmp_path, k=k).aggregates(*told(now)), Folder(tmp_path, k=k).aggregates(*told(before))
    assert bool(new.findings()) == any(1 <= size < k for size in alone)
    assert bool(new.findings(old)) == any(1 <= size < k for size in (*alone, *together))


@pytest.mark.parametrize("seed", range(40))
def test_rounded_counts_pass_or_rightly_fail(tmp_path: Path, seed: int) -> None:
    """Whatever people come or go, rounded counts tell of no small group, but for a year of which it is true."""
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
