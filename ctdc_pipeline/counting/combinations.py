"""Exact counts of attribute combinations, to Parquet. What the counts mean for privacy or fidelity is not decided here.

A combination is packed into whole numbers, its *key*: as many attribute numbers as 63 bits take, then the next number. The
records are taken by their combinations' first attribute, a piece at a time; a piece is expanded into keys that numpy sorts and
counts, and DuckDB collects and orders them, spilling to disk what memory does not hold; equal neighbours are then added up on
their way to the file. Memory depends on the number of distinct combinations, not on how often they occur.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from math import comb
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ctdc_pipeline.counting.attributes import Progress, Records, encode
from ctdc_pipeline.counting.rounding import combination_columns
from ctdc_pipeline.errors import ResourceError
from ctdc_pipeline.operations.limits import UNLIMITED, Limits
from ctdc_pipeline.operations.memory_limit import size as memory_size
from ctdc_pipeline.parameters import MAX_LENGTH, require_whole
from ctdc_pipeline.storage import encryption
from ctdc_pipeline.storage.files import scratch, staged
from ctdc_pipeline.storage.tables import TEXT, unwritable

KEY_BITS = 63
PIECE = 2_000_000  # keys: 16 MB; larger ones sort more slowly, smaller ones cost more calls
ROW_GROUP = 1 << 19


@dataclass(frozen=True)
class CountSummary:
    """How many combinations there are, by length: all, at least ``k`` times, fewer than ``k`` times, once."""

    distinct: dict[int, int]
    common: dict[int, int]
    rare: dict[int, int]
    unique: dict[int, int]


@dataclass(frozen=True)
class Layout:
    """How a combination of ``length`` attributes, numbered below ``attributes``, becomes a key of one or more int64."""

    attributes: int
    length: int

    @property
    def bits(self) -> int:
        return max(1, (self.attributes - 1).bit_length())

    @property
    def words(self) -> tuple[range, ...]:
        """The positions in the combination that each number of the key contains."""
        each = KEY_BITS // self.bits
        return tuple(range(start, min(start + each, self.length)) for start in range(0, self.length, each))

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of the key in DuckDB."""
        return tuple(f"key_{number}" for number in range(len(self.words)))

    def pack(self, numbers: Sequence[npt.NDArray[np.int64]]) -> list[npt.NDArray[np.int64]]:
        """Pack the attribute numbers at each position into the numbers of the key."""
        return [
            sum((numbers[place] << self.bits * (places[-1] - place) for place in places), np.zeros_like(numbers[0]))
            for places in self.words
        ]

    def unpack(self, keys: list[npt.NDArray[np.int64]]) -> list[npt.NDArray[np.int64]]:
        """Unpack the numbers of the key into the attribute numbers at each position."""
        mask = (1 << self.bits) - 1
        return [
            key >> (self.bits * (places[-1] - place)) & mask
            for places, key in zip(self.words, keys, strict=True)
            for place in places
        ]


