"""Records made of measurements: how near they come, what they may not hold, and that they follow from the measurements alone."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ctdc_pipeline.errors import ParameterError
from ctdc_pipeline.privacy.contribution import UNIT
from ctdc_pipeline.privacy.domain import Domain
from ctdc_pipeline.privacy.measurements import KINDS, Measurements, exact_counts, measure, write_measurements
from ctdc_pipeline.storage.tables import TEXT, write_table
from ctdc_pipeline.synthesis.differentially_private import estimate, open_pairs, records_from, supported

COUNTRIES = tuple(f"C{number:02}" for number in range(40))
DOMAIN = Domain(
    ("year", "country", "work", "sector", "sex"),
    (("2019", "2020", "2021"), COUNTRIES, ("1",), ("farm", "home", "mine"), ("F", "M")),
    4,
    # Whoever is in a sector is in work.
    ((44, 43), (45, 43), (46, 43)),
)


def blank_where(blank: npt.NDArray[np.bool_], values: npt.NDArray[np.str_]) -> list[str | None]:
    return [None if out else str(value) for out, value in zip(blank, values, strict=True)]


def table(rows: int, *, seed: int = 1) -> pa.Table:
    """Years drift, countries are as uneven as real ones, sectors imply work and depend on sex."""
    draw = np.random.default_rng(seed)
    share = 1 / np.arange(1, 41) ** 1.5
    sex, work = draw.choice(["F", "M"], rows, p=[0.7, 0.3]), draw.random(rows) < 0.6
    sector = np.where(sex == "F", draw.choice(["home", "farm"], rows), draw.choice(["farm", "mine"], rows))
    columns: dict[str, Any] = {
        "year": draw.choice(DOMAIN.values[0], rows, p=[0.2, 0.3, 0.5]),
        "country": blank_where(draw.random(rows) < 0.1, draw.choice(COUNTRIES, rows, p=share / share.sum())),
        "work": blank_where(~work, np.full(rows, "1")),
        "sector": blank_where(~(work & (draw.random(rows) < 0.8)), sector),
        "sex": sex,
    }
    return pa.table({name: pa.array(list(cells), TEXT) for name, cells in columns.items()})


@pytest.fixture(scope="module")
def sensitive() -> pa.Table:
    return table(4000)


@pytest.fixture(scope="module")
def measured(sensitive: pa.Table) -> Measurements:
    return measure(sensitive, domain=DOMAIN, epsilon=4)[0]


def pair_error(made: pa.Table, sensitive: pa.Table) -> float:
    """Total error of the counts of pairs that at least ten have, as a share of their total."""
    here, there = (exact_counts(DOMAIN.codes(of)[0], domain=replace(DOMAIN, cap=5))["pairs"] / UNIT for of in (made, sensitive))
    common = there >= 10
    return float(np.abs(here - there)[common].sum() / there[common].sum())


def test_records_are_as_many_as_people_and_keep_the_counts(sensitive: pa.Table, measured: Measurements) -> None:
    """A search that makes counts worse, or stops at the tree that it starts from: or that chases noise."""
    made = records_from(measured, seed=3)
    assert len(made) == measured.rows
    assert abs(len(made) - 4000) < 200
    assert made.column_names == list(DOMAIN.columns)
    assert pair_error(made, sensitive) < 0.04


def test_estimates_are_nearer_to_the_truth_than_the_noisy_counts(sensitive: pa.Table, measured: Measurements) -> None:
    """Denoising that does harm."""
    truth = exact_counts(DOMAIN.codes(sensitive)[0], domain=DOMAIN)["pairs"] / UNIT
    noisy = np.maximum(measured.noisy["pairs"] / UNIT, 0)
    assert ((estimate(measured).pairs - truth) ** 2).sum() < ((noisy - truth) ** 2).sum()


def test_implications_hold_in_every_record(measured: Measurements) -> None:
    """A sector without work contradicts the codebook."""
    made = records_from(measured, seed=4)
    sector, work = made["sector"].is_valid().to_numpy(), made["work"].is_valid().to_numpy()
    assert sector.sum() > 1000
    assert not (sector & ~work).any()


@pytest.mark.parametrize("strict", [("country",), DOMAIN.columns])
def test_strict_support_has_only_pairs_that_the_counts_show(measured: Measurements, strict: tuple[str, ...]) -> None:
    """A country and a year that nobody has."""
    made = records_from(measured, seed=5, strict=strict, k=10)
    allowed = supported(measured, estimate(measured), k=10) | open_pairs(DOMAIN, strict=strict)
    counts = exact_counts(DOMAIN.codes(made)[0], domain=DOMAIN)["pairs"]
    assert not counts[~allowed].any()
    assert counts.any()
    assert (estimate(measured).pairs[allowed & ~open_pairs(DOMAIN, strict=strict)] > 0).all()


def test_the_domain_says_where_support_is_strict(measured: Measurements) -> None:
    """A policy in the schema that the search forgets."""
    own = replace(measured, domain=replace(DOMAIN, strict=("country",)))
    assert records_from(own, seed=6).equals(records_from(measured, seed=6, strict=("country",)))


def test_the_same_seed_gives_the_same_rows_and_another_seed_others(measured: Measurements) -> None:
    """Records that nobody can make again."""
    made = records_from(measured, seed=7)
    assert made.equals(records_from(measured, seed=7))
    assert not made.equals(records_from(measured, seed=8))


@pytest.mark.parametrize("records", [-50, 0, 1])
def test_few_records_are_a_defined_result(measured: Measurements, records: int) -> None:
    """Noise makes the number of records of a tiny table zero or less."""
    few = replace(measured, noisy={**measured.noisy, "records": np.array([records * UNIT])})
    assert len(records_from(few, seed=1)) == max(0, records)


def test_nothing_but_noise_gives_rows(measured: Measurements) -> None:
    """All missing: every count is noise around zero."""
    noise = np.random.default_rng(1)
    blank = {kind: noise.normal(0, measured.sigma[kind], len(measured.noisy[kind])).astype(np.int64) for kind in KINDS}
    blank["records"] = np.array([500 * UNIT])
    made = records_from(replace(measured, noisy=blank), seed=1)
    assert len(made) == 500


def test_a_column_without_values_stays_empty() -> None:
    """A domain that lists nothing for a column."""
    domain = Domain(("a", "b"), (("x", "y"), ()), 2)
    found, _ = measure(pa.table({"a": pa.array(["x"] * 300, TEXT), "b": pa.array([None] * 300, TEXT)}), domain=domain, epsilon=4)
    made = records_from(found, seed=1)
    assert made["b"].null_count == len(made)


def test_a_domain_of_one_column_has_no_pairs() -> None:
    """The least table there is."""
    domain = Domain(("a",), (("x", "y"),), 1)
    found, _ = measure(pa.table({"a": pa.array(["x"] * 300 + ["y"] * 100, TEXT)}), domain=domain, epsilon=4)
    made = records_from(found, seed=1, strict=("a",))
    assert abs(made["a"].to_pylist().count("x") - 300) < 60


@pytest.mark.parametrize(("seed", "k", "strict"), [(-1, 10, ()), (1, 0, ()), (1, 10, ("unknown",))])
def test_parameters_out_of_range_are_refused(measured: Measurements, seed: int, k: int, strict: tuple[str, ...]) -> None:
    """A negative seed fails deep inside; an unknown column would be open in silence."""
    with pytest.raises(ParameterError):
        records_from(measured, seed=seed, k=k, strict=strict)


def test_the_search_is_given_the_measurements_only() -> None:
    """An argument by which a sensitive table could come in."""
    parameters = inspect.signature(records_from).parameters
    assert set(parameters) == {"measurements", "seed", "strict", "k", "progress"}


def test_records_are_made_in_a_process_that_may_not_open_the_sensitive_folder(
    tmp_path: Path, sensitive: pa.Table, measured: Measurements
) -> None:
    """Records that follow from anything else: other tables lie there each time, and opening any fails."""
    zone, out = tmp_path / "sensitive", tmp_path / "out"
    zone.mkdir()
    out.mkdir()
    write_measurements(measured, out / "m.parquet")
    script = (
        "import sys\n"
        f"def refuse(event, arguments):\n    assert event != 'open' or {str(zone)!r} not in str(arguments[0])\n"
        "sys.addaudithook(refuse)\n"
        "from ctdc_pipeline.cli.main import cli\n"
        f"cli(['records', {str(out / 'm.parquet')!r}, '--seed', '9', '--threads', sys.argv[1], '--output', sys.argv[2]])\n"
    )
    written: list[bytes] = []
    for threads, content in (("1", sensitive), ("2", table(50, seed=2)), ("5", table(70, seed=3))):
        write_table(content, zone / "victims.parquet")
        made = out / f"{threads}.parquet"
        subprocess.run([sys.executable, "-c", script, threads, made], check=True, cwd=out)
        written.append(made.read_bytes())
    assert len(set(written)) == 1
    assert pq.read_table(made).num_rows == measured.rows
