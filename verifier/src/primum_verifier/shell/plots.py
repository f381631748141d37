"""The plots of a self-test: deviations by cohort, latencies, shares with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from primum_verifier.proof.observed import Latencies, Rate
from primum_verifier.shell.drawing import WIDTH, px, short, svg, words
from primum_verifier.shell.markup import Markup, tag

_ROW = 22
_GUTTER = 190
"""Where the names of rows end and the axis begins."""

_FIRST_DECADE, _LAST_DECADE = -8, 4
"""The axis of deviations, in powers of ten of the tolerance."""

_HISTOGRAM_HEIGHT = 150


@dataclass(frozen=True, slots=True)
class Dot:
    """One case on the axis of deviations.

    Attributes:
        share: of the tolerance; None where nothing could be divided.
        agrees: whether it is within the tolerance.
        title: what a pointer that rests on it is told.
    """

    share: str | None
    agrees: bool
    title: str


def deviation_plot(rows: Sequence[tuple[str, Sequence[Dot]]]) -> Markup:
    """A row of dots for each cohort; the line is the tolerance, and right of it is outside.

    Args:
        rows: the name of a cohort and its cases.
    """
    height = _ROW * len(rows) + 44
    marks = [
        tag("line", class_="grid", x1=px(x), x2=px(x), y1="6", y2=px(height - 38))
        for x in map(_decade_x, range(_FIRST_DECADE, _LAST_DECADE + 1, 2))
    ]
    ticks = [
        words(_decade_x(decade), height - 22, "exact" if decade == _FIRST_DECADE else f"1e{decade}")
        for decade in range(_FIRST_DECADE, _LAST_DECADE + 1, 2)
        if decade
    ]
    limit = _decade_x(0)
    line = tag("line", class_="limit", x1=px(limit), x2=px(limit), y1="2", y2=px(height - 36))
    drawn: list[Markup] = []
    for index, (name, dots) in enumerate(rows):
        y = _ROW * index + 18.0
        drawn.append(words(_GUTTER - 10, y + 4, short(name), anchor="end"))
        for number, dot in enumerate(dots):
            # Dots of one row are spread a little, so that many at one place are seen as many.
            spread = (number % 5 - 2) * 2.4
            drawn.append(
                tag(
                    "circle",
                    tag("title", dot.title),
                    class_="dot" if dot.agrees else "dot bad",
                    cx=px(_share_x(dot)),
                    cy=px(y + spread),
                    r="3.2",
                )
            )
    return svg(
        height,
        "Deviation of each case from its reference, as a share of the tolerance, by cohort",
        *marks,
        line,
        *drawn,
        *ticks,
        words(limit, height - 22, "tolerance", class_="strong"),
        words((WIDTH + _GUTTER) / 2, height - 6, "deviation as a share of the tolerance"),
    )


def _decade_x(decade: float) -> float:
    span = WIDTH - _GUTTER - 30
    return _GUTTER + 10 + span * (decade - _FIRST_DECADE) / (_LAST_DECADE - _FIRST_DECADE)


def _share_x(dot: Dot) -> float:
    if dot.share is None:
        return _decade_x(_FIRST_DECADE if dot.agrees else _LAST_DECADE)
    share = float(dot.share)
    decade = math.log10(share) if share > 0 else _FIRST_DECADE
    x = _decade_x(min(max(decade, _FIRST_DECADE), _LAST_DECADE))
    # A dot is as wide as it is: it must not seem to lie on the other side of the line.
    limit = _decade_x(0)
    return min(x, limit - 4) if dot.agrees else max(x, limit + 4)


def histogram(latencies: Latencies) -> Markup:
    """How often a case took how long, with the percentiles above their place."""
    bins = latencies.bins
    most = max(one.runs for one in bins)
    base = _HISTOGRAM_HEIGHT + 60
    wide = (WIDTH - 40) / len(bins)
    drawn: list[Markup] = [
        tag("line", class_="axis", x1="20", x2=px(WIDTH - 20), y1=px(base), y2=px(base))
    ]
    for index, one in enumerate(bins):
        x, tall = 20 + wide * index, _HISTOGRAM_HEIGHT * one.runs / most
        end = "and more" if one.to_ms is None else f"to {one.to_ms} ms"
        drawn.append(
            tag(
                "rect",
                tag("title", f"{one.from_ms} ms {end}: {one.runs} runs"),
                class_="bar",
                x=px(x + 1),
                y=px(base - tall),
                width=px(wide - 2),
                height=px(tall),
            )
        )
        if one.runs:
            drawn.append(words(x + wide / 2, base - tall - 4, str(one.runs), class_="small"))
        drawn.append(words(x, base + 14, one.from_ms, anchor="start", class_="small"))
    for row, (name, at) in enumerate(
        (("p50", latencies.p50_ms), ("p95", latencies.p95_ms), ("p99", latencies.p99_ms))
    ):
        # One below the other, because in a quick model they lie at nearly one place.
        x, top = _latency_x(latencies, at, wide), 4 + 13 * row
        drawn.append(tag("line", class_="mark", x1=px(x), x2=px(x), y1=px(top), y2=px(base)))
        at_right = x > WIDTH - 120
        drawn.append(
            words(
                x - 4 if at_right else x + 4,
                top + 9,
                f"{name} {at}",
                anchor="end" if at_right else "start",
                class_="small",
            )
        )
    return svg(
        base + 34, "Latency of one case", *drawn, words(WIDTH / 2, base + 30, "milliseconds")
    )


def _latency_x(latencies: Latencies, at: str, wide: float) -> float:
    """Where a time lies; all bins but an open one are equally wide."""
    first = latencies.bins[0]
    if first.to_ms is None:
        return 20.0
    begin, step = float(first.from_ms), float(first.to_ms) - float(first.from_ms)
    return min(20 + wide * (float(at) - begin) / step, WIDTH - 20.0)


def rate_bar(rate: Rate) -> Markup:
    """A share between 0 and 1 with its interval, small enough for a cell of a table."""
    wide, height = 120, 16

    def x(share: str) -> str:
        return px(4 + (wide - 8) * float(share))

    drawn = [tag("line", class_="grid", x1="4", x2=px(wide - 4), y1="8", y2="8")]
    if rate.low is not None and rate.high is not None:
        drawn.append(tag("line", class_="whisker", x1=x(rate.low), x2=x(rate.high), y1="8", y2="8"))
    drawn.append(tag("circle", class_="dot", cx=x(rate.share), cy="8", r="3.5"))
    return tag(
        "svg",
        *drawn,
        class_="inline",
        viewBox=f"0 0 {wide} {height}",
        width=str(wide),
        height=str(height),
        aria_hidden="true",
    )
