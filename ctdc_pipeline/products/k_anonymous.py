"""The k-anonymised Global Dataset: real records, in which every row is shared by at least ``K`` people in all it says.

It holds the quasi-identifiers only. Means of control, recruiter, duration and majority status vary within groups of people
who are alike otherwise: beside real records they would single people out, and tell of whoever is found in a group what was done
to them. Those variables are in the synthetic dataset.

Where fewer than ``K`` records are alike, cells are blanked: of all sets of parts of a record, the one that costs least first.
What is left over when a group is cut to a multiple of ``K`` goes on likewise, so that no group grows by one person between
releases. Records that would have to lose more than ``MOST_COST`` are left out.
"""

from __future__ import annotations

from itertools import chain, combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ctdc_pipeline.codebook.variables import Variable, codebook
from ctdc_pipeline.counting.rounding import rounded_down
from ctdc_pipeline.products.inputs import Inputs
from ctdc_pipeline.storage.tables import TEXT, write_table

NAME = "global_dataset_k_anonymised"
SUMMARY = f"{NAME}_summary"
K = 11
"""Groups below 11 are redacted, as in the k-anonymised datasets published until 2021."""

PARTS = {
    "labour": 1,
    "sex": 1,
    "yearOfRegistration": 2,
    "ageBroad": 2,
    "citizenship": 3,
    "CountryOfExploitation": 3,
    "exploitation": 4,
    "gender": 4,
}
"""What is blanked together, a variable or a group of flags, and what that costs. What users ask for first costs most."""
MOST_COST = 6
TOTALS = ("Records", "Values of the variables that the k-anonymised dataset has", "Values of all variables")
"""What the first rows of ``summary`` tell of; the others tell of a variable each."""


def write(inputs: Inputs, folder: Path) -> None:
    """Write the dataset as CSV, and what it keeps beside what the synthetic one keeps.

    Args:
        inputs: what a release is made of.
        folder: where the files go.

    Raises:
        OSError: a file cannot be written.
        ResourceError: the disk does not suffice.
    """
    published = anonymised(inputs.victims, k=least_group(inputs.k))
    write_table(published, folder / f"{NAME}.csv")
    write_table(summary(inputs, published), folder / f"{SUMMARY}.csv")


def quasi_identifiers() -> tuple[str, ...]:
    """The variables of the dataset, in the order of the codebook."""
    return tuple(variable.name for variable in codebook().variables if _part(variable) in PARTS)


def least_group(k: int) -> int:
    """The least group of a release with resolution ``k``: ``K``, or the next multiple of it where the release asks for more."""
    return -(-k // K) * K


def anonymised(victims: pa.Table, *, k: int = K) -> pa.Table:
    """Return what may be published of real records: the quasi-identifiers of those who are alike.

    Args:
        victims: the complete records, as text, null for missing.
        k: the size of the smallest group. Each row occurs a multiple of ``k`` times.

    Returns:
        The quasi-identifiers, sorted. The result does not depend on the order of ``victims``.
    """
    names = quasi_identifiers()
    texts = [_codes(victims[name]) for name in names]
    rest = np.stack([codes for codes, _ in texts], axis=1)
    part_of = np.array([_part(codebook().variable(name)) for name in names])
    kept = [rest[:0]]
    for blanked in _sets():
        kept_now, rest = _groups(rest, hidden=np.isin(part_of, blanked), k=k)
        kept.append(kept_now)
    rows = np.concatenate(kept)
    rows = rows[np.lexsort(rows.T[::-1])]
    columns = [
        pa.DictionaryArray.from_arrays(pa.array(column, mask=column < 0), values)
        for column, (_, values) in zip(rows.T, texts, strict=True)
    ]
    return pa.table([column.cast(pa.string()) for column in columns], names=list(names))


def summary(inputs: Inputs, published: pa.Table) -> pa.Table:
    """Compare how much of the complete records the two datasets keep.

    Args:
        inputs: what a release is made of.
        published: the k-anonymised records, as ``anonymised`` returns them.

    Returns:
        ``kept`` (what is counted), ``k_anonymised`` and ``synthetic`` (whole percent of protected counts, rounded down). A
        synthetic record is nobody's, so there is no share of records for it.
    """
    names = codebook().names
    before = {name: _protected(inputs.victims, name, k=inputs.k) for name in names}
    real = {name: _protected(published, name, k=inputs.k) if name in published.column_names else 0 for name in names}
    synthetic = {name: _protected(inputs.synthetic, name, k=inputs.k) for name in names}
    people, shown = (rounded_down(len(table), inputs.k) for table in (inputs.victims, published))
    rows = [{"kept": "records", "k_anonymised": _percent(shown, people), "synthetic": None}]
    for label, some in {"values of its variables": published.column_names, "values": names, **{n: [n] for n in names}}.items():
        counts = (sum(of[name] for name in some) for of in (real, synthetic, before))
        there, made, whole = counts
        rows.append({"kept": label, "k_anonymised": _percent(there, whole), "synthetic": _percent(made, whole)})
    columns = pa.schema([("kept", pa.string()), ("k_anonymised", pa.int64()), ("synthetic", pa.int64())])
    return pa.Table.from_pylist(rows, schema=columns)


def _part(variable: Variable) -> str:
    return variable.group if variable.group in PARTS else variable.name


def _sets() -> list[tuple[str, ...]]:
    """Sets of parts to blank, nothing first, by what they cost."""
    sets = chain.from_iterable(combinations(PARTS, size) for size in range(len(PARTS)))
    costs: list[tuple[int, Any]] = [(sum(PARTS[part] for part in parts), parts) for parts in sets]
    return [parts for cost, parts in sorted(costs) if cost <= MOST_COST]


def _groups(
    rows: npt.NDArray[np.int16], *, hidden: npt.NDArray[np.bool_], k: int
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]:
    """Rows that are alike once ``hidden`` columns are blank, in multiples of ``k`` and so blanked; and all others as they are."""
    shown = np.where(hidden, np.int16(-1), rows)
    # Alike rows stand together, in an order that follows from what they hold, so that which of them are left over does, too.
    order = np.lexsort(np.concatenate([rows.T, shown.T]))
    rows, shown = rows[order], shown[order]
    first = np.flatnonzero(np.r_[True, (shown[1:] != shown[:-1]).any(axis=1)][: len(rows)])
    size = np.diff(np.append(first, len(rows)))
    place = np.arange(len(rows)) - np.repeat(first, size)
    kept = (place < np.repeat(rounded_down(size, k), size)) & (shown >= 0).any(axis=1)
    return shown[kept], rows[~kept]


def _codes(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.int16], pa.Array]:
    """The place of each cell's text among the column's sorted texts, -1 for missing; and those texts."""
    encoded = column.cast(TEXT).unify_dictionaries().combine_chunks()
    array = encoded if isinstance(encoded, pa.DictionaryArray) else encoded.chunk(0)
    texts = array.dictionary.to_pylist()
    order = sorted(range(len(texts)), key=texts.__getitem__)
    rank = np.full(len(texts) + 1, -1, np.int16)
    rank[order] = np.arange(len(texts), dtype=np.int16)
    places = array.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)
    return rank[places], pa.array([texts[place] for place in order], pa.string())


def _protected(table: pa.Table, name: str, *, k: int) -> int:
    return rounded_down(len(table) - table[name].null_count, k)


def _percent(part: int, whole: int) -> int | None:
    return 100 * part // whole if whole else None
