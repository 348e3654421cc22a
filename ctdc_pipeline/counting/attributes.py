"""Attributes and distinct records: a categorical table as integers, which counting, synthesis and evaluation share.

An attribute is one value of one column. Attributes are numbered by column, then by value in code point order, so that
a combination's attributes in ascending order are its columns in table order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ctdc_pipeline.errors import ParameterError
from ctdc_pipeline.operations.limits import UNLIMITED, Limits
from ctdc_pipeline.storage.tables import TEXT

MISSING = -1
Progress = Callable[[str, float], None]  # told the phase and the share of it that is done


@dataclass(frozen=True)
class Records:
    """Distinct records with weights, over numbered attributes.

    ``codes``: int32 of shape (distinct records, columns), the attribute number or -1; rows are unique and in an order
    that follows from their content alone. ``weights``: int64, how many input rows each stands for; rows without any
    attribute count too. ``column``: int32 per attribute, its column. ``value``: text per attribute.
    """

    columns: tuple[str, ...]
    codes: npt.NDArray[np.int32]
    weights: npt.NDArray[np.int64]
    column: npt.NDArray[np.int32]
    value: tuple[str, ...]

    @property
    def rows(self) -> int:
        """The number of input rows."""
        return int(self.weights.sum())

    @property
    def support(self) -> npt.NDArray[np.int64]:
        """Return in how many input rows each attribute occurs (int64, one for each attribute)."""
        present = self.codes >= 0
        return np.bincount(
            self.codes[present], weights=np.broadcast_to(self.weights[:, None], present.shape)[present], minlength=len(self.value)
        ).astype(np.int64)

    def common(self, k: int) -> Records:
        """Return the records without attributes that occur fewer than `k` times, renumbered and merged."""
        keep = self.support >= k
        number = np.full(len(keep) + 1, MISSING, np.int32)
        number[:-1][keep] = np.arange(keep.sum(), dtype=np.int32)
        codes, weights = distinct(number[self.codes], self.weights, attributes=int(keep.sum()))
        value = tuple(text for text, kept in zip(self.value, keep, strict=True) if kept)
        return Records(self.columns, codes, weights, self.column[keep], value)


def require_core(core: Sequence[str], *, columns: Sequence[str]) -> None:
    """Refuse names in `core` that are not among `columns`.

    Raises:
        ParameterError: a name is unknown.

    """
    unknown = sorted(set(core) - set(columns))
    if unknown:
        raise ParameterError(f"no core column {', '.join(unknown)}", remedy="Name columns of the table as core.")


def encode(table: pa.Table, *, limits: Limits = UNLIMITED) -> Records:
    """Number the attributes of `table` (text columns, null for missing) and merge equal rows."""
    return encode_together([table], limits=limits)[0]


def encode_together(tables: Sequence[pa.Table], *, limits: Limits = UNLIMITED) -> tuple[Records, ...]:
    """Encode several tables with the same columns so that equal attributes have equal numbers.

    Returns:
        One `Records` for each table, in order.

    """
    names = tables[0].column_names

    def one(name: str) -> tuple[npt.NDArray[np.int32], list[str]]:
        parts = [_encoded(table[name]) for table in tables]
        array = pa.chunked_array([chunk for part in parts for chunk in part.chunks], TEXT).unify_dictionaries().combine_chunks()
        array = array if isinstance(array, pa.DictionaryArray) else array.chunk(0)
        indices = array.indices.fill_null(len(array.dictionary)).to_numpy(zero_copy_only=False)
        used = np.bincount(indices, minlength=len(array.dictionary) + 1)[:-1] > 0
        texts = array.dictionary.to_pylist()
        order = sorted(np.flatnonzero(used).tolist(), key=texts.__getitem__)
        rank = np.full(len(texts) + 1, MISSING, np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        return rank[indices], [texts[index] for index in order]

    with ThreadPoolExecutor(limits.workers) as pool:
        parts = list(pool.map(one, names))
    value: list[str] = []
    codes = np.empty((sum(map(len, tables)), len(names)), np.int32)
    for position, (ranks, texts) in enumerate(parts):
        np.copyto(codes[:, position], np.where(ranks >= 0, ranks + np.int32(len(value)), np.int32(MISSING)))
        value += texts
    column = np.repeat(np.arange(len(parts), dtype=np.int32), [len(texts) for _, texts in parts])
    ends = np.cumsum([len(table) for table in tables])[:-1]
    return tuple(
        Records(tuple(names), *distinct(rows, np.ones(len(rows), np.int64), attributes=len(value)), column, tuple(value))
        for rows in np.split(codes, ends)
    )


def _encoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column if column.type == TEXT else column.cast(pa.string()).dictionary_encode()


def distinct(
    codes: npt.NDArray[np.int32], weights: npt.NDArray[np.int64], *, attributes: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Merge equal rows of `codes` and add their `weights`; the order depends only on the content."""
    if not codes.shape[1] or not len(codes):
        return codes[:1], weights.sum(keepdims=True) if len(codes) else weights
    # A row as one opaque value, as narrow as the numbers allow: comparing bytes is the fastest total order there is.
    narrow = np.ascontiguousarray(codes, np.int16 if attributes < 1 << 15 else np.int32)
    rows = narrow.view(np.dtype((np.void, narrow.itemsize * narrow.shape[1]))).ravel()
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    return codes[order[first]], np.add.reduceat(weights[order], first)


def decode(codes: npt.NDArray[np.int32], *, records: Records) -> pa.Table:
    """Turn rows of attribute numbers (or -1) into dictionary-encoded text with the columns of `records`."""
    values = pa.array(records.value, pa.string())
    columns: list[pa.Array] = []
    for position in range(len(records.columns)):
        numbers = codes[:, position]
        first, last = np.searchsorted(records.column, [position, position + 1])
        columns.append(
            pa.DictionaryArray.from_arrays(
                pa.array(np.where(numbers >= 0, numbers - first, 0).astype(np.int32), mask=numbers < 0),
                values.slice(first, last - first),
            )
        )
    return pa.table(columns, names=list(records.columns))
