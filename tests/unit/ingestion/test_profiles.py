"""Test profiles: what they count, what they never reveal, and which state preceded which."""

import hashlib
from dataclasses import replace
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ctdc_pipeline.errors import DeliveryError
from ctdc_pipeline.ingestion.delivery_store import Store
from ctdc_pipeline.ingestion.profiles import (
    FILLED,
    MISSING,
    UNLISTED,
    LastRelease,
    Profile,
    append_state,
    current_and_baseline,
    of_delivery,
    of_partner,
    of_source,
    read_states,
)
from ctdc_pipeline.ingestion.refreshes import Refresh
from ctdc_pipeline.partners.registry import SOURCES
from ctdc_pipeline.privacy.suppressed_countries import SuppressedCountries
from ctdc_pipeline.quality.delivery_comparisons import row_counts
from ctdc_pipeline.storage.files import sha256
from tests.support.deliveries import SENTINEL, deliver, harmonise_all, home, raw


def delivery(*rows: dict[str, str]) -> Profile:
    source = SOURCES["polaris"]
    table = raw("polaris", *rows)
    return of_delivery(table, layout=source.cases, refresh=Refresh.parse("2021"), content="x", kind="increment")


def test_codes_countries_and_numbers_are_counted_as_what_they_mean() -> None:
    """Guards against one code in two spellings that looks like a new code."""
    found = delivery(
        {"Victim_Gender": "Female", "Citizenship_1": "Mexico", "Victim_Age_At_Report": "17"},
        {"Victim_Gender": " female", "Citizenship_1": "mexico ", "Victim_Age_At_Report": "10"},
        {"Victim_Gender": "unknown", "Citizenship_1": "", "Victim_Age_At_Report": "120"},
    )
    assert found.rows == 3
    assert found.values["Victim_Gender"] == {MISSING: 1, "Female": 2}
    assert found.named_counts("Citizenship_1") == {"MEX": 2}
    assert found.named_counts("Victim_Age_At_Report") == {"10-19": 2, "120-129": 1}
    assert found.missing("Citizenship_1") == 1


def test_no_text_of_a_cell_gets_into_a_profile() -> None:
    """Guards against a name in the code column that becomes a new code in Dagster's storage."""
    found = delivery({field.name: SENTINEL for field in SOURCES["polaris"].cases.fields})
    assert SENTINEL not in str(found)
    assert found.values["Victim_Gender"] == found.values["Citizenship_1"] == found.values["Victim_Age_At_Report"] == {UNLISTED: 1}
    assert found.values["Victim_First_Name"] == found.values["Report_Date"] == {FILLED: 1}
    assert found.named_counts("Victim_First_Name") == {}


def test_a_multi_select_counts_as_each_of_its_codes() -> None:
    """Guards against every combination of codes as a code of its own."""
    source = SOURCES["iom_mimosa"]
    field = next(field for field in source.cases.fields if field.multi)
    one, two = (code.code for code in field.codes[:2])
    cells = (f"{one}{field.separator}{two}", one, f"{one}{field.separator}{one}", "")
    found = of_delivery(
        raw("iom_mimosa", *({field.name: cell} for cell in cells)),
        layout=source.cases,
        refresh=Refresh.parse("2021"),
        content="x",
        kind="snapshot",
    )
    assert found.values[field.name] == {MISSING: 1, one: 3, two: 1}


def test_a_delivery_is_held_against_the_one_before_of_its_kind(tmp_path: Path) -> None:
    """Guards against an increment that seems to have lost most of its rows because a snapshot came before it."""
    zones = home(tmp_path)
    store, ingested, source = Store(zones.deliveries), zones.ingested("polaris"), SOURCES["polaris"]
    assert of_source(source, store=store, ingested=ingested) == (None, None)
    for refresh, kind in (("2019", "increment"), ("2020", "snapshot"), ("2021", "increment")):
        deliver(
            tmp_path, "polaris", {"Victim_ID": refresh}, listed=[{"Victim_ID": "2019"}], refresh=refresh, terms=f'kind = "{kind}"'
        )
    now, before = of_source(source, store=store, ingested=ingested)
    assert now
    assert before
    assert (now.label[:6], now.kind, before.label[:6]) == ("2021 (", "increment", "2019 (")
    assert before.content.startswith(before.label[6:-1])
    (ingested / "2019" / "files.parquet").unlink()
    assert of_source(source, store=store, ingested=ingested)[1] is None


