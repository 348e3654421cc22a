"""Measure the disclosure and the fidelity of a synthetic table against the sensitive table it was made from.

The figures are exact, for any pair of categorical tables. What a release must guarantee is not decided here:
`ctdc_pipeline.privacy.k_synthetic_proof` proves that with code of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ctdc_pipeline.counting.attributes import Progress, Records, encode_together, require_core
from ctdc_pipeline.counting.combinations import Layout, Suffixes, database, load_counts, phase
from ctdc_pipeline.counting.rounding import rounded_down
from ctdc_pipeline.errors import TableError
from ctdc_pipeline.operations.limits import UNLIMITED, Limits
from ctdc_pipeline.parameters import MAX_LENGTH, require_whole

BUCKETS = (1, 2, 5, 10, 100)  # sensitive counts, in multiples of k, from which a bucket begins
BLOCK = 1 << 17  # 64-bit words of the bit sets worked on at a time: a megabyte stays in the cache
PARTS = 10**9  # preservation is summed in whole billionths, so that the sum does not depend on its order


@dataclass(frozen=True)
class Leakage:
    """Synthetic records of `length` attributes: the numbers of distinct ones and of rows, in total and without support `k`."""

    length: int
    records: int
    rows: int
    rare_records: int
    rare_rows: int


@dataclass(frozen=True)
class Fidelity:
    """How the counts of the ``common`` sensitive combinations were kept: those with a sensitive count of at least k.

    ``lost``: those that no synthetic row has. ``preservation``: the mean of synthetic by sensitive count, at most 1 each.
    ``relative_error``: the sum of absolute differences by the sum of sensitive counts. ``mean_absolute_error``: the mean
    difference. None where nothing is common.
    """

    common: int
    lost: int
    preservation: float | None
    relative_error: float | None
    mean_absolute_error: float | None


@dataclass(frozen=True)
class Combinations:
    """Combinations of ``length`` attributes.

    Sensitive: how many are ``distinct``, ``rare`` (fewer than k times), ``unique`` (once). Synthetic: how many are
    ``synthetic``, ``leaked`` (sensitive count below k), and ``fabricated`` (of the leaked: in no sensitive row).
    """

    length: int
    distinct: int
    rare: int
    unique: int
    synthetic: int
    leaked: int
    fabricated: int
    fidelity: Fidelity


@dataclass(frozen=True)
class Bucket:
    """Common combinations of `length` with a sensitive count from `least` to `most` (None: no limit)."""

    length: int
    least: int
    most: int | None
    fidelity: Fidelity


@dataclass(frozen=True)
class Evaluation:
    """The result of `evaluate`. Only counts and shares, no values; those of rare combinations are still internal.

    ``empty_rows``: synthetic rows without any value. ``inexact_counts``: attributes whose synthetic count is not the sensitive
    count rounded down to a multiple of k. ``smallest_support``: the smallest of any synthetic record; None without records.
    ``core``: the fidelity of pairs of core variables; None if none were named.
    """

    k: int
    sensitive_rows: int
    synthetic_rows: int
    row_ratio: float
    empty_rows: int
    attributes: int
    inexact_counts: int
    smallest_support: int | None
    leakage: tuple[Leakage, ...]
    combinations: tuple[Combinations, ...]
    buckets: tuple[Bucket, ...]
    core: Fidelity | None = None

    @property
    def private(self) -> bool:
        """Whether k-synthetic guarantees hold: support of at least k at any length, exact counts, no empty row."""
        return not (self.empty_rows or self.inexact_counts or any(part.rare_records for part in self.leakage))

    def to_dict(self) -> dict[str, Any]:
        """Return the evaluation as plain dicts, lists and numbers, for JSON."""
        return {**asdict(self), "private": self.private}


def evaluate(
    sensitive: pa.Table,
    synthetic: pa.Table,
    *,
    k: int = 10,
    length: int = 3,
    core: Sequence[str] = (),
    limits: Limits = UNLIMITED,
    progress: Progress | None = None,
) -> Evaluation:
    """Compare two tables of text columns: leakage at any length, fidelity up to a length.

    Args:
        sensitive: the real records, null for missing.
        synthetic: the records to compare, with the same columns in any order.
        k: a combination that fewer sensitive rows have is rare.
        length: the longest combination whose fidelity is measured.
        core: columns whose pairs are measured apart, whatever ``length`` is.
        limits: threads, memory and a folder to spill to. Without a folder nothing spills.
        progress: called with what is done so far.

    Raises:
        ParameterError: ``k``, ``length`` or ``core`` is out of range.
        TableError: the tables have different columns.
        ResourceError: the memory does not suffice.
    """
    require_whole("k", k, minimum=2)
    require_whole("length", length, maximum=MAX_LENGTH)
    if sorted(sensitive.column_names) != sorted(synthetic.column_names):
        raise TableError("the two tables have different columns", remedy="Compare tables with the same columns.")
    require_core(core, columns=sensitive.column_names)
    before, after = encode_together([sensitive, synthetic.select(sensitive.column_names)], limits=limits)
    supports = record_supports(before, after, limits=limits, progress=progress)
    sizes = (after.codes >= 0).sum(axis=1)
    combinations: list[Combinations] = []
    buckets: list[Bucket] = []
    cuts = Suffixes.of(before), Suffixes.of(after)
    with database(limits) as connection:
        for size in range(1, length + 1):
            layout = Layout(len(before.value), size)
            for name, cut in zip(("sensitive", "synthetic"), cuts, strict=True):
                report = phase(progress, f"counting {name} combinations of length {size}")
                _count(connection, name, cut, layout, limits=limits, progress=report)
            fidelity, parts = _compare(connection, layout, k=k)
            combinations.append(fidelity)
            buckets += parts
        core_pairs = None
        if core:
            both = encode_together([table.select(list(dict.fromkeys(core))) for table in (sensitive, synthetic)], limits=limits)
            layout = Layout(len(both[0].value), 2)
            for name, records in zip(("sensitive", "synthetic"), both, strict=True):
                _count(connection, name, Suffixes.of(records), layout, limits=limits)
            core_pairs, _ = _kept(connection, layout, k=k)
    return Evaluation(
        k=k,
        sensitive_rows=before.rows,
        synthetic_rows=after.rows,
        row_ratio=round(after.rows / max(before.rows, 1), 6),
        empty_rows=int(after.weights[sizes == 0].sum()),
        attributes=len(before.value),
        inexact_counts=int((after.support != rounded_down(before.support, k)).sum()),
        smallest_support=int(supports[sizes > 0].min()) if (sizes > 0).any() else None,
        leakage=tuple(_leakage(supports, sizes, after.weights, k=k)),
        combinations=tuple(combinations),
        buckets=tuple(buckets),
        core=core_pairs,
    )


def kept(aggregates: pa.Table, synthetic: pa.Table, *, k: int, length: int, limits: Limits = UNLIMITED) -> tuple[Bucket, ...]:
    """Measure how a synthetic table keeps the reported counts, without reading sensitive records.

    Nothing spills to disk.

    Args:
        aggregates: the result of `aggregates.reportable_aggregates`.
        synthetic: text columns in the same order.
        k: the resolution of the counts.
        length: the longest combinations to measure.
        limits: threads and memory to use.

    Returns:
        For each length, one bucket of all combinations, followed by the buckets of `evaluate`.

    Raises:
        ResourceError: memory runs out.

    """
    by_length = [aggregates.filter(pc.call_function("equal", [aggregates["length"], pa.scalar(n + 1)])) for n in range(length)]
    single = _names(by_length[0], place=1).to_pylist()
    # One record for each reported value, so that those in no synthetic record are numbered as well.
    alone = {
        name: [text.partition("=")[2] if text.startswith(f"{name}=") else None for text in single]
        for name in synthetic.column_names
    }
    both = [synthetic, pa.table({name: pa.array(cells, pa.string()) for name, cells in alone.items()})]
    records, _ = encode_together(both, limits=limits)
    known = [f"{records.columns[column]}={value}" for column, value in zip(records.column, records.value, strict=True)]
    number = pc.SetLookupOptions(pa.array(known, pa.string()))
    cut = Suffixes.of(records)
    found: list[Bucket] = []
    with database(limits) as connection:
        for size, reported in enumerate(by_length, start=1):
            layout = Layout(len(known), size)
            places = [pc.call_function("index_in", [_names(reported, place=place)], number) for place in range(1, size + 1)]
            keys = layout.pack([numbers.to_numpy().astype(np.int64) for numbers in places])
            connection.register("reported", pa.table([*keys, reported["count"]], names=[*layout.names, "n"]))
            connection.execute("CREATE OR REPLACE TABLE sensitive AS FROM reported").fetchall()
            _count(connection, "synthetic", cut, layout, limits=limits)
            fidelity, buckets = _kept(connection, layout, k=k)
            found += [Bucket(size, k, None, fidelity), *buckets]
    return tuple(found)


def _names(aggregates: pa.Table, *, place: int) -> pa.ChunkedArray:
    """Return the attribute at one position of each combination, as ``variable=value``."""
    parts = [aggregates[f"{part}_{place}"] for part in ("variable", "value")]
    return pc.call_function("binary_join_element_wise", [*parts, pa.scalar("=")])


def record_supports(
    sensitive: Records, synthetic: Records, *, limits: Limits = UNLIMITED, progress: Progress | None = None
) -> npt.NDArray[np.int64]:
    """Count the sensitive rows that contain each distinct synthetic record.

    Args:
        sensitive: the real records.
        synthetic: the records to look up. Both number attributes alike.
        limits: how many threads work.
        progress: called with what is done so far.

    Returns:
        int64, one per distinct synthetic record. All rows contain a record without attributes.
    """
    report = phase(progress, "checking the support of records")
    support = sensitive.support
    # The rarest attribute of a record leaves the fewest rows to look at, so records are taken by it.
    rarity = np.append(np.argsort(np.argsort(support, kind="stable"), kind="stable"), len(support))
    rarest = rarity[synthetic.codes].min(axis=1)
    order = np.argsort(rarest, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(rarest[order])) + 1) if len(order) else []
    by_rarity = np.argsort(rarity, kind="stable")
    supports = np.full(len(order), sensitive.rows, np.int64)

    def one(group: npt.NDArray[np.int64]) -> int:
        attribute = int(by_rarity[rarest[group[0]]])
        if attribute < len(support):
            column = sensitive.column[attribute]
            chosen = sensitive.codes[:, column] == attribute
            rows = np.repeat(sensitive.codes[chosen], sensitive.weights[chosen], axis=0)
            supports[group] = _contained(rows, synthetic.codes[group], column=sensitive.column)
        return len(group)

    with ThreadPoolExecutor(limits.workers) as pool:
        done = 0
        for size in pool.map(one, groups):
            done += size
            if report:
                report(done / len(order))
    return supports


def _contained(
    rows: npt.NDArray[np.int32], records: npt.NDArray[np.int32], *, column: npt.NDArray[np.int32]
) -> npt.NDArray[np.int64]:
    """int64 per record: how many of ``rows`` contain it. Both hold attribute numbers or -1; ``column`` is that of each."""
    used = np.unique(records[records >= 0])
    words = -(-len(rows) // 64) or 1
    bits = np.zeros((len(used), words * 8), np.uint8)
    for place, attribute in enumerate(used):
        packed = np.packbits(rows[:, column[attribute]] == attribute)
        bits[place, : len(packed)] = packed
    sets = bits.view(np.uint64)
    sizes = (records >= 0).sum(axis=1)
    order = np.argsort(-sizes, kind="stable")
    members = np.searchsorted(used, np.sort(records[order], axis=1)[:, ::-1])  # attributes first, then what is not looked at
    supports = np.empty(len(records), np.int64)
    step = max(1, BLOCK // words)
    for start in range(0, len(records), step):
        block, lengths = members[start : start + step], sizes[order[start : start + step]]
        common = sets[block[:, 0]]
        for place in range(1, lengths[0]):
            longer = int((lengths > place).sum())
            common[:longer] &= sets[block[:longer, place]]
        supports[order[start : start + step]] = np.bitwise_count(common).sum(axis=1)
    return supports


def _leakage(
    supports: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64], weights: npt.NDArray[np.int64], *, k: int
) -> Iterator[Leakage]:
    for size in np.unique(sizes[sizes > 0]).tolist():
        chosen = sizes == size
        rare = chosen & (supports < k)
        yield Leakage(size, int(chosen.sum()), int(weights[chosen].sum()), int(rare.sum()), int(weights[rare].sum()))


def _count(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    suffixes: Suffixes,
    layout: Layout,
    *,
    limits: Limits,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Create the table `name` with the counts of one length: the columns of the key and `n`."""
    keys = ", ".join(layout.names)
    load_counts(connection, "parts", suffixes, layout, limits=limits, progress=progress)
    connection.execute(
        f"CREATE OR REPLACE TABLE {name} AS SELECT {keys}, sum(n)::BIGINT AS n FROM parts GROUP BY {keys}"  # noqa: S608
    ).fetchall()
    connection.execute("DROP TABLE parts").fetchall()


