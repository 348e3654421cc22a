"""The keys of the sensitive zone: what they open, and what is said when they do not."""

import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from ctdc_pipeline.counting.combinations import count_combinations
from ctdc_pipeline.errors import ParameterError, ResourceError
from ctdc_pipeline.operations.limits import Limits
from ctdc_pipeline.storage import encryption
from ctdc_pipeline.storage.files import (
    parquet_rows,
    parquet_schema,
    parquet_sha256,
    queries,
    read_bytes,
    read_parquet,
    sha256,
    write_bytes,
    write_parquet,
)

OLD, NEW = "0a" * 32, "1b" * 32
SENTINEL = "zqsentinel"
TABLE = pa.table({"name": [f"{SENTINEL}{number}" for number in range(100)], "number": range(100)})
Read = Callable[[Path], object]
READS: dict[str, Read] = {
    "table": read_parquet,
    "rows": parquet_rows,
    "schema": parquet_schema,
    "digest": parquet_sha256,
    "query": lambda path: queries(table=path).__enter__(),
    "file": lambda path: read_bytes(path.with_suffix(".csv")),
}


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table and, beside it, another file, both written with the old key."""
    monkeypatch.setenv(encryption.KEY, OLD)
    write_parquet(TABLE, tmp_path / "table.parquet")
    write_bytes(SENTINEL.encode(), tmp_path / "table.csv")
    return tmp_path / "table.parquet"


def test_nothing_can_be_read_from_the_disk(written: Path) -> None:
    """Encryption that leaves names of columns, statistics or dictionaries in clear."""
    for path in written.parent.iterdir():
        content = path.read_bytes()
        assert SENTINEL.encode() not in content
        assert b"number" not in content
        assert encryption.PLAIN_TABLE not in (content[:4], content[-4:])


def test_what_was_written_is_read(written: Path) -> None:
    """A table that differs after a round trip."""
    assert read_parquet(written).equals(TABLE)
    assert read_parquet(written, columns=["number"]).column_names == ["number"]
    assert parquet_rows(written) == 100
    assert parquet_schema(written) == TABLE.schema
    assert read_bytes(written.with_suffix(".csv")) == SENTINEL.encode()
    with queries(records=written) as connection:
        for _ in range(2):
            assert connection.sql("SELECT sum(number) FROM records WHERE number > 90").fetchall() == [(sum(range(91, 100)),)]


def test_the_digest_of_a_table_does_not_tell_whether_it_is_encrypted(written: Path) -> None:
    """Every refresh would look like a change of the data, for encrypted bytes never repeat."""
    clear = written.with_name("clear.parquet")
    write_parquet(TABLE, clear, private=False)
    assert parquet_sha256(written) == parquet_sha256(clear) == sha256(clear)
    before = written.read_bytes()
    write_parquet(TABLE, written)
    assert written.read_bytes() != before


@pytest.mark.parametrize("read", READS.values(), ids=READS.keys())
@pytest.mark.parametrize(("key", "remedy"), [("", "Set it to the key"), (NEW, "Add the key")], ids=["missing", "wrong"])
def test_a_file_that_no_key_opens_says_what_to_do(
    written: Path, monkeypatch: pytest.MonkeyPatch, key: str, remedy: str, read: Read
) -> None:
    """A traceback of a library, from which nobody learns that the key is the matter."""
    monkeypatch.setenv(encryption.KEY, key)
    with pytest.raises(ResourceError, match=remedy) as caught:
        read(written)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert "table." in str(caught.value)
    assert OLD not in str(caught.value)
    assert SENTINEL not in str(caught.value)


@pytest.mark.parametrize("read", READS.values(), ids=READS.keys())
def test_a_rotated_key_still_opens_what_was_written_before(written: Path, monkeypatch: pytest.MonkeyPatch, read: Read) -> None:
    """A new key that makes the old tables useless, or that is not used for what is written from then on."""
    monkeypatch.setenv(encryption.KEY, f"{NEW}, {OLD}")
    read(written)
    write_parquet(TABLE, written)
    write_bytes(b"", written.with_suffix(".csv"))
    monkeypatch.setenv(encryption.KEY, NEW)
    read(written)


@pytest.mark.parametrize("key", ["secret", "0a" * 16, "0a" * 33, f"{OLD},xyz", f"{OLD},0a"])
def test_a_malformed_key_is_refused_without_being_told(written: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """Tables written in clear because of a typing error, or a key in a log."""
    monkeypatch.setenv(encryption.KEY, key)
    for attempt in (lambda: write_parquet(TABLE, written), lambda: write_bytes(b"", written), lambda: read_parquet(written)):
        with pytest.raises(ParameterError, match="64 hexadecimal digits") as caught:
            attempt()
        assert not any(part in str(caught.value).replace("hexadecimal", "") for part in key.split(",") if len(part) > 2)


def test_tables_in_clear_are_read_with_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A zone that can no longer be used from the moment it gets a key."""
    monkeypatch.delenv(encryption.KEY, raising=False)
    write_parquet(TABLE, tmp_path / "table.parquet")
    write_bytes(b"content", tmp_path / "file.csv")
    monkeypatch.setenv(encryption.KEY, NEW)
    assert read_parquet(tmp_path / "table.parquet").equals(TABLE)
    assert read_bytes(tmp_path / "file.csv") == b"content"


