"""The showcase as people use it: with a mouse, with keys alone, on a phone, without a network, from a link."""

import csv
import io
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from ctdc_pipeline.counting.aggregates import reportable_aggregates
from ctdc_pipeline.counting.combinations import count_combinations
from ctdc_pipeline.products.showcase import render
from tests.browser.conftest import DESKTOP, PHONE, Site, random_records, ready

FILE = "showcase.html"


def row(page: Page, label: str) -> list[str]:
    """The figures of a value in its card: synthetic, share, actual, error."""
    cells = page.locator("#cards tr").filter(has=page.get_by_role("button", name=label, exact=True)).locator("td:not(.bar)")
    return [cell for cell in cells.all_inner_texts() if cell]


def figures(page: Page) -> list[str]:
    return page.locator("#figures dd").all_inner_texts()


def told(number: int | None) -> str:
    return "not reportable" if number is None else f"{number:,}"


def test_nothing_is_asked_of_any_network(browser: Browser, site: Site) -> None:
    """A page about victims that calls anyone tells who is looking, and fails where there is no network."""
    context = browser.new_context(offline=True, viewport=DESKTOP)  # pyright: ignore[reportArgumentType]
    page, asked = context.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    ready(page, site.url(FILE))
    for tab in page.get_by_role("tab").all():
        tab.click()
    assert [url.partition("#")[0] for url in asked if not url.startswith("data:")] == [site.url(FILE).partition("#")[0]]
    blocked = page.evaluate("fetch('https://example.org').then(() => 'answered', () => 'blocked')")
    assert blocked == "blocked"
    context.close()


def test_single_values_stand_beside_their_actual_counts(page: Page, site: Site) -> None:
    """Every figure of the first view is one of the release."""
    ready(page, site.url(FILE))
    for label, name, value in (
        ("Female", "gender", "Female"),
        ("9–17", "ageBroad", "9--17"),
        ("Threats", "meansOfControlThreats", "1"),
    ):
        shown = row(page, label)
        assert shown[0] == told(site.synthetic(**{name: value}))
        assert shown[2] == told(site.actual(**{name: value}))


def test_select_combine_clear(page: Page, site: Site) -> None:
    """Choosing answers everywhere at once; choosing again lets go; clearing brings all back."""
    ready(page, site.url(FILE))
    page.get_by_role("button", name="Female", exact=True).click()
    assert figures(page)[:2] == [told(site.synthetic(gender="Female")), told(site.actual(gender="Female"))]
    threats = {"gender": "Female", "meansOfControlThreats": "1"}
    assert row(page, "Threats")[0] == told(site.synthetic(**threats))
    assert row(page, "Threats")[2] == told(site.actual(**threats))
    page.get_by_role("button", name="Threats", exact=True).click()
    assert figures(page)[0] == told(site.synthetic(**threats))
    assert row(page, "Male")[0] == told(site.synthetic(gender="Male", meansOfControlThreats="1"))
    page.get_by_role("button", name="Male", exact=True).click()
    expect(page.get_by_role("button", name="Female", exact=True)).to_have_attribute("aria-pressed", "false")
    page.get_by_role("button", name="Remove Gender: Male").click()
    assert figures(page)[0] == told(site.synthetic(meansOfControlThreats="1"))
    page.get_by_role("button", name="Clear selection").click()
    assert figures(page)[0] == told(site.inputs.synthetic.num_rows)
    expect(page.get_by_role("button", name="Clear selection")).to_be_disabled()


def test_every_figure_of_a_selection_is_that_of_the_release(page: Page, site: Site) -> None:
    """What the page computes is what anyone computes from the files."""
    ready(page, site.url(FILE, "gender=Female&citizenship=UKR"))
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Figures (CSV)").click()
    rows = list(csv.DictReader(io.StringIO(Path(waiting.value.path()).read_text("utf-8"))))
    assert len(rows) > 60
    for one in rows[::5]:
        chosen = dict(part.split("=") for part in one["selection"].split(" & ") if part)
        values = {**chosen, one["variable"]: one["value"]}
        assert int(one["synthetic"]) == site.synthetic(**values), one
        assert (int(one["actual"]) if one["actual"] else None) == site.actual(**values), one


def test_longer_than_the_reporting_length_is_not_reportable(page: Page, site: Site) -> None:
    """Four attributes were never counted for publication; a zero or a blank would read as nobody."""
    ready(page, site.url(FILE, "gender=Female&citizenship=UKR&ageBroad=0--8"))
    assert row(page, "Threats")[2] == "not reportable"
    assert "longer than 3" in (page.locator("#cards tr", has_text="Threats").first.locator("td.not").get_attribute("title") or "")
    expect(page.locator("#cards .note").last).to_contain_text("4 attributes together are more than 3")


