"""``primum-sim run``, ``list`` and ``describe``: scenarios on worlds of real agents."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from primum_verifier.core.errors import EXIT_REFUSED, FailedError
from primum_verifier.core.reasons import Reason

_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
_DAY = 86_400.0


def run(
    scenarios: Annotated[
        list[str], typer.Argument(help="Names from `primum-sim list`, or files; `all` for all.")
    ],
    seed: Annotated[str, typer.Option(help="Another seed than the scenario's own.")] = "",
    logs: Annotated[
        Path | None, typer.Option(help="A folder for the journal of every device.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="A JUnit file for CI.")] = None,
    *,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object a scenario.")] = False,
) -> None:
    r"""Play scenarios: real agents in played time, held to every promise after every turn.

    Ends with 1 where a promise did not hold or something was not as expected; the story of the
    device is printed then.  The same seed gives the same journals, byte for byte.

    Example:
      primum-sim run first-update
      primum-sim run all --junit scenarios.xml
      primum-sim run my-fleet.toml --seed 7 --logs logs
    """
    from primum_device_sim.outcome_text import as_dict, told  # noqa: PLC0415 - loads the agent
    from primum_device_sim.outcome_text import junit as as_junit  # noqa: PLC0415
    from primum_device_sim.playing import Outcome, play  # noqa: PLC0415
    from primum_device_sim.scenario import known_scenarios, load_scenario  # noqa: PLC0415

    names = known_scenarios() if scenarios == ["all"] else scenarios
    given = [(name, load_scenario(name)) for name in names]
    played: list[tuple[str, Outcome]] = []
    with _progress() as progress:
        for name, scenario in given:
            task = progress.add_task(name, total=1.0)

            def tell(done: float, whole: float, *, task: int = task) -> None:
                progress.update(task, completed=done / whole)  # type: ignore[arg-type]

            with _disks() as folder:
                outcome = play(scenario, folder, seed=seed, tell=tell)
            progress.remove_task(task)
            played.append((name, outcome))
            if json_:
                typer.echo(json.dumps(as_dict(name, outcome)))
            else:
                typer.echo("\n".join(told(outcome)))
            if logs is not None:
                _write_logs(logs / name, outcome.logs)
    if junit is not None:
        _write(junit, as_junit(played).encode())
    if not all(outcome.ok for _, outcome in played):
        raise typer.Exit(EXIT_REFUSED)


def list_(
    *,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """List the scenarios that come with the simulator.

    Example:
      primum-sim list
    """
    from primum_device_sim.scenario import known_scenarios, load_scenario  # noqa: PLC0415

    found = {name: load_scenario(name) for name in known_scenarios()}
    if json_:
        content = {
            name: {"title": item.title, "covers": list(item.covers), "devices": item.devices}
            for name, item in found.items()
        }
        typer.echo(json.dumps(content))
        return
    table = Table("scenario", "what happens", "devices", "dangers")
    for name, item in found.items():
        table.add_row(name, item.title, str(item.devices), " ".join(item.covers))
    Console(soft_wrap=True).print(table)


def describe(
    scenario: Annotated[str, typer.Argument(help="A name from `primum-sim list`, or a file.")],
) -> None:
    """Say what happens in a scenario, and what has to come of it.

    Example:
      primum-sim describe withdrawn-while-offline
    """
    from primum_device_sim.scenario import load_scenario, seconds_of  # noqa: PLC0415

    found = load_scenario(scenario)
    typer.echo(f"{found.title}\n\n{found.about.strip()}\n")
    for kind in found.fleet:
        typer.echo(f"{kind.devices} x {kind.name} ({kind.hardware}), polls every {kind.poll}")
    for event in sorted(found.events, key=lambda item: seconds_of(item.at)):
        days, rest = divmod(seconds_of(event.at), _DAY)
        when = f"day {days:.0f} {rest // 3600:02.0f}:{rest % 3600 // 60:02.0f}"
        members = event.model_dump(exclude_defaults=True, exclude={"at", "do"}, mode="json")
        more = " ".join(f"{name}={value}" for name, value in members.items())
        typer.echo(f"  {when}  {event.do} {more}".rstrip())
    expect = found.expect
    typer.echo(f"after {found.lasts}: {json.dumps(expect.model_dump(mode='json'))}")


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    # Nothing for a log: a bar is for a person who waits.
    return Progress(
        *columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()
    )


@contextlib.contextmanager
def _disks() -> Iterator[Path]:
    """An empty folder in memory where there is one: thousands of disks that nobody keeps."""
    with tempfile.TemporaryDirectory(prefix="primum-world-", dir=disks_in_memory()) as folder:
        yield Path(folder)


def disks_in_memory() -> Path | None:
    """A file system in memory, where there is one."""
    return _MEMORY if os.access(_MEMORY, os.W_OK) else None


def _write_logs(folder: Path, logs: dict[str, tuple[bytes, ...]]) -> None:
    for device, lines in logs.items():
        _write(folder / f"{device}.jsonl", b"".join(line + b"\n" for line in lines))


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise FailedError(
            "A result cannot be written.",
            reason=Reason.RESOURCE_STORAGE,
            where=str(path),
            found=error.strerror or str(error),
            remedy="Name a place that can be written.",
        ) from error
