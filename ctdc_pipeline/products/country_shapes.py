"""Countries as shapes: their outlines in degrees, and as SVG paths in an equal-area projection.

The outlines are ``data/showcase/shapes.json``, a simplified TopoJSON topology that says itself where it is from. They are for
finding a country on a map of the world, and say nothing on borders.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Any

Point = tuple[float, float]
Ring = list[Point]

WIDTH = 1000
SMALL = 6.0  # area on the canvas
TOP, BOTTOM = 84.0, -57.0  # degrees of latitude that a map shows
_EQUAL_EARTH = (1.340264, -0.081106, 0.000893, 0.003796)


@dataclass(frozen=True)
class Shapes:
    """Outlines by ISO 3166-1 alpha-3 code: polygons of rings, the first of which is the outer one."""

    source: str
    polygons: dict[str, list[list[Ring]]]

    def geometry(self, alpha3: str) -> dict[str, Any] | None:
        """The GeoJSON geometry of a country; None where it has no shape."""
        return {"type": "MultiPolygon", "coordinates": self.polygons[alpha3]} if alpha3 in self.polygons else None

    def paths(self) -> dict[str, str]:
        """SVG path of each country on a canvas of ``WIDTH`` by ``height()``."""
        return {
            code: "".join(_path(ring) for polygon in polygons for ring in polygon) for code, polygons in self.polygons.items()
        }

    def dots(self) -> dict[str, Point]:
        """Where on the canvas the countries are that are too small to see."""
        points: dict[str, Point] = {}
        for code, polygons in self.polygons.items():
            rings = [[place(point) for point in polygon[0]] for polygon in polygons]
            if sum(map(_area, rings)) < SMALL:
                spots = max(rings, key=_area)[:-1]
                points[code] = round(sum(x for x, _ in spots) / len(spots), 1), round(sum(y for _, y in spots) / len(spots), 1)
        return points

    def drawn(self) -> dict[str, Any]:
        """The map as the pages draw it."""
        return {"width": WIDTH, "height": height(), "paths": self.paths(), "dots": self.dots()}


@cache
def shapes() -> Shapes:
    """The shapes, read once."""
    topology = json.loads((files("ctdc_pipeline.products") / "pages" / "shapes.json").read_text("utf-8"))
    arcs = [_arc(arc, **topology["transform"]) for arc in topology["arcs"]]
    polygons = {code: _polygons(country, arcs) for code, country in topology["countries"].items()}
    small = {code: [[[(lon, lat) for lon, lat in ring]] for ring in rings] for code, rings in topology["small"].items()}
    return Shapes(source=topology["source"], polygons=dict(sorted((polygons | small).items())))


def equal_earth(point: Point) -> Point:
    """Equal Earth coordinates of (longitude, latitude) in degrees, on a sphere of radius 1, north up.

    Equal-area, so that a country's shade weighs as much as its land. Savric, Patterson and Jenny (2018), The Equal Earth map
    projection, International Journal of Geographical Information Science 33 (3).
    """
    a1, a2, a3, a4 = _EQUAL_EARTH
    root = math.sqrt(3)
    theta = math.asin(root / 2 * math.sin(math.radians(point[1])))
    slope = a1 + 3 * a2 * theta**2 + theta**6 * (7 * a3 + 9 * a4 * theta**2)
    x = 2 * root * math.radians(point[0]) * math.cos(theta) / (3 * slope)
    return x, theta * (a1 + a2 * theta**2 + theta**6 * (a3 + a4 * theta**2))


def place(point: Point) -> Point:
    """Where (longitude, latitude) is on the canvas."""
    east, top = equal_earth((180, 0))[0], equal_earth((0, TOP))[1]
    x, y = equal_earth(point)
    scale = WIDTH / (2 * east)
    return (x + east) * scale, (top - y) * scale


def height() -> float:
    """Height of the canvas."""
    return math.ceil(place((0, BOTTOM))[1])


def _area(ring: Ring) -> float:
    return abs(sum(x * down - right * y for (x, y), (right, down) in pairwise(ring))) / 2


def _path(ring: Ring) -> str:
    """Relative steps of tenths, whose rounding does not add up."""
    spots = [(round(x * 10), round(y * 10)) for x, y in map(place, ring[:-1])]
    steps = [(x - before[0], y - before[1]) for before, (x, y) in pairwise(spots)]
    lines = "".join(f"l{x / 10:g} {y / 10:g}" for x, y in steps if (x, y) != (0, 0))
    return f"M{spots[0][0] / 10:g} {spots[0][1] / 10:g}{lines}z"


def _arc(arc: list[list[int]], *, scale: Point, translate: Point) -> Ring:
    x = y = 0
    points: Ring = []
    for right, up in arc:
        x, y = x + right, y + up
        points.append((round(x * scale[0] + translate[0], 3), round(y * scale[1] + translate[1], 3)))
    return points


def _polygons(country: list[list[list[int]]], arcs: list[Ring]) -> list[list[Ring]]:
    """Those of a country's polygons, and of their holes, that have an area."""
    polygons = [[_ring(ring, arcs) for ring in polygon] for polygon in country]
    held = [[ring for ring in polygon if len(ring) > 3] for polygon in polygons if len(polygon[0]) > 3]
    return [part for polygon in held for part in _cut(polygon)]


def _cut(polygon: list[Ring]) -> list[list[Ring]]:
    """The polygon in one part, or in two where it crosses the antimeridian, as GeoJSON asks (RFC 7946, 3.1.9)."""
    outer = polygon[0]
    if all(abs(x - before) <= 180 for (before, _), (x, _) in pairwise(outer)):
        return [polygon]
    east = [[(x + 360 if x < 0 else x, y) for x, y in ring] for ring in polygon]
    parts = [[_clipped(ring, side=side) for ring in east] for side in (-1, 1)]
    return [
        [[(x - 360 if x > 180 or side > 0 else x, y) for x, y in ring] for ring in part]
        for side, part in zip((-1, 1), parts, strict=True)
    ]


def _clipped(ring: Ring, *, side: int) -> Ring:
    """What of a ring lies west (-1) or east (1) of longitude 180 (Sutherland and Hodgman, 1974)."""
    kept: Ring = []
    for (x, y), (right, up) in pairwise(ring):
        if (x - 180) * side >= 0:
            kept.append((x, y))
        if (x - 180) * (right - 180) < 0:
            kept.append((180.0, round(y + (up - y) * (180 - x) / (right - x), 3)))
    return [*kept, *kept[:1]]


def _ring(indices: list[int], arcs: list[Ring]) -> Ring:
    """The arcs of a ring one after the other; ``~i`` is arc ``i`` backwards. Neighbours share an end."""
    points: Ring = []
    for index in indices:
        arc = arcs[index] if index >= 0 else arcs[~index][::-1]
        points += arc[1:] if points else arc
    return points
