"""Plots as inline SVG: bars, and lines over a logarithmic scale. Imports nothing of ours.

Made by hand: the libraries that draw SVG load their scripts or fonts from elsewhere, and a report
must open on a machine without a network. Colours are style sheet variables, so that a page may be
read in the dark.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

Point = tuple[float, float]
Format = Callable[[float], str]

_WIDTH, _HEIGHT = 760, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 78, 16, 14, 46
_BAR_HEIGHT, _BAR_GAP, _NAME_WIDTH, _VALUE_WIDTH = 20, 6, 370, 90
COLOURS = 8
_TICKS = 5


@dataclass(frozen=True)
class Series:
    name: str
    points: Sequence[Point]
    colour: int = 0


@dataclass(frozen=True)
class Axis:
    title: str
    shown: Format
    logarithmic: bool = False


def bars(values: Sequence[tuple[str, float, int]], shown: Format) -> str:
    """One bar for each (name, value, colour), from zero."""
    if not values:
        return ""
    largest = max(value for _, value, _ in values) or 1.0
    room = _WIDTH - _NAME_WIDTH - _VALUE_WIDTH
    step = _BAR_HEIGHT + _BAR_GAP
    parts = []
    for row, (name, value, colour) in enumerate(values):
        top = row * step
        width = max(1.0, room * value / largest)
        middle = top + _BAR_HEIGHT / 2 + 4
        parts.append(
            _text(_NAME_WIDTH - 8, middle, name, "end")
            + f'<rect x="{_NAME_WIDTH}" y="{top}" width="{width:.1f}" height="{_BAR_HEIGHT}"'
            f' class="c{colour % COLOURS}" rx="2"/>'
            + _text(_NAME_WIDTH + width + 6, middle, shown(value), "start")
        )
    return _svg("".join(parts), len(values) * step)


def lines(series: Sequence[Series], across: Axis, up: Axis) -> str:
    """Points joined by lines, with a legend below."""
    points = [point for each in series for point in each.points]
    if not points:
        return ""
    place_x = _scale([x for x, _ in points], across, _LEFT, _WIDTH - _RIGHT)
    place_y = _scale([y for _, y in points] + ([] if up.logarithmic else [0.0]), up,
                     _HEIGHT - _BOTTOM, _TOP)  # fmt: skip
    parts = [_grid(place_x, across, place_y, up)]
    for each in series:
        path = " ".join(f"{place_x(x):.1f},{place_y(y):.1f}" for x, y in each.points)
        colour = f"l{each.colour % COLOURS}"
        parts.append(f'<polyline points="{path}" class="{colour}"/>')
        if len(each.points) <= 12:
            parts += [
                f'<circle cx="{place_x(x):.1f}" cy="{place_y(y):.1f}" r="3" class="{colour}"/>'
                for x, y in each.points
            ]
    return _svg("".join(parts), _HEIGHT) + _legend(series)


class _scale:
    """From values to pixels, and the values worth a tick."""

    def __init__(self, values: Sequence[float], axis: Axis, start: float, end: float) -> None:
        self._logarithmic = axis.logarithmic
        placed = [self._place(value) for value in values]
        low, high = min(placed), max(placed)
        if not self._logarithmic:
            high += (high - low) * 0.05
        self._low, self._span = low, (high - low) or 1.0
        self._start, self._end = start, end

    def _place(self, value: float) -> float:
        return math.log10(max(value, 1e-9)) if self._logarithmic else value

    def __call__(self, value: float) -> float:
        share = (self._place(value) - self._low) / self._span
        return self._start + share * (self._end - self._start)

    def ticks(self) -> list[float]:
        low, high = self._low, self._low + self._span
        if self._logarithmic:
            decades = range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)
            return [10.0**decade for decade in decades] or [10**low, 10**high]
        raw = self._span / _TICKS
        size = 10 ** math.floor(math.log10(raw))
        step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= raw)
        first = math.ceil(low / step)
        return [step * number for number in range(first, math.floor(high / step) + 1)]


def _grid(place_x: _scale, across: Axis, place_y: _scale, up: Axis) -> str:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = []
    for value in place_y.ticks():
        y = place_y(value)
        parts.append(f'<line x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        parts.append(_text(_LEFT - 6, y + 4, up.shown(value), "end"))
    for value in place_x.ticks():
        x = place_x(value)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom}" class="grid"/>')
        parts.append(_text(x, bottom + 16, across.shown(value), "middle"))
    parts.append(_text((_LEFT + right) / 2, _HEIGHT - 8, across.title, "middle"))
    middle = (_TOP + bottom) / 2
    parts.append(
        f'<text x="14" y="{middle}" text-anchor="middle" transform="rotate(-90 14 {middle})">'
        f"{escape(up.title)}</text>"
    )
    return "".join(parts)


def _legend(series: Sequence[Series]) -> str:
    names = "".join(
        f'<span><i class="b{each.colour % COLOURS}"></i>{escape(each.name)}</span>'
        for each in series
    )
    return f'<p class="legend">{names}</p>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(content: str, height: float) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height:.0f}" role="img">{content}</svg>'
