"""The drawings of a comparison: differences beside their margins, curves, reliability, ranges.

Three arms are told apart by the kind of line and by a word beside it, never by a colour alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from primum_verifier.change.comparison_analysis import ArmAnalysis, Point
from primum_verifier.change.comparison_terms import Bounds
from primum_verifier.shell.drawing import WIDTH, px, svg, words
from primum_verifier.shell.markup import Markup, tag

STYLE = Markup("""
.candidate{stroke:var(--bar)}.last{stroke:var(--ink);stroke-dasharray:7 4}
.original{stroke:var(--soft);stroke-dasharray:2 4}
path.curve{fill:none;stroke-width:2}.frame{fill:none;stroke:var(--line)}
circle.point{fill:var(--paper);stroke-width:2;stroke-dasharray:none}
.margin{stroke:var(--bad);stroke-width:1.5}
.none{stroke:var(--soft);stroke-width:1}
.met{stroke:var(--good);fill:var(--good)}.not-met{stroke:var(--bad);fill:var(--bad)}
.not-evaluable,.shown{stroke:var(--soft);fill:var(--soft)}
line.range{stroke-width:2.5}svg text.bad{fill:var(--bad)}svg text.good{fill:var(--good)}
svg text.soft{fill:var(--soft)}.band{fill:var(--line);fill-opacity:.35;stroke:none}
""")

_ROW = 24
_NAMES, _WORDS = 250, 110
"""Where names end on the left, and how much room the words on the right take."""

_PANEL = 300
_STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 50.0, 100.0)
_MOST_TICKS = 6


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a forest plot.

    Attributes:
        name: what stands on the left; empty repeats nothing.
        value: with its interval; None where there is none.
        limit: what the lower bound has to lie above, None where nothing decides.
        mark: the class of its colour: met, not-met, not-evaluable or shown.
        words: what stands on the right.
        title: what a pointer that rests on it is told.
    """

    name: str
    value: Bounds | None
    limit: float | None
    mark: str
    words: str
    title: str


def forest_plot(rows: Sequence[Row], title: str, axis: str) -> Markup:
    """Differences with their intervals, each beside its own margin.

    Args:
        rows: from the top.
        title: what the drawing is called.
        axis: what is drawn along the axis.
    """
    bounds = [row.value for row in rows if row.value is not None]
    ends = [float(end) for one in bounds for end in (one.low, one.high)]
    ends += [row.limit * 1.15 for row in rows if row.limit is not None] + [0.0, 0.01]
    low, high = min(ends), max(ends)
    height = _ROW * len(rows) + 56
    span = WIDTH - _NAMES - _WORDS

    def x(value: float) -> float:
        return _NAMES + span * (value - low) / (high - low)

    drawn: list[Markup] = [
        tag("line", class_="grid", x1=px(x(one)), x2=px(x(one)), y1="4", y2=px(height - 46))
        for one in _ticks(low, high)
    ]
    drawn.append(tag("line", class_="axis", x1=px(x(0)), x2=px(x(0)), y1="4", y2=px(height - 46)))
    for place, row in enumerate(rows):
        y = _ROW * place + 18.0
        drawn.append(words(8, y + 4, row.name, anchor="start"))
        if row.limit is not None:
            drawn.append(_upright(x(row.limit), y, "margin"))
        if row.value is not None:
            drawn.append(_whisker(x, row.value, y, row))
        mark = {"met": "good", "not-met": "bad"}.get(row.mark, "soft")
        drawn.append(words(WIDTH - 4, y + 4, row.words, anchor="end", class_=f"label {mark}"))
    drawn += [words(x(one), height - 30, f"{one:g}") for one in _ticks(low, high)]
    drawn.append(words(x((low + high) / 2), height - 10, axis, class_="label soft"))
    return svg(height, title, *drawn)


def _upright(x: float, y: float, class_: str) -> Markup:
    return tag("line", class_=class_, x1=px(x), x2=px(x), y1=px(y - 9), y2=px(y + 9))


def _whisker(x: Callable[[float], float], value: Bounds, y: float, row: Row) -> Markup:
    low, middle, high = (x(float(one)) for one in (value.low, value.estimate, value.high))
    return tag(
        "g",
        tag("title", row.title),
        tag("line", class_="range", x1=px(low), x2=px(high), y1=px(y), y2=px(y)),
        tag("circle", cx=px(middle), cy=px(y), r="4.5"),
        class_=row.mark,
    )


