"""Choose which reportable combinations to withhold so that the others prove no small group.

This is complementary suppression. A reported count bounds a group: ``count`` to ``count + k - 1``. Bounds combine: if X, X & A
and X & B are reported, X & A & B has at least |X & A| + |X & B| - |X| people; if it is not reported, a reader
concludes that it has 1 to k - 1. Combinations are withheld until no such conclusion is possible.
Withholding a combination withholds all longer ones
that contain it, because their counts would reveal it.

Sensitive: knowing which combinations are withheld reveals that they are not rare. docs/method.md ("Differencing") has the rules.
`ctdc_pipeline.privacy.differencing` looks for the same in the finished release, with code of its own.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from ctdc_pipeline.counting.rounding import attribute_columns, longest_combination
from ctdc_pipeline.errors import PrivacyError
from ctdc_pipeline.storage.tables import TEXT

ALWAYS_KNOWN = "yearOfRegistration"
"""The one variable that every record has, so the counts of its values leave nobody out."""
MAX_EXCESS = 0.005
"""The search may withhold this share more than necessary where finding the minimum takes long."""
COST_AGAIN = 0.95
"""The cost of a row that the previous round already withheld; others cost 1. This keeps rounds from swapping equals forever."""
MAX_COST_RATIO = 20
"""Choices that cost this many times more rows than another choice are not considered."""

MAX_ROUNDS = 20
"""Bounds narrow each other in at most this many rounds; they settle after two or three."""
ROWS_AT_A_TIME = 200_000
UNBOUNDED = 1 << 40

Numbers = npt.NDArray[np.int64]
Marks = npt.NDArray[np.bool_]
Attribute = tuple[str, str]


def withhold(
    table: pa.Table,
    *,
    k: int,
    people: int,
    years: int,
    anonymised: pa.Table | None = None,
) -> Marks:
    """Mark the rows of ``table`` to withhold: few, long and rare ones rather than others. The same for any order of the rows.

    Args:
        table: all reportable combinations, with rounded counts, as ``aggregates.reportable_aggregates`` lays them out.
        k: what the counts are multiples of.
        people: how many records were counted. Taken as known to the reader.
        years: how many values of ``ALWAYS_KNOWN`` occur. Taken as known to the reader.
        anonymised: the k-anonymised records of the same release; each of them is a person.

    """
    if not len(table):
        return np.zeros(0, np.bool_)
    place = pa.array(np.arange(len(table)))
    ordered = table.append_column("place", place).sort_by([(name, "ascending") for name in table.column_names])
    groups = Groups(ordered)
    shown = Shown(groups, anonymised)
    reported = np.ones(len(groups), np.bool_)
    # What is withheld loosens bounds, so no other overlaps appear.
    bounds = _bounds(groups, reported, shown, k=k, people=people, years=years)
    overlaps = list(_overlaps(groups, bounds))
    findings = set[_Finding]()
    solved: dict[frozenset[_Finding], Numbers] = {}
    while True:
        new_findings = {
            *_disclosing(
                [
                    *_overlapping(groups, overlaps, reported, shown, bounds, k=k),
                    *_all_values_but_one(groups, reported, shown, bounds),
                ],
                k=k,
            ),
            *_differences(groups, reported, bounds, k=k),
            *_values(groups, reported, bounds, k=k, years=years),
        }
        if new_findings <= findings:
            withheld = np.zeros(len(groups), np.bool_)
            withheld[ordered["place"].to_numpy()] = ~reported
            return withheld
        findings |= new_findings
        reported = ~_fewest(groups, findings, before=~reported, solved=solved)
        bounds = _bounds(groups, reported, shown, k=k, people=people, years=years)


class Groups:
    """The reportable combinations by row, what they consist of, and which of them contain which.

    The group of everybody, of which nothing is said, has the row after the last.
    """

    def __init__(self, table: pa.Table) -> None:
        self.length = longest_combination(table.column_names)
        columns = [
            list(zip(table[variable].to_pylist(), table[value].to_pylist(), strict=True))
            for variable, value in attribute_columns(self.length)
        ]
        self.attributes: list[Attribute] = sorted({cell for column in columns for cell in column if cell[0] is not None})
        self.names = names = sorted({name for name, _ in self.attributes})
        code = {attribute: number for number, attribute in enumerate(self.attributes)}
        missing = len(code)
        self.parts = np.sort(np.array([[code.get(cell, missing) for cell in column] for column in columns], np.int32).T, axis=1)
        self.size = (self.parts < missing).sum(axis=1)
        self.count = table["count"].to_numpy().astype(np.int64)
        self.variable = np.array([names.index(name) for name, _ in self.attributes] + [-1], np.int32)
        # A combination is known by the exclusive or of its attributes' digests, whatever their order.
        digests = [hashlib.blake2b("=".join(attribute).encode(), digest_size=8).digest() for attribute in self.attributes]
        self._digest = np.array([int.from_bytes(digest) for digest in digests] + [0], np.uint64)
        self.keys = np.append(self.key(self.parts), np.uint64(0))
        self._order = np.argsort(self.keys[:-1], kind="stable")
        self._sorted = self.keys[self._order]
        words = -(-len(names) // 64)
        bit = np.zeros((missing + 1, words), np.uint64)
        for number, variable in enumerate(self.variable[:-1].tolist()):
            bit[number, variable // 64] = np.uint64(1) << np.uint64(variable % 64)
        self.variables = np.concatenate([np.bitwise_or.reduce(bit[self.parts], axis=1), bit[-1:]])
        self.rank = np.empty(len(self), np.int64)
        self.rank[np.lexsort(self.parts.T[::-1])] = np.arange(len(self))

    def __len__(self) -> int:
        return len(self.count)

    def group(self, row: int) -> list[Attribute]:
        """The attributes of a row."""
        return [self.attributes[part] for part in self.parts[row, : self.size[row]].tolist()]

    def key(self, parts: npt.NDArray[np.int32]) -> npt.NDArray[np.uint64]:
        """The keys of the combinations of attributes in each row of ``parts``."""
        return np.bitwise_xor.reduce(self._digest[parts], axis=1)

    def rows(self, keys: npt.NDArray[np.uint64]) -> Numbers:
        """The rows with these keys, -1 where there is none."""
        places = np.minimum(np.searchsorted(self._sorted, keys), len(self) - 1)
        return np.where(self._sorted[places] == keys, self._order[places], -1)

    @cached_property
    def subsets(self) -> npt.NDArray[np.int32]:
        """By row and set of places (as bits): the row of the combination at these places, -1 for places that a row does not have.

        No places at all are everybody.
        """
        rows_by_places = np.full((len(self), 1 << self.length), -1, np.int32)
        rows_by_places[:, 0] = len(self)
        for places in range(1, 1 << self.length):
            rows = np.flatnonzero(self.size >= places.bit_length())
            within = [place for place in range(self.length) if places >> place & 1]
            rows_by_places[rows, places] = self.rows(self.key(self.parts[np.ix_(rows, np.array(within))]))
        return rows_by_places

    @cached_property
    def subsets_by_places(self) -> Numbers:
        """The same by set of places and row, which is faster to read set by set."""
        return np.ascontiguousarray(self.subsets.T, np.int64)

    @cached_property
    def sizes(self) -> Numbers:
        """The number of attributes by row, with the row of everybody."""
        return np.append(self.size, 0)

    @cached_property
    def _containing(self) -> tuple[Numbers, Numbers]:
        """Rows in the order of what they contain, and where those of a row begin."""
        rows, places = np.nonzero(self.subsets >= 0)
        contained = self.subsets[rows, places]
        order = np.argsort(contained, kind="stable")
        return rows[order], np.searchsorted(contained[order], np.arange(len(self) + 2))

    def containing(self, row: int) -> Numbers:
        """All rows that contain a combination, itself too."""
        rows, first = self._containing
        return rows[first[row] : first[row + 1]]

    def of_size(self, size: int) -> Numbers:
        """The rows of combinations of ``size`` attributes."""
        return np.flatnonzero(self.size == size)

    @cached_property
    def within(self) -> tuple[Numbers, Numbers]:
        """Rows, and the shorter rows that they contain, each pair once."""
        rows, places = np.nonzero(self.subsets >= 0)
        contained = self.subsets[rows, places].astype(np.int64)
        shorter = contained != rows
        return rows[shorter], contained[shorter]

    @cached_property
    def families(self) -> tuple[Numbers, Numbers, Numbers, Numbers, Numbers]:
        """Rows that differ in the value of one variable, and the row without it, in families; each row once for each attribute.

        By member: its row, the row without the variable, the number of the family. By family: its first member and its variable.
        """
        parts: list[tuple[Numbers, Numbers, Numbers]] = []
        for place in range(self.length):
            rows = np.flatnonzero(self.size > place)
            others = (1 << self.size[rows]) - 1 ^ 1 << place
            variables = self.variable[self.parts[rows, place]].astype(np.int64)
            parts.append((rows, self.subsets[rows, others].astype(np.int64), variables))
        rows, parents, variables = (np.concatenate(column) for column in zip(*parts, strict=True))
        _, first, families = np.unique(parents * (1 + len(self.names)) + variables, return_index=True, return_inverse=True)
        return rows, parents, families, first, variables[first]

    @cached_property
    def of_years(self) -> Marks:
        """Whether a family's variable is ``ALWAYS_KNOWN``."""
        always = self.names.index(ALWAYS_KNOWN) if ALWAYS_KNOWN in self.names else -1
        return self.families[-1] == always


