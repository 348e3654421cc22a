"""Bad landed folders, from the landing root to the harmonised tables: each ends in a named error with nothing kept of it and
nothing changed of what was there, or in rows held back by a rule."""

import gzip
import hashlib
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ctdc_pipeline.errors import DeliveryError, ParameterError
from ctdc_pipeline.ingestion import landing as landing_module
from ctdc_pipeline.ingestion.delivery_store import Store
from tests.support.deliveries import SENTINEL, deliver, harmonise_all, home, land, left_out, outcome, receive

Damage = Callable[[Path], object]
BEFORE, REFRESH, CASES = "2020-H2", "2021-H1", "polaris_cases.csv"


def content(text: str | bytes, name: str = CASES) -> Damage:
    return lambda folder: (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def terms(text: str) -> Damage:
    return content(text, "delivery.toml")


def recoded(encoding: str) -> Damage:
    return lambda folder: content((folder / CASES).read_text(encoding="utf-8-sig").encode(encoding))(folder)


def edited(old: str, new: str) -> Damage:
    return lambda folder: content((folder / CASES).read_text(encoding="utf-8-sig").replace(old, new, 1))(folder)


def summed(folder: Path) -> None:
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(folder.iterdir())]
    (folder / "SHA256SUMS").write_text("".join(lines))


def both(*damages: Damage) -> Damage:
    return lambda folder: [damage(folder) for damage in damages]


def emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def zipped(folder: Path) -> None:
    with zipfile.ZipFile(folder / "delivery.zip", "w") as archive:
        archive.write(folder / CASES, CASES)
    (folder / CASES).unlink()


def cut(share: float) -> Damage:
    """The cases end in the middle of a row."""
    return lambda folder: content((folder / CASES).read_bytes()[: int((folder / CASES).stat().st_size * share)])(folder)


REFUSED: dict[str, tuple[Damage, str]] = {
    "an empty folder": (emptied, "there are no files"),
    "only hidden files": (both(emptied, content("x", ".DS_Store")), "there are no files"),
    "only checksums": (both(emptied, content("x", "SHA256SUMS")), "there are no files"),
    "only terms": (both(emptied, terms('kind = "increment"')), "there are no files"),
    "a nested folder": (lambda folder: (folder / "june").mkdir(), "there is a folder where only files belong"),
    "files in a nested folder": (
        lambda folder: [(folder / "june").mkdir(), (folder / CASES).rename(folder / "june" / CASES)],
        "there is a folder where only files belong",
    ),
    "a link out of the root": (lambda folder: (folder / "more.csv").symlink_to("/etc/hostname"), "a link"),
    "a link to nothing": (lambda folder: (folder / "more.csv").symlink_to("nowhere"), "a link"),
    "a pipe": (lambda folder: os.mkfifo(folder / "more.csv"), "something else than a file"),
    "an unfinished upload": (
        lambda folder: (folder / CASES).rename(folder / f"{CASES}.part"),
        "upload of a file is not finished",
    ),
    "an unfinished upload beside": (content("x", "more.csv.filepart"), "the upload of a file is not finished"),
    "a name of two lines": (content("x", "a\nb.csv"), "characters that no plain file name has"),
    "a name with a backslash": (content("x", "..\\cases.csv"), "characters that no plain file name has"),
    "a name that is not UTF-8": (
        lambda folder: (folder / os.fsdecode(b"\xe9.csv")).touch(),
        "characters that no plain file name",
    ),
    "a name that is too long": (content("x", f"{'x' * 240}.csv"), "a name is too long"),
    "a name that the store needs": (content("{}", "delivery.json"), "a delivery has no file of this name"),
    "a wrong sum": (both(summed, edited("High", "Moderate")), "the file does not match its sum in SHA256SUMS"),
    "a listed file is missing": (
        both(content("x", "more.csv"), summed, lambda f: (f / "more.csv").unlink()),
        "that is missing",
    ),
    "a file is not listed": (both(summed, content("x", "more.csv")), "the file is not in SHA256SUMS"),
    "checksums of another kind": (content("d41d8cd98f00b204e9800998ecf8427e  a.csv\n", "SHA256SUMS"), "row 1: the line is not"),
    "checksums of another folder": (content(f"{'0' * 64}  ../a.csv\n", "SHA256SUMS"), "row 1: the line is not"),
    "checksums that contradict": (content(f"{'0' * 64}  a\n{'1' * 64}  a\n", "SHA256SUMS"), "row 2: the line is not"),
    "checksums in UTF-16": (content("0  a".encode("utf-16"), "SHA256SUMS"), "row 1: the line is not"),
    "terms that are no TOML": (terms("kind: increment"), "it cannot be read"),
    "terms that are not UTF-8": (
        content(b"kind = '\x80'", "delivery.toml"),
        "cannot be read",
    ),
    "terms of an unknown kind": (terms('kind = "full"'), 'kind is "snapshot" or "increment"'),
    "terms with a key nobody knows": (terms('until = "2021"'), "it contains something else than kind, since and invented"),
    "terms whose refresh is none": (terms('since = "last year"'), "it cannot be read"),
    "a base that was never delivered": (terms('since = "2019-H1"'), "continues 2019-H1, which was never delivered"),
    "a base that comes later": (terms('since = "2022"'), "says since 2022, which does not fit"),
    "itself as base": (terms(f'since = "{REFRESH}"'), "which does not fit"),
    "a snapshot with a base": (terms(f'kind = "snapshot"\nsince = "{BEFORE}"'), "which does not fit"),
    "no file of cases": (lambda folder: (folder / CASES).unlink(), "the file is missing"),
    "a file that nobody knows": (content("x", "readme.pdf"), "no file of this name is expected"),
    "a file of no bytes": (content("the file is empty"), ""),
    "a file of one line end": (content("\n"), "none of the expected headings"),
    "headings of another export": (content("a,b\n1,2\n"), "none of the expected headings"),
    "a heading twice": (edited("Victim_ID", "Case_ID"), "column Case_ID: the heading occurs twice"),
    "a heading is missing": (edited("Victim_ID", "Victim"), "required columns are missing: Victim_ID"),
    "no headings": (
        lambda folder: content((folder / CASES).read_bytes().split(b"\n", 1)[1])(folder),
        "none of the expected headings",
    ),
    "another encoding": (both(edited("C1", "C\u00e9"), recoded("latin-1")), "the encoding is not UTF-8"),
    "UTF-16": (recoded("utf-16"), "the encoding is UTF-16"),
    "a compressed file": (lambda folder: content(gzip.compress((folder / CASES).read_bytes()))(folder), "there is a NUL byte"),
    "an archive": (zipped, "no file of this name is expected"),
    "a workbook named as text": (content(b"PK\x03\x04" + bytes(200)), "this is a workbook or an archive"),
    "a page of a web server": (content(f"<html><body>{SENTINEL}</body></html>"), "none of the expected headings"),
    "zeros of a broken disk": (content(bytes(5000)), "there is a NUL byte"),
    "the last row is cut": (cut(0.97), "the last line is cut off"),
    "a quote that does not end": (edited("C1", f'"{SENTINEL}'), "a quoted cell is never closed"),
}


