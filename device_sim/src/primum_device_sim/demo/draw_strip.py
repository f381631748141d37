"""Draws the strip with every beat and its label, so that a person can check the labels.

Example: ``python -m primum_device_sim.demo.draw_strip --out docs/images`` writes five pages of a
minute each, six lines of ten seconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from primum_device_sim.demo.strip import (
    SAMPLING_RATE_HZ,
    BeatLabel,
    Certainty,
    LabelledBeat,
    load_strip,
    load_strip_labels,
)
from primum_verifier.core.errors import PrimumError

PAGES: Final = 5
LINES_PER_PAGE: Final = 6
SECONDS_PER_LINE: Final = 10
_COLOURS: Final = {
    BeatLabel.NORMAL: "#1b7837",
    BeatLabel.PVC: "#b2182b",
    BeatLabel.OTHER: "#762a83",
}


def draw_strip(folder: Path) -> tuple[Path, ...]:
    """Write the pages as PNG files into the folder, which is made if it is missing."""
    ecg_mv = load_strip()
    beats = load_strip_labels()
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for page in range(PAGES):
        figure = Figure(figsize=(17, 15), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(LINES_PER_PAGE, 1)
        for line in range(LINES_PER_PAGE):
            begin = (page * LINES_PER_PAGE + line) * SECONDS_PER_LINE
            _draw_line(axes[line], ecg_mv, beats, begin)
        path = folder / f"strip-208-{page + 1}.png"
        # No date and no version inside: the same drawing gives the same file.
        figure.savefig(path, dpi=60, metadata={"Software": None})
        paths.append(path)
    return tuple(paths)


def _draw_line(
    axes: Axes, ecg_mv: np.typing.NDArray[np.float32], beats: tuple[LabelledBeat, ...], begin: int
) -> None:
    first, last = begin * SAMPLING_RATE_HZ, (begin + SECONDS_PER_LINE) * SAMPLING_RATE_HZ
    axes.plot(np.arange(first, last) / SAMPLING_RATE_HZ, ecg_mv[first:last], "k", lw=0.8, aa=False)
    axes.set_xlim(begin, begin + SECONDS_PER_LINE)
    axes.set_ylim(-3.2, 4.0)
    axes.set_xticks(range(begin, begin + SECONDS_PER_LINE + 1))
    axes.set_ylabel("mV")
    for number, beat in enumerate(beats):
        if not first <= beat.sample < last:
            continue
        colour = _COLOURS[beat.label]
        doubt = "" if beat.certainty is Certainty.CERTAIN else "?"
        seconds = beat.sample / SAMPLING_RATE_HZ
        axes.plot(seconds, ecg_mv[beat.sample], ".", color=colour)
        axes.text(seconds, 2.8, f"{number}\n{beat.label}{doubt}", ha="center", color=colour)


def main(
    out: Annotated[Path, typer.Option(help="folder for the pages, for example docs/images")],
) -> None:
    """Draw the labelled strip, for example: --out docs/images."""
    try:
        for path in draw_strip(out):
            typer.echo(f"wrote {path}")
    except PrimumError as error:
        typer.echo(error.for_people(), err=True)
        raise typer.Exit(error.exit_code) from error


if __name__ == "__main__":
    typer.run(main)
