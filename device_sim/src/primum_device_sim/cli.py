"""``primum-sim``: worlds of real agents under faults, and the demo with its data."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from primum_device_sim import scenario_commands
from primum_verifier.core.errors import EXIT_DONE, EXIT_USAGE, FailedError, PrimumError, UsageError
from primum_verifier.core.reasons import Reason
from primum_verifier.shell.broker_address import parse_broker

EXITS = "Exit codes: 0 done, 1 refused, 2 usage, 3 failed, 4 busy, 5 waiting."
_INTERRUPTED = 130
_MARKER = ".primum-demo"

app = typer.Typer(
    help="Pretend devices, faults and fleets for CI, and the demo.",
    epilog=EXITS,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data = typer.Typer(
    help="What the demo and the tests are fed with.",
    epilog=EXITS,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data, name="data")


@app.command(epilog=EXITS)
def demo(
    folder: Annotated[Path, typer.Option(help="Everything is below it, and is left there.")] = Path(
        ".demo"
    ),
    *,
    json_: Annotated[
        bool, typer.Option("--json", help="Print the closing table as one JSON object.")
    ] = False,
) -> None:
    """Tell the whole story on this machine: from two authorities to a withdrawal.

    The folder of an earlier run is replaced; another folder is never touched.

    Example:
      primum-sim demo
      primum-sim demo --folder /tmp/demo --json
    """
    from primum_device_sim.demo.performance import perform  # noqa: PLC0415 - costs a second

    console = Console(stderr=json_, soft_wrap=True)
    home = _fresh(folder.resolve())
    performance = perform(home, console)
    if json_:
        typer.echo(performance.to_json())
        return
    table = Table("step", "promised", "seen", "s", title="The first update, end to end")
    for row in performance.table:
        table.add_row(row["key"], row["promised"], row["seen"], row["seconds"])
    console.print(table)
    console.print(f"{performance.seconds:.0f} s. Look inside {home}, and at {performance.report}.")


def _fresh(folder: Path) -> Path:
    """An empty folder of our own; one that is somebody else's is refused."""
    if folder.exists() and not (folder / _MARKER).exists() and any(folder.iterdir()):
        raise UsageError(
            "This folder holds something else.",
            reason=Reason.USAGE,
            where=str(folder),
            expected="a new folder, or that of an earlier demo",
            remedy="Name another one with --folder.",
        )
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / _MARKER).touch()
    except OSError as error:
        raise FailedError(
            "The demo's folder cannot be made.",
            reason=Reason.RESOURCE_STORAGE,
            where=str(folder),
            found=error.strerror or str(error),
            remedy="Name a writable folder with --folder.",
        ) from error
    return folder


@data.command(epilog=EXITS)
def releases(
    folder: Annotated[Path, typer.Argument(help="Made if it is missing.")],
) -> None:
    """Write the demo's model versions as release folders, as data scientists hand them over.

    Example:
      primum-sim data releases model
    """
    from primum_device_sim.demo.release_folders import (  # noqa: PLC0415 - loads the runtime
        write_release_folders,
    )

    for home in write_release_folders(folder):
        typer.echo(f"{home}: model, fixtures, locked predictions, release.toml")


@data.command(epilog=EXITS)
def fetch(
    folder: Annotated[Path, typer.Argument(help="Name it in PRIMUM_DATA afterwards.")],
) -> None:
    """Fetch the full recordings from PhysioNet (needs internet; resumes where it was cut).

    Example:
      primum-sim data fetch ~/recordings
      PRIMUM_DATA=~/recordings make test
    """
    from primum_device_sim.demo.fetch_data import fetch as fetch_recordings  # noqa: PLC0415

    for path in fetch_recordings(folder, tell=typer.echo):
        typer.echo(str(path))


@app.command(epilog=EXITS)
def broker(
    port: Annotated[int, typer.Option(help="On the loopback address; 0 takes a free one.")] = 18830,
    folder: Annotated[Path, typer.Option(help="Its configuration and log.")] = Path("broker"),
) -> None:
    """Run an MQTT 5 broker of its own until Ctrl-C or SIGTERM; nothing of the system is used.

    Example:
      primum-sim broker --port 18830
    """
    from primum_device_sim.broker import find_broker, running_broker  # noqa: PLC0415

    _end_on_sigterm()
    with running_broker(find_broker(), folder, port=port) as handle:
        typer.echo(f"listening on {handle.host}:{handle.port}, log in {handle.log}")
        code = handle.process.wait()
        raise FailedError(
            "The broker ended, and nobody asked it to.",
            reason=Reason.BROKER_UNREACHABLE,
            where=f"{handle.host}:{handle.port}",
            found=f"exit code {code}",
            remedy=f"Look into {handle.log}, then start it again.",
        )


@app.command(epilog=EXITS)
def application(
    state: Annotated[Path, typer.Option(help="The agent's state folder.")],
    output: Annotated[Path, typer.Option(help="Where outputs go, one JSON object a line.")],
) -> None:
    """Run the demo's application: classify a recorded strip with whatever may be used now.

    Example:
      primum-sim application --state wearable-001/state --output outputs.jsonl
    """
    from primum_device_sim.demo.application import run_application  # noqa: PLC0415 - the runtime

    run_application(state=state, output=output)


@app.command(epilog=EXITS)
def listen(
    broker: Annotated[str, typer.Option(help="mqtt://HOST:PORT of a broker on this machine.")],
    output: Annotated[Path, typer.Option(help="Events and signed heads, a history file.")],
    device: Annotated[str, typer.Option(help="Whose.")],
) -> None:
    r"""Subscribe to a device's reports, show each event and keep all until Ctrl-C or SIGTERM.

    Example:
      primum-sim listen --broker mqtt://127.0.0.1:18830 --device wearable-001 \
        --output received.jsonl
      primum-verify history received.jsonl --device-key wearable-001/enrolment.json
    """
    from primum_device_sim.demo.subscriber import follow  # noqa: PLC0415 - loads the MQTT client

    address = parse_broker(broker, where="--broker")
    if address.tls:
        raise UsageError(
            "Only a broker on this machine is listened to.",
            reason=Reason.USAGE,
            where="--broker",
            found=broker,
            expected="mqtt://127.0.0.1:PORT",
        )
    _end_on_sigterm()
    for line in follow(host=address.host, port=address.port, device=device, output=output):
        typer.echo(line)


app.command(epilog=EXITS)(scenario_commands.run)
app.command(name="list", epilog=EXITS)(scenario_commands.list_)
app.command(epilog=EXITS)(scenario_commands.describe)


def _end_on_sigterm() -> None:
    """End on SIGTERM as on Ctrl-C: through every clean-up."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; errors are told, never raised."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(given, standalone_mode=False)
    except PrimumError as error:
        typer.echo(error.for_people(), err=True)
        return error.exit_code
    except typer.TyperException as error:
        text = " ".join(str(error).split())
        typer.echo(f"{Reason.USAGE}: {text}\n  remedy:   See --help.", err=True)
        return EXIT_USAGE
    except typer.Exit as ended:
        return ended.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    if code == _INTERRUPTED:
        # Typer answers this, instead of raising, when Ctrl-C was pressed.
        typer.echo("interrupted: everything that was started is ended", err=True)
    return code if isinstance(code, int) else EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
