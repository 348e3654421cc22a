"""Shapes of countries: that those of the codebook are found, and that they are drawn where they are."""

import itertools
import math

import pytest

from ctdc_pipeline.codebook.countries import countries
from ctdc_pipeline.products.country_shapes import WIDTH, equal_earth, height, place, shapes

WITHOUT_SHAPE = {
    *("ANT", "ATA", "BES", "BVT", "CCK", "CXR", "GIB", "GLP", "GUF", "MTQ", "MYT", "REU", "SJM", "TKL", "TUV", "UMI"),
}  # fmt: skip
"""Not in the source at this scale, or drawn as a part of another country."""


def test_every_country_has_a_shape_or_is_known_to_have_none() -> None:
    """A country that falls off the map falls out of sight, and nobody misses it."""
    codes = {country.iso3 for country in countries().rows}
    assert set(shapes().polygons) == codes - WITHOUT_SHAPE
    assert all(shapes().geometry(code) is None for code in WITHOUT_SHAPE)


def test_shapes_are_polygons_of_which_none_crosses_the_antimeridian() -> None:
    """A ring across it is drawn as a band around the world, and RFC 7946 forbids it."""
    for polygons in shapes().polygons.values():
        for ring in itertools.chain.from_iterable(polygons):
            assert len(ring) > 3
            assert ring[0] == ring[-1]
            assert all(-180 <= x <= 180 and -90 <= y <= 90 for x, y in ring)
            assert all(abs(x - right) < 90 for (x, _), (right, _) in itertools.pairwise(ring))


def test_equal_earth_is_the_published_projection() -> None:
    """The corners of the world by the paper: the equator is 2.70663 to each side of the middle, a pole 1.31736 high."""
    assert equal_earth((180, 0)) == pytest.approx((2.70663, 0), abs=1e-5)
    assert equal_earth((0, 90)) == pytest.approx((0, 1.31736), abs=1e-5)


@pytest.mark.parametrize("south", [-50, -10, 20, 70])
def test_equal_areas_are_drawn_equal(south: float) -> None:
    """On another projection a country in the north would weigh several times one at the equator."""
    step = 0.01
    x, y = place((1, south))
    right, up = place((1 + step, south + step))
    # A cell of a sphere shrinks with the cosine of its latitude, and so must what is drawn.
    cell = (right - x) * (y - up) / math.cos(math.radians(south + step / 2))
    origin, over = place((1, 0)), place((1 + step, step))
    assert cell == pytest.approx((over[0] - origin[0]) * (origin[1] - over[1]), rel=0.05)


def test_every_shape_is_on_the_canvas() -> None:
    """What lies outside is cut off without a word."""
    for code, path in shapes().paths().items():
        x, y = map(float, path[1:].split("l")[0].split())
        assert 0 <= x <= WIDTH, code
        assert -10 <= y <= height() + 10, code


def test_the_smallest_countries_have_dots() -> None:
    """Malta and Singapore are below a pixel, but people were registered there."""
    assert {"MLT", "SGP", "BHR", "MDV"} <= set(shapes().dots())
    assert "FRA" not in shapes().dots()
