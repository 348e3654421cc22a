"""The map: whom contributing organisations identified, by country of citizenship and, separately, by country of exploitation.

Figures come from the complete records and are protected as the stories are (``products.stories``). Countries are never crossed
with each other, so that no routes show, and there are no places below a country.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from ctdc_pipeline.codebook.countries import countries
from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.products.country_shapes import shapes
from ctdc_pipeline.products.inputs import Inputs
from ctdc_pipeline.products.page import page
from ctdc_pipeline.products.showcase import named
from ctdc_pipeline.products.story_tables import FIGURES, Story, subjects, table
from ctdc_pipeline.storage.tables import write_table

ROLES = ("citizenship", "CountryOfExploitation")
DISCLAIMER = (
    "Counts reflect where contributing organisations work and whom they reach: detection, not prevalence. They do not measure how"
    " much trafficking there is, and do not compare countries."
)
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("by", "country", "name")),
        *FIGURES,
    ]
)
"""Rows of ``profiles``; all of ``FIGURES`` but the count are null for the records of a country."""


def write(inputs: Inputs, folder: Path) -> None:
    """Write ``map.csv``, ``map_<role>.geojson`` for each of ``ROLES``, and ``map.html``.

    Args:
        inputs: what a release is made of.
        folder: where the files go. It is made if it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures = profiles(inputs.victims, k=inputs.k, aggregates=inputs.aggregates)
    write_table(figures, folder / "map.csv")
    for role in ROLES:
        text = json.dumps(geojson(figures, role=role, notice=inputs.notice), ensure_ascii=False, separators=(",", ":"))
        (folder / f"map_{role}.geojson").write_text(text + "\n", encoding="utf-8")
    (folder / "map.html").write_bytes(render(figures, inputs))


def profiles(victims: pa.Table, *, k: int, aggregates: pa.Table | None = None) -> pa.Table:
    """Return the protected figures of each country in each of ``ROLES``.

    Args:
        victims: the complete records, as text, null for missing.
        k: the resolution. A country with fewer people is left out.
        aggregates: the reported counts, as for ``story_tables.table``.

    Returns:
        The columns of ``SCHEMA``, in the order of role, country and codebook.
    """
    rows: list[dict[str, Any]] = []
    for role in ROLES:
        own: dict[str, list[dict[str, Any]]] = {}
        for row in table(victims, Story("map", "", role), k=k, aggregates=aggregates).to_pylist():
            own[row["value"]] = [{"count": row["count"]}]
        for of in _subjects():
            for row in table(victims, Story("map", "", of, (role,)), k=k, aggregates=aggregates).to_pylist():
                own[row[role]].append(row)
        for code in sorted(own):
            country = countries().get(code)
            rows += [{**row, "by": role, "country": code, "name": country.name if country else code} for row in own[code]]
    return pa.Table.from_pylist([{name: row.get(name) for name in SCHEMA.names} for row in rows], schema=SCHEMA)


def geojson(figures: pa.Table, *, role: str, notice: str = "") -> dict[str, Any]:
    """Return the countries of one role as features (RFC 7946). A country without a shape has no geometry.

    Args:
        told: what ``profiles`` returns.
        role: one of ``ROLES``.
        notice: a sentence that stands before the disclaimer.
    """
    features = [
        {
            "type": "Feature",
            "id": code,
            "geometry": shapes().geometry(code),
            "properties": {"iso3": code, "name": profile["name"], "count": profile["count"], "profile": profile["profile"]},
        }
        for code, profile in _nested(figures, role=role).items()
    ]
    return {
        "type": "FeatureCollection",
        "by": role,
        "note": f"{notice} {DISCLAIMER}".strip(),
        "shapes": shapes().source,
        "features": features,
    }


def render(figures: pa.Table, inputs: Inputs) -> bytes:
    """Return the page of the map.

    Args:
        told: what ``profiles`` returns.
        inputs: what names the release; its tables are not used.
    """
    data = {
        "version": inputs.version,
        "k": inputs.k,
        "roles": [{"name": role, "label": codebook().variable(role).label} for role in ROLES],
        "subjects": [_subject(of) for of in _subjects()],
        "profiles": {role: _nested(figures, role=role) for role in ROLES},
        "names": {country.iso3: country.name for country in countries().rows},
        "map": shapes().drawn(),
    }
    words: dict[str, Any] = {"version": inputs.version, "k": inputs.k, "year": inputs.last_year, "disclaimer": DISCLAIMER}
    return page("map.html", scripts=("shared.js", "map.js"), data=data, notice=inputs.notice, citation=inputs.citation, **words)


def _subjects() -> list[str]:
    """What a profile tells: all but the countries."""
    return [of for of in subjects() if of not in ROLES]


def _subject(of: str) -> dict[str, Any]:
    """How the page names a subject and each value of it; a value of a group is the name of the flag."""
    if of in codebook().groups:
        labels = {variable.name: variable.label for variable in codebook().variables if variable.group == of}
        return {"name": of, "label": codebook().groups[of], "labels": labels}
    variable = codebook().variable(of)
    return {"name": of, "label": variable.label, "labels": {value: named(variable, value) for value in variable.values}}


def _nested(figures: pa.Table, *, role: str) -> dict[str, dict[str, Any]]:
    """Profile of each country: name, count, and by subject its denominator, and by value count, percentage and its interval."""
    group = {variable.name: variable.group for variable in codebook().variables if variable.kind == "flag"}
    nested: dict[str, dict[str, Any]] = {}
    for row in figures.to_pylist():
        if row["by"] != role:
            continue
        if row["variable"] is None:
            nested[row["country"]] = {"name": row["name"], "count": row["count"], "profile": {}}
            continue
        name = row["variable"]
        subject = nested[row["country"]]["profile"].setdefault(group.get(name, name), {"of": row["denominator"], "values": {}})
        figure = [row[column] for column in ("count", "percentage", "percentage_from", "percentage_to")]
        subject["values"][name if name in group else row["value"]] = figure
    return nested
