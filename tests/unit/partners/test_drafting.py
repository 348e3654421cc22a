"""Test drafts of layouts: what can be guessed is guessed; decisions that only a person can make are left open."""

import re
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl.utils.exceptions import IllegalCharacterError

from ctdc_pipeline.errors import DeliveryError, LayoutError
from ctdc_pipeline.partners.drafting import draft
from ctdc_pipeline.partners.layout import Source
from ctdc_pipeline.partners.loading import load
from tests.support.deliveries import FILES, land

SPANISH = """\
Nº expediente;Nombre;Fecha de ingreso;Sexo;Edad;País de nacionalidad;País donde fue explotada;Formas de explotación;\
Consentimiento;Observaciones
"""
LINES = [
    ";".join(
        (
            f"CA-{i}",
            f"Persona {i}",
            f"{i % 28 + 1:02}.03.2016",
            ("Hombre", "Mujer")[i % 2],
            f"{i % 50 + 9}" if i % 5 else "No consta",
            ("Colombia", "Venezuela, RB", "Dominican Rep.", "Brazil")[i % 4],
            ("Portugal", "Spain", "Spain")[i % 3],
            ("Sexual", "Forzoso, Mendicidad", "Forzoso", "Mendicidad")[i % 4],
            ("Sí", "No", "No consta")[i % 3],
            ("", "una nota")[i % 2],
        )
    )
    + "\n"
    for i in range(60)
]


def loaded(tmp_path: Path, text: str) -> Source:
    path = tmp_path / "casa.toml"
    path.write_text(text, encoding="utf-8")
    return load(path)


def problems(tmp_path: Path, text: str) -> tuple[str, ...]:
    try:
        loaded(tmp_path, text)
    except LayoutError as error:
        return error.problems
    return ()


def test_a_draft_needs_decisions_only(tmp_path: Path) -> None:
    """Guards against a draft from which a data officer would have to type the whole layout."""
    path = tmp_path / "casa_2016.csv"
    path.write_text(SPANISH + "".join(LINES), encoding="utf-8")
    text = draft(path)
    with pytest.raises(LayoutError) as caught:
        loaded(tmp_path, text)
    assert all("is not decided" in problem for problem in caught.value.problems)
    text = text.replace('"Sexual", "?"', '"Sexual", "isSexualExploit"')
    source = loaded(tmp_path, re.sub(r', "\?"', "", text))
    assert (source.cases.file_pattern, source.cases.delimiter, source.cases.date_formats) == ("casa_*.csv", ";", ("%d.%m.%Y",))
    assert {field.name: field.role for field in source.cases.fields if field.role} == {
        "Nº expediente": "case_id",
        "Fecha de ingreso": "registered",
        "Sexo": "gender",
        "Edad": "age",
        "País de nacionalidad": "citizenship",
        "País donde fue explotada": "exploitation_country",
        "Formas de explotación": "flags",
        "Consentimiento": "status",
    }
    assert {field.name for field in source.cases.fields if field.identifying} == {"Nombre", "Observaciones"}
    assert "una nota" not in text
    (forms,) = source.cases.having("flags")
    assert ([code.code for code in forms.codes], forms.separator) == (["Forzoso", "Mendicidad", "Sexual"], ",")


def test_a_consent_that_nobody_knows_is_no_consent(tmp_path: Path) -> None:
    """Guards against a draft in which an unknown or blank consent counts as no value, which would let the case in."""
    path = tmp_path / "casa_2016.csv"
    path.write_text(SPANISH + "".join(LINES), encoding="utf-8")
    text = draft(path)
    assert '["No consta", "No consta", "?"]' in text
    assert "blanks = []" in text
    assert re.search(r'name = "Consentimiento".*?filled = true', text, re.DOTALL)
    path.write_text(
        SPANISH + "".join(LINES).replace("No consta;una nota", "No;una nota").replace("No consta;\n", "No;\n"), "utf-8"
    )
    assert 'blanks = ["No consta"]' in draft(path)


@pytest.mark.parametrize("table", ["iom_mimosa", "iom_legacy", "polaris", "liberty_shared", "otsh"])
def test_a_file_of_any_partner_can_be_drafted_from(tmp_path: Path, table: str) -> None:
    """Guards against a format that is read when it is delivered but not when it is new."""
    path = land(tmp_path, table, {}, {}, name=FILES[table])
    text = draft(path)
    assert not any("TOML" in problem for problem in problems(tmp_path, text))


@given(rows=st.lists(st.lists(st.text(max_size=8), min_size=3, max_size=3), min_size=1, max_size=8))
def test_whatever_a_file_holds_the_draft_is_toml(rows: list[list[str]], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Guards against a cell that ends a text of the draft early, or that has a meaning in TOML."""
    folder = tmp_path_factory.mktemp("draft")
    book = openpyxl.Workbook()
    book.worksheets[0].append(["No", "Sex", "Why not"])
    try:
        for row in rows:
            book.worksheets[0].append([f"'{cell}" for cell in row])
        book.save(folder / "casa.xlsx")
        text = draft(folder / "casa.xlsx")
    except (IllegalCharacterError, DeliveryError):
        return
    assert not any("TOML" in problem for problem in problems(folder, text))


def test_no_column_is_lost_below_a_heading_of_two_lines(tmp_path: Path) -> None:
    """Guards against a draft that stops at a line break in a heading and so hides a column about consent."""
    path = tmp_path / "refugio.csv"
    lines = [f'"R-{i}";{i % 28 + 1}.03.2016;Spain;Peru;{("Sí", "No", "")[i % 3]}\r\n' for i in range(30)]
    path.write_text('Expediente n.º;Ingreso;"País\r\nde explotación";Nacionalidad;¿Consiente?\r\n' + "".join(lines), newline="")
    text = draft(path)
    assert 'name = "País de explotación"' in text
    assert text.index("¿Consiente?") < text.index('role = "status"') < text.index('["No", "No", "individual-without-consent"]')
    (tmp_path / "refugio.toml").write_text(text, encoding="utf-8")
    assert [field.name for field in load(tmp_path / "refugio.toml").cases.fields][2] == "País de explotación"
