"""A time line as inline SVG: what was so from when until when, how sure that is, what anchors it.

Each bar has its row, so that two that may overlap are both seen.  Solid is what is certain, pale
what is possible; below the bars stand the anchors, each with the time in which it lies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from primum_verifier.shell.drawing import WIDTH, px, short, svg, words
from primum_verifier.shell.markup import Markup, tag

_GUTTER = 190
_RIGHT = WIDTH - 16
_ROW = 30
_TALL = 14
_TOP = 26
_LEAST_WIDE = 3.0
_MARGIN = 0.12
_MOST_TICKS = 6
_NEAR = 40.0
_MOST_NUMBERS = 4
_LEAST_SECONDS = 60.0
_SECOND, _MINUTE, _HOUR, _DAY = 1, 60, 3600, 86_400
_STEPS = (
    *(_SECOND, 5 * _SECOND, 10 * _SECOND, 30 * _SECOND),
    *(_MINUTE, 5 * _MINUTE, 10 * _MINUTE, 30 * _MINUTE),
    *(_HOUR, 2 * _HOUR, 6 * _HOUR, 12 * _HOUR),
    *(_DAY, 2 * _DAY, 7 * _DAY, 14 * _DAY, 30 * _DAY, 90 * _DAY, 365 * _DAY, 3650 * _DAY),
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC, microsecond=0)


class Kind(StrEnum):
    """How a bar is drawn; the word beside it says the same."""

    ASKED = "asked"
    """The instant may lie in it."""

    BESIDE = "beside"
    """Before or after that."""

    UNKNOWN = "unknown"
    """Nothing is known of it."""


@dataclass(frozen=True, slots=True)
class Span:
    """When something lies; None where nothing bounds it on that side."""

    earliest: datetime | None
    latest: datetime | None


@dataclass(frozen=True, slots=True)
class Bar:
    """One thing that was so from its beginning to its end.

    Attributes:
        name: what stands beside it.
        title: what a pointer that rests on it is told.
        begins: when it began.
        ends: when it ended.
        kind: how it is drawn.
    """

    name: str
    title: str
    begins: Span
    ends: Span
    kind: Kind


@dataclass(frozen=True, slots=True)
class Anchor:
    """One thing that a moment rests on.

    Attributes:
        number: the event that it is, or covers.
        title: what a pointer that rests on it is told.
        shown: the moment that a clock showed.
        span: when it was, as far as that is certain; None where the clock alone is told.
    """

    number: int
    title: str
    shown: datetime | None
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class _Axis:
    """Seconds since 1970 onto the width of the drawing."""

    begin: float
    end: float

    def x(self, moment: datetime | None, *, otherwise: float) -> float:
        """Where a moment lies, held inside the drawing."""
        if moment is None:
            return otherwise
        share = (_seconds(moment) - self.begin) / (self.end - self.begin)
        return min(max(_GUTTER + (_RIGHT - _GUTTER) * share, _GUTTER), _RIGHT)

    def holds(self, moment: datetime | None) -> bool:
        """Whether a moment can be seen."""
        return moment is not None and self.begin <= _seconds(moment) <= self.end


def time_line(
    bars: Sequence[Bar],
    lanes: Sequence[tuple[str, Sequence[Anchor]]],
    *,
    asked: datetime,
    over: tuple[datetime, datetime],
) -> Markup:
    """The drawing.

    Args:
        bars: what was so, in order.
        lanes: the names of the kinds of anchors, each with its anchors.
        asked: the instant that is asked about.
        over: from when until when; a little more is drawn on both sides.
    """
    axis = _axis(*over)
    bars = [bar for bar in bars if _is_seen(Span(bar.begins.earliest, bar.ends.latest), axis)]
    below = _TOP + _ROW * len(bars)
    base = below + _ROW * len(lanes) + 4
    drawn: list[Markup] = [*_ticks(axis, base)]
    for place, bar in enumerate(bars):
        drawn += _bar(bar, axis, _TOP + _ROW * place + _ROW / 2)
    drawn += _asked(asked, axis, base)
    for place, (name, anchors) in enumerate(lanes):
        drawn += _lane(name, anchors, axis, below + _ROW * place + _ROW / 2)
    return svg(base + 38, "What served, over time, and what that rests on", *drawn)


def _axis(first: datetime, last: datetime) -> _Axis:
    begin, end = _seconds(first), _seconds(last)
    wide = max(end - begin, _LEAST_SECONDS)
    middle, half = (begin + end) / 2, (0.5 + _MARGIN) * wide
    return _Axis(max(middle - half, _seconds(_FIRST)), min(middle + half, _seconds(_LAST)))


def _asked(asked: datetime, axis: _Axis, base: float) -> Iterator[Markup]:
    """The instant, with its words on the side where there is room."""
    x = axis.x(asked, otherwise=_GUTTER)
    yield tag("line", class_="limit", x1=px(x), x2=px(x), y1=px(_TOP - 8), y2=px(base))
    anchor = "end" if x > (_GUTTER + _RIGHT) / 2 else "start"
    told = f"asked: {asked.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"
    yield words(x, _TOP - 12, told, anchor=anchor, class_="strong")


def _ticks(axis: _Axis, base: float) -> Iterator[Markup]:
    """Upright lines at whole hours, days and so on, with the date where it is another one."""
    wide = axis.end - axis.begin
    step = next((one for one in _STEPS if wide / one <= _MOST_TICKS), int(wide / _MOST_TICKS))
    yield tag("line", class_="axis", x1=px(_GUTTER), x2=px(_RIGHT), y1=px(base), y2=px(base))
    date = ""
    for number in range(int(axis.begin // step) + 1, int(axis.end // step) + 1):
        moment = _EPOCH + timedelta(seconds=number * step)
        x = axis.x(moment, otherwise=_GUTTER)
        yield tag("line", class_="grid", x1=px(x), x2=px(x), y1=px(_TOP - 4), y2=px(base))
        if step < _DAY:
            clock = f"{moment:%H:%M}" if step >= _MINUTE else f"{moment:%H:%M:%S}"
            yield words(x, base + 15, clock, class_="small")
        if (today := f"{moment:%Y-%m-%d}") != date:
            date = today
            yield words(x, base + (29 if step < _DAY else 15), today, class_="small")
    yield words(_GUTTER - 50, base + 15, "UTC", anchor="end", class_="small")


def _bar(bar: Bar, axis: _Axis, y: float) -> Iterator[Markup]:
    """Pale from the earliest beginning to the latest end, solid where it certainly was so."""
    yield words(_GUTTER - 10, y + 4, short(bar.name), anchor="end")
    open_begin, open_end = bar.begins.earliest is None, bar.ends.latest is None
    low = axis.x(bar.begins.earliest, otherwise=_GUTTER)
    high = axis.x(bar.ends.latest, otherwise=_RIGHT)
    yield _box(low, high, y, class_=f"span {bar.kind} maybe", title=bar.title)
    if bar.begins.latest is not None and bar.ends.earliest is not None:
        sure_low = axis.x(bar.begins.latest, otherwise=_RIGHT)
        sure_high = axis.x(bar.ends.earliest, otherwise=_GUTTER)
        if bar.begins.latest < bar.ends.earliest and sure_low < sure_high:
            yield _box(sure_low, sure_high, y, class_=f"span {bar.kind}", title=bar.title)
    if open_begin or low <= _GUTTER:
        yield words(_GUTTER + 3, y + 4, "\N{LEFTWARDS ARROW}", anchor="start", class_="over")
    if open_end or high >= _RIGHT:
        yield words(_RIGHT - 3, y + 4, "\N{RIGHTWARDS ARROW}", anchor="end", class_="over")


def _box(low: float, high: float, y: float, *, class_: str, title: str) -> Markup:
    wide = max(high - low, _LEAST_WIDE)
    return tag(
        "rect",
        tag("title", title),
        class_=class_,
        x=px(min(low, _RIGHT - wide)),
        y=px(y - _TALL / 2),
        width=px(wide),
        height=px(_TALL),
        rx="2",
    )


def _lane(name: str, anchors: Sequence[Anchor], axis: _Axis, y: float) -> Iterator[Markup]:
    """Dots where the clock showed them, whiskers where they certainly lie, numbers beside."""
    yield words(_GUTTER - 10, y + 4, short(name), anchor="end", class_="label soft")
    yield tag("line", class_="grid", x1=px(_GUTTER), x2=px(_RIGHT), y1=px(y), y2=px(y))
    labels: dict[float, list[str]] = {}
    for anchor in sorted(anchors, key=lambda one: one.number):
        where = axis.x(anchor.shown, otherwise=_GUTTER) if axis.holds(anchor.shown) else None
        if anchor.span is not None and _is_seen(anchor.span, axis):
            low = axis.x(anchor.span.earliest, otherwise=_GUTTER)
            high = max(axis.x(anchor.span.latest, otherwise=_RIGHT), low + _LEAST_WIDE)
            yield tag("line", class_="whisker", x1=px(low), x2=px(high), y1=px(y), y2=px(y))
            # A clock that was far out has its dot outside: the number stands over the stroke.
            labels.setdefault((low + high) / 2 if where is None else where, []).append(
                str(anchor.number)
            )
        elif where is not None:
            labels.setdefault(where, []).append(str(anchor.number))
        if where is not None:
            title = tag("title", anchor.title)
            yield tag("circle", title, class_="dot", cx=px(where), cy=px(y), r="4")
    yield from _labels(labels, y - 7)


def _labels(labels: dict[float, list[str]], y: float) -> Iterator[Markup]:
    """The numbers over what they name, those that would touch as one."""
    groups: list[tuple[float, list[str]]] = []
    for x in sorted(labels):
        if groups and x - groups[-1][0] < _NEAR:
            groups[-1][1].extend(labels[x])
        else:
            groups.append((x, list(labels[x])))
    for x, numbers in groups:
        known = list(dict.fromkeys(numbers))
        more = ", \N{HORIZONTAL ELLIPSIS}" if len(known) > _MOST_NUMBERS else ""
        yield words(x, y, ", ".join(known[:_MOST_NUMBERS]) + more, class_="small")


def _is_seen(span: Span, axis: _Axis) -> bool:
    begins = span.earliest is None or _seconds(span.earliest) <= axis.end
    return begins and (span.latest is None or _seconds(span.latest) >= axis.begin)


def _seconds(moment: datetime) -> float:
    return (moment - _EPOCH).total_seconds()