def test_a_damaged_file_is_no_other_file(written: Path) -> None:
    """Bytes that were changed on the disk, read as if they were what was written."""
    for path in (written, written.with_suffix(".csv")):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    for read in (read_parquet, READS["file"]):
        with pytest.raises(ResourceError, match="damaged"):
            read(written)


def test_a_public_table_is_not_encrypted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release that nobody can read."""
    monkeypatch.setenv(encryption.KEY, OLD)
    write_parquet(TABLE, tmp_path / "table.parquet", private=False)
    assert (tmp_path / "table.parquet").read_bytes()[:4] == encryption.PLAIN_TABLE


def test_counts_that_memory_does_not_hold_are_the_same_and_never_spilled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case records in clear in a spill folder, or combinations lost or doubled between two passes."""
    from tests.unit.counting.test_combinations import many

    spilled: list[str] = []
    monkeypatch.setattr("ctdc_pipeline.counting.combinations.scratch", lambda *_, **__: spilled.append("spill"))
    monkeypatch.setenv(encryption.KEY, OLD)
    roomy = count_combinations(many(20_000), tmp_path / "roomy", length=4)
    tight = count_combinations(many(20_000), tmp_path / "tight", length=4, limits=Limits(memory="40MB"))
    assert tight == roomy
    for size in range(1, 5):
        name = f"length_{size}.parquet"
        assert read_parquet(tmp_path / "tight" / name).equals(read_parquet(tmp_path / "roomy" / name))
    assert not spilled
    with pytest.raises(ResourceError, match="memory"):
        count_combinations(many(20_000), tmp_path / "no", length=4, limits=Limits(memory="1MB"))


def test_only_one_module_opens_tables() -> None:
    """A module that reads or writes tables by itself fails on encrypted ones, writes in clear, or spills."""
    root = Path(__file__).parents[3]
    calls = re.compile(r"pq\.(read|write)_\w+\(|ParquetWriter\(|duckdb\.connect\(|read_parquet\('")
    found = {
        str(path.relative_to(root / package))
        for package in ("ctdc_pipeline", "resources", "assets")
        for path in (root / package).rglob("*.py")
        if calls.search(path.read_text(encoding="utf-8"))
    }
    # Counting writes piece by piece and has its own limits; tables writes what is its caller's; verification opens public files
    # only, and must fail where one is encrypted; measurements may be told, so they are written in clear.
    assert found == {
        "storage/files.py",
        "storage/tables.py",
        "counting/combinations.py",
        "privacy/measurements.py",
        "verification/readers.py",
        "verification/closed_files.py",
        "verification/private_release.py",
    }
