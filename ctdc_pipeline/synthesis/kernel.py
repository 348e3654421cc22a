"""The compiled inner loops of k-synthetic data: which combinations are common, and which of them a record keeps.

Everything here works on whole numbers: an attribute is its number in ``ctdc_pipeline.counting.attributes``. numba compiles the
functions and keeps the result on disk. They share one file because numba's cache notices changes only within a file. They release
the interpreter lock. What they compute for one entry depends on that entry alone, never on the thread.

Random numbers come from SplitMix64 (Steele, Lea, Flood 2014): a counter put through a mixing function. So a draw depends only on
the seed and on what is drawn for.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ctdc_pipeline.operations.compilation import compiled, leaf, part

Ints = npt.NDArray[np.int64]
Attributes = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint64]
Reals = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Whole = int | np.int64 | np.int32

# Tuning: all constants of the method that trade fidelity for time or one kind of error for another. ``docs/method.md`` says how
# they were found. Weights are relative to mean preservation, each over all common pairs.
ERROR_WEIGHT = 4.0
"""Weight of total error."""
PAIR_PRESENCE_WEIGHT = 0.6
"""Weight of the share of common pairs that appear at all."""
TRIPLE_PRESENCE_WEIGHT = 0.08
"""Weight of each triple that appears, relative to a pair."""
CORE_PAIR_ERROR_WEIGHT = 2.05
"""Weight of the error of a pair of two core variables; other pairs have 1."""
MAX_PRICE_FACTOR = 2.0
"""By how much a value's price may rise or fall with what is left of it."""
REDACTION_TRIES = 12
"""Random maximal combinations compared per entry in redaction."""
RECONSIDERATION_TRIES = 3
"""Random maximal combinations compared whenever an entry is reconsidered."""
KEEP_SHARE = 0.25
"""Share of the entries not common as a whole whose remainder becomes a record at once; the others' values go into the pool."""
BUILD_QUANTILES = (*np.linspace(0.975, 0.05, 38), 0.03, 0.02, 0.01)
"""Quantiles of the entries' worth per value, from which records are built, one after another."""
MAX_RECORDS_PER_ENTRY = 2
"""Records built from one entry in a round; more of the same make its triples too frequent."""
MAX_REBUILD_ROUNDS = 4
"""Times that some records are taken apart and built again, as long as the objective rises."""
REBUILD_SHARE = 0.35
"""Share of the records that a round takes apart, at random."""
MIN_WHOLE_SHARE = 0.05
"""Share of records common as a whole above which a round is also tried with those taken apart."""
MAX_REBUILD_ENTRIES = 750_000
"""Entries, which are in random order, that may make records in a round; they suffice for a larger table."""
RECORDS_COMPARED_PER_VALUE = 100
"""Records compared in suppression for each value to remove."""
ENTRIES_PER_TASK = 1024
"""Entries that one thread takes at a time."""
ENTRIES_PER_BLOCK = 8192
"""Entries reconsidered on the same state of the pool."""
TRIPLE_SLOTS = 1 << 22
"""Slots of the hash of triples, a power of two."""
MAX_VALUES = 62
"""Values of one record that are looked at: a set of them is a bit mask in an int64."""
MAX_LISTED_RECORDS = 2048
"""Records listed for a pair. Longer lists are cut; this can only cause false rejections, never false acceptance."""
MAX_REMEMBERED_SETS = 256
"""Sets remembered as common, and as many as rare, while one entry is worked on."""
FAVOUR_FACTORS = (-np.log((np.arange(256) + 0.5) / 256)) ** -0.3
"""256 quantiles of a Fréchet distribution of shape 1 / 0.3.

The largest of several worths, each multiplied by such a factor, is a draw in proportion to worth ** (1 / 0.3), because the
distribution is max-stable.
"""

HEAVY_SLICE = 0
"""The bit slice that marks records of a weight above 1."""
BELOW_ONE = 1.0 - 2.0**-53
"""The largest float64 below 1."""


class SensitiveIndex(NamedTuple):
    """The distinct sensitive records, and where each common pair of attributes occurs in them.

    The listed records of a pair are stored twice: as numbers in ``rows``, and as bit slices (O'Neil, Quass 1997), by which 64
    records are compared at once. A slice has one bit of each listed record. The slices of one slot follow each other from
    ``slice_start`` on, each ``words_for(row_count)`` long.

    Attributes:
        offsets: int64 (records + 1); record ``r`` has ``items[offsets[r] : offsets[r + 1]]``.
        items: int32, the attributes of each record, ascending; all are common.
        weights: int64 (records), input rows per distinct record.
        keys: int64 (slots), an open-addressed hash of the common pairs: ``a * attributes + b`` with a < b, or -1 in a free slot.
        support: int64 (slots), input rows with the pair.
        error_weight: float64 (slots), weight of the pair's error.
        row_start: int64 (slots), where the pair's listed records start in ``rows``.
        row_count: int64 (slots), how many records are listed for the pair.
        rows: int32, numbers of records.
        slice_start: int64 (slots), where the pair's slices start in ``slices``.
        slices: uint64; slice ``HEAVY_SLICE`` marks records of a weight above 1.
        first_slice: int64 (attributes), the first slice of the attribute's column.
        slice_count: int64 (attributes), how many slices that column has.
        number_in_column: int64 (attributes), what these slices contain for the attribute, lowest bit first; 0 is missing.
        attributes: how many attributes there are.
        k: the resolution.
    """

    offsets: Ints
    items: Attributes
    weights: Ints
    keys: Ints
    support: Ints
    error_weight: Reals
    row_start: Ints
    row_count: Ints
    rows: Attributes
    slice_start: Ints
    slices: Words
    first_slice: Ints
    slice_count: Ints
    number_in_column: Ints
    attributes: int
    k: int


