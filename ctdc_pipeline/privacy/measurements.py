"""Measure a sensitive table with noise.

This is the only code of a differentially private release that reads a record. Four kinds of counts are made for all public
values, whether anybody has them or not: of records, of records by their number of values, of values, and of pairs of values,
each in the units of ``contribution``. Each count gets exact discrete Gaussian noise by OpenDP, from the operating system's
randomness. The noise has no seed, because a seed would be a secret to keep. Everything afterwards reads only the result.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ctdc_pipeline.counting.rounding import attribute_columns
from ctdc_pipeline.errors import ParameterError, ResourceError, TableError
from ctdc_pipeline.operations.compilation import leaf
from ctdc_pipeline.privacy.accounting import epsilon_of, mu_of, mu_squared
from ctdc_pipeline.privacy.cells import pair_number, value_count
from ctdc_pipeline.privacy.contribution import UNIT, Contribution
from ctdc_pipeline.privacy.domain import Domain
from ctdc_pipeline.storage.files import read_parquet, staged
from ctdc_pipeline.storage.tables import unwritable

Ints = npt.NDArray[np.int64]

KINDS = ("records", "lengths", "values", "pairs")
SHARES: Mapping[str, Fraction] = {
    "records": Fraction(1, 200),
    "lengths": Fraction(1, 200),
    "values": Fraction(14, 100),
    "pairs": Fraction(85, 100),
}
"""The share of the budget (as mu squared) for each kind of counts."""
USUAL_DELTA = 1e-6
FORMAT = "ctdc measurements 1"
_KEY = b"ctdc"
_COUNTS_PER_DRAW = 10_000
_REMEDY = "Give the file that `ctdc measure` wrote, as it wrote it."


@dataclass(frozen=True)
class Measurements:
    """Noisy counts, their noise, and the promised budget.

    Counts and sigmas are in whole units of ``1 / UNIT`` record. ``records`` is one number; ``lengths`` has one count for each
    number of values; ``values`` one for each attribute of ``domain``; ``pairs`` one for each pair of attributes of two columns,
    ordered by ``Domain.blocks``.
    """

    domain: Domain
    epsilon: float
    delta: float
    sigma: Mapping[str, int]
    noisy: Mapping[str, Ints]

    @property
    def contribution(self) -> Contribution:
        """The bound on what one record adds."""
        return Contribution(self.domain.cap, len(self.domain.columns))

    @property
    def rows(self) -> int:
        """The noisy number of records, never below 0."""
        return max(0, round(int(self.noisy["records"][0]) / UNIT))

    @property
    def mu_squared(self) -> Fraction:
        """The exact cost of all counts together."""
        return cost(self.contribution, self.sigma)


def sigmas(contribution: Contribution, *, epsilon: float, delta: float) -> dict[str, int]:
    """Return the sigma of each kind of counts, in units.

    All kinds together cost no more than the budget. The sigmas are rounded up. Raises ParameterError if epsilon and delta are
    not a budget.
    """
    budget = Fraction(mu_of(epsilon=epsilon, delta=delta)) ** 2
    squared = squared_sensitivity(contribution)
    return {kind: math.isqrt(math.ceil(squared[kind] / (budget * SHARES[kind]))) + 1 for kind in KINDS}


def cost(contribution: Contribution, sigma: Mapping[str, int]) -> Fraction:
    """Return the exact cost of all counts with noise of ``sigma``, as mu squared."""
    squared = squared_sensitivity(contribution)
    return mu_squared([(squared[kind], sigma[kind]) for kind in KINDS])


def queries_sha256(domain: Domain) -> str:
    """Return the hash of the set of counts, and of the shares of the budget."""
    shares = {kind: str(share) for kind, share in SHARES.items()}
    return hashlib.sha256(json.dumps([FORMAT, UNIT, shares, domain.sha256], sort_keys=True).encode()).hexdigest()


def measure(
    table: pa.Table, *, domain: Domain, epsilon: float, delta: float = USUAL_DELTA
) -> tuple[Measurements, dict[str, int]]:
    """Count a table with noise. Each person must have one row.

    Args:
        table: The sensitive records, with dictionary-encoded text columns.
        domain: The public domain.
        epsilon: The budget.
        delta: The budget; it must be below 1 / rows, judged by the noisy number of rows.

    Returns:
        The measurements; and the number of cells outside the domain by column, which were counted as blank.

    Raises:
        ParameterError: If epsilon and delta are not a budget, or ``delta`` is too large.
        ResourceError: If there is no source of randomness.
    """
    contribution = Contribution(domain.cap, len(domain.columns))
    sigma = sigmas(contribution, epsilon=epsilon, delta=delta)
    require_randomness()
    codes, outside = domain.codes(table)
    exact = exact_counts(codes, domain=domain)
    noisy: dict[str, Ints] = {}
    for kind in KINDS:
        noisy[kind] = with_noise(exact[kind], sigma=sigma[kind])
        if kind == "records" and delta * int(noisy[kind][0]) >= UNIT:
            raise ParameterError(
                "delta is not below 1 / rows", remedy="Choose a smaller delta, such as 1e-6 for up to 100,000 rows."
            )
    return Measurements(domain, float(epsilon), float(delta), sigma, noisy), outside


def exact_counts(codes: npt.NDArray[np.int32], *, domain: Domain) -> dict[str, Ints]:
    """Return the counts before the noise, in units.

    ``codes`` is the result of ``Domain.codes``.
    """
    contribution = Contribution(domain.cap, len(domain.columns))
    length = (codes >= 0).sum(axis=1)
    values, pairs = np.zeros(domain.attributes, np.int64), np.zeros(domain.pairs, np.int64)
    _add(codes, domain.first, domain.blocks, contribution.value_units, contribution.pair_units, values, pairs)
    return {
        "records": np.array([len(codes) * UNIT], np.int64),
        "lengths": np.bincount(length, minlength=len(domain.columns) + 1).astype(np.int64) * UNIT,
        "values": values,
        "pairs": pairs,
    }


def with_noise(counts: Ints, *, sigma: int) -> Ints:
    """Return ``counts`` with discrete Gaussian noise.

    Raises ResourceError if there is no source of randomness.
    """
    import opendp.prelude  # loads a library that nothing else needs

    dp: Any = opendp.prelude
    dp.enable_features("contrib")
    try:
        space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T=float)
        noise = dp.m.make_gaussian(*space, scale=float(sigma))
        parts = [noise(counts[first : first + _COUNTS_PER_DRAW].tolist()) for first in range(0, len(counts), _COUNTS_PER_DRAW)]
    except dp.OpenDPException:
        raise ResourceError("the noise could not be drawn", remedy="Check that this system gives random numbers.") from None
    return np.array([number for part in parts for number in part], np.int64)


def write_measurements(measurements: Measurements, path: Path) -> None:
    """Write ``measurements`` to one Parquet file, unencrypted: they may be published.

    Raises ResourceError.
    """
    table = _table(measurements)
    with unwritable(path), staged(path) as part:
        pq.write_table(table, part, compression="zstd")


def read_measurements(path: Path) -> Measurements:
    """Read the measurements at ``path``.

    Raises:
        TableError: If the file does not contain measurements, or was altered.
    """
    if not path.is_file():
        raise TableError(f"{path.name}: no such file", remedy="Check the path.")
    try:
        table = read_parquet(path)
        promise = json.loads((table.schema.metadata or {})[_KEY])
        domain = Domain.from_dict(promise["domain"])
        counts = table["count"].to_numpy().astype(np.int64)
        sizes = _sizes(domain)
        noisy: dict[str, Ints] = dict(zip(KINDS, np.split(counts[: sum(sizes)], np.cumsum(sizes)[:-1]), strict=True))
        sigma = {kind: int(promise["sigma"][kind]) for kind in KINDS}
        measurements = Measurements(domain, float(promise["epsilon"]), float(promise["delta"]), sigma, noisy)
        is_unaltered = _table(measurements).equals(table, check_metadata=True) and promise["sha256"] == _sha256(noisy)
        has_promised_noise = all(number > 0 for number in sigma.values()) and promise["unit"] == UNIT
        has_promised_noise = (
            has_promised_noise
            and epsilon_of(mu=math.sqrt(measurements.mu_squared), delta=measurements.delta) <= measurements.epsilon
        )
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError, ParameterError):
        raise TableError(f"{path.name} contains no measurements", remedy=_REMEDY) from None
    if not is_unaltered:
        raise TableError(f"{path.name} was altered after it was measured", remedy=_REMEDY)
    if not has_promised_noise:
        raise TableError(f"{path.name} has less noise than its epsilon needs", remedy=_REMEDY)
    return measurements


def squared_sensitivity(contribution: Contribution) -> dict[str, int]:
    """Return the largest sum of squared changes when one record comes or goes, by kind.

    It is in squared units.
    """
    return {
        "records": UNIT * UNIT,
        "lengths": UNIT * UNIT,
        "values": contribution.values_squared,
        "pairs": contribution.pairs_squared,
    }


def _sizes(domain: Domain) -> list[int]:
    """Return how many counts there are of each kind."""
    return [1, len(domain.columns) + 1, domain.attributes, domain.pairs]


def require_randomness() -> None:
    """Refuse to begin if no noise could be drawn. Raises ResourceError."""
    try:
        os.urandom(1)
    except (NotImplementedError, OSError):
        raise ResourceError("this system gives no random numbers", remedy="Measure on a system that does.") from None


def _table(measurements: Measurements) -> pa.Table:
    """Return one row a count: its kind, its attributes, and the noisy count in units.

    The promise is in the metadata.
    """
    domain = measurements.domain
    texts = pa.array([text for values in domain.values for text in values], pa.string())
    names = pa.array(domain.columns, pa.string())
    attributes = np.arange(domain.attributes)
    members = [np.arange(domain.first[column], domain.first[column + 1]) for column in range(len(domain.columns))]
    grids = [
        np.stack(np.meshgrid(members[a], members[b], indexing="ij"), axis=-1).reshape(-1, 2)
        for a in range(len(members))
        for b in range(a + 1, len(members))
    ]
    pairs = np.concatenate([*grids, np.empty((0, 2), np.int64)])
    lengths = len(domain.columns) + 1
    none = np.full(1 + lengths, -1)
    first = np.concatenate([none, attributes, pairs[:, 0]])
    second = np.concatenate([none, np.full(len(attributes), -1), pairs[:, 1]])
    kind = np.repeat(np.arange(len(KINDS), dtype=np.int32), _sizes(domain))
    length = np.concatenate([[0], np.arange(lengths), np.zeros(len(attributes) + len(pairs), np.int64)])
    columns: dict[str, Any] = {
        "kind": _texts(kind, kind < 0, pa.array(KINDS)),
        "length": pa.array(length.astype(np.int16), mask=kind != KINDS.index("lengths")),
    }
    for (variable, value), attribute in zip(attribute_columns(2), (first, second), strict=True):
        missing = attribute < 0
        known = np.where(missing, 0, attribute)
        columns[variable] = _texts(domain.column[known].astype(np.int32), missing, names)
        columns[value] = _texts(known.astype(np.int32), missing, texts)
    columns["count"] = pa.array(np.concatenate([measurements.noisy[kind] for kind in KINDS]))
    promise = {
        "format": FORMAT,
        "unit": UNIT,
        "epsilon": measurements.epsilon,
        "delta": measurements.delta,
        "mu_squared": str(measurements.mu_squared),
        "sigma": dict(measurements.sigma),
        "neighbours": "tables that differ in one record",
        "noise": "discrete Gaussian, OpenDP",
        "domain_sha256": domain.sha256,
        "domain": domain.to_dict(),
        "sha256": _sha256(measurements.noisy),
    }
    return pa.table(columns).replace_schema_metadata({_KEY: json.dumps(promise).encode()})


def _texts(indices: npt.NDArray[np.int32], missing: npt.NDArray[np.bool_], texts: pa.Array) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(indices, mask=missing), texts).cast(pa.string())


def _sha256(noisy: Mapping[str, Ints]) -> str:
    return hashlib.sha256(b"".join(noisy[kind].astype("<i8").tobytes() for kind in KINDS)).hexdigest()


@leaf
def _add(
    codes: npt.NDArray[np.int32],
    first: Ints,
    blocks: Ints,
    value_units: Ints,
    pair_units: Ints,
    values: Ints,
    pairs: Ints,
) -> None:
    """Add each record's units to ``values`` and ``pairs``."""
    columns = codes.shape[1]
    for row in range(codes.shape[0]):
        record = codes[row]
        length = value_count(record)
        for a in range(columns):
            if record[a] < 0:
                continue
            values[record[a]] += value_units[length]
            for b in range(a + 1, columns):
                if record[b] >= 0:
                    pairs[pair_number(first, blocks, a, record[a], b, record[b])] += pair_units[length]
