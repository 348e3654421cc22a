"""Measure counting, synthesis, evaluation, the graph and a release, and write benchmarks/REPORT.md with plots beside it.

usage: python benchmarks/run.py [--sizes N ...] [--threads N ...] [--repeat 3] [--victims 200000] [--no-peers] [--work FOLDER]
       python benchmarks/run.py --only-kinds [NAME ...] [--given NAME=FILE@K ...]
       python benchmarks/run.py --only-private | --only-graph

Each figure is of one process from start to exit: wall time, and the most memory it held (maximum resident set). With
--repeat the fastest run counts, for other work on the machine only ever adds. Tables come from benchmarks/tables.py. Two
peers run at 20,000 rows: pac-synth, differentially private and so with other guarantees, installed into an environment of
its own; and counting with pandas and itertools, as the floor.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Container
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
import private
from kinds import KINDS, SHARED, made
from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
CTDC = [sys.executable, "-c", "from ctdc_pipeline.cli.main import main; main()"]
PEER_ROWS = 20_000
LENGTHS = (3, 4, 5)
METHODS = ("faithful", "uniform")
BIG = 1_000_000  # rows
REFRESHES = 8
GRAPH = {
    "prepare": f"samples of {REFRESHES} refreshes",
    "load": "loading the code location",
    "rebuild": f"full rebuild, {REFRESHES} refreshes",
    "increment": "one more delivery of Polaris, up to all victims",
    "derive": "all tables from what was ingested",
    "candidate": "all products of a release, and their proof",
}
K = 10
EVEN = 0.02  # by which a figure may be behind and still count as even
FIGURES = tuple(f"{what}: {figure}" for what in ("pairs", "triples") for figure in ("error", "preservation", "lost"))
# What the published engine gave on the same table: rows out and FIGURES, None where that is not known.
PUBLISHED: dict[tuple[str, int], tuple[float | None, ...]] = {
    ("simulated, sparse, 200,000", 10): (326_455, 0.348, 0.200, 0.31, 0.529, 0.095, 0.49),
    ("real extract of 2020", 11): (None, 0.006, None, None, 0.008, None, None),
    ("real extract of 2020", 100): (None, 0.180, None, None, 0.229, None, None),
    ("mixed stress table", 10): (69_513, None, 0.352, 0.24, None, 0.352, 0.22),
}


@dataclass(frozen=True)
class Run:
    """One process. ``seconds``: wall time; ``megabytes``: the most it held; None: it failed or took too long."""

    work: str
    rows: int
    threads: int
    seconds: float | None
    megabytes: float | None


class Bench:
    """Runs and the figures found on the way; ``folder`` holds tables and results."""

    def __init__(self, folder: Path, *, repeat: int) -> None:
        self.folder, self.repeat = folder, repeat
        self.runs: list[Run] = []
        self.utility: list[dict[str, Any]] = []
        self.kinds: list[dict[str, Any]] = []
        self.private: list[dict[str, Any]] = []
        self.skipped: list[str] = []

    def measure(self, work: str, command: list[str | Path], *, rows: int, threads: int, limit: float | None = None) -> bool:
        """Run ``command`` ``repeat`` times and keep the fastest; whether it succeeded. Once only if a ``limit`` is set."""
        best: Run | None = None
        for _ in range(1 if limit else self.repeat):
            found = _process([str(part) for part in command], limit=limit or float("inf"))
            if found is None:
                best = None
                break
            if best is None or found[0] < (best.seconds or 0):
                best = Run(work, rows, threads, *found)
        run = best or Run(work, rows, threads, None, None)
        self.runs.append(run)
        print(
            f"{work:28} {rows:>9,} rows {threads} threads  {_cell(run.seconds, '.2f')} s  {_cell(run.megabytes, '.0f')} MB",
            flush=True,
        )
        return best is not None

    def size(self, rows: int, *, threads: list[int]) -> None:
        """All of our own work on a table of ``rows``; on a big one only what its growth shows in, once."""
        table = self.table(rows)
        big = rows > BIG
        for number in threads[-1:] if big else threads:
            options = ["--threads", str(number)]
            for length in LENGTHS[:1] if big else LENGTHS:
                output = self.folder / "counts.parquet"
                self.measure(
                    f"counts, length <= {length}",
                    [*CTDC, "count", table, "--output", output, "--length", str(length), *options],
                    rows=rows,
                    threads=number,
                )
            synthetic = self.folder / f"synthetic_{rows}.csv"
            for method in METHODS[:1] if big else METHODS:
                command = [*CTDC, "synthesize", table, "--output", synthetic, "--seed", "1", "--method", method, *options]
                if self.measure(f"synthesis, {method}", command, rows=rows, threads=number) and number == threads[-1] and not big:
                    self.judge(f"k-synthetic, {method}", table, synthetic, rows=rows)
            command = [*CTDC, "evaluate", table, synthetic, "--length", "3", "--json", *options]
            self.measure("evaluation, length <= 3", command, rows=rows, threads=number)

    def first_run(self) -> None:
        """Synthesis on a machine that never ran it, and so compiles its kernel; afterwards it is compiled for all other runs."""
        command = [*CTDC, "synthesize", self.table(PEER_ROWS), "--output", self.folder / "first.csv", "--seed", "1"]
        threads = os.cpu_count() or 1
        with tempfile.TemporaryDirectory() as cache:
            cold: list[str | Path] = ["env", f"NUMBA_CACHE_DIR={cache}", *command]
            self.measure("synthesis, first run ever", cold, rows=PEER_ROWS, threads=threads, limit=300)
        subprocess.run(command, check=True, capture_output=True)

    def graph(self, victims: int, refreshes: int) -> None:
        """The graph over deliveries of all partners: loading it, a full rebuild, a further delivery of one partner, a release."""
        # The code location is no installed package.
        home = {
            "CTDC_HOME": str(self.folder / f"home_{victims}"),
            "DAGSTER_DISABLE_TELEMETRY": "yes",
            "PYTHONPATH": str(HERE.parent),
        }
        for step in GRAPH:
            arguments = [str(victims), str(refreshes)] if step == "prepare" else []
            if step == "prepare":
                shutil.rmtree(home["CTDC_HOME"], ignore_errors=True)
            command: list[str | Path] = ["env", *map("=".join, home.items()), sys.executable, HERE / "graph.py", step, *arguments]
            # Each step changes the home, so once only.
            if not self.measure(f"graph, {GRAPH[step]}", command, rows=victims, threads=os.cpu_count() or 1, limit=1800):
                return
        (release,) = (Path(home["CTDC_HOME"]) / "sensitive" / "candidates").iterdir()
        sensitive = Path(home["CTDC_HOME"]) / "sensitive" / "harmonised" / "victims.parquet"
        for work, options in (("verify, public folder", []), ("verify, with the sensitive table", ["--sensitive", sensitive])):
            self.measure(f"release, {work}", [*CTDC, "verify", release, *options], rows=victims, threads=os.cpu_count() or 1)
        self.page(release / "showcase.html", rows=victims)

    def page(self, path: Path, *, rows: int) -> None:
        """The showcase in a headless Chromium: until it shows figures, and the slowest answer to a selection."""
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page()
            page.goto(path.as_uri())
            page.wait_for_selector("html[data-ready]")
            opened = float(page.evaluate("performance.now()"))
            answers: list[float] = []
            for label in ("Female", "Male", "Forced labour"):
                page.get_by_role("button", name=label, exact=True).click()
                page.wait_for_timeout(200)
                answers.append(float(page.evaluate("document.documentElement.dataset.answered")))
            browser.close()
        self.runs += [
            Run("release, showcase shows figures", rows, 1, opened / 1000, None),
            Run("release, showcase, slowest of three selections", rows, 1, max(answers) / 1000, None),
        ]

    def peers(self) -> None:
        """pac-synth and the naive floor."""
        table, synthetic = self.table(PEER_ROWS), self.folder / "peer.csv"
        self.measure("naive counts, length <= 3", [sys.executable, HERE / "naive.py", table, "3"], rows=PEER_ROWS, threads=1)
        python = self.peer()
        threads = os.cpu_count() or 1
        if self.measure("pac-synth", [python, HERE / "peer.py", table, synthetic], rows=PEER_ROWS, threads=threads, limit=900):
            self.judge("pac-synth, epsilon 4", table, synthetic, rows=PEER_ROWS)

    def peer(self) -> Path:
        """The Python of an environment with pac-synth."""
        python = self.folder / "peer" / "bin" / "python"
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", self.folder / "peer"], check=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", "pac-synth==0.0.8", "pandas"], check=True)
        return python

    def differentially_private(self) -> None:
        """Records from measurements beside those of pac-synth, where SHARED has the table's generator."""
        if SHARED.is_dir():
            table = self.folder / "private_table.csv"
            made("make_table.py", str(PEER_ROWS), "--seed", "21")(table)
            self.private = list(private.compare(table, peer=self.peer(), folder=self.folder))

    def table(self, rows: int) -> Path:
        """The made-up table of ``rows``, made on first use."""
        path = self.folder / f"table_{rows}.csv"
        if not path.exists():
            subprocess.run([sys.executable, HERE / "tables.py", str(rows), path], check=True)
        return path

    def compare(self, name: str, table: Path, *, k: int) -> None:
        """Both methods on one table: what they keep of pairs and triples."""
        options = ["--k", str(k)]
        for method in METHODS:
            made = self.folder / "kind.csv"
            subprocess.run(
                [*map(str, (*CTDC, "synthesize", table, "--output", made, "--seed", "1", "--method", method)), *options],
                check=True,
                capture_output=True,
            )
            command = [*map(str, (*CTDC, "evaluate", table, made, "--length", "3", "--json")), *options]
            found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            row = {
                "table": name,
                "k": k,
                "method": method,
                "rows in": found["sensitive_rows"],
                "rows out": found["synthetic_rows"],
            }
            for what, part in zip(("pairs", "triples"), found["combinations"][1:], strict=True):
                fidelity = part["fidelity"]
                row |= {
                    f"{what}: error": fidelity["relative_error"],
                    f"{what}: preservation": fidelity["preservation"],
                    f"{what}: lost": fidelity["lost"] / fidelity["common"] if fidelity["common"] else None,
                }
            self.kinds.append(row)
            print(*row.values(), flush=True)
        if (name, k) in PUBLISHED:
            known = dict(zip(("rows out", *FIGURES), PUBLISHED[name, k], strict=True))
            self.kinds.append({**self.kinds[-1], "method": "published engine", **known})

    def all_kinds(self, given: list[str], *, only: Container[str] = KINDS) -> None:
        """Tables of every kind, or the kinds ``only``, and those ``given`` as NAME=FILE@K."""
        for number, (name, kind) in enumerate(KINDS.items()):
            if name not in only:
                continue
            if kind.shared and not SHARED.is_dir():
                self.skipped.append(f"{name}: no folder `{SHARED.name}` beside the project.")
                continue
            path = self.folder / f"kind_{number}.csv"
            if not path.exists():
                kind.write(path)
            for k in kind.resolutions:
                self.compare(name, path, k=k)
        for text in given:
            name, _, rest = text.partition("=")
            file, _, k = rest.rpartition("@")
            self.compare(name, Path(file), k=int(k))

    def judge(self, name: str, table: Path, synthetic: Path, *, rows: int) -> None:
        """Evaluate ``synthetic`` against ``table``."""
        command = [*CTDC, "evaluate", table, synthetic, "--k", str(K), "--length", "3", "--json"]
        found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        for part in found["combinations"][1:]:
            self.utility.append(
                {
                    "made by": name,
                    "rows in": rows,
                    "rows out": found["synthetic_rows"],
                    "length": part["length"],
                    "leaked": part["leaked"],
                    "common": part["fidelity"]["common"],
                    "lost": part["fidelity"]["lost"],
                    "mean preservation": part["fidelity"]["preservation"],
                    "relative error": part["fidelity"]["relative_error"],
                }
            )


