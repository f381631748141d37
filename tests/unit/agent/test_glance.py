"""A glance: a few hundred bytes, believed in nothing but "no need to look"."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.agent.field import Field
from tests.unit.agent.hostile_server import HostileServer, Mood
from tests.unit.agent.served import Served, files_only
from tests.unit.agent.test_power_cuts import prove_until

from primum_agent import glance as module
from primum_agent.attempt_plan import AttemptPlan
from primum_agent.desk import ask
from primum_agent.glance import Glance, Seen
from primum_agent.quiet import Quiet, keep_quiet, quiet_of
from primum_agent.settings import read_settings

Eventually = Callable[..., Any]
AUTHORITIES = ("engineering", "clinical")


@pytest.fixture
def served(in_the_field: Field, attempt_now: Callable[..., int]) -> Iterator[Served]:
    made = Served(in_the_field, attempt_now)
    made.serve()
    yield made
    made.close()


class Asker:
    """A glance over the field's settings, and what it is asked about."""

    def __init__(self, served: Served) -> None:
        self.settings = read_settings(served.field.provisioning)
        self.glance = Glance(self.settings, client=served.field.layout.client)
        self.servers = {
            name: item.metadata_url for name, item in self.settings.repositories.all.items()
        }
        self.newest = {
            name: hashlib.sha256(
                (getattr(served.field, name).web / "metadata/timestamp.json").read_bytes()
            ).hexdigest()
            for name in AUTHORITIES
        }

    def __call__(self) -> Seen:
        return self.glance.look(self.newest, self.servers)


@pytest.fixture
def asker(served: Served) -> Iterator[Asker]:
    made = Asker(served)
    yield made
    served.close()
    while made.glance.is_under_way:
        time.sleep(0.01)
    made.glance.close()


def test_nothing_new_costs_a_few_hundred_bytes_on_kept_connections(
    served: Served, asker: Asker
) -> None:
    """After the first: 304, no body, no further connection."""
    assert asker() is Seen.NOTHING_NEW
    wire, connections = served.own.wire, served.own.connections
    assert asker() is Seen.NOTHING_NEW
    assert served.own.connections == connections == 2
    assert served.own.wire - wire < 500, "both authorities, heads in both directions"
    assert all(item.if_none_match for item in served.own.asked[-2:])
    assert [item.path.rpartition("/")[2] for item in served.own.asked] == ["timestamp.json"] * 4


def test_what_is_new_is_seen(served: Served, asker: Asker) -> None:
    assert asker() is Seen.NOTHING_NEW
    served.field.clinical.publish()
    assert asker() is Seen.LOOK


@pytest.mark.parametrize(
    "mood",
    [
        Mood(status=404),
        Mood(status=302, headers=("Location: http://127.0.0.1:9/",)),
        Mood(status=503, headers=("Retry-After: 9",)),
        Mood(body=b"<html>log in</html>"),
        Mood(body=b"x" * 100_000),
        Mood(cut_after=1),
        Mood(status=304, tag=""),
    ],
    ids=["missing", "moved", "busy", "portal", "endless", "cut", "304 to no question"],
)
def test_any_other_answer_means_to_look(served: Served, asker: Asker, mood: Mood) -> None:
    served.own.mood = mood
    assert asker() is Seen.LOOK


def test_nobody_there_means_to_look(served: Served, asker: Asker) -> None:
    assert asker() is Seen.NOTHING_NEW
    served.close()
    assert asker() is Seen.LOOK


def test_a_connection_that_was_ended_meanwhile_is_made_again(served: Served, asker: Asker) -> None:
    """A server ends what is kept too long for it; that is no news of an authority."""
    assert asker() is Seen.NOTHING_NEW
    folder, port = served.own.folder, served.own.port
    served.own.close()
    served.servers[-1] = HostileServer(folder, port=port)
    assert asker() is Seen.NOTHING_NEW


def test_an_authority_that_nobody_knows_the_timestamp_of_means_to_look(asker: Asker) -> None:
    del asker.newest["clinical"]
    assert asker() is Seen.LOOK


