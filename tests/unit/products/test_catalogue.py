"""All products together: every file is in the catalogue, described, hashed and opens with the columns that are said of it."""

import json
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from ctdc_pipeline.codebook.countries import countries
from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.products import catalogue, records
from ctdc_pipeline.products.inputs import Inputs
from ctdc_pipeline.storage.files import sha256
from tests.support.products import VICTIMS, inputs_of, manifest_of

ROOT = Path(__file__).parents[3]
TABLES = [file.name for file in catalogue.FILES if file.name.endswith(".csv")]


def made(inputs: Inputs, folder: Path) -> None:
    catalogue.write(inputs, folder)
    catalogue.conclude(inputs, folder, manifest=manifest_of(inputs), since=())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("products")
    made(inputs_of(VICTIMS), folder)
    return folder


@pytest.fixture(scope="module")
def package(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "datapackage.json").read_text())


def test_every_file_is_in_the_catalogue(folder: Path) -> None:
    """A file of which nobody says how it is protected should not be public."""
    assert sorted(path.name for path in folder.iterdir()) == sorted(file.name for file in catalogue.FILES)


def test_the_documentation_lists_every_file() -> None:
    """Users find out what a file is where it says so."""
    assert catalogue.documentation() in (ROOT / "docs" / "products.md").read_text()


def test_the_descriptor_names_every_other_file_with_its_hash(folder: Path, package: dict[str, Any]) -> None:
    """A descriptor of other bytes would be believed by the software that reads it."""
    told = {resource["path"]: (resource["hash"], resource["bytes"]) for resource in package["resources"]}
    there = {path.name: (f"sha256:{sha256(path)}", path.stat().st_size) for path in folder.iterdir()}
    there.pop("datapackage.json")
    assert told == there
    assert all(resource["title"] for resource in package["resources"])
    assert len({resource["name"] for resource in package["resources"]}) == len(told)


@pytest.mark.parametrize("name", [f"{records.NAME}.csv", f"{records.NAME}.tsv"])
def test_values_are_of_the_types_and_code_lists_of_the_descriptor(folder: Path, package: dict[str, Any], name: str) -> None:
    """Software that believes the descriptor would otherwise refuse the data."""
    resource = next(resource for resource in package["resources"] if resource["path"] == name)
    delimiter = resource["dialect"]["delimiter"]
    frame: Any = pd.read_csv(folder / name, sep=delimiter, dtype=str, keep_default_na=False)
    assert resource["schema"]["missingValues"] == [""]
    assert list(frame.columns) == [field["name"] for field in resource["schema"]["fields"]]
    for field, variable in zip(resource["schema"]["fields"], codebook().variables, strict=True):
        assert (field["description"], field["title"]) == (variable.definition, variable.label)
        values = {int(value) if field["type"] == "integer" else value for value in frame[field["name"]] if value}
        limits = field["constraints"]
        if "enum" in limits:
            assert values <= set(limits["enum"])
        else:
            assert all(limits["minimum"] <= year <= limits["maximum"] for year in values)
    listed = next(field for field in resource["schema"]["fields"] if field["name"] == "citizenship")["constraints"]["enum"]
    assert listed == [country.iso3 for country in countries().rows]


@pytest.mark.parametrize("name", TABLES)
def test_every_table_opens_with_the_columns_that_are_said_of_it(folder: Path, package: dict[str, Any], name: str) -> None:
    """pandas and DuckDB guess types; what they find must be what the descriptor says, with the same rows."""
    fields = next(resource for resource in package["resources"] if resource["path"] == name)["schema"]["fields"]
    by_pandas: Any = pd.read_csv(folder / name, keep_default_na=False, na_values=[""])
    by_duckdb: Any = duckdb.execute(f"FROM '{folder / name}'").df()
    assert list(by_pandas.columns) == list(by_duckdb.columns) == [field["name"] for field in fields]
    assert len(by_pandas) == len(by_duckdb)
    for field in fields:
        filled = by_pandas[field["name"]].dropna()
        if field["type"] in ("integer", "number") and len(filled):
            assert pd.api.types.is_numeric_dtype(filled), field["name"]
            assert field["type"] == "number" or (filled == filled.round()).all()


def test_products_of_nobody_are_files_without_rows(tmp_path: Path) -> None:
    """No victims and no records: every product says so instead of failing."""
    made(inputs_of([]), tmp_path)
    assert len(list(tmp_path.iterdir())) == len(catalogue.FILES)
