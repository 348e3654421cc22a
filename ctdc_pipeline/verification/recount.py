"""Counting and containment a second time, for ``ctdc verify``, by bitmaps and sorted keys.

It imports neither the synthesis nor the counting, nor what they share, so that no mistake of theirs can hide here. A set of
attributes is either a row of an int32 table (records, columns) of attribute numbers, or one int64 key that holds the numbers of
the set in ascending order, side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

MISSING = -1
UNLISTED = -2
KEY_BITS = 63
BLOCK = 1 << 24  # bytes of bitmaps that one step looks at

Codes = npt.NDArray[np.int32]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Words: TypeAlias = pa.Array | pa.ChunkedArray


@dataclass(frozen=True)
class Numbering:
    """Numbers for attributes: by column, in the order of ``lists``, then by the place of the value in its list."""

    lists: Mapping[str, Sequence[str]]

    @cached_property
    def column(self) -> Ints:
        """The place of the column, of each attribute."""
        return np.repeat(np.arange(len(self.lists)), [len(values) for values in self.lists.values()])

    @cached_property
    def first(self) -> dict[str, int]:
        """The first attribute of each column."""
        sizes = np.array([len(values) for values in self.lists.values()])
        return dict(zip(self.lists, (np.cumsum(sizes) - sizes).tolist(), strict=True))

    @property
    def size(self) -> int:
        """How many attributes there are."""
        return len(self.column)

    @property
    def bits(self) -> int:
        """How much of a key one attribute takes."""
        return max(1, self.size.bit_length())

    @property
    def longest(self) -> int:
        """How many attributes a key can hold."""
        return KEY_BITS // self.bits

    def codes(self, table: pa.Table) -> Codes:
        """int32 (rows, columns) of a table that has the columns: attribute numbers, ``MISSING`` or ``UNLISTED``."""
        attributes = np.full((len(table), len(self.lists)), MISSING, np.int32, order="F")  # columns are what is read
        for place, (name, values) in enumerate(self.lists.items()):
            column = table[name].cast(pa.string())
            index = pc.call_function("index_in", [column], pc.SetLookupOptions(pa.array(values, pa.string()))).fill_null(UNLISTED)
            numbers = index.to_numpy().astype(np.int32)
            listed = np.where(numbers >= 0, numbers + self.first[name], UNLISTED)
            attributes[:, place] = np.where(column.is_valid().to_numpy(), listed, MISSING)
        return attributes

    def number(self, variables: Words, values: Words) -> Codes:
        """int32 of each pair of a variable and a value; ``MISSING`` where neither is, ``UNLISTED`` where it is no attribute."""
        known = pa.array([f"{name}\0{value}" for name, own in self.lists.items() for value in own], pa.string())
        words = [column.cast(pa.string()) for column in (variables, values)]
        pairs = pc.call_function("binary_join_element_wise", [*words, pa.scalar("\0")])
        index = pc.call_function("index_in", [pairs], pc.SetLookupOptions(known)).fill_null(UNLISTED)
        nothing = np.asarray(variables.is_null()) & np.asarray(values.is_null())
        return np.where(nothing, np.int32(MISSING), np.asarray(index))

    def keys(self, sets: Codes) -> Ints:
        """The key of each row of ``sets``, which are in ascending order and of one length."""
        keys = np.zeros(len(sets), np.int64)
        for place in range(sets.shape[1]):
            keys = keys << self.bits | sets[:, place]
        return keys


def groups(codes: Codes) -> tuple[Codes, Ints]:
    """The distinct rows, ascending, and how many there are of each."""
    order = np.lexsort(codes.T[::-1])
    new = np.zeros(len(codes), np.bool_)
    new[:1] = True
    for column in codes.T:
        new[1:] |= np.diff(column[order]) != 0
    starts = np.flatnonzero(new)
    return codes[order[starts]], np.diff(starts, append=len(codes))


def distinct(codes: Codes) -> Codes:
    """The distinct rows."""
    return groups(codes)[0]


def counts(codes: Codes, *, size: int) -> Ints:
    """In how many rows each of ``size`` attributes occurs."""
    return np.bincount(codes[codes >= 0], minlength=size)


def supports(sensitive: Codes, records: Codes, *, numbering: Numbering) -> Ints:
    """Count the sensitive rows that contain each record. None contains a record with an unlisted value.

    The rows that contain a record are among those that contain its rarest attribute. For these, each attribute has a bitmap, one
    bit a row. Where the bitmaps of all the record's attributes overlap are the rows wanted.

    Args:
        sensitive: int32 (rows, columns), attribute numbers.
        records: int32 (records, columns), attribute numbers.
        numbering: the numbers of attributes.

    Returns:
        int64, one per record.
    """
    size = numbering.size
    rarity = np.append(np.argsort(np.argsort(counts(sensitive, size=size), kind="stable")), size)  # a missing value comes last
    attribute = np.argsort(rarity)
    rarest = rarity[np.where(records >= 0, records, size)].min(axis=1, initial=size)
    order = np.argsort(rarest, kind="stable")
    ends = (np.flatnonzero(np.diff(rarest[order], append=size + 1)) + 1).tolist()
    counted = np.zeros(len(records), np.int64)
    for start, end in zip([0, *ends], ends, strict=False):
        own, number = order[start:end], int(attribute[rarest[order[start]]])
        holders = sensitive if number == size else sensitive[sensitive[:, numbering.column[number]] == number]
        counted[own] = _among(holders, records[own], numbering=numbering)
    counted[(records == UNLISTED).any(axis=1)] = 0
    return counted


def _among(holders: Codes, records: Codes, *, numbering: Numbering) -> Ints:
    """How many of the rows ``holders`` hold each record."""
    used = np.unique(records[records >= 0])
    packed = np.zeros((len(used) + 1, -(-len(holders) // 64) * 8), np.uint8)
    packed[0, : -(-len(holders) // 8)] = np.packbits(np.ones(len(holders), np.bool_))  # for missing values: everybody
    for place, number in enumerate(used.tolist(), 1):
        packed[place, : -(-len(holders) // 8)] = np.packbits(holders[:, numbering.column[number]] == number)
    laid = packed.view(np.uint64)
    slot = np.where(records >= 0, np.searchsorted(used, records) + 1, 0)
    counted = np.empty(len(records), np.int64)
    step = max(1, BLOCK // max(8, packed.shape[1]))
    for start in range(0, len(records), step):
        block = slot[start : start + step]
        left = np.tile(laid[0], (len(block), 1))
        for place in range(block.shape[1]):
            filled = np.flatnonzero(block[:, place])
            left[filled] &= laid[block[filled, place]]
        counted[start : start + step] = np.bitwise_count(left).sum(axis=1)
    return counted


def combinations(codes: Codes, *, numbering: Numbering, length: int, pairs: Flags) -> Iterator[tuple[int, Ints]]:
    """Every combination of 2 to ``length`` attributes that a row holds, once a row, as (length, keys), by its first attribute.

    Of three attributes and more, only those whose first and last two are pairs told as worth following: ``pairs`` is a table of
    attribute by attribute. All keys of one length that begin with the same attribute come together.
    """
    rows, _ = np.nonzero(codes >= 0)
    items = codes[codes >= 0].astype(np.int64)
    end = np.cumsum(np.bincount(rows, minlength=len(codes)))[rows] if len(rows) else rows
    order = np.argsort(items, kind="stable")
    bounds = np.searchsorted(items[order], np.arange(numbering.size + 1))
    for first in range(numbering.size):
        last = order[bounds[first] : bounds[first + 1]]
        keys = np.full(len(last), first, np.int64)
        for size in range(2, length + 1):
            more = end[last] - last - 1
            origin = np.repeat(np.arange(len(last)), more)
            following = last[origin] + 1 + np.arange(len(origin)) - np.repeat(np.cumsum(more) - more, more)
            if size > 2:
                kept = pairs[items[last[origin]], items[following]] & pairs[first, items[following]]
                origin, following = origin[kept], following[kept]
            keys = keys[origin] << numbering.bits | items[following]
            last = following
            if not len(keys):
                break
            yield size, keys
            if size == 2:
                kept = pairs[first, items[last]]
                keys, last = keys[kept], last[kept]


def common(codes: Codes, *, numbering: Numbering, length: int, k: int) -> dict[int, tuple[Ints, Ints]]:
    """Find all combinations that at least ``k`` rows contain.

    Args:
        codes: int32 (rows, columns), attribute numbers.
        numbering: the numbers of attributes.
        length: the longest combination.
        k: the smallest number of rows.

    Returns:
        By length: the keys of the combinations, ascending, and how many rows contain each.
    """
    single = counts(codes, size=numbering.size)
    often = np.flatnonzero(single >= k)
    parts: dict[int, list[tuple[Ints, Ints]]] = {1: [(often, single[often])], **{size: [] for size in range(2, length + 1)}}
    kept = np.append(single >= k, [False, False])
    thinned = np.where(kept[codes], codes, MISSING)
    pairs = pair_table(thinned, numbering=numbering) >= k
    for size, keys in combinations(thinned, numbering=numbering, length=length, pairs=pairs):
        values, times = tally(keys)
        parts[size].append((values[times >= k], times[times >= k]))
    empty = np.empty(0, np.int64)
    return {
        size: (np.concatenate([keys for keys, _ in own] or [empty]), np.concatenate([times for _, times in own] or [empty]))
        for size, own in parts.items()
    }


def pair_table(codes: Codes, *, numbering: Numbering) -> Ints:
    """How many rows hold each pair of attributes, the lower first: a table of attribute by attribute."""
    size = numbering.size
    table = np.zeros(size * size, np.int64)
    for left in range(codes.shape[1]):
        for right in range(left + 1, codes.shape[1]):
            both = (codes[:, left] >= 0) & (codes[:, right] >= 0)
            table += np.bincount(codes[both, left].astype(np.int64) * size + codes[both, right], minlength=size * size)
    return table.reshape(size, size)


def tally(keys: Ints) -> tuple[Ints, Ints]:
    """The distinct keys, ascending, and how often each occurs."""
    ordered = np.sort(keys)
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    return ordered[starts], np.diff(starts, append=len(ordered))


def place_of(keys: Ints, *, among: Ints) -> Ints:
    """Where each key stands in ``among``, which is ascending; -1 if it does not."""
    if not len(among):
        return np.full(len(keys), -1)
    place = np.minimum(np.searchsorted(among, keys), len(among) - 1)
    return np.where(among[place] == keys, place, -1)
