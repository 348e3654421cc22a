"""Attributes and distinct records: the numbers mean what they say, whatever the text looks like."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from ctdc_pipeline.counting.attributes import Records, decode, distinct, encode, encode_together
from ctdc_pipeline.operations.limits import Limits

Row = tuple[str | None, ...]


@st.composite
def rows(draw: st.DrawFn, *, width: int | None = None) -> list[Row]:
    width = width or draw(st.integers(1, 4))
    value = st.one_of(st.none(), st.sampled_from(["1", "1.0", " a", "a", "é", "e\u0301"]), st.text(max_size=2))
    return draw(st.lists(st.tuples(*[value] * width), min_size=1, max_size=12)) * draw(st.integers(1, 2))


def as_table(rows: list[Row]) -> pa.Table:
    return pa.table([pa.array(column, pa.string()) for column in zip(*rows, strict=True)], names=list("abcd"[: len(rows[0])]))


def as_rows(records: Records) -> Counter[Row]:
    table = decode(records.codes, records=records)
    return Counter(dict(zip(zip(*table.to_pydict().values(), strict=True), records.weights.tolist(), strict=True)))


@given(rows=rows())
def test_records_are_the_rows_with_how_often_each_occurs(rows: list[Row]) -> None:
    """Rows lost, doubled or merged because their values look alike."""
    records = encode(as_table(rows), limits=Limits(threads=1))
    assert as_rows(records) == Counter(rows)
    assert records.rows == len(rows)
    counts = Counter((place, value) for row in rows for place, value in enumerate(row) if value is not None)
    attributes = list(zip(records.column.tolist(), records.value, strict=True))
    assert attributes == sorted(counts)
    assert records.support.tolist() == [counts[attribute] for attribute in attributes]


@given(rows=rows(), k=st.integers(1, 5))
def test_common_records_have_lost_their_rare_values_and_nothing_else(rows: list[Row], k: int) -> None:
    """A rare value that survives, a common one that does not, or rows lost with it."""
    counts = Counter((place, value) for row in rows for place, value in enumerate(row))
    expected = [tuple(value if counts[place, value] >= k else None for place, value in enumerate(row)) for row in rows]
    common = encode(as_table(rows)).common(k)
    assert as_rows(common) == Counter(expected)
    assert all(common.support >= k)


@given(tables=st.integers(1, 3).flatmap(lambda width: st.tuples(rows(width=width), rows(width=width))))
def test_tables_numbered_together_agree_on_the_numbers(tables: tuple[list[Row], list[Row]]) -> None:
    """Two tables compared by numbers that mean different values in each."""
    encoded = encode_together([as_table(rows) for rows in tables])
    assert encoded[0].value == encoded[1].value
    assert [as_rows(records) for records in encoded] == [Counter(rows) for rows in tables]


def test_a_column_of_numbers_or_of_categories_is_read_as_its_text() -> None:
    """A table that comes from pandas or Parquet in another type, and is refused or numbered otherwise."""
    plain = pa.table({"a": ["x", "y", None, "x"]})
    dictionary = pa.table({"a": pa.array(["x", "y", None, "x"], pa.large_string()).dictionary_encode()})
    assert as_rows(encode(plain)) == as_rows(encode(dictionary))


def test_a_table_without_rows_has_no_records() -> None:
    """An empty synthetic table, which is valid, that cannot be evaluated."""
    records = encode(pa.table({"a": pa.array([], pa.string()), "b": pa.array([], pa.string())}))
    assert records.codes.shape == (0, 2)
    assert records.rows == 0


def test_equal_rows_are_merged_for_any_number_of_attributes() -> None:
    """Attribute numbers cut to 16 bits, by which different rows become equal."""
    codes = np.array([[0, 1 << 16], [0, 0], [0, 1 << 16]], np.int32)
    unique, weights = distinct(codes, np.array([1, 2, 3]), attributes=(1 << 16) + 1)
    assert {tuple(row): weight for row, weight in zip(unique.tolist(), weights.tolist(), strict=True)} == {
        (0, 0): 2,
        (0, 65536): 4,
    }