class Shown:
    """How many people the k-anonymised rows show to be in a group, whether or not its count is reported."""

    def __init__(self, groups: Groups, anonymised: pa.Table | None) -> None:
        marks = _rows_by_attribute(anonymised)
        self.rows = np.array([_together(marks, groups.group(row)) for row in range(len(groups))], np.int64)

    def least(self, row: int) -> int:
        """The lower bound of the size of the group of a row."""
        return int(self.rows[row])


def _rows_by_attribute(table: pa.Table | None) -> dict[Attribute, npt.NDArray[np.uint8]]:
    """Marks of the rows that have an attribute, packed."""
    marks: dict[Attribute, npt.NDArray[np.uint8]] = {}
    if table is None:
        return marks
    for name in table.column_names:
        encoded = table[name].cast(TEXT).unify_dictionaries().combine_chunks()
        array = encoded if isinstance(encoded, pa.DictionaryArray) else encoded.chunk(0)
        codes = array.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        for code, value in enumerate(array.dictionary.to_pylist()):
            marks[name, value] = np.packbits(codes == code)
    return marks


def _together(marks: dict[Attribute, npt.NDArray[np.uint8]], group: Sequence[Attribute]) -> int:
    """How many of the marked rows have all attributes of ``group``."""
    if any(attribute not in marks for attribute in group):
        return 0
    shared = marks[group[0]]
    for attribute in group[1:]:
        shared = shared & marks[attribute]
    return int(np.bitwise_count(shared).sum())


