"""The marks that leak tests look for are really everywhere, and are found wherever they turn up."""

from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ctdc_pipeline.errors import CtdcError
from ctdc_pipeline.partners.registry import PARTNERS, SOURCES
from tests.support.deliveries import harmonise_all, home, land_sample, receive_all
from tests.support.sentinels import MARK, leaks, plant_sentinels


def test_every_field_is_marked_and_no_harmonised_table_holds_a_mark(tmp_path: Path) -> None:
    """Guards against a leak test that passes because a field was not marked, and against marks that survive de-identification."""
    zones = home(tmp_path)
    land_sample(zones, victims=4_000, seed=6)
    marks = plant_sentinels(zones.landing)
    assert all(mark.startswith(MARK) for mark in marks)
    receive_all(zones)
    for source in SOURCES.values():
        table = pa.concat_tables(pq.read_table(path) for path in zones.ingested(source.name).glob(f"*/{source.name}.parquet"))
        for field in source.cases.fields:
            assert MARK in str(table.column(field.name).to_pylist()), (source.name, field.name)
    summaries = [harmonise_all(tmp_path, partner, as_of=date(2021, 12, 31)) for partner in PARTNERS]
    assert sum(summary.accepted for summary in summaries) > 3_400
    assert not leaks(zones.sensitive / "harmonised", texts=map(str, summaries))


def test_marks_in_lists_are_refused_without_being_quoted(tmp_path: Path) -> None:
    """Guards against an error that quotes the cell it complains of."""
    zones = home(tmp_path)
    land_sample(zones, victims=500, seed=6)
    plant_sentinels(zones.landing, in_lists=True)
    receive_all(zones)
    with pytest.raises(CtdcError) as caught:
        harmonise_all(tmp_path, "liberty_shared", as_of=date(2021, 12, 31))
    assert not leaks(texts=[str(caught.value), repr(caught.value.__cause__), repr(caught.value.__context__)])


def test_marks_are_found_in_tables_archives_names_and_texts(tmp_path: Path) -> None:
    """Guards against a search that is blind to compressed files."""
    assert leaks(tmp_path, texts=["nothing", f"a {MARK.upper()} b"]) == ["text 1"]
    pq.write_table(pa.table({"a": [f"x{MARK}"] * 100}), tmp_path / "table.parquet", compression="zstd")
    (tmp_path / MARK).mkdir()
    (tmp_path / MARK / "file").touch()
    assert leaks(tmp_path) == [str(tmp_path / "table.parquet"), str(tmp_path / MARK / "file")]