def _compare(connection: duckdb.DuckDBPyConnection, layout: Layout, *, k: int) -> tuple[Combinations, list[Bucket]]:
    """Compare the counts of one length in the tables `sensitive` and `synthetic`."""
    distinct, rare, unique = connection.sql(
        f"SELECT count(*), count(*) FILTER (n < {k}), count(*) FILTER (n = 1) FROM sensitive"  # noqa: S608
    ).fetchall()[0]
    synthetic, leaked, fabricated = connection.sql(
        f"SELECT count(*), count(*) FILTER (coalesce(s.n, 0) < {k}), count(*) FILTER (s.n IS NULL)"  # noqa: S608
        f" FROM synthetic AS y LEFT JOIN sensitive AS s USING ({', '.join(layout.names)})"
    ).fetchall()[0]
    fidelity, buckets = _kept(connection, layout, k=k)
    return Combinations(layout.length, distinct, rare, unique, synthetic, leaked, fabricated, fidelity), buckets


def _kept(connection: duckdb.DuckDBPyConnection, layout: Layout, *, k: int) -> tuple[Fidelity, list[Bucket]]:
    """Return the fidelity of one length: of all its common combinations, and by sensitive count."""
    edges = [k * multiple for multiple in BUCKETS]
    bucket = " + ".join(f"(s.n >= {edge})::INT" for edge in edges[1:])
    sums: dict[int, Sequence[int]] = {
        number: rest
        for number, *rest in connection.sql(
            f"""
            WITH pairs AS (
                SELECT {bucket} AS bucket, s.n AS before, coalesce(y.n, 0) AS after
                FROM sensitive AS s LEFT JOIN synthetic AS y USING ({", ".join(layout.names)}) WHERE s.n >= {k}
            )
            SELECT bucket, count(*), count(*) FILTER (after = 0), sum({PARTS} * least(after, before)::HUGEINT // before),
                sum(abs(after - before)), sum(before)
            FROM pairs GROUP BY bucket
            """  # noqa: S608
        ).fetchall()
    }
    buckets = [
        Bucket(layout.length, least, most, _fidelity([sums.get(number, (0,) * 5)]))
        for number, (least, most) in enumerate(zip(edges, [*(edge - 1 for edge in edges[1:]), None], strict=True))
    ]
    return _fidelity(list(sums.values())), buckets


def _fidelity(sums: Sequence[Sequence[int]]) -> Fidelity:
    """From combinations, lost ones, billionths preserved, differences and sensitive counts, to be added up."""
    common, lost, preserved, differences, before = (sum(column) for column in zip((0,) * 5, *sums, strict=True))
    if not common:
        return Fidelity(0, 0, None, None, None)
    return Fidelity(
        common,
        lost,
        preservation=round(preserved / PARTS / common, 6),
        relative_error=round(differences / before, 6),
        mean_absolute_error=round(differences / common, 6),
    )
