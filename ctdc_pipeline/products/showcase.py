"""The showcase: one HTML file in which anyone explores the synthetic records beside the reportable actual counts.

It is made of the released records, the released aggregates and the denominators of the released tables, so it tells nothing
that they do not. Records are
embedded as dictionary-encoded columns and, for flags, bitsets, in an order that compresses well; aggregates as sorted integer
keys and counts, shorter combinations first, as many as keep the file below ``MOST_BYTES``; the page says which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from ctdc_pipeline.codebook.countries import countries
from ctdc_pipeline.codebook.variables import Variable, codebook
from ctdc_pipeline.counting.rounding import attribute_columns
from ctdc_pipeline.products.country_shapes import shapes
from ctdc_pipeline.products.inputs import Inputs
from ctdc_pipeline.products.page import packed, page
from ctdc_pipeline.products.story_tables import STORIES, known, table
from ctdc_pipeline.products.uses import MOST_CARE, MOST_GOOD, USES, pairs

FILE = "showcase.html"
MOST_BYTES = 9_500_000
pc: Any = pyarrow.compute  # made when imported, so type checkers cannot see its functions

_LARGEST_KEY = 2**53  # whole numbers that JavaScript holds exactly

Codes = npt.NDArray[np.int64]


def write(inputs: Inputs, folder: Path, *, most_bytes: int = MOST_BYTES) -> None:
    """Write ``showcase.html``.

    Args:
        inputs: what a release is made of.
        folder: where the file goes. It is made if it is not there.
        most_bytes: the size of the file. Longer combinations are left out where it does not suffice; the page says which.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_bytes(
        render(
            inputs.synthetic,
            inputs.aggregates,
            version=inputs.version,
            k=inputs.k,
            length=inputs.length,
            last_year=inputs.last_year,
            known_people=known_counts(inputs),
            notice=inputs.notice,
            citation=inputs.citation,
            most_bytes=most_bytes,
        )
    )


def known_counts(inputs: Inputs) -> dict[str, dict[str, int]]:
    """Of how many people anything is known, of a variable or group of flags: all people, and those with one value.

    By ``variable=value``, or nothing for all people, and then by subject; ``all`` is the people themselves. Just what
    ``known_values.csv`` and the tables of stories tell.
    """
    known_values = known(inputs.victims, k=inputs.k, aggregates=inputs.aggregates).to_pylist()
    counts = {"": {row["variable"]: row["count"] for row in known_values}}
    if known_values:
        counts[""]["all"] = known_values[0]["denominator"]
    group = {variable.name: variable.group if variable.kind == "flag" else variable.name for variable in codebook().variables}
    for story in STORIES:
        for row in (
            table(inputs.victims, story, k=inputs.k, aggregates=inputs.aggregates).to_pylist() if len(story.by) == 1 else ()
        ):
            attribute = f"{story.by[0]}={row[story.by[0]]}"
            counts.setdefault(attribute, {})[group[row["variable"]]] = row["denominator"]
    return counts


