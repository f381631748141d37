"""The installer port: how the files of a release become one generation on this device.

The installer ``model`` lays out files and links; others (a software tree, an OS image) stand
behind the same port.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Protocol

from primum_agent.content_store import FolderStore, StoredItem
from primum_agent.device_state import DeviceState, Generation
from primum_agent.served_terms import terms_of_verdict
from primum_verifier.core.component import ItemKind
from primum_verifier.core.errors import FailedError
from primum_verifier.core.manifest import ReleaseManifest
from primum_verifier.core.question import Verdict
from primum_verifier.core.reasons import Reason

TEST_ONLY = {ItemKind.SELF_TEST_SPECIFICATION, ItemKind.SELF_TEST_FIXTURES}
"""Kinds that the device tests itself with; the application has no use for them."""


class Installer(Protocol):
    """The port."""

    def lay_out(self, generation: Generation, *, manifest: bytes, verdict: Verdict) -> None:
        """Make the generation ready beside the active one; nothing that runs is touched.

        Raises:
            FailedError: the device did not take it; nothing is left under the number.
        """

    def switch(self, number: int | None) -> None:
        """Make a generation the active one in one step; None leaves no active one.

        Raises:
            FailedError: the device did not take it; the old one is active.
        """

    def active(self) -> int | None:
        """What is active, by the disk and not by the journal."""


class ModelInstaller:
    """Files linked into a generation's folder, switched by the link ``active``.

    Args:
        store: the content store, holding every item.
    """

    def __init__(self, store: FolderStore) -> None:
        self._store = store

    def lay_out(self, generation: Generation, *, manifest: bytes, verdict: Verdict) -> None:
        """See :class:`Installer`."""
        if verdict.manifest is None:
            raise RuntimeError("a release without a manifest reached the installer")
        record = {**asdict(generation), **terms_of(verdict)}
        self._store.make_generation(
            generation.number,
            items=items_of(verdict.manifest),
            manifest=manifest,
            record=record,
        )

    def switch(self, number: int | None) -> None:
        """See :class:`Installer`."""
        self._store.activate(number)

    def active(self) -> int | None:
        """See :class:`Installer`."""
        return self._store.active()


class Step(StrEnum):
    """What an installer is asked to do."""

    LAY_OUT = "lay-out"
    SWITCH = "switch"


@dataclass
class FakeInstaller:
    """The double: lays nothing out, remembers what it was asked, and fails where it is told to.

    Attributes:
        fails_at: the step that the storage does not take; None lets all succeed.
        asked: each step with the generation it was about, in order.
        on_disk: what it says is active.
    """

    fails_at: Step | None = None
    asked: list[tuple[Step, int | None]] = field(default_factory=list)
    on_disk: int | None = None

    def lay_out(
        self,
        generation: Generation,
        *,
        manifest: bytes,  # noqa: ARG002 - it keeps no files
        verdict: Verdict,  # noqa: ARG002
    ) -> None:
        """See :class:`Installer`."""
        self._take(Step.LAY_OUT, generation.number)

    def switch(self, number: int | None) -> None:
        """See :class:`Installer`."""
        self._take(Step.SWITCH, number)
        self.on_disk = number

    def active(self) -> int | None:
        """See :class:`Installer`."""
        return self.on_disk

    def _take(self, step: Step, number: int | None) -> None:
        self.asked.append((step, number))
        if step is self.fails_at:
            raise FailedError(
                f"The storage did not take the step {step}.",
                reason=Reason.RESOURCE_STORAGE,
                where="FakeInstaller",
            )


def items_of(manifest: ReleaseManifest) -> tuple[StoredItem, ...]:
    """The files of a release as the content store knows them."""
    return tuple(
        StoredItem(
            id=item.id,
            kind=str(item.kind),
            path=item.path,
            length=item.length,
            sha256=item.digest.sha256,
        )
        for item in manifest.items
    )


def terms_of(verdict: Verdict) -> dict[str, object]:
    """What the statement lets the application do, kept with the generation.

    A list that loses the entry later must not take the operating point with it.
    """
    terms = terms_of_verdict(verdict)
    if verdict.statement is None or terms is None:
        return {}
    said = verdict.statement.predicate
    return {
        **terms.as_record(),
        "safeNotice": said.fail_safe.user_notice,
        "statementDocument": (verdict.statement_bytes or b"").decode(),
    }


def generation_for(state: DeviceState, verdict: Verdict) -> Generation:
    """The next generation, for a release that may be activated.

    Args:
        state: the present state; it holds the next number.
        verdict: a verdict with manifest and statement.
    """
    manifest, statement = verdict.manifest, verdict.statement
    if manifest is None or statement is None or verdict.statement_digest is None:
        raise RuntimeError("a release without manifest or statement reached activation")
    return Generation(
        number=state.next_generation,
        component=manifest.bundle.component,
        version=manifest.bundle.version,
        release=verdict.release,
        counter=manifest.bundle.release_counter,
        floor_counter=manifest.rollback.floor_counter,
        statement=verdict.statement_digest,
        statement_number=statement.predicate.statement_number,
        health_window=manifest.activation.health_window_seconds,
        max_attempts=manifest.activation.max_attempts,
        mode=statement.predicate.use.mode,
    )
