"""Quarantine out to the partner and back: nothing but its own rows, and corrected they are accepted."""

import csv
import shutil
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from ctdc_pipeline.cli.main import cli
from ctdc_pipeline.errors import ParameterError, TableError
from ctdc_pipeline.harmonisation.harmonise import unite
from ctdc_pipeline.harmonisation.quarantine_export import DELIVERED, TO_CORRECT, export_quarantine
from ctdc_pipeline.ingestion.delivery_store import Store
from ctdc_pipeline.partners.registry import SOURCES
from ctdc_pipeline.storage.workbook import Sheet, write_workbook
from tests.support.deliveries import FILES, REFRESH, VALID, deliver, harmonise_all, harmonised, home, land, outcome, receive

BAD = {"Victim_ID": "V2", "Victim_Gender": "Femal", "Victim_Age_At_Report": "x", "Call_Narrative": 'said, "no"\nand left'}


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def test_quarantine_goes_out_in_the_partners_own_layout(tmp_path: Path) -> None:
    """Guards against a list of row numbers with which a partner can do nothing."""
    harmonised(tmp_path, "polaris", {}, BAD)
    (done,) = export_quarantine("polaris", tmp_path / "sensitive" / "outbox", zones=home(tmp_path))
    assert (done.rows, done.since) == (1, REFRESH)
    (row,) = read(done.folder / FILES["polaris"])
    assert row.pop(DELIVERED) == f"{REFRESH}, {FILES['polaris']}, row 2"
    assert row.pop(TO_CORRECT) == "Victim_Gender: unknown-code; Victim_Age_At_Report: not-a-whole-number"
    names = [field.name for field in SOURCES["polaris"].cases.fields]
    assert row == {name: {**VALID["polaris"], **BAD}.get(name, "") for name in names}
    for path in (done.folder, *done.folder.iterdir()):
        assert path.stat().st_mode & 0o077 == 0, path.name


