"""What reaches Dagster: figures and failures, never a value of a case."""

import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from assets.reporting import PROOFS, Materialized, grid, guarded, plot, release_result, table_result
from ctdc_pipeline.errors import DeliveryError
from ctdc_pipeline.operations.interrupts import INTERRUPTED
from ctdc_pipeline.partners.registry import SOURCES
from ctdc_pipeline.privacy.k_synthetic_proof import Proof
from ctdc_pipeline.release.candidate import RECORDS, Release
from ctdc_pipeline.storage.files import sha256, write_parquet
from resources.io_manager import NoRows
from tests.integration.conftest import QUIET, told

SENTINEL = "Sentinel-Zqx"


def failing(error: Exception, *, cause: Exception | None = None) -> str:
    """What Dagster's events tell of an asset that raises ``error``, which came up while ``cause`` was handled."""

    @dg.asset
    @guarded()
    def table() -> Materialized:
        try:
            raise cause or error
        except Exception as first:
            if cause:
                raise error from first
            raise

    definitions = dg.Definitions(assets=[table])
    job = definitions.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(run_config=QUIET, raise_on_error=False)
    assert not result.success
    return told(result) + str([event.event_specific_data for event in result.all_events])


def test_an_unexpected_error_is_told_without_its_text(capfd: pytest.CaptureFixture[str]) -> None:
    """The text of a parser's error is often the cell it stumbled over."""
    text = failing(ValueError(f"could not convert {SENTINEL}"))

    assert SENTINEL not in text + "".join(capfd.readouterr())
    assert "ValueError in test_reporting.py" in text


DEAF = """if True:
    import ctypes, sys, threading
    from pathlib import Path
    import dagster as dg
    from assets.reporting import guarded
    from ctdc_pipeline.operations import interrupts
    from ctdc_pipeline.storage.files import staged, temporary_folder

    interrupts.PATIENCE = 0.1
    home = Path(sys.argv[1])

    @dg.asset
    @guarded()
    def table():
        with staged(home / "table.parquet") as part, temporary_folder(home, prefix=".spill-") as spill:
            (spill / "counts").touch()
            lock = ctypes.create_string_buffer(256)
            threading.Timer(2, print, [""], {"flush": True}).start()
            while True:  # the second time it waits for itself, and no signal wakes it
                ctypes.CDLL(None).pthread_mutex_lock(lock)

    with dg.DagsterInstance.local_temp(sys.argv[2]) as instance:
        dg.materialize([table], instance=instance)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_step_that_hears_no_signal_ends_all_the_same(tmp_path: Path, number: signal.Signals) -> None:
    """Guards against compiled code that holds up a stop for minutes, files left by its end, and a run that seems to go on."""
    home, storage = tmp_path / "home", tmp_path / "storage"
    home.mkdir()
    storage.mkdir()
    command = [sys.executable, "-c", DEAF, str(home), str(storage)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(number)
        assert process.wait(timeout=60) == INTERRUPTED
    with dg.DagsterInstance.local_temp(str(storage)) as instance:
        (run,) = instance.get_runs()
    assert run.status == dg.DagsterRunStatus.CANCELED
    assert not list(home.iterdir())


def test_a_cause_is_not_told(capfd: pytest.CaptureFixture[str]) -> None:
    """Our own error carries no value, but the one it came from may."""
    ours = DeliveryError("the date is impossible", remedy="Correct it.", partner="polaris", row=3)
    text = failing(ours, cause=ValueError(SENTINEL))

    assert SENTINEL not in text + "".join(capfd.readouterr())
    assert "polaris, row 3: the date is impossible. Correct it." in text


def test_a_name_of_a_file_that_somebody_chose_is_not_told() -> None:
    """Guards against ``Jane Doe.csv`` in the event log, which everybody who sees the catalogue can read."""
    named = [
        DeliveryError(
            "the upload is not finished", remedy="Finish it.", partner=partner, refresh="2021-H1", file=f"{SENTINEL}.csv"
        )
        for partner in ("polaris", "unknown")
    ]
    texts = [failing(error) for error in named]
    assert all(SENTINEL not in text for text in texts)
    assert "polaris, refresh 2021-H1, a file whose name no layout expects: the upload is not finished. Finish it." in texts[0]


def test_a_name_that_the_layout_knows_is_told() -> None:
    """Guards against a failure that does not say in which of several files to look."""
    pattern = next(iter(SOURCES["polaris"].layouts.values())).file_pattern
    text = failing(DeliveryError("it is no text", remedy="Ask.", partner="polaris", file=pattern.replace("*", ""), row=3))
    assert f"polaris, file {pattern.replace('*', '')}, row 3: it is no text. Ask." in text


def test_rows_cannot_pass_through_dagster() -> None:
    """The default IO manager pickles what an asset returns below DAGSTER_HOME."""

    @dg.asset
    def table() -> list[str]:
        return [SENTINEL]

    with dg.DagsterInstance.ephemeral() as instance:
        job = dg.Definitions(assets=[table], resources={"io_manager": NoRows()}).resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(instance=instance, run_config=QUIET, raise_on_error=False)
    assert not result.success
    assert "Rows do not pass through Dagster" in told(result)


def test_a_table_is_told_by_figures_only(tmp_path: Path) -> None:
    """Metadata is kept for ever; it holds the number of rows, their hash and their columns, with the codebook's definitions."""
    path = tmp_path / "harmonised" / "victims.parquet"
    write_parquet(pa.table({"gender": [SENTINEL, SENTINEL]}), path)
    result = table_result(path, k=10)
    metadata = dict(result.metadata or {})

    assert SENTINEL not in str(result)
    assert result.asset_key == dg.AssetKey(["harmonised", "victims"])
    assert metadata["dagster/row_count"] == 2
    assert metadata["sha256"] == sha256(path)
    schema = metadata["dagster/column_schema"]
    assert isinstance(schema, dg.TableSchema)
    (column,) = schema.columns
    assert column.name == "gender"
    assert column.description


def test_a_plot_is_an_image_in_the_catalogue() -> None:
    """Markup that the catalogue does not show is no plot."""
    value = plot("<svg/>")
    assert isinstance(value, dg.MarkdownMetadataValue)
    assert "PHN2Zy8+" in str(value.value)


def test_a_candidate_is_told_with_the_plots_of_its_report(tmp_path: Path) -> None:
    """Who approves it looks at them where the candidate is, before anything is public."""
    write_parquet(pa.table({"gender": ["Female"]}), tmp_path / f"{RECORDS}.parquet")
    done = Release(tmp_path, "1", Proof(10, 1, 1, 10, 0, 0, 1, 0, 1, 0, 0), {"a.csv": "0"}, plots={"coverage": "<svg/>"})
    result = release_result(done, hash="1")
    told = result.metadata or {}
    assert {check.check_name for check in result.check_results or ()} == {*PROOFS}
    assert all(check.passed for check in result.check_results or ())
    assert told["plot_coverage"] == plot("<svg/>")
    assert (told["version"], told["hash"]) == ("1", "1")
    assert told["files"] == grid([{"file": "a.csv", "sha256": "0"}])
