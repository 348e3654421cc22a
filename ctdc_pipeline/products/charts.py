"""Small charts as SVG that bring colours and letters with them, so that they look alike in a page and outside of it.

No chart is the only place of a figure: whoever shows one puts a table beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

INK, SOFT, LINE, FAINT, MAIN, OTHER = "#1b2733", "#4d5a68", "#d5dbe2", "#eef1f4", "#2c6e9e", "#a8430c"
WIDTH, HEIGHT = 340, 200
LEFT, RIGHT, TOP, BOTTOM = 40, 332, 16, 162
"""The corners of what is plotted."""
MARKS = (
    (INK, "M-4,0A4,4 0 1 0 4,0A4,4 0 1 0-4,0Z"),
    (MAIN, "M-3.6,-3.6H3.6V3.6H-3.6Z"),
    (OTHER, "M0,-4.8L4.8,3.6H-4.8Z"),
    ("#6d4c9f", "M0,-5.2L5.2,0L0,5.2L-5.2,0Z"),
    ("#00735c", "M-4.6,-3.2H4.6L0,5Z"),
    ("#66717d", "M-5.2,-1.8H5.2V1.8H-5.2Z"),
)
"""A colour and a shape for each series: who cannot tell the colours tells the shapes."""


def bars(
    values: Sequence[float | None], labels: Sequence[str], *, about: str, texts: Sequence[str], axis: str, least: float = 0
) -> str:
    """Columns, each with its text on top; none for no value. ``least`` is what the height stands for at the least."""
    most = max((least, *(value for value in values if value))) or 1
    step = (RIGHT - LEFT + 24) / max(1, len(values))
    wide = min(44.0, step * 0.66)
    parts: list[str] = [_line(LEFT - 24, BOTTOM, RIGHT, BOTTOM, SOFT)]
    for place, (value, label, text) in enumerate(zip(values, labels, texts, strict=True)):
        middle = LEFT - 24 + step * (place + 0.5)
        tall = (BOTTOM - TOP - 10) * (value or 0) / most
        parts.append(
            f'<rect x="{middle - wide / 2:.1f}" y="{BOTTOM - tall:.1f}" width="{wide:.1f}" height="{tall:.1f}" fill="{MAIN}"/>'
        )
        parts += [_text(middle, BOTTOM - tall - 5, text, fill=INK), _text(middle, BOTTOM + 16, label)]
    return _svg([*parts, _text((LEFT + RIGHT) / 2 - 12, HEIGHT - 4, axis)], about)


def lines(series: Mapping[str, Sequence[float | None]], labels: Sequence[str], *, about: str, axis: str) -> str:
    """Shares of 1 over ``labels``, one line a series; a place without a value is passed over. The axis goes to 100% at least."""
    most = max(1.0, *(value for values in series.values() for value in values if value is not None), 0)
    step = (RIGHT - LEFT) / max(1, len(labels))
    across = [LEFT + step * (place + 0.5) for place in range(len(labels))]
    parts: list[str] = []
    for quarter in range(5):
        y = BOTTOM - (BOTTOM - TOP) * quarter / 4
        parts += [
            _line(LEFT, y, RIGHT, y, SOFT if not quarter else LINE),
            _text(LEFT - 6, y + 4, f"{25 * quarter * most:.0f}%", "end"),
        ]
    parts += [_text(x, BOTTOM + 16, label, size=10.5) for x, label in zip(across, labels, strict=True)]
    for place, values in enumerate(series.values()):
        colour, shape = MARKS[place % len(MARKS)]
        points = [
            (x, BOTTOM - (BOTTOM - TOP) * value / most) for x, value in zip(across, values, strict=True) if value is not None
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        parts += [f'<path d="{shape}" transform="translate({x:.1f},{y:.1f})" fill="{colour}"/>' for x, y in points]
    return _svg([*parts, _text((LEFT + RIGHT) / 2, HEIGHT - 4, axis)], about)


def mark(place: int) -> str:
    """How the series at ``place`` is drawn, for a legend."""
    colour, shape = MARKS[place % len(MARKS)]
    line = f'<path d="M-13,0H13" stroke="{colour}" stroke-width="1.8"/><path d="{shape}" fill="{colour}"/>'
    return f'<svg viewBox="-13 -6 26 12" width="26" height="12" aria-hidden="true">{line}</svg>'


def spans(rows: Sequence[tuple[str, str, int | None, int | None]], *, first: int, last: int, about: str) -> str:
    """Years from and to, one bar a row below its name and beside its note; none where there are no years."""
    left, right, tall = 2, WIDTH - 2, 38
    bottom, each = tall * len(rows) + 4, (right - left) / (last - first + 1)
    parts: list[str] = []
    for year in range(first + -first % 5, last + 1, 5):
        x = left + each * (year - first)
        near = x > right - 34
        parts += [_line(x, 0, x, bottom, LINE), _text(x, bottom + 14, str(year), "end" if near else "start")]
    for place, (name, note, since, until) in enumerate(rows):
        top = tall * place
        parts += [_text(left, top + 14, name, "start", fill=INK), _text(right, top + 14, note, "end")]
        if since and until:
            x, length = left + each * (since - first), each * (until - since + 1)
            parts.append(f'<rect x="{x:.1f}" y="{top + 20}" width="{length:.1f}" height="9" fill="{MAIN}"/>')
    return _svg(parts, about, height=bottom + 20)


def share(percent: int | None, beside: int | None) -> str:
    """A bar of ``percent``, and a tick at ``beside``."""
    parts = [f'<rect width="100" height="11" fill="{FAINT}"/><rect width="{percent or 0}" height="11" fill="{MAIN}"/>']
    parts += (
        [] if beside is None else [f'<rect x="{min(98.6, max(0, beside - 0.7)):.1f}" width="1.4" height="11" fill="{OTHER}"/>']
    )
    return f'<svg viewBox="0 0 100 11" preserveAspectRatio="none" aria-hidden="true">{"".join(parts)}</svg>'


def _svg(parts: Sequence[str], about: str, *, height: int = HEIGHT) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(about)}"'
    return f'{head} font-family="system-ui, sans-serif" font-size="12">{"".join(parts)}</svg>'


def _line(x: float, y: float, to_x: float, to_y: float, colour: str) -> str:
    return f'<path d="M{x:.1f},{y:.1f}L{to_x:.1f},{to_y:.1f}" stroke="{colour}"/>'


def _text(x: float, y: float, text: str, anchor: str = "middle", *, fill: str = SOFT, size: float = 12) -> str:
    element = f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}" font-size="{size:g}">{escape(text)}</text>'
    return element if text else ""
