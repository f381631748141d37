"""One danger after another over real repositories and a journal on disk, and what each leaves.

A test bends the honest world, lets the device poll it, and asks.  ``Staged.ends_well`` closes
every case: floors stand, nothing is left behind, what runs goes on, and the next good publication
is taken with no hand repair.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from tests.scenarios.compromise.cells import base
from tests.scenarios.compromise.world import ATTACK, DAY, HOUR, Device, Release, TwoAuthorities
from tests.unit.verifier.conftest import NOW

from primum_agent.clock import FakeClock
from primum_agent.journal import Journal
from primum_agent.layout import Layout
from primum_agent.trust_journal import JournalTrustStore
from primum_verifier.core.question import Verdict
from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import Capability, Phase
from primum_verifier.shell.authorities import Refreshed


class Staged:
    """A world to bend, and a device that accepted it before, with its state on disk.

    Attributes:
        world: a copy of the honest world before its newest publication.
        device: a device whose trust stores are tables of a real journal.
        at: the moment that everything is staged at.
    """

    def __init__(self, folder: Path, *, site: bool = False) -> None:
        self.folder, self.at = folder, ATTACK
        self.good = base(site=site)
        self.world: TwoAuthorities = self.good.before.fork()
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        (folder / "state").mkdir()
        self.device = Device(self.good.before, scratch=self.scratch)
        self._reopen()
        refreshed = self.poll(at=NOW)
        assert not refreshed.problems
        self.floors = self._floors()

    def _reopen(self) -> None:
        """Open the journal as after a start of the machine."""
        self.journal = Journal.open_or_restart(
            Layout(self.folder / "state"), clock=FakeClock(), device_id="wearable-001"
        )
        for name in self.world.authorities:
            self.device.stores[name] = JournalTrustStore(self.journal, name)

    def _floors(self) -> dict[str, int]:
        kept = {name: store.load() for name, store in self.device.stores.items()}
        return {
            f"{name}/{role}": version
            for name, trusted in kept.items()
            if trusted is not None
            for role, version in trusted.floors.items()
        }

    @property
    def better(self) -> Release:
        """The release that everybody is about to get."""
        return self.world.releases["better"]

    def poll(
        self, *, at: datetime | None = None, files: dict[str, bytes] | None = None
    ) -> Refreshed:
        """The device asks all authorities."""
        return self.device.poll(files or self.world.files, at or self.at)

    def publish(self) -> Refreshed:
        """The honest side publishes the better release, bent as the test left it."""
        self.world.correct(NOW + HOUR)
        return self.poll()

    def ask(self, name: str = "better", phase: Phase = Phase.ACTIVATE, **facts: Any) -> Verdict:
        """What may be done with a release."""
        return self.device.ask(
            self.world.releases[name].release, phase, facts.pop("at", self.at), **facts
        )

    def refused(
        self, reason: Reason, name: str = "better", phase: Phase = Phase.ACTIVATE, **facts: Any
    ) -> Verdict:
        """It is refused, for this first reason, in words that a person can act on."""
        verdict = self.ask(name, phase, **facts)
        assert verdict.capability < Capability.SHADOW
        assert verdict.primary == reason, [check.as_dict() for check in verdict.in_the_way]
        first = verdict.in_the_way[0]
        assert first.found
        assert first.expected
        return verdict

    def still_runs(self) -> None:
        """What serves a patient goes on, and nothing is said against it."""
        verdict = self.ask("running", Phase.CONTINUE)
        assert verdict.order is None, verdict.order

    def ends_well(self, *, context: bytes | None = None) -> None:
        """What is left on disk, and the next good run."""
        before = {name: store.load() for name, store in self.device.stores.items()}
        self.journal.close()
        self._reopen()
        after = {name: store.load() for name, store in self.device.stores.items()}
        assert after == before, "what was kept reads the same after a start"
        self.disk_is_clean()
        self.device.context = context or self.good.before.context
        self.device.clock = self.at - self.at
        self.world.releases = self.good.before.fork().releases
        self.world.first = self.world.releases["running"]
        self.world.listed = dict(self.good.before.listed)
        self.world.correct(self.at + DAY)
        self.at += DAY + HOUR
        refreshed = self.poll()
        assert not refreshed.problems, refreshed.problems
        verdict = self.ask(phase=Phase.INSTALL)
        in_the_way = [check.as_dict() for check in verdict.in_the_way]
        assert verdict.capability is Capability.CLINICAL, in_the_way
        self.still_runs()
        self.disk_is_clean()
        self.journal.close()

    def disk_is_clean(self) -> None:
        """No floor fell, and nothing lies about."""
        now = self._floors()
        assert {
            role for role, version in self.floors.items() if now.get(role, 0) < version
        } == set()
        assert not list(self.scratch.iterdir())
        left = [path.name for path in self.folder.rglob("*") if path.is_file()]
        assert {name.split(".")[0] for name in left} <= {"journal", "floors"}, left
