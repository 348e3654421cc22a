"""The compiled inner loops of synthesis: which combinations are common, and which of them a record should keep.

Everything here works on integers (see ``attributes``) and is compiled by numba; ``synthesis`` says what the loops are
for. All of it sits in one file because numba's cache notices changes only within a file. The functions release the
interpreter lock, and what they compute for one entry depends on that entry alone, never on the thread.

Randomness is a counter put through SplitMix64's finaliser (Steele, Lea, Flood 2014), so that a draw depends only on
the seed and on what is being drawn for.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Attributes = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint64]
Reals = npt.NDArray[np.float64]
Whole = int | np.int64
Flags = npt.NDArray[np.bool_]

MOST_ITEMS = 62  # of one record: a set of them is a bit mask in an int64
LONGEST_LIST = 2048  # rows listed for a pair; of a longer list the rest is not looked at, which can only reject
HEAVY = 0  # the slice that tells records of a weight above 1
KNOWN = 256  # sets remembered as common, and as rare, while one record is worked on

# Quantiles of a Fréchet distribution, by which worth is multiplied: mostly the worthiest wins, now and then another.
FAVOUR = (-np.log((np.arange(256) + 0.5) / 256)) ** -0.3

compiled: Any = nb.njit(cache=True, nogil=True, error_model="numpy")
# For functions that allocate nothing. Else numba counts references to every array of every call, with atomic operations on
# which threads wait for one another: more than half of the time went there.
_uncounted: dict[str, Any] = {"_nrt": False}
leaf: Any = nb.njit(cache=True, nogil=True, error_model="numpy", **_uncounted)


class Space(NamedTuple):
    """Distinct records over common attributes, and where each common pair of attributes occurs.

    ``offsets`` int64 (records + 1) and ``items`` int32: each record's attributes, ascending. ``weights`` int64: input
    rows per record. ``keys`` int64 (slots): open-addressed hash of the common pairs, ``a * attributes + b`` with a < b, or
    -1; per slot ``support`` int64, and the records it occurs in, ``rows[start : start + length]`` int32.

    The listed records of a slot are also in ``slices`` uint64, from ``first`` on: one bit of all of them, side by side, after
    the other, each slice ``words(length)`` long. Attribute ``a`` is the number ``bits[a]`` in the ``width[a]`` slices from
    ``slice[a]`` on, lowest bit first. Slice ``HEAVY`` marks records of a weight above 1. ``limit``: the resolution k.
    """

    offsets: Ints
    items: Attributes
    weights: Ints
    slices: Words
    slice: Ints
    width: Ints
    bits: Ints
    keys: Ints
    support: Ints
    start: Ints
    length: Ints
    first: Ints
    rows: Attributes
    attributes: int
    limit: int


class Aims(NamedTuple):
    """How total error, and that a pair or a triple appears at all, weigh against preservation (see ``worth``)."""

    error: float
    pair: float
    triple: float


class Scratch(NamedTuple):
    """What ``choose`` writes to while it works on one record, made once."""

    slots: Ints
    value: Reals
    gain: Reals
    kept: Ints
    common: Ints
    rare: Ints
    match: Words
    trial: Words
    values: Attributes


@compiled
def scratch() -> Scratch:
    """Room for a record of any size."""
    return Scratch(
        np.empty((MOST_ITEMS, MOST_ITEMS), np.int64),
        np.empty((MOST_ITEMS, MOST_ITEMS)),
        np.empty(MOST_ITEMS),
        np.empty(MOST_ITEMS, np.int64),
        np.empty(KNOWN, np.int64),
        np.empty(KNOWN, np.int64),
        np.empty(words(LONGEST_LIST), np.uint64),
        np.empty(words(LONGEST_LIST), np.uint64),
        np.empty(MOST_ITEMS, np.int32),
    )


@leaf
def mix(x: np.uint64) -> np.uint64:
    """SplitMix64's finaliser: 64 bits that depend on every bit of ``x``."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@leaf
def step(state: np.uint64) -> np.uint64:
    """The state of the next draw."""
    return state + np.uint64(0x9E3779B97F4A7C15)


@leaf
def stream(seed: int, number: int) -> np.uint64:
    """Where the draws for one entry start."""
    return mix(mix(np.uint64(seed)) ^ (np.uint64(number) * np.uint64(0xD1342543DE82EF95)))


