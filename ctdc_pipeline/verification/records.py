"""The checks of records and aggregates."""

from __future__ import annotations

import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa

from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.verification import recount
from ctdc_pipeline.verification.checks import AGGREGATES, DICTIONARY, RECORDS, Aggregates, Contents
from ctdc_pipeline.verification.products import prove_products
from ctdc_pipeline.verification.readers import DELIMITERS, numbers, read_stata, read_workbook, whole_number

_ORIGINS = {"partner", "source", "refresh", "source_file", "source_row", "case_key"}
_IDENTIFYING = re.compile(
    r"(^|_)(id|ids|uuid|case|caseid|victim|victimid|hash|pseudonym|surname|birth|birthdate|dob|date|day|month|partner)(_|$)"
)


def check_records(contents: Contents) -> recount.Codes | None:
    """Check the records and all their copies; their attributes come back."""
    findings, k = contents.findings, contents.k
    codes = check_copies(contents)
    if codes is None:
        return None
    rows = contents.manifest["rows"].get(RECORDS)
    findings.require("rows", len(codes) == rows, f"the records: {len(codes):,}, where the manifest says otherwise")
    empty = int((codes == recount.MISSING).all(axis=1).sum())
    findings.require("empty records", not empty, f"{empty} records hold no value")
    counts = recount.counts(codes, size=contents.numbering.size)
    odd = int((counts % k != 0).sum())
    findings.require("multiples of k", not odd, f"{odd} attributes of {int((counts > 0).sum())} have another count")
    findings.note("multiples of k", f"{int((counts > 0).sum())} attributes, k = {k}")
    return codes


def check_copies(contents: Contents) -> recount.Codes | None:
    """Check that all copies of the records are the same ones; the attributes of the first copy that can be read."""
    findings, names = contents.findings, list(codebook().names)
    slow = {".xlsx": read_workbook, ".dta": read_stata}
    there = [name for name in sorted(contents.manifest["files"]) if PurePosixPath(name).stem == RECORDS]
    there = {name: PurePosixPath(name).suffix for name in there if (contents.folder / name).is_file()}
    first = codes = None
    copies = 0
    with ThreadPoolExecutor() as threads:
        reading = {name: threads.submit(slow[form], contents.folder / name) for name, form in there.items() if form in slow}
        for name in there:
            own = reading.get(name)
            table = contents.read(name, lambda _, own=own: own.result()) if own else contents.table(name)
            if table is None:
                continue
            text = all(pa.types.is_string(kind) or pa.types.is_large_string(kind) for kind in table.schema.types)
            findings.require("columns", text, f"{name}: not all columns are text")
            same = table.column_names == names
            if not findings.require("columns", same, f"{name}: not the variables of the codebook in their order") or not text:
                continue
            copies += 1
            table = table.cast(pa.schema([(column, pa.string()) for column in names]))
            if first is not None and findings.require("copies", table.equals(first), f"{name}: other records than another copy"):
                continue
            numbered = contents.numbering.codes(table)
            for place, variable in enumerate(names):
                unlisted = int((numbered[:, place] == recount.UNLISTED).sum())
                findings.require("code lists", not unlisted, f"{name}: {unlisted} values of {variable} are in no list")
            if first is None:
                first, codes = table, numbered
    findings.note("copies", f"{copies} copies")
    return codes


