"""Quality tables and plots: right, and protected."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.quality import coverage, plots
from ctdc_pipeline.quality.evaluation import evaluate


@pytest.fixture
def victims(tmp_path: Path) -> Path:
    """29 victims of one partner and 4 of another; half of the first have no gender."""
    rows = [
        {"partner": "iom", "yearOfRegistration": "2016", "gender": "Female" if row % 2 else None, "citizenship": "PHL"}
        for row in range(29)
    ]
    rows += [{"partner": "polaris", "yearOfRegistration": "2017", "gender": "Male", "citizenship": None}] * 4
    return write(tmp_path / "victims.parquet", rows)


def write(path: Path, rows: list[dict[str, str | None]]) -> Path:
    names = ("partner", *codebook().names)
    pq.write_table(pa.table({name: pa.array([row.get(name) for row in rows], pa.string()) for name in names}), path)
    return path


def test_coverage_hides_small_groups_and_exact_counts(victims: Path) -> None:
    """A partner with four cases in a year would be shown to have four."""
    table = coverage.partner_coverage(victims, k=10)

    assert table.to_pylist() == [{"partner": "iom", "year": "2016", "victims": 20}]
    coverage.coverage_schema(k=10).validate(table.to_pandas())


def test_missingness_is_told_by_variable_in_codebook_order(victims: Path) -> None:
    """Users take a variable that is mostly missing for a rate."""
    table = coverage.missingness(victims)

    rows = {(row["variable"], row["partner"]): row["missing"] for row in table.to_pylist()}
    assert rows["gender", "iom"] == 52
    assert rows["citizenship", "polaris"] == 100
    assert list(dict.fromkeys(table["variable"].to_pylist())) == list(codebook().names)
    coverage.missingness_schema().validate(table.to_pandas())


def test_suppression_compares_before_and_after(victims: Path, tmp_path: Path) -> None:
    """What a release costs its users must be known before it is approved."""
    synthetic = write(tmp_path / "records.parquet", [{"gender": "Female"}] * 9)
    table = coverage.suppression(victims, synthetic)

    rows = {row["variable"]: row for row in table.to_pylist()}
    assert rows["gender"] == {"variable": "gender", "sensitive": 18, "synthetic": 9, "lost": 50.0}
    assert rows["citizenship"]["lost"] == 100
    assert rows["ageBroad"]["lost"] is None, "nothing was there to lose"
    coverage.suppression_schema().validate(table.to_pandas())


def test_the_evaluation_becomes_tables_and_plots() -> None:
    """The approver reads from them what the release is worth, also where nothing is common and shares are missing."""
    sensitive = pa.table({"a": ["1"] * 6, "b": ["x", "x", "x", "y", None, None]})
    synthetic = pa.table({"a": ["1"] * 6, "b": ["x", "x", None, None, None, None]})
    tables = coverage.evaluation_tables(evaluate(sensitive, synthetic, k=2, length=3))

    assert {name: table.schema for name, table in tables.items()} == coverage.EVALUATION
    for name, table in tables.items():
        coverage.evaluation_schema(name, length=3).validate(table.to_pandas())
    assert sum(tables["leakage_by_length"]["rare_records"].to_pylist()) == 0
    kept = tables["preservation_by_length"].to_pylist()
    assert [row["common"] for row in kept] == [2, 1, 0]
    assert kept[2]["preservation"] is None
    assert all(plot.startswith("<svg") for plot in plots.evaluation_plots(tables).values())


def test_plots_are_images(victims: Path) -> None:
    """A plot that cannot be drawn fails the refresh, after everything else was made."""
    drawn = [
        plots.coverage_plot(coverage.partner_coverage(victims, k=10)),
        plots.missingness_plot(coverage.missingness(victims)),
        plots.suppression_plot(coverage.suppression(victims, victims)),
    ]
    assert all(plot.startswith("<svg") and plot.rstrip().endswith("</svg>") for plot in drawn)


def test_plots_of_nothing_are_images_too(tmp_path: Path) -> None:
    """A first delivery may be too small to show anything."""
    victims = write(tmp_path / "victims.parquet", [])
    assert plots.coverage_plot(coverage.partner_coverage(victims, k=10)).startswith("<svg")
    assert plots.missingness_plot(coverage.missingness(victims)).startswith("<svg")
    assert plots.suppression_plot(coverage.suppression(victims, victims)).startswith("<svg")