@leaf
def uniform(state: np.uint64) -> float:
    """In the open interval (0, 1)."""
    return ((mix(state) >> np.uint64(11)) + 0.5) * (1.0 / 9007199254740992.0)


@leaf
def find(keys: Ints, key: Whole) -> Whole:
    """The slot of ``key``, or of the free slot where it would go."""
    last = np.uint64(len(keys) - 1)
    slot = mix(np.uint64(key)) & last
    while keys[slot] != key and keys[slot] >= 0:
        slot = (slot + np.uint64(1)) & last
    return np.int64(slot)


@leaf
def pair(space: Space, a: Whole, b: Whole) -> Whole:
    """The slot of the pair of attributes, or -1 when it is rare."""
    key = np.int64(b) * space.attributes + a if a > b else np.int64(a) * space.attributes + b
    slot = find(space.keys, key)
    return slot if space.keys[slot] == key else np.int64(-1)


@compiled
def listed(codes: Attributes) -> tuple[Ints, Attributes]:
    """Offsets and items of records given as rows of attribute numbers or -1."""
    offsets = np.zeros(len(codes) + 1, np.int64)
    for record in range(len(codes)):
        offsets[record + 1] = offsets[record] + np.sum(codes[record] >= 0)
    items = np.empty(offsets[-1], np.int32)
    at = 0
    for record in range(len(codes)):
        for attribute in codes[record]:
            if attribute >= 0:
                items[at] = attribute
                at += 1
    return offsets, items


@compiled
def count_pairs(offsets: Ints, items: Attributes, weights: Ints, attributes: int) -> tuple[Ints, Ints]:
    """Support of every pair that occurs, as hash arrays (keys, counts)."""
    keys = np.full(1 << 12, -1, np.int64)
    count = np.zeros(1 << 12, np.int64)
    used = 0
    for record in range(len(offsets) - 1):
        for x in range(offsets[record], offsets[record + 1]):
            for y in range(x + 1, offsets[record + 1]):
                key = np.int64(items[x]) * attributes + items[y]
                slot = find(keys, key)
                if keys[slot] < 0:
                    keys[slot] = key
                    used += 1
                count[slot] += weights[record]
        if used * 2 > len(keys):
            keys, count = rehash(keys, count, len(keys) * 4)
    return keys, count


@compiled
def rehash(keys: Ints, count: Ints, size: int) -> tuple[Ints, Ints]:
    """The filled slots of one hash moved into another of ``size`` (a power of two)."""
    moved = np.full(size, -1, np.int64)
    counts = np.zeros(size, np.int64)
    for slot in range(len(keys)):
        if keys[slot] >= 0:
            to = find(moved, keys[slot])
            moved[to] = keys[slot]
            counts[to] = count[slot]
    return moved, counts


@compiled
def list_rows(offsets: Ints, items: Attributes, keys: Ints, attributes: int) -> tuple[Ints, Ints, Attributes]:
    """For each slot of ``keys``, the first LONGEST_LIST records with that pair: start, length, rows."""
    start = np.zeros(len(keys), np.int64)
    length = np.zeros(len(keys), np.int64)
    rows = np.empty(0, np.int32)
    for filling in range(2):
        if filling:
            start[1:] = np.cumsum(length)[:-1]
            rows = np.empty(length.sum(), np.int32)
            length[:] = 0
        for record in range(len(offsets) - 1):
            for x in range(offsets[record], offsets[record + 1]):
                for y in range(x + 1, offsets[record + 1]):
                    key = np.int64(items[x]) * attributes + items[y]
                    slot = find(keys, key)
                    if keys[slot] == key and length[slot] < LONGEST_LIST:
                        if filling:
                            rows[start[slot] + length[slot]] = record
                        length[slot] += 1
    return start, length, rows


@leaf
def transpose(block: Words) -> None:
    """Turn a 64 x 64 matrix of bits, a word a row, in place: bit ``y`` of word ``x`` becomes bit ``x`` of word ``y``."""
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
def words(length: Whole) -> Whole:
    """How many 64-bit words hold a bit for each of ``length`` rows."""
    return length + 63 >> 6


