"""The pages of the documentation that `ctdc ui` serves: every one readable, every link right, and nothing outside the folder."""

import re

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from resources.documentation import DOCUMENTATION, FOLDER, ROUTE, markdown_page

PAGES = sorted(FOLDER.glob("*.md"))


@pytest.fixture(scope="module")
def client() -> TestClient:
    return TestClient(Starlette(routes=[ROUTE]))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_reads_and_its_links_lead_somewhere(client: TestClient, path: object) -> None:
    """Guards against headings without anchors, tables as text, and links that end in nothing."""
    name = getattr(path, "name")  # noqa: B009
    answer = client.get(DOCUMENTATION + name)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert "|---" not in answer.text
    for link in re.findall(r'(?:href|src)="([^"]+)"', answer.text):
        target, _, heading = link.partition("#")
        if not target.startswith(("http", "..")):
            page = client.get(DOCUMENTATION + (target or name))
            assert page.status_code == 200, link
            assert not heading or f'id="{heading}"' in page.text, link


@pytest.mark.parametrize("path", ["../README.md", "%2e%2e/demo.py", "..%2f..%2fetc/passwd", "//etc/passwd", "img", "", "none.md"])
def test_nothing_else_is_served(client: TestClient, path: str) -> None:
    """The case data is on the same machine."""
    assert client.get(DOCUMENTATION + path).status_code == 404


def test_markup_in_a_page_stays_text() -> None:
    """The pages are beside those that start runs."""
    assert "<script>" not in markdown_page("# A <script>alert(1)</script>")
