"""docs/partners.md says what the layouts say."""

from pathlib import Path

from ctdc_pipeline.harmonisation.partner_guide import partners_markdown
from ctdc_pipeline.partners.registry import SOURCES

COMMITTED = Path(__file__).parents[3] / "docs" / "partners.md"


def test_the_committed_document_is_current() -> None:
    """Guards against a document that describes an export we no longer read. Its first comment says how to write it anew."""
    assert COMMITTED.read_text("utf-8") == partners_markdown()


def test_every_field_and_code_is_described() -> None:
    """Guards against a field that only the code knows."""
    text = partners_markdown()
    for source in SOURCES.values():
        for layout in source.layouts.values():
            for field in layout.fields:
                assert f"| `{field.name}` |" in text
