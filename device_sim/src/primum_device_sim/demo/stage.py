"""The stage of the demo: real folders, servers, broker and processes, and a record of it all.

Every command that the story types is printed before it runs, then what happened; everything is
kept for the report. Whatever was started is ended when the stage is left, also by Ctrl-C.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.markup import escape

from primum_device_sim.broker import BrokerHandle, find_broker, running_broker
from primum_device_sim.demo.subscriber import Subscriber
from primum_device_sim.lifeline import ended_with_this_process
from primum_verifier.core.errors import FailedError
from primum_verifier.core.reasons import Reason

_T = TypeVar("_T")

COMMAND_SECONDS = 60.0
EVENT_SECONDS = 40.0
_END_SECONDS = 12.0
_SHOWN_LINES = 12
_TICK_SECONDS = 0.05


@dataclass(frozen=True)
class Done:
    """A command that has run.

    Attributes:
        code: its exit code.
        output: what it printed, standard output before errors.
        out: its standard output alone.
    """

    code: int
    output: str
    out: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever the command printed
        """Its standard output as JSON."""
        return json.loads(self.out)


@dataclass
class Scene:
    """One step of the story, as the report shows it."""

    key: str
    title: str
    steps: list[dict[str, object]] = field(default_factory=list)
    outcome: str = ""
    seconds: float = 0.0


class Stage:
    """Folders, ports, servers and processes of one run of the demo.

    Args:
        folder: everything is below it, and is left there for a reader.
        console: where the story is told.
        broker: the running broker.
        subscriber: what a real subscriber of the devices' topics has received.
        environment: variables that every command of the story is given.
    """

    def __init__(
        self,
        *,
        folder: Path,
        console: Console,
        broker: BrokerHandle,
        subscriber: Subscriber,
        environment: Mapping[str, str],
    ) -> None:
        self.folder = folder
        self.console = console
        self.broker = broker
        self.subscriber = subscriber
        self.scenes: list[Scene] = []
        self.verdicts: list[dict[str, Any]] = []
        self._began = time.monotonic()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = {**_plain_environment(), **environment}

    # --- telling ---------------------------------------------------------------------------

    @contextlib.contextmanager
    def scene(self, key: str, title: str) -> Iterator[Scene]:
        """One step of the story; its outcome is set by whoever plays it."""
        scene = Scene(key=key, title=title)
        self.scenes.append(scene)
        began = time.monotonic()
        self.console.rule(f"[bold]{key}. {title}", align="left")
        yield scene
        scene.seconds = time.monotonic() - began
        self.console.print(f"[green]   => {escape(scene.outcome)}[/green]\n")

    def say(self, text: str) -> None:
        """A sentence of the story."""
        self.console.print(f"   {escape(text)}")
        if self.scenes:
            self.scenes[-1].steps.append({"say": text})

    # --- commands --------------------------------------------------------------------------

    def run(
        self,
        *words: str | Path,
        expect: int = 0,
        quiet: bool = False,
        again_on: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Done:
        """Type a command in the demo's folder, show it and what it says.

        Args:
            words: the command; paths below the demo's folder are shown as they are typed there.
            expect: the exit code that the story needs.
            quiet: keep the output for the report only.
            again_on: an exit code on which it is typed again, such as "busy".
            environment: variables set for this command alone.

        Raises:
            FailedError: it ended with another code.
        """
        typed = tuple(self._relative(word) for word in words)
        shown = shlex.join(typed)
        if environment:
            shown = f"{_assigned(environment)} {shown}"
        self.console.print(f"   [bold cyan]$[/bold cyan] [cyan]{escape(shown)}[/cyan]")
        began = time.monotonic()
        done = self._execute(typed, environment)
        while done.returncode == again_on and time.monotonic() - began < EVENT_SECONDS:
            done = self._execute(typed, environment)
        result = Done(
            code=done.returncode,
            output=(done.stdout + done.stderr).rstrip(),
            out=done.stdout,
        )
        if not quiet:
            self._show(result)
        self.scenes[-1].steps.append(
            {"command": shown, "code": result.code, "output": result.output[-20_000:]}
        )
        if result.code != expect:
            if quiet:
                self._show(result)
            raise FailedError(
                "A command of the story ended otherwise than the story needs.",
                reason=Reason.INTERNAL,
                where=shown,
                found=f"exit code {result.code}",
                expected=f"exit code {expect}",
                remedy=f"Look into {self.folder}; everything is left as it was.",
            )
        return result

    def _execute(
        self, typed: tuple[str, ...], environment: Mapping[str, str] | None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [_executable(typed[0]), *typed[1:]],
            cwd=self.folder,
            env={**self._environment, **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=COMMAND_SECONDS,
        )

    def _show(self, done: Done) -> None:
        lines = done.output.splitlines()
        for line in lines[:_SHOWN_LINES]:
            self.console.print(f"     [dim]{escape(line)}[/dim]", highlight=False)
        if len(lines) > _SHOWN_LINES:
            more = len(lines) - _SHOWN_LINES
            self.console.print(f"     [dim]... {more} more lines, in the report[/dim]")
        if done.code:
            self.console.print(f"     [yellow]exit code {done.code}[/yellow]")

    def _relative(self, word: str | Path) -> str:
        if isinstance(word, Path) and word.is_relative_to(self.folder):
            return str(word.relative_to(self.folder))
        return str(word)

    # --- processes -------------------------------------------------------------------------

    def start(
        self, name: str, *words: str | Path, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a process that goes on beside the story; its output goes to ``logs/NAME.log``."""
        typed = tuple(self._relative(word) for word in words)
        shown = shlex.join(typed)
        if environment:
            shown = f"{_assigned(environment)} {shown}"
        self.console.print(f"   [bold cyan]$[/bold cyan] [cyan]{escape(shown)} &[/cyan]")
        self.scenes[-1].steps.append({"command": f"{shown} &", "code": None, "output": ""})
        log = self.folder / "logs" / f"{name}.log"
        log.parent.mkdir(exist_ok=True)
        with log.open("ab") as file:
            process = subprocess.Popen(
                [_executable(typed[0]), *typed[1:]],
                cwd=self.folder,
                env={**self._environment, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=ended_with_this_process(),  # noqa: PLW1509 - one prctl, no lock
            )
        self._processes[name] = process
        return process

    def stop(self, name: str) -> None:
        """End a process as systemd would: SIGTERM, and SIGKILL to what is left of its group."""
        process = self._processes.pop(name, None)
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_END_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(_END_SECONDS)

    def kill(self, name: str) -> None:
        """``kill -9`` to a process and everything it started, at once."""
        process = self._processes.pop(name)
        self.say(f"kill -9 {name} and everything it started (process group {process.pid})")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(_END_SECONDS)

    def has_ended(self, name: str) -> bool:
        """Whether a process that was started has ended by itself, or was killed."""
        return self._processes[name].poll() is not None

    def stop_all(self) -> None:
        """End everything, the newest first."""
        for name in reversed(list(self._processes)):
            self.stop(name)

    def log_of(self, name: str) -> str:
        """The last lines that a process wrote."""
        path = self.folder / "logs" / f"{name}.log"
        return path.read_text(errors="replace")[-2000:] if path.exists() else ""

    # --- waiting ---------------------------------------------------------------------------

    def wait_for_event(
        self,
        device: str,
        kind: str,
        *,
        subject: str | None = None,
        reason: str | None = None,
        seconds: float = EVENT_SECONDS,
    ) -> dict[str, Any]:
        """Wait until the subscriber has received an event that was not waited for before.

        Args:
            device: whose.
            kind: the end of its CloudEvents type, for example ``update.committed``.
            subject: component and version it must be about.
            reason: a reason code it must name.
            seconds: how long to wait.

        Raises:
            FailedError: it did not come.
        """
        last = self.subscriber.seen(device)

        def fits(event: dict[str, Any]) -> bool:
            data = event.get("data", {})
            return (
                int(event["sequence"]) > last
                and event["type"].endswith(f".{kind}")
                and subject in {None, event.get("subject")}
                and (reason is None or reason in data.get("reasons", ()))
            )

        found = self.until(
            lambda: next((item for item in self.subscriber.events(device) if fits(item)), None),
            what=f"{device} to report {kind} {subject or ''} {reason or ''}".rstrip(),
            seconds=seconds,
        )
        self.subscriber.mark_seen(device, int(found["sequence"]))
        told = found["data"]
        words = [f"{device}: {kind}", found.get("subject", ""), *told.get("reasons", ())]
        self.console.print(f"     [magenta]mqtt[/magenta] {escape('  '.join(filter(None, words)))}")
        self.scenes[-1].steps.append({"event": found})
        return found

    def until(
        self, ask: Callable[[], _T | None], *, what: str, seconds: float = EVENT_SECONDS
    ) -> _T:
        """Ask again until there is an answer.

        Raises:
            FailedError: there was none in time.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            answer = ask()
            if answer is not None:
                return answer
            time.sleep(_TICK_SECONDS)
        logs = "\n".join(f"[{name}]\n{self.log_of(name)}" for name in self._processes)
        raise FailedError(
            "What the story waits for did not come.",
            reason=Reason.INTERNAL,
            where=what,
            found=logs[-3000:],
            expected=f"within {seconds:.0f} s",
            remedy=f"Look into {self.folder}; everything is left as it was.",
        )

    @property
    def seconds(self) -> float:
        """How long the story has taken."""
        return time.monotonic() - self._began


def _assigned(environment: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in environment.items())


def _executable(name: str) -> str:
    """The command of this installation, so that the demo runs what belongs to it."""
    if name == "python":
        return sys.executable
    beside = Path(sysconfig.get_path("scripts")) / name
    return str(beside) if beside.exists() else name


def _plain_environment() -> dict[str, str]:
    """The environment of every process: the user's, without what would change what is shown."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PRIMUM_")}
    return {**kept, "NO_COLOR": "1", "COLUMNS": "100", "PYTHONUNBUFFERED": "1"}


def free_port() -> int:
    """A port on loopback that is free now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextlib.contextmanager
def set_stage(folder: Path, console: Console, *, environment: Mapping[str, str]) -> Iterator[Stage]:
    """Start broker and subscriber and open the stage; end everything on the way out.

    Raises:
        FailedError: ``broker.unreachable`` when there is no broker to start.
    """
    executable = find_broker()
    home = folder / "broker"
    home.mkdir(parents=True)
    with running_broker(executable, home) as broker:
        subscriber = Subscriber(host=broker.host, port=broker.port, topic="primum/#")
        stage = Stage(
            folder=folder,
            console=console,
            broker=broker,
            subscriber=subscriber,
            environment=environment,
        )
        try:
            with subscriber.listening():
                yield stage
        finally:
            stage.stop_all()
