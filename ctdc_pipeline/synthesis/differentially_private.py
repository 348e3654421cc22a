"""Make records from measurements; they depend on the noisy counts, the seed and the rule of support alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ctdc_pipeline.counting.attributes import MISSING, Progress, Records, decode, require_core
from ctdc_pipeline.parameters import require_seed, require_whole
from ctdc_pipeline.privacy.contribution import UNIT
from ctdc_pipeline.privacy.domain import Domain
from ctdc_pipeline.privacy.measurements import Measurements, exact_counts, read_measurements
from ctdc_pipeline.storage.files import sha256, write_parquet
from ctdc_pipeline.storage.tables import as_text, unwritable
from ctdc_pipeline.synthesis import local_search

Reals = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int32]

MAX_PROPOSALS = 40_000_000
"""New values proposed for cells, over all sweeps."""
MIN_SWEEPS, MAX_SWEEPS = 10, 96
"""Bounds on the sweeps over the table; a small table gains by more sweeps than a large one."""
TOLERANCE_DEVIATIONS = 0.35
"""How far a count may be from its target at no cost, in standard deviations of the target."""
PAIR_VARIANCE_FLOOR = 25.0
"""Added to the variance of a pair's count, in records squared, so that none weighs more than the search can reach."""
OTHER_VARIANCE_FLOOR = 1.0
"""Likewise, for the counts of values and of lengths."""
SURE_DEVIATIONS = 3.3
"""Standard deviations from which a count is believed to be more than noise."""
OWN_COUNT_SURPRISE = 9.0
"""Squared standard deviations from what independence predicts at which a count is half trusted as it is."""
MADE_OF = "measurements"
"""The key in the file of records under which the hash of their measurements stands."""


@dataclass(frozen=True)
class Estimates:
    """Best guesses of the counts, and their standard deviations, in records; float64, one per attribute or pair of the domain."""

    values: Reals
    values_deviation: Reals
    pairs: Reals
    pairs_deviation: Reals


def estimate(measurements: Measurements) -> Estimates:
    """Remove noise from the counts of pairs: shrink each to what independence of its two columns predicts.

    How far is decided for each two columns, by how much further their counts are from independence than noise explains: the
    empirical Bayes of Efron and Morris (1973).
    """
    domain, sigma = measurements.domain, {kind: number / UNIT for kind, number in measurements.sigma.items()}
    noisy = {kind: counts / UNIT for kind, counts in measurements.noisy.items()}
    values = np.maximum(noisy["values"], 0.0)
    pairs, deviation = np.empty(domain.pairs), np.empty(domain.pairs)
    for a, b, block in _blocks(domain):
        margins = [values[domain.first[column] : domain.first[column + 1]] for column in (a, b)]
        table = noisy["pairs"][block].reshape(len(margins[0]), len(margins[1]))
        best, spread = _denoised(table, margins, sigma=sigma["pairs"])
        ceiling = np.minimum.outer(margins[0] + sigma["values"], margins[1] + sigma["values"])
        pairs[block], deviation[block] = np.clip(best, 0.0, ceiling).ravel(), spread.ravel()
    return Estimates(values, np.full(len(values), sigma["values"]), pairs, deviation)


