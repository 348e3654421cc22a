"""The marks that leak tests look for are really everywhere, and are found wherever they turn up."""

from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ctdc_pipeline.errors import CtdcError
from ctdc_pipeline.harmonise import harmonise
from ctdc_pipeline.partners.reading import ingest
from ctdc_pipeline.partners.registry import PARTNERS, SOURCES
from ctdc_pipeline.samples.generate import generate
from tests.sentinels import MARK, leaks, plant_sentinels


def test_every_field_is_marked_and_no_harmonised_table_holds_a_mark(tmp_path: Path) -> None:
    """Guards against a leak test that passes because a field was not marked, and against marks that survive de-identification."""
    landing, tables = tmp_path / "landing", tmp_path / "tables"
    generate(landing, victims=2_000, seed=6)
    marks = plant_sentinels(landing)
    assert all(mark.startswith(MARK) for mark in marks)
    for source in SOURCES.values():
        ingest(source, landing=landing / source.name, folder=tables / "ingestion")
        table = pq.read_table(tables / "ingestion" / f"{source.name}.parquet")
        for field in source.cases.fields:
            assert MARK in str(table.column(field.name).to_pylist()), (source.name, field.name)
    summaries = [
        harmonise(partner, ingested=tables / "ingestion", folder=tables / "harmonised", key=b"k" * 32, as_of=date(2021, 12, 31))
        for partner in PARTNERS
    ]
    assert sum(summary.accepted for summary in summaries) > 1_700
    assert not leaks(tables / "harmonised", texts=map(str, summaries))


def test_marks_in_lists_are_refused_without_being_quoted(tmp_path: Path) -> None:
    """Guards against an error that quotes the cell it complains of."""
    generate(tmp_path / "landing", victims=500, seed=6)
    plant_sentinels(tmp_path / "landing", in_lists=True)
    source = SOURCES["liberty_shared"]
    ingest(source, landing=tmp_path / "landing" / source.name, folder=tmp_path / "ingestion")
    with pytest.raises(CtdcError) as caught:
        harmonise("liberty_shared", ingested=tmp_path / "ingestion", folder=tmp_path / "out", key=b"k", as_of=date(2021, 12, 31))
    assert not leaks(texts=[str(caught.value), repr(caught.value.__cause__), repr(caught.value.__context__)])


def test_marks_are_found_in_tables_archives_names_and_texts(tmp_path: Path) -> None:
    """Guards against a search that is blind to compressed files."""
    assert leaks(tmp_path, texts=["nothing", f"a {MARK.upper()} b"]) == ["text 1"]
    pq.write_table(pa.table({"a": [f"x{MARK}"] * 100}), tmp_path / "table.parquet", compression="zstd")
    (tmp_path / MARK).mkdir()
    (tmp_path / MARK / "file").touch()
    assert leaks(tmp_path) == [str(tmp_path / "table.parquet"), str(tmp_path / MARK / "file")]