@compiled
def slice_rows(packed: Words, rows: Attributes, start: Ints, length: Ints) -> tuple[Ints, Words]:
    """``first`` and ``slices`` of Space, from records ``packed`` into uint64 (records, words), a bit a slice."""
    first = np.zeros(len(length), np.int64)
    for slot in range(1, len(length)):
        first[slot] = first[slot - 1] + (packed.shape[1] << 6) * words(length[slot - 1])
    slices = np.empty(first[-1] + (packed.shape[1] << 6) * words(length[-1]), np.uint64)
    block = np.empty(64, np.uint64)
    for slot in range(len(length)):
        size = words(length[slot])
        for word in range(packed.shape[1]):
            for part in range(size):
                here = min(64, length[slot] - (part << 6))
                for x in range(here):
                    block[x] = packed[rows[start[slot] + (part << 6) + x], word]
                block[here:] = 0
                transpose(block)
                at = first[slot] + (word << 6) * size + part
                for x in range(64):
                    slices[at + x * size] = block[x]
    return first, slices


@leaf
def popcount(x: np.uint64) -> np.uint64:
    """How many bits of ``x`` are set."""
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    return (((x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)) * np.uint64(0x0101010101010101)) >> np.uint64(56)


@leaf
def whole(space: Space, slot: Whole, match: Words) -> None:
    """Mark every listed row of the pair ``slot`` in ``match``, a bit a row."""
    size = words(space.length[slot])
    match[:size] = ~np.uint64(0)
    match[size - 1] >>= np.uint64(-space.length[slot] & 63)


@leaf
def narrow(space: Space, slot: Whole, attribute: Whole, match: Words, into: Words) -> None:
    """Of the listed rows of ``slot`` marked in ``match``, mark those in ``into`` that hold ``attribute``."""
    size = words(space.length[slot])
    at = space.first[slot] + space.slice[attribute] * size
    for bit in range(space.width[attribute]):
        flip = np.uint64((space.bits[attribute] >> bit & 1) - 1)
        held = space.slices[at : at + size]
        if bit:
            for x in range(size):
                into[x] &= held[x] ^ flip
        else:
            for x in range(size):
                into[x] = match[x] & (held[x] ^ flip)
        at += size


@leaf
def reaches(space: Space, slot: Whole, match: Words) -> bool:
    """Whether the listed rows of ``slot`` marked in ``match`` stand for at least k input rows."""
    size = words(space.length[slot])
    seen = np.uint64(0)
    for x in range(size):
        seen += popcount(match[x])
    if seen >= np.uint64(space.limit):
        return True
    if not seen:
        return False
    total = np.int64(seen)
    at = space.first[slot] + HEAVY * size
    held = space.slices[at : at + size]
    for x in range(size):
        several = match[x] & held[x]
        while several:
            lowest = several & (~several + np.uint64(1))
            row = np.int64(popcount(lowest - np.uint64(1)))
            total += space.weights[space.rows[space.start[slot] + (x << 6) + row]] - 1
            several ^= lowest
    return bool(total >= space.limit)


@leaf
def worth(space: Space, slot: int, deficit: Ints, aims: Aims) -> float:
    """What one more synthetic record with this pair is worth, in preservation summed over all pairs.

    Preservation grows by 1/support and total error falls by a constant, ``aims.error`` on the same scale; that the pair
    appears at all is worth ``aims.pair``. Once it is as frequent as in the sensitive data, more of it is error.
    """
    if deficit[slot] <= 0:
        return -aims.error
    first = aims.pair if deficit[slot] == space.support[slot] else 0.0
    return 1.0 / space.support[slot] + aims.error + first


@leaf
def triples(seen: Flags, values: Attributes, mark: bool) -> int:
    """How many triples of ``values`` no built record holds yet; with ``mark``, from now on they count as held.

    ``seen`` has a flag per hash, so a triple may be taken for another: that only makes it look less new.
    """
    new = 0
    last = np.uint64(len(seen) - 1)
    for x in range(len(values)):
        for y in range(x + 1, len(values)):
            both = mix(np.uint64(values[x]) << np.uint64(32) | np.uint64(values[y]))
            for z in range(y + 1, len(values)):
                at = mix(both ^ np.uint64(values[z])) & last
                if not seen[at]:
                    new += 1
                    seen[at] = mark
    return new


@leaf
def recall(mask: Whole, common: Ints, rare: Ints) -> int:
    """1 when ``mask`` is part of a set known to be common, -1 when it holds one known to be rare, else 0."""
    for known in common:
        if mask & known == mask:
            return 1
    for known in rare:
        if mask & known == known:
            return -1
    return 0