def test_below_k_is_not_reportable(page: Page, site: Site) -> None:
    """A combination that few people share has no figure at all."""
    ready(page, site.url(FILE, "gender=Transgender%2FNonConforming&ageBroad=48%2B"))
    hidden = page.locator("#cards td.not").first
    expect(hidden).to_have_text("not reportable")
    assert "below 10" in (hidden.get_attribute("title") or "")


def test_with_keys_alone(page: Page, site: Site) -> None:
    """Tab, arrows and the space bar reach everything, and the focus stays where it was."""
    ready(page, site.url(FILE))
    page.keyboard.press("Tab")
    expect(page.locator("#skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#attributes")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    year = page.locator("#cards button.value").first
    expect(year).to_have_attribute("aria-pressed", "true")
    expect(year).to_be_focused()
    page.locator("[role=tab][aria-selected=true]").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("heading", name="Map by citizenship")).to_be_visible()
    expect(page.locator("#tab-map")).to_be_focused()
    country = page.locator("#map-table button").nth(1)
    name = country.inner_text()
    country.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#chips")).to_contain_text(name)
    expect(page.locator("#map-table button", has_text=name)).to_be_focused()
    page.locator("#tab-map").focus()
    page.keyboard.press("End")
    expect(page.get_by_role("heading", name="Method and limits")).to_be_visible()


def test_every_chart_has_a_table(page: Page, site: Site) -> None:
    """Who cannot see a chart gets the same figures."""
    for view, table in (
        ("map", "#map-table"),
        ("time", "#time-table"),
        ("corridors", "#corridors-table"),
        ("missing", "#missing-table"),
    ):
        ready(page, site.url(FILE, f"view={view}&tables=1"))
        expect(page.locator(f"{table} table")).to_be_visible()
        assert page.locator(f"{table} tbody tr").count() > 3
        expect(page.locator(".chart svg").first).to_be_hidden()
        expect(page.locator(".track").first).to_be_hidden()
    ready(page, site.url(FILE))
    page.get_by_role("button", name="Tables only").click()
    expect(page.locator("#cards .track").first).to_be_hidden()


def test_countries_without_a_shape_are_beside_the_map(page: Page, site: Site) -> None:
    """Guadeloupe is no shape of its own; its records must not vanish."""
    ready(page, site.url(FILE, "view=map"))
    line = page.locator("#map-table tr.off", has_text="Guadeloupe")
    expect(line).to_be_visible()
    assert told(site.synthetic(citizenship="GLP")) in line.inner_text()


def test_corridors_are_pairs_with_their_actual_count(page: Page, site: Site) -> None:
    """And one that crosses no border is told apart."""
    ready(page, site.url(FILE, "view=corridors&pairs=across"))
    line = page.locator("#corridors-table tr", has_text="Ukraine → Poland")
    pair = {"citizenship": "UKR", "CountryOfExploitation": "POL"}
    assert told(site.synthetic(**pair)) in line.inner_text()
    assert told(site.actual(**pair)) in line.inner_text()
    expect(page.locator("#corridors-table", has_text="Within")).to_have_count(0)
    line.get_by_role("button").click()
    expect(page.locator("#chips button")).to_have_count(2)


def test_records_of_the_selection_can_be_had(page: Page, site: Site) -> None:
    """As CSV with the names and values of the release, every selected record and no other."""
    ready(page, site.url(FILE, "gender=Female&ageBroad=9--17"))
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Records (CSV)").click()
    assert waiting.value.suggested_filename.endswith(".csv")
    text = Path(waiting.value.path()).read_text("utf-8")
    frame = site.inputs.synthetic.to_pandas()
    frame = frame[(frame["gender"] == "Female") & (frame["ageBroad"] == "9--17")]
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == list(frame.columns)
    assert sorted(map(str, rows)) == sorted(map(str, frame.fillna("").to_dict("records")))


def test_a_link_keeps_the_selection(page: Page, site: Site) -> None:
    """Who is sent a link sees what the sender saw, and the way back works."""
    ready(page, site.url(FILE))
    page.get_by_role("button", name="Female", exact=True).click()
    page.get_by_role("tab", name="Corridors").click()
    link, seen = page.url, figures(page)
    page.go_back()
    expect(page.locator("#attributes")).to_be_visible()
    ready(page, link)
    expect(page.locator("#corridors")).to_be_visible()
    assert figures(page) == seen


@pytest.mark.parametrize(
    "state", ["gender=Unheard&x=%3Cscript%3E&citizenship=UKR", "view=nothing&citizenship=UKR", "%%%&citizenship=UKR"]
)
def test_a_link_to_what_is_not_there_still_opens(page: Page, site: Site, state: str) -> None:
    """Links live longer than releases."""
    ready(page, site.url(FILE, state))
    assert figures(page)[0] == told(site.synthetic(citizenship="UKR"))


