"""The checks of ``ctdc_pipeline.verify`` for what a release may hold beside the records: each is made where its file is there.

Like the others, they know what a file must be from the codebook and the documentation, and share no code with what writes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from python_calamine import CalamineWorkbook

from ctdc_pipeline import proof
from ctdc_pipeline.codebook import codebook, countries
from ctdc_pipeline.verification import (
    AGGREGATES,
    CODEBOOK,
    DELIMITERS,
    RECORDS,
    ROUNDING,
    UNREADABLE,
    Aggregates,
    Contents,
    cell_text,
    numbers,
    read_json,
)

PACKAGE = "datapackage.json"
ANONYMISED = "global_dataset_k_anonymised.csv"
ANONYMITY = 11
"""The least group of the k-anonymised dataset, as in those published until 2021."""
QUASI_IDENTIFIERS = {"yearOfRegistration", "gender", "ageBroad", "citizenship", "CountryOfExploitation"}
QUASI_GROUPS = {"exploitation", "labour", "sex"}
STORY = "story_"
FIGURES = ["variable", "value", "count", "denominator", "percentage"]
MAP_TABLE = "map.csv"


def check_products(contents: Contents, codes: proof.Codes | None, aggregates: Aggregates | None) -> None:
    """Check every product that is there, from the public folder alone."""
    for name in sorted(contents.manifest["files"]):
        path = PurePosixPath(name)
        if not (contents.folder / name).is_file():
            continue
        if path.name.startswith(STORY) and path.suffix == ".csv":
            _story(contents, name, aggregates)
        elif name == MAP_TABLE:
            _map(contents, name, aggregates)
        elif path.suffix == ".geojson":
            _shapes(contents, name)
        elif name == CODEBOOK and codes is not None:
            _workbook(contents, name, codes)
        elif path.name == PACKAGE:
            _package(contents, name)
        elif path.name == ANONYMISED:
            _anonymised(contents, name, aggregates)


def prove_products(contents: Contents, sensitive: proof.Codes) -> None:
    """Check the k-anonymised records against the sensitive ones: each must be of that many people."""
    if (table := _anonymised_table(contents)) is None:
        return
    groups, times = proof.groups(contents.numbering.codes(table))
    more = int((proof.supports(sensitive, groups, numbering=contents.numbering) < times).sum())
    contents.findings.require("k-anonymised", not more, f"{more} groups are of more records than there are people like them")


def _story(contents: Contents, name: str, aggregates: Aggregates | None) -> None:
    """One table of figures, broken down by the variables before them."""
    if (table := contents.table(name)) is None:
        return
    by = table.column_names[: -len(FIGURES)]
    good = table.column_names == [*by, *FIGURES] and set(by) <= set(contents.numbering.lists)
    if contents.findings.require("protected tables", good, f"{name}: not the columns of a table"):
        within = [(pa.repeat(column, len(table)), table[column]) for column in by]
        _figures(contents, "protected tables", name, table, within, aggregates)


def _map(contents: Contents, name: str, aggregates: Aggregates | None) -> None:
    """Figures by country in each role, and the records of each country."""
    if (table := contents.table(name)) is None:
        return
    columns = ["by", "country", "name", *FIGURES]
    if not contents.findings.require("map", table.column_names == columns, f"{name}: not the columns of the map"):
        return
    figure = table["variable"].is_valid()
    figures, totals = table.filter(figure), table.filter(pc.call_function("invert", [figure]))
    within = [(figures["by"], figures["country"])]
    _figures(contents, "map", name, figures, within, aggregates)
    codes = contents.numbering.number(totals["by"], totals["country"])[:, None]
    unlisted = int((codes < 0).sum())
    contents.findings.require("code lists", not unlisted, f"{name}: {unlisted} countries in no list")
    names = {country.iso3: country.name for country in countries().rows}
    pairs = zip(table["country"].to_pylist(), table["name"].to_pylist(), strict=True)
    misnamed = sum(names.get(code) != said for code, said in pairs)
    contents.findings.require("map", not misnamed, f"{name}: {misnamed} countries have another name")
    if (counts := numbers(totals["count"])) is not None:
        _rounded(contents, "map", name, {"count": counts})
        _reported(contents, "map", name, codes, counts, aggregates)
    contents.findings.require("map", counts is not None, f"{name}: counts that are no numbers")


def _shapes(contents: Contents, name: str) -> None:
    """Shapes of countries whose figures are those of the map's table, in one of its roles."""
    said = contents.read(name, read_json)
    if said is None or MAP_TABLE not in contents.manifest["files"] or (table := contents.table(MAP_TABLE)) is None:
        return
    found: set[tuple[str, ...]] = set()
    told: set[tuple[str, ...]] | None = None
    flags = {variable.name for variable in codebook().variables if variable.kind == "flag"}
    places = 0
    with suppress(KeyError, TypeError, ValueError, AttributeError):
        for feature in said["features"]:
            places += (feature["geometry"] or {"type": "Polygon"})["type"] not in ("Polygon", "MultiPolygon")
            own = feature["properties"]
            found.add((own["iso3"], "", "", str(own["count"]), ""))
            for subject, part in own["profile"].items():
                for value, (count, _) in part["values"].items():
                    pair = (value, "1") if value in flags else (subject, value)
                    found.add((own["iso3"], *pair, str(count), str(part["of"])))
        columns = ("country", "variable", "value", "count", "denominator")
        told = {tuple(row[column] or "" for column in columns) for row in table.to_pylist() if row["by"] == said["by"]}
    contents.findings.require("map", found == told, f"{name}: other figures than {MAP_TABLE}")
    contents.findings.require("map", not places, f"{name}: {places} shapes are places or lines, not countries")


