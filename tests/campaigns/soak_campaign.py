"""``make soak``: a fleet reports while broker, network, disk and processes fail at random.

Real supervisors report over TLS to a real mosquitto, and a real receiver stores what comes; each
fault is one of :data:`ACTS`, drawn by the seed.  Meanwhile the devices poll, update, prove, are
asked, and other processes on them write events.  Then all is let be good again, and the receiver
has to hold every event of each device's own journal once, in order, joined and proven.

A run goes on from the earlier ones: without SEED it takes the one after the last that was played.

Exit: 0 every promise was kept, 1 one was not, 2 it cannot run here.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.campaigns.campaign_tried import CACHE, say
from tests.campaigns.soak_network import nft, what_is_missing
from tests.campaigns.soak_relay import Mode
from tests.campaigns.soak_verdict import Verdict, judge
from tests.campaigns.soak_world import FLEET, EndedError, SoakDevice, World
from tests.postgres_server import running_postgresql
from tests.unit.agent.secure_broker import Peer

from primum_device_sim.broker import find_broker
from primum_verifier.core.errors import FailedError

KEPT = CACHE / "soak"
SECONDS = 1200.0
DEVICES = 2
SETTLE_SECONDS = 150.0
"""How long everything may take to arrive once all is good again."""

SHOW_EVERY = 15.0
EXIT_DONE, EXIT_FOUND, EXIT_USAGE = 0, 1, 2


@dataclass
class Soak:
    """One run.

    Attributes:
        world: what it happens to.
        draw: the seed's.
        done: how often each act was played.
        findings: what was wrong, with when.
    """

    world: World
    draw: random.Random
    began: float = field(default_factory=time.monotonic)
    done: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    now: str = "good"
    _asked: int = 0

    def wait(self, seconds: float) -> None:
        self.over.wait(seconds)

    def finding(self, text: str) -> None:
        self.findings.append(f"at {time.monotonic() - self.began:.0f} s, {self.now}: {text}")
        say(f"FINDING {self.findings[-1]}")

    # What happens to the devices

    def live(self, device: SoakDevice, draw: random.Random) -> None:
        """One device's life, until it is over: each step is something that it reports."""
        steps: list[tuple[int, Callable[[], object]]] = [
            (30, lambda: device.happen(draw.randint(1, 8))),
            (4, lambda: device.happen(draw.randint(20, 120), size=draw.randint(0, 800))),
            (2, lambda: device.happen(1, size=draw.randint(20_000, 200_000))),
            (3, device.update),
            (8, device.prove),
            (4, lambda: self._ask(device)),
            (2, lambda: device.remark(f"remark {draw.random()}")),
        ]
        while not self.over.is_set():
            (step,) = draw.choices([act for _, act in steps], [weight for weight, _ in steps])
            try:
                with device.lock:
                    step()
            except EndedError as error:
                self.finding(str(error))
            self.over.wait(draw.uniform(0.2, 2.0))

    def _ask(self, device: SoakDevice) -> None:
        """A receiver of its own asks the device to poll, where the broker lets it."""
        with suppress(AssertionError, OSError):
            peer = Peer(self.world.broker, self.world.authority, "receiver", _status(device))
            with suppress(ValueError, RuntimeError, IndexError, KeyError):
                self.over.wait(0.3)
                word = json.loads(peer.of("status")[-1])["word"]
                payload = json.dumps({"word": word, "do": "poll"}).encode()
                topic = f"primum/{FLEET}/{device.name}/request"
                peer.client.publish(topic, payload, qos=1).wait_for_publish(timeout=2)
                self._asked += 1
            peer.close()

    # What goes wrong

    def play(self, act: Callable[[Soak], None], name: str) -> None:
        self.now = name
        self.done[name] += 1
        act(self)
        self.now = "good"

    def look_after(self) -> None:
        """As service managers would; who ended by itself is a finding."""
        self.world.receiver.look_after()
        for device in self.world.devices:
            if device.lock.acquire(blocking=False):
                try:
                    device.look_after()
                except EndedError as error:
                    self.finding(str(error))
                finally:
                    device.lock.release()

    def one(self) -> SoakDevice:
        return self.draw.choice(self.world.devices)

    def a_while(self) -> None:
        self.wait(self.draw.uniform(1.0, 9.0))


