"""An agent that came back meets what the one after it wrote: other kinds, states and reasons.

The newer agent is this one with a few words more, in a folder of its own; it writes to the journal
with its own code, in a process of its own.  Everything of this one has to go on from there.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.campaigns.crash_worlds import Application

import primum_agent
import primum_verifier
from primum_agent.lifecycle import State
from primum_device_sim.authorities.documents import DEVICE

WRITES = """\
import json, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import primum_agent
assert primum_agent.__file__.startswith(sys.argv[1])
from primum_agent.clock import SystemClock
from primum_agent.events import Entry, EventKind
from primum_agent.journal import Journal
from primum_agent.layout import Layout
from primum_agent.lifecycle import State, Stimulus
from primum_verifier.core.reasons import Reason
journal = Journal.open(Layout(Path(sys.argv[2])), clock=SystemClock(), device_id=sys.argv[3])
used = journal.state().in_use
journal.record(
    Entry(
        kind=EventKind.UPDATE_BLESSED,
        stimulus=Stimulus.BLESSED if sys.argv[4] == "in-between" else None,
        subject=used.name,
        result="done",
        reasons=(Reason.STATE_BLESSED,),
        change={"blessing": {"by": "a newer agent"}, "conclusion": {used.release: "blessed"}},
        detail={"blessed": True},
    )
)
journal.note_problem(topic="blessing", what=str(Reason.STATE_BLESSED), text="it lasts")
journal.close()
"""


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """This agent and verifier with a kind of event, a state, a stimulus and a reason more."""
    folder = tmp_path / "newer"
    for package in (primum_agent, primum_verifier):
        source = Path(str(package.__file__)).parent
        shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))

    def add(name: str, before: str, line: str) -> None:
        path = folder / name
        text = path.read_text()
        assert text.count(before) == 1, f"{name} has no place for {line}"
        path.write_text(text.replace(before, f"{line}\n{before}"))

    kinds = "primum_agent/events.py"
    add(kinds, '    UPDATE_COMMITTED = "update.committed"', '    UPDATE_BLESSED = "update.blessed"')
    add(
        "primum_verifier/core/reasons.py",
        '    STATE_BUSY = "state.busy"',
        '    STATE_BLESSED = "state.blessed"',
    )
    table = "primum_agent/lifecycle.py"
    add(table, '    ROLLING_BACK = "rolling-back"', '    BLESSING = "blessing"')
    add(table, '    HEALTHY = "healthy"', '    BLESSED = "blessed"')
    add(
        table,
        "    (_S.IDLE, _E.FOUND): _S.RESOLVING,",
        "    (_S.IDLE, _E.BLESSED): _S.BLESSING,",
    )
    return folder


def write(field: Any, newer: Path, *, where: str) -> None:
    """The newer agent records its event, and stands where it leads."""
    words = [str(newer), str(field.state), DEVICE, where]
    done = subprocess.run(
        [sys.executable, "-I", "-c", WRITES, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("where", ["at-rest", "in-between"])
def test_an_agent_that_came_back_goes_on_from_what_the_newer_one_wrote(
    in_the_field: Any, newer: Path, where: str
) -> None:
    field = in_the_field
    field.release("1.0.0", counter=1)
    with Application(field.state, proves=True).running():
        assert field.once().returncode == 0
    write(field, newer, where=where)
    assert field.kinds()[-1] == "update.blessed"
    for command in ("status", "history", "explain"):
        words = ("1.0.0",) if command == "explain" else ()
        told = field.agent(command, *words)
        assert told.returncode in {0, 1}, told.stderr
        assert "Traceback" not in told.stderr
    field.release("1.1.0", counter=2)
    with Application(field.state, proves=True).running():
        done = field.once()
    assert "Traceback" not in done.stdout + done.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    journal = field.journal()
    journal.check()
    state = journal.state()
    assert state == journal.replayed(), "the sum of all events, the unknown one too"
    journal.close()
    assert (state.lifecycle, state.in_use.version) == (State.IDLE, "1.1.0")
    doctor = field.agent("doctor", "--provisioning", field.provisioning)
    assert "Traceback" not in doctor.stderr
    export = field.folder / "stick"
    export.mkdir()
    told = field.agent("export", export)
    assert told.returncode == 0, told.stderr