def check_aggregates(contents: Contents) -> Aggregates | None:
    """Check the aggregates by themselves."""
    findings, length, k, numbering = contents.findings, contents.length, contents.k, contents.numbering
    names = ["length", *(f"{part}_{place}" for place in range(1, length + 1) for part in ("variable", "value")), "count"]
    if not (contents.folder / AGGREGATES).is_file() or (table := contents.table(AGGREGATES)) is None:
        return None
    if not findings.require("aggregates", table.column_names == names, "not the columns of aggregates of this reporting length"):
        return None
    lengths, counts = (numbers(table[name]) for name in ("length", "count"))
    if lengths is None or counts is None:
        findings.require("aggregates", False, "lengths or counts that are no numbers")
        return None
    sets = np.empty((len(table), length), np.int32)
    for place in range(length):
        sets[:, place] = numbering.number(table[f"variable_{place + 1}"], table[f"value_{place + 1}"])
    unlisted = int((sets == recount.UNLISTED).any(axis=1).sum())
    findings.require("code lists", not unlisted, f"{AGGREGATES}: {unlisted} combinations with a variable or value in no list")
    rows = contents.manifest["rows"].get("reportable_aggregates")
    findings.require("rows", len(table) == rows, f"{AGGREGATES}: {len(table):,}, where the manifest says otherwise")
    rare, odd = int((counts < k).sum()), int((counts % k != 0).sum())
    findings.require("aggregate counts", not rare, f"{rare} aggregates are below k")
    findings.require("aggregate counts", not odd, f"{odd} aggregates are no multiples of k")
    findings.note("aggregate counts", f"{len(table):,} aggregates")
    filled = (sets != recount.MISSING).cumprod(axis=1).sum(axis=1)
    complete = (filled == (sets != recount.MISSING).sum(axis=1)) & (filled == lengths) & (filled > 0)
    columns = np.where(sets >= 0, numbering.column[sets], len(numbering.lists) + np.arange(length))
    ordered = (np.diff(columns, axis=1) > 0).all(axis=1)
    wrong = int((~(complete & ordered)).sum())
    findings.require("aggregates", not wrong, f"{wrong} are not combinations of their length, in the order of the variables")
    if unlisted or wrong:
        return None
    aggregates = Aggregates()
    by_size = [(size, np.flatnonzero(lengths == size)) for size in range(1, min(length, numbering.longest) + 1)]
    for size, rows in by_size:
        keys = numbering.keys(sets[rows, :size])
        order = np.argsort(keys, kind="stable")
        repeated = int((np.diff(keys[order]) == 0).sum())
        findings.require("aggregates", not repeated, f"{repeated} combinations of length {size} are told twice")
        aggregates.sets[size], aggregates.keys[size], aggregates.counts[size] = (
            sets[rows, :size][order],
            keys[order],
            counts[rows][order],
        )
    if length > numbering.longest:
        findings.note("aggregates add up", f"up to length {numbering.longest}")
    _add_up(contents, aggregates)
    return aggregates


def _add_up(contents: Contents, aggregates: Aggregates) -> None:
    """Leaving out one attribute gives a reported combination at least as frequent as all that differ in its value together.

    Of counts rounded down: a record has one value of a variable, so the true counts of all values add up to less than the next
    multiple of k above the whole's.
    """
    numbering = contents.numbering
    for size in sorted(aggregates.sets)[1:]:
        for place in range(size):
            part = numbering.keys(np.delete(aggregates.sets[size], place, axis=1))
            whole = recount.place_of(part, among=aggregates.keys[size - 1])
            absent = int((whole < 0).sum())
            contents.findings.require(
                "aggregates add up", not absent, f"{absent} combinations of length {size} have parts that are not reported"
            )
            group = whole * len(numbering.lists) + numbering.column[aggregates.sets[size][:, place]]
            order = np.argsort(group, kind="stable")
            starts = np.flatnonzero(np.diff(group[order], prepend=-len(numbering.lists) - 1))
            if not len(starts):
                continue
            sums = np.add.reduceat(aggregates.counts[size][order], starts)
            known = whole[order][starts] >= 0
            more = int((sums > aggregates.counts[size - 1][whole[order][starts]])[known].sum())
            contents.findings.require(
                "aggregates add up",
                not more,
                f"{more} combinations of length {size - 1} are less frequent than what they are part of",
            )
    contents.findings.require("aggregates add up", True, "")


