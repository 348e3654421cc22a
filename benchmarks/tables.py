"""Made-up tables with the codebook's 37 variables, sparse and dependent as case data is. Nothing in them is a case.

usage: python benchmarks/tables.py ROWS FILE [--seed SEED]

A record is drawn from a profile: where it happened to whom, which exploitation, how much control. Within a profile values
are independent. Shares are coarse; they only have to give tables of the kind, and the same ones every time.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ctdc_pipeline.codebook.countries import countries
from ctdc_pipeline.codebook.variables import Variable, codebook
from ctdc_pipeline.storage.tables import write_table

PROFILES = 60
KNOWN = {"yearOfRegistration": 1.0, "gender": 0.98, "ageBroad": 0.75, "traffickMonths": 0.25}
USUALLY_KNOWN = 0.9
FLAGS = {
    "means": 0.35,
    "exploitation": 0.9,
    "labour": 0.45,
    "sex": 0.4,
    "recruiter": 0.4,
}  # share of records with any of the group


def make(rows: int, *, seed: int) -> pa.Table:
    """A table of ``rows`` made-up records; text columns, null for missing."""
    rng = np.random.default_rng(seed)
    shares = np.arange(1, PROFILES + 1) ** -1.1
    profile = rng.choice(PROFILES, rows, p=shares / shares.sum())
    severity = rng.beta(1.3, 2.5, rows)
    concerned = {group: rng.random(rows) < share for group, share in FLAGS.items()}
    columns: dict[str, pa.Array] = {}
    for variable in codebook().variables:
        if variable.kind == "flag":
            chance = np.clip(
                rng.beta(0.35, 1.1, PROFILES)[profile] * (2.5 * severity if variable.group == "means" else 1), 0, 0.95
            )
            filled = concerned.get(variable.group, np.ones(rows, bool)) & (rng.random(rows) < chance)
            columns[variable.name] = pa.array(np.full(rows, "1", object), pa.string(), mask=~filled)
            continue
        values = np.array(_values(variable), object)
        drawn = values[_drawn(rng, profile, len(values))]
        missing = rng.random(rows) >= KNOWN.get(variable.name, USUALLY_KNOWN)
        columns[variable.name] = pa.array(drawn, pa.string(), mask=missing)
    return pa.table(columns)


def _values(variable: Variable) -> list[str]:
    if variable.kind == "year":
        return [str(year) for year in range(2002, 2022)]
    if variable.kind == "country":
        return [country.iso3 for country in countries().rows]
    return list(variable.values)


def _drawn(rng: np.random.Generator, profile: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.int64]:
    """Positions of values: each profile has its own order of them, and prefers the first ones."""
    order = np.argsort(rng.random((PROFILES, size)) + np.linspace(0, 1.5, size), axis=1)
    weight = np.arange(1, size + 1) ** -1.6
    return order[profile, rng.choice(size, len(profile), p=weight / weight.sum())]


def main() -> None:
    """Write one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("rows", type=int)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    write_table(make(options.rows, seed=options.seed), options.file)


if __name__ == "__main__":
    main()
