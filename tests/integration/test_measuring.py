"""Measuring in the graph: what spends privacy budget, what must not, and records that see nothing but the measurements."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ctdc_pipeline.codebook.countries import countries
from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.definitions import build_defs
from ctdc_pipeline.errors import ResourceError
from ctdc_pipeline.privacy.domain import Domain
from ctdc_pipeline.privacy.ledger import Ledger
from ctdc_pipeline.privacy.measurements import measure, read_measurements, write_measurements
from ctdc_pipeline.privacy.suppressed_countries import NO_COUNTRIES
from ctdc_pipeline.release import private_candidate
from ctdc_pipeline.release.measuring import Purpose, measure_victims
from ctdc_pipeline.storage.zones import Zones
from tests.integration.conftest import Graph, told

OTHER = "nobody"
DECISION = {"release": "2026-1", "epsilon": 4.0, "approver": "A. Official", "reason": "the yearly release"}


def measured(graph: Graph, **said: Any) -> dg.ExecuteInProcessResult:
    series = said.pop("series", "dp")
    suppressed = said.pop("suppressed_countries", {})
    return graph.run("measure", config={**DECISION, **said}, series=series, suppressed_countries=suppressed)


def allow(graph: Graph, epsilon: float = 6.0) -> Ledger:
    ledger = Ledger.of(graph.zones)
    ledger.set_limit(epsilon=epsilon, delta=1e-6, approver="A. Official", reason="one release")
    return ledger


def files(zones: Zones) -> list[str]:
    return sorted(path.name for path in zones.measured.iterdir())


def test_victims_are_measured_within_the_budget_and_records_made(refreshed: Graph) -> None:
    """The main job: noisy counts of every public value, a charge, records of the codebook, and what is left on the asset."""
    ledger = allow(refreshed)
    result = measured(refreshed)
    assert result.success, told(result)

    found = read_measurements(refreshed.zones.table("measured", "measurements"))
    assert found.domain.columns == codebook().names
    citizenship = found.domain.values[codebook().names.index("citizenship")]
    assert len(citizenship) == len(countries().rows)
    account = ledger.account()
    assert account.spent == found.mu_squared
    (event,) = result.asset_materializations_for_node("measured__measurements")
    assert event.metadata["percent_of_budget_left"].value == pytest.approx(float(100 * account.remaining / (account.limit or 1)))
    assert event.metadata["epsilon_spent"].value == pytest.approx(4, abs=1e-3)
    records = pq.read_table(refreshed.zones.table("measured", "records"))
    assert tuple(records.column_names) == codebook().names
    assert len(records) == found.rows


def test_nothing_is_drawn_without_a_persons_decision(refreshed: Graph) -> None:
    """A refresh, or an installation that publishes k-synthetic data, that spends budget in passing."""
    ledger = allow(refreshed)
    assert refreshed.run("full_refresh").success
    assert refreshed.run("full_refresh", series="dp").success
    assert refreshed.release().success
    result = measured(refreshed, series="k-synthetic")
    assert not result.success
    assert "the series of this installation is k-synthetic" in told(result)
    assert not ledger.account().charges
    assert files(refreshed.zones) == []


def test_only_one_job_spends_and_it_is_never_retried() -> None:
    """A retry, a schedule or a condition that draws again spends again."""
    definitions = build_defs()
    repository = definitions.get_repository_def()
    jobs = {job.name: {key.path[0] for key in job.asset_layer.executable_asset_keys} for job in repository.get_all_jobs()}
    assert [name for name, groups in jobs.items() if "measured" in groups and not name.startswith("__")] == ["measure"]
    assert jobs["measure"] == {"measured"}
    assert repository.get_job("measure").tags["dagster/max_retries"] == "0"
    specs = definitions.resolve_all_asset_specs()
    assert not [spec for spec in specs if spec.group_name == "measured" and spec.automation_condition]


def test_a_draw_above_the_limit_is_refused(refreshed: Graph) -> None:
    """The second release of epsilon 4 in a budget of 5."""
    ledger = allow(refreshed, epsilon=5)
    assert measured(refreshed).success
    before = refreshed.zones.table("measured", "measurements").read_bytes()
    result = measured(refreshed, release="2026-2")
    assert not result.success
    assert "more than is left" in told(result)
    assert len(ledger.account().charges) == 1
    assert refreshed.zones.table("measured", "measurements").read_bytes() == before


@pytest.mark.parametrize(
    ("said", "problem", "charges"),
    [
        ({"epsilon": 0.0}, "epsilon is not a budget", 0),
        ({"epsilon": 1e9}, "epsilon is not a budget", 0),
        ({"delta": 0.5}, "delta is not a budget", 0),
        ({"approver": ""}, "the approver is missing", 0),
        # Only the noisy number of victims can tell, so that it costs.
        ({"delta": 0.009, "epsilon": 1.0}, "delta is not below 1 / rows", 1),
    ],
)
def test_a_draw_that_promises_nothing_is_refused(refreshed: Graph, said: dict[str, Any], problem: str, charges: int) -> None:
    """Each is a typing error that could publish the table."""
    ledger = allow(refreshed)
    result = measured(refreshed, **said)
    assert not result.success
    assert problem in told(result)
    assert len(ledger.account().charges) == charges
    assert files(refreshed.zones) == []


def test_no_source_of_randomness_costs_nothing(refreshed: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    """A draw that cannot be made must not use up the last budget."""
    ledger = allow(refreshed)

    def none(_number: int) -> bytes:
        raise NotImplementedError

    monkeypatch.setattr("os.urandom", none)
    with pytest.raises(ResourceError, match="no random numbers"):
        measure_victims(
            refreshed.zones, Purpose("2026-1", 4.0, 1e-6, "A. Official", "test"), last_year=2021, suppressed=NO_COUNTRIES
        )
    monkeypatch.undo()
    assert not ledger.account().charges


def test_mixing_with_k_synthetic_releases_must_be_accepted_and_stays(refreshed: Graph) -> None:
    """A promise of epsilon 4 beside a release that has none."""
    ledger = allow(refreshed)
    assert refreshed.release().success
    result = measured(refreshed)
    assert not result.success
    assert "no epsilon holds" in told(result)
    assert not ledger.account().charges

    assert measured(refreshed, mixing="the steering group wants both").success
    (version,) = (folder.name for folder in refreshed.released())
    assert ledger.account().uncontrolled == (version,)
    assert ledger.account().epsilon is None

    again = refreshed.run("release_candidate")
    assert not again.success
    assert "ends that promise" in told(again)
    accepted = {"ops": {"release__candidate": {"config": {"version": "2027-1", "mixing": "decided"}}}}
    assert refreshed.run("release_candidate", config=accepted).success
    assert ledger.account().uncontrolled == (version, "2027-1")


def test_measurements_that_were_not_charged_are_blocked(refreshed: Graph) -> None:
    """Measurements put in place of those that were paid for: of an older backup, of another home, or altered."""
    allow(refreshed)
    assert measured(refreshed).success
    path = refreshed.zones.table("measured", "measurements")
    table = pq.read_table(path)
    pq.write_table(table.slice(0, len(table) - 1).replace_schema_metadata(table.schema.metadata), path)
    with dg.DagsterInstance.ephemeral() as instance:
        definitions = build_defs()
        checks = definitions.resolve_implicit_global_asset_job_def().get_subset(
            asset_check_selection={dg.AssetCheckKey(dg.AssetKey(["measured", "measurements"]), "within_budget")},
            asset_selection=set(),
        )
        settings = {"resources": {"home": {"config": {"root": str(refreshed.zones.root)}}}}
        result = checks.execute_in_process(instance=instance, run_config=settings, raise_on_error=False)
    (evaluation,) = result.get_asset_check_evaluations()
    assert not evaluation.passed
    assert evaluation.blocking
    assert "none that the ledger knows" in str(evaluation.description)


def test_a_suppressed_country_is_never_measured(refreshed: Graph) -> None:
    """A cell of noise for it would still say that it was asked for; and a victim of it must not be counted."""
    allow(refreshed)
    rows = pq.read_table(refreshed.zones.table("harmonised", "victims"), columns=["citizenship"])["citizenship"]
    held = rows.value_counts().to_pylist()[0]["values"]
    unused = next(country.iso3 for country in countries().rows if country.iso3 not in rows.to_pylist())
    result = measured(refreshed, suppressed_countries={"citizenship": [held]})
    assert not result.success
    assert "suppressed countries" in told(result)
    assert measured(refreshed, suppressed_countries={"citizenship": [unused]}).success
    found = read_measurements(refreshed.zones.table("measured", "measurements"))
    assert unused not in found.domain.values[codebook().names.index("citizenship")]


@pytest.fixture
def shared() -> Generator[Path]:
    """A folder that another user can enter, unlike pytest's own."""
    folder = Path(mkdtemp(prefix="ctdc-shared-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_who_cannot_enter_the_sensitive_zone_makes_the_same_products(refreshed: Graph, shared: Path) -> None:
    """Records or products that follow from anything but the measurements. The zone is really closed: the user tries it first."""
    allow(refreshed)
    assert measured(refreshed).success
    result = refreshed.run(
        "dp_candidate", config={"ops": {"release__dp_candidate": {"config": {"version": "2026.11.21-1"}}}}, series="dp"
    )
    assert result.success, told(result)
    (candidate,) = refreshed.zones.candidates.iterdir()
    last_year = json.loads((candidate / "manifest.json").read_text())["last_year"]
    home = Zones(shared / "home")
    shutil.copytree(refreshed.zones.root, home.root)
    home.prepare()
    home.root.chmod(0o755)
    out = shared / "out"
    for folder in (out, out / "warm", out / "again"):
        folder.mkdir()
        shutil.chown(folder, OTHER)
    warm, _ = measure(
        pa.table({"a": pa.array(["x", "y"]).dictionary_encode()}), domain=Domain(("a",), (("x", "y"),), 1), epsilon=1
    )
    write_measurements(warm, out / "warm.parquet")
    user = pwd.getpwnam(OTHER)
    script = (
        "import os, sys\nfrom pathlib import Path\n"
        "from ctdc_pipeline.synthesis.differentially_private import write_records\n"
        "from ctdc_pipeline.products.inputs import Released\n"
        "from ctdc_pipeline.release.private_candidate import ABOUT_ROWS, write_products\n"
        "from ctdc_pipeline.storage.files import read_parquet\n"
        "home, out = map(Path, sys.argv[1:])\n"
        # Load what is loaded late: the interpreter may lie where the other user cannot go.
        "write_records(out / 'warm.parquet', out / 'warm-records.parquet')\n"
        "warm = Released(version='1', last_year=2021, synthetic=read_parquet(home / 'measured' / 'records.parquet'))\n"
        "write_products(warm, home / 'measured' / 'measurements.parquet', out / 'warm')\n"
        f"os.setgroups([]); os.setgid({user.pw_gid}); os.setuid({user.pw_uid})\n"
        "for closed in ('sensitive', 'sensitive/harmonised/victims.parquet', 'sensitive/secrets'):\n"
        "    try:\n        os.open(home / closed, os.O_RDONLY)\n"
        "    except PermissionError:\n        continue\n"
        "    sys.exit(f'{closed} is open')\n"
        "write_records(home / 'measured' / 'measurements.parquet', out / 'records.parquet')\n"
        "synthetic = read_parquet(out / 'records.parquet')\n"
        f"said = dict(version='2026.11.21-1', last_year={last_year}, invented=True, about_rows=ABOUT_ROWS)\n"
        "release = Released(synthetic=synthetic, **said)\n"
        "write_products(release, home / 'measured' / 'measurements.parquet', out / 'again')\n"
    )
    done = subprocess.run([sys.executable, "-c", script, home.root, out], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (out / "records.parquet").stat().st_uid == user.pw_uid
    assert (out / "records.parquet").read_bytes() == refreshed.zones.table("measured", "records").read_bytes()
    for name in private_candidate.FILES:
        assert (out / "again" / name).read_bytes() == (candidate / name).read_bytes(), name
