"""Performs the story on a stage and writes its page; what is started is ended, come what may."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from primum_device_sim.demo import report
from primum_device_sim.demo.stage import Stage, set_stage
from primum_device_sim.demo.story import PASSPHRASE, Story

REPORT_FILE = "report.html"


@dataclass(frozen=True)
class Performance:
    """What came of it.

    Attributes:
        table: for each scene what was promised, what was seen, and how long it took.
        seconds: how long the story took.
        report: the page.
    """

    table: list[dict[str, str]]
    seconds: float
    report: Path

    def to_json(self) -> str:
        """The closing table as one JSON object."""
        content = {"scenes": self.table, "seconds": round(self.seconds, 1)}
        return json.dumps({**content, "report": str(self.report)})


def perform(folder: Path, console: Console) -> Performance:
    """Tell the story below ``folder``; the page is written also when it does not end well.

    Raises:
        FailedError: there is no broker, or something did not end as promised.
    """
    page = folder / REPORT_FILE
    with set_stage(folder, console, environment={"PRIMUM_PASSPHRASE": PASSPHRASE}) as stage:
        story = Story(stage)
        table: list[dict[str, str]] = []
        try:
            table = story.tell()
        finally:
            report.write_report(_told(stage, table), page)
        return Performance(table=table, seconds=stage.seconds, report=page)


def _told(stage: Stage, table: list[dict[str, str]]) -> report.Story:
    subscriber = stage.subscriber
    return report.Story(
        scenes=stage.scenes,
        events={device: subscriber.events(device) for device in subscriber.devices()},
        messages=subscriber.messages(),
        verdicts=stage.verdicts,
        table=table,
        seconds=stage.seconds,
    )
