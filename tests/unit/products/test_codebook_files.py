"""The codebook's workbook and document: figures that add up, texts that are whole, files that any reader opens."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest

from ctdc_pipeline.codebook.countries import countries
from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.errors import ReleaseError, TableError
from ctdc_pipeline.partners.registry import PARTNERS
from ctdc_pipeline.products import codebook_files
from ctdc_pipeline.products.document import Block, Document, parse, plain, spans, write_html, write_pdf
from ctdc_pipeline.products.imprint import imprint
from ctdc_pipeline.products.inputs import Inputs
from tests.support.products import inputs_of

HARD = '=cmd, "quoted" <b>&amp;</b> #show *x* _y_ $z$ @ref `code` \\u{41} [text] Ω'


@pytest.fixture
def folder(inputs: Inputs, tmp_path: Path) -> Path:
    codebook_files.write(inputs, tmp_path)
    return tmp_path


def sheet(folder: Path, name: str) -> Any:
    return pd.read_excel(folder / "codebook.xlsx", sheet_name=name, engine="calamine", keep_default_na=False, na_values=[""])


def test_the_workbook_has_the_sheets_of_the_published_ones(folder: Path) -> None:
    """Who used an earlier codebook looks for the same sheets and columns."""
    assert openpyxl.load_workbook(folder / "codebook.xlsx").sheetnames == ["Main", "TabStat", "Region"]
    main = sheet(folder, "Main").dropna(subset="position")
    assert list(main.columns) == ["position", "name", "type", "isnumeric", "label", "notes"]
    assert main["name"].tolist() == list(codebook().names)
    assert all(v.definition in said for v, said in zip(codebook().variables, main["notes"], strict=True))
    region = sheet(folder, "Region")
    assert region["ISO3"].tolist() == [country.iso3 for country in countries().rows]
    assert region.set_index("ISO3").loc["NAM", "ISO2"] == "NA"


def test_frequencies_add_up(folder: Path, inputs: Inputs) -> None:
    """A table that does not add up is not trusted, and should not be."""
    table = sheet(folder, "TabStat")
    for name, own in table.groupby("name"):
        tally = own.set_index(own["value"].astype(str))["Freq."]
        values = tally.drop(["Total", "Missing"])
        column = inputs.synthetic[str(name)]
        assert values.to_dict() == column.drop_null().to_pandas().value_counts().to_dict()
        assert values.sum() == tally["Total"]
        assert tally["Total"] + tally["Missing"] == len(column)
        shares = own.set_index("value")
        assert shares.loc["Total", "Percent"] + shares.loc["Missing", "Percent"] == pytest.approx(100, abs=0.02)
        if len(values):
            assert shares["Cum. %"].dropna().iloc[-1] == 100


def test_the_document_says_everything_it_must(folder: Path, inputs: Inputs) -> None:
    """Data that travel without their limits are misread: rows as victims, detection as prevalence, missing as no."""
    page = (folder / "codebook.html").read_text()
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page.split("</style>")[1]))
    for needed in (
        "not a random sample", "Rows are not people", "detection, not prevalence", "does not mean that something did not happen",
        "How to cite", "Country of exploitation", "Serbia includes Kosovo", inputs.version, f"{inputs.synthetic.num_rows:,}",
        imprint().cite(inputs.version).replace("'", "&#39;"),
    ):  # fmt: skip
        assert needed in text, needed
    for variable in codebook().variables:
        assert f"{variable.position}. {variable.name}" in text
        assert variable.definition.replace("'", "&#39;") in text
    assert all(row["title"] in text for row in inputs.partners.to_pylist())
    assert not re.search(r"\{\w+\}|\*\*|\[\[|\bNone\b", text)


def test_the_page_needs_nothing_else(folder: Path) -> None:
    """A page that fetches anything tells a server who reads it, and is blank without a network."""
    page = (folder / "codebook.html").read_text()
    assert not re.findall(r"<(?:script|img|link|iframe)|@import|url\(", page)


def test_the_pdf_is_tagged_and_has_language_and_title(folder: Path) -> None:
    """Screen readers need all three. That the standard is kept is checked when the file is made; here, that it was asked for."""
    content = (folder / "codebook.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert b"pdfuaid:part" in content
    assert b"/Lang" in content
    assert b"Codebook: Global Synthetic Dataset" in content


def test_texts_are_text_in_both_forms(tmp_path: Path) -> None:
    """A label that holds a mark of HTML or typst would change the document, or run."""
    table = Block("table", name=HARD, head=(HARD, "n"), rows=((plain(HARD), plain("1")),), numbers=(1,), wide=(0,))
    document = Document(HARD, HARD, HARD, (Block("heading", plain(HARD), level=1), Block("paragraph", plain(HARD)), table))
    write_html(document, tmp_path / "hard.html")
    write_pdf(document, tmp_path / "hard.pdf")
    assert "<b>" not in (tmp_path / "hard.html").read_text()


def test_what_not_every_reader_can_read_is_refused(tmp_path: Path) -> None:
    """A letter that no font has would be an empty box in the document that everybody cites."""
    with pytest.raises(ReleaseError, match="PDF/UA"):
        write_pdf(Document("Title", "1", "Publisher", (Block("paragraph", plain("漢字")),)), tmp_path / "boxes.pdf")
    assert not list(tmp_path.iterdir())


def test_marks_become_stretches_of_text() -> None:
    """The template's own marks are the only ones that mean anything."""
    assert [(span.kind, span.text) for span in spans("a **b** c `d` [[e|f]].")] == [
        ("plain", "a "), ("strong", "b"), ("plain", " c "), ("code", "d"), ("plain", " "), ("link", "e"), ("plain", "."),
    ]  # fmt: skip
    with pytest.raises(KeyError):
        parse(":: nothing", inserts={})


def test_a_variable_without_a_definition_is_refused() -> None:
    """Nobody can use a variable responsibly of which nobody says what it is."""
    silent = replace(codebook().variables[3], definition=" ")
    with pytest.raises(TableError, match="what these are: majorityStatusAtExploit"):
        codebook_files.require_described([*codebook().variables[:3], silent])


def test_nothing_to_describe_is_described(tmp_path: Path, empty: Inputs) -> None:
    """Zero records, or a variable missing in all of them, must not divide by zero."""
    codebook_files.write(empty, tmp_path / "empty")
    codebook_files.write(inputs_of([{"gender": "Female"}] * 10), tmp_path / "one")
    codebook_files.write(inputs_of([]), tmp_path / "nobody")
    table = sheet(tmp_path / "one", "TabStat")
    assert table[table["name"] == "citizenship"]["Freq."].tolist() == [0, 10]


def test_the_same_release_gives_the_same_bytes(inputs: Inputs, tmp_path: Path) -> None:
    """Formats that note the time of writing would change the hash of every release."""
    for folder in ("a", "b"):
        codebook_files.write(inputs, tmp_path / folder)
    assert all(file.read_bytes() == (tmp_path / "b" / file.name).read_bytes() for file in (tmp_path / "a").iterdir())


def test_what_is_said_of_partners_is_of_partners() -> None:
    """A partner that is renamed would silently lose its description."""
    assert set(imprint().partners) <= set(PARTNERS)
