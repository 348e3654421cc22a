"""The descriptor of a release for software: a Data Package (https://datapackage.org, version 2) of all files in a folder."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ctdc_pipeline.codebook.countries import countries
from ctdc_pipeline.codebook.variables import Variable, codebook
from ctdc_pipeline.products import records
from ctdc_pipeline.products.imprint import imprint
from ctdc_pipeline.products.inputs import Released
from ctdc_pipeline.storage.files import sha256, staged

NAME = "datapackage.json"
_PROFILES = "https://datapackage.org/profiles/2.0"
_MEDIA = {
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".parquet": "application/vnd.apache.parquet",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".dta": "application/x-stata-dta",
    ".html": "text/html",
    ".pdf": "application/pdf",
    ".md": "text/markdown",
    ".json": "application/json",
    ".geojson": "application/geo+json",
}
_NUMBERS = {
    "position": "integer",
    "length": "integer",
    "count": "integer",
    "count_from": "integer",
    "count_to": "integer",
    "denominator": "integer",
    "percentage": "number",
    "percentage_from": "number",
    "percentage_to": "number",
    "k_anonymised": "integer",
    "synthetic": "integer",
}


def write(inputs: Released, folder: Path, *, abouts: Mapping[str, str]) -> None:
    """Describe all files of a release in ``datapackage.json``.

    Args:
        inputs: what names the release.
        folder: the files. The descriptor itself is not described.
        abouts: what is in each file, by name.

    Raises:
        OSError: a file cannot be read or written.
    """
    about = imprint()
    package = {
        "$schema": f"{_PROFILES}/datapackage.json",
        "name": "ctdc-global-synthetic-dataset",
        "title": f"INVENTED DATA: {about.dataset}" if inputs.invented else about.dataset,
        "version": inputs.version,
        "description": f"{inputs.citation.removesuffix('.')}. {inputs.about_rows}",
        "homepage": about.homepage,
        "licenses": [{"name": about.licence.name, "title": about.licence.title, "path": about.licence.path}],
        "contributors": [{"title": about.publisher, "roles": ["publisher"]}],
        "citation": inputs.citation,
        "resources": [
            _resource(path, abouts.get(path.name, ""), inputs) for path in sorted(folder.iterdir()) if path.name != NAME
        ],
    }
    with staged(folder / NAME) as part:
        part.write_text(json.dumps(package, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _resource(path: Path, about: str, inputs: Released) -> dict[str, Any]:
    resource: dict[str, Any] = {
        "$schema": f"{_PROFILES}/dataresource.json",
        "name": path.name.lower(),
        "path": path.name,
        "title": about,
        "format": path.suffix[1:],
        "mediatype": _MEDIA.get(path.suffix, "application/octet-stream"),
        "bytes": path.stat().st_size,
        "hash": f"sha256:{sha256(path)}",
    }
    if path.stem == records.NAME and path.suffix != ".dta":
        fields = [_field(variable, inputs.last_year) for variable in codebook().variables]
    elif path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            fields = [_column(name) for name in next(csv.reader(file))]
    else:
        return resource
    resource |= {"type": "table", "schema": {"$schema": f"{_PROFILES}/tableschema.json", "fields": fields, "missingValues": [""]}}
    if path.suffix in (".csv", ".tsv"):
        resource |= {"encoding": "utf-8", "dialect": {"delimiter": "," if path.suffix == ".csv" else "\t", "header": True}}
    return resource


def _field(variable: Variable, last_year: int) -> dict[str, Any]:
    """One variable with its code list. A year is an integer within bounds, a flag the integer 1."""
    allowed: Sequence[str | int] = variable.values
    if variable.kind == "country":
        allowed = [country.iso3 for country in countries().rows]
    elif variable.kind == "flag":
        allowed = [1]
    limits = {"minimum": codebook().first_year, "maximum": last_year} if variable.kind == "year" else {"enum": list(allowed)}
    kind = "integer" if records.is_number(variable) else "string"
    return {
        "name": variable.name,
        "title": variable.label,
        "description": variable.definition,
        "type": kind,
        "constraints": limits,
    }


def _column(name: str) -> dict[str, Any]:
    """A column of another table: a variable, a figure, or text."""
    known = {variable.name: variable for variable in codebook().variables}.get(name)
    if known:
        described = {"title": known.label, "type": "integer" if records.is_number(known) else "string"}
        return {"name": name, **described, "description": known.definition}
    return {"name": name, "type": _NUMBERS.get(name, "string")}