@leaf
def choose(
    space: Space,
    held: Attributes,
    size: int,
    deficit: Ints,
    seen: Flags,
    aims: Aims,
    price: Reals,
    guided: bool,
    tries: int,
    state: np.uint64,
    room: Scratch,
) -> tuple[Whole, float]:
    """Pick from attributes ``held[:size]`` a common combination: the best of ``tries`` random maximal ones.

    Each try adds one attribute after another as long as the combination stays common. ``guided``: the next is drawn
    with a preference for what it is worth together with those kept, and nothing worthless is added; else each order is
    equally likely (the published method). A pair's worth is multiplied by its two attributes' ``price``. Returns (mask
    over positions in ``held``, worth).
    """
    slots, value, gain, kept, common, rare, match, trial, values = room
    for x in range(size):
        for y in range(x + 1, size):
            slot = pair(space, held[x], held[y])
            slots[x, y] = slots[y, x] = slot
            gain_here = worth(space, slot, deficit, aims) if slot >= 0 else 0.0
            if gain_here > 0:
                gain_here *= price[held[x]] * price[held[y]]
            value[x, y] = value[y, x] = gain_here
    commons = rares = 0
    best = np.int64(0)
    most = -np.inf
    draws = 0
    luck = np.uint64(0)
    for _ in range(tries):
        gain[:size] = 0.0
        total = 0.0
        n = 0
        chosen = np.int64(0)
        rarest = np.int64(-1)
        source = np.int64(-1)
        applied = np.int64(0)
        left = (np.int64(1) << size) - 1
        while left:
            this = -1
            if guided and n:
                top = 0.0
                for x in range(size):
                    if left >> x & 1 and gain[x] > 0:
                        if not draws:
                            state = step(state)
                            luck = mix(state)
                            draws = 8
                        draws -= 1
                        draw = gain[x] * FAVOUR[luck & np.uint64(255)]
                        luck >>= np.uint64(8)
                        if draw > top:
                            top = draw
                            this = x
                if this < 0:
                    break
            else:
                state = step(state)
                turn = int(uniform(state) * popcount(np.uint64(left)))
                for x in range(size):
                    if left >> x & 1:
                        if not turn:
                            this = x
                            break
                        turn -= 1
            left &= ~(np.int64(1) << this)
            slot = rarest
            fits = True
            for x in range(n):
                other = slots[kept[x], this]
                if other < 0:
                    fits = False
                    break
                if slot < 0 or space.support[other] < space.support[slot]:
                    slot = other
            if not fits:
                continue
            wider = chosen | np.int64(1) << this
            if n >= 2:
                known = recall(wider, common[:commons], rare[:rares])
                if not known:
                    # What was found of the rows of a list holds for every wider combination. A list that was cut off is
                    # given up for that of a rarer pair.
                    if source < 0 or (slot != source and space.length[source] == LONGEST_LIST):
                        source = slot
                        applied = np.int64(0)
                        whole(space, source, match)
                    for x in range(n):
                        if not applied >> kept[x] & 1:
                            narrow(space, source, held[kept[x]], match, match)
                            applied |= np.int64(1) << kept[x]
                    narrow(space, source, held[this], match, trial)
                    if reaches(space, source, trial):
                        match, trial = trial, match
                        applied |= np.int64(1) << this
                        known = 1
                        if commons < KNOWN:
                            common[commons] = wider
                            commons += 1
                    else:
                        known = -1
                        if rares < KNOWN:
                            rare[rares] = wider
                            rares += 1
                if known < 0:
                    continue
            total += gain[this]
            for x in range(size):
                gain[x] += value[x, this]
            kept[n] = this
            n += 1
            chosen = wider
            rarest = slot
        if aims.triple > 0:
            n = 0
            for x in range(size):
                if chosen >> x & 1:
                    values[n] = held[x]
                    n += 1
            total += aims.triple * triples(seen, values[:n], False)
        if total > most:
            most = total
            best = chosen
    return best, most