def _status(device: SoakDevice) -> str:
    return f"primum/{FLEET}/{device.name}/status"


def broker_restarted(soak: Soak) -> None:
    """It ends as it is asked to, and keeps what it has."""
    soak.world.broker.stop()
    soak.a_while()
    soak.world.broker.start()


def broker_killed(soak: Soak) -> None:
    """What it had not written is gone: it writes now and then."""
    soak.world.broker.kill()
    soak.a_while()
    soak.world.broker.start()


def broker_forgets(soak: Soak) -> None:
    """Its disk is lost: sessions, what waited for the receiver, what is retained."""
    soak.world.broker.kill()
    soak.world.broker.forget()
    soak.a_while()
    soak.world.broker.start()


def broker_stopped(soak: Soak) -> None:
    """It holds every connection and does nothing."""
    soak.world.broker.signal(signal.SIGSTOP)
    soak.a_while()
    soak.world.broker.signal(signal.SIGCONT)


def receiver_killed(soak: Soak) -> None:
    soak.world.receiver.kill()
    soak.a_while()
    soak.world.receiver.start()


def agent_killed(soak: Soak) -> None:
    device = soak.one()
    with device.lock:
        device.kill()
        soak.wait(soak.draw.uniform(0.0, 3.0))
        device.start()


def agent_restarted(soak: Soak) -> None:
    device = soak.one()
    with device.lock:
        device.kill(signal.SIGTERM)
        device.start()


def application_killed(soak: Soak) -> None:
    """In the middle of an episode, or between two."""
    device = soak.one()
    with device.lock:
        device.end_application()
    soak.a_while()
    with device.lock:
        device.start_application(soak.draw.randrange(2**31))


def disk_filled(soak: Soak) -> None:
    device = soak.one()
    device.fill_disk()
    soak.a_while()
    device.empty_disk()


def connections_cut(soak: Soak) -> None:
    device = soak.one()
    for _ in range(soak.draw.randint(1, 5)):
        device.relay.cut()
        soak.wait(soak.draw.uniform(0.2, 2.5))


def _bad_relay(mode: Mode) -> Callable[[Soak], None]:
    def act(soak: Soak) -> None:
        device = soak.one()
        device.relay.mode = mode
        if mode is Mode.CUT:
            device.relay.cut()
        soak.a_while()
        device.relay.mode = Mode.GOOD

    return act


def link_down(soak: Soak) -> None:
    space = soak.one().namespace
    assert space is not None
    space.take_down()
    soak.a_while()
    space.bring_up()


def packets_lost(soak: Soak) -> None:
    space = soak.one().namespace
    assert space is not None
    space.lose(soak.draw.randint(10, 60))
    soak.a_while()
    space.lose_nothing()


def link_narrow(soak: Soak) -> None:
    space = soak.one().namespace
    assert space is not None
    space.narrow(soak.draw.randint(16, 256))
    soak.a_while()
    space.widen()


ACTS: dict[str, tuple[int, Callable[[Soak], None]]] = {
    "broker restarted": (2, broker_restarted),
    "broker killed": (2, broker_killed),
    "broker forgets": (1, broker_forgets),
    "broker stopped": (1, broker_stopped),
    "receiver killed": (3, receiver_killed),
    "agent killed": (4, agent_killed),
    "agent restarted": (2, agent_restarted),
    "application killed": (2, application_killed),
    "disk filled": (2, disk_filled),
    "connections cut": (3, connections_cut),
    "network slow": (2, _bad_relay(Mode.SLOW)),
    "black hole": (2, _bad_relay(Mode.HOLE)),
    "network cut": (2, _bad_relay(Mode.CUT)),
    "link down": (2, link_down),
    "packets lost": (3, packets_lost),
    "link narrow": (2, link_narrow),
}
"""Every act with its weight."""


