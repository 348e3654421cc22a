"""Whether the files of a release agree: a share of people that two of them tell must be the same figure in both."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv

from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.counting.rounding import combination_columns
from ctdc_pipeline.errors import ReleaseError

Figure = tuple[frozenset[str], str, float]
"""What the people have in common, as ``variable=value``; what is told of them; and the figure."""

_DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)
_ANY = "*"


def require_same(folder: Path) -> int:
    """Compare every count, denominator and percentage that more than one file of ``folder`` tells; return how many there are.

    Raises ReleaseError that names the files of the first figures that differ, and no figure.
    """
    told: dict[tuple[frozenset[str], str], tuple[float, str]] = {}
    compared = 0
    for name, (people, what, figure) in _figures(folder):
        before = told.setdefault((people, what), (figure, name))
        if before[0] != figure:
            raise ReleaseError(
                f"{before[1]} and {name} tell different figures of the same people",
                remedy="Nothing was published. This is a defect of the products: each figure must come from one protected table.",
                failed=["whole_files"],
            )
        compared += before[1] != name
    return compared


def _figures(folder: Path) -> Iterator[tuple[str, Figure]]:
    group = {variable.name: variable.group if variable.kind == "flag" else variable.name for variable in codebook().variables}
    for path in sorted(folder.glob("*.csv")):
        table = _read(path)
        if "denominator" in table.column_names:
            for row in table.to_pylist():
                people = _people(row)
                for figure in _of_row(row, people, group):
                    yield path.name, figure
        elif "variable_1" in table.column_names:
            for figure in _of_aggregates(table):
                yield path.name, figure
    for name in ("showcase.html", "map.html"):
        if (folder / name).is_file() and (found := _DATA.search((folder / name).read_text(encoding="utf-8"))):
            data = json.loads(found[1])
            for figure in _of_known(data.get("known", {})):
                yield name, figure
            for role, profiles in data.get("profiles", {}).items():
                for country, profile in profiles.items():
                    for figure in _of_profile(frozenset({f"{role}={country}"}), profile, group):
                        yield name, figure
    for path in sorted(folder.glob("*.geojson")):
        said = json.loads(path.read_text(encoding="utf-8"))
        for feature in said["features"]:
            for figure in _of_profile(frozenset({f"{said['by']}={feature['id']}"}), feature["properties"], group):
                yield path.name, figure


def _of_aggregates(table: pa.Table) -> Iterator[Figure]:
    """Counts of single values, and of pairs, each as one value of the people who have the other."""
    names = [name for name in combination_columns(2) if name in table.column_names]
    columns = [table[name].to_pylist() for name in ("length", "count", *names)]
    for length, count, variable, value, *other in zip(*columns, strict=True):
        if length == "1":
            yield frozenset(), f"count {variable}={value}", float(count)
        elif length == "2":
            yield frozenset({f"{variable}={value}"}), f"count {other[0]}={other[1]}", float(count)
            yield frozenset({f"{other[0]}={other[1]}"}), f"count {variable}={value}", float(count)


def _people(row: dict[str, str]) -> frozenset[str]:
    by = {f"{name}={row[name]}" for name in codebook().names if row.get(name)}
    return frozenset(by | ({f"{row['by']}={row['country']}"} if row.get("country") else set()))


def _of_row(row: dict[str, str], people: frozenset[str], group: dict[str, str]) -> Iterator[Figure]:
    if not row["variable"]:
        yield people, "people", float(row["count"])
    elif row["value"] == _ANY:
        yield people, f"known {row['variable']}", float(row["count"])
        yield people, "people", float(row["denominator"])
    else:
        yield people, f"known {group[row['variable']]}", float(row["denominator"])
        yield from _of_value(people, row["variable"], row["value"], [row["count"], *(row[name] for name in _SHARES)])


_SHARES = ("percentage", "percentage_from", "percentage_to")


def _of_value(people: frozenset[str], variable: str, value: str, figures: list[Any]) -> Iterator[Figure]:
    for name, figure in zip(("count", *_SHARES), figures, strict=True):
        yield people, f"{name} {variable}={value}", -1.0 if figure in (None, "") else float(figure)


def _of_known(known: dict[str, dict[str, int]]) -> Iterator[Figure]:
    for attribute, counts in known.items():
        people = frozenset({attribute} - {""})
        for subject, count in counts.items():
            yield people, "people" if subject == "all" else f"known {subject}", float(count)


def _of_profile(people: frozenset[str], profile: dict[str, Any], group: dict[str, str]) -> Iterator[Figure]:
    flags = {name for name, subject in group.items() if name != subject}
    yield people, "people", float(profile["count"])
    for subject, part in profile["profile"].items():
        yield people, f"known {subject}", float(part["of"])
        for value, figures in part["values"].items():
            variable, own = (value, "1") if value in flags else (subject, value)
            yield from _of_value(people, variable, own, figures)


def _read(path: Path) -> pa.Table:
    with path.open(encoding="utf-8") as file:
        names = file.readline().strip().replace('"', "").split(",")
    types = pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""])
    return pa_csv.read_csv(path, convert_options=types)
