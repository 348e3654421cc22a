"""What can be proved of a differentially private release from its folder alone: noise, epsilon, domain and what follows.

That the records are exactly those of the measurements shows whoever makes them again: ``ctdc records`` with the seed that the
manifest names. How much was spent before is what the ledger says, of which only the head is published.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.verification import recount
from ctdc_pipeline.verification.checks import AGAIN, CHANGED, CHECKS, CODEBOOK, RECORDS, WITHDRAW, Contents, Findings
from ctdc_pipeline.verification.closed_files import DELIVERY_STATES, check_each, has_only
from ctdc_pipeline.verification.products import PACKAGE, check_package, check_workbook
from ctdc_pipeline.verification.readers import whole_number
from ctdc_pipeline.verification.records import check_copies, check_dictionary, check_tables

MEASUREMENTS = "measurements.parquet"
COUNTS = "noisy_counts.csv"
FORMS = ("csv", "tsv", "parquet", "xlsx", "dta")
STORIES = {
    "story_age_by_gender.csv": ("ageBroad", "gender"),
    "story_exploitation_by_year.csv": ("exploitation", "yearOfRegistration"),
    "story_exploitation_by_gender.csv": ("exploitation", "gender"),
    "story_means_of_control.csv": ("means", None),
    "story_means_of_control_by_age.csv": ("means", "majorityStatusAtExploit"),
    "story_recruiter_relation.csv": ("recruiter", None),
    "story_recruiter_relation_by_age.csv": ("recruiter", "majorityStatusAtExploit"),
    "story_sector_of_labour.csv": ("labour", None),
    "story_sector_of_labour_by_gender.csv": ("labour", "gender"),
    "story_form_of_sexual_exploitation.csv": ("sex", None),
    "story_gender_by_year.csv": ("gender", "yearOfRegistration"),
    "story_country_by_year.csv": ("CountryOfExploitation", "yearOfRegistration"),
    "story_corridors.csv": ("CountryOfExploitation", "citizenship"),
}
"""Of each table of figures: the variable, or the group of flags, that it counts, and the variable that it is broken down by."""
KNOWN = "known_values.csv"
FIGURES = ("count", "count_from", "count_to", "denominator", "percentage", "percentage_from", "percentage_to")
WIDEST = 10
"""Percentage points of an interval beyond which no percentage is told."""
FILES = (
    *(f"{RECORDS}.{form}" for form in FORMS),
    *(*STORIES, KNOWN, "codebook.html", "codebook.pdf"),
    *(MEASUREMENTS, COUNTS, CODEBOOK, "data_dictionary.csv", "data_dictionary.md", PACKAGE),
)
"""All files of such a release, but for those beside."""
UNIT = 1024
KINDS = ("records", "lengths", "values", "pairs")
SHOWN_SIGMAS, INTERVAL_SIGMAS, BOTH_SIGMAS = 3.3, 1.96, 2.2414
LEAST_CELLS = 1000
"""Counts of pairs from which on their spread says whether there is noise in them."""
LEAST_SPREAD = 0.9
"""Of sigma: no table makes noisy counts spread less than their noise."""

_SHARED = (
    *("manifest", "version", "files", "known files", "structure", "checksums", "signature", "publication", "approvals"),
    *(
        "readable",
        "columns",
        "forbidden columns",
        "pseudonyms",
        "code lists",
        "copies",
        "rows",
        "data dictionary",
        "data package",
    ),
)
PRIVATE_CHECKS: Mapping[str, tuple[str, str]] = {
    **{name: CHECKS[name] for name in _SHARED},
    "measurements": ("the measurements are one count of each value and pair of the domain, with the hash they had", CHANGED),
    "domain": ("the domain is of the codebook's variables and values", CHANGED),
    "noise": ("the counts spread as much as the noise that is told", WITHDRAW),
    "epsilon": ("the noise keeps the epsilon that is told, and the total is no less", WITHDRAW),
    "ledger": ("the manifest names the head of the ledger, and a total without a finite epsilon says so", AGAIN),
    "support": ("no pair of a variable of strict support is in the records whose noisy count is not above 0", CHANGED),
    "noisy counts": ("counts and intervals to read are those of the measurements", CHANGED),
    "figures": ("figures of the tables, and their intervals, are those of the measurements", CHANGED),
}
"""What is checked of a differentially private release, by name and in order."""

_HASH = re.compile(r"[0-9a-f]{64}")
_MANIFEST_KEYS = {
    *("version", "series", "invented", "software", "codebook", "last_year", "epsilon", "domain_sha256", "support", "seed"),
    *("rows", "previous", "deliveries", "files"),
}
_EPSILON_KEYS = {"measurements", "total", "uncontrolled", "neighbours", "unit", "universe", "ledger"}
_TOLD_KEYS = {
    *("format", "unit", "epsilon", "delta", "mu_squared", "sigma", "neighbours", "noise", "domain_sha256", "domain", "sha256"),
}


@dataclass(frozen=True)
class Measured:
    """The measurements as they were found: what they say of themselves, and the counts of each kind."""

    told: Mapping[str, Any]
    counts: Mapping[str, recount.Ints]

    @property
    def lists(self) -> dict[str, Sequence[str]]:
        """The values of each column of the domain."""
        return self.told["domain"]["columns"]


def says_enough(said: Mapping[str, Any], findings: Findings) -> bool:
    """Whether the manifest of such a release says what the checks need."""
    epsilon: Any = said.get("epsilon")
    support: Any = said.get("support")
    needed = {
        "no last year": whole_number(said.get("last_year"), least=codebook().first_year, most=9999),
        "no numbers of rows": isinstance(said.get("rows"), dict),
        "no epsilon": isinstance(epsilon, dict)
        and all(isinstance(epsilon.get(part), dict) for part in ("measurements", "total"))
        and isinstance(epsilon.get("uncontrolled"), list),
        "no rule of support": isinstance(support, dict) and whole_number(support.get("k"), least=1),
        "no seed": isinstance(said.get("seed"), int),
    }
    held = [findings.require("manifest", holds, problem) for problem, holds in needed.items()]
    return all(held)


def check_private(contents: Contents) -> None:
    """Check all files of a differentially private release, and what follows from its measurements."""
    findings, manifest = contents.findings, contents.manifest
    unknown = sorted(set(manifest["files"]) - set(FILES))
    findings.require("known files", not unknown, f"no files of such a release: {', '.join(unknown)}")
    closed = has_only(manifest, _MANIFEST_KEYS) and has_only(manifest["epsilon"], _EPSILON_KEYS)
    findings.require("structure", closed, "manifest.json: more than a manifest tells")
    findings.require("structure", _delivered(manifest.get("deliveries")), "manifest.json: more of deliveries than their state")
    check_each(contents, unknown)
    check_dictionary(contents)
    check_tables(contents)
    check_package(contents, PACKAGE)
    codes = check_copies(contents)
    if codes is not None and (contents.folder / CODEBOOK).is_file():
        check_workbook(contents, CODEBOOK, codes)
    measured = _measured(contents)
    if measured is None:
        return
    _noise(measured, findings)
    try:
        _epsilon(contents, measured)
    except ArithmeticError:
        findings.require("epsilon", False, "figures that are no cost")
    _records(contents, measured)
    _counts(contents, measured)
    _figures(contents, measured)
    remake = f"ctdc records {MEASUREMENTS} --seed {manifest['seed']} --k {manifest['support']['k']} --output again.csv"
    findings.note("support", f"to see that the records are exactly those of the measurements: {remake}")


def _delivered(said: Any) -> bool:
    """Whether nothing but the state of deliveries is told: a hash of one is a function of the records without noise."""
    keys = {"partner", "state", "latest_refresh", "stopped", "content"}
    return isinstance(said, dict) and all(
        has_only(one, keys) and one.get("state") in DELIVERY_STATES and one.get("content") == {} for one in said.values()
    )


def _measured(contents: Contents) -> Measured | None:
    """The measurements, if they are whole."""
    findings = contents.findings
    found = contents.read(MEASUREMENTS, _read) if (contents.folder / MEASUREMENTS).is_file() else None
    if found is None:
        return None
    told, table, same_bytes = found
    domain = told["domain"]
    digest = hashlib.sha256(json.dumps(domain, sort_keys=True).encode()).hexdigest()
    own = digest == told["domain_sha256"] == contents.manifest.get("domain_sha256")
    lists = contents.numbering.lists
    columns: dict[str, list[str]] = domain["columns"]
    known = list(columns) == list(lists) and all(set(values) <= set(lists[name]) for name, values in columns.items())
    good = [
        findings.require("structure", same_bytes and has_only(told, _TOLD_KEYS), f"{MEASUREMENTS}: holds more than its table"),
        findings.require("domain", own, "another domain than the manifest names"),
        findings.require("domain", known, "columns or values that are not the codebook's"),
        findings.require("domain", set(domain["strict"]) <= set(columns), "strict support of what is no column"),
        findings.require("domain", domain["strict"] == contents.manifest["support"].get("strict"), "another rule of support"),
        findings.require("measurements", told["unit"] == UNIT and _noisy(told["sigma"]), "another unit, or no noise"),
    ]
    if not all(good):
        return None
    sizes = [len(values) for values in columns.values()]
    expected = _cells(columns)
    same = len(table) == len(expected[0]) and all(
        table[name].to_pylist() == cells
        for name, cells in zip(("kind", "length", "variable_1", "value_1", "variable_2", "value_2"), expected, strict=True)
    )
    if not findings.require("measurements", same, "not one count of each value and pair of the domain, in order"):
        return None
    counts = table["count"].to_numpy()
    ends = np.cumsum([1, len(sizes) + 1, sum(sizes)])
    parts: dict[str, recount.Ints] = dict(zip(KINDS, np.split(counts, ends), strict=True))
    hashed = hashlib.sha256(counts.astype("<i8").tobytes()).hexdigest()
    findings.require("measurements", hashed == told["sha256"], "counts that are not those with the hash")
    findings.note("measurements", f"{len(counts):,} counts, cap {domain['cap']}")
    return Measured(told, parts)


def _noisy(sigma: Any) -> bool:
    return (
        isinstance(sigma, dict) and list(sigma) == [*KINDS] and all(whole_number(n, least=1, most=2**60) for n in sigma.values())
    )


def _read(path: Path) -> tuple[dict[str, Any], pa.Table, bool]:
    """What the file says of itself, its table, and whether it is byte by byte what Parquet's library writes of the table."""
    table = pq.read_table(path)
    again = pa.BufferOutputStream()
    pq.write_table(table, again, compression="zstd")
    metadata = table.schema.metadata or {}
    only = set(metadata) == {b"ctdc"} and again.getvalue().to_pybytes() == path.read_bytes()
    return json.loads(metadata[b"ctdc"]), table, only


