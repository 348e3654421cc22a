"""k-synthetic data: new records in which every combination of attributes is common in the sensitive data.

The method is the codebook's, in three phases. **Redaction**: values are taken out of each record until what remains is
common. **Consolidation**: the values taken out go into a pool, and new records are built from it, by random selection
among commonly observed combinations, until it is empty. **Suppression**: values are removed until each attribute's
count is its sensitive count rounded down to a multiple of k.

It guarantees, for any table: every synthetic record, and so each of its parts, has support at least k in the sensitive
data; each attribute occurs exactly ``floor(n / k) * k`` times; no record is empty. ``docs/method.md`` says what the
method leaves open, how this module decides it, and what else was tried. The constants to tune are in ``kernel``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ctdc_pipeline.counting.attributes import MISSING, Progress, Records, decode, encode, require_core
from ctdc_pipeline.counting.rounding import rounded_down
from ctdc_pipeline.errors import ParameterError
from ctdc_pipeline.operations.compilation import is_kept
from ctdc_pipeline.operations.limits import UNLIMITED, Limits
from ctdc_pipeline.parameters import require_seed, require_whole
from ctdc_pipeline.synthesis import kernel
from ctdc_pipeline.synthesis.kernel import (
    Aims,
    Attributes,
    Candidates,
    Choice,
    Entries,
    Flags,
    Ints,
    Output,
    Reals,
    SensitiveIndex,
    Supply,
    Words,
)

METHODS = ("faithful", "uniform")


@dataclass(frozen=True)
class Built:
    """Records as attribute numbers: record ``i`` is ``items[ends[i - 1] : ends[i]]``."""

    items: Attributes
    ends: Ints

    def codes(self, *, records: Records) -> npt.NDArray[np.int32]:
        """Return the records as int32 (records, columns): attribute number or -1."""
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
    core: Sequence[str] = (),
    limits: Limits = UNLIMITED,
    progress: Progress | None = None,
) -> pa.Table:
    """Make k-synthetic data from ``table``.

    The result depends on the content of ``table``, ``k``, ``seed``, ``method`` and ``core``, not on the order of rows or
    the number of threads. An attribute rarer than ``k`` never appears; where none reaches ``k`` the result has no rows.

    Args:
        table: text columns, null for missing.
        k: the resolution, at least 2.
        seed: of all random choices, at least 0.
        method: "faithful" keeps what preserves most combinations. "uniform" is the published method, in which every choice is
            equally likely.
        core: columns whose pairs are counted most accurately, at the cost of others. "uniform" ignores them.
        limits: how many threads work, by default one for each processor. The others bound nothing here.
        progress: called with the phase and the share of it that is done.

    Returns:
        The same columns, as text; rows in random order.

    Raises:
        ParameterError: ``k``, ``seed`` or the number of threads is out of range, or the method or a core column is unknown.

    Example:
        >>> import pyarrow as pa
        >>> victims = pa.table({"gender": ["Female"] * 12 + ["Male"] * 3, "isMinor": ["1"] * 15})
        >>> synthetic = synthesize(victims, k=5, seed=1)
        >>> sorted({(row["gender"], row["isMinor"]) for row in synthetic.to_pylist()}, key=str)
        [('Female', '1'), (None, '1')]
    """
    require_whole("k", k, minimum=2)
    _ = limits.workers  # refused before anything is done
    require_seed(seed)
    if method not in METHODS:
        raise ParameterError(f"no method {method}", remedy=f"Choose one of {', '.join(METHODS)}.")
    require_core(core, columns=table.column_names)
    records = encode(table, limits=limits).common(k)
    if not len(records.value):
        return decode(np.empty((0, len(records.columns)), np.int32), records=records)
    run = Synthesis(records, k=k, seed=seed, guided=method == "faithful", core=core, limits=limits, progress=progress)
    built = run.consolidate(run.redact())
    codes = run.suppress(built)
    run.report("suppression", 1.0)
    return decode(shuffled(codes, seed=seed), records=records)


def is_compiled() -> bool:
    """Whether the inner loops were compiled before, so that the next synthesis begins at once."""
    return is_kept(kernel.redact)


def compile_now() -> None:
    """Compile the inner loops, and keep them for the processes that follow; about 15 seconds the first time."""
    table = pa.table({name: pa.array([value for value in "xy" for _ in range(8)]) for name in "abc"})
    for method in METHODS:
        synthesize(table, k=2, method=method, limits=Limits(threads=1))


class Synthesis:
    """One run of the three phases over ``records``, which must contain common attributes only.

    Args:
        records: the sensitive records.
        k: the resolution.
        seed: of all random choices.
        guided: prefer what preserves most combinations; else every choice is equally likely (the published method).
        core: columns whose pairs are counted most accurately.
        limits: how many threads work, by default one for each processor. The others bound nothing here.
        progress: called with the phase and the share of it that is done.
    """

    def __init__(
        self,
        records: Records,
        *,
        k: int,
        seed: int,
        guided: bool = True,
        core: Sequence[str] = (),
        limits: Limits = UNLIMITED,
        progress: Progress | None = None,
    ) -> None:
        # In random order: where a list of records is cut, those in it must not be of one kind.
        order = np.random.Generator(np.random.PCG64([seed, 1])).permutation(len(records.weights))
        records = replace(records, codes=records.codes[order], weights=records.weights[order])
        self.records, self.k, self.seed, self.guided = records, k, seed, guided
        self.workers = ThreadPoolExecutor(limits.workers)
        self.report: Progress = progress or (lambda _phase, _share: None)
        self.index = sensitive_index(records, k=k, core=core)
        self.neighbours = kernel.neighbours_of(self.index)
        # A record that is common as a whole is one entry for all its copies; of others each copy decides for itself.
        whole = records.weights >= k
        filled = np.diff(self.index.offsets) > 0
        record = np.repeat(np.arange(len(whole)), np.where(whole, 1, records.weights) * filled)
        self.entries = Entries(record, np.zeros(len(record), np.int64), np.zeros(len(record)))
        self.copies = np.where(whole, records.weights, 1)[record]
        self.whole = whole[record]
        self.may_build = np.zeros(len(record), np.int64)  # records that each entry may still make
        self.support = records.support
        self.supply = Supply(self.support.copy(), self.index.support.copy(), np.zeros(kernel.TRIPLE_SLOTS, np.bool_))
        values = int(self.support.sum())
        self.output = Output(np.empty(values, np.int32), np.empty(values, np.int64), np.zeros(1, np.int64))
        pairs = self.index.support[self.index.keys >= 0]
        error = kernel.ERROR_WEIGHT * len(pairs) / max(1, int(pairs.sum()))
        # Before any record is built all pairs are absent, so presence says nothing yet.
        self.aims = Aims(error, 0.0, 0.0)

    def redact(self) -> Built:
        """Reduce every record to a common combination (phase 1). What is common as a whole stays, whatever else happens."""
        tries = kernel.REDACTION_TRIES if self.guided else 1
        choice = Choice(self.aims, np.ones(len(self.support)), self.guided, tries)
        entries = len(self.entries.record)

        def redact_part(first: int) -> None:
            last = min(first + kernel.ENTRIES_PER_TASK, entries)
            kernel.redact(self.index, self.entries, first, last, self.supply, choice, self.seed)

        for share in self._parallel(redact_part, range(0, entries, kernel.ENTRIES_PER_TASK)):
            self.report("redaction", share)
        return self._keep(kernel.KEEP_SHARE if self.guided else 1.0)

    def consolidate(self, kept: Built) -> Built:
        """Build records from the pool until it is empty; then take some apart, at random, and build again (phase 2).

        Records common as a whole are taken apart only on a table where the objective gains more by that.

        Records built first are built without knowing the rest; hence ruin and recreate (Schrimpf et al. 2000).
        """
        draw = np.random.Generator(np.random.PCG64([self.seed, 2]))
        patterns = self.entries.chosen.copy()
        self.aims = Aims(self.aims.error, kernel.PAIR_PRESENCE_WEIGHT, kernel.TRIPLE_PRESENCE_WEIGHT)
        self.may_build = kernel.MAX_RECORDS_PER_ENTRY * self.copies
        trials = 2 + kernel.MAX_REBUILD_ROUNDS if self.guided else 1
        number = count()

        def trial(start: Built, *, rebuild: bool, whole_too: bool) -> tuple[float, Built]:
            """Build from ``start`` until the pool is empty; ``rebuild``: after some of its records were taken apart."""
            self._start_from(start)
            if rebuild:
                self._take_apart(patterns, draw, spared=0 if whole_too else whole)
            done = next(number)
            self._fill(draw, report=lambda share: self.report("consolidation", (done + share) / trials))
            return self.objective(), self._built()

        whole = int(self.copies[self.whole].sum())
        most, best = trial(kept, rebuild=False, whole_too=False)
        # Whether taking whole records apart helps is not known before it is tried, so the first round is made both ways.
        ways = (False, True) if whole > kernel.MIN_WHOLE_SHARE * len(best.ends) else (False,)
        for _ in range(kernel.MAX_REBUILD_ROUNDS if self.guided else 0):
            value, rebuilt, whole_too = max(
                ((*trial(best, rebuild=True, whole_too=way), way) for way in ways), key=lambda result: result[0]
            )
            if value <= most:
                break
            most, best, ways = value, rebuilt, (whole_too,)
        self.report("consolidation", 1.0)
        return best

    def suppress(self, built: Built) -> npt.NDArray[np.int32]:
        """Remove values until each attribute occurs its support rounded down to a multiple of k; drop emptied records (phase 3).

        "faithful" removes where the objective loses least, among the shortest records of a value, which take the fewest
        combinations with them. "uniform" removes from the shortest. At random among equals.

        Returns:
            int32 (records, columns): attribute number or -1.
        """
        codes = built.codes(records=self.records)
        turn = np.random.Generator(np.random.PCG64([self.seed, 3])).permutation(len(codes))
        length = (codes >= 0).sum(axis=1).astype(np.uint16)
        order = turn[np.argsort(length[turn], kind="stable")]
        surplus = self.support - rounded_down(self.support, self.k)
        if self.guided:
            kernel.suppress(self.index, codes, order, surplus, self.aims)
        else:
            kernel.remove_first(codes, order, surplus)
        return codes[(codes >= 0).any(axis=1)]

    def objective(self) -> float:
        """Return what the records built so far are worth, as in ``kernel.worth``: preservation, presence, less total error."""
        common = self.index.keys >= 0
        support, deficit = self.index.support[common], self.supply.deficit[common]
        preserved = np.minimum((support - deficit) / support, 1.0).sum() + self.aims.pair * (deficit < support).sum()
        error = self.aims.error * (self.index.error_weight[common] * np.abs(deficit)).sum()
        return float(preserved - error + self.aims.triple * self.supply.seen.sum())

    def density(self, numbers: Ints | slice = slice(None)) -> Reals:
        """Return the worth per value of what each of the entries ``numbers`` would keep, float64."""
        return self.entries.score[numbers] / np.maximum(1, np.bitwise_count(self.entries.chosen[numbers]))

    def price(self) -> Reals:
        """Return the price of each attribute, float64: higher where more of it is left in the pool than of most others.

        Values left over too long end in short records, which preserve little.
        """
        share_left = self.supply.pool / self.support
        mean_share_left = self.supply.pool.sum() / self.support.sum()
        return np.clip(share_left / max(mean_share_left, 1e-12), 1 / kernel.MAX_PRICE_FACTOR, kernel.MAX_PRICE_FACTOR)

    def _built(self) -> Built:
        """Return a copy of the records built so far."""
        ends = self.output.ends[: self.output.size[0]].copy()
        return Built(self.output.items[: ends[-1] if len(ends) else 0].copy(), ends)

    def _start_from(self, start: Built) -> None:
        """Make ``start`` the records built so far."""
        self.output.items[: len(start.items)], self.output.ends[: len(start.ends)] = start.items, start.ends
        self.output.size[0] = len(start.ends)

    def _take_apart(self, patterns: Ints, draw: np.random.Generator, *, spared: int) -> None:
        """Put the values of random records back into the pool, but of none of the first ``spared``; the rest starts anew."""
        self.supply.pool[:], self.supply.deficit[:], self.supply.seen[:] = self.support, self.index.support, False
        self.entries.chosen[:] = patterns
        self.may_build = kernel.MAX_RECORDS_PER_ENTRY * self.copies
        self.may_build[kernel.MAX_REBUILD_ENTRIES :] = 0
        stays = draw.random(self.output.size[0]) >= kernel.REBUILD_SHARE
        stays[:spared] = True
        kernel.keep_records(self.index, self.output, stays, self.supply)
        # No entry is worth infinity, so this only brings the scores up to date.
        self._build(np.arange(len(self.entries.record)), np.inf)

    def _fill(self, draw: np.random.Generator, *, report: Callable[[float], None]) -> None:
        """Build records from the pool until it is empty."""
        pool = self.supply.pool
        total = max(1, int(pool.sum()))
        if self.guided:
            levels = quantiles(self.density(), self.copies, kernel.BUILD_QUANTILES)
            for threshold in (*levels, float(np.nextafter(0, 1))):
                self._build_above(threshold, draw)
                report(1 - pool.sum() / total)
        seeds = draw.permutation(np.repeat(np.arange(len(pool), dtype=np.int32), pool))
        words = int(kernel.words_for(kernel.MAX_LISTED_RECORDS))
        candidates = Candidates(np.empty(len(pool), np.int32), np.empty(len(pool)), np.empty(words, np.uint64))
        for first in range(0, len(seeds), kernel.ENTRIES_PER_TASK):
            part = seeds[first : first + kernel.ENTRIES_PER_TASK]
            kernel.consolidate(
                self.index, self.neighbours, part, self.supply, self.aims, self.guided, self.seed, self.output, candidates
            )
            report(1 - pool.sum() / total)
        report(1.0)

    def _build_above(self, threshold: float, draw: np.random.Generator) -> None:
        """Build from the entries whose last known worth per value reaches ``threshold``, in random order, by blocks."""
        numbers = draw.permutation(np.flatnonzero((self.density() >= threshold) & (self.may_build > 0)))
        for first in range(0, len(numbers), kernel.ENTRIES_PER_BLOCK):
            block = numbers[first : first + kernel.ENTRIES_PER_BLOCK]
            stale = block[self._build(block, threshold)]
            seed = int(draw.integers(1 << 62))
            choice = Choice(self.aims, self.price(), True, kernel.RECONSIDERATION_TRIES)

            def reconsider(part: Ints, seed: int = seed, choice: Choice = choice) -> None:
                kernel.reconsider(self.index, self.entries, part, self.supply, choice, seed)

            parts = max(1, len(stale) // (kernel.ENTRIES_PER_TASK // 4))
            list(self._parallel(reconsider, np.array_split(stale, parts)))
            self._build(stale[self.density(stale) >= threshold], threshold)

    def _build(self, numbers: Ints, threshold: float) -> Flags:
        """Build from the entries ``numbers``, one after another. Returns which were not built: worth less than ``threshold``."""
        stale = np.empty(len(numbers), np.bool_)
        kernel.build(self.index, self.entries, numbers, threshold, self.supply, self.aims, self.output, stale)
        self.may_build[numbers[~stale]] -= 1
        return stale

    def _keep(self, share: float) -> Built:
        """Build the records common as a whole, then a ``share`` of all other remainders: those worth most per value."""
        others = np.flatnonzero(~self.whole)
        if share < 1 and len(others):
            (least,) = quantiles(self.density(others), self.copies[others], (1 - share,))
            others = others[self.density(others) >= least]
        numbers = np.concatenate([np.flatnonzero(self.whole), others])
        self._build(np.repeat(numbers, self.copies[numbers]), -np.inf)
        return self._built()

    def _parallel(self, work: Callable[[Any], None], parts: Sequence[Any]) -> Iterator[float]:
        """Run ``work`` on each of ``parts`` in threads; yields the share done. An interrupt drops the parts not begun."""
        waiting = [self.workers.submit(work, part) for part in parts]
        try:
            for number, future in enumerate(waiting, 1):
                future.result()
                yield number / len(waiting)
        finally:
            for future in waiting:
                future.cancel()
            wait(waiting)


def sensitive_index(records: Records, *, k: int, core: Sequence[str] = ()) -> SensitiveIndex:
    """Index ``records`` (common attributes only) for the kernel; the errors of pairs of ``core`` columns weigh more."""
    attributes = len(records.value)
    offsets, items = kernel.flat_records(records.codes)
    keys, support = kernel.count_pairs(offsets, items, records.weights, attributes)
    common = (keys >= 0) & (support >= k)
    keys, support = kernel.rehash(np.where(common, keys, -1), support, 1 << max(2, int(common.sum()) * 3).bit_length())
    row_start, row_count, rows = kernel.list_rows(offsets, items, keys, attributes)
    packed, first_slice, slice_count, number_in_column = pack(records)
    slice_start, slices = kernel.slice_rows(packed, rows, row_start, row_count)
    error_weight = np.ones(len(keys))
    is_core = np.isin(np.array(records.columns), list(core))[records.column]
    a, b = np.maximum(keys, 0) // attributes, keys % attributes
    error_weight[is_core[a] & is_core[b] & (keys >= 0)] = kernel.CORE_PAIR_ERROR_WEIGHT
    return SensitiveIndex(
        offsets=offsets,
        items=items,
        weights=records.weights,
        keys=keys,
        support=support,
        error_weight=error_weight,
        row_start=row_start,
        row_count=row_count,
        rows=rows,
        slice_start=slice_start,
        slices=slices,
        first_slice=first_slice,
        slice_count=slice_count,
        number_in_column=number_in_column,
        attributes=attributes,
        k=k,
    )


def pack(records: Records) -> tuple[Words, Ints, Ints, Ints]:
    """Pack each record into a few 64-bit words.

    A column takes as many bits as its values need, numbered from 1; 0 is missing. The very first bit marks a weight above 1.

    Returns:
        The records as uint64 (records, words), and ``first_slice``, ``slice_count`` and ``number_in_column`` of
        ``kernel.SensitiveIndex``.
    """
    first = np.searchsorted(records.column, np.arange(len(records.columns) + 1))
    first_slice = np.zeros(len(records.value), np.int64)
    slice_count, number_in_column = np.zeros_like(first_slice), np.zeros_like(first_slice)
    words = [(records.weights > 1).astype(np.uint64)]
    used = kernel.HEAVY_SLICE + 1
    for column, values in enumerate(np.diff(first).tolist()):
        bits = values.bit_length()
        if used + bits > 64:
            words.append(np.zeros(len(records.codes), np.uint64))
            used = 0
        of_column = slice(first[column], first[column + 1])
        first_slice[of_column] = (len(words) - 1) * 64 + used
        slice_count[of_column] = bits
        number_in_column[of_column] = np.arange(1, values + 1)
        numbers = records.codes[:, column]
        words[-1] |= np.where(numbers >= 0, numbers - first[column] + 1, 0).astype(np.uint64) << np.uint64(used)
        used += bits
    return np.stack(words, axis=1), first_slice, slice_count, number_in_column


def quantiles(values: Reals, copies: Ints, shares: Sequence[float]) -> list[float]:
    """Return for each of ``shares`` the least value not below that share of all ``values``, each counted ``copies`` times."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(copies[order])
    return values[order[np.searchsorted(reached, np.array(shares) * reached[-1])]].tolist()


def shuffled(codes: npt.NDArray[np.int32], *, seed: int) -> npt.NDArray[np.int32]:
    """Return the records in random order."""
    return np.random.Generator(np.random.PCG64([seed, 4])).permutation(codes, axis=0)
