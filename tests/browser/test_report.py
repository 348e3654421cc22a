"""The quality report as people read it."""

from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from ctdc_pipeline.products import k_anonymous, report
from ctdc_pipeline.storage.tables import write_table
from ctdc_pipeline.verification.quality_report import page_tables
from tests.browser.conftest import DESKTOP, PHONE, Site
from tests.support.products import manifest_of


@pytest.fixture(scope="module")
def url(site: Site) -> str:
    """The report of the release of the other pages."""
    write_table(site.inputs.synthetic, site.folder / report.PROVED[0])
    write_table(site.inputs.aggregates, site.folder / report.PROVED[1])
    k_anonymous.write(site.inputs, site.folder)
    report.write(site.inputs, site.folder, manifest=manifest_of(site.inputs), changes=())
    return site.url(report.FILE)


def test_it_is_read_without_scripts_and_without_a_network(browser: Browser, url: str) -> None:
    """Nothing in it may depend on what a careful reader switches off."""
    context = browser.new_context(offline=True, java_script_enabled=False, viewport=DESKTOP)  # pyright: ignore[reportArgumentType]
    page, asked = context.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    assert [one.partition("#")[0] for one in asked if not one.startswith("data:")] == [url.partition("#")[0]]
    expect(page.get_by_role("heading", level=1)).to_have_text("Quality and disclosure report")
    expect(page.get_by_role("region", name="What was proved")).to_contain_text("at least 10 sensitive records")
    context.close()


def test_every_plot_has_a_name_and_its_figures_stand_in_a_table(page: Page, url: str) -> None:
    """A plot is nothing to who does not see it."""
    page.goto(url)
    plots = page.locator("figure svg")
    assert plots.count() == 8
    assert all(
        page.get_by_role("img", name=str(name)).count() for name in plots.evaluate_all("all => all.map((one) => one.ariaLabel)")
    )
    for panel in page.locator(".panel:has(figure)").all():
        assert panel.locator("table").count()
    levels = page.locator("h1, h2, h3").evaluate_all("all => all.map((one) => Number(one.tagName[1]))")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.locator("th:not([scope]):not([aria-hidden])").count() == 0


def test_with_keys_alone(page: Page, url: str) -> None:
    """Skip to the figures, follow the contents, open a table."""
    page.goto(url)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Guarantees and their proof")).to_be_in_viewport()
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#sizes")).to_be_visible()


def test_on_a_phone(page: Page, url: str) -> None:
    """Nothing sticks out, letters in plots can be read, and a wide table moves by itself."""
    page.set_viewport_size(PHONE)  # pyright: ignore[reportArgumentType]
    page.goto(url)
    page.locator("details").evaluate_all("all => all.forEach((one) => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    smallest = "Math.min(...[...document.querySelectorAll('figure text')].map((one) => one.getBoundingClientRect().height))"
    assert page.evaluate(smallest) >= 10


def test_what_it_says_is_what_verification_reads(page: Page, url: str) -> None:
    """The tables that are checked are those that are shown."""
    page.goto(url)
    page.locator("details").evaluate_all("all => all.forEach((one) => { one.open = true; })")
    for name, rows in page_tables(Path(url.removeprefix("file://").partition("#")[0])).items():
        shown = page.locator(f"#{name} tbody tr, #{name} div")
        assert shown.count() == len(rows)
        assert rows[0][-1] in shown.first.inner_text()
