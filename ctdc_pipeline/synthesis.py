"""k-synthetic data: new records in which every combination of attributes is common in the sensitive data.

The method is the codebook's, in three phases. **Redaction**: values are taken out of each record until what remains is
common. **Consolidation**: the values taken out go into a pool, and new records are built from it, by random selection
among commonly observed combinations, until it is empty. **Suppression**: values are removed until each attribute's
count is its sensitive count rounded down to a multiple of k.

It guarantees, for any table: every synthetic record, and so each of its parts, has support at least k in the sensitive
data; each attribute occurs exactly ``floor(n / k) * k`` times; no record is empty. ``docs/method.md`` tells what the
method leaves open, how this module decides it, and what else was tried.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ctdc_pipeline import kernel
from ctdc_pipeline.attributes import MISSING, Progress, Records, decode, encode
from ctdc_pipeline.errors import ParameterError
from ctdc_pipeline.kernel import Aims, Attributes, Flags, Ints, Reals, Space, Words

METHODS = ("faithful", "uniform")

ERROR = 4.0  # weight of total error, and
PRESENCE = (0.6, 0.08)  # of a pair's and of a triple's presence, against mean preservation; each over all common pairs
SCARCITY = 2.0  # how far a value's price may move with what is left of it, either way
TRIES = (12, 3)  # random maximal combinations looked at per record: in redaction, and whenever it is reconsidered
KEPT = 0.25  # share of records whose remainder is kept at once; the others' values are all pooled
LEVELS = (*np.linspace(0.975, 0.05, 38), 0.03, 0.02, 0.01)  # quantiles of worth, from which records are built
REUSE = 2  # records built of one entry in a round, at most: more of the same make its triples too frequent
ROUNDS = 3  # times that records are built from the pool; after each but the last,
RETURNED = 0.3  # of all records, at random, are taken apart
PATTERNS = 750_000  # entries, which are in random order, that are patterns then: enough of a larger table
CHUNK = 1024  # entries one thread works on at a time
SEEN = 1 << 22  # flags for the triples that appear already
BLOCK = 8192  # entries decided on the same state of the pool


@dataclass(frozen=True)
class Built:
    """Records as attribute numbers: record ``i`` is ``items[ends[i - 1] : ends[i]]``."""

    items: Attributes
    ends: Ints

    def codes(self, *, records: Records) -> npt.NDArray[np.int32]:
        """int32 (records, columns): attribute number or -1."""
        codes = np.full((len(self.ends), len(records.columns)), MISSING, np.int32)
        row = np.repeat(np.arange(len(self.ends)), np.diff(self.ends, prepend=0))
        codes[row, records.column[self.items]] = self.items
        return codes


def synthesize(
    table: pa.Table,
    *,
    k: int = 10,
    seed: int = 0,
    method: str = "faithful",
    threads: int | None = None,
    progress: Progress | None = None,
) -> pa.Table:
    """Make k-synthetic data from ``table`` (text columns, null for missing); same columns, rows in random order.

    ``method``: "faithful" keeps what preserves most combinations; "uniform" is the published method, in which every
    choice is equally likely. The result depends on the content of ``table``, ``k``, ``seed`` and ``method``, not on
    the order of rows or ``threads``. An attribute rarer than ``k`` never appears; where none reaches ``k`` the result
    has no rows. Raises ParameterError for ``k`` below 2, a negative seed, or an unknown method.
    """
    if k < 2:
        raise ParameterError(f"k is {k}", remedy="Give a resolution of at least 2; CTDC uses 10.")
    if not 0 <= seed < 1 << 63:
        raise ParameterError("the seed is out of range", remedy="Give a whole number from 0 to 2**63 - 1.")
    if method not in METHODS:
        raise ParameterError(f"no method {method}", remedy=f"Choose one of {', '.join(METHODS)}.")
    records = encode(table).common(k)
    if not len(records.value):
        return decode(np.empty((0, len(records.columns)), np.int32), records=records)
    run = Synthesis(records, k=k, seed=seed, guided=method == "faithful", threads=threads, progress=progress)
    built = run.consolidate(run.redact())
    codes = suppress(built.codes(records=records), support=records.support, k=k, seed=seed)
    run.tell("suppression", 1.0)
    return decode(shuffled(codes, seed=seed), records=records)


class Synthesis:
    """One run of redaction and consolidation over ``records``, which must hold common attributes only."""

    def __init__(
        self,
        records: Records,
        *,
        k: int,
        seed: int,
        guided: bool = True,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        # In random order: where a list of rows is cut off, what it holds must not be of one kind.
        order = np.random.Generator(np.random.PCG64([seed, 1])).permutation(len(records.weights))
        records = replace(records, codes=records.codes[order], weights=records.weights[order])
        self.records, self.k, self.seed, self.guided = records, k, seed, guided
        self.workers = ThreadPoolExecutor(threads or os.cpu_count() or 1)
        self.tell: Progress = progress or (lambda _phase, _share: None)
        self.space = space(records, k=k)
        # A record that is common as a whole is one entry for all its copies; of others each copy decides for itself.
        whole = records.weights >= k
        filled = np.diff(self.space.offsets) > 0
        self.record = np.repeat(np.arange(len(whole)), np.where(whole, 1, records.weights) * filled)
        self.copies = np.where(whole, records.weights, 1)[self.record]
        self.chosen = np.zeros(len(self.record), np.int64)
        self.left = np.zeros(len(self.record), np.int64)  # records that each may still make
        self.score = np.zeros(len(self.record))
        self.support = records.support
        self.pool = self.support.copy()
        self.deficit = self.space.support.copy()
        self.seen = np.zeros(SEEN, np.bool_)
        pairs = self.space.support[self.space.keys >= 0]
        error = ERROR * len(pairs) / max(1, int(pairs.sum()))
        self.near = kernel.partners(self.space)
        # Before any record is built all are absent, so presence tells nothing yet.
        self.aims = Aims(error, 0.0, 0.0)

    def redact(self) -> Built:
        """Phase 1: reduce every record to a common combination and keep those worth most; pool all other values."""
        tries = TRIES[0] if self.guided else 1
        level = np.ones(len(self.pool))

        def one(first: int) -> None:
            last = min(first + CHUNK, len(self.record))
            kernel.redact(
                self.space,
                self.record,
                first,
                last,
                self.deficit,
                self.seen,
                self.aims,
                level,
                self.guided,
                tries,
                self.seed,
                self.chosen,
                self.score,
            )

        for share in self._parallel(one, range(0, len(self.record), CHUNK)):
            self.tell("redaction", share)
        keep = np.arange(len(self.record))
        if self.guided:
            density = self.density()
            (least,) = quantiles(density, self.copies, (1 - KEPT,))
            keep = np.flatnonzero(density >= least)
        return self._kept(np.repeat(keep, self.copies[keep]))

    def consolidate(self, kept: Built) -> Built:
        """Phase 2: build records from the pool until it is empty; then take some apart, at random, and build again.

        What is built first is built without knowing the rest. Ruin and recreate: Schrimpf et al. 2000.
        """
        room = int(self.support.sum())
        built, ends = np.empty(room, np.int32), np.empty(room, np.int64)
        at = len(kept.ends)
        built[: len(kept.items)], ends[:at] = kept.items, kept.ends
        self.aims = Aims(self.aims.error, *PRESENCE)
        self.left = REUSE * self.copies
        patterns = self.chosen.copy()
        draw = np.random.Generator(np.random.PCG64([self.seed, 2]))
        rounds = ROUNDS if self.guided else 1
        for done in range(rounds):
            if done:
                at = self._thin(patterns, draw, built, ends, at)
            at = self._fill(
                draw, built, ends, at, told=lambda share, done=done: self.tell("consolidation", (done + share) / rounds)
            )
        return Built(built[: ends[at - 1] if at else 0], ends[:at])

    def _thin(self, patterns: Ints, draw: np.random.Generator, built: Attributes, ends: Ints, at: int) -> int:
        """Put the values of random records back into the pool, and every entry back to its pattern."""
        self.pool[:], self.deficit[:], self.seen[:], self.chosen[:] = self.support, self.space.support, False, patterns
        self.left[:PATTERNS], self.left[PATTERNS:] = REUSE * self.copies[:PATTERNS], 0
        stay = draw.random(at) >= RETURNED
        at = kernel.thin(self.space, built, ends, stay, self.pool, self.deficit, self.seen)
        # Nothing is worth infinity: this only finds out what each pattern is worth now.
        at, _ = self._made(np.arange(len(self.record)), np.inf, built, ends, at)
        return at

    def _fill(self, draw: np.random.Generator, built: Attributes, ends: Ints, at: int, *, told: Callable[[float], None]) -> int:
        """Build records from the pool until it is empty."""
        total = max(1, int(self.pool.sum()))
        if self.guided:
            for threshold in (*quantiles(self.density(), self.copies, LEVELS), float(np.nextafter(0, 1))):
                at = self._build(threshold, draw, built, ends, at)
                told(1 - self.pool.sum() / total)
        seeds = draw.permutation(np.repeat(np.arange(len(self.pool), dtype=np.int32), self.pool))
        candidate, rank = np.empty(len(self.pool), np.int32), np.empty(len(self.pool))
        match = np.empty(kernel.words(kernel.LONGEST_LIST), np.uint64)
        for first in range(0, len(seeds), CHUNK):
            at = kernel.consolidate(
                self.space,
                seeds[first : first + CHUNK],
                self.near,
                candidate,
                rank,
                match,
                self.pool,
                self.deficit,
                self.aims,
                self.guided,
                self.seed,
                built,
                ends,
                at,
            )
            told(1 - self.pool.sum() / total)
        told(1.0)
        return at

    def density(self, entries: Ints | slice = slice(None)) -> Reals:
        """Worth per value of what each of ``entries`` would keep, float64."""
        return self.score[entries] / np.maximum(1, np.bitwise_count(self.chosen[entries]))

    def price(self) -> Reals:
        """What an attribute's values in the pool are worth, float64: more where more is left than of most others.

        What is left over too long ends in short records, which preserve little.
        """
        left = self.pool / self.support
        share = self.pool.sum() / self.support.sum()
        return np.clip(left / max(share, 1e-12), 1 / SCARCITY, SCARCITY)

    def _build(self, threshold: float, draw: np.random.Generator, built: Attributes, ends: Ints, at: int) -> int:
        """Build from the entries whose last known worth per value reaches ``threshold``, in random order, by blocks."""
        entries = draw.permutation(np.flatnonzero((self.density() >= threshold) & (self.left > 0)))
        for first in range(0, len(entries), BLOCK):
            block = entries[first : first + BLOCK]
            at, stale = self._made(block, threshold, built, ends, at)
            again, seed = block[stale], int(draw.integers(1 << 62))
            price = self.price()

            def one(part: Ints, seed: int = seed, price: Reals = price) -> None:
                kernel.reconsider(
                    self.space,
                    self.record,
                    part,
                    self.pool,
                    self.deficit,
                    self.seen,
                    self.aims,
                    price,
                    TRIES[1],
                    seed,
                    self.chosen,
                    self.score,
                )

            list(self._parallel(one, np.array_split(again, max(1, len(again) // (CHUNK // 4)))))
            at, _ = self._made(again[self.density(again) >= threshold], threshold, built, ends, at)
        return at

    def _made(self, entries: Ints, threshold: float, built: Attributes, ends: Ints, at: int) -> tuple[int, Flags]:
        """Build from ``entries``, one after another; how many records there are then, and whose worth is below ``threshold``."""
        stale = np.empty(len(entries), np.bool_)
        arguments = (self.pool, self.deficit, self.seen, self.aims, self.chosen, self.score, built, ends, at, stale)
        at = kernel.build(self.space, self.record, entries, threshold, *arguments)
        self.left[entries[~stale]] -= 1
        return at, stale

    def _kept(self, entries: Ints) -> Built:
        """The chosen combinations of ``entries`` as records, taken out of the pool."""
        built, ends = np.empty(int(self.pool.sum()), np.int32), np.empty(len(entries), np.int64)
        at, _ = self._made(entries, -np.inf, built, ends, 0)
        return Built(built[: ends[at - 1] if at else 0], ends[:at])

    def _parallel(self, one: Callable[[Any], None], parts: Sequence[Any]) -> Iterator[float]:
        """Run ``one`` over ``parts`` on the threads; yields the share done. An interrupt drops what has not begun."""
        waiting = [self.workers.submit(one, part) for part in parts]
        try:
            for number, future in enumerate(waiting, 1):
                future.result()
                yield number / len(waiting)
        finally:
            for future in waiting:
                future.cancel()
            wait(waiting)


def space(records: Records, *, k: int) -> Space:
    """Index ``records`` (common attributes only) for the kernel."""
    attributes = len(records.value)
    offsets, items = kernel.listed(records.codes)
    keys, count = kernel.count_pairs(offsets, items, records.weights, attributes)
    common = (keys >= 0) & (count >= k)
    keys, count = kernel.rehash(np.where(common, keys, -1), count, 1 << max(2, int(common.sum()) * 3).bit_length())
    start, length, rows = kernel.list_rows(offsets, items, keys, attributes)
    packed, where, width, bits = pack(records)
    first, slices = kernel.slice_rows(packed, rows, start, length)
    weights = records.weights
    return Space(offsets, items, weights, slices, where, width, bits, keys, count, start, length, first, rows, attributes, k)


def pack(records: Records) -> tuple[Words, Ints, Ints, Ints]:
    """Each record as a few 64-bit words, and for each attribute its first bit, their number and their value (see kernel.Space).

    A column takes as many bits as number its values and "missing", which is 0. The very first bit marks a weight above 1.
    """
    first = np.searchsorted(records.column, np.arange(len(records.columns) + 1))
    values = np.diff(first).tolist()
    where = np.zeros(len(records.value), np.int64)
    width, bits = np.zeros(len(where), np.int64), np.zeros(len(where), np.int64)
    words = [(records.weights > 1).astype(np.uint64)]
    used = kernel.HEAVY + 1
    for column, number in enumerate(values):
        size = number.bit_length()
        if used + size > 64:
            words.append(np.zeros(len(records.codes), np.uint64))
            used = 0
        own = slice(first[column], first[column + 1])
        where[own] = (len(words) - 1) * 64 + used
        width[own] = size
        bits[own] = np.arange(1, number + 1)
        numbers = records.codes[:, column]
        words[-1] |= np.where(numbers >= 0, numbers - first[column] + 1, 0).astype(np.uint64) << np.uint64(used)
        used += size
    return np.stack(words, axis=1), where, width, bits


def quantiles(values: Reals, copies: Ints, shares: Sequence[float]) -> list[float]:
    """For each of ``shares``, the least value that is no smaller than that share of all ``values``, counted ``copies`` times."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(copies[order])
    return values[order[np.searchsorted(reached, np.array(shares) * reached[-1])]].tolist()


def suppress(codes: npt.NDArray[np.int32], *, support: Ints, k: int, seed: int) -> npt.NDArray[np.int32]:
    """Phase 3: remove values until each attribute ``a`` occurs ``support[a] // k * k`` times; drop emptied records.

    Values go from the shortest records first, where fewest combinations are lost, at random among equals.
    """
    turn = np.random.Generator(np.random.PCG64([seed, 3])).permutation(len(codes))
    length = (codes >= 0).sum(axis=1).astype(np.uint16)
    order = turn[np.argsort(length[turn], kind="stable")]
    present = np.bincount(codes[codes >= 0], minlength=len(support))
    kernel.remove(codes, order, present - support // k * k)
    return codes[(codes >= 0).any(axis=1)]


def shuffled(codes: npt.NDArray[np.int32], *, seed: int) -> npt.NDArray[np.int32]:
    """The records in random order."""
    return np.random.Generator(np.random.PCG64([seed, 4])).permutation(codes, axis=0)
