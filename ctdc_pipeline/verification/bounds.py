"""The check that no small group of people follows from the aggregates together.

Of people who have X in common, those who also have A and those who also have B overlap where they are more than there are: at
least |XA| + |XB| - |X| have all three. A count p that is told means p to p + k - 1 people. Where XAB is not told and the least is
1 or more, somebody is certainly in a group that is rare. Likewise for three, and for X that are all people. And everybody has a
year: where the told years of X cannot account for all of X, somebody is in a year that is not told. That a part is at least as
frequent as the whole is checked where aggregates add up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ctdc_pipeline.verification import recount
from ctdc_pipeline.verification.checks import Aggregates, Contents

BLOCK = 1 << 22
MOST, MOST_THREES = 1 << 28, 1 << 22
"""Overlaps that are looked at together, and in all; honest counts have far fewer."""
YEAR = "yearOfRegistration"
"""The variable that everybody has."""


def check_bounds(contents: Contents, aggregates: Aggregates, *, people: int | None) -> None:
    """Check that no small group follows from the aggregates together.

    Args:
        contents: the release.
        found: aggregates that add up.
        people: the published number of all people; None if there is none.
    """
    findings, numbering, k = contents.findings, contents.numbering, contents.k
    small = small_groups(aggregates, numbering=numbering, k=k, people=people)
    if small is None:
        findings.require("bounds", False, "counts that contradict each other: too many overlaps")
        return
    for size, keys in small.items():
        variables = sorted({name for key in keys.tolist() for name in _names(key, size, numbering)})
        problem = f"{len(keys)} groups of length {size} are certainly of 1 to {k - 1} people, by two or three counts;"
        findings.require("bounds", not len(keys), f"{problem} variables: {', '.join(variables)}")
    findings.require("bounds", True, "")
    findings.note("bounds", f"{aggregates.rows:,} aggregates")


def small_groups(
    aggregates: Aggregates, *, numbering: recount.Numbering, k: int, people: int | None = None
) -> dict[int, recount.Ints] | None:
    """Find all groups that are not reported and certainly contain somebody.

    Args:
        found: aggregates that add up.
        numbering: the numbers of attributes.
        k: the resolution.
        people: the published number of all people; None if there is none.

    Returns:
        The keys of the groups by length; None if counts contradict each other so that there are too many overlaps.
    """
    small: dict[int, list[recount.Ints]] = {size: [np.empty(0, np.int64)] for size in aggregates.keys}
    looked_at = 0
    for size in range(max(aggregates.sets, default=0)):
        children = _children(aggregates, size, numbering=numbering, k=k, people=people)
        small[size + 1].append(_untold(aggregates, _complements(children, size, numbering=numbering, k=k), numbering=numbering))
        if size + 2 in aggregates.keys and len(children.parts):
            for first, second in _pairs(children):
                looked_at += len(first)
                if looked_at > MOST:
                    return None
                sets = np.column_stack([children.sets[first], children.attributes[first], children.attributes[second]])
                small[size + 2].append(_untold(aggregates, sets, numbering=numbering))
        if size + 3 in aggregates.keys:
            sets = _threes(children)
            if sets is None:
                return None
            small[size + 3].append(_untold(aggregates, sets, numbering=numbering))
    return {size: np.unique(np.concatenate(keys)) for size, keys in small.items()}


@dataclass(frozen=True)
class _Children:
    """What is told with one attribute more than a group, the parent: rows by parent, the most frequent first."""

    parents: recount.Codes
    least: recount.Ints
    """The fewest and the most people of each parent."""
    most: recount.Ints
    parts: recount.Ints
    """Of each row the parent, the attribute more and the count."""
    attributes: recount.Codes
    counts: recount.Ints

    @property
    def sets(self) -> recount.Codes:
        """Of each row the parent's attributes."""
        return self.parents[self.parts]


def _children(aggregates: Aggregates, size: int, *, numbering: recount.Numbering, k: int, people: int | None) -> _Children:
    """The told groups of ``size`` and what is told with one attribute more; of no attributes, all people."""
    longer = aggregates.sets[size + 1]
    if size:
        parents, least = aggregates.sets[size], aggregates.counts[size]
        most = least + k - 1
        places = [
            recount.place_of(numbering.keys(np.delete(longer, place, axis=1)), among=aggregates.keys[size])
            for place in range(size + 1)
        ]
    else:
        years = numbering.column[aggregates.keys[1]] == list(numbering.lists).index(YEAR)
        sum_of_years = int((aggregates.counts[1][years] + k - 1).sum()) + (len(numbering.lists[YEAR]) - int(years.sum())) * (
            k - 1
        )
        parents, least = np.empty((1, 0), np.int32), np.array([people or 0])
        most = np.array([sum_of_years if people is None else min(people + k - 1, sum_of_years)])
        places = [np.zeros(len(longer), np.int64)]
    part = np.concatenate(places)
    attribute = np.concatenate([longer[:, place] for place in range(size + 1)])
    count = np.tile(aggregates.counts[size + 1], size + 1)
    order = np.lexsort([-count, part])
    order = order[part[order] >= 0]
    return _Children(parents, least, most, part[order], attribute[order], count[order])


