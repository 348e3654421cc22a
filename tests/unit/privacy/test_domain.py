"""Test the public domain: what a schema may say, and what happens to cells outside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ctdc_pipeline.codebook.countries import countries
from ctdc_pipeline.errors import ParameterError, TableError
from ctdc_pipeline.privacy.domain import Domain, domain_of_table, read_domain
from ctdc_pipeline.storage.tables import TEXT

SCHEMA = """
cap = 2
[[variables]]
name = "gender"
[[variables]]
name = "citizenship"
support = "strict"
[[variables]]
name = "yearOfRegistration"
first = 2002
last = 2004
[[variables]]
name = "own"
values = ["x", "y"]
[[implications]]
if = { own = "x" }
then = { gender = "Female" }
"""


def table(**columns: list[str | None]) -> pa.Table:
    return pa.table({name: pa.array(texts, TEXT) for name, texts in columns.items()})


def schema(folder: Path, text: str) -> Path:
    path = folder / "schema.toml"
    path.write_text(text)
    return path


def test_a_schema_gives_columns_values_and_rules(tmp_path: Path) -> None:
    """Guards against a codebook variable, listed by name alone, that gets the values of the data instead of all its values."""
    domain = read_domain(schema(tmp_path, SCHEMA))
    assert domain.columns == ("gender", "citizenship", "yearOfRegistration", "own")
    assert domain.values[1] == tuple(country.iso3 for country in countries().rows)
    assert domain.values[2:] == (("2002", "2003", "2004"), ("x", "y"))
    assert (domain.cap, domain.strict) == (2, ("citizenship",))
    assert domain.implications == ((domain.attributes - 2, 0),)
    assert Domain.from_dict(domain.to_dict()) == domain


def test_cells_outside_are_blank_and_counted() -> None:
    """Guards against revealing that somebody has a value that the domain does not list."""
    domain = Domain(("a", "b"), (("x", "y"), ("1",)), 2)
    codes, outside = domain.codes(table(a=["y", "z", None, "x"], b=["1", "2", "3", None], c=["q"] * 4))
    assert codes.tolist() == [[1, 2], [-1, -1], [-1, -1], [0, -1]]
    assert outside == {"a": 1, "b": 2}
    with pytest.raises(TableError, match="no column b"):
        domain.codes(table(a=["x"]))


def test_every_pair_has_a_cell_of_its_own() -> None:
    """Guards against two pairs in one cell, or a cell of no pair."""
    domain = Domain(("a", "b", "c"), (("x", "y"), ("1", "2", "3"), ("p",)), 3)
    assert domain.pairs == 2 * 3 + 2 * 1 + 3 * 1
    assert domain.blocks[np.triu_indices(3, 1)].tolist() == [0, 6, 8]
    assert domain.sha256 != Domain(("a", "b", "c"), (("x", "y"), ("1", "2", "3"), ("q",)), 3).sha256


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no column"),
        ("variables = 3", "not as a schema must be"),
        ("[[variables]\nname=", "not TOML"),
        ("[[variables]]\nvalues = ['x']", "not as a schema must be"),
        ("[[variables]]\nname = 'gender'\nvalues = []\n[[variables]]\nname = 'gender'", "twice"),
        ("[[variables]]\nname = 'a'\nvalues = ['x', 'x']", "value twice"),
        ("[[variables]]\nname = 'a'\nvalues = ['x', '']", "none empty"),
        ("[[variables]]\nname = 'a'\nvalues = ['x']\nsupport = 'loose'", "unknown support"),
        ("[[variables]]\nname = 'unknown'", "no variable is called"),
        ("[[variables]]\nname = 'yearOfRegistration'", "not as a schema must be"),
        ("cap = 3\n[[variables]]\nname = 'gender'", "cap is out of range"),
        ("caps = 3\n[[variables]]\nname = 'gender'", "unknown key caps"),
        ("[[variables]]\nname = 'a'\nvalues = ['x', 'y']\n[[implications]]\nif = {a='x'}\nthen = {a='y'}", "of one variable"),
        ("[[variables]]\nname = 'a'\nvalues = ['x']\n[[implications]]\nif = {a='q'}\nthen = {a='x'}", "does not have"),
    ],
)
def test_a_wrong_schema_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    """Guards against guessing what a schema does not say clearly."""
    with pytest.raises(ParameterError, match=problem):
        read_domain(schema(tmp_path, text))


def test_a_domain_too_large_is_refused_before_it_is_counted() -> None:
    """Guards against a hundred thousand values by a thousand, whose noise would fill the memory."""
    with pytest.raises(ParameterError, match="values and pairs of values"):
        Domain.from_dict(
            {
                "cap": 2,
                "columns": {"a": [str(n) for n in range(100_000)], "b": [str(n) for n in range(1000)]},
                "implications": [],
                "strict": [],
            }
        )


def test_the_domain_of_a_table_is_what_occurs() -> None:
    """Guards against losing a column of blanks."""
    domain = domain_of_table(table(a=["y", None, "x"], b=[None, None, None]))
    assert domain.values == (("x", "y"), ())