def _cells(columns: Mapping[str, Sequence[str]]) -> tuple[list[Any], ...]:
    """Kind, length, variables and values of every count that there must be, in order."""
    rows: list[tuple[Any, ...]] = [("records", None, None, None, None, None)]
    rows += [("lengths", length, None, None, None, None) for length in range(len(columns) + 1)]
    rows += [("values", None, name, value, None, None) for name, values in columns.items() for value in values]
    for (a, of_a), (b, of_b) in combinations(columns.items(), 2):
        rows += [("pairs", None, a, one, b, other) for one, other in product(of_a, of_b)]
    return tuple(map(list, zip(*rows, strict=True)))


def _noise(measured: Measured, findings: Findings) -> None:
    """Most pairs are of nobody, and their counts nothing but noise; where they are of somebody, they spread more, never less."""
    pairs, sigma = measured.counts["pairs"], measured.told["sigma"]["pairs"]
    if len(pairs) < LEAST_CELLS:
        findings.note("noise", "too few counts to tell")
        return
    spread = float(np.median(np.abs(pairs - np.median(pairs)))) / 0.6745
    findings.require("noise", spread >= LEAST_SPREAD * sigma, "the counts of pairs spread less than the noise that is told")
    whole = float((pairs % UNIT == 0).mean())
    findings.require("noise", whole < 0.02, "many counts are whole records, as no noisy count is")