def _ticks(low: float, high: float) -> list[float]:
    step = next((one for one in _STEPS if (high - low) / one <= _MOST_TICKS), _STEPS[-1])
    first = int(low / step) - 1
    found = [round((first + place) * step, 6) for place in range(_MOST_TICKS + 4)]
    return [one for one in found if low <= one <= high]


@dataclass(frozen=True, slots=True)
class Panel:
    """A square part of a drawing with its own axes.

    Attributes:
        left: where it begins.
        side: how wide and high it is.
        x: first and last value along.
        y: first and last value upwards.
    """

    left: float
    side: float
    x: tuple[float, float]
    y: tuple[float, float]
    top: float = 8.0

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a point lies; what is outside lies at the border."""
        along = min(max((x - self.x[0]) / (self.x[1] - self.x[0]), 0.0), 1.0)
        up = min(max((y - self.y[0]) / (self.y[1] - self.y[0]), 0.0), 1.0)
        return self.left + self.side * along, self.top + self.side * (1.0 - up)

    def frame(self, across: str, upwards: str) -> list[Markup]:
        """The frame with its ticks and the words of its axes."""
        drawn = [
            tag(
                "rect", class_="frame", x=px(self.left), y=px(self.top),
                width=px(self.side), height=px(self.side),
            )
        ]  # fmt: skip
        for share in (0.0, 0.25, 0.5, 0.75, 1.0):
            x = self.x[0] + share * (self.x[1] - self.x[0])
            y = self.y[0] + share * (self.y[1] - self.y[0])
            left, low = self.place(self.x[0], y)[0], self.place(x, self.y[0])[1]
            drawn.append(words(self.place(x, 0)[0], low + 15, f"{x:g}", class_="small"))
            drawn.append(
                words(left - 5, self.place(0, y)[1] + 3, f"{y:g}", anchor="end", class_="small")
            )
        middle = self.left + self.side / 2
        drawn.append(words(middle, self.top + self.side + 32, across, class_="label soft"))
        turned = f"rotate(-90 {px(self.left - 36)} {px(self.top + self.side / 2)})"
        drawn.append(
            tag(
                "text", upwards, x=px(self.left - 36), y=px(self.top + self.side / 2),
                text_anchor="middle", class_="label soft", transform=turned,
            )
        )  # fmt: skip
        return drawn

    def path(self, points: Iterable[tuple[float, float]], class_: str) -> Markup:
        """A line through points, those outside left at the border."""
        places = [self.place(x, y) for x, y in points]
        steps = " L".join(f"{px(x)} {px(y)}" for x, y in places)
        return tag("path", d=f"M{steps}", class_=f"curve {class_}")


@dataclass(frozen=True, slots=True)
class Curve:
    """The ROC curve of an arm, and where it works.

    Attributes:
        name: of the arm.
        points: from (0, 0) to (1, 1).
        works_at: false-positive rate and sensitivity at its operating point; None if unknown.
        words: what stands in the legend.
    """

    name: str
    points: tuple[Point, ...]
    works_at: tuple[float, float] | None
    words: str


def roc_plot(curves: Sequence[Curve]) -> Markup:
    """The curves, whole and near their corner, where good methods differ."""
    corner = _corner(curves)
    panels = (
        Panel(60, _PANEL, (0.0, 1.0), (0.0, 1.0)),
        Panel(WIDTH - _PANEL - 10, _PANEL, (0.0, corner), (1.0 - corner, 1.0)),
    )
    drawn: list[Markup] = []
    for panel in panels:
        drawn += panel.frame("1 - specificity", "sensitivity")
        for curve in curves:
            drawn.append(panel.path(_within(curve.points, panel), curve.name))
        for curve in curves:
            if curve.works_at is not None:
                x, y = panel.place(*curve.works_at)
                told = tag("title", f"{curve.name} works here: {curve.words}")
                drawn.append(
                    tag("circle", told, class_=f"point {curve.name}", cx=px(x), cy=px(y), r="5")
                )
    drawn += _legend([(one.name, one.words) for one in curves], _PANEL + 62)
    height = _PANEL + 62 + 18 * len(curves)
    return svg(height, "ROC curves of the three arms, whole and near the corner", *drawn)


def _within(curve: Sequence[Point], panel: Panel) -> list[tuple[float, float]]:
    """The part of a rising curve that a panel shows, with one point beyond either border."""
    points = [(float(one.x), float(one.y)) for one in curve]
    first = max((n for n, one in enumerate(points) if one[1] < panel.y[0]), default=0)
    last = next((n for n, one in enumerate(points) if one[0] > panel.x[1]), len(points) - 1)
    return points[first : max(last, first) + 1]


def _corner(curves: Sequence[Curve]) -> float:
    """How far the second panel reaches: as far as the operating points lie, and a bit."""
    away = [
        max(one.works_at[0], 1.0 - one.works_at[1]) for one in curves if one.works_at is not None
    ]
    return next((size for size in (0.1, 0.2, 0.4) if max(away, default=0.15) * 1.2 <= size), 1.0)


def _legend(names: Sequence[tuple[str, str]], top: float) -> list[Markup]:
    drawn = []
    for place, (name, said) in enumerate(names):
        y = top + 18 * place
        drawn.append(
            tag(
                "line", class_=f"range {name}", x1="60", x2="96", y1=px(y - 4), y2=px(y - 4),
            )
        )  # fmt: skip
        drawn.append(words(104, y, f"{name}: {said}", anchor="start"))
    return drawn


def reliability_plot(arms: Sequence[tuple[str, ArmAnalysis]]) -> Markup:
    """What was predicted beside what came true, a panel for each arm."""
    side = 170.0
    drawn: list[Markup] = []
    for place, (name, arm) in enumerate(arms):
        panel = Panel(56 + place * (side + 62), side, (0.0, 1.0), (0.0, 1.0), top=26.0)
        drawn += panel.frame("predicted", "observed" if place == 0 else "")
        drawn.append(words(panel.left + side / 2, 16, name, class_="strong"))
        drawn.append(panel.path([(0.0, 0.0), (1.0, 1.0)], "none"))
        if arm.calibration is None:
            drawn.append(words(panel.left + side / 2, 26 + side / 2, "no probabilities"))
            continue
        rows = arm.calibration.table
        for row in rows:
            x, low = panel.place(float(row.predicted), float(row.observed.low))
            _, high = panel.place(float(row.predicted), float(row.observed.high))
            _, middle = panel.place(float(row.predicted), float(row.observed.estimate))
            told = f"{row.cases} cases: predicted {row.predicted}, observed {row.observed.estimate}"
            drawn.append(tag("line", class_="whisker", x1=px(x), x2=px(x), y1=px(low), y2=px(high)))
            drawn.append(
                tag("circle", tag("title", told), class_="dot", cx=px(x), cy=px(middle), r="3.5")
            )
    return svg(side + 74, "Predicted probabilities beside the shares that came true", *drawn)


@dataclass(frozen=True, slots=True)
class Range:
    """One value of an arm with its interval, on an axis that begins at nothing."""

    name: str
    low: float
    value: float
    high: float
    words: str


def range_plot(rows: Sequence[Range], title: str, axis: str) -> Markup:
    """Values that cannot be below nothing, with their intervals."""
    most = max([row.high for row in rows] + [row.value for row in rows]) * 1.05 or 1.0
    height = _ROW * len(rows) + 54
    left, span = 150, WIDTH - 150 - 200

    def x(value: float) -> float:
        return left + span * value / most

    drawn: list[Markup] = [
        tag("line", class_="grid", x1=px(x(one)), x2=px(x(one)), y1="4", y2=px(height - 46))
        for one in _ticks(0.0, most)
    ]
    for place, row in enumerate(rows):
        y = _ROW * place + 18.0
        drawn.append(words(8, y + 4, row.name, anchor="start"))
        drawn.append(
            tag("line", class_="whisker", x1=px(x(row.low)), x2=px(x(row.high)), y1=px(y), y2=px(y))
        )
        told = tag("title", row.words)
        drawn.append(tag("circle", told, class_="dot", cx=px(x(row.value)), cy=px(y), r="4.5"))
        drawn.append(words(WIDTH - 4, y + 4, row.words, anchor="end", class_="label soft"))
    drawn += [words(x(one), height - 30, f"{one:g}") for one in _ticks(0.0, most)]
    drawn.append(words(left + span / 2, height - 10, axis, class_="label soft"))
    return svg(height, title, *drawn)