def check_agree(contents: Contents, codes: recount.Codes, aggregates: Aggregates) -> None:
    """Check the records against the aggregates."""
    findings, numbering = contents.findings, contents.numbering
    reported = np.zeros(numbering.size, np.int64)
    reported[aggregates.keys[1]] = aggregates.counts[1]
    differing = int((reported != recount.counts(codes, size=numbering.size)).sum())
    findings.require("single counts", not differing, f"{differing} attributes have other counts in the records")
    aggregates.held.update({size: np.zeros(len(counts), np.int64) for size, counts in aggregates.counts.items()})
    aggregates.held[1] += recount.counts(codes, size=numbering.size)[aggregates.keys[1]]
    absent: dict[int, int] = Counter()
    pairs = np.zeros((numbering.size, numbering.size), np.bool_)
    if 2 in aggregates.sets:
        pairs[aggregates.sets[2][:, 0], aggregates.sets[2][:, 1]] = True
    for size, keys in recount.combinations(codes, numbering=numbering, length=max(aggregates.sets), pairs=pairs):
        held, times = recount.tally(keys)
        place = recount.place_of(held, among=aggregates.keys[size])
        aggregates.held[size][place[place >= 0]] = times[place >= 0]
        absent[size] += int((place < 0).sum())
    for size, number in absent.items():
        few = number <= _withheld(contents, size)
        findings.require("reported combinations", few, f"{number} combinations of length {size} are not reported")
    findings.require("reported combinations", True, "")
    known = sum(int((times > 0).sum()) for size, times in aggregates.held.items() if size > 1)
    findings.note("reported combinations", f"{known:,} combinations of length 2 to {max(aggregates.sets)}")


def _withheld(contents: Contents, size: int) -> int:
    """How many common combinations of that length the manifest says are withheld; none where it does not say."""
    withheld = contents.manifest.get("withheld", {})
    number = withheld.get(str(size), 0) if isinstance(withheld, dict) else 0
    return number if whole_number(number, least=0) else 0


def check_figures(contents: Contents, codes: recount.Codes | None, aggregates: Aggregates | None) -> None:
    """Check what the manifest tells of the data, and that it tells no exact figure of sensitive records."""
    findings, manifest = contents.findings, contents.manifest
    proof: Any = manifest.get("proof")
    if not findings.require("manifest figures", isinstance(proof, dict), "the manifest tells of no proof"):
        return
    exact = {"smallest_support", "sensitive_records", "attributes"} & proof.keys()
    findings.require("manifest figures", not exact, f"exact figures of sensitive records: {', '.join(sorted(exact))}")
    findings.require("manifest figures", proof.get("k") == manifest["k"], "the proof was made with another k")
    for name in ("rare_records", "empty_records", "inexact_counts", "wrong_aggregates"):
        findings.require("manifest figures", proof.get(name) == 0, f"the proof tells of {name.replace('_', ' ')}")
    rounded = whole_number(proof.get("homogeneous_percent"), least=0, most=100)
    findings.require("manifest figures", rounded, "the share of homogeneous records is not told in whole percent")
    if codes is not None:
        findings.require("manifest figures", proof.get("synthetic_records") == len(codes), "the proof is of other records")
        distinct = len(recount.distinct(codes))
        findings.require("manifest figures", proof.get("distinct_records") == distinct, "the proof is of other distinct records")
    if aggregates is not None:
        findings.require("manifest figures", proof.get("aggregates") == aggregates.rows, "the proof is of other aggregates")
    suppressed: Any = manifest.get("suppressed_values", {})
    rounded = isinstance(suppressed, dict) and all(whole_number(n, least=0) and n % contents.k == 0 for n in suppressed.values())
    findings.require("manifest figures", rounded, "suppressed values are not told in multiples of k")