def _complements(children: _Children, size: int, *, numbering: recount.Numbering, k: int) -> recount.Codes:
    """Groups of a parent and a year that is not told, where all other years cannot account for the parent's people."""
    number = list(numbering.lists).index(YEAR)
    all_years = np.flatnonzero(numbering.column == number).astype(np.int32)
    of_year = numbering.column[children.attributes] == number
    reported = np.zeros((len(children.parents), len(all_years)), np.bool_)
    reported[children.parts[of_year], np.searchsorted(all_years, children.attributes[of_year])] = True
    sums = np.bincount(children.parts[of_year], weights=children.counts[of_year] + k - 1, minlength=len(reported))
    untold = len(all_years) - reported.sum(axis=1)
    certain = (children.least - sums - (k - 1) * (untold - 1) >= 1) & (untold > 0)
    if size:
        certain &= ~(numbering.column[children.parents] == number).any(axis=1)
    parents, years = np.nonzero(~reported & certain[:, None])
    return np.column_stack([children.parents[parents], all_years[years]])


def _pairs(children: _Children) -> Iterator[tuple[recount.Ints, recount.Ints]]:
    """Pairs of rows of one parent whose counts add up to more than it can have, in blocks."""
    parts, counts = children.parts, children.counts
    top = int(counts.max()) + 1
    places = np.arange(len(parts))
    rank = parts * top + (top - 1 - counts)
    wanted = np.maximum(children.most[parts] + 1 - counts, 0)
    end = np.searchsorted(rank, parts * top + (top - 1 - np.minimum(wanted, top - 1)), side="right")
    more = np.where(wanted < top, np.maximum(end - places - 1, 0), 0)
    total = np.cumsum(more)
    start = 0
    while start < len(parts):
        stop = int(np.searchsorted(total, (total[start - 1] if start else 0) + BLOCK, side="right"))
        stop = max(stop, start + 1)
        own = more[start:stop]
        first = np.repeat(places[start:stop], own)
        if len(first):
            yield first, first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(own) - own, own)
        start = stop


def _threes(children: _Children) -> recount.Codes | None:
    """Groups of a parent and three attributes whose counts leave no way but to overlap; None if there are too many."""
    parts, counts = children.parts, children.counts
    start = np.flatnonzero(np.diff(parts, prepend=-1))
    size = np.diff(start, append=len(parts))
    start, size = start[size >= 3], size[size >= 3]
    heavy = counts[start] + counts[start + 1] + counts[start + 2] > 2 * children.most[parts[start]]
    sets: list[recount.Codes] = []
    rows = 0
    for first, number in zip(start[heavy].tolist(), size[heavy].tolist(), strict=True):
        parent, limit = children.parents[parts[first]], 2 * int(children.most[parts[first]])
        own, attributes = counts[first : first + number], children.attributes[first : first + number]
        for one in range(number - 2):
            if own[one] + own[one + 1] + own[one + 2] <= limit:
                break
            rest = own[one + 1 :]
            ends = np.searchsorted(-rest, own[one] + rest - limit, side="left")  # rest[:end] are those that suffice with each
            seconds = np.arange(len(rest))
            times = np.maximum(ends - seconds - 1, 0)
            rows += int(times.sum())
            if rows > MOST_THREES:
                return None
            second = np.repeat(seconds, times)
            third = second + 1 + np.arange(len(second)) - np.repeat(np.cumsum(times) - times, times)
            three = np.column_stack(
                [np.full(len(second), attributes[one]), attributes[one + 1 + second], attributes[one + 1 + third]]
            )
            sets.append(np.column_stack([np.tile(parent, (len(second), 1)), three]))
    return np.concatenate(sets) if sets else np.empty((0, children.parents.shape[1] + 3), np.int32)


def _untold(aggregates: Aggregates, sets: recount.Codes, *, numbering: recount.Numbering) -> recount.Ints:
    """Keys of the ``sets`` of different variables that are not told."""
    sets = np.sort(sets, axis=1)
    possible = (np.diff(numbering.column[sets], axis=1) > 0).all(axis=1)
    keys = np.unique(numbering.keys(sets[possible]))
    return keys[recount.place_of(keys, among=aggregates.keys[sets.shape[1]]) < 0]


def _names(key: int, size: int, numbering: recount.Numbering) -> list[str]:
    names, mask = list(numbering.lists), (1 << numbering.bits) - 1
    return [names[int(numbering.column[key >> (numbering.bits * place) & mask])] for place in range(size)]