def render(
    synthetic: pa.Table,
    aggregates: pa.Table,
    *,
    version: str,
    k: int,
    length: int,
    last_year: int,
    known_people: Mapping[str, Mapping[str, int]] | None = None,
    notice: str = "",
    citation: str = "",
    most_bytes: int = MOST_BYTES,
) -> bytes:
    """Return the page.

    Args:
        synthetic: the synthetic records, as text, null for missing.
        aggregates: the reported counts.
        version: the name of the release.
        k: the resolution.
        length: the reporting length.
        last_year: the last year of registration.
        known_people: what ``known_counts`` returns.
        notice: a sentence that stands above everything else.
        citation: how to cite the release.
        most_bytes: as for ``write``.
    """
    attributes = Attributes.of(synthetic, aggregates)
    codes = np.column_stack([attributes.codes(synthetic[name], name) for name in codebook().names])
    records = packed(_columns(codes[np.lexsort(codes.T[::-1])], attributes))
    embedded: list[dict[str, int]] = []
    data = {
        "version": version,
        "k": k,
        "length": length,
        "lastYear": last_year,
        "rows": synthetic.num_rows,
        "groups": dict(codebook().groups),
        "variables": [
            _described(variable, attributes.values[variable.name], attributes.first[variable.name])
            for variable in codebook().variables
        ],
        "attributes": attributes.size,
        "embedded": embedded,
        "names": {country.iso3: country.name for country in countries().rows},
        "map": shapes().drawn(),
        "known": known_people or {},
        "uses": dict(USES),
        "pairs": [
            [codebook().names.index(pair.first), codebook().names.index(pair.second), pair.reportable, _rounded(pair.error)]
            for pair in pairs(aggregates, synthetic)
            if pair.error is not None
        ],
        "limits": [MOST_GOOD, MOST_CARE],
    }
    words: dict[str, Any] = {
        "title": f"Global Synthetic Dataset {version}",
        "version": version,
        "k": k,
        "length": length,
        "year": last_year,
        "citation": citation,
    }

    def made(blocks: dict[str, str]) -> bytes:
        return page("showcase.html", scripts=("shared.js", "showcase.js"), data=data, blocks=blocks, notice=notice, **words)

    blocks = {"records": records}
    room = most_bytes - len(made(blocks)) - 1000 * length
    for size in range(1, length + 1):
        if attributes.size**size >= _LARGEST_KEY:
            break
        block, embedding = attributes.combinations(aggregates, size=size, k=k, room=room)
        if block:
            blocks[f"counts-{size}"] = block
            embedded.append(embedding)
            room -= len(block)
        if embedding["least"] > k:
            break
    return made(blocks)


def named(variable: Variable, value: str) -> str:
    """How a page writes a value for people."""
    if variable.kind == "flag":
        return variable.label
    if variable.kind == "country":
        country = countries().get(value)
        return country.name if country else value
    return value.replace("--", "–").replace("/", "/\u200b")  # a range has a dash; a long word may break at its slash


@dataclass(frozen=True)
class Attributes:
    """The attributes of a release, numbered from 1 as the codebook orders them; ``first`` is the number of a variable's first."""

    values: dict[str, list[str]]
    first: dict[str, int]
    size: int
    """One more than the largest number, the base of the keys of combinations."""

    @classmethod
    def of(cls, synthetic: pa.Table, aggregates: pa.Table) -> Attributes:
        """Those that the codebook lists, and the years and countries that the tables hold."""
        single = aggregates.filter(pc.equal(aggregates["length"], 1)).select(["variable_1", "value_1"])
        held: dict[str, set[str]] = {name: set() for name in codebook().names}
        for row in single.to_pylist():
            held[row["variable_1"]].add(row["value_1"])
        values: dict[str, list[str]] = {}
        for variable in codebook().variables:
            occurring = held[variable.name] | {
                value for value in synthetic[variable.name].unique().to_pylist() if value is not None
            }
            values[variable.name] = [*variable.values, *sorted(occurring - set(variable.values))]
        first, next_number = {}, 1
        for name, listed in values.items():
            first[name], next_number = next_number, next_number + len(listed)
        return cls(values=values, first=first, size=next_number)

    def codes(self, column: pa.ChunkedArray, name: str) -> Codes:
        """1 for the first value of the variable ``name``, 0 for missing."""
        index = {value: place for place, value in enumerate(self.values[name], start=1)}
        return _translated(column, index)

    def combinations(self, aggregates: pa.Table, *, size: int, k: int, room: int) -> tuple[str, dict[str, int]]:
        """The counts of combinations of ``size`` attributes as a block, and what of them it holds.

        The block: differences of the sorted keys, then counts by ``k``, all as LEB128. Where it is longer than ``room``, only
        counts of at least ``least`` are in it; without room it is empty.
        """
        rows = aggregates.filter(pc.equal(aggregates["length"], size))
        numbers = np.sort(np.column_stack([self._numbers(rows, place) for place in range(1, size + 1)]), axis=1)
        keys = numbers @ (self.size ** np.arange(size - 1, -1, -1, dtype=np.int64))
        order = np.argsort(keys)
        keys, counts = keys[order], rows["count"].to_numpy()[order].astype(np.int64) // k
        least, block = 1, packed(_leb128(np.diff(keys, prepend=0)) + _leb128(counts))
        while len(block) > room and len(counts):
            wanted = int(len(counts) * 0.97 * max(room, 0) / len(block))
            ranked = np.sort(counts)[::-1]
            least = int(ranked[wanted]) + 1  # so that at most the wanted ones are at least this
            keys, counts = keys[counts >= least], counts[counts >= least]
            block = packed(_leb128(np.diff(keys, prepend=0)) + _leb128(counts))
        embedding = {"length": size, "rows": len(counts), "of": rows.num_rows, "least": least * k}
        return (block if len(counts) or least == 1 else "", embedding)

    def _numbers(self, rows: pa.Table, place: int) -> Codes:
        """Number of the attribute at a place of each combination."""
        variables = list(self.values)
        variable, value = attribute_columns(place)[-1]
        which = _translated(rows[variable], {name: index for index, name in enumerate(variables)})
        distinct = rows[value].unique().to_pylist()
        column = _translated(rows[value], {text: index for index, text in enumerate(distinct)})
        number = np.zeros((len(variables), len(distinct)), np.int64)
        for row, name in enumerate(variables):
            own = {text: self.first[name] + index for index, text in enumerate(self.values[name])}
            number[row] = [own.get(text, 0) for text in distinct]
        return number[which, column] if rows.num_rows else np.empty(0, np.int64)