@pytest.mark.parametrize(("damage", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_a_bad_folder_is_refused_whole(tmp_path: Path, damage: Damage, told: str) -> None:
    """Each of these was or would be taken as less, more or other than what the partner meant to send."""
    zones = home(tmp_path)
    deliver(tmp_path, "polaris", {"Case_ID": "C0"}, refresh=BEFORE)
    before = {path: path.read_bytes() for path in zones.sensitive.rglob("*.parquet")}
    folder = land(tmp_path, "polaris", {"Case_ID": "C1"}, {"Case_ID": "C2"}, refresh=REFRESH).parent
    land(tmp_path, "polaris_opt_outs", refresh=REFRESH)
    land(tmp_path, "liberty_shared", {}, refresh=REFRESH)
    land(tmp_path, "liberty_shared_consents", {}, refresh=REFRESH)
    damage(folder)

    with pytest.raises(DeliveryError, match=told) as error:
        receive(tmp_path, "polaris", refresh=REFRESH)
    assert error.value.partner == "polaris"
    assert error.value.remedy
    assert SENTINEL not in str(error.value)
    assert "\n" not in str(error.value)
    assert [one.refresh.label for one in Store(zones.deliveries).deliveries("polaris")] == [BEFORE]
    assert {path: path.read_bytes() for path in zones.sensitive.rglob("*.parquet")} == before
    assert list(zones.tmp.iterdir()) == []
    assert receive(tmp_path, "liberty_shared", refresh=REFRESH).rows["liberty_shared"] == 1, "the other partner's must go on"


@pytest.mark.parametrize("label", ["newest", "2021-H3", "2021-02-30", "2021-13", "H1-2021", "2021 H1", "1999"])
def test_a_folder_that_is_no_refresh_is_refused(tmp_path: Path, label: str) -> None:
    """A delivery out of the order of time could replace a later one."""
    land(tmp_path, "polaris", {}, refresh=label)
    with pytest.raises((DeliveryError, ParameterError), match="refresh"):
        receive(tmp_path, "polaris", refresh=label)
    assert Store(home(tmp_path).deliveries).deliveries("polaris") == []


@pytest.mark.parametrize("change", ["vanishes", "grows", "another comes"])
def test_a_folder_that_changes_in_mid_copy_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """Half of an upload, or two states of a folder in one delivery."""
    folder = land(tmp_path, "polaris", {}, refresh=REFRESH).parent
    land(tmp_path, "polaris_opt_outs", refresh=REFRESH)
    downloaded = landing_module.download
    damage: Damage = {"vanishes": shutil.rmtree, "grows": content("x"), "another comes": content("x", "more.csv")}[change]

    def download(*place: Any, **size: Any) -> str:
        digest = downloaded(*place, **size)
        if folder.exists():
            damage(folder)
        return digest

    monkeypatch.setattr(landing_module, "download", download)
    with pytest.raises(DeliveryError, match=r"disappeared while it was copied|changed while it was copied"):
        receive(tmp_path, "polaris", refresh=REFRESH)
    assert Store(home(tmp_path).deliveries).deliveries("polaris") == []
    assert list(home(tmp_path).tmp.iterdir()) == []


def test_a_refresh_with_other_content_is_kept_and_waits(tmp_path: Path) -> None:
    """Which of the two is right, only a person knows."""
    deliver(tmp_path, "polaris", {"Case_ID": "C1"}, refresh=REFRESH)
    with pytest.raises(DeliveryError, match=r"delivered more than once with other content.*ctdc deliveries choose polaris"):
        deliver(tmp_path, "polaris", {"Case_ID": "C2"}, refresh=REFRESH)
    assert len(Store(home(tmp_path).deliveries).deliveries("polaris")) == 2


def test_a_refresh_that_is_closed_takes_nothing(tmp_path: Path) -> None:
    """A figure that was published must not change under its readers."""
    deliver(tmp_path, "polaris", {"Case_ID": "C1"}, refresh=REFRESH)
    Store(home(tmp_path).deliveries).close("polaris", REFRESH)
    for refresh in (BEFORE, REFRESH):
        with pytest.raises(DeliveryError, match=f"refresh {refresh} is closed"):
            deliver(tmp_path, "polaris", {"Case_ID": "C2"}, refresh=refresh)
    assert len(Store(home(tmp_path).deliveries).deliveries("polaris")) == 1


def test_the_same_folder_again_changes_nothing(tmp_path: Path) -> None:
    """A partner who sends twice, or a folder copied back, must not count twice."""
    deliver(tmp_path, "polaris", {"Case_ID": "C1"}, refresh=REFRESH)
    deliver(tmp_path, "polaris", {"Case_ID": "C1"}, refresh=REFRESH)
    assert len(Store(home(tmp_path).deliveries).deliveries("polaris")) == 1


def test_an_increment_that_overlaps_supersedes(tmp_path: Path) -> None:
    """A case sent in two increments is one case: the later one holds, and the earlier is told, not lost."""
    deliver(tmp_path, "polaris", {"Case_ID": "C1"}, {"Case_ID": "C2"}, refresh=BEFORE)
    deliver(tmp_path, "polaris", {"Case_ID": "C2"}, {"Case_ID": "C3"}, refresh=REFRESH, terms=f'since = "{BEFORE}"')
    summary = harmonise_all(tmp_path, "polaris")
    assert summary.accepted == 3
    assert [row["rule"] for row in outcome(tmp_path, "polaris_exclusions")] == ["superseded"]


def test_a_withdrawal_for_somebody_never_delivered_waits_for_the_case(tmp_path: Path) -> None:
    """It may come before the case does, and must neither fail, nor hit another, nor be forgotten."""
    opted_out = [{"Case_ID": "C1", "Victim_ID": "V1"}, {"Case_ID": "C9", "Victim_ID": "V1"}]
    deliver(tmp_path, "polaris", {"Case_ID": "C1"}, {"Case_ID": "C2"}, listed=opted_out, refresh=BEFORE)
    assert harmonise_all(tmp_path, "polaris").accepted == 1
    deliver(tmp_path, "polaris", {"Case_ID": "C9"}, refresh=REFRESH)
    assert harmonise_all(tmp_path, "polaris").accepted == 1


def test_withdrawals_that_all_hit_nobody_are_refused(tmp_path: Path) -> None:
    """Numbers of another kind look like withdrawals for nobody, and people who withdrew would be published."""
    deliver(tmp_path, "polaris", {"Case_ID": "C1"}, listed=[{"Case_ID": "C9", "Victim_ID": "V9"}], refresh=BEFORE)
    with pytest.raises(DeliveryError, match="the opt-out list matches no case"):
        harmonise_all(tmp_path, "polaris")


HELD_BACK: dict[str, dict[str, str]] = {
    "a code nobody knows": {"Situation_Status": SENTINEL},
    "a day that is none": {"Report_Date": "02/30/2016 10:00"},
    "a day to come": {"Report_Date": "01/01/2099 10:00"},
    "a formula": {"Case_ID": f"={SENTINEL}!A0"},
    "a case without its number": {"Case_ID": ""},
}


@pytest.mark.parametrize("row", HELD_BACK.values(), ids=HELD_BACK.keys())
def test_a_bad_row_is_held_back_and_told(tmp_path: Path, row: dict[str, str]) -> None:
    """One wrong cell must neither stop the delivery nor get in, nor vanish."""
    deliver(tmp_path, "polaris", {"Case_ID": "C1"}, {"Case_ID": "C2", **row}, refresh=REFRESH)
    summary = harmonise_all(tmp_path, "polaris")
    assert summary.accepted == 1
    held = {line["source_row"] for line in outcome(tmp_path, "polaris_quarantine")} | {*left_out(tmp_path, "polaris")}
    assert held == {2}
    assert SENTINEL not in str(outcome(tmp_path, "polaris_quarantine"))