def possible(*, isolated: bool, small_disks: bool) -> dict[str, tuple[int, Callable[[Soak], None]]]:
    """Those that this machine can play."""
    left = dict(ACTS)
    if not isolated:
        for name in ("link down", "packets lost", "link narrow"):
            del left[name]
    else:
        if nft() is None:
            del left["packets lost"]
        if shutil.which("tc") is None:
            del left["link narrow"]
    if not small_disks:
        del left["disk filled"]
    return left


def disturb(soak: Soak, *, seconds: float, isolated: bool) -> None:
    """Let something go wrong, and good again, until the time is over."""
    small = all(device.small_disk for device in soak.world.devices)
    acts = possible(isolated=isolated, small_disks=small)
    lives = [
        threading.Thread(target=soak.live, args=(one, random.Random(soak.draw.random())))
        for one in soak.world.devices
    ]
    for device in soak.world.devices:
        device.start_application(soak.draw.randrange(2**31))
    for life in lives:
        life.start()
    shown = 0.0
    try:
        while (passed := time.monotonic() - soak.began) < seconds:
            if passed - shown > SHOW_EVERY:
                shown = passed
                say(_progress(soak, passed, seconds))
            weights = [weight for weight, _ in acts.values()]
            (name,) = soak.draw.choices(list(acts), weights)
            soak.play(acts[name][1], name)
            soak.look_after()
            soak.wait(soak.draw.uniform(0.5, 4.0))
    finally:
        soak.over.set()
        for life in lives:
            life.join(timeout=90)


def _progress(soak: Soak, passed: float, seconds: float) -> str:
    parts = []
    for device in soak.world.devices:
        made, waiting = device.waiting()
        parts.append(f"{device.name} {made} events, {waiting} wait")
    held = sum(soak.world.receiver.held(device.name) for device in soak.world.devices)
    acts = sum(soak.done.values())
    return f"{passed:.0f} of {seconds:.0f} s: {acts} faults; {'; '.join(parts)}; {held} received"


def settle(soak: Soak) -> float:
    """Let all be good and every process begin anew; seconds until everything had arrived."""
    began = time.monotonic()
    world = soak.world
    for device in world.devices:
        device.end_application()
        # Begun anew, nobody waits for a quarter of an hour that an earlier fault made him wait.
        device.kill(signal.SIGTERM)
    world.receiver.kill(signal.SIGTERM)
    world.receiver.start()
    for device in world.devices:
        device.start()
    while time.monotonic() - began < SETTLE_SECONDS:
        if all(_has_arrived(soak, device) for device in world.devices):
            break
        time.sleep(0.5)
    else:
        for device in world.devices:
            said = json.loads(device.agent("status", "--json").stdout)
            broker = (said.get("supervisor") or {}).get("broker")
            soak.finding(
                f"{device.name} has not told all after {SETTLE_SECONDS:.0f} s:"
                f" {device.waiting()}, {world.receiver.held(device.name)} received, {broker}"
            )
    took = time.monotonic() - began
    for device in world.devices:
        device.kill(signal.SIGTERM)
    # What they say as they end arrives as well.
    until = time.monotonic() + 30
    while time.monotonic() < until and not all(
        _has_arrived(soak, device) for device in world.devices
    ):
        time.sleep(0.5)
    return took


def _has_arrived(soak: Soak, device: SoakDevice) -> bool:
    made, waiting = device.waiting()
    rows = soak.world.receiver.rows(device.name)
    whole = bool(rows) and made == rows[-1][0] and all(row[3] and row[4] for row in rows)
    return waiting == 0 and whole