@dataclass(frozen=True)
class _Bounds:
    """The fewest and the most people in each row's group, and in all, that follow from the reported counts and published rows."""

    lower: Numbers
    upper: Numbers
    narrowed_by: Numbers
    """The row that the upper bound comes from: the row itself or, if it is withheld, a row that it contains."""


@dataclass(frozen=True)
class _Finding:
    """A proof that somebody is in an unreported group. Withholding any one of ``premises`` breaks it."""

    premises: tuple[int, ...]
    proved: int = -1
    """The row of the group if it is common and withheld: to report it again would settle the finding too. -1 if it is rare."""


@dataclass(frozen=True)
class _Proof:
    """A finding, and its lower bound for three readers: of narrowed bounds, of counts and published rows, and of counts only."""

    finding: _Finding
    least: tuple[int, ...]
    short: bool
    """Whether the group is all that its premises share, and no part of a longer combination."""


def _disclosing(proofs: Iterable[_Proof], *, k: int) -> Iterator[_Finding]:
    """The proofs to break: of a rare group any; of a withheld one those that do not say that it has k people or more.

    A group that must have k people is no small group, but known to be withheld. Every reader must arrive at that, however far he
    goes. And two counts must not prove it by themselves, for whoever takes an unreported combination for rare would be misled.
    """
    of_withheld: dict[int, list[_Proof]] = defaultdict(list)
    for proof in proofs:
        if proof.finding.proved < 0:
            yield proof.finding
        else:
            of_withheld[proof.finding.proved].append(proof)
    for own in of_withheld.values():
        best = [max(least) for least in zip(*(proof.least for proof in own), strict=True)]
        for proof in own:
            misled = any(0 < bound < k and least > 0 for bound, least in zip(best, proof.least, strict=True))
            if misled or (proof.short and proof.least[-1] > 0):
                yield proof.finding


