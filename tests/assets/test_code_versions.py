"""The version of the code of a group of assets."""

import ast
from pathlib import Path

import pytest

from assets import code_versions
from assets.code_versions import code_of, code_version

ROOT = Path(__file__).parents[2]
GROUPS = ("ingestion", "harmonised", "counts", "measured", "synthetic", "quality", "release")


def imported(path: Path) -> set[Path]:
    """The modules that a module imports, found by Python's own parser."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {path for name in names if (path := ROOT / f"{name.replace('.', '/')}.py").is_file()}


@pytest.mark.parametrize("group", GROUPS)
def test_no_imported_module_is_missed(group: str) -> None:
    """A table that looks up to date although the code that makes it changed."""
    code = {path for path in code_of(group) if path.suffix == ".py"}
    assert {*(ROOT / "assets" / group).glob("*.py")} <= code
    for path in code:
        assert imported(path) <= code


def test_it_changes_with_the_code_and_with_the_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new layout or a mended rule after which Dagster shows every table as made by the code of today."""
    for name, text in {
        "assets/counts/reports.py": "from ctdc_pipeline.counting import (\n    aggregates,\n)\nimport os\n",
        "ctdc_pipeline/counting/aggregates.py": "from ctdc_pipeline.codebook.variables import a\nimport ctdc_pipeline.other\n",
        "ctdc_pipeline/codebook/variables.py": "",
        "ctdc_pipeline/codebook/codebook.toml": "k = 10",
        "ctdc_pipeline/other.py": "",
        "ctdc_pipeline/apart.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(code_versions, "_BESIDE", tmp_path)
    monkeypatch.setattr(code_versions, "_DOMAIN", tmp_path)
    versions = set[str]()
    for name in ("codebook/codebook.toml", "other.py", "counting/aggregates.py"):
        code_version.cache_clear()
        before = code_version("counts")
        (tmp_path / "ctdc_pipeline" / name).write_text(f"# {name}")
        code_version.cache_clear()
        versions |= {before, code_version("counts")}
    (tmp_path / "ctdc_pipeline/apart.py").write_text("# nobody imports it")
    code_version.cache_clear()
    assert code_version("counts") in versions
    assert len(versions) == 4
    code_version.cache_clear()