def test_the_same_bytes_for_another_refresh_are_told(tmp_path: Path) -> None:
    """Guards against last year's export sent again as this year's, which looks as good as it did then."""
    zones = home(tmp_path)
    store, ingested, source = Store(zones.deliveries), zones.ingested("polaris"), SOURCES["polaris"]
    for refresh, case, since in (("2019", "C1", ""), ("2020", "C2", ""), ("2021", "C1", 'since = "2020"')):
        deliver(tmp_path, "polaris", {"Case_ID": case}, refresh=refresh, terms=since)
        now, before = of_source(source, store=store, ingested=ingested)
        assert now
        assert now.repeats == ("2019" if refresh == "2021" else "")
    assert row_counts(now, before, 10).concerns == ("the files are those of 2019, byte for byte",)


def test_a_partners_profile_counts_its_cases_and_outcomes(tmp_path: Path) -> None:
    """Guards against shares of quarantined and excluded rows that leave out a source."""
    deliver(tmp_path, "polaris", {}, {"Victim_ID": "V2", "Victim_Gender": "?"}, {"Victim_ID": "V3", "Situation_Status": "Low"})
    harmonise_all(tmp_path, "polaris")
    folder = tmp_path / "sensitive" / "harmonised"
    harmonised, accounting, deliveries = (
        pq.read_table(folder / f"polaris{part}.parquet") for part in ("", "_accounting", "_deliveries")
    )
    found = of_partner(harmonised, accounting=accounting, deliveries=deliveries)
    assert found.rows == 1
    assert found.outcomes == {("accepted", ""): 1, ("excluded", "not-a-victim"): 1, ("quarantined", "unknown-code"): 1}
    assert found.label == f"polaris 2021-H1 ({deliveries['content'][0].as_py()[:12]})"
    assert [content for *_, content in found.deliveries] == deliveries["content"].to_pylist()
    assert found.until == date(2021, 6, 30)
    assert sum(found.values["gender"].values()) == 1


def test_only_a_state_from_other_deliveries_becomes_the_one_before(tmp_path: Path) -> None:
    """Guards against a rerun that compares a state with itself, or changes bytes."""
    path = tmp_path / "profiles.parquet"
    state = Profile("2020", "a", "snapshot", date(2020, 12, 31), 5, {"gender": {"Male": 5}}, {("accepted", ""): 5})
    assert current_and_baseline(path) == (None, None)
    append_state(state, path)
    first = sha256(path)
    append_state(state, path)
    assert sha256(path) == first
    later = replace(state, label="2021", content="b", rows=6)
    append_state(later, path)
    append_state(later, path)
    now, before = current_and_baseline(path)
    assert now
    assert before
    assert (now.label, now.rows, before.label, before.rows) == ("2021", 6, "2020", 5)
    assert (before.values["gender"], before.outcomes, before.until) == (state.values["gender"], state.outcomes, state.until)


def state_of(*sent: tuple[str, str, str], rows: int) -> Profile:
    """A state of these deliveries, as ``of_partner`` identifies it."""
    content = hashlib.sha256(repr(sorted(sent)).encode()).hexdigest()
    counts = {"gender": {"Male": rows}}
    return Profile(str(sent), content, "snapshot", date(2021, 12, 31), rows, counts, {}, deliveries=frozenset(sent))


FIRST, REJECTED, CORRECTED, SECOND = (
    ("polaris", "2020", "a"),
    ("polaris", "2021", "bad"),
    ("polaris", "2021", "b"),
    ("polaris", "2022", "c"),
)


def test_a_rejected_delivery_is_no_baseline(tmp_path: Path) -> None:
    """Guards against a corrected delivery that warns because the wrong one, which it replaces, was different."""
    path = tmp_path / "profiles.parquet"
    for state in (state_of(FIRST, rows=100), state_of(FIRST, REJECTED, rows=20), state_of(FIRST, CORRECTED, rows=110)):
        append_state(state, path)
    now, before = current_and_baseline(path)
    assert now
    assert before
    assert (now.rows, before.rows) == (110, 100)
    append_state(state_of(FIRST, CORRECTED, SECOND, rows=120), path)
    assert [state.rows for state in current_and_baseline(path) if state] == [120, 110]


