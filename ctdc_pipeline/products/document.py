"""A document for people: its structure, and the two forms it is published in, a self-contained HTML page and a tagged PDF.

The text is written in a few marks of Markdown: headings, paragraphs, lists of dashes, ``**strong**``, ``[[text|address]]``, and
lines ``:: name`` where a table of that name stands. The templates of either form know how it looks, and nothing of what it says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path

import jinja2
import typst

from ctdc_pipeline.errors import ReleaseError
from ctdc_pipeline.storage.files import staged

_MARK = re.compile(r"\*\*(?P<strong>.+?)\*\*|`(?P<code>.+?)`|\[\[(?P<text>.+?)\|(?P<link>.+?)\]\]")


@dataclass(frozen=True)
class Span:
    """A stretch of text of one ``kind``: plain, strong, code, or link to ``to``."""

    kind: str
    text: str
    to: str = ""


@dataclass(frozen=True)
class Block:
    """One heading (of ``level`` 1 to 3), paragraph, lead (a paragraph that stays with the next), item of a list, quote or table.

    A table has ``head``, ``rows`` and a ``name`` to be known by; ``numbers`` are the columns set to the right, ``wide`` those
    that get the room there is.
    """

    kind: str
    spans: tuple[Span, ...] = ()
    level: int = 0
    name: str = ""
    head: tuple[str, ...] = ()
    rows: tuple[tuple[tuple[Span, ...], ...], ...] = ()
    numbers: tuple[int, ...] = ()
    wide: tuple[int, ...] = ()


@dataclass(frozen=True)
class Document:
    """What both forms are made of."""

    title: str
    subtitle: str
    publisher: str
    blocks: tuple[Block, ...] = field(default=())
    notice: str = ""
    """A warning above all else and on every page of the PDF; empty for none."""


def parse(text: str, *, inserts: Mapping[str, Sequence[Block]]) -> tuple[Block, ...]:
    """The blocks of ``text``, with ``inserts`` where it names them. Raises KeyError for a name that is not there."""
    blocks: list[Block] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith(":: "):
            blocks += inserts[line[3:]]
        elif line.startswith("#"):
            marks, _, words = line.partition(" ")
            blocks.append(Block("heading", spans(words), level=len(marks)))
        elif line.startswith("- "):
            blocks.append(Block("item", spans(line[2:])))
        else:
            blocks.append(Block("paragraph", spans(line)))
    return tuple(blocks)


def spans(text: str) -> tuple[Span, ...]:
    """The stretches of a line."""
    parts: list[Span] = []
    end = 0
    for hit in _MARK.finditer(text):
        parts.append(Span("plain", text[end : hit.start()]))
        kind = hit.lastgroup or ""
        parts.append(Span("link", hit["text"], hit["link"]) if kind == "link" else Span(kind, hit[kind]))
        end = hit.end()
    return tuple(span for span in (*parts, Span("plain", text[end:])) if span.text)


def plain(text: str, kind: str = "plain") -> tuple[Span, ...]:
    """A text in which no mark means anything."""
    return (Span(kind, text),) if text else ()


def write_html(document: Document, path: Path) -> None:
    """One page that needs no other file. Raises OSError."""
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = template.from_string(_resource("document.html")).render(document=document, blocks=_numbered(document))
    with staged(path) as part:
        part.write_text(page, encoding="utf-8")


def write_pdf(document: Document, path: Path) -> None:
    """A PDF for people with any reader: tagged, with language and title (PDF/UA-1). Same document, same bytes.

    Raises OSError, and ReleaseError for what cannot be set so that every reader can read it.
    """
    try:
        compiled = typst.compile(
            _resource("document.typ").encode(),
            format="pdf",
            pdf_standards=["ua-1"],
            ignore_system_fonts=True,
            sys_inputs={"document": json.dumps(asdict(document))},
        )
    except typst.TypstError:
        raise ReleaseError(
            f"{path.name} cannot be made as PDF/UA-1",
            remedy="Look for letters that its fonts lack, or headings that skip a level, in the texts of the codebook.",
        ) from None
    with staged(path) as part:
        part.write_bytes(compiled)


def _numbered(document: Document) -> list[tuple[Block, str]]:
    """Blocks, and the anchor of each heading."""
    return [(block, f"s{number}" if block.kind == "heading" else "") for number, block in enumerate(document.blocks)]


def _resource(name: str) -> str:
    return (files("ctdc_pipeline.products") / "pages" / name).read_text("utf-8")
