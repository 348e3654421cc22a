"""Every column of every table is described in the catalogue."""

import dagster as dg

from assets.catalogue import COLUMNS, layout_columns
from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.definitions import build_defs
from ctdc_pipeline.partners.registry import SOURCES
from ctdc_pipeline.storage.files import parquet_schema
from tests.integration.conftest import Graph


def test_every_column_of_every_table_is_described(refreshed: Graph) -> None:
    """A column that nobody explains is guessed at."""
    known = {*COLUMNS, *(variable.name for variable in codebook().harmonised)}
    for spec in build_defs().resolve_all_asset_specs():
        path = refreshed.zones.table(*spec.key.path)
        if path.is_file():
            assert {*parquet_schema(path).names} <= known, spec.key
    for source in SOURCES.values():
        (path,) = refreshed.zones.ingested(source.name).glob(f"*/{source.name}.parquet")
        assert {*parquet_schema(path).names} <= {*COLUMNS, *layout_columns(source.cases)}


def test_the_layout_speaks_in_the_catalogue(landed: Graph) -> None:
    """Whoever opens a delivery in the catalogue sees which fields identify people, as the layout says."""
    result = landed.run("ingest_polaris", partition=next((landed.zones.landing / "polaris").iterdir()).name)
    (made,) = result.asset_materializations_for_node("ingestion__polaris")
    schema = made.metadata["dagster/column_schema"].value
    assert isinstance(schema, dg.TableSchema)
    told = {column.name: column.description or "" for column in schema.columns}
    assert told["Case_ID"] == "A case may hold several victims. Text; used as case_id; always filled."
    assert all(told.values())
    identifying = {field.name for field in SOURCES["polaris"].cases.fields if field.identifying}
    assert identifying == {name for name, words in told.items() if "identifying" in words}