@pytest.mark.parametrize("view", ["attributes", "map", "corridors", "time", "missing", "method"])
def test_on_a_phone_nothing_is_wider_than_the_screen(page: Page, site: Site, view: str) -> None:
    """Figures that stick out on the side are not read."""
    page.set_viewport_size(PHONE)  # pyright: ignore[reportArgumentType]
    ready(page, site.url(FILE, f"view={view}&gender=Transgender%2FNonConforming"))
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.evaluate("document.body.scrollWidth") <= PHONE["width"]


def test_find_a_country(page: Page, site: Site) -> None:
    """Two hundred countries are not scrolled through; and a name that is not there says so."""
    ready(page, site.url(FILE))
    box = page.get_by_role("searchbox", name="Find a country: Citizenship")
    box.fill("repub")
    card = page.locator(".card", has=box)
    expect(card.locator("tbody tr")).to_have_count(1)
    box.fill("Atlantis")
    expect(card).to_contain_text("No country of that name")


def test_a_selection_that_no_record_has(page: Page, site: Site) -> None:
    """Nothing found is said, in every view, and not shown as an error."""
    state = "&".join(
        ["gender=Transgender%2FNonConforming", "ageBroad=48%2B", "traffickMonths=61%2B+%285%2B+yrs%29", "citizenship=GLP"]
    )
    for view in ("attributes", "map", "corridors", "time", "missing"):
        ready(page, site.url(FILE, f"view={view}&{state}&isOtherExploit=1&typeOfSexOther=1"))
        assert figures(page)[0] == "0"


def test_a_release_without_records_opens(page: Page, site: Site, tmp_path: Path) -> None:
    """Where nothing was common, the page says so instead of staying blank."""
    made = render(
        site.inputs.synthetic.slice(0, 0), site.inputs.aggregates.slice(0, 0), version="0", k=10, length=3, last_year=2021
    )
    (tmp_path / FILE).write_bytes(made)
    for view in ("attributes", "map", "corridors", "time", "missing", "method"):
        ready(page, f"{(tmp_path / FILE).as_uri()}#view={view}")
        assert figures(page)[0] == "0"


def test_the_page_can_be_read(page: Page, site: Site) -> None:
    """Every control has a name, every text enough contrast: 4.5 to 1 against what is behind it (WCAG 2.2 AA)."""
    ready(page, site.url(FILE, "gender=Female&citizenship=UKR&ageBroad=0--8"))
    assert page.evaluate(NAMELESS) == []
    assert page.evaluate(CONTRAST) == []


def test_250000_records_are_answered_quickly(page: Page, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The time is printed; the file must stay below ten megabytes even where every record differs."""
    records = random_records(250_000)
    count_combinations(records, tmp_path / "counts", length=2, minimum=10)
    made = render(
        records, reportable_aggregates(tmp_path / "counts", k=10, length=2), version="1", k=10, length=2, last_year=2021
    )
    assert len(made) < 10_000_000
    (tmp_path / FILE).write_bytes(made)
    ready(page, (tmp_path / FILE).as_uri())
    times = [page.evaluate("performance.now()")]
    for label in ("Female", "Threats", "9–17", "Forced labour", "Male"):
        page.get_by_role("button", name=label, exact=True).click()
        page.wait_for_timeout(50)
        times.append(float(page.evaluate("document.documentElement.dataset.answered")))
    answered = ", ".join(f"{time:.0f}" for time in times[1:])
    with capsys.disabled():
        print(f"\n{len(made) / 1e6:.1f} MB; opened in {times[0]:.0f} ms; selections answered in {answered} ms")  # noqa: T201
    assert re.fullmatch(r"[\d,]+", figures(page)[0])


NAMELESS = """() => [...document.querySelectorAll('button, input, select')]
  .filter((one) => one.checkVisibility() && !one.textContent.trim() && !one.ariaLabel && !one.labels?.length)
  .map((one) => one.outerHTML)"""

CONTRAST = """() => {
  const channel = (value) => (value <= 0.03928 * 255 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const colour = parts(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] > 0.99) return colour;
    }
    return [255, 255, 255];
  };
  const wrong = new Set();
  for (const one of document.querySelectorAll('body *')) {
    const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !one.checkVisibility() || one.closest('svg, script, :disabled')) continue;
    const [a, b] = [light(parts(getComputedStyle(one).color)), light(behind(one))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) wrong.add(`${one.tagName}.${one.className}`);
  }
  return [...wrong];
}"""
