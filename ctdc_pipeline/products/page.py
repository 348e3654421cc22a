"""A self-contained HTML page: opens from disk, holds all it shows, and may ask nothing of any network.

The Content-Security-Policy lets run only the one script and the one style that are in the page, each by its hash, and no request
go anywhere. What is hand-written is in ``data/showcase``; what all pages have is in its ``page.html``, which the others extend.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from base64 import b64encode
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

_POLICY = "default-src 'none'; script-src {script}; style-src {style}; img-src data:; base-uri 'none'; form-action 'none'"


def resource(name: str) -> str:
    """A hand-written part of the pages."""
    return (files("ctdc_pipeline.products") / "pages" / name).read_text("utf-8")


def packed(content: bytes) -> str:
    """Bytes as a page holds them: deflated, then base64. ``unpack`` in shared.js undoes it."""
    return b64encode(zlib.compress(content, 9)).decode()


_TEMPLATES = Environment(
    autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=FunctionLoader(resource)
)


def page(
    template: str,
    *,
    scripts: tuple[str, ...] = (),
    data: Any = None,
    blocks: dict[str, str] | None = None,
    notice: str = "",
    **words: Any,
) -> bytes:
    """Return the page of a template, with its styles and scripts in it.

    Args:
        template: the name of a file in ``pages/``.
        scripts: the names of the scripts; none for a page without any.
        data: what the scripts show, as JSON.
        blocks: texts of ``packed`` by name, for the scripts.
        notice: a sentence that stands above everything else.
        **words: what the template names. It escapes them.

    Returns:
        The page as UTF-8.
    """
    script = "".join(["'use strict';\n", *map(resource, scripts)]) if scripts else ""
    style = resource("page.css")
    policy = _POLICY.format(script=_hash(script) if script else "'none'", style=_hash(style))
    # A "<" in a value could otherwise end the element that holds it.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    made = _TEMPLATES.get_template(template)
    return made.render(policy=policy, style=style, script=script, data=text, blocks=blocks or {}, notice=notice, **words).encode()


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