class Neighbours(NamedTuple):
    """For each attribute, those that form a common pair with it.

    Attributes:
        first: int64 (attributes + 1); attribute ``a`` has the places ``first[a]`` to ``first[a + 1]`` of the other two.
        attribute: int32, the other attribute of the pair.
        slot: int64, the slot of the pair.
    """

    first: Ints
    attribute: Attributes
    slot: Ints


class Entries(NamedTuple):
    """What may become a record: a sensitive record, or one copy of it, reduced to a common combination.

    Attributes:
        record: int64 (entries), the number of the sensitive record.
        chosen: int64 (entries), the values kept: bit ``x`` is the record's value ``x``.
        score: float64 (entries), what they were worth when last looked at.
    """

    record: Ints
    chosen: Ints
    score: Reals


class Supply(NamedTuple):
    """What is left to build records from.

    Attributes:
        pool: int64 (attributes), values left.
        deficit: int64 (slots), by how much each pair is rarer than in the sensitive data; below 0, more frequent.
        seen: bool (TRIPLE_SLOTS), which hashes of triples the records built so far contain.
    """

    pool: Ints
    deficit: Ints
    seen: Flags


class Output(NamedTuple):
    """The records built so far. Record ``r`` is ``items[ends[r - 1] : ends[r]]``.

    Attributes:
        items: int32 (room), attributes.
        ends: int64 (room), where each record ends.
        size: int64 (1), how many records there are.
    """

    items: Attributes
    ends: Ints
    size: Ints


class Aims(NamedTuple):
    """Weights of the objective, against preservation (see ``worth``): total error, and that a pair or a triple appears at all."""

    error: float
    pair: float
    triple: float


class Choice(NamedTuple):
    """How a combination is chosen.

    Attributes:
        aims: weights of the objective.
        price: float64 (attributes), by which the worth of an attribute's pairs is multiplied.
        guided: prefer what is worth more; else every order of attributes is equally likely (the published method).
        tries: random maximal combinations to compare.
    """

    aims: Aims
    price: Reals
    guided: bool
    tries: int


class Scratch(NamedTuple):
    """What ``choose`` writes to while it works on one entry; made once and used again.

    Attributes:
        slots: int64 (MAX_VALUES, MAX_VALUES), the slot of each two values, -1 for a rare pair.
        value: float64 (MAX_VALUES, MAX_VALUES), what each pair is worth.
        gain: float64 (MAX_VALUES), what each value adds to those kept.
        kept: int64 (MAX_VALUES), the values kept so far, in the order of the draws.
        common: int64 (MAX_REMEMBERED_SETS), sets known to be common, as masks.
        rare: int64 (MAX_REMEMBERED_SETS), sets known to be rare, as masks.
        remembered: int64 (2), how many sets ``common`` and ``rare`` have.
        listing: int64 (2), the slot whose rows are marked in ``match`` or -1, and the values that those rows were narrowed to.
        match: uint64 (words), a bit per listed row: those that contain all of these values.
        trial: uint64 (words), likewise, with one value more.
        values: int32 (MAX_VALUES), a combination as attributes.
        random: uint64 (3), the state, random bytes drawn from it, and how many of them are unused.
    """

    slots: Ints
    value: Reals
    gain: Reals
    kept: Ints
    common: Ints
    rare: Ints
    remembered: Ints
    listing: Ints
    match: Words
    trial: Words
    values: Attributes
    random: Words


class Candidates(NamedTuple):
    """What ``consolidate`` writes to while it looks for the next value of a record.

    Attributes:
        attribute: int32 (attributes), the candidates.
        rank: float64 (attributes), in which order they are tried, the highest first.
        match: uint64 (words), a bit per listed row.
    """

    attribute: Attributes
    rank: Reals
    match: Words


@compiled
def new_scratch() -> Scratch:
    """Make room for an entry of any size."""
    return Scratch(
        np.empty((MAX_VALUES, MAX_VALUES), np.int64),
        np.empty((MAX_VALUES, MAX_VALUES)),
        np.empty(MAX_VALUES),
        np.empty(MAX_VALUES, np.int64),
        np.empty(MAX_REMEMBERED_SETS, np.int64),
        np.empty(MAX_REMEMBERED_SETS, np.int64),
        np.zeros(2, np.int64),
        np.zeros(2, np.int64),
        np.empty(words_for(MAX_LISTED_RECORDS), np.uint64),
        np.empty(words_for(MAX_LISTED_RECORDS), np.uint64),
        np.empty(MAX_VALUES, np.int32),
        np.zeros(3, np.uint64),
    )


# --- Random numbers