Pairs = tuple[proof.Words, proof.Words]


def _figures(
    contents: Contents, check: str, name: str, table: pa.Table, within: Sequence[Pairs], aggregates: Aggregates | None
) -> None:
    """Counts that are the reported aggregates', with denominators and percentages that follow from what is told.

    ``within`` are the attributes that the people of each row have in common, as columns of variables and of values.
    """
    findings, k = contents.findings, contents.k
    counts, wholes, shares = (numbers(table[column], decimal=column == "percentage") for column in FIGURES[2:])
    if counts is None or wholes is None or shares is None:
        findings.require(check, False, f"{name}: figures that are no numbers")
        return
    _rounded(contents, check, name, {"count": counts, "denominator": wholes})
    less = int((counts > wholes).sum())
    findings.require(check, not less, f"{name}: {less} counts are more than their denominator")
    wrong = int((np.abs(100 * counts / np.maximum(wholes, 1) - shares) > ROUNDING).sum())
    findings.require(check, not wrong, f"{name}: {wrong} percentages are not those of their counts")
    own = table["variable"], table["value"]
    sets = np.sort(np.stack([contents.numbering.number(*pair) for pair in (*within, own)], axis=1), axis=1)
    unlisted = int((sets < 0).any(axis=1).sum())
    if not findings.require("code lists", not unlisted, f"{name}: {unlisted} figures of values in no list"):
        return
    repeated = len(sets) - len(proof.distinct(sets))
    findings.require(check, not repeated, f"{name}: {repeated} figures are told twice")
    _reported(contents, check, name, sets, counts, aggregates)
    subject = {variable.name: variable.group if variable.kind == "flag" else variable.name for variable in codebook().variables}
    columns = [column.to_pylist() for pair in within for column in pair]
    groups = list(zip(*columns, map(subject.get, own[0].to_pylist()), strict=True))
    most: Counter[tuple[str | None, ...]] = Counter()
    for group, count in zip(groups, counts.tolist(), strict=True):
        most[group] += count + k - 1
    above = sum(whole > most[group] for group, whole in zip(groups, wholes.tolist(), strict=True))
    findings.require(check, not above, f"{name}: {above} denominators tell that a hidden count is not nobody")


def _rounded(contents: Contents, check: str, name: str, columns: Mapping[str, proof.Ints]) -> None:
    for column, figures in columns.items():
        wrong = int(((figures % contents.k != 0) | (figures < contents.k)).sum())
        contents.findings.require(check, not wrong, f"{name}: {wrong} of {column} are below k or no multiples of it")


def _reported(
    contents: Contents, check: str, name: str, sets: proof.Codes, counts: proof.Ints, aggregates: Aggregates | None
) -> None:
    """The ``counts`` of combinations of one length are the reported ones, where combinations that long are reported."""
    size = sets.shape[1]
    if aggregates is None or size not in aggregates.keys or not len(sets):
        return
    place = proof.place_of(contents.numbering.keys(sets), among=aggregates.keys[size])
    told = np.append(aggregates.counts[size], 0)[place]  # the last one for what is not reported
    wrong = int((told != counts).sum())
    contents.findings.require(check, not wrong, f"{name}: {wrong} counts differ from {AGGREGATES}")


