"""What is cut: seven acts of a device, each from a state that the real agent itself came to.

A world is built once; every point begins from a copy of its state.  The device's next good input,
a release that comes after all this, lies ready beside the input that is cut.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.campaigns import crash_sets
from tests.campaigns.crash_tracer import Plan, Traced
from tests.unit.agent.field import AGENT, Field

from primum_agent.application import ActiveRelease, StandingError, open_active
from primum_agent.clock import FakeClock
from primum_agent.journal import Journal
from primum_agent.layout import Layout
from primum_agent.transitions import OPENED
from primum_device_sim.authorities.documents import DEVICE
from primum_verifier.core.envelope import PublicKey
from primum_verifier.core.errors import PrimumError

NEXT = "9.0.0"
"""The good input after whatever happened."""

CHECKOUT = Path(__file__).resolve().parents[2]
RUN_SECONDS = 90.0
_LOOK_SECONDS = 0.03


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One act of a device that may be cut.

    Attributes:
        name: its name on the command line.
        build: brings a new device to where the act begins, and lays its input ready.
        may_run: the versions that may be active at any instant of it.
        may_be_safe: whether it may be in safe mode meanwhile.
        ends_with: the version that is active once it is over; None is safe mode.
        proves: whether the application proves health meanwhile, or only opens what is active.
        is_set: whether its releases bring components beside the model.
    """

    name: str
    build: Callable[[Subject, Field], None]
    may_run: frozenset[str]
    may_be_safe: bool = False
    ends_with: str | None
    proves: bool = True
    is_set: bool = False

    def release(self, field: Field, version: str, *, counter: int, **given: Any) -> None:
        """Publish a release of the kind that this act is about."""
        if self.is_set:
            crash_sets.release_set(field, version, counter=counter, **given)
        else:
            field.release(version, counter=counter, **given)


class Application:
    """What runs on the device beside the agent, with the real library: opens, and proves health.

    Args:
        state: the state folder.
        proves: whether it proves health or only says that it opened what is active.
    """

    def __init__(self, state: Path, *, proves: bool) -> None:
        self._state = state
        self._proves = proves
        self._stop = threading.Event()
        self._told = ""

    @contextmanager
    def running(self) -> Iterator[None]:
        """It runs for as long as the block does."""
        thread = threading.Thread(target=self._work, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _work(self) -> None:
        while not self._stop.wait(_LOOK_SECONDS):
            found = opened(self._state)
            if found is None or found.version == self._told:
                continue
            # Whatever the agent meets just now, the application asks again.
            with suppress(OSError, StandingError, ValueError):
                tell = found.prove_health if self._proves else found.tell_activated
                if tell():
                    self._told = found.version


def opened(state: Path) -> ActiveRelease | None:
    """What an application would open now; None is safe mode, or nothing that can be used."""
    try:
        found = open_active(state)
    except (StandingError, OSError, ValueError):
        return None
    return found if isinstance(found, ActiveRelease) else None


def _committed(subject: Subject, field: Field, *versions: str) -> None:
    for version in versions:
        subject.release(field, version, counter=int(version.split(".")[1]) + 1)
        with Application(field.state, proves=True).running():
            done = field.once()
        assert done.returncode == 0, done.stdout + done.stderr


def _update(subject: Subject, field: Field) -> None:
    _committed(subject, field, "1.0.0")
    subject.release(field, "1.1.0", counter=2)


def _rollback(subject: Subject, field: Field) -> None:
    """Provisional, opened by an application that will not prove health in its second."""
    _committed(subject, field, "1.0.0")
    subject.release(field, "1.1.0", counter=2, health_window=1, max_attempts=1)
    with (
        field.running() as process,
        Application(field.state, proves=False).running(),
    ):
        deadline = time.monotonic() + RUN_SECONDS
        while _counter(field) != "2" and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS / 10)
        process.kill()
        process.wait()


def _counter(field: Field) -> str:
    try:
        return field.counter(OPENED)
    except PrimumError:
        return ""


def _withdrawal(subject: Subject, field: Field) -> None:
    _committed(subject, field, "1.0.0", "1.1.0")
    field.withdraw("1.1.0")


def _safe_mode(subject: Subject, field: Field) -> None:
    _committed(subject, field, "1.0.0")
    field.withdraw("1.0.0")


def _collection(subject: Subject, field: Field) -> None:
    """One proven generation more than is kept to go back."""
    _committed(subject, field, "1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0")


SUBJECTS = {
    item.name: item
    for item in (
        Subject(
            name="update",
            build=_update,
            may_run=frozenset({"1.0.0", "1.1.0"}),
            ends_with="1.1.0",
        ),
        Subject(
            name="rollback",
            build=_rollback,
            may_run=frozenset({"1.0.0", "1.1.0"}),
            may_be_safe=True,
            ends_with="1.0.0",
            proves=False,
        ),
        Subject(
            name="withdrawal",
            build=_withdrawal,
            may_run=frozenset({"1.0.0", "1.1.0"}),
            may_be_safe=True,
            ends_with="1.0.0",
        ),
        Subject(
            name="safe-mode",
            build=_safe_mode,
            may_run=frozenset({"1.0.0"}),
            may_be_safe=True,
            ends_with=None,
        ),
        Subject(
            name="collection",
            build=_collection,
            may_run=frozenset({"1.4.0"}),
            ends_with="1.4.0",
        ),
        Subject(
            name="set",
            build=_update,
            may_run=frozenset({"1.0.0", "1.1.0"}),
            ends_with="1.1.0",
            is_set=True,
        ),
        Subject(
            name="set-back",
            build=_rollback,
            may_run=frozenset({"1.0.0", "1.1.0"}),
            may_be_safe=True,
            ends_with="1.0.0",
            proves=False,
            is_set=True,
        ),
    )
}
TARGETS = {
    "update": ("update",),
    "rollback": ("rollback",),
    "withdrawal": ("withdrawal", "safe-mode"),
    "collection": ("collection",),
}
"""What a person may ask for: a withdrawal has two ends."""
WITH_SETS = {**TARGETS, "set": ("set", "set-back")}
"""Where the device may have a component with a medium of its own."""