def test_corrected_rows_land_as_an_increment_and_are_accepted(tmp_path: Path) -> None:
    """Guards against corrections that can only be made by sending everything again, or that leave a row twice in the account."""
    harmonised(tmp_path, "polaris", {}, BAD)
    zones = home(tmp_path)
    (done,) = export_quarantine("polaris", tmp_path / "sensitive" / "outbox", zones=zones)
    path = done.folder / FILES["polaris"]
    rows = [{**row, "Victim_Gender": "Female", "Victim_Age_At_Report": "17"} for row in read(path)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    shutil.copytree(done.folder, zones.landing / "polaris" / "2021-07-15")
    summary = receive(tmp_path, "polaris", refresh="2021-07-15")
    assert {column for _, column in summary.unknown_columns} == {DELIVERED, TO_CORRECT}
    after = harmonise_all(tmp_path, "polaris")
    assert (after.rows, after.accepted, after.quarantined, after.excluded) == (3, 2, {}, {"superseded": 1})
    assert ("2021-07-15", "Female") in {(row["refresh"], row["gender"]) for row in outcome(tmp_path, "polaris")}
    assert (
        unite(
            ["polaris"],
            store=Store(zones.deliveries),
            ingested=zones.sensitive / "ingestion",
            folder=zones.sensitive / "harmonised",
        ).rows
        == 3
    )


@pytest.mark.parametrize("source", [*SOURCES])
def test_every_source_takes_back_what_it_was_given(tmp_path: Path, source: str) -> None:
    """Guards against a layout, a workbook or a register in which the way back fails."""
    layout = SOURCES[source].cases
    wrong = {layout.having("gender")[0].name: "wrong", layout.having("case_id")[-1].name: "CASE9"}
    person = layout.having("case_id")[-1].name
    agreed = [{}, *({person: case} for case in (VALID[source][person], "CASE9"))] if SOURCES[source].consents else []
    deliver(tmp_path, source, {}, wrong, listed=agreed)
    harmonise_all(tmp_path, SOURCES[source].partner)
    zones = home(tmp_path)
    (done,) = export_quarantine(source, tmp_path / "sensitive" / "outbox", zones=zones)
    assert done.rows == 1
    shutil.copytree(done.folder, zones.landing / source / "2021-07-15")
    assert receive(tmp_path, source, refresh="2021-07-15").rows[source] == 1
    again = harmonise_all(tmp_path, SOURCES[source].partner)
    assert again.excluded == {"superseded": 1}
    assert again.quarantined == {"unknown-code": 1}


HTCDS = {
    "Case_ID": "C7",
    "Victim_ID": "V1",
    "vic_TraffickingStatus": "Possible victim of trafficking",
    "cas_IncomingReferralDate": "2021-03-07",
    "vic_TypeOfExploitation": "ForcedLabour;SexualExploitation",
    "prs_Gender": "Feminine",
    "prs_Citizenship": "Nepal",
}


@pytest.mark.parametrize("name", ["cases.csv", "cases.xlsm"])
def test_what_came_as_htcds_goes_out_and_comes_back_as_htcds(tmp_path: Path, name: str) -> None:
    """Guards against rows that are held back for ever because they came in the standard instead of the partner's own layout."""
    deliver(tmp_path, "polaris", {}, BAD)
    zones, (before, after, last) = home(tmp_path), ("2021-07-15", "2021-07-16", "2021-07-17")
    folder = land(tmp_path, "polaris_opt_outs", refresh=before).parent
    sent = pd.DataFrame([HTCDS, {**HTCDS, "Case_ID": "C8", "prs_Gender": "wrong", "vic_TypeOfExploitation": "wrong"}])
    if name.endswith("csv"):
        sent.to_csv(folder / name, index=False)
    else:
        write_workbook(folder / name, [Sheet.of("HTCDS", sent)])
    receive(tmp_path, "polaris", refresh=before)
    assert harmonise_all(tmp_path, "polaris").quarantined == {"unknown-code": 2}

    own, standard = export_quarantine("polaris", zones.outbox / "one", zones=zones)
    assert [(one.folder.name, one.rows, one.since) for one in (own, standard)] == [
        ("polaris", 1, before),
        ("polaris_htcds", 1, before),
    ]
    path = standard.folder / name.replace("xlsm", "xlsx")
    rows = pd.read_csv(path, dtype=str) if name.endswith("csv") else pd.read_excel(path, dtype=str, engine="calamine")
    assert rows[DELIVERED].to_list() == [f"{before}, {name}, row 2"]
    assert rows[TO_CORRECT].to_list() == ["prs_Gender: unknown-code; vic_TypeOfExploitation: unknown-code"]
    assert rows["Case_ID"].to_list() == ["C8"]
    shutil.copytree(own.folder, zones.landing / "polaris" / after)
    folder = zones.landing / "polaris" / last
    shutil.copytree(standard.folder, folder)
    rows = rows.assign(prs_Gender="Masculine", vic_TypeOfExploitation="ForcedLabour").fillna("")
    if name.endswith("csv"):
        rows.to_csv(folder / path.name, index=False)
    else:
        write_workbook(folder / path.name, [Sheet.of("HTCDS", rows)])
    assert [receive(tmp_path, "polaris", refresh=one).rows["polaris"] for one in (after, last)] == [1, 1]
    again = harmonise_all(tmp_path, "polaris")
    assert (again.accepted, again.excluded, again.quarantined) == (3, {"superseded": 2}, {"unknown-code": 1})


def test_nothing_of_another_source_goes_out(tmp_path: Path) -> None:
    """Guards against one partner's cases in another's mail."""
    harmonised(tmp_path, "polaris", {}, BAD)
    harmonised(tmp_path, "iom", {"GENDER_CD": "X", "CASE_NO": "ZQOTHER"})
    done = export_quarantine("iom", tmp_path / "sensitive" / "outbox", zones=home(tmp_path))
    assert [one.source for one in done] == ["iom_mimosa"]
    content = b"".join(path.read_bytes() for path in (tmp_path / "sensitive" / "outbox").rglob("*") if path.is_file())
    assert b"ZQOTHER" in content
    assert b"Femal" not in content


def test_a_formula_does_not_run_when_the_file_is_opened(tmp_path: Path) -> None:
    """Guards against an export that is safe in the pipeline and runs in a spreadsheet."""
    harmonised(tmp_path, "polaris", {}, BAD | {"Victim_ID": "V2", "Call_Narrative": "=HYPERLINK(1)"})
    (done,) = export_quarantine("polaris", tmp_path / "sensitive" / "outbox", zones=home(tmp_path))
    (row,) = read(done.folder / FILES["polaris"])
    assert row["Call_Narrative"] == "'=HYPERLINK(1)"


@pytest.mark.parametrize(
    ("name", "folder", "outside", "told"),
    [
        ("polaris", "elsewhere", False, "outside the sensitive zone"),
        ("polaris", "sensitive/../elsewhere", False, "outside the sensitive zone"),
        ("polaris", "sensitive/landing/polaris/2022", True, "landing folder"),
        ("polaris", "sensitive/harmonised", False, "not empty"),
        ("nobody", "sensitive/outbox", False, "Choose among"),
    ],
)
def test_rows_of_cases_do_not_go_anywhere(tmp_path: Path, name: str, folder: str, outside: bool, told: str) -> None:
    """Guards against names of victims in a shared folder, by a slip of the hand."""
    harmonised(tmp_path, "polaris", {}, BAD)
    with pytest.raises(ParameterError, match=told):
        export_quarantine(name, tmp_path / folder, zones=home(tmp_path), outside=outside)
    assert not (tmp_path / "elsewhere").exists()


def test_another_folder_can_be_allowed(tmp_path: Path) -> None:
    """Guards against a rule that people get around by copying."""
    harmonised(tmp_path, "polaris", {}, BAD)
    (done,) = export_quarantine("polaris", tmp_path / "elsewhere", zones=home(tmp_path), outside=True)
    assert done.folder.is_dir()


def test_without_quarantine_nothing_is_written(tmp_path: Path) -> None:
    """Guards against an empty file that a partner is asked to correct."""
    with pytest.raises(TableError, match="has not been harmonised"):
        export_quarantine("polaris", tmp_path / "sensitive" / "outbox", zones=home(tmp_path))
    harmonised(tmp_path, "polaris", {})
    assert export_quarantine("polaris", tmp_path / "sensitive" / "outbox", zones=home(tmp_path)) == []
    assert not (tmp_path / "sensitive" / "outbox").exists()


def test_the_command_says_where_the_file_is_and_when_it_may_land(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against corrections that land for a refresh that is taken already, and a command that tells of a case."""
    harmonised(tmp_path, "polaris", {}, BAD)
    monkeypatch.setenv("CTDC_HOME", str(tmp_path))
    folder = home(tmp_path).outbox / "one"
    done = CliRunner().invoke(cli, ["quarantine", "polaris", str(folder)])
    assert done.exit_code == 0
    assert f"1 rows of polaris in {folder / 'polaris'}; land them corrected as a refresh after {REFRESH}" in done.output
    assert "Femal" not in done.output
    refused = CliRunner().invoke(cli, ["quarantine", "polaris", str(tmp_path / "elsewhere")])
    assert isinstance(refused.exception, ParameterError)


def test_what_goes_to_partners_is_not_encrypted_behind_their_back(tmp_path: Path) -> None:
    """Guards against a partner who gets a file that nobody can open, because somebody changed the key meanwhile."""
    harmonised(tmp_path, "polaris", {}, BAD)
    zones = home(tmp_path)
    export_quarantine("polaris", zones.outbox, zones=zones)
    assert not [path for path in zones.private_files() if path.is_relative_to(zones.outbox)]