def records_from(
    measurements: Measurements,
    *,
    seed: int,
    strict: Sequence[str] | None = None,
    k: int = 10,
    progress: Progress | None = None,
) -> pa.Table:
    """Make as many records as were measured, whose counts are those measured, up to the noise.

    The same arguments give the same rows.

    Args:
        measurements: the noisy counts.
        seed: of all random choices, at least 0.
        strict: columns whose values appear in a pair only where the measurements show it (``supported``). Default: those that
            the domain names.
        k: a pair shows from this count on.
        progress: called with the phase and the share of it that is done.

    Returns:
        The columns of the domain, as text; rows in random order.

    Raises:
        ParameterError: ``seed`` or ``k`` is out of range, or a column is unknown.
    """
    require_seed(seed)
    require_whole("k", k)
    domain = measurements.domain
    report: Progress = progress or (lambda _phase, _share: None)
    estimates = estimate(measurements)
    strict = domain.strict if strict is None else strict
    require_core(strict, columns=domain.columns)
    allowed = np.empty(0, np.bool_)
    if strict:
        allowed = supported(measurements, estimates, k=k) | open_pairs(domain, strict=strict)
    rules = _rules(measurements, allowed)
    codes = start(measurements, estimates, rng=np.random.Generator(np.random.PCG64([seed, 1])))
    local_search.enforce(rules, codes, estimates.values)
    report("start", 1.0)
    counts = _counts(measurements, estimates)
    local_search.add_records(rules, codes, counts)
    sweeps = int(np.clip(MAX_PROPOSALS // max(1, codes.size), MIN_SWEEPS, MAX_SWEEPS))
    for number, draw in enumerate(np.random.Generator(np.random.PCG64([seed, 3])).integers(1 << 63, size=sweeps), start=1):
        local_search.sweep(rules, codes, counts, int(draw))
        report("search", number / sweeps)
    codes = np.random.Generator(np.random.PCG64([seed, 2])).permutation(codes, axis=0)
    texts = tuple(text for texts in domain.values for text in texts)
    return decode(
        codes, records=Records(domain.columns, codes, np.ones(len(codes), np.int64), domain.column.astype(np.int32), texts)
    )


def records_of(measured: Path, *, k: int) -> pa.Table:
    """The records of the measurements at ``measured``, as text. Raises as ``read_measurements``.

    The seed is the hash of the file, so that whoever has it makes the same records.
    """
    return as_text(records_from(read_measurements(measured), seed=seed_of(sha256(measured)), k=k))


def seed_of(digest: str) -> int:
    """The seed for measurements whose file has the SHA-256 ``digest``: its first 15 hexadecimal digits as a number."""
    return int(digest[:15], 16)


def write_records(measured: Path, output: Path, *, k: int = 10) -> None:
    """Write ``records_of`` the measurements to ``output``, for anybody to read; the file names their hash.

    Raises as ``read_measurements``, and ResourceError.
    """
    made = records_of(measured, k=k)
    with unwritable(output):
        write_parquet(made.replace_schema_metadata({MADE_OF: sha256(measured)}), output, private=False)


def compile_now() -> None:
    """Compile the counts and the search, and keep them for the processes that follow; about 20 seconds the first time."""
    domain = Domain(("a", "b"), (("x", "y"), ("1",)), 1)
    exact = exact_counts(np.array([[0, 2], [1, MISSING]] * 8, np.int32), domain=domain)
    records_from(Measurements(domain, 1.0, 1e-6, dict.fromkeys(exact, UNIT), exact), seed=0, strict=domain.columns)


def start(measurements: Measurements, estimates: Estimates, *, rng: np.random.Generator) -> Codes:
    """Draw records from a tree of the strongest dependences, each column given one other (Chow, Liu 1968).

    Returns:
        int32 (records, columns): attribute number or -1.
    """
    domain, rows = measurements.domain, measurements.rows
    columns = len(domain.columns)
    tables = {(a, b): joint(domain, estimates, a, b, block, rows=rows) for a, b, block in _blocks(domain)}
    strength = np.zeros((columns, columns))
    for (a, b), table in tables.items():
        strength[a, b] = strength[b, a] = information(table)
    codes = np.full((rows, columns), MISSING, np.int32)
    linked = [0]
    first = estimates.values[: domain.first[1]]
    codes[:, 0] = _drawn(np.append(first, max(0.0, rows - first.sum())), rows, rng)
    while len(linked) < columns:
        others = [column for column in range(columns) if column not in linked]
        within = strength[np.ix_(linked, others)]
        parent, child = np.unravel_index(int(np.argmax(within)), within.shape)
        a, b = linked[int(parent)], others[int(child)]
        table = tables[a, b] if a < b else tables[b, a].T
        given = np.where(codes[:, a] < 0, table.shape[0] - 1, codes[:, a] - domain.first[a])
        order = np.argsort(given, kind="stable")
        ends = np.cumsum(np.bincount(given, minlength=table.shape[0]))
        for value, members in enumerate(np.split(order, ends[:-1])):
            if len(members):
                weights = table[value] if table[value].sum() > 0 else table.sum(axis=0)
                drawn = _drawn(weights, len(members), rng)
                codes[members, b] = np.where(drawn < 0, MISSING, drawn + domain.first[b])
        linked.append(b)
    return codes


def joint(domain: Domain, estimates: Estimates, a: int, b: int, block: slice, *, rows: int) -> Reals:
    """Return the estimated table of two columns; its last row and column are of records without a value there."""
    values_a, values_b = (estimates.values[domain.first[column] : domain.first[column + 1]] for column in (a, b))
    both = estimates.pairs[block].reshape(len(values_a), len(values_b))
    table = np.zeros((len(values_a) + 1, len(values_b) + 1))
    table[:-1, :-1] = both
    table[:-1, -1] = np.maximum(values_a - both.sum(axis=1), 0.0)
    table[-1, :-1] = np.maximum(values_b - both.sum(axis=0), 0.0)
    table[-1, -1] = max(0.0, rows - table.sum())
    return table


def information(table: Reals) -> float:
    """Return the mutual information of a table of counts, in nats times its total."""
    total = table.sum()
    if total <= 0:
        return 0.0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / total
    positive = table > 0
    return float((table[positive] * np.log(table[positive] / expected[positive])).sum())


def supported(measurements: Measurements, estimates: Estimates, *, k: int) -> Flags:
    """Mark the pairs that the measurements show: at least ``k``, and more than noise by ``SURE_DEVIATIONS``.

    A pair shows either by its own count, or by a count above 0 together with the other counts of its columns.

    Returns:
        bool (pairs).
    """
    sigma = measurements.sigma["pairs"] / UNIT
    noisy = measurements.noisy["pairs"] / UNIT
    by_estimate = estimates.pairs >= np.maximum(k, SURE_DEVIATIONS * estimates.pairs_deviation)
    return (noisy >= max(k, SURE_DEVIATIONS * sigma)) | (by_estimate & (noisy > 0))


def open_pairs(domain: Domain, *, strict: Sequence[str]) -> Flags:
    """Mark the pairs, bool (pairs), of which neither value is of a column in ``strict``."""
    is_open = np.zeros(domain.pairs, np.bool_)
    for a, b, block in _blocks(domain):
        is_open[block] = domain.columns[a] not in strict and domain.columns[b] not in strict
    return is_open


def _denoised(noisy: Reals, margins: list[Reals], *, sigma: float) -> tuple[Reals, Reals]:
    """Shrink the counts of two columns to independence. Returns them and their standard deviations.

    Counts that independence predicts badly are kept: the more surprising, the more of their own count.

    Args:
        noisy: float64 (values of one column, values of the other), counts.
        margins: the counts of the values of each column.
        sigma: standard deviation of the noise of a count.
    """
    total = max(float(noisy.sum()), 0.0)
    if noisy.size == 1 or total <= 0:
        return np.maximum(noisy, 0.0), np.full(noisy.shape, sigma)
    row, column = (
        _margin(noisy.sum(axis=1 - axis), margins[axis], sigma=sigma * np.sqrt(noisy.shape[1 - axis])) for axis in (0, 1)
    )
    expected = np.outer(row, column) / max(1e-9, (row.sum() + column.sum()) / 2)
    variance = _prior_variance(noisy, expected, sigma=sigma)
    share = variance / (variance + sigma * sigma)
    surprise = (noisy - expected) ** 2 / (variance + sigma * sigma)
    trust = 1 / (1 + np.exp(-np.clip((surprise - OWN_COUNT_SURPRISE) / 2, -50, 50)))
    share = share + (1 - share) * trust
    return expected + share * (noisy - expected), sigma * np.sqrt(share)


def _margin(sums: Reals, values: Reals, *, sigma: float) -> Reals:
    """Shrink the sums of a table's rows or columns to the shares of the ``values``."""
    expected = values * max(0.0, float(sums.sum())) / max(1e-9, float(values.sum()))
    variance = _prior_variance(sums, expected, sigma=sigma)
    return np.maximum(expected + variance / (variance + sigma * sigma) * (sums - expected), 0.0)


def _prior_variance(noisy: Reals, expected: Reals, *, sigma: float) -> Reals:
    """Return by how much counts differ from ``expected`` beyond the noise: a variance per count, proportional to ``expected``."""
    excess = float(((noisy - expected) ** 2).sum()) - noisy.size * sigma * sigma
    return np.maximum(0.0, excess) / max(1e-9, float(expected.sum())) * expected + 1e-12


def _counts(measurements: Measurements, estimates: Estimates) -> local_search.Counts:
    """Return excess, tolerance and weight of each count, before there is any record."""
    sigma = {kind: number / UNIT for kind, number in measurements.sigma.items()}
    lengths = np.maximum(measurements.noisy["lengths"] / UNIT, 0.0)

    def costs(targets: Reals, deviation: Reals, floor: float) -> Reals:
        return np.stack([-targets, TOLERANCE_DEVIATIONS * deviation, 1 / (deviation**2 + floor)], axis=1)

    return local_search.Counts(
        costs(estimates.values, estimates.values_deviation, OTHER_VARIANCE_FLOOR),
        costs(estimates.pairs, estimates.pairs_deviation, PAIR_VARIANCE_FLOOR),
        costs(lengths, np.full(len(lengths), sigma["lengths"]), OTHER_VARIANCE_FLOOR),
    )


def _rules(measurements: Measurements, allowed: Flags) -> local_search.Rules:
    domain, contribution = measurements.domain, measurements.contribution
    needs = _by_first(domain.implications, attributes=domain.attributes)
    needed_by = _by_first(tuple((b, a) for a, b in domain.implications), attributes=domain.attributes)
    units = contribution.value_units / UNIT, contribution.pair_units / UNIT
    return local_search.Rules(domain.first, domain.blocks, *units, allowed, *needs, *needed_by)


def _by_first(links: tuple[tuple[int, int], ...], *, attributes: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """List the second attribute of each link by the first. Returns all in one list, and where each first attribute's begin."""
    ordered = sorted(set(links))
    starts = np.searchsorted([a for a, _ in ordered], np.arange(attributes + 1)).astype(np.int64)
    return np.array([b for _, b in ordered], np.int64), starts


def _blocks(domain: Domain) -> list[tuple[int, int, slice]]:
    """List each two columns, and where the counts of their pairs are."""
    sizes = np.diff(domain.first).tolist()
    columns = range(len(sizes))
    return [
        (a, b, slice(int(domain.blocks[a, b]), int(domain.blocks[a, b]) + sizes[a] * sizes[b]))
        for a in columns
        for b in columns
        if a < b
    ]


def _drawn(weights: Reals, number: int, rng: np.random.Generator) -> Codes:
    """Draw ``number`` positions in random order, each as often as its share of ``weights`` says, up to 1.

    The last position means missing and becomes -1. Systematic sampling (Madow, Madow 1944).
    """
    shares = np.cumsum(weights)
    if shares[-1] <= 0:
        return np.full(number, MISSING, np.int32)
    points = (np.arange(number) + rng.random()) / number * shares[-1]
    drawn = np.minimum(np.searchsorted(shares, points, side="right"), len(weights) - 1)
    return rng.permutation(np.where(drawn == len(weights) - 1, MISSING, drawn)).astype(np.int32)