def _package(contents: Contents, name: str) -> None:
    """The descriptor names files of the release, their hashes and columns, and only values of the code lists."""
    findings, lists, files = contents.findings, contents.numbering.lists, contents.manifest["files"]
    said = contents.read(name, read_json)
    if said is None:
        return
    resources = said.get("resources") if isinstance(said, dict) else None
    if not isinstance(resources, list) or not all(
        isinstance(part, dict) and isinstance(part.get("path"), str) for part in resources
    ):
        findings.require("data package", False, f"{name}: no list of resources")
        return
    if "version" in said:
        findings.require("version", said["version"] == contents.manifest["version"], f"{name}: is of another version")
    for resource in resources:
        path = resource["path"]
        if not findings.require("data package", path in files, f"{name}: describes a file that the release has not"):
            continue
        digest = str(resource.get("hash", files[path])).removeprefix("sha256:")
        findings.require("data package", digest == files[path], f"{name}: another hash of {path}")
        size, target = resource.get("bytes"), contents.folder / path
        findings.require(
            "data package",
            size is None or (target.is_file() and size == target.stat().st_size),
            f"{name}: another size of {path}",
        )
        schema = resource.get("schema")
        fields = schema.get("fields", []) if isinstance(schema, dict) else []
        fields = [field for field in fields if isinstance(field, dict)] if isinstance(fields, list) else []
        if fields and PurePosixPath(path).suffix in (*DELIMITERS, ".parquet") and (table := contents.table(path)) is not None:
            same = [field.get("name") for field in fields] == table.column_names
            findings.require("data package", same, f"{name}: other columns of {path}")
        if PurePosixPath(path).stem == RECORDS:
            for field in fields:
                constraints = field.get("constraints")
                allowed = constraints.get("enum", []) if isinstance(constraints, dict) else []
                own = lists.get(str(field.get("name")), ())
                same = isinstance(allowed, list) and set(map(str, allowed)) <= set(own)
                findings.require("data package", same, f"{name}: another code list of a variable of {path}")
    findings.require("data package", True, "")


def _workbook(contents: Contents, name: str, codes: proof.Codes) -> None:
    """The sheets Main and TabStat are of the codebook's variables and of these records."""
    if (book := contents.read(name, CalamineWorkbook.from_path)) is None:
        return
    lists, numbering = contents.numbering.lists, contents.numbering
    counts = proof.counts(codes, size=numbering.size)
    wanted: dict[tuple[str, str], int] = {}
    for place, (variable, values) in enumerate(lists.items()):
        own = counts[numbering.first[variable] :][: len(values)].tolist()
        wanted |= {(variable, value): count for value, count in zip(values, own, strict=True) if count}
        wanted |= {(variable, "Total"): sum(own), (variable, "Missing"): int((codes[:, place] == proof.MISSING).sum())}
    try:
        main = [row[1] for row in book.get_sheet_by_name("Main").to_python(skip_empty_area=False)[1 : len(lists) + 1]]
        rows = book.get_sheet_by_name("TabStat").to_python(skip_empty_area=False)[1:]
        told = {(str(row[0]), cell_text(row[1])): row[2] for row in rows}
    except UNREADABLE:
        main, rows, told = [], [], {}
    contents.findings.require("codebook", main == list(lists), f"{name}: other variables in Main")
    same = told == wanted and len(rows) == len(wanted)
    contents.findings.require("codebook", same, f"{name}: TabStat does not count these records")


def _anonymised_table(contents: Contents) -> pa.Table | None:
    """The k-anonymised records with all variables of the release, those that it leaves out missing."""
    if ANONYMISED not in contents.manifest["files"] or not (contents.folder / ANONYMISED).is_file():
        return None
    if (table := contents.table(ANONYMISED)) is None:
        return None
    nothing = pa.nulls(len(table), pa.string())
    return pa.table({name: table[name] if name in table.column_names else nothing for name in codebook().names})


def _anonymised(contents: Contents, name: str, aggregates: Aggregates | None) -> None:
    """Only quasi-identifiers, every group of 11 or a multiple, and no value more often than is reported of all people."""
    findings, numbering = contents.findings, contents.numbering
    table = contents.table(name)
    whole = _anonymised_table(contents)
    if table is None or whole is None:
        return
    allowed = [v.name for v in codebook().variables if v.name in QUASI_IDENTIFIERS or v.group in QUASI_GROUPS]
    same = table.column_names == allowed
    findings.require("k-anonymised", same, f"{name}: not the quasi-identifiers in the order of the codebook")
    codes = numbering.codes(whole)
    groups, times = proof.groups(codes)
    small = int(((times < ANONYMITY) | (times % ANONYMITY != 0)).sum())
    findings.require("k-anonymised", not small, f"{name}: {small} groups of fewer than {ANONYMITY}, or of no multiple of it")
    empty = int((codes == proof.MISSING).all(axis=1).sum())
    findings.require("k-anonymised", not empty, f"{name}: {empty} records hold no value")
    findings.note("k-anonymised", f"{len(groups):,} groups")
    if aggregates is not None:
        most = np.full(numbering.size, contents.k - 1)
        most[aggregates.keys[1]] += aggregates.counts[1]
        more = int((proof.counts(codes, size=numbering.size) > most).sum())
        findings.require("k-anonymised", not more, f"{name}: {more} values are more frequent than is reported of all people")
