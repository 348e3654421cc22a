"""The records in every published format: types, missing values and code lists arrive in each reader as they left."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyreadstat
import pytest

from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.products import records
from ctdc_pipeline.products.inputs import Inputs
from ctdc_pipeline.storage import workbook
from tests.support.products import USA, inputs_of, table

NAMES = list(codebook().names)
STATA = {records.stata_name(variable): variable.name for variable in codebook().variables}
NUMBERS = [variable.name for variable in codebook().variables if records.is_number(variable)]


def as_told(frame: Any) -> list[list[str | None]]:
    """The cells of a frame as text, numbers without decimals, None for missing."""
    frame = frame.rename(columns=STATA)
    numbers = {name: frame[name].astype("Int64") for name in frame.columns if pd.api.types.is_numeric_dtype(frame[name])}
    text = frame.assign(**numbers).astype("object")
    return [
        [None if pd.isna(cell) or cell == "" else str(cell) for cell in row] for row in text.itertuples(index=False, name=None)
    ]


READERS: dict[str, Callable[[Path], Any]] = {
    "pandas csv": lambda path: pd.read_csv(path.with_suffix(".csv")),
    "pandas tsv": lambda path: pd.read_csv(path.with_suffix(".tsv"), sep="\t"),
    "pandas parquet": lambda path: pd.read_parquet(path.with_suffix(".parquet")),
    "pandas xlsx, calamine": lambda path: pd.read_excel(path.with_suffix(".xlsx"), engine="calamine"),
    "pandas xlsx, openpyxl": lambda path: pd.read_excel(path.with_suffix(".xlsx"), engine="openpyxl"),
    "pandas stata": lambda path: pd.read_stata(path.with_suffix(".dta")),
    "stata, by the library of R's haven": lambda path: pyreadstat.read_dta(path.with_suffix(".dta"), apply_value_formats=True)[0],
    "duckdb csv": lambda path: duckdb.execute(f"FROM '{path.with_suffix('.csv')}'").df(),
    "duckdb tsv": lambda path: duckdb.execute(f"FROM read_csv('{path.with_suffix('.tsv')}', delim = '\t')").df(),
    "duckdb parquet": lambda path: duckdb.execute(f"FROM '{path.with_suffix('.parquet')}'").df(),
}


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_finds_the_same_records(inputs: Inputs, tmp_path: Path, reader: str) -> None:
    """Namibia read as missing, a band read as a date or a flag read as text would give each user other data."""
    namibia = [{**USA, "citizenship": "NAM", "CountryOfExploitation": "NOR", "gender": "Transgender/NonConforming"}] * 10
    released = replace(inputs, synthetic=pa.concat_tables([inputs.synthetic, table(namibia)]))
    records.write(released, tmp_path)

    found = READERS[reader](tmp_path / records.NAME)

    assert [STATA.get(name, name) for name in found.columns] == NAMES
    assert as_told(found) == [list(row.values()) for row in released.synthetic.to_pylist()]


@pytest.mark.parametrize("format_", ["xlsx", "dta"])
def test_numbers_are_numbers_where_users_compute(inputs: Inputs, tmp_path: Path, format_: str) -> None:
    """A mean of a flag or of a year that is text is an error, or worse, a wrong figure."""
    records.write(inputs, tmp_path)
    path = tmp_path / f"{records.NAME}.{format_}"
    frame: Any = pd.read_stata(path) if format_ == "dta" else pd.read_excel(path, engine="calamine")

    filled = frame.rename(columns=STATA).dropna(axis="columns", how="all")
    assert all(pd.api.types.is_numeric_dtype(filled[name]) for name in NUMBERS if name in filled)


def test_stata_knows_labels_and_code_lists(inputs: Inputs, tmp_path: Path) -> None:
    """Categories without labels are numbers that mean nothing; names that Stata cuts by itself may collide."""
    records.write(inputs, tmp_path)
    with pd.io.stata.StataReader(tmp_path / f"{records.NAME}.dta") as reader:
        assert list(reader.variable_labels().values()) == [variable.label for variable in codebook().variables]
        listed = reader.value_labels()
        assert reader.data_label == inputs.title
    for variable in codebook().variables:
        if variable.kind == "category":
            assert tuple(listed[variable.name].values()) == variable.values
    assert len(STATA) == len(NAMES)
    assert max(map(len, STATA)) <= 32


def test_parquet_tells_what_each_column_is(inputs: Inputs, tmp_path: Path) -> None:
    """A file that travels alone takes its codebook along."""
    records.write(inputs, tmp_path)
    schema = pq.read_schema(tmp_path / f"{records.NAME}.parquet")
    for variable in codebook().variables:
        assert schema.field(variable.name).metadata[b"description"].decode() == variable.definition
    assert schema.metadata[b"title"].decode() == inputs.title


def test_a_release_without_records_has_headings_in_every_format(empty: Inputs, tmp_path: Path) -> None:
    """Where nothing is common nothing is published, and readers must not crash on it."""
    records.write(empty, tmp_path)
    for name, read in READERS.items():
        found = read(tmp_path / records.NAME)
        assert found.empty, name
        assert len(found.columns) == 37, name


def test_a_variable_missing_everywhere_is_an_empty_column(tmp_path: Path) -> None:
    """Readers guess types from values, of which there are none."""
    records.write(inputs_of([{"gender": "Female"}] * 10), tmp_path)
    for name, read in READERS.items():
        found = read(tmp_path / records.NAME).rename(columns=STATA)
        assert len(found) == 10, name
        assert found["citizenship"].replace("", None).isna().all(), name


def test_the_same_records_give_the_same_bytes(inputs: Inputs, tmp_path: Path) -> None:
    """Formats that note the time of writing would change the hash of every release."""
    for folder in ("a", "b"):
        records.write(inputs, tmp_path / folder)
    assert all(file.read_bytes() == (tmp_path / "b" / file.name).read_bytes() for file in (tmp_path / "a").iterdir())


def test_more_records_than_a_sheet_holds_go_on_in_the_next(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A workbook cannot hold a long table in one sheet; no record may be lost over that."""
    monkeypatch.setattr(workbook, "MOST_ROWS", 31)
    monkeypatch.setattr(records, "MOST_ROWS", 31)
    records.write(inputs, tmp_path)
    sheets = pd.read_excel(tmp_path / f"{records.NAME}.xlsx", engine="calamine", sheet_name=None)
    assert list(sheets) == ["Data 1", "Data 2", "Data 3"]
    assert sum(map(len, sheets.values())) == inputs.synthetic.num_rows


HARD = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    'quo"te',
    "a,b",
    "line\nbreak",
    "tab\there",
    "<b>&amp;</b>",
    "çãü–Ω漢字",
    "NA",
    "null",
    "'",
]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".xlsx", ".dta"])
def test_no_value_moves_a_cell_or_changes(tmp_path: Path, suffix: str) -> None:
    """The gate lets only listed values through; were a list ever to hold one of these, no format may break over it."""
    records.write(inputs_of([{"citizenship": value, "gender": "Male"} for value in HARD]), tmp_path)
    path = (tmp_path / records.NAME).with_suffix(suffix)
    plain: dict[str, Any] = {"keep_default_na": False, "na_values": [""], "dtype": {"citizenship": str}}
    read: dict[str, Callable[[], Any]] = {
        ".csv": lambda: pd.read_csv(path, **plain),
        ".tsv": lambda: pd.read_csv(path, sep="\t", **plain),
        ".parquet": lambda: pd.read_parquet(path),
        ".xlsx": lambda: pd.read_excel(path, engine="openpyxl", **plain),
        ".dta": lambda: pd.read_stata(path),
    }
    frame = read[suffix]()
    assert frame["citizenship"].tolist() == HARD
    assert set(frame["gender"]) == {"Male"}
