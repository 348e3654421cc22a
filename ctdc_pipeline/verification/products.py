"""The checks of what a release may hold beside the records. Each is made where its file is there.

Like the others, they know what a file must be from the codebook and the documentation, and share no code with what writes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from python_calamine import CalamineWorkbook

from ctdc_pipeline.codebook.countries import countries
from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.verification import recount
from ctdc_pipeline.verification.checks import AGGREGATES, CODEBOOK, RECORDS, ROUNDING, Aggregates, Contents
from ctdc_pipeline.verification.readers import DELIMITERS, UNREADABLE, cell_text, numbers, read_json

PACKAGE = "datapackage.json"
ANONYMISED = "global_dataset_k_anonymised.csv"
ANONYMITY = 11
"""The least group of the k-anonymised dataset, as in those published until 2021."""
QUASI_IDENTIFIERS = {"yearOfRegistration", "gender", "ageBroad", "citizenship", "CountryOfExploitation"}
QUASI_GROUPS = {"exploitation", "labour", "sex"}
STORY = "story_"
FIGURES = ["variable", "value", "count", "denominator", "percentage", "percentage_from", "percentage_to"]
KNOWN = "known_values.csv"
ANY = "*"
YEARS = 200
WIDEST = 10
"""Percentage points of an interval beyond which no percentage is told."""
MAP_TABLE = "map.csv"
MAIN_COLUMNS, MAIN_TEXTS, TABSTAT_COLUMNS = 6, 7, 6
"""Of the codebook's workbook: columns of its sheets, and rows below the variables."""


def check_products(contents: Contents, codes: recount.Codes | None, aggregates: Aggregates | None) -> None:
    """Check every product that is there, from the public folder alone."""
    for name in sorted(contents.manifest["files"]):
        path = PurePosixPath(name)
        if not (contents.folder / name).is_file():
            continue
        if path.name.startswith(STORY) and path.suffix == ".csv":
            _story(contents, name, aggregates)
        elif name == KNOWN:
            _known(contents, name, aggregates)
        elif name == MAP_TABLE:
            _map(contents, name, aggregates)
        elif path.suffix == ".geojson":
            _shapes(contents, name)
        elif name == CODEBOOK and codes is not None:
            check_workbook(contents, name, codes)
        elif path.name == PACKAGE:
            check_package(contents, name)
        elif path.name == ANONYMISED:
            _anonymised(contents, name, aggregates)


def prove_products(contents: Contents, sensitive: recount.Codes) -> None:
    """Check the k-anonymised records against the sensitive ones: each must be of that many people."""
    if (table := _anonymised_table(contents)) is None:
        return
    groups, times = recount.groups(contents.numbering.codes(table))
    more = int((recount.supports(sensitive, groups, numbering=contents.numbering) < times).sum())
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
    misnamed = sum(names.get(code) != written for code, written in pairs)
    contents.findings.require("map", not misnamed, f"{name}: {misnamed} countries have another name")
    if (counts := numbers(totals["count"])) is not None:
        _rounded(contents, "map", name, {"count": counts})
        _reported(contents, "map", name, codes, counts, aggregates)
    contents.findings.require("map", counts is not None, f"{name}: counts that are no numbers")


def _shapes(contents: Contents, name: str) -> None:
    """Shapes of countries whose figures are those of the map's table, in one of its roles."""
    content = contents.read(name, read_json)
    if content is None or MAP_TABLE not in contents.manifest["files"] or (table := contents.table(MAP_TABLE)) is None:
        return
    in_shapes: set[tuple[str | float | None, ...]] = set()
    in_table: set[tuple[str | float | None, ...]] | None = None
    flags = {variable.name for variable in codebook().variables if variable.kind == "flag"}
    places = 0
    with suppress(KeyError, TypeError, ValueError, AttributeError):
        for feature in content["features"]:
            places += (feature["geometry"] or {"type": "Polygon"})["type"] not in ("Polygon", "MultiPolygon")
            own = feature["properties"]
            in_shapes.add((own["iso3"], "", "", str(own["count"]), "", *[None] * 3))
            for subject, part in own["profile"].items():
                for value, (count, *shares) in part["values"].items():
                    pair = (value, "1") if value in flags else (subject, value)
                    in_shapes.add((own["iso3"], *pair, str(count), str(part["of"]), *shares))
        texts, shares = ("country", *FIGURES[:4]), FIGURES[4:]
        in_table = {
            (*(row[name] or "" for name in texts), *(float(row[name]) if row[name] else None for name in shares))
            for row in table.to_pylist()
            if row["by"] == content["by"]
        }
    contents.findings.require("map", in_shapes == in_table, f"{name}: other figures than {MAP_TABLE}")
    contents.findings.require("map", not places, f"{name}: {places} shapes are places or lines, not countries")


