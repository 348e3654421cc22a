"""The compiled search for records whose counts are those measured, up to the noise. It sees no sensitive record.

The cost of a count is ``weight * max(0, |count - target| - tolerance)**2``: 0 within the tolerance, so that noise is not chased.
A move is kept only if the sum over all counts falls. One thread searches, because the order of moves is part of the result.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ctdc_pipeline.operations.compilation import compiled, leaf, part
from ctdc_pipeline.privacy.cells import pair_number, value_count
from ctdc_pipeline.synthesis.kernel import mix, step, uniform

Ints = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int32]


class Rules(NamedTuple):
    """How records are counted, and which records are allowed.

    Attributes:
        first: int64 (columns + 1), as in ``Domain``; so ``blocks``, int64 (columns, columns).
        value_units: float64 (columns + 1), what each value of a record adds to its count, by the record's number of values.
        pair_units: float64 (columns + 1), what each pair adds, likewise.
        allowed: bool (pairs), which pairs may appear; empty where every pair may.
        needs: int64; a record with attribute ``a`` must have ``needs[needs_start[a] : needs_start[a + 1]]``.
        needs_start: int64 (attributes + 1).
        needed_by: int64; the attributes that need ``a`` are ``needed_by[needed_by_start[a] : needed_by_start[a + 1]]``.
        needed_by_start: int64 (attributes + 1).
    """

    first: Ints
    blocks: Ints
    value_units: Reals
    pair_units: Reals
    allowed: Flags
    needs: Ints
    needs_start: Ints
    needed_by: Ints
    needed_by_start: Ints


class Counts(NamedTuple):
    """The counts of all records, each a row of three: count - target, tolerance, weight.

    Attributes:
        values: float64 (attributes, 3).
        pairs: float64 (pairs, 3).
        lengths: float64 (columns + 1, 3), records by their number of values.
    """

    values: Reals
    pairs: Reals
    lengths: Reals


@leaf
def pair_of(rules: Rules, column: int, attribute: int, other_column: int, other_attribute: int) -> int:
    """Return the number of the pair of two attributes of different columns."""
    return pair_number(rules.first, rules.blocks, column, attribute, other_column, other_attribute)


@leaf
def cost_rise(counts: Reals, number: int, change: float) -> float:
    """Return by how much the cost rises when count ``number`` changes by ``change``."""
    excess, tolerance = counts[number, 0], counts[number, 1]
    before = max(0.0, abs(excess) - tolerance)
    after = max(0.0, abs(excess + change) - tolerance)
    return counts[number, 2] * (after * after - before * before)


@leaf
def add_records(rules: Rules, codes: Codes, counts: Counts) -> None:
    """Add all records of ``codes``, int32 (records, columns), to the counts."""
    for row in range(codes.shape[0]):
        add_record(rules, codes[row], counts, 1.0)


@leaf
def add_record(rules: Rules, record: Codes, counts: Counts, sign: float) -> None:
    """Add one record to the counts (``sign`` 1), or take it out (-1)."""
    columns, length = len(record), value_count(record)
    counts.lengths[length, 0] += sign
    for a in range(columns):
        if record[a] < 0:
            continue
        counts.values[record[a], 0] += sign * rules.value_units[length]
        for b in range(a + 1, columns):
            if record[b] >= 0:
                counts.pairs[pair_of(rules, a, record[a], b, record[b]), 0] += sign * rules.pair_units[length]


@part
def is_allowed(rules: Rules, record: Codes, column: int, new: int) -> bool:
    """Whether ``record`` may have attribute ``new``, or -1 for none, in ``column``: by its pairs, and by what attributes need."""
    old = record[column]
    if old >= 0:
        for position in range(rules.needed_by_start[old], rules.needed_by_start[old + 1]):
            if has_elsewhere(record, column, rules.needed_by[position]):
                return False
    if new < 0:
        return True
    if len(rules.allowed):
        for b in range(len(record)):
            if b != column and record[b] >= 0 and not rules.allowed[pair_of(rules, column, new, b, record[b])]:
                return False
    for position in range(rules.needs_start[new], rules.needs_start[new + 1]):
        if not has_elsewhere(record, column, rules.needs[position]):
            return False
    return True


@leaf
def has_elsewhere(record: Codes, column: int, attribute: int) -> bool:
    """Whether ``record`` has ``attribute`` in another column than ``column``."""
    has = False
    for b in range(len(record)):
        has = has or (b != column and record[b] == attribute)
    return has


@part
def cost_rise_of_move(rules: Rules, record: Codes, length: int, column: int, new: int, counts: Counts) -> float:
    """Return by how much the cost rises when ``column`` of ``record``, which has ``length`` values, becomes ``new``."""
    old = record[column]
    new_length = length + (new >= 0) - (old >= 0)
    pair_unit, new_pair_unit = rules.pair_units[length], rules.pair_units[new_length]
    value_unit, new_value_unit = rules.value_units[length], rules.value_units[new_length]
    total = 0.0
    if old >= 0:
        total += cost_rise(counts.values, old, -value_unit)
    if new >= 0:
        total += cost_rise(counts.values, new, new_value_unit)
    if new_length != length:
        total += cost_rise(counts.lengths, length, -1.0) + cost_rise(counts.lengths, new_length, 1.0)
    units_change = pair_unit != new_pair_unit or value_unit != new_value_unit
    for b in range(len(record)):
        attribute = record[b]
        if b == column or attribute < 0:
            continue
        if old >= 0:
            total += cost_rise(counts.pairs, pair_of(rules, column, old, b, attribute), -pair_unit)
        if new >= 0:
            total += cost_rise(counts.pairs, pair_of(rules, column, new, b, attribute), new_pair_unit)
        if units_change:
            total += cost_rise(counts.values, attribute, new_value_unit - value_unit)
            for c in range(b + 1, len(record)):
                if c != column and record[c] >= 0:
                    total += cost_rise(counts.pairs, pair_of(rules, b, attribute, c, record[c]), new_pair_unit - pair_unit)
    return total


@part
def move(rules: Rules, record: Codes, length: int, column: int, new: int, counts: Counts) -> int:
    """Set ``column`` of ``record``, which has ``length`` values, to ``new``. Returns how many values it has then."""
    old = record[column]
    new_length = length + (new >= 0) - (old >= 0)
    pair_unit, value_unit = rules.pair_units[length], rules.value_units[length]
    if pair_unit != rules.pair_units[new_length] or value_unit != rules.value_units[new_length]:
        add_record(rules, record, counts, -1.0)
        record[column] = new
        add_record(rules, record, counts, 1.0)
        return new_length
    if old >= 0:
        counts.values[old, 0] -= value_unit
    if new >= 0:
        counts.values[new, 0] += value_unit
    counts.lengths[length, 0] -= 1.0
    counts.lengths[new_length, 0] += 1.0
    for b in range(len(record)):
        if b == column or record[b] < 0:
            continue
        if old >= 0:
            counts.pairs[pair_of(rules, column, old, b, record[b]), 0] -= pair_unit
        if new >= 0:
            counts.pairs[pair_of(rules, column, new, b, record[b]), 0] += pair_unit
    record[column] = new
    return new_length


@leaf
def sweep(rules: Rules, codes: Codes, counts: Counts, seed: int) -> int:
    """Propose one new value for every cell, and make the moves that lower the cost. Returns how many were made.

    The proposal is what another record has in that column. A column of one value is switched on or off.
    """
    rows, columns = codes.shape
    state = mix(np.uint64(seed))
    moves = 0
    for row in range(rows):
        record = codes[row]
        length = value_count(record)
        for column in range(columns):
            old = record[column]
            if rules.first[column + 1] - rules.first[column] == 1:
                new = rules.first[column] if old < 0 else -1
            else:
                state = step(state)
                new = codes[int(uniform(state) * rows), column]
            if new == old or not is_allowed(rules, record, column, new):
                continue
            if cost_rise_of_move(rules, record, length, column, new, counts) < 0.0:
                length = move(rules, record, length, column, new, counts)
                moves += 1
    return moves


@compiled
def enforce(rules: Rules, codes: Codes, value_counts: Reals) -> None:
    """Remove values until every record is allowed: first pairs that may not appear, then values that lack what they need.

    Of two values that may not go together, the one in more such pairs of the record is removed; among equals the commoner one.

    Args:
        rules: which records are allowed.
        codes: int32 (records, columns), attribute numbers or -1; changed in place.
        value_counts: float64 (attributes), how common each attribute is.
    """
    conflicts = np.zeros(codes.shape[1], np.int64)
    for row in range(codes.shape[0]):
        record = codes[row]
        while len(rules.allowed):
            count_conflicts(rules, record, conflicts)
            worst = -1
            for a in range(len(record)):
                if conflicts[a] and (
                    worst < 0
                    or conflicts[a] > conflicts[worst]
                    or (conflicts[a] == conflicts[worst] and value_counts[record[a]] > value_counts[record[worst]])
                ):
                    worst = a
            if worst < 0:
                break
            record[worst] = -1
        while remove_needy(rules, record):
            pass


@part
def count_conflicts(rules: Rules, record: Codes, conflicts: Ints) -> None:
    """Write to ``conflicts``, int64 (columns), in how many pairs that may not appear each value of ``record`` is."""
    conflicts[:] = 0
    for a in range(len(record)):
        for b in range(a + 1, len(record)):
            if record[a] >= 0 and record[b] >= 0 and not rules.allowed[pair_of(rules, a, record[a], b, record[b])]:
                conflicts[a] += 1
                conflicts[b] += 1


@part
def remove_needy(rules: Rules, record: Codes) -> bool:
    """Remove the values that lack what they need. Returns whether there were any: others may lack them now."""
    removed = False
    for a in range(len(record)):
        if record[a] < 0:
            continue
        for position in range(rules.needs_start[record[a]], rules.needs_start[record[a] + 1]):
            if not has_elsewhere(record, -1, rules.needs[position]):
                record[a] = -1
                removed = True
                break
    return removed
