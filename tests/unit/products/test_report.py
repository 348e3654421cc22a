"""The report: what it says of a release, what it is made of, and that nothing else gets into it."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree as ET

import pyarrow as pa
import pytest

from ctdc_pipeline.products import charts, k_anonymous, report, story_tables
from ctdc_pipeline.products.changelog import Listing
from ctdc_pipeline.products.inputs import Inputs
from ctdc_pipeline.storage.tables import write_table
from tests.support.products import VICTIMS, inputs_of, manifest_of

PAIR = {"length": 2, "variable_1": "gender", "value_1": "Female", "variable_2": "citizenship", "value_2": "UKR", "count": 20}
LOST = {**PAIR, "value_2": "USA", "count": 10}


def release(folder: Path, *, since: tuple[Listing, ...] = (), **changes: Any) -> tuple[str, dict[str, str], Inputs]:
    """The page of a release of ``VICTIMS``, with two pairs among its aggregates, its plots, and what it was made of."""
    inputs = inputs_of(VICTIMS)
    schema = pa.schema([(name, pa.int64() if name in ("length", "count") else pa.string()) for name in PAIR])
    told = pa.Table.from_pylist([*inputs.aggregates.to_pylist(), PAIR, LOST], schema=schema)
    inputs = replace(inputs, length=2, aggregates=told)
    k_anonymous.write(inputs, folder)
    story_tables.write(inputs, folder)
    write_table(inputs.synthetic, folder / report.PROVED[0])
    write_table(inputs.aggregates, folder / report.PROVED[1])
    # The complete records are taken away: the report must do without.
    without = replace(inputs, victims=cast("Any", None))
    plots = report.write(without, folder, manifest={**manifest_of(inputs), **changes}, changes=since)
    return (folder / report.FILE).read_text(), plots, inputs


def rows(page: str, name: str) -> list[list[str]]:
    """The cells of a table of the page."""
    found = re.search(rf'<table[^>]* id="{name}">.*?<tbody>(.*?)</tbody>', page, re.DOTALL)
    assert found, name
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in found[1].split("</tr>")[:-1]]
    return [[re.sub(r"<.*?>", "", cell) for cell in row] for row in cells]


def test_utility_is_that_of_the_published_counts(tmp_path: Path) -> None:
    """24 victims are told as 20 and are 24 records here; a pair that no record holds is lost."""
    page, _, _ = release(tmp_path)
    assert rows(page, "lengths")[1] == ["2", "2", "1", "50.0%", "50.0%", "46.7%"]
    assert [row[:3] for row in rows(page, "counts") if row[0] == "2"][:2] == [["2", "10–19", "1"], ["2", "20–49", "1"]]


def test_the_proof_and_its_files_are_told(tmp_path: Path) -> None:
    """A guarantee without what it was proved of is a promise."""
    page, _, inputs = release(tmp_path)
    assert [row[2] for row in rows(page, "proof")] == ["0"] * 6
    assert f"{len(inputs.synthetic)} records" in rows(page, "proof")[1]
    assert [row[0] for row in rows(page, "files")] == list(report.PROVED)


def test_every_count_of_people_is_rounded(tmp_path: Path) -> None:
    """71 victims, of whom only 70 may be told."""
    page, _, inputs = release(tmp_path, suppressed_values={"citizenship": 30, "CountryOfExploitation": 0})
    assert {row[1] for row in rows(page, "partners")} == {"70"}
    assert [row[1] for row in rows(page, "suppressed")] == ["30", "0"]
    assert str(len(VICTIMS)) not in {
        cell for name in ("partners", "kept", "variables") for row in rows(page, name) for cell in row
    }
    assert dict.fromkeys(row[1] for row in rows(page, "variables") if row[0] == "Gender") == {"2 of 3": None}
    assert inputs.k == 10


def test_changes_are_told_as_in_the_changelog(tmp_path: Path) -> None:
    """Or that there are none, or nothing to compare with."""
    part = Listing(("variable", "now"), (("gender <b>", "20"),), numbers=(1,), title="Counts", intro="Values.")
    page, _, _ = release(tmp_path, since=(part, Listing(("variable", "change"), (), title="Variables")), previous="1")
    assert rows(page, "since-counts") == [["gender &lt;b&gt;", "20"]]
    assert "As before." in page
    assert "This is the first release." in release(tmp_path)[0]


def test_the_page_needs_no_script_and_holds_every_plot(tmp_path: Path) -> None:
    """It is read where scripts are not run; each plot is an image that says what it shows."""
    page, plots, _ = release(tmp_path)
    assert "<script" not in page
    assert "script-src &#39;none&#39;" in page
    for plot in plots.values():
        assert plot in page
        assert ET.fromstring(plot).get("aria-label")  # noqa: S314 (made here)


def test_the_same_release_has_the_same_report(tmp_path: Path) -> None:
    """Or nobody can make it again."""
    (tmp_path / "again").mkdir()
    assert release(tmp_path)[0] == release(tmp_path / "again")[0]


@pytest.mark.parametrize("values", [[], [None, None], [0.0, 2.5], [1.0]])
def test_charts_of_few_or_odd_values_are_images(values: list[float | None]) -> None:
    """Nothing told, nothing kept, an error above 100%."""
    labels = [f"<{place}>" for place, _ in enumerate(values)]
    for chart in (
        charts.lines({"1": values, "2": values}, labels, about="<&>", axis="&"),
        charts.bars(values, labels, about="<&>", axis="&", texts=labels),
        charts.spans([("<", "&", None, None)], first=2002, last=2002, about="<&>"),
    ):
        assert ET.fromstring(chart).get("aria-label") == "<&>"  # noqa: S314 (made here)
        assert "nan" not in chart
