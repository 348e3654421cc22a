"""Self-contained pages: what they may load, and that no value of the data gets out of its element."""

import hashlib
import json
import re
from base64 import b64encode

from ctdc_pipeline.products.inputs import Inputs
from ctdc_pipeline.products.page import page, resource
from ctdc_pipeline.products.showcase import render

EVIL = "</script><script>alert(1)</script><!--"


def test_a_value_cannot_end_the_element_that_holds_it() -> None:
    """A name in the data with a tag in it would run as a script, were the policy not there, and break the page if it is."""
    text = page(
        "map.html",
        scripts=("shared.js",),
        data={"x": EVIL},
        version=EVIL,
        k=10,
        year=2021,
        disclaimer=EVIL,
        citation=EVIL,
        notice=EVIL,
    ).decode()
    assert EVIL not in text
    held = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert held
    assert json.loads(held[1]) == {"x": EVIL}


def test_the_policy_allows_the_scripts_and_styles_of_the_page_and_nothing_else(inputs: Inputs) -> None:
    """With a wrong hash nothing runs; with a wider policy a page could call home."""
    text = render(inputs.synthetic, inputs.aggregates, version="1", k=10, length=1, last_year=2021).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert policy
    assert script
    assert style
    hashes = [b64encode(hashlib.sha256(found[1].encode()).digest()).decode() for found in (script, style)]
    assert policy[1].replace("&#39;", "'") == (
        f"default-src 'none'; script-src 'sha256-{hashes[0]}'; style-src 'sha256-{hashes[1]}';"
        " img-src data:; base-uri 'none'; form-action 'none'"
    )


def test_the_pages_name_no_place_to_load_from() -> None:
    """The only address in them is the name of the SVG namespace."""
    for name in ("page.html", "report.html", "showcase.html", "map.html", "page.css", "shared.js", "showcase.js", "map.js"):
        text = resource(name).replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//[a-z]+\.|@import|url\(|fetch\(|XMLHttpRequest|sendBeacon|localStorage|cookie", text), (
            name
        )