def _process(command: list[str], *, limit: float) -> tuple[float, float] | None:
    """Wall time in seconds and peak memory in megabytes of one process; None if it fails or exceeds ``limit`` seconds."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            if time.perf_counter() - start > limit:
                process.kill()
            time.sleep(0.01)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            print(output.read().decode(errors="replace")[-500:])
            return None
    return time.perf_counter() - start, usage.ru_maxrss * 1024 / 1e6


def _plots(runs: pd.DataFrame) -> None:
    """Growth of time and of memory with the rows, at most threads, one line a kind of work."""
    most = runs[~runs["work"].str.startswith(("graph", "release"))].query("threads == threads.max() and seconds.notna()")
    for quantity, title in (("seconds", "seconds, whole process"), ("megabytes", "peak memory, MB")):
        chart = (
            alt.Chart(most)
            .mark_line(point=True)
            .encode(
                x=alt.X("rows:Q", scale=alt.Scale(type="log")),
                y=alt.Y(f"{quantity}:Q", scale=alt.Scale(type="log"), title=title),
                color=alt.Color("work:N", title=None),
            )
            .properties(width=480, height=300)
        )
        chart.save(HERE / f"{quantity}.svg")


def _report(bench: Bench) -> None:
    """REPORT.md, and the figures as results.json."""
    runs = pd.DataFrame([asdict(run) for run in bench.runs])
    found = {
        "runs": [asdict(run) for run in bench.runs],
        "utility": bench.utility,
        "kinds": bench.kinds,
        "private": bench.private,
    }
    (HERE / "results.json").write_text(json.dumps(found, indent=1))
    _plots(runs)
    lines = [
        "# Benchmarks",
        "",
        "Written by `python benchmarks/run.py`; do not edit. Every figure is of a whole process, reading and writing included,"
        f" the fastest of {bench.repeat}. Tables are made up by `benchmarks/tables.py`. Resolution k = {K}.",
        "",
        f"Machine: {os.cpu_count()} processors, {platform.machine()}, Python {platform.python_version()},"
        f" DuckDB {version('duckdb')}, numpy {version('numpy')}, numba {version('numba')}.",
        "",
        "## Time and memory",
        "",
        "| work | rows | threads | seconds | peak memory, MB |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| {r.work} | {r.rows:,} | {r.threads} | {_cell(r.seconds, '.2f')} | {_cell(r.megabytes, ',.0f')} |"
            for r in bench.runs
        ),
        "",
        "![time by rows](seconds.svg)",
        "",
        "![memory by rows](megabytes.svg)",
        "",
        "## What the synthetic tables keep",
        "",
        "Of combinations with at least k sensitive rows: mean preservation is the mean of synthetic by sensitive count, at most"
        " 1; relative error the sum of differences by the sum of sensitive counts. Leaked: synthetic combinations with fewer"
        " than k sensitive rows. pac-synth promises differential privacy instead, and makes combinations up on purpose.",
        "",
    ]
    if bench.utility:
        names = list(bench.utility[0])
        lines += [f"| {' | '.join(names)} |", "|---" + "|---:" * (len(names) - 1) + "|"]
        lines += [f"| {' | '.join(_text(row[name]) for name in names)} |" for row in bench.utility]
    if bench.kinds:
        lines += ["", "## Tables of different kinds", "", *_kinds(bench.kinds)]
        lines += ["", *(f"- Skipped: {reason}" for reason in bench.skipped)] if bench.skipped else []
    if bench.private:
        lines += ["", "## Differential privacy beside pac-synth", "", *private.told(bench.private)]
    (HERE / "REPORT.md").write_text("\n".join([*lines, ""]))


def _kinds(rows: list[dict[str, Any]]) -> list[str]:
    """The figures by table and method, and where *faithful* is behind another by more than EVEN."""
    names = list(rows[0])
    lines = [
        "Seed 1, no core columns, figures as above; lost as a share of the common combinations. *Published engine*: what"
        " synthetic-data-showcase gave on the same table, where known.",
        "",
        f"| {' | '.join(names)} |",
        "|---|---:|---" + "|---:" * (len(names) - 3) + "|",
        *(f"| {' | '.join(_text(row[name]) for name in names)} |" for row in rows),
        "",
    ]
    faithful = {(row["table"], row["k"]): row for row in rows if row["method"] == METHODS[0]}
    compared, behind = 0, list[str]()
    for other in rows:
        ours = faithful[other["table"], other["k"]]
        for name in ("rows out", *FIGURES):
            a, b = ours[name], other[name]
            if other is ours or a is None or b is None:
                continue
            compared += 1
            if a < b * (1 - EVEN) if "preservation" in name else a > b * (1 + EVEN) + 0.0005:
                figures = f"{_text(a)} against {_text(b)} of {other['method']}"
                behind.append(f"- {ours['table']}, k = {ours['k']}, {name}: {figures}.")
    head = f"*Faithful* is better, or behind by no more than {EVEN:.0%}, in {compared - len(behind)} of {compared} figures"
    return [*lines, *([f"{head}. The others:", "", *behind] if behind else [f"{head}."])]


def _cell(number: float | None, form: str) -> str:
    return "-" if number is None else format(number, form)


def _text(value: object) -> str:
    return (
        "-"
        if value is None
        else f"{value:,}"
        if isinstance(value, int)
        else f"{value:.3f}"
        if isinstance(value, float)
        else str(value)
    )


def main() -> None:
    """Run all and write the report."""
    parser = argparse.ArgumentParser(description="Measure counting, synthesis and evaluation; write benchmarks/REPORT.md.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[20_000, 200_000], help="rows; add 2000000 for the big one")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeat", type=int, default=3, help="runs of each, of which the fastest counts")
    parser.add_argument("--victims", type=int, default=200_000, help="victims in the deliveries the graph is run over; 0: none")
    parser.add_argument("--no-peers", action="store_true", help="leave out pac-synth and the naive count")
    parser.add_argument("--work", type=Path, default=HERE.parent / "build" / "bench", help="folder for tables and results")
    parser.add_argument("--only-kinds", nargs="*", metavar="NAME", help="measure these tables, or all; keep the other figures")
    parser.add_argument("--given", nargs="*", default=[], metavar="NAME=FILE@K", help="further tables to compare the methods on")
    parser.add_argument("--only-private", action="store_true", help="measure differential privacy; keep the other figures")
    parser.add_argument("--only-graph", action="store_true", help="measure the graph and its release; keep the other figures")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(options.work, repeat=options.repeat)
    if options.only_kinds is not None or options.only_private or options.only_graph:
        known = json.loads((HERE / "results.json").read_text())
        bench.private = known.get("private", [])
        if options.only_private:
            bench.differentially_private()
        elif options.only_graph:
            bench.graph(options.victims, REFRESHES)
        else:
            bench.all_kinds(options.given, only=options.only_kinds or KINDS)
        new = {run.work for run in bench.runs}
        bench.runs = [*(run for run in (Run(**run) for run in known["runs"]) if run.work not in new), *bench.runs]
        bench.utility = known["utility"]
        measured = {row["table"] for row in bench.kinds}
        bench.kinds += [row for row in known["kinds"] if row["table"] not in measured]
        bench.kinds.sort(key=lambda row: ([*KINDS, row["table"]].index(row["table"]), row["k"]))
        _report(bench)
        return
    bench.first_run()
    for rows in options.sizes:
        bench.size(rows, threads=sorted(options.threads))
    if options.victims:
        bench.graph(options.victims, REFRESHES)
    if not options.no_peers:
        bench.peers()
        bench.differentially_private()
    bench.all_kinds(options.given)
    _report(bench)


if __name__ == "__main__":
    main()