def verdicts(soak: Soak) -> list[Verdict]:
    found = [
        judge(
            device.name,
            lines=device.lines(),
            history=device.history(),
            rows=soak.world.receiver.rows(device.name),
            key=device.device_key,
        )
        for device in soak.world.devices
    ]
    for device in soak.world.devices:
        kept = sum(b'"primum.device.feedback.given"' in line for line in device.lines())
        if kept != device.remarks:
            soak.finding(f"{device.name}: {device.remarks} remarks were taken, {kept} are there")
    for one in found:
        if not one.is_good:
            soak.finding(f"{one.told()}; {one}"[:800])
    if contradictions := soak.world.receiver.contradictions():
        soak.finding(f"{contradictions} contradictions")
    return found


def run(
    folder: Path, *, seconds: float, seed: int, devices: int, database: str, isolated: bool
) -> tuple[Soak, list[Verdict]]:
    """One run from beginning to end.

    Args:
        folder: an empty one.
        seconds: for how long things go wrong.
        seed: draws what and when.
        devices: how many.
        database: the receiver's; empty for a file.
        isolated: whether each device has a network of its own.
    """
    with ExitStack() as undo:
        world = World(
            folder,
            executable=find_broker(),
            devices=devices,
            database=database,
            isolated=isolated,
            undo=undo,
        )
        soak = Soak(world, random.Random(seed))
        for device in world.devices:
            device.update()
        world.start()
        disturb(soak, seconds=seconds, isolated=isolated)
        took = settle(soak)
        found = verdicts(soak)
        served = sum(device.episodes for device in world.devices)
        remarks = sum(device.remarks for device in world.devices)
    say(f"played: {', '.join(f'{name} {count}' for name, count in sorted(soak.done.items()))}")
    say(f"served {served} episodes, took {remarks} remarks")
    say(f"refused by a full disk: {sum(device.refused for device in world.devices)} events")
    for one in found:
        say(one.told())
    say(_figures(found, soak, seconds=seconds, took=took, seed=seed))
    return soak, found


def _figures(
    found: Sequence[Verdict], soak: Soak, *, seconds: float, took: float, seed: int
) -> str:
    sums = (
        sum(one.sent for one in found),
        sum(one.received for one in found),
        sum(len(one.lost) for one in found),
        sum(len(one.duplicated) for one in found),
        sum(len(one.invented) for one in found),
    )
    told = "sent {}, received {}, lost {}, duplicated {}, invented {}".format(*sums)
    return (
        f"{sum(soak.done.values())} faults, {told}; seed {seed}, {seconds:.0f} s, all there"
        f" {took:.0f} s after, {len(soak.findings)} findings"
    )


def _next_seed() -> int:
    played = KEPT / "played"
    return int(played.read_text()) + 1 if played.is_file() else 1


def main(words: Sequence[str] | None = None) -> int:
    """Soak as the command line asks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0], prog="soak")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--seed", type=int, default=0, help="0 for the one after the last")
    parser.add_argument("--devices", type=int, default=DEVICES)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    options = parser.parse_args(words)
    # As Ctrl-C does: what root made is taken away.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    KEPT.mkdir(parents=True, exist_ok=True)
    seed = options.seed or _next_seed()
    missing = what_is_missing()
    for text in missing:
        say(text)
    isolated = not any("relay alone" in text for text in missing)
    kept = Path(tempfile.mkdtemp(prefix="primum-soak-"))
    with ExitStack() as stack:
        try:
            find_broker()
            database = ""
            if options.database == "postgresql":
                programs = Path((CACHE / "postgresql" / "path").read_text().strip())
                database = stack.enter_context(running_postgresql(programs)).new_database()
        except (FailedError, OSError) as error:
            say(f"it cannot run here: {error}")
            return EXIT_USAGE
        soak, found = run(
            kept / "world",
            seconds=options.seconds,
            seed=seed,
            devices=options.devices,
            database=database,
            isolated=isolated,
        )
    (KEPT / "played").write_text(str(max(seed, _next_seed() - 1)))
    if soak.findings or not all(one.is_good for one in found):
        for text in soak.findings:
            say(f"  {text}")
        say(f"what is left lies in {kept}")
        return EXIT_FOUND
    shutil.rmtree(kept, ignore_errors=True)
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