def _bounds(groups: Groups, reported: Marks, shown: Shown, *, k: int, people: int, years: int) -> _Bounds:
    everybody = len(groups)
    lower, upper = np.append(groups.count, people), np.append(groups.count + k - 1, people)
    narrowed_by = np.arange(everybody + 1)
    for row in np.flatnonzero(~reported).tolist():
        lower[row], upper[row] = shown.least(row), np.iinfo(np.int64).max
    for row in sorted(np.flatnonzero(~reported).tolist(), key=lambda row: groups.size[row]):
        within = groups.subsets[row, : (1 << groups.size[row]) - 1]
        narrowed_by[row] = narrowed_by[within[np.argmin(upper[within])]]
        upper[row] = upper[within].min()
    lower[:-1] = np.maximum(lower[:-1], shown.rows)
    widest = lower.copy(), upper.copy()
    rows = np.arange(everybody)
    for _ in range(MAX_ROUNDS):
        before = lower.copy(), upper.copy()
        _narrow(groups, rows, lower, upper)
        _narrow_by_values(groups, lower, upper, k=k, years=years)
        # Bounds that contradict each other (where not everybody has a year after all) must not drive each other without end.
        np.clip(lower, *widest, out=lower)
        np.clip(upper, *widest, out=upper)
        changed = (before[0] != lower) | (before[1] != upper)
        if not changed.any():
            break
        rows = np.flatnonzero(changed[groups.subsets].any(axis=1))
    return _Bounds(lower, upper, narrowed_by)


def _splits(size: int) -> list[tuple[int, int]]:
    """Two sets of ``size`` places (as bits) that together are all of them, neither within the other; each pair once."""
    every = (1 << size) - 1
    return [
        (one, other)
        for one in range(1, every)
        for other in range(one + 1, every)
        if one | other == every and one & other not in (one, other)
    ]


def _narrow(groups: Groups, narrowable: Numbers, lower: Numbers, upper: Numbers) -> None:
    """Apply |S & T| + |X| >= |S| + |T|, where X is what S and T share, to all four, where S & T is ``narrowable``."""
    for size in range(2, groups.length + 1):
        rows = narrowable[groups.size[narrowable] == size]
        subsets = groups.subsets_by_places[:, rows]
        for one, other in _splits(size):
            s, t, x = subsets[one], subsets[other], subsets[one & other]
            lower_s, lower_t, upper_x, upper_rows = lower[s], lower[t], upper[x], upper[rows]
            lower[rows] = np.maximum(lower[rows], lower_s + lower_t - upper_x)
            _lessen(upper, s, upper_x + upper_rows - lower_t)
            _lessen(upper, t, upper_x + upper_rows - lower_s)
            better = np.flatnonzero((least := lower_s + lower_t - upper_rows) > lower[x])
            np.maximum.at(lower, x[better], least[better])


def _lessen(upper: Numbers, rows: Numbers, most: Numbers) -> None:
    better = np.flatnonzero(most < upper[rows])
    np.minimum.at(upper, rows[better], most[better])


def _narrow_by_values(groups: Groups, lower: Numbers, upper: Numbers, *, k: int, years: int) -> None:
    """Nobody has two values of a variable, and everybody has a year."""
    rows, parents, families, first, _ = groups.families
    least = _sums(families, lower[rows])
    np.maximum.at(lower, parents[first], least)
    _lessen(upper, rows, upper[parents] - least[families] + lower[rows])
    rare = years - np.bincount(families)
    most = _sums(families, upper[rows]) + rare * (k - 1)
    _lessen(upper, parents[first[groups.of_years]], most[groups.of_years])


def _sums(families: Numbers, numbers: Numbers) -> Numbers:
    return np.bincount(families, numbers).astype(np.int64)


@dataclass(frozen=True)
class _Overlaps:
    """Sets of supersets of one group that may overlap, all of like sizes, and the longest reportable parts of their unions."""

    supersets: Numbers
    """Rows (sets, supersets)."""
    shared: Numbers
    """The row of the group that they all contain, by set."""
    parts: Numbers
    """Rows (sets, parts), -1 where a part is rare."""
    short: bool
    """Whether the union can be reported itself, and is its only part."""