def check_dictionary(contents: Contents) -> None:
    """Check that the data dictionary describes the variables as the codebook does."""
    if not (contents.folder / DICTIONARY).is_file() or (table := contents.table(DICTIONARY)) is None:
        return
    wanted = {
        "position": [str(variable.position) for variable in codebook().variables],
        "name": list(codebook().names),
        "label": [variable.label for variable in codebook().variables],
        "group": [variable.group for variable in codebook().variables],
        "type": [variable.kind for variable in codebook().variables],
        "values": [" | ".join(variable.values) or None for variable in codebook().variables],
        "definition": [variable.definition for variable in codebook().variables],
        "aliases": [" | ".join(variable.aliases) or None for variable in codebook().variables],
    }
    contents.findings.require("data dictionary", table.column_names == list(wanted), f"{DICTIONARY}: other columns")
    for column, cells in wanted.items():
        same = column in table.column_names and table[column].to_pylist() == cells
        contents.findings.require("data dictionary", same, f"{DICTIONARY}: {column} is not the codebook's")


def check_tables(contents: Contents) -> None:
    """Check every table there is, known or not, for columns that must not be public and for values in no list."""
    findings, lists = contents.findings, contents.numbering.lists
    details = {variable.name for variable in codebook().details}
    for name in sorted(contents.manifest["files"]):
        path = PurePosixPath(name)
        if path.suffix not in (*DELIMITERS, ".parquet") or not (contents.folder / name).is_file():
            continue
        if (table := contents.table(name)) is None:
            continue
        bad = [
            column
            for column in table.column_names
            if column in _ORIGINS | details or (column not in lists and _IDENTIFYING.search(_snake(column)))
        ]
        findings.require("forbidden columns", not bad, f"{name}: {', '.join(bad)}")
        if path.stem != RECORDS:
            for column in set(table.column_names) & set(lists):
                unlisted = len(set(map(str, table[column].unique().drop_null().to_pylist())) - set(lists[column]))
                findings.require("code lists", not unlisted, f"{name}: {unlisted} values of {column} are in no list")


def _snake(name: str) -> str:
    """``CaseId``, ``case-id`` and ``case id`` as ``case_id``."""
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())


def check_prove(contents: Contents, table: pa.Table, codes: recount.Codes | None, aggregates: Aggregates | None) -> None:
    """Check against the sensitive records: support at any length, exact counts, and all the aggregates."""
    findings, numbering, k = contents.findings, contents.numbering, contents.k
    sensitive = numbering.codes(table)
    unlisted = int((sensitive == recount.UNLISTED).any(axis=1).sum())
    single = recount.counts(sensitive, size=numbering.size)
    findings.require("exact counts", not unlisted, f"{unlisted} sensitive records hold values in no list: not what was released")
    if codes is not None:
        distinct = recount.distinct(codes)
        rare = int((recount.supports(sensitive, distinct, numbering=numbering) < k).sum())
        findings.require("support", not rare, f"{rare} of {len(distinct):,} distinct records have less")
        findings.note("support", f"{len(distinct):,} distinct records in {len(sensitive):,} sensitive ones, k = {k}")
        inexact = int((recount.counts(codes, size=numbering.size) != single // k * k).sum())
        findings.require("exact counts", not inexact, f"{inexact} attributes have another count")
    prove_products(contents, sensitive)
    if aggregates is None:
        return
    common = recount.common(sensitive, numbering=numbering, length=max(aggregates.sets), k=k)
    for size, (keys, counts) in common.items():
        place = recount.place_of(keys, among=aggregates.keys[size])
        absent, more = int((place < 0).sum()), int((recount.place_of(aggregates.keys[size], among=keys) < 0).sum())
        wrong = int((aggregates.counts[size][place] != counts // k * k)[place >= 0].sum()) if len(aggregates.keys[size]) else 0
        for number, problem in (
            (absent - _withheld(contents, size), "are common and neither reported nor withheld"),
            (more, "are rare and reported"),
            (wrong, "are miscounted"),
        ):
            findings.require("exact aggregates", not number, f"{number} combinations of length {size} {problem}")
    findings.note("exact aggregates", f"{sum(len(keys) for keys, _ in common.values()):,} combinations")
