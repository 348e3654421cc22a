"""What products are made from: protected where it says so."""

from pathlib import Path

import pyarrow as pa

from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.partners.registry import SOURCES
from ctdc_pipeline.products.inputs import PARTNERS, Inputs
from ctdc_pipeline.storage.files import write_parquet
from ctdc_pipeline.storage.zones import Zones


def test_coverage_by_partner_is_protected(tmp_path: Path) -> None:
    """How many people a partner helped, to the person, or a year in which it helped one, would be told in the codebook."""
    zones = Zones(tmp_path).prepare()
    rows = [("polaris", "2016")] * 25 + [("polaris", "2019")] * 9 + [("otsh", "2018")] * 9
    columns = {name: pa.array([None] * len(rows), pa.string()) for name in codebook().names}
    columns |= {"partner": pa.array([source for source, _ in rows]), "source": pa.array([source for source, _ in rows])}
    columns["yearOfRegistration"] = pa.array([year for _, year in rows])
    write_parquet(pa.table(columns), zones.table("harmonised", "victims"))
    write_parquet(pa.table(columns).select(list(codebook().names)), zones.table("synthetic", "records"))
    write_parquet(pa.table({"length": pa.array([], pa.int64())}), zones.table("counts", "reportable_aggregates"))
    said = {name: {"state": "new", "latest_refresh": "2021", "stopped": None} for name in SOURCES}

    inputs = Inputs.read(zones, version="1", k=10, length=1, last_year=2021, deliveries=said)

    assert inputs.partners.schema == PARTNERS
    told = {row["source"]: (row["victims"], row["first_year"], row["last_year"]) for row in inputs.partners.to_pylist()}
    assert told["polaris"] == (30, "2016", "2016")
    assert told["otsh"] == told["a21"] == (None, None, None)
    assert inputs.victims.column_names == ["partner", *codebook().names]
