"""Whether the checks of a differentially private release find what violates it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from ctdc_pipeline.cli.main import cli
from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.privacy.domain import codebook_domain
from ctdc_pipeline.privacy.ledger import Charge, Ledger
from ctdc_pipeline.privacy.measurements import Measurements, measure, write_measurements
from ctdc_pipeline.release import private_candidate
from ctdc_pipeline.storage.files import sha256, write_parquet
from ctdc_pipeline.storage.zones import MEASURED, Zones
from ctdc_pipeline.synthesis.differentially_private import write_records
from ctdc_pipeline.verification.private_release import PRIVATE_CHECKS
from ctdc_pipeline.verification.release_folder import verify

ROWS = 3000


def victims() -> pa.Table:
    """Records of a few variables; a third of all are of one country."""
    rng = np.random.Generator(np.random.PCG64(5))
    columns: dict[str, pa.Array] = {}
    for variable in codebook().variables:
        few = {"year": ("2019", "2020"), "country": ("UKR", "PHL", "MDA")}.get(variable.kind, variable.values)
        picked = rng.integers(-2, len(few), ROWS)
        columns[variable.name] = pa.array([few[number] if number >= 0 else None for number in picked]).dictionary_encode()
    return pa.table(columns)


def stored(zones: Zones, found: Measurements) -> None:
    """Charge and keep measurements, and make the records of them."""
    path = zones.table(MEASURED, "measurements")
    said: dict[str, Any] = dict.fromkeys(("mechanism", "queries", "domain", "deliveries", "software"), "0a")
    said |= {"cap": found.domain.cap, "squared": {}, "sigma": dict(found.sigma), "mu_squared": found.mu_squared}
    said |= {"epsilon": found.epsilon, "delta": found.delta, "release": "2026-1", "purpose": "test", "approver": "A"}
    with Ledger.of(zones).charged(Charge(**said)) as done:
        write_measurements(found, path)
        done(sha256(path))
    write_records(path, zones.table(MEASURED, "records"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a candidate."""
    zones = Zones(tmp_path_factory.mktemp("home")).prepare()
    Ledger.of(zones).set_limit(epsilon=10, delta=1e-6, approver="A", reason="test")
    delivered = {"source": ["polaris"], "refresh": ["2021"], "content": ["0a"], "invented": [True]}
    write_parquet(pa.table(delivered), zones.table("harmonised", "deliveries"))
    found, _ = measure(victims(), domain=codebook_domain(2021, suppressed={}), epsilon=4)
    stored(zones, found)
    return private_candidate.make_candidate(zones, version="2026.11.21-1", k=10, last_year=2021).folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / made.name))


def manifest(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())


def mended(folder: Path, said: dict[str, Any] | None = None) -> None:
    """Let the manifest and the descriptor fit the files again, as whoever forges them would."""
    said = said or manifest(folder)
    package = json.loads((folder / "datapackage.json").read_text())
    for part in package["resources"]:
        path = folder / part["path"]
        part |= {"hash": f"sha256:{sha256(path)}", "bytes": path.stat().st_size}
    (folder / "datapackage.json").write_text(json.dumps(package))
    said["files"] = {name: sha256(folder / name) for name in said["files"]}
    said["epsilon"]["measurements"]["sha256"] = said["files"]["measurements.parquet"]
    (folder / "manifest.json").write_text(json.dumps(said))


def remeasured(folder: Path, change: Callable[[dict[str, Any], np.ndarray[Any, Any]], np.ndarray[Any, Any]]) -> None:
    """Change what the measurements say or count, with their own hash mended."""
    path = folder / "measurements.parquet"
    table = pq.read_table(path)
    told = json.loads((table.schema.metadata or {})[b"ctdc"])
    counts = change(told, table["count"].to_numpy().copy())
    told["sha256"] = hashlib.sha256(counts.astype("<i8").tobytes()).hexdigest()
    table = table.set_column(table.column_names.index("count"), "count", pa.array(counts))
    pq.write_table(table.replace_schema_metadata({b"ctdc": json.dumps(told).encode()}), path, compression="zstd")
    mended(folder)


def failed(folder: Path) -> set[str]:
    return set(verify(folder).failed)


def test_a_release_of_measurements_holds(made: Path) -> None:
    """Checks that refuse what is right are switched off. Every check is made, but those that need what is not there."""
    report = verify(made)
    assert not report.failed, [check for check in report.checks if check.found]
    open_ones = {check.name for check in report.checks if check.result == "not checked"}
    assert open_ones == {"signature", "publication"}
    assert {check.name for check in report.checks} == set(PRIVATE_CHECKS)


def test_anybody_makes_the_same_records_of_the_measurements(made: Path, tmp_path: Path) -> None:
    """The seed of the manifest and the command that the report names must give the published bytes."""
    said = manifest(made)
    options = ["--seed", str(said["seed"]), "--k", str(said["support"]["k"]), "--output", str(tmp_path / "again.csv")]
    assert CliRunner().invoke(cli, ["records", str(made / "measurements.parquet"), *options]).exit_code == 0
    assert (tmp_path / "again.csv").read_bytes() == (made / "global_synthetic_dataset.csv").read_bytes()


