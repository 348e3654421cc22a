"""The folder `docs` as pages beside Dagster's own, so that the catalogue can link to what describes a table."""

import re
from html import escape
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

DOCUMENTATION = "/docs/"
"""Where `ctdc ui` serves the folder `docs`."""
FOLDER = Path(__file__).parents[1] / "docs"
HEADERS = {"Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'"}
_PAGE = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>body{{max-width:60rem;margin:2rem auto;padding:0 1rem;font:16px/1.5 sans-serif}} img{{max-width:100%}}
table{{border-collapse:collapse;display:block;overflow-x:auto}}
td,th{{border:1px solid #ccc;padding:.2rem .5rem;text-align:left}}
code{{background:#f2f2f2}} pre{{background:#f2f2f2;padding:.5rem;overflow-x:auto}}</style>
{body}</html>
"""


def anchor(heading: str) -> str:
    """The name by which a heading of a page is linked to."""
    return re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-"))


def markdown_page(text: str) -> str:
    """A page of the documentation as HTML; every heading can be linked to by its ``anchor``."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens, title = markdown.parse(text), ""
    for opening, heading in pairwise(tokens):
        if opening.type == "heading_open":
            opening.attrSet("id", anchor(heading.content))
            title = title or heading.content
    return _PAGE.format(title=escape(title), body=markdown.renderer.render(tokens, markdown.options, {}))


async def _answer(request: Request) -> Response:
    """One page or image of the folder, and nothing outside it."""
    path = (FOLDER / request.path_params["path"]).resolve()
    if not path.is_relative_to(FOLDER.resolve()) or not path.is_file():
        raise HTTPException(404)
    if path.suffix == ".md":
        return HTMLResponse(markdown_page(path.read_text(encoding="utf-8")), headers=HEADERS)
    return FileResponse(path, headers=HEADERS)


ROUTE = Route(DOCUMENTATION + "{path:path}", _answer, methods=["GET"])
