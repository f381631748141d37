"""Group N through the agent: servers, mirrors and links that fail while a device updates.

Each ends by looking at disk, wire and journal: the release is there or is not, nothing else lies
about, and one event names what happened.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from tests.unit.agent.field import Field
from tests.unit.agent.hostile_server import Mood
from tests.unit.agent.served import Served, files_only, timestamps_only

from primum_agent.clock import SystemClock

REFUSED, FAILED = 1, 3


@pytest.fixture
def served(in_the_field: Field, attempt_now: Callable[..., int]) -> Iterator[Served]:
    made = Served(in_the_field, attempt_now)
    yield made
    made.close()


def is_there(served: Served) -> bool:
    """The release is active, and nothing is left on its way."""
    opened = served.field.opened()
    return opened is not None and opened.version == "1.0.0" and not served.left()


def test_a_release_costs_each_byte_once(served: Served) -> None:
    served.field.release("1.0.0", counter=1)
    served.serve()
    assert served.attempt_now() == 0
    assert is_there(served)
    lengths = served.field.event("update.downloading")["data"]["detail"]["bytes"]
    assert served.field.event("update.downloaded")["data"]["detail"]["fetched"] == lengths
    assert sorted(served.artifacts()) == sorted(set(served.artifacts())), "each asked for once"
    assert served.own.connections == 1, "for both authorities and every file"


@pytest.mark.parametrize("status", [302, 308])
def test_redirect_of_a_file_is_not_followed(
    served: Served, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server does not choose from where a device reads."""
    monkeypatch.setattr("primum_agent.transfer.FIRST_PAUSE", 0.0)
    served.field.release("1.0.0", counter=1)
    served.serve(mirrors=1)
    elsewhere = served.servers[0]
    moved = Mood(status=status, headers=(f"Location: {elsewhere.url}engineering/artifacts/x",))
    served.own.mood_of = files_only(moved)
    text = (served.field.provisioning / "agent.toml").read_text()
    served.field.write("agent.toml", re.sub("mirrors = .*", "", text).encode())
    assert served.attempt_now() == FAILED
    assert elsewhere.asked == []
    assert served.events("update.failed")[0]["data"]["reasons"] == ["transport.status"]


