"""Test that records written as HTCDS and read back are equal wherever the standard can express them, and that nothing is
invented.
"""

from datetime import date
from pathlib import Path

import numpy as np
import openpyxl
import pyarrow as pa
import pytest

from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.errors import TableError
from ctdc_pipeline.harmonisation.derivation import derive
from ctdc_pipeline.interchange.htcds_export import CARRIED, COLUMNS, to_htcds, write_htcds
from ctdc_pipeline.partners import htcds, reading
from ctdc_pipeline.partners.layout import Source

SOURCE = Source("htcds", "htcds", "HTCDS", "Read back", htcds.LAYOUT)
LOST = {
    "ageBroad", "majorityStatusAtExploit", "traffickMonths", "typeOfLabourOther", "typeOfSexOther",
    "recruiterRelationIntimatePartner", "isAbduction", "typeOfLabourBegging", "typeOfLabourIllicitActivities",
    "typeOfLabourPeddling",
}  # fmt: skip


def records(rows: int, *, seed: int) -> pa.Table:
    """Random harmonised records in which every variable has every value, details merged as harmonisation does."""
    draw = np.random.default_rng(seed)
    columns: dict[str, np.ndarray] = {}
    for one in codebook().harmonised:
        values = [*(one.values or {"year": ("2002", "2016"), "country": ("NAM", "PHL", "UKR")}[one.kind]), None]
        columns[one.name] = draw.choice(np.array(values, object), rows)
    for one in codebook().details:
        if one.merges_into:
            columns[one.merges_into][columns[one.name] == "1"] = "1"
    origin = {"case_key": np.full(rows, "f" * 64, object), "source_file": np.full(rows, "secret.csv", object)}
    return pa.table({name: pa.array(column, pa.string()) for name, column in {**origin, **columns}.items()})


@pytest.mark.parametrize("name", ["cases.xlsx", "cases.csv"])
def test_what_htcds_can_carry_comes_back(tmp_path: Path, name: str) -> None:
    """Guards against a value written as another one, or lost without being listed."""
    table = records(400, seed=5)
    write_htcds(table, tmp_path / name)
    assert htcds.matches(tmp_path / name)
    raw, unknown = reading.read(tmp_path / name, layout=htcds.LAYOUT, source="htcds")
    assert unknown == ()
    found = derive(raw, source=SOURCE, as_of=date(2021, 6, 30))
    # A year that was suppressed is the one thing that keeps a record from coming in again.
    assert {(field, rule) for field, rule, mask in found.broken if mask.any()} == {("cas_IncomingReferralDate", "missing-value")}
    assert (found.quarantined == [year is None for year in table["yearOfRegistration"].to_pylist()]).all()
    for variable in CARRIED:
        assert found.values[variable].tolist() == table[variable].to_pylist(), variable
    assert set(found.values) - set(CARRIED) == LOST


def test_what_is_lost_is_never_replaced(tmp_path: Path) -> None:
    """Guards against attributes that nobody recorded: what comes back of the lost variables was there before."""
    table = records(400, seed=6)
    write_htcds(table, tmp_path / "cases.csv")
    raw, _ = reading.read(tmp_path / "cases.csv", layout=htcds.LAYOUT, source="htcds")
    found = derive(raw, source=SOURCE, as_of=date(2021, 6, 30))
    for variable in LOST:
        for before, after in zip(table[variable].to_pylist(), found.values[variable].tolist(), strict=True):
            assert after in (None, before), variable


def test_nothing_but_variables_leaves(tmp_path: Path) -> None:
    """Guards against pseudonyms, file names, names, birthdays or consent that was never given in an export."""
    made = to_htcds(records(50, seed=7))
    assert made.column_names == list(COLUMNS)
    for name in ("con_Consent", "prs_FirstName", "prs_Birthdate", "cas_CaseOwner", "vic_LocationOfExploitation"):
        assert set(made[name].to_pylist()) == {""}
    assert made["cas_CaseNumber"].to_pylist() == [str(number) for number in range(1, 51)]
    write_htcds(records(50, seed=7), tmp_path / "cases.csv")
    text = (tmp_path / "cases.csv").read_text("utf-8")
    assert "f" * 64 not in text
    assert "secret" not in text


def test_the_workbook_is_the_form(tmp_path: Path) -> None:
    """Guards against a workbook that does not look like the one people know, or differs from run to run."""
    for name in ("a.xlsx", "b.xlsx"):
        write_htcds(records(3, seed=8), tmp_path / name)
    assert (tmp_path / "a.xlsx").read_bytes() == (tmp_path / "b.xlsx").read_bytes()
    sheet = openpyxl.load_workbook(tmp_path / "a.xlsx").worksheets[0]
    assert sheet.row_dimensions[1].hidden
    assert not sheet.row_dimensions[2].hidden
    assert [sheet.cell(row, 8).value for row in (1, 2)] == ["prs_Gender", "Gender"]


def test_a_release_is_exported_with_the_variables_it_has(tmp_path: Path) -> None:
    """Guards against an export that asks for details only harmonised records hold."""
    table = records(20, seed=9).select(["gender", "citizenship", "isOtherExploit"])
    made = to_htcds(table)
    told = [["Other"] if value else [""] for value in table["isOtherExploit"].to_pylist()]
    assert [[value] for value in made["vic_TypeOfExploitation"].to_pylist()] == told


def test_tables_that_are_no_records_are_refused(tmp_path: Path) -> None:
    """Guards against values of no code list written as if they were, and quoted."""
    with pytest.raises(TableError, match="no variable of the codebook"):
        to_htcds(pa.table({"a": ["1"]}))
    with pytest.raises(TableError, match="column gender, row 2") as caught:
        to_htcds(pa.table({"gender": ["Male", "zqsentinelzq"]}))
    assert "sentinel" not in str(caught.value)
    with pytest.raises(TableError, match=r"\.xlsx or \.csv"):
        write_htcds(records(1, seed=1), tmp_path / "cases.parquet")