def _overlaps(groups: Groups, bounds: _Bounds) -> Iterator[_Overlaps]:
    """Wherever several supersets of a group X are so large that they overlap.

    If at most ``gap`` people of X are outside each superset, and the gaps add up to less than X, somebody is in all of them,
    and so in every part of their union, however long the union itself is.
    """
    supersets, x = groups.within
    gap = bounds.upper[x] - bounds.lower[supersets]
    # Only those matter that overlap with the largest superset.
    smallest = np.full(len(groups) + 1, np.iinfo(np.int64).max)
    np.minimum.at(smallest, x, gap)
    matter = gap + smallest[x] < bounds.upper[x]
    supersets, x, gap = supersets[matter], x[matter], np.maximum(gap[matter], 0)
    order = np.lexsort((supersets, gap, x))
    supersets, x, gap = supersets[order], x[order], gap[order]
    scale = int(bounds.upper[x].max(initial=0)) + 1
    place = x * scale + gap
    for some in np.array_split(np.arange(len(x)), 1 + len(x) // ROWS_AT_A_TIME):
        chosen, left = some[:, None], bounds.upper[x[some]] - gap[some]
        for _ in range(groups.length - 1):
            last = chosen[:, -1]
            end = np.searchsorted(place, x[last] * scale + left, side="left")
            which, added = _ranges(last + 1, np.maximum(end, last + 1))
            used = np.bitwise_or.reduce(groups.variables[supersets[chosen[which]]], axis=1)
            fits = (used & groups.variables[supersets[added]] == groups.variables[x[added]]).all(axis=1)
            chosen, left = np.column_stack([chosen[which], added])[fits], (left[which] - gap[added])[fits]
            yield from _with_parts(groups, supersets[chosen], x[chosen[:, 0]])
            # Three supersets and more prove nothing that two do not, unless two are already longer than what is reported.
            longest = groups.sizes[x[chosen[:, 0]]] == groups.length - 1
            chosen, left = chosen[longest], left[longest]


def _with_parts(groups: Groups, supersets: Numbers, shared: Numbers) -> Iterator[_Overlaps]:
    sizes = np.column_stack([groups.sizes[supersets], groups.sizes[shared]])
    for shape in np.unique(sizes, axis=0).tolist():
        own = np.flatnonzero((sizes == shape).all(axis=1))
        common = shape[-1]
        within = groups.parts[np.minimum(shared[own], len(groups) - 1), :common]
        attributes, owner = [within], [-1] * common
        for number, size in enumerate(shape[:-1]):
            parts = groups.parts[supersets[own, number], :size]
            new = ~(parts[:, :, None] == within[:, None, :]).any(axis=2)
            attributes.append(parts[new].reshape(len(own), size - common))
            owner += [number] * (size - common)
        union = np.column_stack(attributes)
        # A shorter part is reported if all the longest ones that contain it are. One within a superset is reported like that.
        longest = [
            groups.rows(groups.key(union[:, list(places)]))
            for places in combinations(range(len(owner)), min(groups.length, len(owner)))
            if {owner[place] for place in places} >= set(range(len(shape) - 1))
        ]
        if longest:
            yield _Overlaps(supersets[own], shared[own], np.column_stack(longest), len(owner) <= groups.length)


def _overlapping(
    groups: Groups, overlaps: Sequence[_Overlaps], reported: Marks, shown: Shown, bounds: _Bounds, *, k: int
) -> Iterator[_Proof]:
    """Supersets that must overlap, and an unreported part of their union."""
    is_reported = np.append(reported, False)
    counted = np.append(reported, True)
    people = bounds.upper[-1]
    counts = np.where(counted, np.append(groups.count, people), -UNBOUNDED)
    most = np.where(counted, np.append(groups.count + k - 1, people), UNBOUNDED)
    with_rows = np.where(counted, np.maximum(counts, np.append(shown.rows, 0)), counts)
    readers = ((bounds.lower, bounds.upper), (with_rows, most), (counts, most))
    for some in overlaps:
        times = some.supersets.shape[1]
        least = bounds.lower[some.supersets].sum(axis=1) - (times - 1) * bounds.upper[some.shared]
        proofs, places = np.nonzero((least > 0)[:, None] & ~is_reported[some.parts])
        supersets, shared = some.supersets[proofs], some.shared[proofs]
        bound = np.column_stack([lower[supersets].sum(axis=1) - (times - 1) * upper[shared] for lower, upper in readers])
        parts = some.parts[proofs, places]
        rows = np.append(shown.rows, 0)[parts]
        for own, x, part, leasts, seen in zip(
            supersets.tolist(), shared.tolist(), parts.tolist(), bound.tolist(), rows.tolist(), strict=True
        ):
            # A group that the published rows show is known to be common. Only two counts must not prove it, as of any other.
            if seen and not some.short:
                continue
            told_by = [row for row in own if reported[row]]
            premises = tuple(sorted(told_by)) if seen else _premises(reported, shown, bounds, own, x, leasts[0])
            leasts[:2] = [max(least, seen) for least in leasts[:2]]
            if premises:
                yield _Proof(_Finding(premises, part), tuple(leasts), some.short)


def _premises(
    reported: Marks, shown: Shown, bounds: _Bounds, supersets: Sequence[int], shared: int, least: int
) -> tuple[int, ...]:
    """The rows to choose from, one of which is to be withheld so that the supersets need not overlap."""
    own = [row for row in supersets if reported[row] and least <= int(bounds.lower[row]) - shown.least(row)]
    # Where published rows show each of them, only what bounds the group that they share can be withheld.
    if not own and shared < len(reported) and reported[source := int(bounds.narrowed_by[shared])]:
        return (source,)
    return tuple(sorted(own or [row for row in supersets if reported[row]]))


def _all_values_but_one(groups: Groups, reported: Marks, shown: Shown, bounds: _Bounds) -> Iterator[_Proof]:
    """S is within X, and so few of S have other values w of a variable that some of S must have the value v.

    |S & v| >= |S| + |X & v| - |X| + the sum of |X & w| - |S & w| over all w.
    """
    lower, upper = bounds.lower, bounds.upper
    rows, wholes, families, first, variables = groups.families
    parents = wholes[first]
    rest = upper[parents] - _sums(families, lower[rows])
    accounted = _sums(families, np.where(reported[rows], lower[rows], 0))
    members = rows[np.argsort(families, kind="stable")]
    begin = np.append(0, np.cumsum(np.bincount(families)))
    is_known = np.append(reported | (shown.rows > 0), False)
    keys = parents * (1 + len(groups.names)) + variables
    for places in range(1 << (groups.length - 1)):
        narrow = np.flatnonzero(parents < len(groups))
        x = groups.subsets[parents[narrow], places].astype(np.int64)
        inside = (x >= 0) & (x != parents[narrow])
        narrow, x = narrow[inside], x[inside]
        wide = np.searchsorted(keys, x * (1 + len(groups.names)) + variables[narrow])
        # Of S some must be left besides those who have a reported value and those for whom the values of X do not account.
        some = lower[parents[narrow]] > rest[wide] + accounted[narrow]
        narrow, wide = narrow[some], wide[some]
        change = groups.keys[parents[narrow]] ^ groups.keys[parents[wide]]
        which, place = _ranges(begin[narrow], begin[narrow + 1])
        others = members[place]
        gain = lower[groups.rows(groups.keys[others] ^ change[which])] - upper[others]
        gains = (gain > 0) & reported[others]
        which, others, gain = which[gains], others[gains], gain[gains]
        total = lower[parents[narrow]] - upper[parents[wide]] + np.bincount(which, gain, len(narrow)).astype(np.int64)
        gaining = np.unique(which)
        value_of, place = _ranges(begin[wide[gaining]], begin[wide[gaining] + 1])
        value_of, values = gaining[value_of], members[place]
        least = total[value_of] + lower[values]
        both = groups.rows(groups.keys[values] ^ change[value_of])
        for number in np.flatnonzero((least > 0) & ~is_known[both]).tolist():
            family, value = int(value_of[number]), int(values[number])
            used = [(row, int(lower[row]) - shown.least(row)) for row in (int(parents[narrow[family]]), value) if reported[row]]
            start, end = np.searchsorted(which, (family, family + 1)).tolist()
            used += zip(others[start:end].tolist(), gain[start:end].tolist(), strict=True)
            if premises := tuple(sorted(row for row, share in used if least[number] <= share)):
                yield _Proof(_Finding(premises, int(both[number])), (int(least[number]), 0, 0), short=True)


def _ranges(begin: Numbers, end: Numbers) -> tuple[Numbers, Numbers]:
    """All places from each ``begin`` to before its ``end``: the number of the range, and the place."""
    sizes = end - begin
    which = np.repeat(np.arange(len(begin)), sizes)
    return which, np.arange(len(which)) + np.repeat(begin - np.cumsum(sizes) + sizes, sizes)


def _differences(groups: Groups, reported: Marks, bounds: _Bounds, *, k: int) -> Iterator[_Finding]:
    """Some in X are not in A, but few, for X & A is nearly all of X."""
    lower, upper = bounds.lower, bounds.upper
    for size in range(1, groups.length + 1):
        rows = groups.of_size(size)
        rows = rows[reported[rows]]
        subsets = groups.subsets[rows].astype(np.int64)
        every = (1 << size) - 1
        for s in range(every):
            some = np.flatnonzero(lower[subsets[:, s]] > upper[rows])
            nearly = np.flatnonzero(upper[subsets[some, s]] - lower[rows[some]] < k)
            for row in rows[some[nearly]].tolist():
                yield _Finding((row,))


def _values(groups: Groups, reported: Marks, bounds: _Bounds, *, k: int, years: int) -> Iterator[_Finding]:
    """The reported values of a variable leave few in a group over; or somebody must have a year that is not reported."""
    lower, upper = bounds.lower, bounds.upper
    rows, parents, families, first, _ = groups.families
    is_reported = reported[rows]
    least, most = _sums(families, np.where(is_reported, lower[rows], 0)), _sums(families, np.where(is_reported, upper[rows], 0))
    secret = years - np.bincount(families, is_reported).astype(np.int64)
    whole = parents[first]
    known = np.append(reported, True)[whole]
    few_are_left = known & (lower[whole] > most) & (upper[whole] - least < k) & (most > 0)
    hidden = known & groups.of_years & (secret > 0) & (lower[whole] - most - (secret - 1) * (k - 1) > 0)
    for family in np.flatnonzero(few_are_left | hidden).tolist():
        own, row = rows[families == family], int(whole[family])
        if not hidden[family]:
            yield _Finding(tuple(sorted(own[reported[own]].tolist())) or (row,))
        elif row < len(groups):  # that everybody has a year says nothing of any of them
            # To withhold another year would leave more people whose year is not reported.
            yield from (_Finding((row,), year) for year in own[~reported[own]].tolist() or [-1])


def _fewest(groups: Groups, findings: Iterable[_Finding], *, before: Marks, solved: dict[frozenset[_Finding], Numbers]) -> Marks:
    """The smallest set of rows without which no finding keeps all its premises, by integer programming.

    With each row go all rows that contain it. Of sets of like size it prefers the one closer to what was withheld ``before``.
    Findings that share no rows are decided apart, and only once: ``solved`` has the rows to withhold for sets of findings.
    """
    findings = sorted(findings, key=lambda finding: (finding.premises, finding.proved))
    cost = {row: len(groups.containing(row)) for finding in findings for row in finding.premises}
    choices = [
        [row for row in finding.premises if cost[row] <= MAX_COST_RATIO * min(cost[other] for other in finding.premises)]
        for finding in findings
    ]
    deciding = np.zeros(len(groups) + 1, np.bool_)
    deciding[[row for choice in choices for row in choice]] = True
    withholdable: Marks = np.any(deciding[groups.subsets], axis=1)
    deciding[[finding.proved for finding in findings if finding.proved >= 0 and withholdable[finding.proved]]] = True
    # Rows that contain the same deciding rows are withheld together: one variable stands for all of them.
    rows = np.flatnonzero(withholdable)
    contained = np.sort(np.where(deciding[groups.subsets[rows]], groups.subsets[rows], -1), axis=1)
    sets, variable = np.unique(contained, axis=0, return_inverse=True)
    number = dict(zip(rows[deciding[rows]].tolist(), variable[deciding[rows]].tolist(), strict=True))
    # A line of the programme: what stands for its rows adds up to at least so many.
    entries: list[tuple[int, int, int]] = []
    least: list[int] = []
    about: list[tuple[_Finding, int]] = []
    for finding, choice in zip(findings, choices, strict=True):
        if finding.proved >= 0 and finding.proved not in number:
            continue  # it will be reported
        about.append((finding, len(least)))
        entries += [(len(least), number[row], 1) for row in choice]
        if finding.proved >= 0:
            entries.append((len(least), number[finding.proved], -1))
        least.append(int(finding.proved < 0))
    within = [{number[row] for row in parts if row >= 0} - {own} for own, parts in enumerate(sets.tolist())]
    for own, parts in enumerate(within):
        for part in parts.difference(*(within[other] for other in parts)):
            entries += [(len(least), own, 1), (len(least), part, -1)]
            least.append(0)
    lines, columns, values = zip(*entries, strict=True)
    matrix = coo_array((values, (lines, columns)), shape=(len(least), len(sets))).tocsr()
    size = len(least) + len(sets)
    links = coo_array((np.ones(len(lines)), (np.array(lines), len(least) + np.array(columns))), shape=(size, size))
    apart = connected_components(links, directed=False)[1]
    together: dict[int, list[_Finding]] = defaultdict(list)
    for finding, line in about:
        together[int(apart[line])].append(finding)
    known = {part: frozenset(own) for part, own in together.items()}
    new = np.isin(apart, [part for part, own in known.items() if own not in solved])
    new_lines, new_columns = np.flatnonzero(new[: len(least)]), np.flatnonzero(new[len(least) :])
    withheld = np.zeros(len(groups), np.bool_)
    if len(new_columns):
        weights = np.bincount(variable, np.where(before[rows], COST_AGAIN, 1.0))[new_columns]
        chosen = np.zeros(len(sets), np.bool_)
        chosen[new_columns] = _solution(matrix[new_lines][:, new_columns], np.array(least)[new_lines], weights)
        part_of = apart[len(least) + variable]
        for part, own in known.items():
            solved.setdefault(own, rows[chosen[variable] & (part_of == part)])
    for own in known.values():
        withheld[solved[own]] = True
    return withheld


def _solution(matrix: csr_array, at_least: Any, weights: Any) -> Marks:
    """The lightest set of columns that adds up to ``at_least`` in each line. Raises PrivacyError if none is found."""
    solution = milp(
        weights,
        constraints=LinearConstraint(matrix, at_least, np.inf),
        integrality=np.ones(len(weights)),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": MAX_EXCESS},
    )
    chosen = None if solution.x is None else solution.x > 0.5
    if chosen is None or (matrix @ chosen < at_least).any():
        raise PrivacyError("no choice of combinations to withhold was found", remedy="Report shorter combinations.")
    return chosen


def split(records: pa.Table, withheld: pa.Table) -> pa.Table:
    """``records`` (text) without any combination in ``withheld``: a value of each record that has one goes into its own.

    So every attribute occurs as often as before, and every record is still a part of a common one.
    """
    columns = {name: records[name].cast(pa.string()).to_numpy(zero_copy_only=False).copy() for name in records.column_names}
    codes: dict[Attribute, Marks] = {}
    alone: dict[Attribute, int] = defaultdict(int)
    groups = Groups(withheld) if len(withheld) else None
    for row in np.argsort(groups.rank).tolist() if groups else []:
        attributes = groups.group(row) if groups else []
        for name, value in attributes:
            if (name, value) not in codes:
                codes[name, value] = columns[name] == value
        having = np.logical_and.reduce([codes[attribute] for attribute in attributes])
        if len(attributes) > 1 and having.any():
            name, value = attributes[0]
            columns[name][having] = None
            codes[name, value] &= ~having
            alone[name, value] += int(having.sum())
    added = [{name: value} for (name, value), times in sorted(alone.items()) for _ in range(times)]
    schema = pa.schema([(name, pa.string()) for name in records.column_names])
    kept = pa.table({name: pa.array(column, pa.string()) for name, column in columns.items()})
    return pa.concat_tables([kept, pa.Table.from_pylist(added, schema=schema)])
