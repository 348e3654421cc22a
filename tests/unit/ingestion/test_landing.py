"""Test landing in a local folder, and when a folder is complete. tests/integration tests the same over S3 and SFTP."""

import errno
import hashlib
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem
from hypothesis import given
from hypothesis import strategies as st

from ctdc_pipeline.errors import DeliveryError, ParameterError, ResourceError
from ctdc_pipeline.ingestion import landing
from ctdc_pipeline.ingestion.checksums import CHECKSUMS, match_checksums, read_checksums
from ctdc_pipeline.ingestion.completeness import Observations
from ctdc_pipeline.ingestion.landed import Landed, LandedEntry
from ctdc_pipeline.ingestion.landing import Landing, download
from ctdc_pipeline.ingestion.protocols import LANDING_URL

MINUTES = 10


def deliver(root: Path, key: str = "polaris/2021-H1", **files: str) -> Path:
    folder = root / key
    folder.mkdir(parents=True)
    for name, content in (files or {"cases": "id\n1\n", "list": "id\n2\n"}).items():
        (folder / f"{name}.csv").write_text(content)
    return folder


def sums(folder: Path) -> None:
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(folder.iterdir())]
    (folder / CHECKSUMS).write_text("".join(lines))


def only(root: Path) -> Landed:
    (landed,) = Landing(root).landed()
    return landed


def fetched(root: Path, landed: Landed) -> set[str]:
    """Fetch into a new folder and give the names; on failure, check that nothing is left."""
    out = root.parent / "out"
    out.mkdir(exist_ok=True)
    try:
        return {path.name for path in Landing(root).fetch(landed, out / "copy")}
    except BaseException:
        assert list(out.iterdir()) == []
        raise


def test_folders_come_by_source_and_period(tmp_path: Path) -> None:
    """Guards against sorting by name, which would put 2021-H1 after 2021, and an increment before what it continues."""
    for refresh in ("2021", "2021-H1", "2021-03", "2020-12-31", "newest"):
        deliver(tmp_path, f"polaris/{refresh}")
    deliver(tmp_path, "iom_mimosa/2021-06")
    keys = [one.key for one in Landing(tmp_path).landed()]
    assert keys == [
        "iom_mimosa/2021-06",
        *(f"polaris/{refresh}" for refresh in ("2020-12-31", "2021-03", "2021-H1", "2021", "newest")),
    ]


def test_what_is_in_no_folder_of_a_refresh_is_told_and_what_is_hidden_left_alone(tmp_path: Path) -> None:
    """Guards against a stray file that stops the deliveries next to it, or that waits for ever without anybody knowing."""
    deliver(tmp_path)
    deliver(tmp_path, ".snapshots/2021")
    deliver(tmp_path, "polaris/.trash")
    (tmp_path / "readme.txt").touch()
    (tmp_path / "polaris" / "cases.csv").touch()
    (tmp_path / "elsewhere").symlink_to(tmp_path / "polaris")
    (tmp_path / "polaris" / "2020").symlink_to(tmp_path / "polaris" / "2021-H1")
    told = [(one.key, [entry.name for entry in one.files]) for one in Landing(tmp_path).landed()]
    assert told == [
        ("/", ["elsewhere", "readme.txt"]),
        ("polaris/2021-H1", ["cases.csv", "list.csv"]),
        ("polaris/", ["2020", "cases.csv"]),
    ]


def test_a_copy_is_whole_and_private(tmp_path: Path) -> None:
    """Guards against case records that others on the machine can read."""
    folder = deliver(tmp_path / "in")
    sums(folder)
    (folder / ".DS_Store").touch()
    assert fetched(tmp_path / "in", only(tmp_path / "in")) == {"cases.csv", "list.csv", CHECKSUMS}
    copy = tmp_path / "out" / "copy"
    assert (copy / "cases.csv").read_text() == "id\n1\n"
    assert {stat.S_IMODE(path.stat().st_mode) for path in copy.iterdir()} == {0o600}
    assert stat.S_IMODE(copy.stat().st_mode) == 0o700


def test_a_copy_goes_into_an_empty_folder_and_into_no_other(tmp_path: Path) -> None:
    """Guards against taking files that are already in the target for a part of the delivery."""
    deliver(tmp_path / "in")
    (tmp_path / "out" / "copy").mkdir(parents=True)
    assert fetched(tmp_path / "in", only(tmp_path / "in"))
    with pytest.raises(OSError, match="not empty"):
        Landing(tmp_path / "in").fetch(only(tmp_path / "in"), tmp_path / "out" / "copy")


