"""The shape of the house: which way imports point, what stands where, and that every table is gated."""

import ast
import inspect
import subprocess
import sys
import tomllib
from pathlib import Path

import dagster as dg
import pytest
import yaml

from ctdc_pipeline.definitions import build_defs

ROOT = Path(__file__).parents[1]
LAYERS = ("ctdc_pipeline", "resources", "assets")
TOP = ROOT / "ctdc_pipeline" / "definitions.py"
LONGEST_BODY = 15


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imports(path: Path) -> set[str]:
    """Every module that ``path`` imports, wherever in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.fixture(scope="module")
def repository() -> dg.RepositoryDefinition:
    return build_defs().get_repository_def()


def assets() -> list[dg.AssetSpec]:
    return list(build_defs().resolve_all_asset_specs())


def checks() -> list[dg.AssetCheckSpec]:
    graph = build_defs().resolve_asset_graph()
    return [graph.get_check_spec(key) for key in graph.asset_check_keys]


def test_there_is_one_code_location() -> None:
    """The services and `dg` would otherwise show different graphs."""
    workspace = yaml.safe_load((ROOT / "workspace.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    place = {"module_name": project["code_location_target_module"], "location_name": project["code_location_name"]}
    assert workspace == {"load_from": [{"python_module": place}]}


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_point_one_way(layer: str) -> None:
    """A domain that imports its orchestration can be neither tested nor used without it."""
    above = {*LAYERS[LAYERS.index(layer) + 1 :], "ctdc_pipeline.definitions", "tests", "demo"}
    for path in modules(layer):
        if path != TOP:
            wrong = {name for name in imports(path) if any(name == top or name.startswith(f"{top}.") for top in above)}
            assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_the_domain_does_not_load_dagster() -> None:
    """An import in disguise (lazy, or through a third library) would still tie the domain to Dagster."""
    domain = [name_of(path) for path in modules("ctdc_pipeline") if path not in (TOP,) and path.name != "__init__.py"]
    script = f"import importlib, sys\nfor name in {domain}: importlib.import_module(name)\nprint('dagster' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("layer", LAYERS)
def test_package_files_are_docstrings(layer: str) -> None:
    """Code in a package file gives a symbol a second import path and runs whenever anything beside it is imported."""
    for path in modules(layer):
        if path.name == "__init__.py":
            body = ast.parse(path.read_text(encoding="utf-8")).body
            assert len(body) == 1, path
            assert isinstance(body[0], ast.Expr), path


@pytest.mark.parametrize("layer", LAYERS)
def test_every_module_and_public_function_says_what_it_is(layer: str) -> None:
    """The next reader has only these."""
    for path in modules(layer):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), path
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                check = any("asset_check" in ast.unparse(decorator) for decorator in node.decorator_list)
                assert check or ast.get_docstring(node), f"{path.name}: {node.name}"


@pytest.mark.parametrize("layer", ["resources", "assets"])
def test_annotations_are_not_postponed_where_dagster_reads_them(layer: str) -> None:
    """With postponed annotations an annotated context fails when the code location loads."""
    for path in modules(layer):
        assert "__future__" not in imports(path), path


def test_a_folder_is_a_group_is_the_first_part_of_the_key() -> None:
    """People find a table's code by its key, and its group by its folder."""
    groups = {path.name for path in (ROOT / "assets").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert {spec.group_name for spec in assets()} == groups
    for spec in assets():
        assert spec.key.path[0] == spec.group_name
        assert len(spec.key.path) == 2


def test_the_code_of_an_asset_stands_in_its_folder() -> None:
    """An asset that strays is found by nobody."""
    for definition in build_defs().assets or []:
        if isinstance(definition, dg.AssetsDefinition) and definition.keys:
            function = getattr(definition.op.compute_fn, "decorated_fn")  # noqa: B009 (a type that hides it)
            folder = Path(inspect.getsourcefile(inspect.unwrap(function)) or "").parent
            assert {key.path[0] for key in definition.keys} == {folder.name}


def test_every_asset_is_described_and_owned() -> None:
    """The catalogue is what most people see; it must say what a table is and who may see it."""
    for spec in assets():
        assert spec.owners, spec.key
        assert spec.kinds, spec.key
        assert spec.code_version, spec.key
        words = spec.description or ""
        assert any(word in words for word in ("Sensitive", "ensitive:", "Internal", "Protected", "Public")), spec.key


def test_every_check_targets_an_asset() -> None:
    """A loader that prefixes keys of assets but not of checks switches every gate off in silence."""
    known = {spec.key for spec in assets()}
    assert {check.asset_key for check in checks()} <= known


def test_every_table_is_gated_by_a_blocking_check() -> None:
    """A table without a gate goes on whatever is in it. The release proves itself before it exists."""
    gated = {check.asset_key for check in checks() if check.blocking}
    assert {spec.key for spec in assets() if spec.group_name != "release"} <= gated


def test_gates_say_what_they_check() -> None:
    """A failing check that nobody understands gets switched off."""
    assert all(check.description for check in checks())


def test_asset_bodies_are_short() -> None:
    """Logic in an asset can be tested only through Dagster."""
    for path in modules("assets"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            made = [ast.unparse(part) for part in node.decorator_list] if isinstance(node, ast.FunctionDef) else []
            if isinstance(node, ast.FunctionDef) and any("asset" in part or part.startswith("gate(") for part in made):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = (body[-1].end_lineno or 0) - body[0].lineno + 1
                assert lines <= LONGEST_BODY, f"{path.name}: {node.name} has {lines} lines"


def test_every_asset_and_check_is_guarded() -> None:
    """An exception that leaves an asset unguarded goes into the event log with the cell it quotes."""
    for path in modules("assets"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and any("asset" in ast.unparse(part) for part in node.decorator_list):
                first = node.body[1] if ast.get_docstring(node) else node.body[0]
                guarded = ast.unparse(node.decorator_list[-1]) == "guarded()" or ast.unparse(first).startswith("with guarded()")
                assert guarded, f"{path.name}: {node.name}"


def test_releasing_is_a_job_of_its_own_that_is_never_retried(repository: dg.RepositoryDefinition) -> None:
    """A refresh that publishes, or a retry that does, publishes without a person's decision."""
    keys = {job.name: {key.path[0] for key in job.asset_layer.executable_asset_keys} for job in repository.get_all_jobs()}
    releasing = {job for job, groups in keys.items() if "release" in groups and not job.startswith("__")}
    assert releasing == {"release_candidate", "publish", "dp_candidate", "dp_publish"}
    for job in releasing:
        assert keys[job] == {"release"}
        assert len({*repository.get_job(job).asset_layer.executable_asset_keys}) == 1
        assert repository.get_job(job).tags["dagster/max_retries"] == "0"


def test_the_wheel_holds_the_whole_code_location() -> None:
    """A folder of assets that is missing in the wheel is a part of the graph that only a checkout has."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["data-files"]
    held = {path for patterns in listed.values() for pattern in patterns for path in ROOT.glob(pattern)}
    needed = {ROOT / "dagster.yaml", *(ROOT / "docs").rglob("*.*"), *modules("resources"), *modules("assets")}
    assert needed <= held
    for target, patterns in listed.items():
        folders = {str(Path(pattern).parent) for pattern in patterns}
        assert folders == {str(Path(target).relative_to("share/ctdc-pipeline"))}