def _epsilon(contents: Contents, measured: Measured) -> None:
    """The exact curve of the Gaussian mechanism, with sensitivities that follow from the cap."""
    findings, told, said = contents.findings, measured.told, contents.manifest["epsilon"]
    cap, sigma = told["domain"]["cap"], told["sigma"]
    squared = {"records": 1, "lengths": 1, "values": cap, "pairs": max(1, math.comb(cap, 2))}
    mu_squared = sum((Fraction(squared[kind] * UNIT * UNIT, sigma[kind] ** 2) for kind in KINDS), Fraction(0))
    own, total = said["measurements"], said["total"]
    named = own["sha256"] == contents.manifest["files"].get(MEASUREMENTS)
    findings.require("epsilon", named, "the manifest tells the epsilon of other measurements")
    same = all(own[name] == told[name] for name in ("epsilon", "delta", "mu_squared"))
    findings.require("epsilon", same and Fraction(own["mu_squared"]) == mu_squared, "manifest and measurements tell another cost")
    kept = delta(math.sqrt(mu_squared), own["epsilon"]) <= own["delta"]
    findings.require("epsilon", kept, "the noise is less than the epsilon of the measurements needs")
    spent, finite = Fraction(total["mu_squared"]), total["epsilon"] is not None
    findings.require("epsilon", spent >= mu_squared and total["draws"] >= 1, "the total is less than these measurements")
    if finite:
        all_kept = delta(math.sqrt(spent), total["epsilon"]) <= total["delta"] * (1 + 1e-6)
        findings.require("epsilon", all_kept, "the total costs more than the epsilon that is told for it")
    findings.note(
        "epsilon", f"{own['epsilon']:g} at delta {own['delta']:g}; in all {total['epsilon'] if finite else 'not finite'}"
    )
    findings.require("ledger", _HASH.fullmatch(str(said.get("ledger"))) is not None, "no head of the ledger")
    findings.require("ledger", finite == (not said["uncontrolled"]), "a finite epsilon beside releases that have none")


