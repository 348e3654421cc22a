"""The current state of a source: the latest version of each case, without whoever asked to be left out, no row lost."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctdc_pipeline.errors import DeliveryError, TableError
from ctdc_pipeline.storage.files import read_parquet, sha256, write_parquet
from tests.support.deliveries import SENTINEL, deliver, harmonise_all, home, ingested, land, outcome, receive

SNAPSHOT, INCREMENT = 'kind = "snapshot"', 'kind = "increment"'
HALVES = ("2019-H2", "2020-H1", "2020-H2", "2021-H1")


def entered(tmp_path: Path, partner: str = "polaris") -> list[tuple[object, object]]:
    """Refresh and row of each accepted case."""
    return [(row["refresh"], row["source_row"]) for row in outcome(tmp_path, partner)]


def left_out(tmp_path: Path, partner: str = "polaris") -> dict[tuple[object, object], object]:
    """The rule for each excluded row, by refresh and row."""
    return {(row["refresh"], row["source_row"]): row["rule"] for row in outcome(tmp_path, f"{partner}_exclusions")}


def test_an_increment_adds_cases_and_replaces_those_it_holds_again(tmp_path: Path) -> None:
    """Guards against a corrected case that is counted twice, or as it was before the correction."""
    deliver(tmp_path, "polaris", {"Victim_Age_At_Report": "20"}, {"Case_ID": "C2"}, refresh="2020-H1")
    deliver(tmp_path, "polaris", {"Case_ID": " C1", "Victim_Age_At_Report": "40"}, {"Case_ID": "C3"}, refresh="2020-H2")
    summary = harmonise_all(tmp_path, "polaris")
    assert entered(tmp_path) == [("2020-H1", 2), ("2020-H2", 1), ("2020-H2", 2)]
    assert left_out(tmp_path) == {("2020-H1", 1): "superseded"}
    assert summary.rows == 4
    assert outcome(tmp_path, "polaris")[1]["ageBroad"] == "39--47"


def test_a_snapshot_replaces_all_before_it(tmp_path: Path) -> None:
    """Guards against cases that the partner took out and that stay in the release."""
    deliver(tmp_path, "iom_mimosa", {}, {"CASE_NO": "MD-2"}, refresh="2020")
    deliver(tmp_path, "iom_mimosa", {"CASE_NO": "MD-2"}, refresh="2021-01")
    harmonise_all(tmp_path, "iom")
    assert entered(tmp_path, "iom") == [("2021-01", 1)]
    assert left_out(tmp_path, "iom") == {("2020", 1): "superseded", ("2020", 2): "superseded"}


def test_an_old_refresh_that_comes_late_stays_old(tmp_path: Path) -> None:
    """Guards against a backfill that overwrites what was corrected since."""
    deliver(tmp_path, "polaris", {"Victim_Age_At_Report": "40"}, refresh="2020-H2")
    deliver(tmp_path, "polaris", {"Victim_Age_At_Report": "20"}, {"Case_ID": "C2"}, refresh="2020-H1")
    harmonise_all(tmp_path, "polaris")
    assert entered(tmp_path) == [("2020-H1", 2), ("2020-H2", 1)]


def test_a_correction_with_errors_replaces_the_case_all_the_same(tmp_path: Path) -> None:
    """Guards against a version that the partner took back entering because the new one has an error."""
    deliver(tmp_path, "polaris", {}, refresh="2020-H1")
    deliver(tmp_path, "polaris", {"Victim_Gender": "?"}, refresh="2020-H2")
    summary = harmonise_all(tmp_path, "polaris")
    assert entered(tmp_path) == []
    assert summary.quarantined == {"unknown-code": 1}


def test_an_opt_out_reaches_back_and_stays(tmp_path: Path) -> None:
    """Guards against people who asked to be left out and are in the data of another delivery."""
    deliver(tmp_path, "polaris", {}, {"Case_ID": "C2"}, {"Case_ID": "C4"}, refresh="2020-H1", listed=({"Case_ID": "C2"},))
    deliver(tmp_path, "polaris", {"Case_ID": "C3"}, refresh="2020-H2", listed=({},))
    deliver(tmp_path, "polaris", {}, {"Case_ID": "C2"}, {"Case_ID": "C5"}, refresh="2021-H1", terms=SNAPSHOT)
    harmonise_all(tmp_path, "polaris")
    assert entered(tmp_path) == [("2021-H1", 3)]
    assert {rule for (refresh, _), rule in left_out(tmp_path).items() if refresh == "2021-H1"} == {"opted-out"}


def test_a_withdrawal_for_someone_never_delivered_is_counted(tmp_path: Path) -> None:
    """Guards against a request that is dropped in silence, and against one stranger who stops everything."""
    deliver(tmp_path, "polaris", {}, {"Case_ID": "C2"}, refresh="2020-H1", listed=({},))
    deliver(tmp_path, "polaris", {"Case_ID": "C3"}, refresh="2020-H2", listed=({"Case_ID": SENTINEL},))
    assert harmonise_all(tmp_path, "polaris").warnings == ("polaris: 1 of 2 opt-outs match no case of the export",)


def test_a_whole_list_of_strangers_is_refused(tmp_path: Path) -> None:
    """Guards against a list with other numbers that passes because those before it matched."""
    deliver(tmp_path, "polaris", {}, {"Case_ID": "C2"}, refresh="2020-H1", listed=({},))
    listed = tuple({"Case_ID": f"{SENTINEL}{number}"} for number in range(3))
    deliver(tmp_path, "polaris", {"Case_ID": "C3"}, refresh="2020-H2", listed=listed)
    with pytest.raises(DeliveryError, match=r"polaris, refresh 2020-H2, file .*: the opt-out list matches no case") as caught:
        harmonise_all(tmp_path, "polaris")
    assert SENTINEL not in str(caught.value)


def test_an_increment_may_hold_nothing_but_opt_outs(tmp_path: Path) -> None:
    """Guards against a withdrawal that has to wait for the next case."""
    deliver(tmp_path, "polaris", {}, {"Case_ID": "C2"}, refresh="2020-H1")
    deliver(tmp_path, "polaris", refresh="2020-H2", listed=({},), terms='since = "2020-H1"')
    harmonise_all(tmp_path, "polaris")
    assert left_out(tmp_path) == {("2020-H1", 1): "opted-out"}


def test_of_consents_the_latest_word_counts(tmp_path: Path) -> None:
    """Guards against a consent that was withdrawn and one that was given later."""
    whole, own = {"Client ID": ""}, {"Client ID": "7"}
    refused = {"Consent to CTDC": "No"}
    cases = ({}, {"Client ID": "8"})
    deliver(tmp_path, "liberty_shared", *cases, refresh="2020", listed=(whole, own, {"Client ID": "8", **refused}))
    terms = INCREMENT
    deliver(
        tmp_path,
        "liberty_shared",
        {"Client ID": "9"},
        refresh="2021",
        listed=({**own, **refused}, {"Client ID": "8"}),
        terms=terms,
    )
    harmonise_all(tmp_path, "liberty_shared")
    assert entered(tmp_path, "liberty_shared") == [("2020", 2)]
    assert set(left_out(tmp_path, "liberty_shared").values()) == {"individual-without-consent"}


def test_a_person_missing_from_the_register_of_a_snapshot_is_without_consent(tmp_path: Path) -> None:
    """Guards against a consent that is on no current register."""
    whole = {"Client ID": ""}
    deliver(tmp_path, "liberty_shared", {}, refresh="2020", listed=(whole, {"Client ID": "7"}))
    deliver(tmp_path, "liberty_shared", {}, {"Client ID": "8"}, refresh="2021", listed=(whole, {"Client ID": "8"}))
    harmonise_all(tmp_path, "liberty_shared")
    assert entered(tmp_path, "liberty_shared") == [("2021", 2)]


def test_deliveries_of_one_source_may_differ_in_layout(tmp_path: Path) -> None:
    """Guards against a partner who changes to the standard and loses the history, or has each case twice."""
    deliver(tmp_path, "polaris", {}, {"Case_ID": "C2", "Victim_Gender": "Male"}, refresh="2020-H1")
    folder = land(tmp_path, "polaris_opt_outs", refresh="2020-H2").parent
    columns = [
        "Case_ID",
        "Victim_ID",
        "vic_TraffickingStatus",
        "cas_IncomingReferralDate",
        "prs_Gender",
        "vic_TypeOfExploitation",
    ]
    (folder / "htcds.csv").write_text(",".join(columns) + "\nC1,V1,ActualVictimOfTrafficking,2020-08-01,Feminine,ForcedLabour\n")
    receive(tmp_path, "polaris", refresh="2020-H2")
    harmonise_all(tmp_path, "polaris")
    assert [(row["refresh"], row["gender"]) for row in outcome(tmp_path, "polaris")] == [
        ("2020-H1", "Male"),
        ("2020-H2", "Female"),
    ]
    assert left_out(tmp_path) == {("2020-H1", 1): "superseded"}


def test_a_delivery_in_two_layouts_is_refused(tmp_path: Path) -> None:
    """Guards against the same case twice in one delivery, in two layouts that nobody compares."""
    land(tmp_path, "polaris_opt_outs")
    folder = land(tmp_path, "polaris", {}).parent
    (folder / "htcds.csv").write_text("Case_ID,Victim_ID,vic_TraffickingStatus,prs_Gender\nC1,V1,Actual,Feminine\n")
    with pytest.raises(DeliveryError, match="1 of 2 files of cases are HTCDS"):
        receive(tmp_path, "polaris")


@pytest.mark.parametrize("damage", ["gone", "other delivery", "rows", "columns"])
def test_tables_that_are_not_of_the_delivery_are_refused(tmp_path: Path, damage: str) -> None:
    """Guards against a partition that failed, or that holds what was not chosen, being taken for the delivery that counts."""
    deliver(tmp_path, "polaris", {}, {"Case_ID": "C2"})
    path, files = ingested(tmp_path, "polaris"), ingested(tmp_path, "polaris").with_name("files.parquet")
    if damage == "gone":
        files.unlink()
    elif damage == "other delivery":
        table = read_parquet(files).to_pandas()
        write_parquet(read_parquet(files).from_pandas(table.assign(delivery="0" * 64), preserve_index=False), files)
    elif damage == "rows":
        write_parquet(read_parquet(path).slice(1), path)
    else:
        write_parquet(read_parquet(path).drop_columns(["Case_ID"]), path)
    with pytest.raises(TableError, match="Ingest polaris for 2021-H1 again"):
        harmonise_all(tmp_path, "polaris")


def test_reading_an_old_delivery_again_gives_the_same_bytes(tmp_path: Path) -> None:
    """Guards against a backfill that looks like a change, and that needs what was landed years ago."""
    deliver(tmp_path, "polaris", {}, refresh="2020-H1")
    deliver(tmp_path, "polaris", {"Case_ID": "C2"}, refresh="2020-H2")
    harmonise_all(tmp_path, "polaris")
    paths = sorted((home(tmp_path).sensitive).rglob("*.parquet"))
    before = [sha256(path) for path in paths]
    for file in sorted(home(tmp_path).landing.rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()
    receive(tmp_path, "polaris", refresh="2020-H1")
    harmonise_all(tmp_path, "polaris")
    assert [sha256(path) for path in paths] == before


@dataclass(frozen=True)
class Sent:
    """One delivery of the random history: identities in order, opt-outs, and whether it is a snapshot."""

    cases: tuple[tuple[str, str], ...]
    opt_outs: tuple[tuple[str, str], ...]
    snapshot: bool


CASE = st.tuples(st.sampled_from(["C1", "C2", "C3", ""]), st.sampled_from(["V1", "V2", ""]))
OPT_OUT = st.tuples(st.sampled_from(["C1", "C2"]), st.sampled_from(["V1", ""]))
SENT = st.builds(
    Sent,
    st.lists(CASE, min_size=1, max_size=6).map(tuple),
    st.lists(OPT_OUT, max_size=1).map(tuple),
    st.booleans(),
)


def replay(history: tuple[Sent, ...]) -> set[tuple[str, int]]:
    """Refresh and row of each case that must enter, one delivery after the other."""
    state: dict[tuple[str, str], tuple[str, int]] = {}
    gone: set[tuple[str, str]] = set()
    for refresh, sent in zip(HALVES, history, strict=False):
        if sent.snapshot:
            state.clear()
        latest: dict[tuple[str, str], tuple[str, int]] = {}
        for row, case in enumerate(sent.cases, start=1):
            if all(case):
                latest.setdefault(case, (refresh, row))
        state |= latest
        gone |= {*sent.opt_outs}
    return {place for case, place in state.items() if case not in gone and (case[0], "") not in gone}


@settings(max_examples=40, deadline=None)
@given(history=st.lists(SENT, min_size=1, max_size=4).map(tuple), order=st.randoms(use_true_random=False))
def test_the_current_state_is_what_a_replay_gives(
    history: tuple[Sent, ...], order: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Guards against a case lost, kept or counted twice in a history nobody thought of, in whatever order it came."""
    tmp_path = tmp_path_factory.mktemp("history")
    deliveries = [*zip(HALVES, history, strict=False)]
    getattr(order, "shuffle")(deliveries)  # noqa: B009
    for refresh, sent in deliveries:
        rows, listed = (
            [{"Case_ID": case, "Victim_ID": victim} for case, victim in (*named, ("C9", "V9"))]
            for named in (sent.cases, sent.opt_outs)
        )
        deliver(tmp_path, "polaris", *rows, listed=listed, refresh=refresh, terms=SNAPSHOT if sent.snapshot else INCREMENT)
    summary = harmonise_all(tmp_path, "polaris")
    assert {*entered(tmp_path)} == replay(history)
    assert summary.rows == sum(len(sent.cases) + 1 for sent in history)
    places = Counter(
        (row["refresh"], row["source_row"])
        for name in ("polaris", "polaris_exclusions", "polaris_quarantine")
        for row in {(one["refresh"], one["source_row"]): one for one in outcome(tmp_path, name)}.values()
    )
    assert places.total() == summary.rows
    assert set(places.values()) == {1}


def test_identities_that_look_the_same_do_not_replace_each_other(tmp_path: Path) -> None:
    """Guards against an increment that takes a person out because another one's number looks the same."""
    deliver(tmp_path, "polaris", {}, {"Case_ID": "C2"}, refresh="2020-H1")
    deliver(tmp_path, "polaris", {"Case_ID": "C\uff11"}, {"Case_ID": "C3"}, refresh="2020-H2")
    summary = harmonise_all(tmp_path, "polaris")
    assert entered(tmp_path) == [("2020-H1", 2), ("2020-H2", 2)]
    assert summary.quarantined == {"look-alike-identity": 2}
    assert left_out(tmp_path) == {}