def test_the_last_release_is_the_baseline(tmp_path: Path) -> None:
    """Guards against a loss that is heard of once and is the usual state one delivery later, long before the next release."""
    path = tmp_path / "profiles.parquet"
    released = LastRelease("2026-1", frozenset({FIRST, ("otsh", "2020", "x")}))
    append_state(state_of(FIRST, rows=100), path, released=None)
    for state in (state_of(FIRST, CORRECTED, rows=60), state_of(FIRST, CORRECTED, SECOND, rows=59)):
        append_state(state, path, released=released)
    now, before = current_and_baseline(path, released=released)
    assert now
    assert before
    assert (now.rows, before.rows) == (59, 100)
    assert before.label.endswith("in release 2026-1")


def test_the_same_deliveries_read_otherwise_are_compared_with_the_release(tmp_path: Path) -> None:
    """Guards against a layout that was changed for the worse after a release: the state would be compared with itself."""
    path = tmp_path / "profiles.parquet"
    released = LastRelease("2026-1", frozenset({FIRST}))
    append_state(state_of(FIRST, rows=100), path)
    assert [state.rows for state in current_and_baseline(path, released=released) if state] == [100, 100]
    for rows in (10, 9):
        append_state(state_of(FIRST, rows=rows), path, released=released)
        assert [state.rows for state in current_and_baseline(path, released=released) if state] == [rows, 100]
    first = sha256(path)
    append_state(state_of(FIRST, rows=9), path, released=released)
    assert sha256(path) == first
    again = LastRelease("2026-2", frozenset({FIRST}))
    append_state(state_of(FIRST, rows=9), path, released=again)
    assert [state.rows for state in current_and_baseline(path, released=again) if state] == [9, 9]
    assert len(read_states(path)) == 2


def test_a_delivery_is_held_against_the_one_in_the_last_release(tmp_path: Path) -> None:
    """Guards against a delivery that is like the bad one before it, which nobody has published."""
    zones = home(tmp_path)
    store, ingested, source = Store(zones.deliveries), zones.ingested("polaris"), SOURCES["polaris"]
    contents = {}
    for refresh, cases in (("2019", 5), ("2020", 1), ("2021", 2)):
        rows = [{"Victim_ID": f"{refresh}{number}"} for number in range(cases)]
        deliver(tmp_path, "polaris", *rows, refresh=refresh, terms='kind = "snapshot"')
        contents[refresh] = store.require("polaris", refresh).content
    assert [one.rows for one in of_source(source, store=store, ingested=ingested) if one] == [2, 1]
    released = LastRelease("2026-1", frozenset({("polaris", "2019", contents["2019"])}))
    assert [one.rows for one in of_source(source, store=store, ingested=ingested, released=released) if one] == [2, 5]


def test_a_contested_delivery_is_no_baseline(tmp_path: Path) -> None:
    """Guards against a comparison with one of two deliveries of which nobody has chosen either."""
    zones = home(tmp_path)
    store, ingested, source = Store(zones.deliveries), zones.ingested("polaris"), SOURCES["polaris"]
    for refresh, rows in (("2019", 3), ("2020", 2), ("2021", 1)):
        deliver(tmp_path, "polaris", *({"Victim_ID": str(n)} for n in range(rows)), refresh=refresh, terms='kind = "snapshot"')
    with pytest.raises(DeliveryError):
        deliver(tmp_path, "polaris", {"Victim_ID": "x"}, refresh="2020", terms='kind = "snapshot"')
    assert [one.rows for one in of_source(source, store=store, ingested=ingested) if one] == [1, 3]


def test_a_country_that_came_on_the_list_is_forgotten_in_the_state_before_too(tmp_path: Path) -> None:
    """Guards against a history in which the country that must not be named stands all the same."""
    path = tmp_path / "profiles.parquet"
    state = Profile("2020", "a", "snapshot", date(2020, 12, 31), 9, {"citizenship": {MISSING: 1, "ERI": 3, "UKR": 5}}, {})
    append_state(state, path)
    append_state(
        replace(state, content="b", values={"citizenship": {MISSING: 4, "UKR": 5}}),
        path,
        suppressed=SuppressedCountries.of({"citizenship": ["ERI"]}),
    )
    before = current_and_baseline(path)[1]
    assert before
    assert before.values["citizenship"] == {MISSING: 4, "UKR": 5}
    assert "ERI" not in str(pq.read_table(path).to_pylist())


@pytest.mark.parametrize("cell", ["1" * 30, "-5", "٣"])
def test_numbers_that_are_none_do_not_break_the_profile(cell: str) -> None:
    """Guards against a delivery that cannot be judged for one cell."""
    assert delivery({"Victim_Age_At_Report": cell}).values["Victim_Age_At_Report"] == {UNLISTED: 1}
