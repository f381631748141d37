"""The installer port: how the files of a release become one generation on this device.

A generation is the whole set: the files of the model, laid out and linked, and every further
component behind the installer that the device has for it.  One link names the generation in use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from primum_agent.components import (
    Act,
    AskedLaterError,
    ComponentInstaller,
    LosesWays,
    Part,
    RestartHold,
    RestartsDevice,
    SeesStarts,
    acts_between,
    parts_of,
    placed_items,
)
from primum_agent.components_record import InEffect
from primum_agent.content_store import FolderStore, StoredItem
from primum_agent.device_state import DeviceState, Generation
from primum_agent.served_terms import terms_of_verdict
from primum_verifier.core.component import ItemKind
from primum_verifier.core.document import parse_document, sha256_hex
from primum_verifier.core.errors import FailedError, PrimumError
from primum_verifier.core.manifest import ReleaseManifest
from primum_verifier.core.question import Verdict
from primum_verifier.core.reasons import Reason

_NOT_SERVED = {
    ItemKind.SELF_TEST_SPECIFICATION,
    ItemKind.SELF_TEST_FIXTURES,
    ItemKind.TREE_LIST,
}
"""Kinds that the device tests itself with, or unpacks by; an application has no use for them."""


Known = Mapping[str, InEffect]
"""What is in effect, by the names of the components."""


_NO_INSTALLER = "no installer in agent.toml"


class Installer(Protocol):
    """The port."""

    def ask(self, manifest: bytes, *, known: Known) -> Mapping[str, str] | None:
        """Whether the components of a release may come into effect now.

        Args:
            manifest: the signed manifest.
            known: what is in effect.

        Returns:
            Why not now, by the names of the components; empty where they may; None where nobody
            has to be asked.

        Raises:
            ComponentFailedError: one of them never may, or nobody can say.
        """

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

    def acts(self, number: int | None, *, known: Known, back: bool) -> tuple[tuple[Act, Part], ...]:
        """What has to be done so that the components of a generation are in effect.

        Args:
            number: the generation; None is safe mode, where nothing is touched.
            known: what is in effect.
            back: whether it is going back, in reverse order.
        """

    def act(self, act: Act, part: Part) -> None:
        """Do one of them.

        Raises:
            NotYetInEffectError: it will be in effect, after the restart that was asked for.
            ComponentFailedError: it cannot be.
            FailedError: the device did not do its part.
        """

    def not_in_effect(self, number: int) -> tuple[str, ...]:
        """The components of a generation that something from outside took out of effect."""

    def no_way_back(self, number: int, *, since: int | None, known: Known) -> str:
        """Why the components of an earlier generation cannot come back; empty where they can.

        Args:
            number: the generation that would be gone back to.
            since: the generation that would be left.
            known: what is in effect.
        """

    def lost_to_settings(self, number: int | None, *, known: Known, back: bool) -> tuple[str, ...]:
        """The components that would be touched and that the settings do not name; see `acts`."""

    def hold_restarts(self, why: Callable[[], RestartHold | None]) -> None:
        """What is asked right before the device is restarted for a component."""

    def confirm(self, number: int) -> None:
        """A generation proved health: its components need not go back by themselves."""

    def started(self, number: int) -> None:
        """The device was started with a generation that is proven; told once after each start.

        Raises:
            FailedError: a component could not be told.
        """


class SetInstaller:
    """A generation's folder, the link ``active``, and the components of the set.

    Args:
        store: the content store, holding every item.
        components: for each component that this device takes, what brings it into effect.
    """

    def __init__(
        self, store: FolderStore, components: Mapping[str, ComponentInstaller] | None = None
    ) -> None:
        self._store = store
        self._components = components or {}

    def ask(self, manifest: bytes, *, known: Known) -> Mapping[str, str] | None:
        """See :class:`Installer`."""
        later: dict[str, str] = {}
        parts = self._parts_by(manifest, number=0, folder=self._store.folder_of(0))
        for part in parts:
            try:
                self._installer_of(part).ask(part)
            except AskedLaterError as error:
                later[part.id] = f"{error.where}: {error.found}"
        # Whoever is to be told to leave has to be reachable, before anything is switched.
        named = {part.id for part in parts}
        lost = (name for name in known if name not in named and name not in self._components)
        later |= {name: f"{name}: no installer in agent.toml any more" for name in lost}
        return later if parts or later else None

    def lay_out(self, generation: Generation, *, manifest: bytes, verdict: Verdict) -> None:
        """See :class:`Installer`."""
        signed = verdict.manifest
        if signed is None:
            raise RuntimeError("a release without a manifest reached the installer")
        record = {**asdict(generation), **terms_of(verdict)}

        def prepare(making: Path) -> None:
            for part in self._parts_in(making, signed, generation.number, generation.release):
                self._installer_of(part).prepare(part)

        self._store.make_generation(
            generation.number,
            items=placed_items(signed),
            manifest=manifest,
            record=record,
            prepare=prepare,
        )

    def switch(self, number: int | None) -> None:
        """See :class:`Installer`."""
        self._store.activate(number)

    def active(self) -> int | None:
        """See :class:`Installer`."""
        return self._store.active()

    def acts(self, number: int | None, *, known: Known, back: bool) -> tuple[tuple[Act, Part], ...]:
        """See :class:`Installer`."""
        if number is None:
            # Safe mode: what is left runs on; the application reads that no model may be used.
            return ()
        old = [
            part
            for name, item in known.items()
            for part in self._parts(item.generation)
            if part.id == name
        ]
        sure = {name: item.identity for name, item in known.items() if item.whole}
        return acts_between(sure, old, self._parts(number), back=back)

    def act(self, act: Act, part: Part) -> None:
        """See :class:`Installer`."""
        installer = self._installer_of(part)
        if act is Act.LEAVE:
            installer.leave(part)
        else:
            installer.take_effect(part)

    def not_in_effect(self, number: int) -> tuple[str, ...]:
        """See :class:`Installer`."""
        return tuple(part.name for part in self._out_of_effect(number))

    def no_way_back(self, number: int, *, since: int | None, known: Known) -> str:
        """See :class:`Installer`."""
        gone = {part.identity for part in self._out_of_effect(since)}
        for part in self._parts(number):
            if part.identity in gone:
                return f"{part.name}: no longer in effect"
        for act, part in self.acts(number, known=known, back=True):
            installer: object = self._components.get(part.id)
            if installer is None:
                return f"{part.name}: {_NO_INSTALLER}"
            if isinstance(installer, LosesWays):
                why = installer.way_back(part, leaving=act is Act.LEAVE)
                if why:
                    return why
        return ""

    def lost_to_settings(self, number: int | None, *, known: Known, back: bool) -> tuple[str, ...]:
        """See :class:`Installer`."""
        touched = [part.id for _, part in self.acts(number, known=known, back=back)]
        return tuple(name for name in touched if name not in self._components)

    def hold_restarts(self, why: Callable[[], RestartHold | None]) -> None:
        """See :class:`Installer`."""
        for installer in self._components.values():
            known: object = installer
            if isinstance(known, RestartsDevice):
                known.hold_restarts(why)

    def confirm(self, number: int) -> None:
        """See :class:`Installer`."""
        untold: FailedError | None = None
        for part in self._parts(number):
            try:
                self._installer_of(part).confirm(part)
            except FailedError as error:
                # One that cannot be told must not keep the others from hearing it.
                untold = untold or error
        if untold is not None:
            raise untold

    def started(self, number: int) -> None:
        """See :class:`Installer`."""
        for part in self._parts(number):
            installer: object = self._components.get(part.id)
            if isinstance(installer, SeesStarts):
                installer.started(part)

    def _out_of_effect(self, number: int | None) -> tuple[Part, ...]:
        """The components that are not; of one that the settings lost nobody can say it."""
        known = ((part, self._components.get(part.id)) for part in self._parts(number))
        return tuple(part for part, by in known if by is not None and not by.in_effect(part))

    def _parts(self, number: int | None) -> tuple[Part, ...]:
        """The components of a generation; none where it is not there or cannot be read."""
        manifest = None if number is None else self._store.manifest_of(number)
        if number is None or manifest is None:
            return ()
        try:
            return self._parts_by(manifest, number=number, folder=self._store.folder_of(number))
        except PrimumError:
            return ()

    def _parts_by(self, manifest: bytes, *, number: int, folder: Path) -> tuple[Part, ...]:
        signed = parse_document(ReleaseManifest, manifest, where=f"generation {number}")
        return self._parts_in(folder, signed, number, sha256_hex(manifest))

    def _parts_in(
        self, folder: Path, signed: ReleaseManifest, number: int, release: str
    ) -> tuple[Part, ...]:
        return parts_of(signed, number=number, release=release, folder=folder, store=self._store)

    def _installer_of(self, part: Part) -> ComponentInstaller:
        found = self._components.get(part.id)
        if found is None:
            # The rule "components" let it through once; the settings were changed since, and that
            # is no fault of the release.
            raise FailedError(
                "A component of the release has no installer on this device any more.",
                reason=Reason.STATE_COMPONENT,
                where=part.name,
                found=_NO_INSTALLER,
                expected=f"[components.{part.id}]",
                remedy="Put the component back into agent.toml.",
            )
        return found


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

    def ask(
        self,
        manifest: bytes,  # noqa: ARG002 - it has no components
        *,
        known: Known,  # noqa: ARG002
    ) -> Mapping[str, str] | None:
        """See :class:`Installer`."""
        return None

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

    def acts(
        self,
        number: int | None,  # noqa: ARG002 - it has no components
        *,
        known: Known,  # noqa: ARG002
        back: bool,  # noqa: ARG002
    ) -> tuple[tuple[Act, Part], ...]:
        """See :class:`Installer`."""
        return ()

    def act(self, act: Act, part: Part) -> None:
        """See :class:`Installer`."""

    def not_in_effect(self, number: int) -> tuple[str, ...]:  # noqa: ARG002
        """See :class:`Installer`."""
        return ()

    def no_way_back(
        self,
        number: int,  # noqa: ARG002
        *,
        since: int | None,  # noqa: ARG002
        known: Known,  # noqa: ARG002
    ) -> str:
        """See :class:`Installer`."""
        return ""

    def lost_to_settings(
        self,
        number: int | None,  # noqa: ARG002 - it has no components
        *,
        known: Known,  # noqa: ARG002
        back: bool,  # noqa: ARG002
    ) -> tuple[str, ...]:
        """See :class:`Installer`."""
        return ()

    def hold_restarts(self, why: Callable[[], RestartHold | None]) -> None:
        """See :class:`Installer`; it restarts nothing."""

    def confirm(self, number: int) -> None:
        """See :class:`Installer`."""

    def started(self, number: int) -> None:
        """See :class:`Installer`."""

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


def is_for_application(item: StoredItem) -> bool:
    """Whether the standing names this file of a generation: those of components it does not."""
    return item.kind not in set(_NOT_SERVED) and "/" not in item.path


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
        data_floor_counter=manifest.rollback.data_floor_counter,
        statement=verdict.statement_digest,
        statement_number=statement.predicate.statement_number,
        health_window=manifest.activation.health_window_seconds,
        max_attempts=manifest.activation.max_attempts,
        mode=statement.predicate.use.mode,
    )
