"""Where everything lies in a device's state folder: the one list of names.

Standard library only: the application's library imports this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """The names below one state folder.

    Args:
        root: the state folder; systemd's ``STATE_DIRECTORY``, or what ``--state`` names.
    """

    root: Path

    @property
    def journal(self) -> Path:
        """The database of events, trusted views and counters."""
        return self.root / "journal.db"

    @property
    def journal_mark(self) -> Path:
        """The number of the newest event, so that a lost tail of the journal is noticed."""
        return self.root / "journal.mark"

    @property
    def floors(self) -> Path:
        """The small copy of what must never fall, for the day the journal is damaged."""
        return self.root / "floors.json"

    @property
    def store(self) -> Path:
        """Files by digest."""
        return self.root / "store"

    @property
    def partial(self) -> Path:
        """Files on their way, and a note on each."""
        return self.store / "partial"

    @property
    def generations(self) -> Path:
        """One folder for each set of files that belong together."""
        return self.root / "generations"

    @property
    def active(self) -> Path:
        """The link that names the generation in use."""
        return self.root / "active"

    @property
    def components(self) -> Path:
        """One link for each tree of a set that is in effect, by the component's name."""
        return self.root / "components"

    @property
    def device_key(self) -> Path:
        """The device's private key, PKCS#8 PEM, or the address of one on a token; mode 0600."""
        return self.root / "device.key"

    @property
    def passphrase(self) -> Path:
        """What an encrypted key opens with: a file, or a link to one."""
        return self.root / "device.key.passphrase"

    @property
    def refused_pin(self) -> Path:
        """Which PIN a token refused, so that it is not tried until the token locks."""
        return self.root / "device.key.refused"

    @property
    def next_key(self) -> Path:
        """The key that is to take the place of the device's, once its context is there."""
        return self.root / "device.next.key"

    @property
    def next_public(self) -> Path:
        """The public half of the key that is to come."""
        return self.root / "device.next.public.json"

    @property
    def device_public(self) -> Path:
        """The public half, as a PublicKey document."""
        return self.root / "device.public.json"

    @property
    def enrolment(self) -> Path:
        """The names that the device was enrolled under."""
        return self.root / "device.enrolment.json"

    @property
    def client(self) -> Path:
        """The client certificate with its key, replaced together."""
        return self.root / "client.pem"

    @property
    def next_client_key(self) -> Path:
        """The key that a certificate was asked for."""
        return self.root / "client.next.key"

    @property
    def reset_intent(self) -> Path:
        """There from before a reset removes anything until after it removed everything."""
        return self.root / "reset.json"

    @property
    def tombstone(self) -> Path:
        """What is left of a device that was decommissioned."""
        return self.root / "decommissioned.json"

    @property
    def self_tests(self) -> Path:
        """The device's signed statements on self-tests, by release."""
        return self.root / "self-tests"

    @property
    def run(self) -> Path:
        """What is made anew while the agent runs."""
        return self.root / "run"

    @property
    def arrived_receipts(self) -> Path:
        """What came as receipts and nobody looked at yet, one a line."""
        return self.run / "arrived-receipts"

    @property
    def standing(self) -> Path:
        """What the application may use, replaced whole."""
        return self.run / "standing.json"

    @property
    def fetching(self) -> Path:
        """How far fetching is, while something is fetched."""
        return self.run / "fetching.json"

    @property
    def shadow(self) -> Path:
        """What may run in shadow now, replaced whole; not there where nothing may."""
        return self.run / "shadow.json"

    @property
    def shadow_counts(self) -> Path:
        """What was counted of the release in shadow; no output of it."""
        return self.root / "shadow-counts.json"

    @property
    def socket(self) -> Path:
        """Where the application and the commands talk to the supervisor."""
        return self.run / "primum.sock"

    @property
    def scratch(self) -> Path:
        """What an attempt needs for a moment; emptied when the next one begins."""
        return self.run / "scratch"

    @property
    def runner_lock(self) -> Path:
        """Held by the one runner."""
        return self.run / "runner.lock"

    @property
    def agent_lock(self) -> Path:
        """Held by the one supervisor."""
        return self.run / "agent.lock"

    @property
    def update_lock(self) -> Path:
        """Held by the one attempt."""
        return self.run / "update.lock"
