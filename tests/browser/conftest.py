"""A browser, and pages of a small release of invented people."""

import shutil
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from playwright.sync_api import Browser, Error, Page, sync_playwright

from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.counting.aggregates import reportable_aggregates
from ctdc_pipeline.counting.combinations import count_combinations
from ctdc_pipeline.products import country_map as world
from ctdc_pipeline.products import showcase, story_tables
from ctdc_pipeline.products.inputs import Inputs
from ctdc_pipeline.synthesis.k_synthetic import synthesize
from tests.support.products import inputs_of

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
CORRIDORS = [("UKR", "POL"), ("UKR", "UKR"), ("MDA", "RUS"), ("PHL", "SGP"), ("USA", "USA"), ("GLP", "USA"), ("MEX", "USA")]


@pytest.fixture(scope="module")  # Playwright keeps an event loop running, in which other modules' tests could not start theirs
def browser() -> Generator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not path:
        pytest.skip("no chromium is installed (make test-services)")
    with sync_playwright() as playwright:
        try:
            running = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except Error as error:
            pytest.skip(f"chromium does not start: {error.message.splitlines()[0]}")
        yield running
        running.close()


@dataclass(frozen=True)
class Site:
    """The pages of one release in a folder, and what they were made of."""

    folder: Path
    inputs: Inputs

    def url(self, name: str, state: str = "") -> str:
        return f"{(self.folder / name).as_uri()}#{state}"

    def actual(self, **values: str) -> int | None:
        """The released count of a combination."""
        for row in self.inputs.aggregates.to_pylist():
            places = range(1, row["length"] + 1)
            if {row[f"variable_{place}"]: row[f"value_{place}"] for place in places} == values:
                return row["count"]
        return None

    def synthetic(self, **values: str) -> int:
        """How many released records have all of the values."""
        frame = self.inputs.synthetic.to_pandas()
        for name, value in values.items():
            frame = frame[frame[name] == value]
        return len(frame)


def random_records(number: int, seed: int = 1) -> pa.Table:
    """Invented records with values of the codebook, a third of them missing but for the year."""
    rng = np.random.default_rng(seed)
    pairs = rng.integers(len(CORRIDORS), size=number)
    columns: dict[str, Any] = {}
    for variable in codebook().variables:
        if variable.name in world.ROLES:
            drawn = np.array([pair[world.ROLES.index(variable.name)] for pair in CORRIDORS])[pairs]
        else:
            values = list(variable.values) or [str(year) for year in range(2010, 2022)]
            drawn = np.array(values)[np.minimum(rng.geometric(0.35, number) - 1, len(values) - 1)]
        hidden = rng.random(number) < {"flag": 0.75, "year": 0}.get(variable.kind, 0.3)  # everybody has a year
        columns[variable.name] = pa.array(
            [None if missing else str(value) for missing, value in zip(hidden, drawn, strict=True)], pa.string()
        )
    return pa.table(columns)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """6,000 people, their synthetic records and combinations up to three attributes."""
    folder = tmp_path_factory.mktemp("site")
    victims = random_records(6000)
    count_combinations(victims, folder / "counts", length=3)
    inputs = replace(
        inputs_of([]),
        length=3,
        victims=victims,
        synthetic=synthesize(victims, k=10, seed=1).cast(victims.schema),
        aggregates=reportable_aggregates(folder / "counts", k=10, length=3),
    )
    story_tables.write(inputs, folder)
    showcase.write(inputs, folder)
    world.write(inputs, folder)
    return Site(folder, inputs)


@pytest.fixture
def page(browser: Browser) -> Generator[Page]:
    """A page on a desktop that fails on any error of a script, and on any request but for a file."""
    context = browser.new_context(viewport=DESKTOP, accept_downloads=True, reduced_motion="reduce")  # pyright: ignore[reportArgumentType]
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    opened.on(
        "request", lambda request: None if request.url.startswith(("file:", "data:", "blob:")) else wrong.append(request.url)
    )
    yield opened
    context.close()
    assert not wrong


def ready(page: Page, url: str) -> Page:
    """Open ``url`` and wait until it shows figures."""
    page.goto("about:blank")
    page.goto(url)
    page.wait_for_selector("html[data-ready]")
    return page
