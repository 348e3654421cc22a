"""A small release to make products of: victims of two partners, with k = 10."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.partners.registry import SOURCES
from ctdc_pipeline.products.inputs import PARTNERS, Inputs

Row = Mapping[str, str]


def table(rows: Sequence[Row], *extra: str) -> pa.Table:
    """``rows`` as a table of all release variables (and ``extra`` columns), text, null where a row says nothing."""
    return pa.table({name: pa.array([row.get(name) for row in rows], pa.string()) for name in (*extra, *codebook().names)})


def aggregates(rows: Sequence[Row], *, k: int) -> pa.Table:
    """The single aggregates of ``rows``, rounded down."""
    found: dict[tuple[str, str], int] = {}
    for row in rows:
        for pair in row.items():
            if pair[0] in codebook().names:
                found[pair] = found.get(pair, 0) + 1
    told = [
        {"length": 1, "variable_1": name, "value_1": value, "count": count // k * k}
        for (name, value), count in sorted(found.items())
        if count >= k
    ]
    columns = pa.schema([("length", pa.int64()), ("variable_1", pa.string()), ("value_1", pa.string()), ("count", pa.int64())])
    return pa.Table.from_pylist(told, schema=columns)


def inputs_of(victims: Sequence[Row], synthetic: Sequence[Row] | None = None, *, k: int = 10) -> Inputs:
    """Inputs of these victims, whose records are published as they are unless ``synthetic`` says otherwise."""
    partners = [
        {
            "partner": source.partner,
            "source": source.name,
            "title": source.title,
            "state": "new",
            "latest_refresh": "2021",
            "stopped": None,
            "victims": len(victims) // k * k or None,
            "first_year": "2016",
            "last_year": "2017",
        }
        for source in SOURCES.values()
    ]
    return Inputs(
        version="2021.08.25-1",
        k=k,
        length=1,
        last_year=2021,
        synthetic=table(victims if synthetic is None else synthetic),
        victims=table([{"partner": "iom", **row} for row in victims], "partner"),
        aggregates=aggregates(victims, k=k),
        partners=pa.Table.from_pylist(partners, schema=PARTNERS),
    )


def manifest_of(inputs: Inputs) -> dict[str, Any]:
    """What the manifest of a first release of ``inputs`` says, but for its files."""
    records, told = len(inputs.synthetic), len(inputs.aggregates)
    found = {"rare_records": 0, "empty_records": 0, "inexact_counts": 0, "wrong_aggregates": 0, "homogeneous_percent": 0}
    return {
        "version": inputs.version,
        "previous": None,
        "software": {"name": "ctdc-pipeline", "version": "1"},
        "codebook": codebook().version,
        "k": inputs.k,
        "reporting_length": inputs.length,
        "last_year": inputs.last_year,
        "core": ["gender", "ageBroad"],
        "proof": {"synthetic_records": records, "distinct_records": records, "aggregates": told, **found},
        "suppressed_values": {"citizenship": 0, "CountryOfExploitation": 0},
    }


UKR = {
    "yearOfRegistration": "2016",
    "gender": "Female",
    "ageBroad": "30--38",
    "citizenship": "UKR",
    "CountryOfExploitation": "RUS",
}
USA = {"yearOfRegistration": "2017", "gender": "Male", "ageBroad": "9--17", "citizenship": "USA", "CountryOfExploitation": "USA"}
VICTIMS: tuple[Row, ...] = (
    *[
        {
            **UKR,
            "CountryOfExploitation": "RUS",
            "isForcedLabour": "1",
            "typeOfLabourConstruction": "1",
            "meansOfControlThreats": "1",
        }
    ]
    * 24,
    *[{**USA, "isSexualExploit": "1", "recruiterRelationFamily": "1", "traffickMonths": "0--12 (0-1 yr)"}] * 35,
    *[{"gender": "Female", "isSexualExploit": "1"}] * 12,
)
