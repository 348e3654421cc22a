"""The check of the showcase: whatever figures the page embeds are those of the other files.

The page holds the records as columns of codes, the reported counts as compressed keys, the number of people of whom a variable
is known, and the error of each pair of variables. Each is unpacked here and compared with its file, so that a page with other
figures fails. What the page says in words is not read.
"""

from __future__ import annotations

import json
import zlib
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ctdc_pipeline.codebook.countries import countries
from ctdc_pipeline.codebook.variables import Variable, codebook
from ctdc_pipeline.verification import recount
from ctdc_pipeline.verification.checks import AGGREGATES, Aggregates, Contents
from ctdc_pipeline.verification.closed_files import page_data

SHOWCASE = "showcase.html"
MOST_UNPACKED = 1 << 28  # bytes of one block
CHECK = "showcase"
USES = ("good", "with care", "use the counts instead", "nothing to tell")
LIMITS = [0.1, 0.2]
"""The largest error of a pair of variables for the first two of ``USES``."""
PAIR_ROUNDING = 0.000501
"""How far an error of three decimals may be from the exact one."""


def check_showcase(contents: Contents, codes: recount.Codes | None, aggregates: Aggregates | None) -> None:
    """Check what the page embeds, where there is a page and what it shows can be read.

    Args:
        contents: the release.
        codes: int32 (records, variables) of the published records, as ``contents.numbering`` numbers attributes.
        aggregates: the reported counts.
    """
    findings = contents.findings
    if (
        SHOWCASE not in contents.manifest["files"]
        or not (contents.folder / SHOWCASE).is_file()
        or codes is None
        or aggregates is None
    ):
        return
    text = contents.read(SHOWCASE, lambda path: path.read_text(encoding="utf-8"))
    if text is None:
        return
    texts = dict(page_data(text))
    try:
        page = json.loads(texts["data"])
        values = {variable["name"]: variable["values"] for variable in page["variables"]}
        lists = {name: contents.numbering.lists[name] for name in codebook().names}
        known = all(set(own) <= set(lists[name]) and len(set(own)) == len(own) for name, own in values.items())
        if not findings.require(CHECK, known and list(values) == list(lists), f"{SHOWCASE}: other variables or values"):
            return
        numbers = _page_numbers(contents, values)
        expected = _expected(contents, codes, values)
        same = page.keys() == {*expected, "embedded", "known", "uses", "pairs", "map"} and expected.items() <= page.items()
        findings.require(CHECK, same, f"{SHOWCASE}: describes other data than the release holds")
        findings.require(CHECK, tuple(page["uses"]) == USES, f"{SHOWCASE}: other uses than a pair of variables can have")
        findings.require(CHECK, _same_records(texts, codes, values, numbers), f"{SHOWCASE}: other records than the dataset")
        counts = _same_counts(texts, page["embedded"], contents, aggregates, numbers)
        findings.require(CHECK, counts, f"{SHOWCASE}: other counts than {AGGREGATES}")
        findings.require(CHECK, _same_pairs(page["pairs"], contents, aggregates), f"{SHOWCASE}: other errors of pairs")
        findings.require(CHECK, _same_known(page["known"], contents), f"{SHOWCASE}: other numbers of people than the tables")
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError, zlib.error):
        findings.require(CHECK, False, f"{SHOWCASE}: data that cannot be unpacked")