def count_combinations(
    table: pa.Table,
    folder: Path,
    *,
    length: int = 4,
    minimum: int = 1,
    k: int = 10,
    limits: Limits = UNLIMITED,
    progress: Progress | None = None,
) -> CountSummary:
    """Count every combination of 1 to ``length`` attributes, and write one file a length.

    The bytes of the files do not depend on ``limits``. Where the sensitive zone has a key, the files are encrypted and nothing
    spills: what memory does not hold is counted in several passes. The files of an earlier count are replaced when all are
    written, or not at all.

    Args:
        table: text columns, null for missing.
        folder: where ``length_<L>.parquet`` go. Their columns are ``variable_1``, ``value_1`` to ``variable_<L>``, ``value_<L>``
            (text) and ``count`` (int64). The rows are in the order of attributes: by the columns of ``table``, then by value.
        length: the longest combination.
        minimum: the smallest count that is written.
        k: divides the summary into common and rare combinations; the files do not depend on it.
        limits: threads, memory and temp folder (default: ``folder``). The memory bounds DuckDB; the records and the pieces in
            work come on top.
        progress: called with what is done so far.

    Returns:
        How many combinations of each length there are, and how many of them are common.

    Raises:
        ParameterError: ``length`` is out of range, or the folder cannot be written.
        ResourceError: the memory or the disk does not suffice.
    """
    require_whole("length", length, maximum=MAX_LENGTH)
    with unwritable(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with unwritable(folder), ExitStack() as files:
        writers: dict[int, pq.ParquetWriter] = {}
        for size in range(1, length + 1):
            part = files.enter_context(staged(folder / f"length_{size}.parquet"))
            writers[size] = files.enter_context(_writer(part, length=size, private=True))
        summary = _count(
            table,
            writers,
            minimum=minimum,
            k=k,
            limits=limits.spilling_to(folder),
            progress=progress,
        )
    for stale in folder.glob("length_*.parquet"):
        if int(stale.stem.removeprefix("length_")) > length:
            stale.unlink()
    return summary


def count_to_file(
    table: pa.Table,
    path: Path,
    *,
    length: int = 4,
    minimum: int = 1,
    k: int = 10,
    limits: Limits = UNLIMITED,
    progress: Progress | None = None,
) -> CountSummary:
    """Count as `count_combinations` does, but write one Parquet file: shorter combinations first, null beyond their length.

    The file belongs to the caller and is never encrypted.
    """
    require_whole("length", length, maximum=MAX_LENGTH)
    with unwritable(path), ExitStack() as files:
        part = files.enter_context(staged(path))
        writer = files.enter_context(_writer(part, length=length, private=False))
        return _count(
            table,
            dict.fromkeys(range(1, length + 1), writer),
            minimum=minimum,
            k=k,
            limits=limits.spilling_to(path.parent),
            progress=progress,
        )


@dataclass(frozen=True)
class Suffixes:
    """Each attribute of each record with what follows it in the record.

    ``flat``: int32, all records' attributes one record after the other. ``start``: int64, an index into it; ``first``: int32,
    the attribute there; ``rest``: int64, how many follow in the record; ``weight``: int64, of the record. Ordered by whether
    the weight is above 1, then by ``first``.
    """

    flat: npt.NDArray[np.int32]
    start: npt.NDArray[np.int64]
    first: npt.NDArray[np.int32]
    rest: npt.NDArray[np.int64]
    weight: npt.NDArray[np.int64]

    @classmethod
    def of(cls, records: Records) -> Suffixes:
        """Return the suffixes of all `records`."""
        present = records.codes >= 0
        flat = records.codes[present]
        sizes = present.sum(axis=1)
        start = np.arange(len(flat))
        rest = np.repeat(np.cumsum(sizes), sizes) - start - 1
        weight = np.repeat(records.weights, sizes)
        attributes = len(records.value)
        # A stable sort of 16-bit numbers is a radix sort, several times as fast.
        key = (flat + (weight > 1) * attributes).astype(np.uint16 if 2 * attributes < 1 << 16 else np.int64)
        return cls(flat, start, flat, rest, weight).at(np.argsort(key, kind="stable"))

    def at(self, chosen: slice | npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Suffixes:
        """Return the chosen suffixes, in the order chosen."""
        return Suffixes(self.flat, self.start[chosen], self.first[chosen], self.rest[chosen], self.weight[chosen])


@contextmanager
def database(limits: Limits) -> Generator[duckdb.DuckDBPyConnection]:
    """Open an in-memory DuckDB that spills to its own private folder in the temp folder, removed at the end.

    It never spills without a temp folder, or if the sensitive zone has a key, because spilled data would be in clear.

    Raises:
        ParameterError: the limits make no sense.
        ResourceError: memory or disk runs out inside the block.

    """
    threads, memory = limits.workers, None if limits.memory is None else memory_size(limits.memory)
    with ExitStack() as stack:
        spill = ""
        if limits.temp_folder and not encryption.enabled():
            spill = str(stack.enter_context(scratch(limits.temp_folder)))
        connection = stack.enter_context(duckdb.connect())
        connection.execute("SET temp_directory = ?", [spill]).fetchall()
        connection.execute("SET preserve_insertion_order = false").fetchall()
        # It would be drawn into what the command prints, such as JSON.
        connection.execute("SET enable_progress_bar = false").fetchall()
        connection.execute("SET threads = ?", [threads]).fetchall()
        if memory is not None:
            connection.execute("SET memory_limit = ?", [f"{memory}B"]).fetchall()
        try:
            yield connection
        except RuntimeError as error:
            if str(error) == "Query interrupted":  # how DuckDB tells Ctrl-C
                raise KeyboardInterrupt from None
            raise
        except (duckdb.OutOfMemoryException, duckdb.IOException, duckdb.FatalException, MemoryError):
            raise ResourceError(
                "counting ran out of memory, or of space to spill to",
                remedy="Raise the memory limit, free space in the temp folder, or count shorter combinations.",
            ) from None


def phase(progress: Progress | None, name: str) -> Callable[[float], None] | None:
    """Return a `progress` function for one named phase."""
    return (lambda fraction: progress(name, fraction)) if progress else None


def load_counts(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    suffixes: Suffixes,
    layout: Layout,
    *,
    limits: Limits,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Create the table `name` of partial counts: the columns of the key and `n` (int64).

    Several rows may have the same key; their `n` add up to its count.
    """
    columns = ", ".join(f"{column} BIGINT" for column in (*layout.names, "n"))
    connection.execute(f"CREATE OR REPLACE TABLE {name} ({columns})").fetchall()
    with ThreadPoolExecutor(limits.workers) as pool:
        waiting: deque[tuple[float, Future[pa.Table]]] = deque()

        def insert() -> None:
            done, future = waiting.popleft()
            connection.register("piece", future.result())
            connection.execute(f"INSERT INTO {name} SELECT * FROM piece").fetchall()  # noqa: S608
            connection.unregister("piece")
            if progress:
                progress(done)

        for done, piece in _pieces(suffixes, layout):
            waiting.append((done, pool.submit(_partial_counts, piece, layout)))
            if len(waiting) > limits.workers:
                insert()
        while waiting:
            insert()


def _pieces(suffixes: Suffixes, layout: Layout) -> Iterator[tuple[float, Suffixes]]:
    """Cut the suffixes into pieces of about `PIECE` keys; yield each with the share done after it."""
    suffixes = suffixes.at(suffixes.rest >= layout.length - 1)
    keys = np.cumsum(_combinations(suffixes.rest, layout))
    light = int(np.searchsorted(suffixes.weight > 1, True))
    begin, before = 0, 0
    while begin < len(keys):
        end = max(begin + 1, int(np.searchsorted(keys, before + PIECE, side="right")))
        end = min(end, light) if begin < light else end
        before = int(keys[end - 1])
        yield before / int(keys[-1]), suffixes.at(slice(begin, end))
        begin = end


def _combinations(rest: npt.NDArray[np.int64], layout: Layout) -> npt.NDArray[np.int64]:
    """Return how many combinations begin with an attribute that `rest` others follow."""
    return np.array([comb(n, layout.length - 1) for n in range(int(rest.max(initial=0)) + 1)], np.int64)[rest]


def _partial_counts(piece: Suffixes, layout: Layout) -> pa.Table:
    """Partial counts of the combinations that begin with the piece's attributes, as ``load_counts`` stores them."""
    # Keys count from the piece's first attribute on: so most of them fit into 32 bits, which sort twice as fast as 64.
    lowest = int(piece.first[0])
    bits = (int(piece.first[-1]) - lowest).bit_length() + layout.bits * (layout.length - 1)
    total = int(_combinations(piece.rest, layout).sum())
    words = [np.empty(total, np.uint32 if bits <= 32 else np.int64) for _ in layout.words]
    weights = np.empty(total if piece.weight[-1] > 1 else 0, np.int64)
    piece = piece.at(np.argsort(piece.rest.astype(np.min_scalar_type(int(piece.rest.max()))), kind="stable"))
    at = 0
    for places in np.split(np.arange(len(piece.rest)), np.flatnonzero(np.diff(piece.rest)) + 1):
        group = piece.at(slice(int(places[0]), int(places[-1]) + 1))
        members = np.empty((int(group.rest[0]) + 1, len(places)), words[0].dtype)
        for place, row in enumerate(members):
            row[:] = group.flat[group.start + place]
        members[0] -= members.dtype.type(lowest)
        end = at + comb(len(members) - 1, layout.length - 1) * len(places)
        _expand(members, layout, [word[at:end] for word in words])
        if len(weights):
            weights[at:end].reshape(-1, len(places))[:] = group.weight
        at = end
    if not len(weights) and len(words) == 1:
        words[0].sort()
        first = np.flatnonzero(np.concatenate([[True], words[0][1:] != words[0][:-1]]))
        weights = np.diff(first, append=total)
        words[0] = words[0][first]
    elif not len(weights):
        weights = np.ones(total, np.int64)
    keys = [word.astype(np.int64, copy=False) for word in words]
    keys[0] += lowest << layout.bits * (len(layout.words[0]) - 1)
    return pa.table([*keys, weights], names=[*layout.names, "n"])


def _expand(members: npt.NDArray[np.integer], layout: Layout, words: list[npt.NDArray[np.integer]]) -> None:
    """Fill ``words`` with the keys of all combinations that begin with ``members[0]``, for each column of ``members``.

    Combinations grow by one place at a time and are kept in the order of their last member: those that a member can
    extend, because they end before it, are the first so many of them, and no index is needed.
    """
    width = members.shape[1]
    grown = [members[:1]]
    for place in range(1, layout.length):
        last = place == layout.length - 1
        opens = place == layout.words[len(grown) - 1].stop
        packed = [*grown, np.zeros((len(grown[0]), width), members.dtype)] if opens else [*grown[:-1], grown[-1] << layout.bits]
        sizes = [comb(member - 1, place - 1) for member in range(place, len(members))]
        grown = [
            word.reshape(-1, width) if last else np.empty((sum(sizes), width), members.dtype)
            for word in (words if last else packed)
        ]
        at = 0
        for member, size in zip(members[place:], sizes, strict=True):
            for old, new in zip(packed[:-1], grown[:-1], strict=True):
                new[at : at + size] = old[:size]
            np.bitwise_or(packed[-1][:size], member, out=grown[-1][at : at + size])
            at += size
    if layout.length == 1:
        words[0][:] = members[0]


def _count(
    table: pa.Table,
    writers: dict[int, pq.ParquetWriter],
    *,
    minimum: int,
    k: int,
    limits: Limits,
    progress: Progress | None,
) -> CountSummary:
    """Count the combinations of each length that has a writer, and write them there."""
    for name, number in (("length", len(writers)), ("minimum", minimum), ("k", k)):
        require_whole(name, number)
    records = encode(table, limits=limits).common(minimum)
    suffixes = Suffixes.of(records)
    summary = CountSummary({}, {}, {}, {})
    with database(limits) as connection:
        for length, writer in writers.items():
            report = phase(progress, f"counting combinations of length {length}")
            layout = Layout(len(records.value), length)
            keys = partial(_keys, connection, layout=layout, minimum=minimum, limits=limits, progress=report)
            found = [0, 0, 0]
            for batch in _row_groups(_in_passes(keys, suffixes) if encryption.enabled() else keys(suffixes)):
                counts = batch["n"].to_numpy()
                found = [sum_ + int(some.sum()) for sum_, some in zip(found, (counts > 0, counts >= k, counts == 1), strict=True)]
                writer.write_table(_readable(batch, records, layout, places=len(writer.schema) // 2), row_group_size=ROW_GROUP)
            summary.distinct[length], summary.common[length], summary.unique[length] = found
            summary.rare[length] = found[0] - found[1]
    return summary


def _keys(
    connection: duckdb.DuckDBPyConnection,
    suffixes: Suffixes,
    *,
    layout: Layout,
    minimum: int,
    limits: Limits,
    progress: Callable[[float], None] | None,
) -> Iterator[pa.RecordBatch]:
    """The keys of all combinations that begin with one of ``suffixes``, in order, each with its count if that is enough."""
    load_counts(connection, "counts", suffixes, layout, limits=limits, progress=progress)
    ordered = connection.sql(f"SELECT * FROM counts ORDER BY {', '.join(layout.names)}")  # noqa: S608
    yield from _added_up(ordered.to_arrow_reader(ROW_GROUP), minimum=minimum)


def _in_passes(keys: Callable[[Suffixes], Iterator[pa.RecordBatch]], suffixes: Suffixes) -> Iterator[pa.RecordBatch]:
    """All ``keys``, those of as many first attributes at a time as memory holds. Raises MemoryError if it does not hold one's.

    Keys are in the order of their first attributes, so that passes simply follow each other.
    """
    try:
        found = list(keys(suffixes))
    except (duckdb.OutOfMemoryException, MemoryError):
        if len(set(suffixes.first)) < 2:
            raise
        middle = max(int(np.median(suffixes.first)), int(suffixes.first.min()) + 1)
        low = suffixes.first < middle
        found = chain.from_iterable(_in_passes(keys, suffixes.at(half)) for half in (low, ~low))
    yield from found


def _added_up(reader: pa.RecordBatchReader, *, minimum: int) -> Iterator[pa.RecordBatch]:
    """Add up the last column for equal neighbouring keys in ordered batches; keep sums of at least `minimum`.

    Adding up neighbours after the sort takes a third of the time of grouping and then sorting.
    """
    held: list[npt.NDArray[np.int64]] | None = None
    try:
        for batch in reader:
            columns = [column.to_numpy() for column in batch.columns]
            if held is not None:
                columns = [np.concatenate(pair) for pair in zip(held, columns, strict=True)]
            changes = np.any([key[1:] != key[:-1] for key in columns[:-1]], axis=0)
            first = np.concatenate([[0], np.flatnonzero(changes) + 1])
            columns = [*(key[first] for key in columns[:-1]), np.add.reduceat(columns[-1], first)]
            held = [column[-1:] for column in columns]  # more of it may come with the next batch
            enough = columns[-1][:-1] >= minimum
            yield pa.record_batch([column[:-1][enough] for column in columns], names=reader.schema.names)
    except OSError:  # what DuckDB's errors become on their way through Arrow
        raise MemoryError from None
    if held is not None and held[-1][0] >= minimum:
        yield pa.record_batch(held, names=reader.schema.names)


def _row_groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Tables of ``ROW_GROUP`` rows: batches come as the threads happened to cut them, and would show in the file."""
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        held.append(batch)
        rows += len(batch)
        while rows >= ROW_GROUP:
            whole = pa.Table.from_batches(held)
            yield whole.slice(0, ROW_GROUP)
            held = whole.slice(ROW_GROUP).to_batches()
            rows -= ROW_GROUP
    if rows:
        yield pa.Table.from_batches(held)


def _writer(path: Path, *, length: int, private: bool) -> pq.ParquetWriter:
    schema = pa.schema([*((name, TEXT) for name in combination_columns(length)), ("count", pa.int64())])
    encrypted = encryption.table_encryption() if private else None
    return pq.ParquetWriter(path, schema, compression="zstd", store_schema=False, encryption_properties=encrypted)


def _readable(batch: pa.Table, records: Records, layout: Layout, *, places: int) -> pa.Table:
    """Return the variables and values of the combinations by name, null beyond their length, and their counts."""
    texts, text_of = np.unique(np.array(records.value, object), return_inverse=True)
    dictionaries = pa.array(records.columns, pa.string()), pa.array(texts, pa.string())
    columns: list[pa.Array] = []
    numbers = layout.unpack([batch[name].to_numpy() for name in layout.names])
    for place in range(places):
        for dictionary, lookup in zip(dictionaries, (records.column, text_of), strict=True):
            columns.append(
                pa.DictionaryArray.from_arrays(pa.array(lookup[numbers[place]].astype(np.int32)), dictionary)
                if place < layout.length
                else pa.nulls(len(batch), TEXT)
            )
    return pa.table([*columns, batch["n"]], names=[*combination_columns(places), "count"])
