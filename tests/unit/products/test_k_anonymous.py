"""The k-anonymised dataset, checked by code that did not make it, and that check, by tables that violate it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.errors import PrivacyError
from ctdc_pipeline.privacy.k_anonymity_proof import prove_k_anonymity
from ctdc_pipeline.products import k_anonymous
from ctdc_pipeline.products.inputs import Inputs
from ctdc_pipeline.products.k_anonymous import K, anonymised, quasi_identifiers
from ctdc_pipeline.storage.files import write_parquet
from ctdc_pipeline.storage.tables import write_table
from tests.support.products import Row, inputs_of, table

FEMALE = {"gender": "Female", "ageBroad": "9--17", "citizenship": "UKR", "yearOfRegistration": "2016"}


def people(seed: int, *, rows: int = 900) -> pa.Table:
    """Random people of whom many are rare."""
    rng = np.random.default_rng(seed)
    found: list[Row] = []
    for _ in range(rows):
        row = {
            variable.name: str(rng.choice(["", *(variable.values or ("2015", "2016", "2017"))]))
            for variable in codebook().variables
            if variable.kind != "flag" or rng.random() < 0.1
        }
        row["citizenship"] = str(rng.choice(["UKR", "MDA", ""], p=[0.6, 0.3, 0.1]))
        row["CountryOfExploitation"] = str(rng.choice(["RUS", ""], p=[0.3, 0.7]))
        found.append({name: value for name, value in row.items() if value})
    return table(found)


@pytest.mark.parametrize("seed", range(8))
def test_every_row_is_shared_by_a_multiple_of_k(tmp_path: Path, seed: int) -> None:
    """A group of ten would single people out; one that grows from 22 to 23 would tell of one person."""
    victims = people(seed)
    write_parquet(victims, tmp_path / "victims.parquet")
    write_table(anonymised(victims), tmp_path / "published.csv")
    prove_k_anonymity(tmp_path / "victims.parquet", tmp_path / "published.csv", columns=quasi_identifiers(), k=K).require()
    assert pd.read_csv(tmp_path / "published.csv").shape[0] > 300


def test_the_order_of_records_does_not_matter() -> None:
    """The same people in another order must not give another dataset to compare with."""
    victims = people(1)
    shuffled = victims.take(np.random.default_rng(2).permutation(len(victims)))
    assert anonymised(victims).equals(anonymised(shuffled))


def test_what_costs_least_is_blanked() -> None:
    """Who differs by year loses the year and nothing else; what is over when a group is cut joins another."""
    rows = anonymised(table([FEMALE] * 15 + [{**FEMALE, "yearOfRegistration": "2017"}] * 9)).to_pylist()
    assert len(rows) == 22
    assert [row["yearOfRegistration"] for row in rows].count("2016") == 11
    assert {row["ageBroad"] for row in rows} == {"9--17"}


def test_ten_alike_are_left_out_entirely() -> None:
    """Ten women of one country and no one like them: to blank everything would leave a row that says nothing."""
    assert len(anonymised(table([FEMALE] * 10))) == 0


def test_a_release_with_a_larger_k_has_larger_groups(tmp_path: Path) -> None:
    """A release that promises groups of 20 must not hold real records in groups of 11."""
    assert [k_anonymous.least_group(k) for k in (2, 10, 11, 12, 22, 23)] == [11, 11, 11, 22, 22, 33]
    k_anonymous.write(inputs_of([FEMALE] * 40, k=20), tmp_path)
    assert len(pd.read_csv(tmp_path / f"{k_anonymous.NAME}.csv")) == 22


def test_only_quasi_identifiers_are_published(inputs: Inputs, tmp_path: Path) -> None:
    """Means of control beside real records would tell what was done to whoever is found in a group."""
    k_anonymous.write(inputs, tmp_path)
    published = pd.read_csv(tmp_path / f"{k_anonymous.NAME}.csv", dtype=str)
    assert tuple(published.columns) == quasi_identifiers()
    assert not [name for name in published.columns if name.startswith(("means", "recruiter", "traffick", "majority"))]
    assert len(published) == 22 + 33 + 11


def test_the_summary_compares_with_synthesis(inputs: Inputs, tmp_path: Path) -> None:
    """What either method costs is the reason to choose one; exact counts of people would be more than that."""
    k_anonymous.write(inputs, tmp_path)
    summary = pd.read_csv(tmp_path / f"{k_anonymous.SUMMARY}.csv").set_index("kept")
    assert summary.loc["records", "k_anonymised"] == 85  # 60 of 70
    assert summary.loc["meansOfControlThreats"].tolist() == [0, 100]
    k_anonymous.write(inputs_of([]), tmp_path)
    assert pd.read_csv(tmp_path / f"{k_anonymous.SUMMARY}.csv")["synthetic"].tolist().count(100) == 0


WRONG: dict[str, Callable[[Any], Any]] = {
    "a group of ten": lambda rows: rows.iloc[:-1],
    "a group of twelve": lambda rows: pd.concat([rows, rows.tail(1)]),
    "a value that nobody has": lambda rows: rows.assign(citizenship="MDA"),
    "a value of too many": lambda rows: pd.concat([rows, rows, rows]),
    "an empty record": lambda rows: rows.assign(**dict.fromkeys(rows.columns)),
    "a column too many": lambda rows: rows.assign(meansOfControlThreats="1"),
    "a column too few": lambda rows: rows.drop(columns="gender"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_the_check_finds_what_is_wrong(tmp_path: Path, wrong: str) -> None:
    """A check that never fails proves nothing."""
    victims = table([FEMALE] * 25)
    write_parquet(victims, tmp_path / "victims.parquet")
    WRONG[wrong](anonymised(victims).to_pandas()).to_csv(tmp_path / "published.csv", index=False)
    with pytest.raises(PrivacyError):
        prove_k_anonymity(tmp_path / "victims.parquet", tmp_path / "published.csv", columns=quasi_identifiers(), k=K).require()


def test_nobody_gives_a_dataset_of_headings(inputs: Inputs, tmp_path: Path) -> None:
    """A first release, or one in which nothing is common, must not crash."""
    k_anonymous.write(replace(inputs, victims=inputs.victims.slice(0, 0)), tmp_path)
    assert pd.read_csv(tmp_path / f"{k_anonymous.NAME}.csv").empty
