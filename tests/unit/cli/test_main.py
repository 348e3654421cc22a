"""The command line as a process: what it writes, prints and returns, and that no cell of a table is ever quoted."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import random
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from ctdc_pipeline.cli.main import AUDIENCES, cli
from tests.support.deliveries import deliver, land
from tests.support.outside import tried

SENTINEL = "Sentinel-7391"
PUBLISHED = Path(__file__).parents[4] / "shared/data/ctdc_global_dataset_2020_extract.csv"


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-c", "from ctdc_pipeline.cli.main import main; main()", *map(str, arguments)]


def ctdc(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"})


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Sixty records of three columns, in which each value is in at least ten."""
    path = tmp_path / "table.csv"
    rows = [f"x{number % 2},{number % 3},{'' if number % 5 else 'unknown'}" for number in range(60)]
    path.write_text("\n".join(["a,b,c", *rows, ""]))
    return path


def test_count_writes_one_file_of_all_lengths(table: Path, tmp_path: Path) -> None:
    """Zeros counted as attributes, rare combinations beside common ones when only those were asked for."""
    output = tmp_path / "counts.parquet"
    done = ctdc(
        "count", table, "--output", output, "--length", "2", "--k", "12", "--sensitive-zeros", "b", "--missing", "unknown"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", f"There are 5 combinations in {output}.\n")
    counts = {tuple(filter(None, row[:-1])): row[-1] for row in zip(*pq.read_table(output).to_pydict().values(), strict=True)}
    assert counts == {
        ("a", "x0"): 30, ("a", "x1"): 30, ("b", "0"): 20, ("b", "1"): 20, ("b", "2"): 20,
    }  # fmt: skip
    assert ctdc("count", table, "--output", output, "--length", "3").returncode == 0
    assert pq.read_table(output).num_rows == 5 + 8 + 4


def test_synthesize_and_evaluate_agree(table: Path, tmp_path: Path) -> None:
    """A synthetic table that cannot be evaluated, or does not hold what was promised."""
    output = tmp_path / "synthetic.tsv"
    done = ctdc("synthesize", table, "--output", output, "--k", "5", "--seed", "1", "--threads", "1", "--memory-limit", "4GB")
    assert (done.returncode, done.stdout) == (0, "")
    assert re.fullmatch(rf"Wrote \d+ synthetic rows for 60 to {re.escape(str(output))}\.\n", done.stderr)
    assert "Privacy (k = 5): holds" in ctdc("evaluate", table, output, "--k", "5", "--length", "2").stdout
    document = json.loads(ctdc("evaluate", table, output, "--k", "5", "--length", "2", "--json").stdout)
    assert document["private"]
    assert document["sensitive_rows"] == 60
    assert {path.stat().st_mode & 0o777 for path in (output,)} == {0o600}


def test_a_table_in_which_nothing_is_common_gives_an_empty_table_and_says_so(table: Path, tmp_path: Path) -> None:
    """An error, or silence, where the right answer is a table without rows."""
    output = tmp_path / "synthetic.csv"
    done = ctdc("synthesize", table, "--output", output, "--k", "61", "--seed", "1")
    assert done.returncode == 0
    assert "no value is found in 61 rows or more of table.csv" in done.stderr
    assert output.read_text() == "a,b,c\n"
    assert ctdc("evaluate", table, output, "--k", "61").returncode == 0


def test_sample_writes_exports(tmp_path: Path) -> None:
    """A command that mixes words into its results, or fails, where a script uses it."""
    done = ctdc("sample", tmp_path / "exports", "--victims", "200", "--seed", "1", "--refreshes", "3")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (0, "", 1)
    assert "of 200 invented victims" in done.stderr
    assert sorted(path.name for path in (tmp_path / "exports" / "polaris").iterdir()) == ["2020-H1", "2020-H2", "2021-H1"]


def test_help_lists_each_command_by_audience_in_a_whole_sentence() -> None:
    """Guards against a new command that nobody is pointed to, one listed twice, and a description that breaks off."""
    said = ctdc("--help").stdout
    listed = [name for names in AUDIENCES.values() for name in names]
    assert len(listed) == len(set(listed))
    assert "Others" not in said
    assert "..." not in said.split("Options:")[1]
    for name, command in cli.commands.items():
        assert re.search(rf"^  {name} +[A-Z]", said, re.MULTILINE), name
        first = " ".join((command.help or "").split("\n\n")[0].split()).split(". ")[0].rstrip(".") + "."
        assert first in " ".join(said.split()), name


@pytest.mark.parametrize("name", ["", "sample", "count", "synthesize", "evaluate"])
def test_help_shows_examples(name: str) -> None:
    """Help that does not help."""
    done = ctdc(*filter(None, [name]), "--help")
    assert done.returncode == 0
    assert "Example" in done.stdout
    assert f"ctdc {name or 'count'} " in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["count", "absent.csv", "--output", "o.parquet"], "absent.csv: no such file"),
        (["count", "bad.csv", "--output", "o.parquet"], "bad.csv: row 2 has 1 cells"),
        (["count", "good.csv", "--output", "o.csv"], "o.csv is no Parquet file"),
        (["count", "good.csv", "--output", "o.parquet", "--length", "0"], "length is 0"),
        (["count", "good.csv", "--output", "o.parquet", "--k", "1"], "k is 1"),
        (["count", "good.csv", "--output", "o.parquet", "--threads", "0"], "threads is 0"),
        (["count", "good.csv", "--output", "o.parquet", "--threads", "-3"], "threads is -3"),
        (["count", "good.csv", "--output", "o.parquet", "--threads", str(10**9)], "threads is more than 1024"),
        (["count", "good.csv", "--output", "o.parquet", "--length", str(10**30)], "length is more than 1000"),
        (["count", "good.csv", "--output", "o.parquet", "--k", str(10**30)], "k is more than 2147483647"),
        (["count", "good.csv", "--output", "o.parquet", "--memory-limit=-5GB"], "memory limit is not understood"),
        (["synthesize", "good.csv", "--output", "o.csv", "--k", str(10**30)], "k is more than 2147483647"),
        (["synthesize", "good.csv", "--output", "o.csv", "--threads", "-3"], "threads is -3"),
        (["synthesize", "good.csv", "--output", "o.csv", "--memory-limit=-5GB"], "memory limit is not understood"),
        (["evaluate", "good.csv", "good.csv", "--k", str(10**30)], "k is more than 2147483647"),
        (["evaluate", "good.csv", "good.csv", "--threads", "-3"], "threads is -3"),
        (["count", "good.csv", "--output", "o.parquet", "--memory-limit", "much"], "memory limit"),
        (["count", "good.csv", "--output", "bad.csv/o.parquet"], "o.parquet cannot be written"),
        (["count", "good.csv", "--output", "o.parquet", "--sensitive-zeros", "z"], "no column z"),
        (["synthesize", "good.csv", "--output", "o.csv", "--k", "1"], "k is 1"),
        (["synthesize", "good.csv", "--output", "o.csv", "--seed", "-1"], "seed"),
        (["synthesize", "good.csv", "--output", "o.xlsx"], "o.xlsx: unknown kind"),
        (["synthesize", "good.csv", "--output", "good.csv"], "good.csv is the input"),
        (["synthesize", "good.csv", "--output", "o.csv", "--memory-limit", "much"], "memory limit"),
        (["synthesize", "good.csv", "--output", "o.csv", "--memory-limit", "1MB"], "memory"),
        (["evaluate", "good.csv", "other.csv"], "different columns"),
        (["evaluate", "good.csv", "good.csv", "--k", "1"], "k is 1"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    """A traceback, a quoted cell, exit status 0, or a partial output."""
    monkeypatch.chdir(tmp_path)
    Path("good.csv").write_text(f"a,b\n{SENTINEL},1\n")
    Path("bad.csv").write_text(f"a,b\n1,2\n{SENTINEL}\n")
    Path("other.csv").write_text(f"a,c\n{SENTINEL},1\n")
    done = ctdc(*arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert SENTINEL not in done.stdout + done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.csv", "good.csv", "other.csv"]


def test_an_unforeseen_error_is_told_without_its_message(table: Path, tmp_path: Path) -> None:
    """A defect of ours that prints a case in its traceback."""
    spoil = f"import ctdc_pipeline.counting.combinations as c; c.encode = lambda *_, **__: {{}}['{SENTINEL}']; "
    arguments = command("count", table, "--output", tmp_path / "o.parquet")
    arguments[2] = spoil + arguments[2]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "unforeseen KeyError in combinations.py, line" in done.stderr
    assert SENTINEL not in done.stderr


@contextlib.contextmanager
def on_terminal(*arguments: str | Path) -> Generator[tuple[subprocess.Popen[bytes], io.BufferedReader]]:
    """The command running with a terminal as its standard error, and what it shows there."""
    parent, child = pty.openpty()
    with subprocess.Popen(command(*arguments), stderr=child) as process, open(parent, "rb") as screen:  # noqa: PTH123
        os.close(child)
        yield process, screen


def rest(screen: io.BufferedReader) -> bytes:
    """What is still shown until the command ends; nobody reading, a full terminal would hold it up for ever."""
    seen = b""
    # Linux tells the end of a terminal by an error.
    with contextlib.suppress(OSError):
        while part := screen.read1(4096):
            seen += part
    return seen


def test_an_interrupt_ends_code_that_does_not_let_it_through() -> None:
    """A wide table keeps one compiled loop busy for many seconds, and Python hears of an interrupt only when it returns."""
    script = """if True:
        import signal, time
        from ctdc_pipeline.operations import interrupts
        signal.signal(signal.SIGTERM, lambda *_: None)
        interrupts.PATIENCE = 0.1
        with interrupts.ends_soon():
            print(flush=True)
            time.sleep(600)
    """
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate()
    assert process.returncode == 130
    assert b"nothing was written" in told


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("place", ["storage.tables.read_table", "synthesis.k_synthetic.synthesize"])
def test_an_interrupt_whose_exception_is_dropped_is_obeyed(
    table: Path, tmp_path: Path, place: str, number: signal.Signals
) -> None:
    """Python drops an exception in a callback of compiled code and where an object is freed; then all went on to the end."""
    module, function = place.rsplit(".", 1)
    script = f"""if True:
        import importlib, os
        from ctdc_pipeline.cli.main import main
        module = importlib.import_module("ctdc_pipeline.{module}")
        before = module.{function}
        class Freed:
            def __del__(self):
                os.kill(os.getpid(), {int(number)})
        def after(*arguments, **options):
            Freed()
            return before(*arguments, **options)
        module.{function} = after
        main()
    """
    arguments = [sys.executable, "-c", script, "synthesize", str(table), "--output", str(tmp_path / "o.csv"), "--seed", "1"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert "KeyboardInterrupt" in done.stderr  # as Python says where it drops one
    assert "nothing was written" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [table.name]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_that_shows_as_another_error_is_obeyed(table: Path, tmp_path: Path, number: signal.Signals) -> None:
    """Guards against "unforeseen ImportError, please report": an extension that is interrupted while it loads raises that."""
    script = f"""if True:
        import os
        from ctdc_pipeline.cli.main import main
        from ctdc_pipeline.storage import tables
        def loading(*arguments, **options):
            try:
                os.kill(os.getpid(), {int(number)})
            except KeyboardInterrupt:
                raise ImportError("cannot import") from None
        tables.read_table = loading
        main()
    """
    arguments = [sys.executable, "-c", script, "synthesize", str(table), "--output", str(tmp_path / "o.csv"), "--seed", "1"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert "unforeseen" not in done.stderr
    assert "nothing was written" in done.stderr


def test_an_interrupt_ends_an_evaluation(tmp_path: Path) -> None:
    """Guards against a stop that is not obeyed while the support of each long record is looked up."""
    source = wide(tmp_path / "wide.csv")
    with on_terminal("evaluate", source, source, "--length", "6", "--threads", "1") as (process, screen):
        screen.read1(4096)
        process.send_signal(signal.SIGTERM)
        rest(screen)
    assert process.returncode == 130


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", ["count", "synthesize"])
def test_an_interrupt_leaves_nothing(tmp_path: Path, name: str, number: signal.Signals) -> None:
    """A partial table, or a spill folder full of cases, after Ctrl-C."""
    source = tmp_path / "long.csv"
    columns = range(16)
    with source.open("w") as file:
        file.write(",".join(f"c{column}" for column in columns) + "\n")
        file.writelines(",".join(str((row * row >> column) % 7) for column in columns) + "\n" for row in range(60_000))
    interrupted(name, source, *(["--length", "8"] if name == "count" else []), number=number)


def interrupted(name: str, source: Path, *options: str, number: signal.Signals) -> None:
    """Run a command on ``source``, interrupt it at its work, and see it end with nothing written."""
    with on_terminal(name, source, "--output", source.parent / "output.parquet", *options) as (process, screen):
        seen = b""
        while not re.search(rb"counting|redaction|consolidation", seen):
            seen += screen.read1(4096)
        process.send_signal(number)
        rest(screen)
    assert process.returncode == 130
    assert [path.name for path in source.parent.iterdir()] == [source.name]


def wide(path: Path) -> Path:
    """A table of 400 rows and 100 columns, most of them the same in every row."""
    draw = random.Random(100)  # noqa: S311
    rows = ["".join("b" if draw.random() < 0.04 else "a" for _ in range(100)) for _ in range(400)]
    path.write_text("\n".join(",".join(row) for row in [[f"c{column}" for column in range(100)], *rows]) + "\n")
    return path


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_work_on_a_wide_table(tmp_path: Path, number: signal.Signals) -> None:
    """Guards against a stop that is not obeyed while the combinations of long records are searched."""
    interrupted("synthesize", wide(tmp_path / "wide.csv"), "--threads", "1", number=number)


def test_a_wide_table_is_synthesized(tmp_path: Path) -> None:
    """Guards against effort that grows without bound with the values of a record: 92 of them never ended."""
    output = tmp_path / "made.csv"
    done = ctdc("synthesize", wide(tmp_path / "wide.csv"), "--output", output, "--seed", "1", "--threads", "1")
    assert done.returncode == 0, done.stderr
    found = json.loads(ctdc("evaluate", tmp_path / "wide.csv", output, "--length", "1", "--json").stdout)
    assert found["private"] is True


def test_the_wide_table_that_was_tried_is_synthesized(tmp_path: Path) -> None:
    """As above, on the file itself."""
    done = ctdc("synthesize", tried("wide100.csv"), "--output", tmp_path / "made.csv", "--threads", "1")
    assert done.returncode == 0, done.stderr


def test_a_terminal_sees_progress(table: Path, tmp_path: Path) -> None:
    """Minutes of silence before somebody who waits."""
    with on_terminal("count", table, "--output", tmp_path / "o.parquet") as (process, screen):
        seen = rest(screen)
    assert process.returncode == 0
    assert b"counting combinations of length" in seen
    assert b"combinations in" in seen


def test_memory_that_runs_out_anywhere_is_told_in_a_line(table: Path, tmp_path: Path) -> None:
    """Guards against "unforeseen ... please report" where the machine is too small, as Arrow's error of its own was."""
    script = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 31, 1 << 31)); import pyarrow as pa\n"
    script += "import ctdc_pipeline.storage.tables\n"
    script += "ctdc_pipeline.storage.tables.read_table = lambda *_, **__: pa.allocate_buffer(1 << 40)\n"
    script += "from ctdc_pipeline.cli.main import main; main()"
    command = [sys.executable, "-c", script, "count", str(table), "--output", str(tmp_path / "o.parquet")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "ctdc: the memory does not suffice. Free some, or give fewer rows or a shorter length.\n"


@pytest.mark.parametrize(
    ("name", "options", "unused"),
    [("count", (), {"pandas", "numba", "scipy"}), ("synthesize", ("--seed", "1"), {"pandas", "scipy"})],
)
def test_commands_load_no_library_that_they_do_not_use(
    table: Path, tmp_path: Path, name: str, options: tuple[str, ...], unused: set[str]
) -> None:
    """Guards against half a second of start-up before a small table is looked at; pyarrow and numba load what they find."""
    script = f"import sys\nfrom ctdc_pipeline.cli.main import main\nmain()\nprint({unused} & {{*sys.modules}})"
    command = [sys.executable, "-c", script, name, str(table), "--output", str(tmp_path / "o.parquet"), *options]
    loaded = subprocess.run(command, capture_output=True, check=True, text=True)
    assert loaded.stdout.strip() == "set()"


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="needs the published 2020 extract")
def test_the_published_dataset_goes_through(tmp_path: Path) -> None:
    """Real published records, with codes, bands and zeros as they are, that the commands stumble over."""
    output = tmp_path / "synthetic.csv"
    assert ctdc("count", PUBLISHED, "--output", tmp_path / "counts.parquet", "--length", "3").returncode == 0
    assert ctdc("synthesize", PUBLISHED, "--output", output, "--seed", "1").returncode == 0
    document = json.loads(ctdc("evaluate", PUBLISHED, output, "--length", "2", "--json").stdout)
    assert document["private"]
    assert document["sensitive_rows"] == 48_773


def test_who_keeps_the_data_is_told_whether_it_is_encrypted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A zone, or a backup, that everybody takes to be encrypted and is not; a key on the screen."""
    secret = tmp_path / "home" / "sensitive" / "secrets" / "CTDC_SEED"
    secret.parent.mkdir(parents=True)
    secret.write_text(SENTINEL)
    monkeypatch.setenv("CTDC_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CTDC_SENSITIVE_KEY", raising=False)
    assert "NOT encrypted at rest: CTDC_SENSITIVE_KEY is not set; 1 of 1 files" in ctdc("status").stdout
    plain = ctdc("backup", tmp_path / "plain.tar")
    assert (plain.returncode, plain.stdout) == (0, "")
    assert "NOT encrypted" in plain.stderr
    refused = ctdc("reseal")
    assert (refused.returncode, "CTDC_SENSITIVE_KEY is not set" in refused.stderr) == (1, True)

    monkeypatch.setenv("CTDC_SENSITIVE_KEY", "0a" * 32)
    done = [ctdc("reseal"), ctdc("backup", tmp_path / "sealed.tar")]
    said = ["Encrypted 1 files with the first key.\n", f"Wrote 1 files to {tmp_path / 'sealed.tar'}.\n"]
    assert [(one.returncode, one.stdout, one.stderr) for one in done] == [(0, "", line) for line in said]
    assert "encrypted at rest; 0 of 1 files are in clear" in ctdc("status").stdout
    assert SENTINEL.encode() in (tmp_path / "plain.tar").read_bytes()
    assert SENTINEL.encode() not in (tmp_path / "sealed.tar").read_bytes()

    over = ctdc("restore", tmp_path / "sealed.tar")
    assert (over.returncode, "not empty" in over.stderr) == (1, True)
    monkeypatch.setenv("CTDC_HOME", str(tmp_path / "other"))
    assert ctdc("restore", tmp_path / "sealed.tar").returncode == 0
    assert (tmp_path / "other" / "sensitive" / "secrets" / "CTDC_SEED").read_bytes().startswith(b"gAAAAA")

    monkeypatch.setenv("CTDC_SENSITIVE_KEY", "0a0b")
    malformed = ctdc("status")
    assert malformed.returncode == 1
    assert "64 hexadecimal digits" in malformed.stderr
    assert "0a0b" not in malformed.stderr


def test_a_published_file_is_imported_and_exported(tmp_path: Path) -> None:
    """An import that does not say what it took the file for, or an export that loses variables in silence."""
    source, table, cases = tmp_path / "v2025.csv", tmp_path / "table.parquet", tmp_path / "cases.csv"
    source.write_text("gender,ageBroad,citizenship,meansWithholdDocuments\nWoman,09--17,NAM,1\n")
    done = ctdc("import", source, table)
    assert (done.returncode, done.stderr) == (0, f"Wrote 1 rows to {table}.\n")
    assert "Global Synthetic Dataset (2024 and 2025): 1 rows, 27 variables" in done.stdout
    assert "meansWithholdDocs" in done.stdout
    assert len(pq.read_table(table).column_names) == 27
    done = ctdc("export", "--format", "htcds", table, cases)
    assert (done.returncode, done.stdout) == (0, "")
    lost = "ctdc: htcds cannot hold, or not in full: ageBroad, meansWithholdDocs\n"
    assert done.stderr == f"{lost}Wrote 1 rows to {cases}.\n"
    assert "Feminine,NAM" in cases.read_text()


def test_a_file_that_cannot_be_imported_is_refused_in_one_line(tmp_path: Path) -> None:
    """A traceback, a cell in a message, or half an output where a file is not what it should be."""
    source = tmp_path / "v.csv"
    source.write_text(f"gender,meansThreats,ageBroad\nMan,,{SENTINEL}\n")
    for arguments in (("import", source, tmp_path / "out.csv"), ("import", source, source)):
        done = ctdc(*arguments)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert SENTINEL not in done.stderr
    assert not (tmp_path / "out.csv").exists()
    done = ctdc("export", "--format", "htcds", source, tmp_path / "out.xlsx")
    assert (done.returncode, done.stderr.count("\n"), SENTINEL in done.stderr) == (1, 1, False)


def test_deliveries_are_listed_chosen_and_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a decision that can be made only by editing files."""
    monkeypatch.setenv("CTDC_HOME", str(tmp_path))
    deliver(tmp_path, "polaris", {})
    land(tmp_path, "polaris", {"Case_ID": "C2"}, refresh="2021-H2")
    listed = CliRunner().invoke(cli, ["deliveries"])
    found = [line.split() for line in listed.output.splitlines() if line.strip().startswith("polaris")]
    assert [(line[1], line[-1]) for line in found] == [("2021-H1", "used"), ("2021-H2", "landed")]
    chosen = CliRunner().invoke(cli, ["deliveries", "choose", "polaris", "2021-H1", found[0][2]])
    assert f"{found[0][2]} counts for polaris 2021-H1" in chosen.output
    assert CliRunner().invoke(cli, ["deliveries", "close", "polaris", "2021-H1"]).exit_code == 0
    assert "used, closed" in CliRunner().invoke(cli, ["deliveries", "list"]).output


def test_what_landed_in_the_wrong_place_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A delivery dropped one folder too high, or into a misspelt one, would wait there and nobody would know."""
    monkeypatch.setenv("CTDC_HOME", str(tmp_path))
    root = land(tmp_path, "polaris", {}).parents[2]
    assert "ctdc:" not in CliRunner().invoke(cli, ["status"]).stderr
    (root / f"{SENTINEL}.csv").touch()
    for place in (
        f"polaris/{SENTINEL}.csv",
        f"polaris/{SENTINEL}/cases.csv",
        f"{SENTINEL}/2021/cases.csv",
        f"{SENTINEL}/cases.csv",
    ):
        (root / place).parent.mkdir(exist_ok=True, parents=True)
        (root / place).touch()
    told = CliRunner().invoke(cli, ["status"]).stderr
    assert SENTINEL not in told
    for one in (
        "1 files in the landing root are in no folder of a refresh. Move them to <source>/<refresh>/",
        "1 files in polaris are in no folder of a refresh. Move them to <refresh>/",
        "1 files in a folder of no known source are in no folder",
        "a folder in polaris: the refresh label is not understood",
        "a folder for 2021 belongs to no known source",
    ):
        assert one in told
    assert CliRunner().invoke(cli, ["deliveries"]).stderr.endswith(told)