def _exact(told: dict[str, Any], counts: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Counts of people, with the words of noisy ones."""
    return np.maximum(0, np.rint(counts / 1024)).astype(np.int64) * 1024


def _less_noise(told: dict[str, Any], counts: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Half of the noise that is told."""
    return np.rint(counts / 2).astype(np.int64)


def _smaller_epsilon(told: dict[str, Any], counts: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    told["epsilon"] = 1.0
    return counts


def _smaller_cost(told: dict[str, Any], counts: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    told["mu_squared"] = str(Fraction(told["mu_squared"]) / 2)
    return counts


def _beside(told: dict[str, Any], counts: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    told["note"] = "a case"
    return counts


def _no_sigma(told: dict[str, Any], counts: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    told["sigma"]["pairs"] = 0
    return counts


def _value(told: dict[str, Any], counts: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    told["domain"]["columns"]["gender"][0] = "somebody"
    return counts


def _total(told: dict[str, Any], counts: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    counts[0] += 50 * 1024
    return counts


def _no_country(told: dict[str, Any], counts: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """No pair of anything was seen, and yet the records have pairs of countries."""
    counts[-90_000:] = -np.abs(counts[-90_000:])
    return counts


@pytest.mark.parametrize(
    ("attack", "check"),
    [
        (_exact, "noise"),
        (_less_noise, "noise"),
        (_smaller_epsilon, "epsilon"),
        (_smaller_cost, "epsilon"),
        (_beside, "structure"),
        (_no_sigma, "measurements"),
        (_value, "domain"),
        (_total, "rows"),
        (_no_country, "support"),
        (_total, "noisy counts"),
    ],
)
def test_altered_measurements_are_found(folder: Path, attack: Any, check: str) -> None:
    """Whoever publishes counts with less noise than told, or other counts than the rest was made of, mends every hash."""
    remeasured(folder, attack)
    assert check in failed(folder)


def _says(*keys: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(said: dict[str, Any]) -> None:
        for key in keys[:-1]:
            said = said[key]
        said[keys[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (_says("epsilon", "total", "epsilon", to=0.5), "epsilon"),
        (_says("epsilon", "total", "mu_squared", to="1/1000000"), "epsilon"),
        (_says("epsilon", "total", "mu_squared", to="1/0"), "epsilon"),
        (_says("epsilon", "measurements", "epsilon", to=2.0), "epsilon"),
        (_says("epsilon", "total", "epsilon", to=None), "ledger"),
        (_says("epsilon", "uncontrolled", to=["2021.01.01-1"]), "ledger"),
        (_says("epsilon", "ledger", to="none"), "ledger"),
        (_says("epsilon", "case", to="a case"), "structure"),
        (_says("inputs", to="0a" * 32), "structure"),
        (_says("deliveries", "polaris", "content", to={"2021": "0a" * 32}), "structure"),
        (_says("domain_sha256", to="0a" * 32), "domain"),
        (_says("support", "strict", to=[]), "domain"),
        (_says("rows", "noisy_counts", to=3), "rows"),
        (_says("epsilon", to={}), "manifest"),
        (_says("seed", to=None), "manifest"),
    ],
)
def test_a_manifest_that_tells_otherwise_is_found(folder: Path, change: Callable[[dict[str, Any]], None], check: str) -> None:
    """A cost that is told too low, and a hash of what was delivered, which is a figure without noise."""
    said = manifest(folder)
    change(said)
    (folder / "manifest.json").write_text(json.dumps(said))
    assert check in failed(folder)


def _other_records(folder: Path) -> None:
    path = folder / "global_synthetic_dataset.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))


def _other_counts(folder: Path) -> None:
    path = folder / "noisy_counts.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:-1], lines[-1].replace(",", ",,", 1)]))


def _narrower(folder: Path) -> None:
    path = folder / "noisy_counts.csv"
    first, total, *rest = path.read_text().splitlines(keepends=True)
    path.write_text("".join([first, f"{total.rsplit(',', 1)[0]},9999\n", *rest]))


def _another_figure(folder: Path) -> None:
    path = folder / "story_gender_by_year.csv"
    head, *rows = path.read_text().splitlines(keepends=True)
    path.write_text("".join([head, *rows[1:]]))


def _another_percentage(folder: Path) -> None:
    path = folder / "known_values.csv"
    head, row, *rows = path.read_text().splitlines(keepends=True)
    path.write_text("".join([head, f"{row.rsplit(',', 1)[0]},12.3\n", *rows]))


def _no_figures(folder: Path) -> None:
    (folder / "story_corridors.csv").write_text("variable,value\n")


@pytest.mark.parametrize(
    ("attack", "check"),
    [
        (_another_figure, "figures"),
        (_another_percentage, "figures"),
        (_no_figures, "figures"),
        (_other_records, "copies"),
        (_other_records, "rows"),
        (_narrower, "noisy counts"),
        (_other_counts, "readable"),
    ],
)
def test_other_files_are_found(folder: Path, attack: Callable[[Path], None], check: str) -> None:
    """Figures that are not those of the measurements, with every hash mended."""
    attack(folder)
    mended(folder)
    assert check in failed(folder)


def test_a_file_that_is_none_of_such_a_release_is_found(folder: Path) -> None:
    """A product of complete records among those of noisy counts."""
    (folder / "reportable_aggregates.csv").write_text("length,count\n1,10\n")
    said = manifest(folder)
    said["files"]["reportable_aggregates.csv"] = ""
    mended(folder, said)
    assert {"known files"} <= failed(folder)