@leaf
def mix(x: np.uint64) -> np.uint64:
    """Return 64 bits that depend on every bit of ``x``: the finaliser of SplitMix64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@leaf
def step(state: np.uint64) -> np.uint64:
    """Return the state of the next draw: the counter of SplitMix64."""
    return state + np.uint64(0x9E3779B97F4A7C15)


@leaf
def stream(seed: int, number: int) -> np.uint64:
    """Return the state from which the draws for entry ``number`` start (multiplier: Steele, Vigna 2021)."""
    return mix(mix(np.uint64(seed)) ^ (np.uint64(number) * np.uint64(0xD1342543DE82EF95)))


@leaf
def uniform(state: np.uint64) -> float:
    """Return a number above 0 and below 1, of 53 random bits."""
    return min(((mix(state) >> np.uint64(11)) + 0.5) * (1.0 / 9007199254740992.0), BELOW_ONE)


@leaf
def favoured(value: float, byte: np.uint64) -> float:
    """Multiply ``value`` by a random factor: of several, mostly the largest stays so, now and then another wins."""
    return value * FAVOUR_FACTORS[byte & np.uint64(255)]


# --- The index of common pairs


@leaf
def find_slot(keys: Ints, key: Whole) -> Whole:
    """Return the slot of ``key``, or the free slot where it would go."""
    last = np.uint64(len(keys) - 1)
    slot = mix(np.uint64(key)) & last
    while keys[slot] != key and keys[slot] >= 0:
        slot = (slot + np.uint64(1)) & last
    return np.int64(slot)


@leaf
def pair_slot(index: SensitiveIndex, a: Whole, b: Whole) -> Whole:
    """Return the slot of the pair of two attributes, or -1 when it is rare."""
    key = np.int64(b) * index.attributes + a if a > b else np.int64(a) * index.attributes + b
    slot = find_slot(index.keys, key)
    return slot if index.keys[slot] == key else np.int64(-1)


@compiled
def flat_records(codes: Attributes) -> tuple[Ints, Attributes]:
    """Turn records of attribute numbers or -1, int32 (records, columns), into ``offsets`` and ``items`` of SensitiveIndex."""
    offsets = np.zeros(len(codes) + 1, np.int64)
    for record in range(len(codes)):
        offsets[record + 1] = offsets[record] + np.sum(codes[record] >= 0)
    items = np.empty(offsets[-1], np.int32)
    end = 0
    for record in range(len(codes)):
        for attribute in codes[record]:
            if attribute >= 0:
                items[end] = attribute
                end += 1
    return offsets, items


@compiled
def count_pairs(offsets: Ints, items: Attributes, weights: Ints, attributes: int) -> tuple[Ints, Ints]:
    """Count every pair that occurs. Returns a hash: ``keys`` and ``support`` of SensitiveIndex."""
    keys = np.full(1 << 12, -1, np.int64)
    support = np.zeros(1 << 12, np.int64)
    used = 0
    for record in range(len(offsets) - 1):
        for x in range(offsets[record], offsets[record + 1]):
            # Make room for all pairs of one attribute first: in a full table the search for a free slot never ends.
            while (used + offsets[record + 1] - x) * 2 > len(keys):
                keys, support = rehash(keys, support, len(keys) * 4)
            for y in range(x + 1, offsets[record + 1]):
                key = np.int64(items[x]) * attributes + items[y]
                slot = find_slot(keys, key)
                if keys[slot] < 0:
                    keys[slot] = key
                    used += 1
                support[slot] += weights[record]
    return keys, support


@compiled
def rehash(keys: Ints, support: Ints, size: int) -> tuple[Ints, Ints]:
    """Move the filled slots of a hash into another of ``size`` slots (a power of two)."""
    new_keys = np.full(size, -1, np.int64)
    new_support = np.zeros(size, np.int64)
    for slot in range(len(keys)):
        if keys[slot] >= 0:
            new_slot = find_slot(new_keys, keys[slot])
            new_keys[new_slot] = keys[slot]
            new_support[new_slot] = support[slot]
    return new_keys, new_support


@compiled
def list_rows(offsets: Ints, items: Attributes, keys: Ints, attributes: int) -> tuple[Ints, Ints, Attributes]:
    """List the first MAX_LISTED_RECORDS records of each pair in ``keys``.

    Returns:
        ``row_start``, ``row_count`` and ``rows`` of SensitiveIndex.
    """
    start = np.zeros(len(keys), np.int64)
    count = np.zeros(len(keys), np.int64)
    rows = np.empty(0, np.int32)
    for filling in range(2):  # the first time only counts
        if filling:
            start[1:] = np.cumsum(count)[:-1]
            rows = np.empty(count.sum(), np.int32)
            count[:] = 0
        for record in range(len(offsets) - 1):
            for x in range(offsets[record], offsets[record + 1]):
                for y in range(x + 1, offsets[record + 1]):
                    key = np.int64(items[x]) * attributes + items[y]
                    slot = find_slot(keys, key)
                    if keys[slot] == key and count[slot] < MAX_LISTED_RECORDS:
                        if filling:
                            rows[start[slot] + count[slot]] = record
                        count[slot] += 1
    return start, count, rows


@leaf
def transpose(block: Words) -> None:
    """Transpose a 64 x 64 matrix of bits, a word a row, in place: bit ``y`` of word ``x`` becomes bit ``x`` of word ``y``.

    By blocks of half the size each time (Warren, Hacker's Delight, 7-3).
    """
    mask = np.uint64(0x00000000FFFFFFFF)
    size = 32
    while size:
        shift = np.uint64(size)
        x = 0
        while x < 64:
            swap = ((block[x] >> shift) ^ block[x | size]) & mask
            block[x] ^= swap << shift
            block[x | size] ^= swap
            x = ((x | size) + 1) & ~size
        size >>= 1
        mask ^= mask << np.uint64(size)


@leaf
def words_for(rows: Whole) -> Whole:
    """Return how many 64-bit words have a bit for each of ``rows``."""
    return rows + 63 >> 6


@compiled
def slice_rows(packed: Words, rows: Attributes, row_start: Ints, row_count: Ints) -> tuple[Ints, Words]:
    """Make the bit slices of each slot's listed records.

    Args:
        packed: uint64 (records, words), each record as bits; bit ``b`` of word ``w`` is for slice ``64 * w + b``.
        rows: as in SensitiveIndex; so ``row_start`` and ``row_count``.

    Returns:
        ``slice_start`` and ``slices`` of SensitiveIndex.
    """
    slice_start = np.zeros(len(row_count), np.int64)
    for slot in range(1, len(row_count)):
        slice_start[slot] = slice_start[slot - 1] + (packed.shape[1] << 6) * words_for(row_count[slot - 1])
    slices = np.empty(slice_start[-1] + (packed.shape[1] << 6) * words_for(row_count[-1]), np.uint64)
    block = np.empty(64, np.uint64)
    for slot in range(len(row_count)):
        size = words_for(row_count[slot])
        for word in range(packed.shape[1]):
            for block_number in range(size):
                first_row = block_number << 6
                filled = min(64, row_count[slot] - first_row)
                for x in range(filled):
                    block[x] = packed[rows[row_start[slot] + first_row + x], word]
                block[filled:] = 0
                transpose(block)
                first = slice_start[slot] + (word << 6) * size + block_number
                for x in range(64):
                    slices[first + x * size] = block[x]
    return slice_start, slices


@compiled
def neighbours_of(index: SensitiveIndex) -> Neighbours:
    """List for each attribute those that form a common pair with it."""
    first = np.zeros(index.attributes + 1, np.int64)
    for key in index.keys:
        if key >= 0:
            first[key // index.attributes + 1] += 1
            first[key % index.attributes + 1] += 1
    first = np.cumsum(first)
    end = first[:-1].copy()
    attribute = np.empty(first[-1], np.int32)
    slots = np.empty(first[-1], np.int64)
    for slot in range(len(index.keys)):
        if index.keys[slot] >= 0:
            a, b = index.keys[slot] // index.attributes, index.keys[slot] % index.attributes
            attribute[end[a]], slots[end[a]] = b, slot
            attribute[end[b]], slots[end[b]] = a, slot
            end[a] += 1
            end[b] += 1
    return Neighbours(first, attribute, slots)


# --- Whether a combination is common


@leaf
def popcount(x: np.uint64) -> np.uint64:
    """Return how many bits of ``x`` are set (Warren, Hacker's Delight, 5-1)."""
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    return (((x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)) * np.uint64(0x0101010101010101)) >> np.uint64(56)


@leaf
def mark_all(index: SensitiveIndex, slot: Whole, match: Words) -> None:
    """Mark every listed row of the pair ``slot`` in ``match``, a bit a row."""
    size = words_for(index.row_count[slot])
    match[:size] = ~np.uint64(0)
    match[size - 1] >>= np.uint64(-index.row_count[slot] & 63)


@leaf
def narrow(index: SensitiveIndex, slot: Whole, attribute: Whole, match: Words, narrowed: Words) -> None:
    """Mark in ``narrowed`` those listed rows of ``slot`` that ``match`` marks and that contain ``attribute``."""
    size = words_for(index.row_count[slot])
    first = index.slice_start[slot] + index.first_slice[attribute] * size
    for bit in range(index.slice_count[attribute]):
        flip = np.uint64((index.number_in_column[attribute] >> bit & 1) - 1)
        bits = index.slices[first : first + size]
        if bit:
            for x in range(size):
                narrowed[x] &= bits[x] ^ flip
        else:
            for x in range(size):
                narrowed[x] = match[x] & (bits[x] ^ flip)
        first += size


@leaf
def reaches_k(index: SensitiveIndex, slot: Whole, match: Words) -> bool:
    """Whether the listed rows of ``slot`` that ``match`` marks stand for at least k input rows."""
    size = words_for(index.row_count[slot])
    marked = np.uint64(0)
    for x in range(size):
        marked += popcount(match[x])
    if marked >= np.uint64(index.k):
        return True
    if not marked:
        return False
    total = np.int64(marked)
    first = index.slice_start[slot] + HEAVY_SLICE * size
    heavy = index.slices[first : first + size]
    for x in range(size):
        several = match[x] & heavy[x]
        while several:
            lowest = several & (~several + np.uint64(1))
            row = np.int64(popcount(lowest - np.uint64(1)))
            total += index.weights[index.rows[index.row_start[slot] + (x << 6) + row]] - 1
            several ^= lowest
    return bool(total >= index.k)


# --- What records are worth


@leaf
def worth(index: SensitiveIndex, slot: int, deficit: Ints, aims: Aims) -> float:
    """Return what one more synthetic record with this pair is worth, in preservation summed over all pairs.

    Preservation grows by 1 / support and total error falls by a constant, ``aims.error`` on the same scale. That the pair
    appears at all is worth ``aims.pair``. Once it is as frequent as in the sensitive data, more of it is error.
    """
    if deficit[slot] <= 0:
        return -aims.error * index.error_weight[slot]
    presence = aims.pair if deficit[slot] == index.support[slot] else 0.0
    return 1.0 / index.support[slot] + aims.error * index.error_weight[slot] + presence


@leaf
def triple_hash(a: Whole, b: Whole, c: Whole) -> np.uint64:
    """Return a hash of three attributes, given in ascending order."""
    return mix(mix(np.uint64(a) << np.uint64(32) | np.uint64(b)) ^ np.uint64(c))


@leaf
def new_triples(seen: Flags, values: Attributes, mark: bool) -> int:
    """Return how many triples of ``values`` no built record contains yet; with ``mark``, remember them.

    ``seen`` has a flag per hash, so one triple may be taken for another; this only makes it look less new.
    """
    new = 0
    last = np.uint64(len(seen) - 1)
    for x in range(len(values)):
        for y in range(x + 1, len(values)):
            for z in range(y + 1, len(values)):
                slot = triple_hash(values[x], values[y], values[z]) & last
                if not seen[slot]:
                    new += 1
                    seen[slot] = mark
    return new


@part
def record_worth(index: SensitiveIndex, values: Attributes, supply: Supply, aims: Aims) -> float:
    """Return what a record of ``values``, a common combination, would be worth now."""
    total = 0.0
    for x in range(len(values)):
        for y in range(x + 1, len(values)):
            total += worth(index, pair_slot(index, values[x], values[y]), supply.deficit, aims)
    if aims.triple > 0:
        total += aims.triple * new_triples(supply.seen, values, False)
    return total


# --- Phase 1: what an entry keeps


@leaf
def choose(
    index: SensitiveIndex, held: Attributes, supply: Supply, choice: Choice, state: np.uint64, scratch: Scratch
) -> tuple[Whole, float]:
    """Choose a common combination of the attributes ``held``: the best of ``choice.tries`` random maximal ones.

    Args:
        index: the sensitive records.
        held: int32 (at most MAX_VALUES), ascending.
        supply: what the combination's worth depends on.
        choice: how to choose.
        state: where the random draws start.
        scratch: room to work in.

    Returns:
        The combination as a mask over positions in ``held``, and its worth.
    """
    weigh_pairs(index, held, supply.deficit, choice, scratch)
    scratch.remembered[:] = 0
    scratch.random[0] = state
    scratch.random[2] = 0
    best = np.int64(0)
    most = -np.inf
    for _ in range(choice.tries):
        chosen, total = grow(index, held, choice.guided, scratch)
        if choice.aims.triple > 0:
            length = 0
            for x in range(len(held)):
                if chosen >> x & 1:
                    scratch.values[length] = held[x]
                    length += 1
            total += choice.aims.triple * new_triples(supply.seen, scratch.values[:length], False)
        if total > most:
            most = total
            best = chosen
    return best, most


@part
def weigh_pairs(index: SensitiveIndex, held: Attributes, deficit: Ints, choice: Choice, scratch: Scratch) -> None:
    """Fill ``scratch.slots`` and ``scratch.value``: the worth of each pair, times the prices of its two attributes."""
    for x in range(len(held)):
        for y in range(x + 1, len(held)):
            slot = pair_slot(index, held[x], held[y])
            value = worth(index, slot, deficit, choice.aims) if slot >= 0 else 0.0
            if value > 0:
                value *= choice.price[held[x]] * choice.price[held[y]]
            scratch.slots[x, y] = scratch.slots[y, x] = slot
            scratch.value[x, y] = scratch.value[y, x] = value


@part
def grow(index: SensitiveIndex, held: Attributes, guided: bool, scratch: Scratch) -> tuple[Whole, float]:
    """Add one random attribute after another as long as the combination stays common.

    ``guided``: prefer attributes worth more together with those kept, and add none that is worth nothing.

    Returns:
        The combination as a mask over positions in ``held``, and the worth of its pairs.
    """
    size = len(held)
    gain, kept = scratch.gain, scratch.kept
    gain[:size] = 0.0
    scratch.listing[0] = -1
    total = 0.0
    length = 0
    chosen = np.int64(0)
    rarest = np.int64(-1)
    remaining = (np.int64(1) << size) - 1
    while remaining:
        if guided and length:
            added = draw_guided(gain[:size], remaining, scratch.random)
            if added < 0:
                break
        else:
            added = draw_evenly(size, remaining, scratch.random)
        remaining &= ~(np.int64(1) << added)
        slot = rarest_pair(index, scratch.slots, kept[:length], added, rarest)
        if length and slot < 0:
            continue
        wider = chosen | np.int64(1) << added
        if length >= 2 and not is_common(index, held, wider, kept[:length], added, slot, scratch):
            continue
        total += float(gain[added])
        for x in range(size):
            gain[x] += scratch.value[x, added]
        kept[length] = added
        length += 1
        chosen = wider
        rarest = slot
    return chosen, total


@part
def draw_guided(gain: Reals, remaining: Whole, random: Words) -> int:
    """Draw one of the positions ``remaining`` (a mask), with a preference for gain; -1 when none gains anything."""
    drawn = -1
    most = 0.0
    state, spare, unused = random[0], random[1], random[2]
    for x in range(len(gain)):
        if remaining >> x & 1 and gain[x] > 0:
            if not unused:
                state = step(state)
                spare = mix(state)
                unused = np.uint64(8)
            unused -= np.uint64(1)
            rank = favoured(gain[x], spare)
            spare >>= np.uint64(8)
            if rank > most:
                most = rank
                drawn = x
    random[0], random[1], random[2] = state, spare, unused
    return drawn


@part
def draw_evenly(size: int, remaining: Whole, random: Words) -> int:
    """Draw one of the positions ``remaining`` (a mask of ``size`` bits, not 0), each equally likely."""
    random[0] = step(random[0])
    skipped = int(uniform(random[0]) * popcount(np.uint64(remaining)))
    for x in range(size):
        if remaining >> x & 1:
            if not skipped:
                return x
            skipped -= 1
    return -1


@part
def rarest_pair(index: SensitiveIndex, slots: Ints, kept: Ints, added: int, rarest: Whole) -> Whole:
    """Return the slot of the rarest pair among ``kept`` and ``added``; -1 when a pair is not common.

    ``rarest``: the slot of the rarest pair among ``kept``, -1 while there is none.
    """
    for x in range(len(kept)):
        slot = slots[kept[x], added]
        if slot < 0:
            return np.int64(-1)
        if rarest < 0 or index.support[slot] < index.support[rarest]:
            rarest = slot
    return rarest


@part
def is_common(
    index: SensitiveIndex, held: Attributes, wider: Whole, kept: Ints, added: int, rarest: Whole, scratch: Scratch
) -> bool:
    """Whether a common combination stays common with one attribute more.

    Args:
        index: the sensitive records.
        held: int32, attributes; all positions and masks below refer to it.
        wider: the mask of the combination with the attribute.
        kept: int64, positions of the combination without it.
        added: position of the attribute.
        rarest: slot of the rarest pair in the wider combination.
        scratch: what is remembered of the sets looked at so far.
    """
    remembered, listing, match, trial = scratch.remembered, scratch.listing, scratch.match, scratch.trial
    known = recall(wider, scratch.common[: remembered[0]], scratch.rare[: remembered[1]])
    if known:
        return known > 0
    # Rows marked for a combination serve every wider one. A list that was cut is given up for that of a rarer pair.
    if listing[0] < 0 or (rarest != listing[0] and index.row_count[listing[0]] == MAX_LISTED_RECORDS):
        listing[0] = rarest
        listing[1] = 0
        mark_all(index, rarest, match)
    source = listing[0]
    for position in kept:
        if not listing[1] >> position & 1:
            narrow(index, source, held[position], match, match)
            listing[1] |= np.int64(1) << position
    narrow(index, source, held[added], match, trial)
    if not reaches_k(index, source, trial):
        remember(wider, scratch.rare, remembered, 1)
        return False
    for x in range(words_for(index.row_count[source])):
        match[x] = trial[x]
    listing[1] |= np.int64(1) << added
    remember(wider, scratch.common, remembered, 0)
    return True


@part
def recall(mask: Whole, common: Ints, rare: Ints) -> int:
    """Return 1 when ``mask`` is part of a set known to be common, -1 when it contains one known to be rare, else 0."""
    for known in common:
        if mask & known == mask:
            return 1
    for known in rare:
        if mask & known == known:
            return -1
    return 0


@part
def remember(mask: Whole, sets: Ints, remembered: Ints, kind: int) -> None:
    """Add ``mask`` to ``sets`` while there is room; ``remembered[kind]`` says how many it has."""
    if remembered[kind] < MAX_REMEMBERED_SETS:
        sets[remembered[kind]] = mask
        remembered[kind] += 1


@compiled
def redact(index: SensitiveIndex, entries: Entries, first: int, last: int, supply: Supply, choice: Choice, seed: int) -> None:
    """Decide what the entries from ``first`` to before ``last`` keep; writes ``chosen`` and ``score`` of ``entries``.

    What is common as a whole keeps everything.
    """
    scratch = new_scratch()
    for entry in range(first, last):
        record = entries.record[entry]
        begin = index.offsets[record]
        size = min(index.offsets[record + 1] - begin, MAX_VALUES)
        held = index.items[begin : begin + size]
        if index.weights[record] >= index.k:
            entries.chosen[entry] = (np.int64(1) << size) - 1
            score = 0.0
            for x in range(size):
                for y in range(x + 1, size):
                    score += worth(index, pair_slot(index, held[x], held[y]), supply.deficit, choice.aims)
            entries.score[entry] = score
        else:
            entries.chosen[entry], entries.score[entry] = choose(index, held, supply, choice, stream(seed, entry), scratch)


# --- Phase 2: records from the pool


@compiled
def reconsider(index: SensitiveIndex, entries: Entries, numbers: Ints, supply: Supply, choice: Choice, seed: int) -> None:
    """Choose again for the entries ``numbers``, from those of their record's values that are still in the pool."""
    held = np.empty(MAX_VALUES, np.int32)
    position_in_record = np.empty(MAX_VALUES, np.int64)
    scratch = new_scratch()
    for entry in numbers:
        record = entries.record[entry]
        begin = index.offsets[record]
        size = 0
        for x in range(min(index.offsets[record + 1] - begin, MAX_VALUES)):
            if supply.pool[index.items[begin + x]] > 0:
                held[size] = index.items[begin + x]
                position_in_record[size] = x
                size += 1
        best, entries.score[entry] = choose(index, held[:size], supply, choice, stream(seed, entry), scratch)
        chosen = np.int64(0)
        for x in range(size):
            if best >> x & 1:
                chosen |= np.int64(1) << position_in_record[x]
        entries.chosen[entry] = chosen


@leaf
def build(
    index: SensitiveIndex,
    entries: Entries,
    numbers: Ints,
    threshold: float,
    supply: Supply,
    aims: Aims,
    output: Output,
    stale: Flags,
) -> None:
    """Build a record from each of the entries ``numbers`` whose combination is still worth enough.

    Moves values and pairs from ``supply`` to ``output``, and brings ``chosen`` and ``score`` of the entries up to date.

    Args:
        index: the sensitive records.
        entries: what may become a record.
        numbers: int64, the entries to look at, in this order.
        threshold: least worth per value.
        supply: what is left to build from.
        aims: weights of the objective.
        output: the records built so far.
        stale: bool, one per number; set where the entry is worth less than the threshold and so was not built.
    """
    for position in range(len(numbers)):
        entry = numbers[position]
        begin = index.offsets[entries.record[entry]]
        end = output_end(output)
        length = 0
        mask = np.int64(0)
        for x in range(MAX_VALUES):
            if entries.chosen[entry] >> x == 0:
                break
            if entries.chosen[entry] >> x & 1 and supply.pool[index.items[begin + x]] > 0:
                output.items[end + length] = index.items[begin + x]
                mask |= np.int64(1) << x
                length += 1
        values = output.items[end : end + length]
        total = record_worth(index, values, supply, aims)
        stale[position] = length == 0 or total < threshold * length
        entries.chosen[entry] = mask
        entries.score[entry] = total
        if not stale[position]:
            take(index, values, supply)
            append(output, length)


@part
def output_end(output: Output) -> Whole:
    """Return where the next record starts in ``output.items``."""
    records = int(output.size[0])
    return output.ends[records - 1] if records else np.int64(0)


@part
def append(output: Output, length: Whole) -> None:
    """Make the ``length`` values that follow the last record a record."""
    output.ends[output.size[0]] = output_end(output) + length
    output.size[0] += 1


@leaf
def take(index: SensitiveIndex, values: Attributes, supply: Supply) -> None:
    """Move a built record's values, pairs and triples out of the supply."""
    new_triples(supply.seen, values, True)
    for x in range(len(values)):
        supply.pool[values[x]] -= 1
        for y in range(x + 1, len(values)):
            supply.deficit[pair_slot(index, values[x], values[y])] -= 1


@leaf
def keep_records(index: SensitiveIndex, output: Output, stays: Flags, supply: Supply) -> None:
    """Remove the records that do not stay from ``output``.

    ``supply`` comes as it is without any record, and leaves as it is with those that stay. ``stays``: bool, one per record.
    """
    begin = np.int64(0)
    output.size[0] = 0
    for record in range(len(stays)):
        end = output.ends[record]
        if stays[record]:
            new_begin = output_end(output)
            for x in range(end - begin):
                output.items[new_begin + x] = output.items[begin + x]
            take(index, output.items[new_begin : new_begin + end - begin], supply)
            append(output, end - begin)
        begin = end


@leaf
def consolidate(
    index: SensitiveIndex,
    neighbours: Neighbours,
    seeds: Attributes,
    supply: Supply,
    aims: Aims,
    guided: bool,
    seed: int,
    output: Output,
    candidates: Candidates,
) -> None:
    """Grow each of ``seeds``, values drawn from the pool, into a record while anything fits.

    A value fits when it is in the pool, its column is free and the combination stays common.

    Args:
        index: the sensitive records.
        neighbours: the common pairs of each attribute.
        seeds: int32, attributes; those no longer in the pool are passed over.
        supply: what is left to build from.
        aims: weights of the objective.
        guided: prefer what is worth more; else each value left in the pool is equally likely (the published method).
        seed: of the random draws.
        output: the records built so far.
        candidates: room to work in.
    """
    for first_value in seeds:
        if supply.pool[first_value] <= 0:
            continue
        state = stream(seed, output.size[0])
        end = output_end(output)
        rarest = np.int64(-1)
        length = 0
        added = first_value
        while added >= 0:
            rarest = take_value(index, output.items[end : end + length], added, rarest, supply)
            output.items[end + length] = added
            length += 1
            values = output.items[end : end + length]
            count, state = list_candidates(index, neighbours, values, supply, aims, guided, state, candidates)
            added = first_that_fits(index, values, rarest, count, candidates)
        append(output, length)


@part
def take_value(index: SensitiveIndex, values: Attributes, added: Whole, rarest: Whole, supply: Supply) -> Whole:
    """Move one value, and its pairs with ``values``, out of the supply. Returns the slot of the rarest pair, now with it."""
    for value in values:
        slot = pair_slot(index, value, added)
        supply.deficit[slot] -= 1
        if rarest < 0 or index.support[slot] < index.support[rarest]:
            rarest = slot
    supply.pool[added] -= 1
    return rarest


@part
def list_candidates(
    index: SensitiveIndex,
    neighbours: Neighbours,
    values: Attributes,
    supply: Supply,
    aims: Aims,
    guided: bool,
    state: np.uint64,
    candidates: Candidates,
) -> tuple[int, np.uint64]:
    """List the values of the pool that form a common pair with each of ``values``, with a random rank.

    Returns:
        How many candidates there are, and the state of the random draws.
    """
    hub = 0  # the value with the fewest neighbours
    for x in range(1, len(values)):
        if neighbour_count(neighbours, values[x]) < neighbour_count(neighbours, values[hub]):
            hub = x
    count = 0
    for position in range(neighbours.first[values[hub]], neighbours.first[values[hub] + 1]):
        candidate = neighbours.attribute[position]
        if supply.pool[candidate] <= 0:
            continue
        total = worth(index, neighbours.slot[position], supply.deficit, aims)
        for x in range(len(values)):
            if x != hub:
                slot = pair_slot(index, values[x], candidate)
                if slot < 0:
                    total = np.nan
                    break
                total += worth(index, slot, supply.deficit, aims)
        if np.isnan(total):
            continue
        state = step(state)
        if not guided:  # the largest of these keys is a draw in proportion to the pool (Efraimidis, Spirakis 2006)
            total = np.log(uniform(state)) / supply.pool[candidate]
        elif total > 0:
            total = favoured(total, mix(state) >> np.uint64(56))
        candidates.attribute[count] = candidate
        candidates.rank[count] = total
        count += 1
    return count, state


@part
def neighbour_count(neighbours: Neighbours, attribute: Whole) -> Whole:
    """Return how many attributes form a common pair with ``attribute``."""
    return neighbours.first[attribute + 1] - neighbours.first[attribute]


@part
def first_that_fits(index: SensitiveIndex, values: Attributes, rarest: Whole, count: int, candidates: Candidates) -> Whole:
    """Return the candidate of the highest rank with which ``values`` stay common, or -1.

    ``rarest``: slot of the rarest pair among ``values``. ``count``: how many candidates there are.
    """
    while count:
        top = 0
        for x in range(1, count):
            if candidates.rank[x] > candidates.rank[top]:
                top = x
        candidate = candidates.attribute[top]
        if len(values) < 2:  # a neighbour: the pair is common
            return candidate
        slot = rarest
        for value in values:
            other_slot = pair_slot(index, value, candidate)
            if index.support[other_slot] < index.support[slot]:
                slot = other_slot
        match = candidates.match
        mark_all(index, slot, match)
        for value in values:
            narrow(index, slot, value, match, match)
        narrow(index, slot, candidate, match, match)
        if reaches_k(index, slot, match):
            return candidate
        count -= 1
        candidates.attribute[top] = candidates.attribute[count]
        candidates.rank[top] = candidates.rank[count]
    return np.int32(-1)


# --- Phase 3: counts rounded down


@leaf
def present_values(row: Attributes, values: Attributes) -> int:
    """Write the attributes of a row of ``codes`` to ``values``, ascending. Returns how many they are."""
    length = 0
    for attribute in row:
        if attribute >= 0:
            values[length] = attribute
            length += 1
    return length


@leaf
def loss_without(index: SensitiveIndex, values: Attributes, attribute: Whole, deficit: Ints, holders: Words, aims: Aims) -> float:
    """Return what the objective loses when a record of ``values`` gives up ``attribute``.

    ``holders``: uint64, records per hash of a triple.
    """
    total = 0.0
    last = np.uint64(len(holders) - 1)
    for y in range(len(values)):
        if values[y] == attribute:
            continue
        slot = pair_slot(index, values[y], attribute)
        deficit[slot] += 1
        total += worth(index, slot, deficit, aims)
        deficit[slot] -= 1
        for z in range(y + 1, len(values)):
            if values[z] != attribute:
                low, high = min(values[y], attribute), max(values[z], attribute)
                triple = triple_hash(low, values[y] + values[z] + attribute - low - high, high) & last
                total += aims.triple * (holders[triple] == 1)
    return total


@leaf
def count_record(index: SensitiveIndex, values: Attributes, deficit: Ints, holders: Words, change: int) -> None:
    """Count the pairs and triples of a record that joins (``change`` 1) or leaves (-1)."""
    last = np.uint64(len(holders) - 1)
    for x in range(len(values)):
        for y in range(x + 1, len(values)):
            deficit[pair_slot(index, values[x], values[y])] -= change
            for z in range(y + 1, len(values)):
                holders[triple_hash(values[x], values[y], values[z]) & last] += np.uint64(change)


@compiled
def suppress(index: SensitiveIndex, codes: Attributes, order: Ints, surplus: Ints, aims: Aims) -> None:
    """Remove ``surplus`` values of each attribute from ``codes`` where the objective loses least.

    Args:
        index: the sensitive records.
        codes: int32 (records, columns), attribute numbers or -1; changed in place.
        order: int64 (records); of an attribute's records, the first in this order are compared.
        surplus: int64 (attributes), values to remove; 0 afterwards.
        aims: weights of the objective.
    """
    deficit = index.support.copy()
    holders = np.zeros(TRIPLE_SLOTS, np.uint64)
    values = np.empty(codes.shape[1], np.int32)
    for record in range(len(codes)):
        length = present_values(codes[record], values)
        count_record(index, values[:length], deficit, holders, 1)
    first, cells = cells_by_attribute(codes, order, len(surplus))
    for attribute in range(len(surplus)):
        end = min(first[attribute + 1], first[attribute] + RECORDS_COMPARED_PER_VALUE * surplus[attribute])
        compared = cells[first[attribute] : end]
        while surplus[attribute] > 0:
            loss = np.full(len(compared), np.inf)
            for x in range(len(compared)):
                if codes[compared[x, 0], compared[x, 1]] == attribute:
                    length = present_values(codes[compared[x, 0]], values)
                    loss[x] = loss_without(index, values[:length], attribute, deficit, holders, aims)
            for x in np.argsort(loss, kind="mergesort"):
                record, column = compared[x, 0], compared[x, 1]
                if surplus[attribute] == 0 or codes[record, column] != attribute:
                    break
                length = present_values(codes[record], values)
                # Values removed meanwhile may have made this the last record of a pair; then others come first.
                if loss_without(index, values[:length], attribute, deficit, holders, aims) <= loss[x]:
                    count_record(index, values[:length], deficit, holders, -1)
                    codes[record, column] = -1
                    surplus[attribute] -= 1
                    length = present_values(codes[record], values)
                    count_record(index, values[:length], deficit, holders, 1)


@compiled
def cells_by_attribute(codes: Attributes, order: Ints, attributes: int) -> tuple[Ints, Attributes]:
    """List the cells of each attribute, its records in ``order``.

    Returns:
        first: int64 (attributes + 1), where each attribute's cells start.
        cells: int32 (cells, 2), record and column.
    """
    first = np.zeros(attributes + 1, np.int64)
    for record in range(len(codes)):
        for attribute in codes[record]:
            if attribute >= 0:
                first[attribute + 1] += 1
    first = np.cumsum(first)
    end = first[:-1].copy()
    cells = np.empty((first[-1], 2), np.int32)
    for record in order:
        for column in range(codes.shape[1]):
            attribute = codes[record, column]
            if attribute >= 0:
                cells[end[attribute], 0] = record
                cells[end[attribute], 1] = column
                end[attribute] += 1
    return first, cells


@leaf
def remove_first(codes: Attributes, order: Ints, surplus: Ints) -> None:
    """Remove ``surplus`` values of each attribute from the records that come first in ``order``; see ``suppress``."""
    for record in order:
        for column in range(codes.shape[1]):
            attribute = codes[record, column]
            if attribute >= 0 and surplus[attribute] > 0:
                surplus[attribute] -= 1
                codes[record, column] = -1