@compiled
def redact(
    space: Space,
    record: Ints,
    first: int,
    last: int,
    deficit: Ints,
    seen: Flags,
    aims: Aims,
    price: Reals,
    guided: bool,
    tries: int,
    seed: int,
    chosen: Ints,
    score: Reals,
) -> None:
    """Phase 1 for entries ``first`` to ``last``: what each keeps, as a mask over its record's items, and its worth."""
    room = scratch()
    for entry in range(first, last):
        begin = space.offsets[record[entry]]
        size = min(space.offsets[record[entry] + 1] - begin, MOST_ITEMS)
        held = space.items[begin : begin + size]
        if space.weights[record[entry]] >= space.limit:
            chosen[entry] = (np.int64(1) << size) - 1
            score[entry] = 0.0
            for x in range(size):
                for y in range(x + 1, size):
                    score[entry] += worth(space, pair(space, held[x], held[y]), deficit, aims)
        else:
            chosen[entry], score[entry] = choose(
                space, held, size, deficit, seen, aims, price, guided, tries, stream(seed, entry), room
            )


@compiled
def reconsider(
    space: Space,
    record: Ints,
    entries: Ints,
    pool: Ints,
    deficit: Ints,
    seen: Flags,
    aims: Aims,
    price: Reals,
    tries: int,
    seed: int,
    chosen: Ints,
    score: Reals,
) -> None:
    """Choose again for ``entries``, from those of their record's values that are still in the pool."""
    held = np.empty(MOST_ITEMS, np.int32)
    place = np.empty(MOST_ITEMS, np.int64)
    room = scratch()
    for entry in entries:
        begin = space.offsets[record[entry]]
        size = 0
        for x in range(min(space.offsets[record[entry] + 1] - begin, MOST_ITEMS)):
            if pool[space.items[begin + x]] > 0:
                held[size] = space.items[begin + x]
                place[size] = x
                size += 1
        best, score[entry] = choose(space, held, size, deficit, seen, aims, price, True, tries, stream(seed, entry), room)
        chosen[entry] = 0
        for x in range(size):
            if best >> x & 1:
                chosen[entry] |= np.int64(1) << place[x]


@leaf
def build(
    space: Space,
    record: Ints,
    entries: Ints,
    threshold: float,
    pool: Ints,
    deficit: Ints,
    seen: Flags,
    aims: Aims,
    chosen: Ints,
    score: Reals,
    built: Attributes,
    ends: Ints,
    at: int,
    stale: Flags,
) -> int:
    """Build a record for each of ``entries`` whose combination is still worth ``threshold`` per value.

    Takes the values out of ``pool`` and the pairs out of ``deficit``, appends to ``built`` and ``ends`` from record
    ``at`` on. Entries that fell below are marked in ``stale``. Returns the next ``at``.
    """
    for position in range(len(entries)):
        entry = entries[position]
        begin = space.offsets[record[entry]]
        to = ends[at - 1] if at else np.int64(0)
        n = 0
        mask = np.int64(0)
        for x in range(MOST_ITEMS):
            if chosen[entry] >> x == 0:
                break
            if chosen[entry] >> x & 1 and pool[space.items[begin + x]] > 0:
                built[to + n] = space.items[begin + x]
                mask |= np.int64(1) << x
                n += 1
        total = 0.0
        for x in range(n):
            for y in range(x + 1, n):
                total += worth(space, pair(space, built[to + x], built[to + y]), deficit, aims)
        if aims.triple > 0:
            total += aims.triple * triples(seen, built[to : to + n], False)
        stale[position] = n == 0 or total < threshold * n
        chosen[entry] = mask
        score[entry] = total
        if not stale[position]:
            triples(seen, built[to : to + n], True)
            take(space, built[to : to + n], pool, deficit)
            ends[at] = to + n
            at += 1
    return at


@leaf
def remove(codes: Attributes, order: Ints, surplus: Ints) -> None:
    """Take ``surplus`` values of each attribute out of ``codes``, from the records that come first in ``order``."""
    for record in order:
        for column in range(codes.shape[1]):
            attribute = codes[record, column]
            if attribute >= 0 and surplus[attribute] > 0:
                surplus[attribute] -= 1
                codes[record, column] = -1


@leaf
def take(space: Space, values: Attributes, pool: Ints, deficit: Ints) -> None:
    """Move a built record's values out of the pool and its pairs out of the deficit."""
    for x in range(len(values)):
        pool[values[x]] -= 1
        for y in range(x + 1, len(values)):
            deficit[pair(space, values[x], values[y])] -= 1


