"""Differentially private records beside those of pac-synth, of the same table, at the same epsilon and delta.

usage: python benchmarks/run.py --only-private   (this module holds what is measured, and how it is told)

pac-synth is run in several modes at the first epsilon, and in the best of these at the others. Both sides take the values of the
domain from the table, as pac-synth does by itself. Time is of the processor, so that other work on the machine adds little.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

EPSILONS = (4, 1, 8, 12)
SUPPORTS = ("open", "strict")
MODES = (("balanced", 3), ("uncontrolled", 2), ("uncontrolled", 3), ("balanced", 2))
"""How pac-synth treats combinations that nobody has, and the longest that it counts."""
LIMIT_SECONDS = 600
CTDC = (sys.executable, "-c", "from ctdc_pipeline.cli.main import main; main()")


def compare(table: Path, *, peer: Path, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield a row of figures for each epsilon and each way to make records; ``peer``: the Python that has pac-synth."""
    rows = len(pd.read_csv(table, dtype=str))
    delta = 1 / (rows * math.log(rows))
    made, modes = folder / "private.csv", MODES
    for epsilon in EPSILONS:
        for support in SUPPORTS:
            told = ("--epsilon", epsilon, "--delta", delta, "--support", support, "--seed", 1, "--domain-from-data")
            command = (*CTDC, "synthesize", table, "--output", made, "--method", "dp", *told)
            yield _row(table, made, command, epsilon=epsilon, method=f"this project, {support}")
        errors: dict[tuple[str, int], float] = {}
        for mode, length in modes:
            command = (peer, Path(__file__).with_name("peer.py"), table, made, epsilon, mode, length)
            row = _row(table, made, command, epsilon=epsilon, method=f"pac-synth, {mode}, length {length}")
            errors[mode, length] = row["pairs: error"] or math.inf
            yield row
        modes = (min(errors, key=lambda mode: errors[mode]),)


def told(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The section of the report."""
    names = list(rows[0])
    lines = [
        "Made-up table of 20,000 x 37, k = 10, delta 1 / (n ln n), one run each, domain read from the data on both sides."
        " Error and lost as above; made up: the share of all pairs (triples) of the synthetic rows that nobody in the table has."
        " Seconds are of the processor. pac-synth: two fabrication modes at two lengths; no row: not run.",
        "",
        f"| {' | '.join(names)} |",
        "|---:|---" + "|---:" * (len(names) - 2) + "|",
        *(f"| {' | '.join(_cell(row[name]) for name in names)} |" for row in sorted(rows, key=lambda row: row["epsilon"])),
        "",
    ]
    for epsilon in sorted({row["epsilon"] for row in rows}):
        errors = {row["method"]: row["pairs: error"] for row in rows if row["epsilon"] == epsilon and row["pairs: error"]}
        others = [error for method, error in errors.items() if method.startswith("pac-synth")]
        if not others:
            continue
        shares = [
            f"{errors[name] / min(others):.0%} ({support})"
            for support in SUPPORTS
            if (name := f"this project, {support}") in errors
        ]
        lines.append(f"- Epsilon {epsilon}: error of pairs {' and '.join(shares)} of that of pac-synth's best mode here.")
    return lines


def _row(table: Path, made: Path, command: Sequence[object], *, epsilon: float, method: str) -> dict[str, Any]:
    """Run ``command``, which writes ``made``, and judge that."""
    made.unlink(missing_ok=True)
    process = subprocess.Popen(
        ["timeout", str(LIMIT_SECONDS), *map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    row: dict[str, Any] = {"epsilon": epsilon, "method": method, "rows": None}
    good = process.returncode == 0
    judged: dict[str, Any] = _judged(table, made) if good else {}
    for length, what in ((2, "pairs"), (3, "triples")):
        for figure in ("error", "lost", "made up"):
            row[f"{what}: {figure}"] = judged.get(f"{length} {figure}")
    row["rows"] = judged.get("rows")
    row["seconds"] = round(usage.ru_utime, 1) if good else None
    print(*row.values(), flush=True)
    return row


def _judged(table: Path, made: Path) -> dict[str, Any]:
    command = [*map(str, CTDC), "evaluate", str(table), str(made), "--k", "10", "--length", "3", "--json"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    said: dict[str, Any] = {"rows": found["synthetic_rows"]}
    for part in found["combinations"][1:]:
        fidelity, length = part["fidelity"], part["length"]
        said[f"{length} error"] = fidelity["relative_error"]
        said[f"{length} lost"] = fidelity["lost"] / fidelity["common"]
        said[f"{length} made up"] = _made_up(table, made, length=length)
    return said


def _made_up(table: Path, made: Path, *, length: int) -> float:
    """The share of all combinations of ``length`` in the rows of ``made`` that no row of ``table`` has."""
    with duckdb.connect() as connection:
        for name, path in (("real", table), ("made", made)):
            frame = pd.read_csv(path, dtype=str).reset_index(names="row").melt("row").dropna()
            frame["attribute"] = frame["variable"] + "=" + frame["value"]
            connection.register("cells", frame[["row", "attribute"]])
            joins = " ".join(
                f"JOIN cells c{n} ON c{n}.row = c0.row AND c{n}.attribute > c{n - 1}.attribute" for n in range(1, length)
            )
            key = ", ".join(f"c{n}.attribute AS a{n}" for n in range(length))
            connection.execute(f"CREATE TABLE {name} AS SELECT {key}, count(*) AS times FROM cells c0 {joins} GROUP BY ALL")  # noqa: S608
        keys = ", ".join(f"a{n}" for n in range(length))
        (none,) = connection.execute(f"SELECT coalesce(sum(times), 0) FROM made ANTI JOIN real USING ({keys})").fetchall()[0]  # noqa: S608
        (every,) = connection.execute("SELECT sum(times) FROM made").fetchall()[0]
    return float(none / every)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}" if value < 1 else f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
