"""Test that every problem of a layout file is reported at once, with its place and remedy."""

from pathlib import Path

import pytest

from ctdc_pipeline.errors import LayoutError
from ctdc_pipeline.partners.loading import MAX_BYTES, load

SOUND = """
title = "Harbour"
about = "A shelter."

[cases]
title = "Case list"
file_pattern = "harbour_*.csv"

[[cases.fields]]
name = "File"
role = "case_id"
filled = true

[[cases.fields]]
name = "Agreed"
role = "status"
codes = [["Yes", "Yes"], ["No", "No", "individual-without-consent"]]

[[cases.fields]]
name = "Arrived"
role = "registered"

[[cases.fields]]
name = "From"
role = "citizenship"

[[cases.fields]]
name = "Found in"
role = "exploitation_country"
required = false

[[cases.fields]]
name = "Why"
role = "flags"
codes = [["L", "Labour", "isForcedLabour"]]
separator = ","
"""


def problems(tmp_path: Path, text: str, name: str = "harbour") -> tuple[str, ...]:
    """What is wrong with a layout of that text."""
    path = tmp_path / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(LayoutError) as caught:
        load(path)
    return caught.value.problems


def test_a_sound_layout_is_loaded(tmp_path: Path) -> None:
    """Guards against rejecting a layout that has only what is required."""
    (tmp_path / "harbour.toml").write_text(SOUND, encoding="utf-8")
    source = load(tmp_path / "harbour.toml")
    assert (source.name, source.partner, [field.type for field in source.cases.fields]) == (
        "harbour",
        "harbour",
        ["text", "code", "date", "country", "country", "code"],
    )


@pytest.mark.parametrize(
    ("old", "new", "place", "remedy"),
    [
        ('about = "A shelter."\n', "", "about: the key is missing", "Give a text in quotes"),
        ('title = "Harbour"', 'title = "Harbour"\ntitel = "x"', "titel: there is no such key", "Did you mean title?"),
        ('title = "Harbour"', "title = Harbour", "this is not TOML", "double quotes"),
        ('title = "Harbour"', "a" + ".a" * 100_000 + " = 1", "this is not TOML: it is nested too deeply", "Correct that place"),
        ('title = "Harbour"', "title = " + "[" * 5_000, "this is not TOML", "Correct that place"),
        ('title = "Harbour"', "every = " + "9" * 5_000, "this is not TOML", "Correct that place"),
        ('role = "registered"', 'role = "registred"', 'cases.fields "Arrived".role: no such value', "Did you mean registered?"),
        ('role = "registered"', "", "cases.fields: no field has the role registered", "Give the role to a field."),
        ("filled = true", "", 'cases.fields "File".filled: what identifies a case is always filled', "Add filled = true."),
        ('"isForcedLabour"', '"isForcedLabor"', 'cases.fields "Why".codes[1]', "Did you mean isForcedLabour"),
        ('"isForcedLabour"', '"?"', 'cases.fields "Why".codes[1]: what the code means is not decided', "in the place of ?"),
        ('"individual-without-consent"', '"?"', "is not decided", "Put one of opted-out, individual-without-consent"),
        ('separator = ","', 'separator = "L"', "no cell can hold this code", "without outer spaces and separators"),
        ('"harbour_*.csv"', '"harbour_*.xls"', "this is not the name of a readable file", "End it in .csv"),
        ('"harbour_*.csv"', '"harbour_*.xlsx"', "cases.sheet: a workbook has a sheet", "Name the sheet."),
        ('"harbour_*.csv"', '"h_*.csv"\ndate_formats = ["%d/%m/%y"]', "does not say where the year is", "Use %Y"),
        ('name = "From"', 'name = "file"', "the heading is listed twice", "Leave one out."),
        ('["Yes", "Yes"]', '["yes", "Yes"], ["YES", "Yes"]', "the code is listed twice", "Leave one out."),
    ],
)
def test_a_problem_has_its_place_and_remedy(tmp_path: Path, old: str, new: str, place: str, remedy: str) -> None:
    """Guards against accepting a wrong layout, and against an error from which nobody can see what is wrong."""
    assert old in SOUND
    found = problems(tmp_path, SOUND.replace(old, new, 1))
    assert any(place in problem and remedy in problem for problem in found), found


def test_all_problems_are_said_at_once(tmp_path: Path) -> None:
    """Guards against having to correct one problem at a time."""
    text = (
        SOUND.replace('role = "registered"', 'role = "arrival"')
        .replace('"isForcedLabour"', '"forced"')
        .replace("required", "require")
    )
    assert len(problems(tmp_path, text)) >= 3


@pytest.mark.parametrize("name", ["Harbour", "all", "harbour-2", "victims", "x" * 40, "harbour_quarantine"])
def test_a_name_that_tables_could_not_have_is_refused(tmp_path: Path, name: str) -> None:
    """Guards against a partner whose tables overwrite others."""
    assert any("name" in problem for problem in problems(tmp_path, SOUND, name))


def test_a_file_larger_than_any_layout_is_not_parsed(tmp_path: Path) -> None:
    """Guards against memory taken by a file of data that was put in the wrong folder."""
    (found,) = problems(tmp_path, SOUND + "#" * MAX_BYTES)
    assert "larger than" in found
