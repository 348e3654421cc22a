"""Test that docs/adding-a-partner.md is true: its partner passes the check, ingestion and harmonisation as printed there."""

import os
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from ctdc_pipeline.harmonisation.partner_guide import partners_markdown
from ctdc_pipeline.harmonisation.rehearsal import rehearse
from ctdc_pipeline.partners.layout import Source
from ctdc_pipeline.partners.loading import load
from ctdc_pipeline.partners.registry import PARTNERS, SOURCES
from tests.support import deliveries

PAGE = Path(__file__).parents[3] / "docs" / "adding-a-partner.md"
FILE = "harbour_2021.csv"
ROW = {"File": "H1", "Agreed to share": "Yes", "Arrived": "07/03/2016"}


def harbour(folder: Path) -> Path:
    """The page's layout, as a file."""
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    path = folder / "harbour.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    """The page's partner, known to everything that knows the others."""
    source = load(harbour(tmp_path))
    monkeypatch.setitem(SOURCES, source.name, source)
    monkeypatch.setitem(PARTNERS, source.partner, (source,))
    monkeypatch.setitem(deliveries.VALID, source.name, ROW)
    monkeypatch.setitem(deliveries.FILES, source.name, FILE)
    monkeypatch.setitem(deliveries.LAYOUTS, source.name, source.cases)
    return source


@pytest.mark.usefixtures("added")
def test_what_a_case_list_says(tmp_path: Path) -> None:
    """Guards against a walk-through that ends in an error, or reads a column or code differently from what the page says."""
    case = {"Age": "17", "Sex": "F", "From": "Congo, Dem. Rep.", "Found in": "Unknown", "Why": "B,O"}
    rows = (case, {"File": "H2", "Agreed to share": "No"}, {"File": "H3", "Agreed to share": "Unknown"})
    summary = deliveries.harmonised(tmp_path, "harbour", *rows)
    assert (summary.accepted, summary.excluded, summary.quarantined) == (
        1,
        {"individual-without-consent": 1},
        {"missing-value": 1},
    )
    (outcome,) = deliveries.outcome(tmp_path, "harbour")
    expected = {
        "yearOfRegistration": "2016",
        "ageBroad": "9--17",
        "gender": "Female",
        "citizenship": "COD",
        "CountryOfExploitation": None,
        "isForcedLabour": "1",
        "typeOfLabourOther": "1",
        "isSexualExploit": None,
    }
    assert {name: outcome[name] for name in expected} == expected


def test_the_check_says_what_harmonisation_does(added: Source, tmp_path: Path) -> None:
    """Guards against a check before delivery that predicts something else than what happens to the rows."""
    path = deliveries.land(tmp_path, "harbour", {}, {"File": "H2", "Why": "X"}, {"File": "H3", "Agreed to share": "No"})
    found = rehearse(added, [path], as_of=date(2021, 12, 31))
    assert (found.rows, found.accepted, found.excluded) == (3, 1, {"individual-without-consent": 1})
    assert [(reason.field, reason.rule, reason.places) for reason in found.reasons] == [("Why", "unknown-code", ((FILE, 2),))]


@pytest.mark.usefixtures("added")
def test_it_is_described_like_the_others() -> None:
    """Guards against a partner that the generated document leaves out."""
    assert "## Harbour's case list" in partners_markdown()


def test_a_file_of_the_installation_is_enough(tmp_path: Path) -> None:
    """Guards against a partner that needs a change of the package, and against one wrong file that takes others with it."""
    harbour(tmp_path / "partners")
    (tmp_path / "partners" / "broken.toml").write_text("title = ", encoding="utf-8")
    code = "from ctdc_pipeline.partners.registry import BROKEN, SOURCES; print(*SOURCES, [error.file for error in BROKEN])"
    environment = {**os.environ, "CTDC_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [*SOURCES, "harbour", "['broken.toml']"]