def _expected(contents: Contents, codes: recount.Codes, values: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What the page must say of the release, but for the figures."""
    variables: list[dict[str, Any]] = []
    first = 1
    for variable in codebook().variables:
        listed = values[variable.name]
        more = sorted(set(listed) - set(variable.values))
        variables.append(
            {
                "name": variable.name,
                "label": variable.label,
                "kind": variable.kind,
                "group": variable.group,
                "definition": variable.definition,
                "first": first,
                "values": [*variable.values, *more],
                "labels": [_label(variable, value) for value in listed],
                "meanings": list(variable.meanings),
            }
        )
        first += len(listed)
    return {
        "version": contents.manifest["version"],
        "k": contents.k,
        "length": contents.length,
        "lastYear": contents.manifest["last_year"],
        "rows": len(codes),
        "groups": dict(codebook().groups),
        "variables": variables,
        "attributes": first,
        "names": {country.iso3: country.name for country in countries().rows},
        "limits": LIMITS,
    }


def _label(variable: Variable, value: str) -> str:
    """How the page writes a value for people."""
    if variable.kind == "flag":
        return variable.label
    if variable.kind == "country":
        return {country.iso3: country.name for country in countries().rows}.get(value, value)
    return value.replace("--", "\u2013").replace("/", "/\u200b")


def _page_numbers(contents: Contents, values: Mapping[str, Sequence[str]]) -> recount.Ints:
    """Of each attribute of the release's numbering, its number in the page, from 1; 0 for one that the page does not list."""
    numbering = contents.numbering
    numbers = np.zeros(numbering.size, np.int64)
    following = 1
    for name, listed in values.items():
        own = list(numbering.lists[name])
        for value in listed:
            numbers[numbering.first[name] + own.index(value)] = following
            following += 1
    return numbers


def _unpacked(text: str) -> bytes:
    """The bytes of a block. Raises ValueError if they are more than any release needs."""
    stream = zlib.decompressobj()
    content = stream.decompress(b64decode(text, validate=True), MOST_UNPACKED)
    if not stream.eof or stream.unused_data:
        raise ValueError("a block that does not end where it should")
    return content


def _same_records(
    texts: Mapping[str, str], codes: recount.Codes, values: Mapping[str, Sequence[str]], numbers: recount.Ints
) -> bool:
    """Whether the columns of the page hold the records of the dataset, in whatever order."""
    content, at, rows = _unpacked(texts["records"]), 0, len(codes)
    columns: list[recount.Ints] = []
    following = 1
    for variable in codebook().variables:
        listed = len(values[variable.name])
        if variable.kind == "flag":
            size = -(-rows // 32) * 4
            bits = np.unpackbits(np.frombuffer(content, np.uint8, size, at), bitorder="little")
            if bits[rows:].any():
                return False
            code = bits[:rows].astype(np.int64)
        else:
            kind = "<u1" if listed < 256 else "<u2"
            size = rows * np.dtype(kind).itemsize
            code = np.frombuffer(content, kind, rows, at).astype(np.int64)
        if code.max(initial=0) > listed:
            return False
        columns.append(np.where(code > 0, code + following - 1, 0))
        at += size
        following += listed
    if at != len(content):
        return False
    own = np.append(numbers, 0)[np.where(codes >= 0, codes, len(numbers))]
    held = np.column_stack(columns) if columns else own
    pairs = zip(recount.groups(own.astype(np.int32)), recount.groups(held.astype(np.int32)), strict=True)
    return all(np.array_equal(*pair) for pair in pairs)


def _same_counts(
    texts: Mapping[str, str],
    embedded: Sequence[Mapping[str, int]],
    contents: Contents,
    aggregates: Aggregates,
    numbers: recount.Ints,
) -> bool:
    """Whether the counts in the page are the reported ones: of each length, all that are at least what the page says."""
    k, base = contents.k, int(numbers.max(initial=0)) + 1
    if [part["length"] for part in embedded] != list(range(1, len(embedded) + 1)):
        return False
    if {f"counts-{part['length']}" for part in embedded} | {"records", "data"} != set(texts):
        return False
    for part in embedded:
        size, least = part["length"], part["least"]
        sets, counts = aggregates.sets[size], aggregates.counts[size]
        kept = counts >= least
        keys = np.sort(numbers[sets[kept]], axis=1) @ (base ** np.arange(size - 1, -1, -1, dtype=np.int64))
        order = np.argsort(keys)
        stream = _leb128(_unpacked(texts[f"counts-{size}"]))
        half = len(stream) // 2
        same = np.array_equal(np.cumsum(stream[:half]), keys[order]) and np.array_equal(stream[half:] * k, counts[kept][order])
        whole = least == k if kept.all() else least > k
        if not same or not whole or part != {"length": size, "rows": int(kept.sum()), "of": len(counts), "least": least}:
            return False
    return True


def _leb128(content: bytes) -> recount.Ints:
    """The numbers of a block: groups of seven bits, the least significant first, the top bit set wherever another follows.

    Raises ValueError for a number of more than nine groups, and for a last one that does not end.
    """
    written = np.frombuffer(content, np.uint8).astype(np.int64)
    last = written < 128
    if not len(written):
        return np.empty(0, np.int64)
    if not last[-1]:
        raise ValueError("a number that does not end")
    ends = np.flatnonzero(last)
    starts = np.append(0, ends[:-1] + 1)
    place = np.arange(len(written)) - np.repeat(starts, ends - starts + 1)
    if place.max() > 8:
        raise ValueError("a number that is too long")
    return np.add.reduceat((written & 127) << (7 * place), starts)


def _same_pairs(pairs: Sequence[Sequence[Any]], contents: Contents, aggregates: Aggregates) -> bool:
    """Whether the error of each pair of variables follows from the records and the reported counts."""
    size = len(codebook().names)
    expected: list[tuple[int, int, int, float]] = []
    if 2 in aggregates.sets:
        columns = contents.numbering.column[aggregates.sets[2]]
        which = columns[:, 0] * size + columns[:, 1]
        for pair in np.unique(which).tolist():
            actual, held = aggregates.counts[2][which == pair], aggregates.held[2][which == pair]
            error = float(np.abs(held - actual).sum() / actual.sum())
            expected.append((pair // size, pair % size, len(actual), error))
    return len(pairs) == len(expected) and all(
        tuple(written[:3]) == wanted[:3] and len(written) == 4 and abs(written[3] - wanted[3]) <= PAIR_ROUNDING
        for written, wanted in zip(pairs, expected, strict=True)
    )


def _same_known(known: Mapping[str, Mapping[str, int]], contents: Contents) -> bool:
    """Whether the numbers of people of whom a variable is known are the denominators of the published tables."""
    expected: dict[str, dict[str, int]] = {"": {}}
    table: pa.Table | None = contents.table("known_values.csv")
    for row in table.to_pylist() if table is not None else ():
        expected[""][row["variable"]] = int(row["count"])
        expected[""]["all"] = int(row["denominator"])
    groups = {variable.name: variable.group if variable.kind == "flag" else variable.name for variable in codebook().variables}
    for name in contents.manifest["files"]:
        if not name.startswith("story_") or (story := contents.table(name)) is None:
            continue
        by = story.column_names[: story.column_names.index("variable")]
        for row in story.to_pylist() if len(by) == 1 else ():
            expected.setdefault(f"{by[0]}={row[by[0]]}", {})[groups[row["variable"]]] = int(row["denominator"])
    return known == expected