REFUSED: dict[str, tuple[Any, str]] = {
    "no files": (lambda folder: [path.unlink() for path in folder.iterdir()], "there are no files"),
    "hidden files only": (lambda folder: [path.rename(folder / f".{path.name}") for path in folder.iterdir()], "no files"),
    "only checksums": (lambda folder: [sums(folder), *(path.unlink() for path in folder.glob("*.csv"))], "there are no files"),
    "upload unfinished": (lambda folder: (folder / "more.csv.part").touch(), r"file more\.csv\.part: the upload .* not finished"),
    "upload of WinSCP": (lambda folder: (folder / "MORE.CSV.FILEPART").touch(), "the upload of a file is not finished"),
    "nested folder": (lambda folder: (folder / "june").mkdir(), "file june: there is a folder where only files belong"),
    "link": (lambda folder: (folder / "more.csv").symlink_to(__file__), r"file more\.csv: a link"),
    "link to nothing": (lambda folder: (folder / "more.csv").symlink_to("nowhere"), r"file more\.csv: a link"),
    "pipe": (lambda folder: os.mkfifo(folder / "more.csv"), "something else than a file"),
    "new line in a name": (lambda folder: (folder / "a\nb.csv").touch(), "2021-H1: a name is too long, or has characters"),
    "backslash in a name": (lambda folder: (folder / "..\\b.csv").touch(), "a name is too long, or has characters"),
    "name not UTF-8": (lambda folder: (folder / os.fsdecode(b"caf\xe9.csv")).touch(), "a name is too long, or has characters"),
    "long name": (lambda folder: (folder / ("x" * 230)).touch(), "2021-H1: a name is too long, or has characters"),
    "no period": (
        lambda folder: folder.rename(folder.with_name("newest")),
        "refresh newest: the refresh label is not understood",
    ),
    "no day": (lambda folder: folder.rename(folder.with_name("2021-02-30")), "contains a day that does not exist"),
    "missing file": (
        lambda folder: [sums(folder), (folder / "list.csv").unlink()],
        r"list\.csv: SHA256SUMS lists a file that is",
    ),
    "extra file": (lambda folder: [sums(folder), (folder / "more.csv").touch()], r"more\.csv: the file is not in SHA256SUMS"),
    "wrong sum": (
        lambda folder: [sums(folder), (folder / "list.csv").write_text("id\n3\n")],
        r"list\.csv: the file does not match",
    ),
    "no checksums": (lambda folder: (folder / CHECKSUMS).write_text("id\n3\n"), "file SHA256SUMS, row 1: the line is not"),
    "checksums in UTF-16": (
        lambda folder: (folder / CHECKSUMS).write_bytes("a  b".encode("utf-16")),
        "the line is not a SHA-256",
    ),
}