@pytest.mark.parametrize(
    "mood",
    [
        Mood(cut_after=3),
        Mood(status=200, headers=("Transfer-Encoding: chunked",), body=b"zz\r\n{", tag=""),
        Mood(length=10_000_000),
    ],
    ids=["shorter than announced", "broken chunks", "longer than signed"],
)
def test_n01_body_that_is_none_is_asked_for_within_bounds_then_told(
    served: Served, mood: Mood, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("primum_agent.transfer.FIRST_PAUSE", 0.0)
    served.field.release("1.0.0", counter=1)
    served.serve()
    served.own.mood_of = files_only(mood)
    assert served.attempt_now() in {REFUSED, FAILED}
    assert served.field.opened() is None
    assert len(served.artifacts()) <= 4
    (event,) = [*served.events("update.failed"), *served.events("update.refused")]
    assert event["data"]["reasons"][0] in {"transport.interrupted", "artifact.size"}
    served.own.mood_of = lambda _: None
    assert served.attempt_now() == 0
    assert is_there(served)


def test_n02_link_that_breaks_in_every_file_costs_no_byte_twice(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every answer is cut in its middle; the bytes of the bodies are counted at the server."""
    served.field.release("1.0.0", counter=1)
    served.serve()
    monkeypatch.setattr("primum_agent.transfer.FIRST_PAUSE", 0.0)
    before: dict[str, int] = {}

    def cut(path: str) -> Mood | None:
        if "/artifacts/" not in path or before.setdefault(path, 0) >= 2:
            return None
        before[path] += 1
        length = (served.field.folder / path.lstrip("/")).stat().st_size
        return Mood(cut_after=(length - served.own.asked[-1].offset) // 2)

    served.own.mood_of = cut
    counted = served.sent
    assert served.attempt_now() == 0
    assert is_there(served)
    wanted = served.field.event("update.downloading")["data"]["detail"]["bytes"]
    assert served.field.event("update.downloaded")["data"]["detail"]["fetched"] == wanted
    assert all(item.if_range for item in served.own.of_files() if item.offset)
    assert served.sent - counted < 1.2 * wanted + 200_000, "files and metadata"


def test_n02_what_came_is_kept_for_the_next_poll(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The link dies in the middle; the next attempt goes on there, and `status` counts it."""
    monkeypatch.setattr("primum_agent.transfer.FIRST_PAUSE", 0.0)
    served.field.release("1.0.0", counter=1)
    served.serve()
    served.own.mood_of = files_only(Mood(cut_after=100))
    assert served.attempt_now() == FAILED
    left = served.left()
    assert len(left) == 2
    size = (served.field.layout.partial / left[0]).stat().st_size
    assert size >= 100
    served.own.mood_of = lambda _: None
    asked = len(served.artifacts())
    assert served.attempt_now() == 0
    assert served.own.of_files()[asked].offset == size
    assert is_there(served)


@pytest.mark.parametrize("ranges", ["ignored", "shifted", "unnamed"])
def test_n03_server_that_does_not_go_on_where_it_was_asked_to(
    served: Served, ranges: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is begun anew, or told to be missing; under its name lie the right bytes or none."""
    monkeypatch.setattr("primum_agent.transfer.FIRST_PAUSE", 0.0)
    served.field.release("1.0.0", counter=1)
    served.serve()
    served.own.mood_of = lambda path: (
        Mood(cut_after=20, ranges=ranges)
        if "/artifacts/" in path and not served.own.asked[-1].offset and len(served.artifacts()) < 2
        else Mood(ranges=ranges)
    )
    code = served.attempt_now()
    assert code == 0 or served.field.opened() is None
    served.own.mood_of = lambda _: None
    assert served.attempt_now() == 0
    assert is_there(served)


def test_n04_first_mirror_with_wrong_bytes_is_left_for_the_second(served: Served) -> None:
    """A mirror lies about every file: one event, it is asked last from now on, and all is well."""
    served.field.release("1.0.0", counter=1)
    served.serve(mirrors=1)
    for path in (served.servers[0].folder).rglob("artifacts/*"):
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert served.attempt_now() == 0
    assert is_there(served)
    (event,) = served.events("mirror.failed")
    assert event["data"]["reasons"] == ["artifact.digest"]
    assert event["data"]["detail"]["server"].startswith(served.servers[0].url)
    assert f"mirror {served.servers[0].url}" in served.field.agent("status").stdout
    asked = len(served.servers[0].asked)
    assert served.attempt_now() == 0
    engineering = [item for item in served.servers[0].asked[asked:] if "engineering" in item.path]
    assert engineering == [], "it is asked last"


def test_n04_first_mirror_with_old_metadata_is_left_for_the_second(served: Served) -> None:
    """What TUF refuses of one leads to the next, with the whole refresh."""
    served.field.release("1.0.0", counter=1)
    served.serve(mirrors=1)
    assert served.attempt_now() == 0
    old = served.field.folder / "old"
    shutil.copytree(served.servers[0].folder, old)
    served.field.commit()
    served.field.release("1.1.0", counter=2)
    served.publish_to_mirrors()
    served.servers[0].mood = Mood()
    assert served.attempt_now() == 0
    served.field.commit()
    served.servers[0].folder = old
    assert served.attempt_now() == 0
    (first, *_) = served.events("mirror.failed")
    assert first["data"]["reasons"] == ["trust.rollback"]
    opened = served.field.opened()
    assert opened is not None
    assert opened.version == "1.1.0"


@dataclass
class Ahead(SystemClock):
    """The clock of a device some days later."""

    days: float

    def now(self) -> datetime:
        return super().now() + timedelta(days=self.days)


def test_n04_mirror_that_goes_on_serving_what_was_is_found_out(served: Served) -> None:
    """Frozen, not refused: once half of the timestamp's life is over, the others are asked too."""
    served.field.release("1.0.0", counter=1)
    served.serve(mirrors=1)
    assert served.attempt_now() == 0
    served.field.commit()
    served.field.release("1.1.0", counter=2)
    asked = len(served.own.asked)
    assert served.attempt_now() == 0, "the mirror serves it without the new release"
    assert len(served.own.asked) == asked, "and nobody else is asked while it is fresh"
    served.attempt_now(clock=Ahead(16))
    assert "1.1.0" in served.field.event("update.staged")["subject"], "its list is of another day"
    told = {tuple(item["data"]["reasons"]) for item in served.events("mirror.failed")}
    assert told == {("trust.frozen",)}


def test_n04_freeze_by_all_of_them_is_told_before_it_ends_in_a_refusal(served: Served) -> None:
    """The metadata is still good, and nobody renews it: a lasting trouble, in `status` too."""
    served.field.release("1.0.0", counter=1)
    served.serve(mirrors=1)
    assert served.attempt_now() == 0
    served.field.commit()
    assert served.attempt_now(clock=Ahead(10)) == 0
    assert not served.events("transport.failed")
    assert served.attempt_now(clock=Ahead(25)) == 0, "nothing is refused yet"
    assert served.attempt_now(clock=Ahead(25.1)) == 0
    told = served.events("transport.failed")
    assert [item["data"]["detail"]["authority"] for item in told] == ["engineering", "clinical"]
    assert all(item["data"]["reasons"] == ["trust.frozen"] for item in told)
    assert "trust.frozen" in served.field.agent("status").stdout
    assert not served.events("mirror.failed"), "no mirror is worse than another"
    served.field.engineering.publish()
    served.field.clinical.publish()
    served.publish_to_mirrors()
    assert served.attempt_now() == 0
    assert "trust.frozen" not in served.field.agent("status").stdout


def test_n05_wait_of_ten_years_is_not_waited_for(served: Served) -> None:
    served.field.release("1.0.0", counter=1)
    served.serve()
    served.own.mood_of = files_only(Mood(status=503, headers=("Retry-After: 315360000",)))
    assert served.attempt_now() == FAILED
    assert len(served.artifacts()) == 1
    assert served.events("update.failed")[0]["data"]["reasons"] == ["transport.status"]
    served.own.mood_of = lambda _: None
    assert served.attempt_now() == 0
    assert is_there(served)


def test_n05_mirror_that_is_busy_is_left_for_the_next(served: Served) -> None:
    served.field.release("1.0.0", counter=1)
    served.serve(mirrors=1)
    served.servers[0].mood = Mood(status=429, headers=("Retry-After: 315360000",))
    assert served.attempt_now() == 0
    assert is_there(served)
    assert {item["data"]["detail"]["authority"] for item in served.events("mirror.failed")} == {
        "engineering",
        "clinical",
    }


def test_captive_portal_answers_for_every_path(served: Served) -> None:
    """200 and a page for everything: refused, and nothing of it is kept."""
    served.field.release("1.0.0", counter=1)
    served.serve()
    served.own.mood = Mood(body=b"<html>log in</html>")
    assert served.attempt_now() in {REFUSED, FAILED}
    assert served.field.opened() is None
    served.own.mood = Mood()
    served.own.mood_of = files_only(Mood(body=b"<html>log in</html>"))
    assert served.attempt_now() == REFUSED
    assert served.left() == []
    served.own.mood_of = lambda _: None
    assert served.attempt_now() == 0
    assert is_there(served)


def test_n07_proxy_of_the_environment_is_not_asked(served: Served) -> None:
    """The real command, with a proxy in every variable that programs look at."""
    served.field.release("1.0.0", counter=1)
    served.serve()
    attacker = Served(served.field, served.attempt_now)
    attacker.serve()
    served.serve()
    names = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    attempt = [sys.executable, "-m", "primum_agent.attempt", *served.field.folders]
    done = subprocess.run(
        [*attempt, "--reason", "poll"],
        env={**os.environ, **dict.fromkeys(names, attacker.own.url)},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode in {0, 5}, done.stderr
    assert served.artifacts()
    assert attacker.own.asked == []
    attacker.close()


def test_a_dead_gateway_in_the_house_costs_no_update(served: Served) -> None:
    """The first mirror does not even listen; it is told once, and works again later."""
    served.field.release("1.0.0", counter=1)
    served.serve(mirrors=1)
    served.servers[0].close()
    assert served.attempt_now() == 0
    assert is_there(served)
    reasons = {tuple(item["data"]["reasons"]) for item in served.events("mirror.failed")}
    assert reasons == {("transport.unreachable",)}
    assert served.attempt_now() == 0
    assert len(served.events("mirror.failed")) == 2, "one for each authority, and no more"


def test_timestamps_that_are_cut_lead_to_the_next_mirror(served: Served) -> None:
    served.field.release("1.0.0", counter=1)
    served.serve(mirrors=2)
    served.servers[0].mood_of = timestamps_only(Mood(cut_after=1))
    assert served.attempt_now() == 0
    assert is_there(served)
    assert not served.own.asked, "the second mirror had all of it"