@leaf
def thin(space: Space, built: Attributes, ends: Ints, stay: Flags, pool: Ints, deficit: Ints, seen: Flags) -> int:
    """Close the gaps of the records that do not ``stay``; how many do.

    ``pool``, ``deficit`` and ``seen`` come as they are without any record, and leave as they are with those that stay.
    """
    at = 0
    to = np.int64(0)
    begin = np.int64(0)
    for record in range(len(stay)):
        end = ends[record]
        if stay[record]:
            for x in range(begin, end):
                built[to + x - begin] = built[x]
            n = end - begin
            triples(seen, built[to : to + n], True)
            take(space, built[to : to + n], pool, deficit)
            to += n
            ends[at] = to
            at += 1
        begin = end
    return at


@compiled
def partners(space: Space) -> tuple[Ints, Attributes, Ints]:
    """For each attribute, those that form a common pair with it: first (attributes + 1), partner, slot of the pair."""
    first = np.zeros(space.attributes + 1, np.int64)
    for key in space.keys:
        if key >= 0:
            first[key // space.attributes + 1] += 1
            first[key % space.attributes + 1] += 1
    first = np.cumsum(first)
    at = first[:-1].copy()
    partner = np.empty(first[-1], np.int32)
    slots = np.empty(first[-1], np.int64)
    for slot in range(len(space.keys)):
        if space.keys[slot] >= 0:
            a, b = space.keys[slot] // space.attributes, space.keys[slot] % space.attributes
            partner[at[a]], slots[at[a]] = b, slot
            partner[at[b]], slots[at[b]] = a, slot
            at[a] += 1
            at[b] += 1
    return first, partner, slots


@leaf
def consolidate(
    space: Space,
    seeds: Attributes,
    near: tuple[Ints, Attributes, Ints],
    candidate: Attributes,
    rank: Reals,
    match: Words,
    pool: Ints,
    deficit: Ints,
    aims: Aims,
    guided: bool,
    seed: int,
    built: Attributes,
    ends: Ints,
    at: int,
) -> int:
    """Phase 2's last step for ``seeds``, values drawn from the pool: grow each into a record while anything fits.

    A value fits when it is in the pool, its column is free and the combination stays common. ``guided``: by worth;
    else each value left in the pool is equally likely (the published method). Returns the next ``at``.
    """
    first, partner, slots = near
    for start in range(len(seeds)):
        if pool[seeds[start]] <= 0:
            continue
        state = stream(seed, at)
        to = ends[at - 1] if at else np.int64(0)
        rarest = np.int64(-1)
        n = 0
        adding = seeds[start]
        while adding >= 0:
            for x in range(n):
                slot = pair(space, built[to + x], adding)
                deficit[slot] -= 1
                if rarest < 0 or space.support[slot] < space.support[rarest]:
                    rarest = slot
            pool[adding] -= 1
            built[to + n] = adding
            n += 1
            lonely = 0
            for x in range(1, n):
                a, b = built[to + x], built[to + lonely]
                if first[a + 1] - first[a] < first[b + 1] - first[b]:
                    lonely = x
            hub = built[to + lonely]
            found = 0
            for near_at in range(first[hub], first[hub + 1]):
                value = partner[near_at]
                if pool[value] <= 0:
                    continue
                total = worth(space, slots[near_at], deficit, aims)
                for x in range(n):
                    if x != lonely:
                        slot = pair(space, built[to + x], value)
                        if slot < 0:
                            total = np.nan
                            break
                        total += worth(space, slot, deficit, aims)
                if np.isnan(total):
                    continue
                state = step(state)
                if not guided:
                    total = np.log(uniform(state)) / pool[value]
                elif total > 0:
                    total *= FAVOUR[int(uniform(state) * len(FAVOUR))]
                candidate[found] = value
                rank[found] = total
                found += 1
            adding = np.int32(-1)
            while found:
                top = 0
                for x in range(1, found):
                    if rank[x] > rank[top]:
                        top = x
                value = candidate[top]
                if n < 2:  # a partner: the pair is common
                    adding = value
                    break
                slot = rarest
                for x in range(n):
                    other = pair(space, built[to + x], value)
                    if space.support[other] < space.support[slot]:
                        slot = other
                whole(space, slot, match)
                for x in range(n):
                    narrow(space, slot, built[to + x], match, match)
                narrow(space, slot, value, match, match)
                if reaches(space, slot, match):
                    adding = value
                    break
                found -= 1
                candidate[top] = candidate[found]
                rank[top] = rank[found]
        ends[at] = to + n
        at += 1
    return at