@pytest.mark.parametrize(("damage", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_delivery_is_refused(tmp_path: Path, damage: Any, told: str) -> None:
    """Guards against folders that are taken as less, more or other than what the partner meant to send."""
    folder = deliver(tmp_path / "in")
    deliver(tmp_path / "in", "iom_mimosa/2021-06")
    damage(folder)
    _, landed = Landing(tmp_path / "in").landed()
    with pytest.raises(DeliveryError, match=told) as error:
        fetched(tmp_path / "in", landed)
    assert "\n" not in str(error.value)
    assert error.value.partner == "polaris"
    assert not Landing(tmp_path / "in").matches(landed)


def test_a_folder_that_vanishes(tmp_path: Path) -> None:
    """Guards against half a delivery when a partner withdraws it while it is copied."""
    folder = deliver(tmp_path / "in")
    landed = only(tmp_path / "in")
    folder.rename(tmp_path / "gone")
    with pytest.raises(DeliveryError, match="polaris, refresh 2021-H1: the folder disappeared"):
        fetched(tmp_path / "in", landed)
    assert Landing(tmp_path / "in").find("polaris", "2021-H1") is None


@pytest.mark.parametrize("change", ["grows", "vanishes", "another"])
def test_a_folder_that_changes_in_mid_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """Guards against two states of a folder mixed in one delivery, and against half an upload."""
    folder = deliver(tmp_path / "in")
    landed = only(tmp_path / "in")
    opened = LocalFileSystem.open

    def opens(self: LocalFileSystem, path: str, *args: Any, **options: Any) -> Any:
        if path.endswith("list.csv"):
            if change == "grows":
                (folder / "list.csv").write_text("id\n2\n3\n")
            elif change == "vanishes":
                (folder / "list.csv").unlink()
            else:
                (folder / "more.csv").touch()
        return opened(self, path, *args, **options)

    monkeypatch.setattr(LocalFileSystem, "open", opens)
    with pytest.raises(DeliveryError, match=r"disappeared|changed"):
        Landing(tmp_path / "in", first_wait=0.001).fetch(landed, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_full_disk_is_told_and_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against retries when the disk is full, which no waiting changes."""
    deliver(tmp_path / "in")
    tries: list[Path] = []

    def full(path: Path) -> None:
        tries.append(path)
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("ctdc_pipeline.storage.files.sync", full)
    with pytest.raises(ResourceError, match="the disk is full; nothing was kept"):
        fetched(tmp_path / "in", only(tmp_path / "in"))
    assert len(tries) == 1


@pytest.mark.parametrize("size", [0, 4, 6])
def test_a_download_of_another_size_leaves_nothing(tmp_path: Path, size: int) -> None:
    """Guards against a partial copy that passes for the file."""
    (tmp_path / "in").write_text("12345")
    (tmp_path / "out").mkdir()
    with pytest.raises(ConnectionError):
        download(LocalFileSystem(), str(tmp_path / "in"), tmp_path / "out" / "copy", size=size)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_root_that_is_not_there(tmp_path: Path) -> None:
    """Guards against an unmounted share that looks like partners who send nothing."""
    with pytest.raises(ResourceError, match=r"nowhere is not there\. Make it, mount it"):
        Landing(tmp_path / "nowhere").landed()


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against one unreadable file that looks like a closed root and stops the deliveries of other partners."""

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError

    deliver(tmp_path / "in")
    monkeypatch.setattr(LocalFileSystem, "open", refuse)
    with pytest.raises(DeliveryError, match="polaris, refresh 2021-H1: a file may not be read"):
        fetched(tmp_path / "in", only(tmp_path / "in"))


def test_a_folder_that_may_not_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against one unreadable folder that keeps the others from being listed."""
    listed = LocalFileSystem.ls

    def ls(self: LocalFileSystem, path: str, **options: Any) -> Any:
        if path.endswith("2021-H1"):
            raise PermissionError
        return listed(self, path, **options)

    deliver(tmp_path / "in")
    deliver(tmp_path / "in", "polaris/2020")
    monkeypatch.setattr(LocalFileSystem, "ls", ls)
    _, closed = Landing(tmp_path / "in").landed()
    with pytest.raises(DeliveryError, match="may not be listed"):
        fetched(tmp_path / "in", closed)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/x",
        "https://host/x",
        "/folder",
        "landing",
        "",
        "file://host/x",
        "s3:///x",
        "sftp:///x",
        "s3://b/x?k=1",
        "s3://b#x",
    ],
)
def test_a_root_that_is_none(url: str) -> None:
    """Guards against a mistyped root that fails only at the first delivery."""
    with pytest.raises(ParameterError, match=f"{LANDING_URL} is not a landing root"):
        Landing(url)


@pytest.mark.parametrize(
    "url",
    [
        "sftp://me:hush@host/x",
        "s3://hush:hush@bucket/x",
        "sftp://:hush@host/x",
        "sftp://me:hu/hush@host/x",
        "sftp://me:22/hush@host:22/x",
        "s3://key:se/hush@bucket/x",
        "s3://key/hush@bucket/x",
    ],
)
def test_a_root_with_a_credential_is_refused(url: str) -> None:
    """Guards against a credential in the URL, which is shown in the UI, in logs and in messages."""
    with pytest.raises(ParameterError, match="contains a credential") as told:
        Landing(url)
    assert "hush" not in str(told.value)


def test_a_root_with_a_port_that_is_none_is_refused() -> None:
    """Guards against accepting a password with a slash or a mistyped port, which fails later and is then printed."""
    for url in ("sftp://me:hush/x", "sftp://host:99999/x", "s3://bucket:hush/x"):
        with pytest.raises(ParameterError) as told:
            Landing(url)
        assert "hush" not in str(told.value)


def test_a_folder_that_is_a_link_is_not_taken_in_by_name(tmp_path: Path) -> None:
    """Guards against taking in a link, which the sensor ignores, when somebody asks for the refresh by name."""
    deliver(tmp_path / "other")
    (tmp_path / "in" / "polaris").mkdir(parents=True)
    (tmp_path / "in" / "polaris" / "2021-H1").symlink_to(tmp_path / "other" / "polaris" / "2021-H1")
    (tmp_path / "in" / "otsh").symlink_to(tmp_path / "other" / "polaris")
    for source in ("polaris", "otsh"):
        found = Landing(tmp_path / "in").find(source, "2021-H1")
        assert found is not None
        with pytest.raises(DeliveryError, match="the folder is a link"):
            Landing(tmp_path / "in").fetch(found, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize(("name", "most"), [("cases.csv", "MAX_BYTES"), ("delivery.toml", "MAX_TERMS"), (CHECKSUMS, "MAX_TERMS")])
def test_what_is_too_large_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, most: str
) -> None:
    """Guards against a file that does not fit into memory, or that fills the disk first."""
    folder = deliver(tmp_path / "in")
    (folder / name).write_bytes(bytes(1000))
    monkeypatch.setattr(f"ctdc_pipeline.ingestion.landed.{most}", 999)
    monkeypatch.setattr(landing, "_read", lambda *_, **__: pytest.fail("it was read"))
    root = Landing(tmp_path / "in")
    with pytest.raises(DeliveryError, match="larger than 999 bytes"):
        root.fetch(only(tmp_path / "in"), tmp_path / "copy")
    with pytest.raises(DeliveryError, match="larger than 999 bytes"):
        root.digests(only(tmp_path / "in"))
    assert not root.matches(only(tmp_path / "in"))


def test_a_root_is_told_without_its_user() -> None:
    """Guards against showing which user logs in to which server."""
    assert str(Landing("sftp://me@host:22/x")) == repr(Landing("sftp://me@host:22/x")) == "sftp://host:22/x"


def test_the_root_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a root with a space, which is escaped in a URL, that is not found."""
    deliver(tmp_path / "a share")
    monkeypatch.setenv(LANDING_URL, f"file://{tmp_path}/a%20share")
    assert [one.key for one in Landing.from_environment(tmp_path / "other").landed()] == ["polaris/2021-H1"]
    monkeypatch.setenv(LANDING_URL, "")
    assert Landing.from_environment(tmp_path).url == tmp_path


@pytest.mark.parametrize(("url", "library", "extra"), [("s3://bucket/x", "s3fs", "s3"), ("sftp://host/x", "paramiko", "sftp")])
def test_a_library_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, url: str, library: str, extra: str) -> None:
    """Guards against a bare ImportError, which does not say that the library is optional."""
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, "ctdc_pipeline.ingestion.sftp", raising=False)
    monkeypatch.delattr("ctdc_pipeline.ingestion.sftp", raising=False)
    with pytest.raises(ParameterError, match=rf"pip install 'ctdc-pipeline\[{extra}\]'"):
        Landing(url).landed()


def landed(size: int = 1, etag: str = "a", *names: str) -> Landed:
    return Landed("polaris", "2021-H1", tuple(LandedEntry(name, size, etag) for name in (names or ("cases.csv",))))


def never(_: Landed) -> bool:
    return False


def look(before: Observations, now: float, *found: Landed) -> Observations:
    return Observations.parse(before.look(found, now=now, quiet_minutes=MINUTES, matches=never).dump())


def test_a_folder_is_complete_when_it_was_quiet(tmp_path: Path) -> None:
    """Guards against taking half of an upload."""
    seen, one = Observations(), landed()
    complete: list[bool] = []
    for minute in range(0, 14, 2):
        seen = look(seen, minute * 60, one)
        complete.append(seen.complete(one))
    assert complete == [False] * 5 + [True] * 2


@pytest.mark.parametrize("other", [landed(2), landed(1, "b"), landed(1, "a", "cases.csv", "list.csv"), landed(1, "a", "x.csv")])
def test_any_change_starts_the_clock_again(other: Landed) -> None:
    """Guards against taking an upload that pauses for less than the quiet time."""
    seen = Observations()
    for minute in range(0, 9, 3):
        seen = look(seen, minute * 60, landed())
    for minute in range(9, 19, 3):
        seen = look(seen, minute * 60, other)
        assert not seen.complete(other)
    assert not seen.complete(landed())
    assert look(look(seen, 21 * 60, other), 25 * 60, other).complete(other)


def test_a_hidden_file_that_grows_keeps_the_folder_open(tmp_path: Path) -> None:
    """Guards against a folder that looks quiet while rsync writes a file under a hidden name."""
    folder = deliver(tmp_path)
    seen = Observations()
    for number in range(5):
        (folder / ".more.csv.Xa3f").write_text("x" * number)
        seen = look(seen, number * 300, only(tmp_path))
        assert not seen.complete(only(tmp_path))


@given(st.lists(st.floats(-1e10, 1e10), max_size=40))
def test_no_clock_makes_a_folder_complete_at_once(times: list[float]) -> None:
    """Guards against a clock that is set forward or back during an upload. Each look finds the folder changed or seen only
    once.
    """
    seen = Observations()
    for number, now in enumerate(times):
        one = landed(number // 2)
        seen = look(seen, now, one)
        assert not seen.complete(one)


def test_a_clock_that_goes_back_only_waits(tmp_path: Path) -> None:
    """Guards against a clock corrected by a day that stops deliveries for a day."""
    seen = Observations()
    for now in (1e6, 1e6 + 300, 0, 300):
        assert not seen.complete(landed())
        seen = look(seen, now, landed())
    assert seen.complete(landed())


def test_the_server_s_clock_does_not_matter(tmp_path: Path) -> None:
    """Guards against trusting the times of servers, which are hours off, or of uploads, which keep the original's time."""
    for age in (-1e7, 1e7):
        folder = deliver(tmp_path, f"polaris/{2021 + int(age > 0)}")
        os.utime(folder / "cases.csv", (2e9 + age, 2e9 + age))
    found = Landing(tmp_path).landed()
    seen = Observations()
    for minute in (0, 5, 10):
        assert not any(map(seen.complete, found))
        seen = look(seen, minute * 60, *found)
    assert all(map(seen.complete, found))


def test_an_empty_folder_is_never_complete() -> None:
    """Guards against taking a folder that an upload has just created, or that somebody made days ahead."""
    empty = Landed("polaris", "2021-H1", (LandedEntry(".keep", 0, "a"),))
    seen = Observations()
    for minute in range(0, 60, 5):
        seen = look(seen, minute * 60, empty)
    assert not seen.complete(empty)


def test_checksums_that_match_end_the_wait(tmp_path: Path) -> None:
    """Guards against making partners with checksums wait, and against computing checksums at every look."""
    folder = deliver(tmp_path)
    landing, asked = Landing(tmp_path), list[str]()

    def matches(one: Landed) -> bool:
        asked.append(one.fingerprint)
        return landing.matches(one)

    seen = Observations()
    for minute in range(3):
        if minute == 1:
            sums(folder)
        seen = seen.look(landing.landed(), now=minute * 60, quiet_minutes=MINUTES, matches=matches)
        assert seen.complete(only(tmp_path)) == (minute >= 1)
    assert len(asked) == len(set(asked)) == 2


def test_a_folder_that_stays_wrong_is_told(tmp_path: Path) -> None:
    """Guards against a delivery with wrong checksums that waits for ever without anybody knowing."""
    folder = deliver(tmp_path / "in")
    sums(folder)
    (folder / "list.csv").write_text("id\n9\n")
    seen = Observations()
    for minute in (0, 5, 10):
        seen = look(seen, minute * 60, only(tmp_path / "in"))
    assert seen.complete(only(tmp_path / "in"))
    with pytest.raises(DeliveryError):
        fetched(tmp_path / "in", only(tmp_path / "in"))


@pytest.mark.parametrize(
    "cursor", [None, "", "x", "[]", "1", '{"at": 1}', '{"at": null, "folders": {}}', '{"at": 1, "folders": {"a": 1}}']
)
def test_a_cursor_that_is_not_ours_begins_anew(cursor: str | None) -> None:
    """Guards against a sensor that fails at every tick because it cannot read its cursor."""
    assert Observations.parse(cursor) == Observations()


def test_a_quiet_time_of_nothing_is_refused() -> None:
    """Guards against taking every upload as soon as it begins."""
    with pytest.raises(ParameterError, match="more than 0"):
        Observations().look((), now=0, quiet_minutes=0, matches=never)


def test_checksum_files_as_people_make_them() -> None:
    """Guards against refusing checksum files with other line ends, a byte order mark, ./ before names, capitals or a star."""
    digest = "0123456789abcdef" * 4
    content = f"\ufeff{digest.upper()} *a.csv\r\n{digest}  ./b c.csv\r\n{digest}  a.csv\n".encode()
    listed = read_checksums(content, partner="polaris")
    assert listed == {"a.csv": digest, "b c.csv": digest}
    match_checksums(listed, {**listed, CHECKSUMS: "0" * 64}, partner="polaris")


@pytest.mark.parametrize(
    "line", ["x  a.csv", "0" * 64, f"{'0' * 64}  ../a.csv", f"{'0' * 64}  sub/a.csv", f"SHA256 (a) = {'0' * 64}"]
)
def test_checksum_files_that_cannot_be_read(line: str) -> None:
    """Guards against skipping a line, which would leave a file unverified."""
    good = f"{'1' * 64}  b.csv\n"
    with pytest.raises(DeliveryError, match="polaris, file SHA256SUMS, row 2: the line is not"):
        read_checksums(f"{good}{line}\n".encode(), partner="polaris")
    with pytest.raises(DeliveryError, match="another sum"):
        read_checksums(f"{good}{'0' * 64}  b.csv\n".encode(), partner="polaris")