def _translated(column: pa.ChunkedArray, index: dict[str, int]) -> Codes:
    """Each text's place in ``index``; 0 for null."""
    encoded = column.cast(pa.string()).combine_chunks().dictionary_encode()
    places = np.array([index[text.as_py()] for text in encoded.dictionary] + [0], np.int64)
    return places[encoded.indices.fill_null(len(encoded.dictionary)).to_numpy(zero_copy_only=False).astype(np.int64)]


def _columns(codes: Codes, attributes: Attributes) -> bytes:
    """Columns one after the other: bits for flags, little end first, in whole 32-bit words; else a byte a record, or two."""
    parts: list[bytes] = []
    for variable, column in zip(codebook().variables, codes.T, strict=True):
        if variable.kind == "flag":
            bits = np.packbits(column > 0, bitorder="little").tobytes()
            parts.append(bits + bytes(-len(bits) % 4))
        else:
            parts.append(column.astype("<u1" if len(attributes.values[variable.name]) < 256 else "<u2").tobytes())
    return b"".join(parts)


def _described(variable: Variable, values: Sequence[str], first: int) -> dict[str, Any]:
    return {
        "name": variable.name,
        "label": variable.label,
        "kind": variable.kind,
        "group": variable.group,
        "definition": variable.definition,
        "first": first,
        "values": list(values),
        "labels": [named(variable, value) for value in values],
        "meanings": list(variable.meanings),
    }


def _rounded(error: float | None) -> float | None:
    return None if error is None else round(error, 3)


def _leb128(numbers: Codes) -> bytes:
    """Numbers of at least 0 in groups of seven bits, the least significant first, a set top bit wherever another follows."""
    size = np.ones(len(numbers), np.int64)
    for bits in range(7, 63, 7):
        size += numbers >= 1 << bits
    start = np.cumsum(size) - size
    written = np.zeros(int(size.sum()), np.uint8)
    for place in range(int(size.max(initial=0))):
        here = size > place
        group = (numbers[here] >> (7 * place)) & 127
        written[start[here] + place] = group | np.where(size[here] > place + 1, 128, 0)
    return written.tobytes()
