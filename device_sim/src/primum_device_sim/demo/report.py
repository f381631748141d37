"""The demo's page: a timeline for each device, every verdict rule by rule, every event received.

One file, no script, nothing fetched from anywhere: it can be mailed and read in ten years.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from primum_device_sim.demo.stage import Scene
from primum_device_sim.demo.subscriber import Message
from primum_verifier.shell.durable import write_file

WIDTH = 1000
LANE = 66
_LEFT, _RIGHT, _TOP = 120, 130, 40
_LABEL_ROWS = 2
_LABEL_HEIGHT = 13

_TONES = {
    "committed": "good",
    "passed": "good",
    "rolled-back": "warn",
    "staged": "warn",
    "waiting": "warn",
    "refused": "bad",
    "failed": "bad",
    "lost": "bad",
    "entered": "bad",
    "interrupted": "warn",
    "rolling-back": "warn",
}


@dataclass(frozen=True)
class Mark:
    """One event on the timeline."""

    x: float
    tone: str
    title: str


@dataclass(frozen=True)
class Span:
    """A time during which one release, or the safe mode, was what the application got."""

    x: float
    width: float
    label: str
    tone: str
    raised: float


@dataclass(frozen=True)
class Lane:
    """One device's line on the timeline."""

    device: str
    y: float
    marks: tuple[Mark, ...]
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Story:
    """Everything that the page shows.

    Attributes:
        scenes: the steps in order.
        events: for each device its events, in order.
        messages: every message the subscriber received, in the order of arrival.
        verdicts: verdicts as JSON, with the device and the moment they were asked for.
        table: the closing table: step, what was promised, what was seen, seconds.
        seconds: how long the story took.
    """

    scenes: list[Scene]
    events: dict[str, list[dict[str, Any]]]
    messages: list[Message]
    verdicts: list[dict[str, Any]]
    table: list[dict[str, str]]
    seconds: float


def tone_of(event_type: str) -> str:
    """Whether an event is good news, bad news, or neither."""
    return _TONES.get(event_type.rpartition(".")[2], "plain")


def _moment(event: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(str(event["time"]))


def lanes_of(events: dict[str, list[dict[str, Any]]]) -> tuple[Lane, ...]:
    """Lay the devices' events out over one common time axis."""
    moments = [_moment(event) for own in events.values() for event in own]
    if not moments:
        return ()
    begin = min(moments)
    length = max((max(moments) - begin).total_seconds(), 1.0)
    scale = (WIDTH - _LEFT - _RIGHT) / length

    def x_of(event: dict[str, Any]) -> float:
        return round(_LEFT + (_moment(event) - begin).total_seconds() * scale, 1)

    lanes = []
    for row, (device, own) in enumerate(sorted(events.items())):
        marks = tuple(
            Mark(
                x=x_of(event),
                tone=tone_of(event["type"]),
                title=" ".join(
                    filter(
                        None,
                        [
                            event["time"],
                            event["type"].removeprefix("primum.device."),
                            event.get("subject", ""),
                            *event["data"].get("reasons", ()),
                        ],
                    )
                ),
            )
            for event in own
        )
        lanes.append(Lane(device=device, y=_TOP + row * LANE, marks=marks, spans=_spans(own, x_of)))
    return tuple(lanes)


def _spans(own: list[dict[str, Any]], x_of: Any) -> tuple[Span, ...]:  # noqa: ANN401 - a function
    """What served the application from when to when, read off the events alone."""
    turns: list[tuple[float, str, str]] = []
    for event in own:
        kind = event["type"].removeprefix("primum.device.")
        if kind in {"update.activated", "update.rolled-back"}:
            turns.append((x_of(event), str(event.get("subject", "")).split(" ")[-1], "good"))
        elif kind == "safe-mode.entered":
            turns.append((x_of(event), "safe mode", "bad"))
    ends = [*(turn[0] for turn in turns[1:]), float(WIDTH - _RIGHT / 2)][: len(turns)]
    return tuple(
        Span(
            x=x,
            width=max(end - x - 1.0, 1.0),
            label=label,
            tone=tone,
            # Labels of short spans stand on rows of their own, or they would cover one another.
            raised=place % _LABEL_ROWS * _LABEL_HEIGHT,
        )
        for place, ((x, label, tone), end) in enumerate(zip(turns, ends, strict=True))
    )


def write_report(story: Story, path: Path) -> None:
    """Write the page.

    Raises:
        FailedError: it cannot be written.
    """
    environment = Environment(
        loader=PackageLoader("primum_device_sim.demo", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["tone"] = tone_of
    lanes = lanes_of(story.events)
    page = environment.get_template("report.html").render(
        story=story,
        lanes=lanes,
        width=WIDTH,
        height=_TOP + len(lanes) * LANE + 10,
        left=_LEFT,
    )
    write_file(path, page.encode())
