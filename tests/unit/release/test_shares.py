"""That files which tell the same share tell the same figure, and that a difference stops the release."""

import json
from pathlib import Path

import pytest

from ctdc_pipeline.errors import ReleaseError
from ctdc_pipeline.products import country_map as world
from ctdc_pipeline.products import dictionary, showcase, story_tables
from ctdc_pipeline.release import shares
from tests.support.products import VICTIMS, inputs_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inputs = inputs_of(VICTIMS * 10)
    story_tables.write(inputs, tmp_path)
    dictionary.write(inputs, tmp_path)
    world.write(inputs, tmp_path)
    showcase.write(inputs, tmp_path)
    return tmp_path


def test_the_files_of_a_release_agree(folder: Path) -> None:
    """Guards against a check that compares nothing."""
    assert shares.require_same(folder) > 50


@pytest.mark.parametrize("name", ["known_values.csv", "story_means_of_control.csv", "map.csv"])
def test_another_figure_in_one_file_stops_the_release(folder: Path, name: str) -> None:
    """Guards against 8% in one file where another says 12% of the same people."""
    path = folder / name
    head, first, *rest = path.read_text().split("\n")
    cells = first.split(",")
    at = head.replace('"', "").split(",").index("count")
    cells[at] = str(int(cells[at]) + 10)
    path.write_text("\n".join([head, ",".join(cells), *rest]))
    with pytest.raises(ReleaseError, match="different figures of the same people"):
        shares.require_same(folder)


def test_another_denominator_in_the_showcase_stops_the_release(folder: Path) -> None:
    """Guards against shares in the page that the tables do not have."""
    page = (folder / "showcase.html").read_text()
    known = json.loads(page.split('id="data">')[1].split("</script>")[0])["known"][""]
    (folder / "showcase.html").write_text(page.replace(f'"means":{known["means"]}', f'"means":{known["means"] + 10}'))
    with pytest.raises(ReleaseError, match="different figures"):
        shares.require_same(folder)