def delta(mu: float, epsilon: float) -> float:
    """The delta of Gaussian noise of cost ``mu`` at ``epsilon`` (Balle, Wang 2018)."""
    below = math.erfc((epsilon / mu - mu / 2) / math.sqrt(2)) / 2
    above = math.erfc((epsilon / mu + mu / 2) / math.sqrt(2)) / 2
    return below - (math.exp(epsilon + math.log(above)) if above > 0 else 0.0)


def _records(contents: Contents, measured: Measured) -> None:
    """As many records as were measured, of values of the domain, and of strict variables only pairs that may be there."""
    findings = contents.findings
    if (table := contents.table(f"{RECORDS}.csv")) is None or table.column_names != list(measured.lists):
        return
    rows = max(0, round(int(measured.counts["records"][0]) / UNIT))
    told = contents.manifest["rows"].get(RECORDS)
    findings.require("rows", len(table) == rows == told, "the records are not as many as were measured, or as the manifest says")
    numbering = recount.Numbering(measured.lists)
    codes = numbering.codes(table)
    outside = int((codes == recount.UNLISTED).sum())
    findings.require("domain", not outside, f"{outside} cells of the records are of no value of the domain")
    sizes = [len(values) for values in measured.lists.values()]
    names, start, wrong = list(measured.lists), 0, 0
    for a, b in combinations(range(len(names)), 2):
        if {names[a], names[b]} & set(measured.told["domain"]["strict"]):
            both = codes[(codes[:, a] >= 0) & (codes[:, b] >= 0)].astype(np.int64)
            place = (both[:, a] - numbering.first[names[a]]) * sizes[b] + both[:, b] - numbering.first[names[b]]
            wrong += int((measured.counts["pairs"][start + np.unique(place)] <= 0).sum())
        start += sizes[a] * sizes[b]
    findings.require("support", not wrong, f"{wrong} pairs of the records have a noisy count of 0 or less")


def _counts(contents: Contents, measured: Measured) -> None:
    """The table to read: all people, every value, and the pairs above their noise."""
    findings = contents.findings
    if (table := contents.table(COUNTS)) is None:
        return
    cells = list(zip(*_cells(measured.lists), strict=True))
    noisy = np.concatenate([measured.counts[kind] for kind in KINDS]).tolist()
    sigma = measured.told["sigma"]
    rows: list[tuple[str | None, ...]] = []
    for (kind, _, *attributes), count in zip(cells, noisy, strict=True):
        if kind == "lengths" or (kind == "pairs" and count < SHOWN_SIGMAS * sigma["pairs"]):
            continue
        spread = INTERVAL_SIGMAS * sigma[kind]
        figures = round(count / UNIT), math.floor((count - spread) / UNIT), math.ceil((count + spread) / UNIT)
        length = {"records": "0", "values": "1", "pairs": "2"}[kind]
        rows.append((length, *attributes, *(str(max(0, figure)) for figure in figures)))
    names = ["length", "variable_1", "value_1", "variable_2", "value_2", "count", "count_from", "count_to"]
    good = table.column_names == names and list(zip(*(table[name].to_pylist() for name in names), strict=True)) == rows
    findings.require("noisy counts", good, f"{COUNTS}: not the counts of the measurements with their intervals")
    findings.require("rows", contents.manifest["rows"].get(COUNTS.removesuffix(".csv")) == len(table), f"{COUNTS}: other rows")
    findings.note("noisy counts", f"{len(rows):,} rows")