@dataclass(frozen=True)
class Run:
    """One run of the agent that ended.

    Attributes:
        traced: what the tracer saw.
        output: what it printed.
    """

    traced: Traced
    output: str


class Device:
    """One device, and what it is given: the input that is cut, or the next good one.

    Args:
        subject: what is going to be cut.
        folder: an existing folder for what the runs print.
        state: the state folder.
        provisioning: what it is provisioned with, which leads to the input that is cut.
        next_provisioning: the same, leading to the next good input.
        device_key: its public key.

    Attributes:
        seen: fingerprints of the states from which the next good input was taken.
    """

    def __init__(
        self,
        *,
        subject: Subject,
        folder: Path,
        state: Path,
        provisioning: Path,
        next_provisioning: Path,
        device_key: PublicKey,
    ) -> None:
        self.subject = subject
        self.folder = folder
        self.layout = Layout(state)
        self.device_key = device_key
        self.seen: set[str] = set()
        self._provisioning = provisioning
        self._next_provisioning = next_provisioning

    def journal(self) -> Journal:
        """The journal, for looking only."""
        return Journal.open_to_read(self.layout, clock=FakeClock(), device_id=DEVICE)

    def run(
        self,
        *,
        calls: frozenset[str] = frozenset(),
        fault: str = "",
        role: str = "",
        number: int = 0,
        lasting: bool = False,
        next_input: bool = False,
        at_each: Callable[[str], None] | None = None,
    ) -> Run:
        """One ``primum-agent run --once`` beside the application, over this input or the next.

        Args:
            calls: see :class:`Plan`, as for the other members.
            fault: what fails.
            role: whose call.
            number: which one.
            lasting: whether it goes on failing.
            next_input: take the good input that comes after.
            at_each: called before each change of a file, with its place, while nothing moves.
        """
        provisioning = self._next_provisioning if next_input else self._provisioning
        state = self.layout.root
        folders = ["--state", str(state), "--provisioning", str(provisioning)]
        output = self.folder / "output.txt"
        output.unlink(missing_ok=True)
        plan = Plan(
            command=[*AGENT, "run", "--once", *folders],
            folder=str(state),
            output=str(output),
            seconds=RUN_SECONDS,
            calls=sorted(calls),
            fault=fault,
            role=role,
            number=number,
            lasting=lasting,
            ask=at_each is not None,
        )
        with Application(state, proves=self.subject.proves or next_input).running():
            traced = _traced(plan, at_each)
        return Run(traced, output.read_text("utf-8", errors="replace"))


class World(Device):
    """One device and its authorities, at the beginning of a subject as often as one likes.

    Args:
        folder: an empty folder; everything lies below it.
        subject: what is going to be cut.

    Attributes:
        kept: the state folder as it was where the act begins.
    """

    def __init__(self, folder: Path, subject: Subject) -> None:
        field = Field(folder)
        if subject.is_set:
            crash_sets.fit(field)
        field.enroll()
        subject.build(subject, field)
        self.kept = folder / "kept"
        self.kept.mkdir()
        self._outside = crash_sets.pump_of(folder)
        if subject.is_set:
            _copy(self._outside, self.kept / "outside")
        later = folder / "next"
        names = ("engineering", "clinical")
        for name in names:
            _copy(folder / name, self.kept / name)
        _copy(field.state, self.kept / "state")
        subject.release(field, NEXT, counter=99)
        later.mkdir()
        for name in names:
            (folder / name).rename(later / name)
            (self.kept / name).rename(folder / name)
        _copy(field.provisioning, later / "provisioning")
        settings = later / "provisioning" / "agent.toml"
        text = settings.read_text(encoding="utf-8")
        for name in names:
            text = text.replace((folder / name).as_uri(), (later / name).as_uri())
        settings.write_text(text, encoding="utf-8")
        super().__init__(
            subject=subject,
            folder=folder,
            state=field.state,
            provisioning=field.provisioning,
            next_provisioning=later / "provisioning",
            device_key=field.device_key,
        )

    def begin(self) -> None:
        """Put the device, and what belongs to it, back to where the act begins."""
        shutil.rmtree(self.layout.root)
        _copy(self.kept / "state", self.layout.root)
        if self.subject.is_set:
            shutil.rmtree(self._outside)
            _copy(self.kept / "outside", self._outside)


def _traced(plan: Plan, at_each: Callable[[str], None] | None) -> Traced:
    command = [sys.executable, "-m", "tests.campaigns.crash_tracer", json.dumps(asdict(plan))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        last = ""
        for line in process.stdout:
            last = line
            if at_each is not None and not line.startswith("{"):
                at_each(line.strip())
                process.stdin.write("\n")
                process.stdin.flush()
    return Traced(**json.loads(last))


def _copy(source: Path, target: Path) -> None:
    """A copy that keeps links as they are: a generation is links into the store."""
    subprocess.run(["cp", "-a", "--", source, target], check=True)
