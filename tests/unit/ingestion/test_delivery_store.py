"""Test the store of deliveries: stored files never change, nothing is taken twice, and doubtful deliveries wait for a person."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ctdc_pipeline.errors import CtdcError, DeliveryError, ParameterError, TableError
from ctdc_pipeline.ingestion.delivery_store import RECORD, Delivery, Store, content_hash
from ctdc_pipeline.partners.registry import SOURCES
from ctdc_pipeline.storage.zones import Zones

POLARIS = SOURCES["polaris"]
FILES = {"polaris_cases.csv": "a"}


@pytest.fixture
def zones(tmp_path: Path) -> Zones:
    return Zones(tmp_path).prepare()


def receive(zones: Zones, refresh: str, files: Mapping[str, str] = FILES, check: object = None) -> Delivery:
    def fetch(folder: Path) -> None:
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)

    def passes(_: Delivery) -> None:
        if isinstance(check, Exception):
            raise check

    return Store(zones.deliveries).receive(POLARIS, refresh, fetch, check=passes, tmp=zones.tmp)


def kept(zones: Zones) -> list[str]:
    """Everything in the store and in the scratch space."""
    places = (zones.deliveries, zones.tmp)
    return sorted(str(path.relative_to(place)) for place in places for path in place.rglob("*") if path.is_file())


def test_a_delivery_is_kept_as_it_came(zones: Zones) -> None:
    """Guards against a copy that differs from what the partner sent, or that others can read."""
    delivery = receive(zones, "2021-H1", {"polaris_cases.csv": "a\n", "polaris_opt_out.csv": "b", "SHA256SUMS": "x"})
    assert delivery == Store(zones.deliveries).require("polaris", "2021-H1")
    assert [(file.name, file.size) for file in delivery.files] == [("polaris_cases.csv", 2), ("polaris_opt_out.csv", 1)]
    assert [path.read_text() for path in delivery.paths()] == ["a\n", "b"]
    for path in (delivery.folder, *delivery.folder.parents[:2], *delivery.folder.iterdir()):
        assert path.stat().st_mode & 0o077 == 0, path


def test_the_same_bytes_again_change_nothing(zones: Zones) -> None:
    """Guards against counting one delivery as two because somebody landed it again."""
    first = receive(zones, "2021-H1")
    before = {path: (zones.deliveries / path).stat().st_mtime_ns for path in kept(zones)}
    assert receive(zones, "2021-H1") == first
    assert {path: (zones.deliveries / path).stat().st_mtime_ns for path in kept(zones)} == before


def test_the_content_hash_is_of_names_and_bytes() -> None:
    """Guards against two deliveries that are told apart by the order of a listing, or not by a renamed file."""
    assert content_hash([("a", "1"), ("b", "2")]) == content_hash([("b", "2"), ("a", "1"), ("SHA256SUMS", "3")])
    assert content_hash([("a", "1"), ("b", "2")]) != content_hash([("a", "2"), ("b", "1")])


def test_other_content_for_a_refresh_waits_for_a_person(zones: Zones) -> None:
    """Guards against a delivery that silently replaces another, and against opt-outs that are forgotten meanwhile."""
    store = Store(zones.deliveries)
    first = receive(zones, "2021-H1")
    with pytest.raises(DeliveryError, match="ctdc deliveries choose polaris 2021-H1") as caught:
        receive(zones, "2021-H1", {"polaris_cases.csv": "b"})
    assert first.short in str(caught.value)
    assert len(store.deliveries("polaris")) == 2
    with pytest.raises(DeliveryError, match="delivered more than once"):
        store.used("polaris")
    store.choose("polaris", "2021-H1", first.short)
    assert store.used("polaris") == (first,)


def test_a_choice_holds_among_what_was_there(zones: Zones) -> None:
    """Guards against an old decision that decides on a delivery nobody had seen."""
    store = Store(zones.deliveries)
    first = receive(zones, "2021-H1")
    for text in ("b", "c"):
        with pytest.raises(DeliveryError, match="delivered more than once"):
            receive(zones, "2021-H1", {"polaris_cases.csv": text})
        store.choose("polaris", "2021-H1", first.short)
    assert receive(zones, "2021-H1", {"polaris_cases.csv": "b"}) == first, "what was decided on is not asked again"


@pytest.mark.parametrize("content", ["", "ffffffffffff", "x"])
def test_a_choice_names_one_delivery(zones: Zones, content: str) -> None:
    """Guards against a slip of the keyboard that decides for the wrong one."""
    first = receive(zones, "2021-H1")
    with pytest.raises(ParameterError, match=f"Choose among: {first.short}"):
        Store(zones.deliveries).choose("polaris", "2021-H1", content)


def test_a_closed_refresh_takes_nothing_new(zones: Zones) -> None:
    """Guards against a published period that changes, and against a closed one that cannot be read again."""
    store = Store(zones.deliveries)
    first = receive(zones, "2021-H1")
    store.close("polaris", "2021-H1")
    assert receive(zones, "2021-H1") == first
    for refresh, text in (("2021-H1", "b"), ("2020", "c")):
        with pytest.raises(DeliveryError, match=f"refresh {refresh} is closed"):
            receive(zones, refresh, {"polaris_cases.csv": text})
    assert len(store.deliveries("polaris")) == 1
    receive(zones, "2021-H2", {"polaris_cases.csv": "d"})
    with pytest.raises(ParameterError, match="closed up to 2021-H1 already"):
        store.close("polaris", "2020")


TERMS = {
    "base was never delivered": ('kind = "increment"\nsince = "2020"', "continues 2020, which was never delivered"),
    "base is the refresh itself": ('since = "2021-H1"', "does not fit"),
    "a snapshot continues nothing": ('kind = "snapshot"\nsince = "2020"', "does not fit"),
    "another kind": ('kind = "diff"', "something else than kind, since and invented"),
    "another word": ('kind = "increment"\nbase = "2020"', "something else than kind, since and invented"),
    "a mark that is neither": ('invented = "no"', "something else than kind, since and invented"),
    "no refresh": ('since = "last year"', "cannot be read"),
    "deep nesting": (f"kind = {'[' * 100_000}", "cannot be read"),
    "deep tables": (f"{'.'.join('a' * 50_000)} = 1", "something else|cannot be read"),
    "a key of many parts": (f"a{'.a' * 3_000} = 1", "cannot be read"),
    "a long number": (f"since = {'9' * 5_000}", "cannot be read"),
    "not closed, deep": (f"since = {'{a=' * 20_000}1{'}' * 20_000}", "cannot be read"),
    "no TOML": ("kind: increment", "cannot be read"),
}


@pytest.mark.parametrize("case", TERMS)
def test_terms_that_do_not_hold_are_refused(zones: Zones, case: str) -> None:
    """Guards against an increment with a hole before it, and against terms that are read as something else."""
    said, message = TERMS[case]
    with pytest.raises(DeliveryError, match=message):
        receive(zones, "2021-H1", {**FILES, "delivery.toml": said})
    assert kept(zones) == []


def test_terms_decide_and_the_source_decides_without(zones: Zones) -> None:
    """Guards against a snapshot that is added to what it replaces."""
    assert receive(zones, "2020").kind == "increment"
    snapshot = receive(zones, "2021-H1", {**FILES, "delivery.toml": 'kind = "snapshot"'})
    assert snapshot.kind == "snapshot"
    assert [path.name for path in snapshot.paths()] == ["polaris_cases.csv"]
    since = receive(zones, "2021-H2", {**FILES, "delivery.toml": 'since = "2020"'}).since
    assert since is not None
    assert since.label == "2020"


REFUSED: dict[str, tuple[str, Mapping[str, str], object]] = {
    "no files": ("2021-H1", {"delivery.toml": ""}, None),
    "malformed label": ("H1-2021", FILES, None),
    "a name of ours": ("2021-H1", {**FILES, RECORD: "{}"}, None),
    "unreadable": ("2021-H1", FILES, DeliveryError("no", remedy="no", partner="polaris")),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_leaves_nothing(zones: Zones, case: str) -> None:
    """Guards against half a delivery that is later taken for a whole one."""
    refresh, files, check = REFUSED[case]
    with pytest.raises(CtdcError):
        receive(zones, refresh, files, check)
    assert kept(zones) == []


def test_a_landing_that_fails_leaves_nothing(zones: Zones) -> None:
    """Guards against what was copied before the landing folder vanished."""

    def fetch(folder: Path) -> None:
        folder.mkdir()
        (folder / "polaris_cases.csv").write_text("a")
        raise DeliveryError("the folder vanished", remedy="Land it again.", partner="polaris")

    with pytest.raises(DeliveryError, match="vanished"):
        Store(zones.deliveries).receive(POLARIS, "2021-H1", fetch, check=lambda _: None, tmp=zones.tmp)
    assert kept(zones) == []


def test_two_who_receive_at_once_agree(zones: Zones) -> None:
    """Guards against a delivery that is half there for whoever comes second."""
    with ThreadPoolExecutor(8) as pool:
        found = [*pool.map(lambda _: receive(zones, "2021-H1"), range(16))]
    assert len({delivery.content for delivery in found}) == 1
    assert len(Store(zones.deliveries).deliveries("polaris")) == 1
    assert not any(zones.tmp.iterdir())


@pytest.mark.parametrize("text", ["", "{}", '{"files": 1}', "[]"])
def test_a_damaged_record_is_told(zones: Zones, text: str) -> None:
    """Guards against a traceback, and against a delivery that is not seen any more."""
    delivery = receive(zones, "2021-H1")
    (delivery.folder / RECORD).write_text(text)
    with pytest.raises(TableError, match="damaged"):
        Store(zones.deliveries).used("polaris")