Pairs = tuple[recount.Words, recount.Words]


def _figures(
    contents: Contents, check: str, name: str, table: pa.Table, within: Sequence[Pairs], aggregates: Aggregates | None
) -> None:
    """Counts that are the reported aggregates', with denominators and percentages that follow from what is told.

    ``within`` are the attributes that the people of each row have in common, as columns of variables and of values.
    """
    findings, k = contents.findings, contents.k
    columns = _columns(contents, check, name, table)
    if columns is None:
        return
    counts, wholes = columns["count"], columns["denominator"]
    _rounded(contents, check, name, {"count": counts, "denominator": wholes})
    own = table["variable"], table["value"]
    sets = np.sort(np.stack([contents.numbering.number(*pair) for pair in (*within, own)], axis=1), axis=1)
    unlisted = int((sets < 0).any(axis=1).sum())
    if not findings.require("code lists", not unlisted, f"{name}: {unlisted} figures of values in no list"):
        return
    repeated = len(sets) - len(recount.distinct(sets))
    findings.require(check, not repeated, f"{name}: {repeated} figures are told twice")
    _reported(contents, check, name, sets, counts, aggregates)
    subject = {variable.name: variable.group if variable.kind == "flag" else variable.name for variable in codebook().variables}
    of = list(map(subject.get, own[0].to_pylist()))
    groups = list(zip(*(column.to_pylist() for pair in within for column in pair), of, strict=True))
    most: Counter[tuple[str | None, ...]] = Counter()
    for group, count in zip(groups, counts.tolist(), strict=True):
        most[group] += count + k - 1
    most_of = np.array([most[group] for group in groups], np.int64)
    above = int((wholes > most_of).sum())
    findings.require(check, not above, f"{name}: {above} denominators tell that a hidden count is not nobody")
    if (people := _people(contents, within, aggregates, rows=len(table))) is not None:
        reported, sizes = Counter(groups), _sizes(contents)
        untold = np.array([sizes[str(group[-1])] - reported[group] for group in groups], np.int64)
        withheld = len(within) < contents.manifest["reporting_length"]
        largest = np.minimum(people, most_of + untold * (people if withheld else k - 1))
        largest = np.where(wholes < most_of // k * k, np.minimum(largest, wholes + k - 1), largest)
        _shares(contents, check, name, columns, least=counts, most=counts + k - 1, smallest=wholes, largest=largest)


Columns = Mapping[str, recount.Ints]


def _columns(contents: Contents, check: str, name: str, table: pa.Table) -> Columns | None:
    """The figures as numbers, a percentage that is not told as NaN; None, and a finding, if any is no number."""
    columns: dict[str, recount.Ints] = {}
    for column in FIGURES[2:]:
        cells = table[column].fill_null("nan") if column == FIGURES[4] else table[column]
        figures = numbers(cells, decimal=column.startswith(FIGURES[4]))
        if not contents.findings.require(check, figures is not None, f"{name}: figures that are no numbers"):
            return None
        columns[column] = figures
    return columns


def _shares(
    contents: Contents,
    check: str,
    name: str,
    columns: Columns,
    *,
    least: recount.Ints,
    most: recount.Ints,
    smallest: recount.Ints,
    largest: recount.Ints,
) -> None:
    """Percentages are those of their counts, within what counts and wholes can be, and told where that is narrow."""
    findings = contents.findings
    counts, wholes, share = columns["count"], np.maximum(columns["denominator"], 1), columns["percentage"]
    less = int((counts > columns["denominator"]).sum())
    findings.require(check, not less, f"{name}: {less} counts are more than their denominator")
    wrong = int((np.abs(100 * counts / wholes - share) > ROUNDING).sum())
    findings.require(check, not wrong, f"{name}: {wrong} percentages are not those of their counts")
    low, high = (np.rint(10 * columns[column]).astype(np.int64) for column in FIGURES[5:])
    wanted_low = 1000 * least // np.maximum(largest, 1)
    wanted_high = np.minimum(1000, -(-1000 * most // np.maximum(smallest, 1)))
    wrong = int(((low != wanted_low) | (high != wanted_high)).sum())
    findings.require(check, not wrong, f"{name}: {wrong} intervals are not those of their counts")
    uncertain = int((np.isnan(share) != (wanted_high - wanted_low > 10 * WIDEST)).sum())
    findings.require(check, not uncertain, f"{name}: {uncertain} percentages are told where they are uncertain, or not where not")


def _people(contents: Contents, within: Sequence[Pairs], aggregates: Aggregates | None, *, rows: int) -> recount.Ints | None:
    """The most people that each row can be about: those with the attribute that they have in common, or all; None if unknown."""
    if within:
        if aggregates is None or len(within) > 1:
            return None
        place = recount.place_of(
            contents.numbering.keys(contents.numbering.number(*within[0])[:, None]), among=aggregates.keys[1]
        )
        return np.append(aggregates.counts[1], 0)[place] + contents.k - 1
    whole = all_people(contents)
    return None if whole is None else np.full(rows, whole + contents.k - 1)


def all_people(contents: Contents) -> int | None:
    """The number of people that the table of what is known tells, rounded down; None without that table."""
    if KNOWN not in contents.manifest["files"] or (table := contents.table(KNOWN)) is None:
        return None
    wholes = numbers(table["denominator"]) if "denominator" in table.column_names else None
    return int(wholes[0]) if wholes is not None and len(wholes) else None


def _sizes(contents: Contents) -> Counter[str]:
    """How many figures there can be of a variable or of a group of flags."""
    sizes: Counter[str] = Counter()
    for variable in codebook().variables:
        if variable.kind == "flag":
            sizes[variable.group] += 1
        else:
            sizes[variable.name] = YEARS if variable.kind == "year" else len(contents.numbering.lists[variable.name])
    return sizes


def _known(contents: Contents, name: str, aggregates: Aggregates | None) -> None:
    """Of how many people each variable is known: rounded, of all people, and not more than the told values account for."""
    check, k = "protected tables", contents.k
    table = contents.table(name)
    if table is None or not contents.findings.require(
        check, table.column_names == FIGURES, f"{name}: not the columns of a table"
    ):
        return
    columns = _columns(contents, check, name, table)
    if columns is None:
        return
    counts, wholes = columns["count"], columns["denominator"]
    _rounded(contents, check, name, {"count": counts, "denominator": wholes})
    subjects = [variable.group if variable.kind == "flag" else variable.name for variable in codebook().variables]
    order = [subject for subject in dict.fromkeys(subjects) if subject in table["variable"].to_pylist()]
    good = table["variable"].to_pylist() == order and set(table["value"].to_pylist()) <= {ANY} and len(set(wholes.tolist())) < 2
    if not contents.findings.require(check, good, f"{name}: not one figure of all people a variable or group"):
        return
    if aggregates is None or 1 not in aggregates.keys:
        return
    most, cells = Counter[str](), Counter[str]()
    for column, count in zip(contents.numbering.column[aggregates.keys[1]].tolist(), aggregates.counts[1].tolist(), strict=True):
        most[subjects[column]] += count + k - 1
        cells[subjects[column]] += 1
    most_of = np.array([most[subject] for subject in order], np.int64)
    untold = np.array([_sizes(contents)[subject] - cells[subject] for subject in order], np.int64)
    above = int((counts > most_of).sum())
    contents.findings.require(check, not above, f"{name}: {above} counts tell that a hidden count is not nobody")
    largest = np.where(counts < most_of // k * k, counts + k - 1, most_of + untold * wholes)
    largest = np.minimum(largest, wholes + k - 1)
    _shares(contents, check, name, columns, least=counts, most=largest, smallest=wholes, largest=wholes + k - 1)


def _rounded(contents: Contents, check: str, name: str, columns: Mapping[str, recount.Ints]) -> None:
    for column, figures in columns.items():
        wrong = int(((figures % contents.k != 0) | (figures < contents.k)).sum())
        contents.findings.require(check, not wrong, f"{name}: {wrong} of {column} are below k or no multiples of it")


def _reported(
    contents: Contents, check: str, name: str, sets: recount.Codes, counts: recount.Ints, aggregates: Aggregates | None
) -> None:
    """The ``counts`` of combinations of one length are the reported ones, where combinations that long are reported."""
    size = sets.shape[1]
    if aggregates is None or size not in aggregates.keys or not len(sets):
        return
    place = recount.place_of(contents.numbering.keys(sets), among=aggregates.keys[size])
    expected = np.append(aggregates.counts[size], 0)[place]  # the last one for what is not reported
    wrong = int((expected != counts).sum())
    contents.findings.require(check, not wrong, f"{name}: {wrong} counts differ from {AGGREGATES}")


def check_package(contents: Contents, name: str) -> None:
    """The descriptor names files of the release, their hashes and columns, and only values of the code lists."""
    findings, lists, files = contents.findings, contents.numbering.lists, contents.manifest["files"]
    package = contents.read(name, read_json)
    if package is None:
        return
    resources = package.get("resources") if isinstance(package, dict) else None
    if not isinstance(resources, list) or not all(
        isinstance(part, dict) and isinstance(part.get("path"), str) for part in resources
    ):
        findings.require("data package", False, f"{name}: no list of resources")
        return
    if "version" in package:
        findings.require("version", package["version"] == contents.manifest["version"], f"{name}: is of another version")
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
    described = {resource["path"] for resource in resources}
    findings.require("data package", described >= files.keys() - {name}, f"{name}: does not describe every file")


def check_workbook(contents: Contents, name: str, codes: recount.Codes) -> None:
    """The sheets Main and TabStat are of the codebook's variables and of these records."""
    if (book := contents.read(name, CalamineWorkbook.from_path)) is None:
        return
    lists, numbering = contents.numbering.lists, contents.numbering
    counts = recount.counts(codes, size=numbering.size)
    wanted: dict[tuple[str, str], int] = {}
    for place, (variable, values) in enumerate(lists.items()):
        own = counts[numbering.first[variable] :][: len(values)].tolist()
        wanted |= {(variable, value): count for value, count in zip(values, own, strict=True) if count}
        wanted |= {(variable, "Total"): sum(own), (variable, "Missing"): int((codes[:, place] == recount.MISSING).sum())}
    sheets: dict[str, list[list[Any]]] = {}
    with suppress(*UNREADABLE):
        sheets = {
            sheet: book.get_sheet_by_name(sheet).to_python(skip_empty_area=False) for sheet in ("Main", "TabStat", "Region")
        }
    main, rows, region = (sheets.get(sheet, [[]])[1:] for sheet in ("Main", "TabStat", "Region"))
    about = [(str(v.position), v.name, str(int(v.kind in ("year", "flag"))), v.label) for v in codebook().variables]
    told_of = [tuple(cell_text(row[column]) for column in (0, 1, 3, 4)) for row in main[: len(lists)] if len(row) == MAIN_COLUMNS]
    notes = all(str(row[5]).startswith(v.definition) for row, v in zip(main, codebook().variables, strict=False) if len(row) > 5)
    below = [(cell_text(row[0]), cell_text(row[3]), cell_text(row[4])) for row in main[len(lists) :] if len(row) == MAIN_COLUMNS]
    # Below the variables: a blank line, then names and what is said of them, in two columns.
    good = told_of == about and notes and len(main) == len(lists) + MAIN_TEXTS and set(below) == {(None, None, None)}
    contents.findings.require("codebook", good, f"{name}: other variables in Main")
    written = {(str(row[0]), cell_text(row[1])): row[2] for row in rows if len(row) == TABSTAT_COLUMNS}
    shares, so_far = True, Counter[str]()
    for row in rows if written == wanted and len(rows) == len(wanted) else ():
        subject, valid = str(row[0]), wanted[str(row[0]), "Total"]
        so_far[subject] += int(row[2])
        value = row[1] not in ("Total", "Missing")
        part = [(row[3], len(codes)), (row[4], valid if row[1] != "Missing" else 0)]
        exact = [round(100 * int(row[2]) / whole, 2) if whole else "" for _, whole in part]
        shares &= [cell for cell, _ in part] == exact
        shares &= row[5] == ((round(100 * so_far[subject] / valid, 2) if valid else "") if value else "")
    same = written == wanted and len(rows) == len(wanted) and shares
    contents.findings.require("codebook", same, f"{name}: TabStat does not count these records")
    listed = [[country.iso2, country.iso3, country.name, country.region, country.subregion] for country in countries().rows]
    same = [[cell or "" for cell in row] for row in region] == [[cell or "" for cell in row] for row in listed]
    contents.findings.require("codebook", same, f"{name}: other countries in Region")


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
    groups, times = recount.groups(codes)
    small = int(((times < ANONYMITY) | (times % ANONYMITY != 0)).sum())
    findings.require("k-anonymised", not small, f"{name}: {small} groups of fewer than {ANONYMITY}, or of no multiple of it")
    empty = int((codes == recount.MISSING).all(axis=1).sum())
    findings.require("k-anonymised", not empty, f"{name}: {empty} records hold no value")
    findings.note("k-anonymised", f"{len(groups):,} groups")
    if aggregates is not None:
        most = np.full(numbering.size, contents.k - 1)
        most[aggregates.keys[1]] += aggregates.counts[1]
        more = int((recount.counts(codes, size=numbering.size) > most).sum())
        findings.require("k-anonymised", not more, f"{name}: {more} values are more frequent than is reported of all people")