def test_a_server_that_stalls_is_not_waited_for(
    served: Served, asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread may hang; the loop goes on and has the whole refresh run."""
    monkeypatch.setattr(module, "WHOLE_SECONDS", 0.1)
    served.own.mood = Mood(stall_after=1)
    asker.glance.begin(asker.newest, asker.servers)
    while asker.glance.found() is None:
        time.sleep(0.01)
    assert asker.glance.found() is Seen.LOOK
    assert not asker.glance.is_possible, "no second one beside it"


# When a glance is enough


def test_a_whole_poll_says_until_when_a_glance_is_enough(served: Served) -> None:
    served.field.release("1.0.0", counter=1)
    assert served.attempt_now() == 0
    assert served.field.counter("quiet") == "", "what is provisional is looked after"
    served.field.commit()
    assert served.attempt_now() == 0
    with served.field.journal_to_write() as journal:
        quiet = quiet_of(journal)
        assert quiet is not None
        assert set(quiet.newest) == set(AUTHORITIES)
        assert 0 < quiet.until - journal.powered_seen() <= 21_600
        keep_quiet(journal, replace(quiet, until=0.0))
        assert quiet_of(journal) is None, "its time is over"


def test_no_glance_where_anything_is_wrong_or_under_way(served: Served) -> None:
    served.field.release("1.0.0", counter=1)
    assert served.attempt_now() == 0
    served.field.commit()
    assert served.attempt_now() == 0
    assert served.field.counter("quiet")
    served.own.mood_of = files_only(Mood(status=404))
    served.field.release("1.1.0", counter=2)
    assert served.attempt_now() != 0
    assert served.field.counter("quiet") == "", "a release is on its way"


def test_a_timestamp_that_is_half_over_is_not_glanced_past(served: Served) -> None:
    """The whole refresh asks the other servers then; a glance must not put that off."""
    served.field.release("1.0.0", counter=1)
    served.field.engineering.publish(life=timedelta(seconds=600))
    served.field.clinical.publish(life=timedelta(seconds=600))
    assert served.attempt_now() == 0
    served.field.commit()
    assert served.attempt_now() == 0
    with served.field.journal_to_write() as journal:
        quiet = quiet_of(journal)
        assert quiet is not None
        assert quiet.until - journal.powered_seen() <= 300


def plan_of(served: Served, glance: Glance) -> AttemptPlan:
    plan = AttemptPlan(
        settings=read_settings(served.field.provisioning),
        layout=served.field.layout,
        draw=lambda: 0.5,
        once=False,
        glance=glance,
    )
    plan.due, plan._reason, plan._routine = 0.0, "poll", True
    return plan


def test_a_poll_with_nothing_new_starts_no_process(served: Served, asker: Asker) -> None:
    served.field.release("1.0.0", counter=1)
    plan = plan_of(served, asker.glance)
    asker = Asker(served)
    with served.field.journal_to_write() as journal:
        until = journal.powered_total() + 100
        keep_quiet(journal, Quiet(until=until, newest=asker.newest, poll=""))
        now = time.monotonic()
        while not plan.glances:
            plan.start_if_due(now, journal)
            assert plan.child is None
            time.sleep(0.005)
        assert plan.due > now + 3000, "the next one is as far as after any poll"


def test_a_person_who_asks_for_a_poll_gets_a_whole_one(
    served: Served, asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []
    plan = plan_of(served, asker.glance)
    monkeypatch.setattr(plan, "start", lambda *a, **_: started.append(a))
    with served.field.journal_to_write() as journal:
        until = journal.powered_total() + 100
        keep_quiet(journal, Quiet(until=until, newest=asker.newest, poll=""))
        plan.poll(5.0)
        plan.start_if_due(5.0, journal)
    assert len(started) == 1
    assert not served.own.asked


def test_the_resident_agent_polls_by_glances_and_hears_what_is_new(
    served: Served, eventually: Eventually
) -> None:
    """A real supervisor, polling twice a second: only conditional requests, until it matters."""
    field = served.field
    field.release("1.0.0", counter=1)
    text = (field.provisioning / "agent.toml").read_text()
    field.write("agent.toml", text.replace("poll_seconds = 3600", "poll_seconds = 0.3").encode())

    def glances() -> int:
        told = ask(field.layout.socket, {"do": "status"}) or {}
        return int(told.get("glances", 0))

    with field.running() as process:
        prove_until(field, "1.0.0", process)
        eventually(lambda: glances() >= 2)
        assert any(item.if_none_match for item in served.own.asked[-4:])
        field.release("1.1.0", counter=2)
        eventually(lambda: field.kinds().count("update.activated") == 2)


def test_a_check_with_nothing_new_loads_nothing_heavy(served: Served) -> None:
    """The whole command in a fresh process; with --whole it looks at everything."""
    served.field.release("1.0.0", counter=1)
    assert served.attempt_now() == 0
    served.field.commit()
    assert served.attempt_now() == 0
    script = (
        "import resource, sys\n"
        "from primum_agent.cli import main\n"
        "code = main(sys.argv[1:])\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "names = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted({'tuf', 'pydantic', 'urllib3', 'cryptography'} & names))\n"
        "print(used.ru_utime + used.ru_stime)\n"
        "sys.exit(code)\n"
    )
    words = ["check", "--state", served.field.state, "--provisioning", served.field.provisioning]

    def check(*more: str) -> list[str]:
        command = [sys.executable, "-c", script, *map(str, words), *more]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout.splitlines()

    asked = len(served.own.asked)
    *told, heavy, seconds = check()
    assert told[-1].startswith("current: ")
    assert "1.0.0 is active already; nothing is new since the whole poll of" in told[-1]
    assert heavy == "[]"
    assert float(seconds) < 0.5, "0.1 on a machine that is quiet"
    assert len(served.own.asked) == asked + 2
    assert "pydantic" in check("--whole")[-2]
    served.field.engineering.publish()
    assert "pydantic" in check()[-2]


def test_files_are_not_glanced_at(in_the_field: Field) -> None:
    glance = Glance(read_settings(in_the_field.provisioning), client=Path("none"))
    assert not glance.is_possible
