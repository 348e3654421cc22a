"""docs/adding-a-partner.md is true: the partner it adds goes through samples, ingestion and harmonisation as it stands there."""

import ast
import importlib.util
import re
import sys
import tomllib
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ctdc_pipeline.admission import EXCLUSIONS
from ctdc_pipeline.derivation import RULES
from ctdc_pipeline.partners.documentation import partners_markdown
from ctdc_pipeline.partners.registry import PARTNERS, SOURCES
from ctdc_pipeline.samples import generate, population
from tests import deliveries

PAGE = Path(__file__).parents[3] / "docs" / "adding-a-partner.md"


def loaded(name: str, source: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """``source`` as the module ``name``, written below ``folder`` as it would be into the package."""
    path = folder / f"{name}.py"
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def merged(figures: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """``figures`` with the entries of ``more`` beside their like."""
    return figures | {
        key: merged(figures[key], value) if isinstance(figures.get(key), dict) and isinstance(value, dict) else value
        for key, value in more.items()
    }


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The page's partner, added by its four steps; its test module."""
    blocks = re.findall(r"```(\w+)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert [kind for kind, _ in blocks] == ["python", "python", "toml", "python", "python"]
    module, sample, figures, valid, test = (text for _, text in blocks)
    source = loaded("ctdc_pipeline.partners.harbour", module, tmp_path, monkeypatch).SOURCE
    monkeypatch.setitem(SOURCES, source.name, source)
    monkeypatch.setitem(PARTNERS, source.partner, (source,))
    exporter = loaded("ctdc_pipeline.samples.harbour", sample, tmp_path, monkeypatch)
    monkeypatch.setitem(generate.MAKERS, source.name, generate.one_file(exporter.FILE, exporter.rows))
    world = merged(population.figures(), tomllib.loads(figures))
    assert sum(stream["share"] for stream in world["streams"].values()) == pytest.approx(1)
    monkeypatch.setattr(population, "figures", lambda: world)
    row, file = (ast.literal_eval(line) for line in valid.splitlines())
    monkeypatch.setitem(deliveries.VALID, source.name, row)
    monkeypatch.setitem(deliveries.FILES, source.name, file)
    monkeypatch.setitem(deliveries.LAYOUTS, source.name, source.cases)
    return loaded("tests.unit.partners.test_harbour", test, tmp_path, monkeypatch)


def test_the_test_of_the_page_passes(added: ModuleType, tmp_path: Path) -> None:
    """Guards against a walk-through that ends in an error, or a layout that only the package itself can add."""
    added.test_what_a_case_list_says(tmp_path / "home")


@pytest.mark.usefixtures("added")
def test_its_sample_goes_through_and_its_defects_are_found(tmp_path: Path) -> None:
    """Guards against steps that are missing on the page: a sample that cannot be made, or in which nothing is found."""
    home = deliveries.home(tmp_path / "home")
    summary = generate.generate(home.landing, victims=5_000, seed=2, refreshes=3)
    deliveries.receive_all(home)
    found = deliveries.harmonise_all(home.root, "harbour", as_of=date(2021, 12, 31))
    planted = {rule: rows for rule, rows in summary.planted["harbour"].items() if rows and rule in RULES | EXCLUSIONS}
    assert found.quarantined | found.excluded == planted
    assert found.rows == summary.rows["harbour"]
    assert found.accepted > 80


@pytest.mark.usefixtures("added")
def test_it_is_described_like_the_others() -> None:
    """Guards against a partner that the generated document leaves out."""
    assert "## Harbour's case list" in partners_markdown()