def _figures(contents: Contents, measured: Measured) -> None:
    """Every table of figures again, from the counts alone: all that are above their noise, and no others."""
    findings, lists, sigma = contents.findings, measured.lists, measured.told["sigma"]
    noisy: dict[tuple[str | None, ...], int] = {}
    cells = zip(*_cells(lists), strict=True)
    for (kind, _, *attributes), count in zip(
        cells, np.concatenate([measured.counts[kind] for kind in KINDS]).tolist(), strict=True
    ):
        if kind != "lengths":
            noisy[tuple(attributes)] = count
            noisy[(*attributes[2:], *attributes[:2])] = count
    none = (None, None)
    people = noisy[(*none, *none)], float(sigma["records"])
    flags = {
        group: [v.name for v in codebook().variables if v.kind == "flag" and v.group == group] for group in codebook().groups
    }
    for name, (of, by) in STORIES.items():
        rows: list[tuple[str | None, ...]] = []
        kind = "pairs" if by else "values"
        for group in [none] if by is None else [(by, value) for value in lists[by]]:
            told = [(flag, value) for flag in flags.get(of) or [of] for value in lists[flag]]
            counts = [noisy[(*cell, *group)] for cell in told]
            whole = (noisy[(*group, *none)], float(sigma["values"])) if by else people
            if not flags.get(of):
                whole = sum(counts), sigma[kind] * math.sqrt(len(counts))
            first = (group[1],) if by else ()
            shown = [(cell, n) for cell, n in zip(told, counts, strict=True) if n >= SHOWN_SIGMAS * sigma[kind]]
            rows += [(*first, *cell, *_figure(n, sigma[kind], whole)) for cell, n in shown]
        _same(contents, name, [*([by] if by else []), "variable", "value", *FIGURES], rows)
    known: list[tuple[str | None, ...]] = []
    for name in (variable.name for variable in codebook().variables if variable.kind != "flag"):
        count, spread = sum(noisy[name, value, *none] for value in lists[name]), sigma["values"] * math.sqrt(len(lists[name]))
        if count >= SHOWN_SIGMAS * spread:
            known.append((name, "*", *_figure(count, spread, people)))
    _same(contents, KNOWN, ["variable", "value", *FIGURES], known)
    findings.note("figures", f"{len(STORIES) + 1} tables")


def _same(contents: Contents, name: str, columns: list[str], rows: list[tuple[str | None, ...]]) -> None:
    """Whether the file has these rows; numbers may be written as 5 or 5.0."""
    if (contents.folder / name).is_file() and (table := contents.table(name)) is not None:
        good = table.column_names == columns
        found = list(zip(*(table[column].to_pylist() for column in columns), strict=True)) if good else []
        same = [tuple(_number(cell) for cell in row) for row in found] == [tuple(_number(cell) for cell in row) for row in rows]
        contents.findings.require("figures", good and same, f"{name}: not the figures of the measurements")
    else:
        contents.findings.require("figures", False, f"{name}: not there")


def _number(cell: str | None) -> str | float | None:
    return float(cell) if cell and re.fullmatch(r"[0-9]+(\.[0-9]+)?", cell) else cell or None


def _figure(count: int, sigma: float, whole: tuple[int, float]) -> tuple[str | None, ...]:
    """Count and interval, denominator, percentage and its interval, of a count with noise of ``sigma`` in ``whole``."""
    spread, near, far = INTERVAL_SIGMAS * sigma, BOTH_SIGMAS * sigma, BOTH_SIGMAS * whole[1]
    counts = round(count / UNIT), math.floor((count - spread) / UNIT), math.ceil((count + spread) / UNIT), round(whole[0] / UNIT)
    low, middle, high = (
        100.0 if most <= 0 else min(100.0, max(0.0, 100 * part / most))
        for part, most in ((count - near, whole[0] + far), (count, whole[0]), (count + near, whole[0] - far))
    )
    percentage = str(round(middle, 1)) if high - low <= WIDEST else None
    return (*(str(max(0, n)) for n in counts), percentage, str(math.floor(10 * low) / 10), str(math.ceil(10 * high) / 10))
