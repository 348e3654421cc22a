"""The map as people use it."""

from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import DESKTOP, PHONE, Site, ready

FILE = "map.html"


def test_nothing_is_asked_of_any_network(browser: Browser, site: Site) -> None:
    """As for the showcase."""
    context = browser.new_context(offline=True, viewport=DESKTOP)  # pyright: ignore[reportArgumentType]
    page, asked = context.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    ready(page, site.url(FILE))
    assert [url.partition("#")[0] for url in asked if not url.startswith("data:")] == [site.url(FILE).partition("#")[0]]
    context.close()


def test_a_country_shows_its_profile(page: Page, site: Site) -> None:
    """Chosen in the table or on the map, with the denominator of every percentage."""
    ready(page, site.url(FILE))
    page.locator("#table button", has_text="Ukraine").click()
    profile = page.locator("#profile")
    expect(profile.get_by_role("heading", name="Ukraine")).to_be_visible()
    expect(profile).to_contain_text(f"{site.actual(citizenship='UKR'):,} records by citizenship")
    female = profile.locator("tr", has_text="Female").inner_text()
    assert f"{site.actual(citizenship='UKR', gender='Female'):,}" in female
    assert profile.locator(".of").count() == profile.locator("h3").count()
    page.locator("#world path.q2, #world path.q3").first.click(force=True)
    expect(page.locator("#table tr.chosen")).to_have_count(1)


def test_the_two_roles_are_views_apart(page: Page, site: Site) -> None:
    """Poland is a country of exploitation here, and nobody's citizenship."""
    ready(page, site.url(FILE, "country=POL"))
    expect(page.locator("#profile")).to_contain_text("no reportable count by citizenship")
    page.get_by_role("button", name="Country of exploitation").click()
    expect(page.locator("#profile").get_by_role("heading", name="Poland")).to_be_visible()
    expect(page.locator("#profile")).not_to_contain_text("Ukraine")


def test_shares_tell_of_how_many(page: Page, site: Site) -> None:
    """A percentage without its denominator is believed too easily."""
    ready(page, site.url(FILE))
    page.get_by_label("Shade by").select_option("gender=Female")
    expect(page.locator("#table tbody tr").first).to_contain_text(" of ")
    expect(page.locator("#scale")).to_contain_text("80% or more")


def test_with_keys_alone(page: Page, site: Site) -> None:
    """The table does all that the map does, and keeps the focus."""
    ready(page, site.url(FILE))
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    button = page.locator("#table button").nth(2)
    name = button.inner_text()
    button.focus()
    page.keyboard.press("Space")
    expect(page.locator("#profile").get_by_role("heading", name=name)).to_be_visible()
    expect(page.locator("#table button", has_text=name)).to_be_focused()


def test_a_country_without_a_shape_is_in_the_table(page: Page, site: Site) -> None:
    """It cannot be on the map."""
    ready(page, site.url(FILE))
    expect(page.locator("#table tr.off", has_text="Guadeloupe")).to_contain_text(f"{site.actual(citizenship='GLP'):,}")


def test_on_a_phone(page: Page, site: Site) -> None:
    """Nothing sticks out, and the profile comes into sight when a country is chosen far below it."""
    page.set_viewport_size(PHONE)  # pyright: ignore[reportArgumentType]
    ready(page, site.url(FILE, "country=UKR"))
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.locator("#table button", has_text="Mexico").click()
    expect(page.locator("#profile").get_by_role("heading", name="Mexico")).to_be_in_viewport()
