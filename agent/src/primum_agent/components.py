"""The components of a set on this device: their files, what changed, and in which order it goes.

Going forward, components come into effect in the order in which the manifest names them; going
back, in the reverse of it.  What two generations have alike is not touched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol, runtime_checkable

from primum_agent.content_store import ContentStore, StoredItem
from primum_agent.generation_files import CARRIED, claims, place_of
from primum_verifier.core.component import Component, ItemKind
from primum_verifier.core.errors import FailedError, WaitingError
from primum_verifier.core.manifest import ReleaseManifest
from primum_verifier.core.reasons import Reason


@dataclass(frozen=True)
class RestartHold:
    """Why the device must not be restarted now.

    Attributes:
        reason: the reason code.
        found: what was found, for people.
    """

    reason: Reason
    found: str


class ComponentFailedError(FailedError):
    """A component did not come into effect; it is counted against the release."""


class NotYetInEffectError(WaitingError):
    """A restart was asked for; the component is in effect once it has happened."""


class LostSettingsError(NotYetInEffectError):
    """A component in effect has no installer in the settings any more; once it has, it goes on."""


class AskedLaterError(WaitingError):
    """A hook asks to be asked again later; nothing that runs was touched."""


@dataclass(frozen=True)
class Part:
    """One component of one generation.

    Attributes:
        id: the component's name.
        version: its version.
        generation: the number of the generation.
        release: SHA-256 of the manifest.
        folder: where the generation holds its files.
        stored: the files as the store holds them, by item id; those that only carry are there
            until the release has been laid out.
        kinds: the kind of each item, by item id.
        files: the names of the items, by item id.
        identity: equal for two parts with the same bytes.
    """

    id: str
    version: str
    generation: int
    release: str
    folder: Path
    stored: Mapping[str, Path]
    kinds: Mapping[str, ItemKind]
    files: Mapping[str, str]
    identity: str

    @property
    def name(self) -> str:
        """Component and version as people write them."""
        return f"{self.id} {self.version}"

    @property
    def stays(self) -> bool:
        """Whether it runs on where a later release does not name it: a device always has one."""
        return ItemKind.OS_IMAGE in self.kinds.values()

    def stored_of(self, kind: ItemKind) -> Path:
        """Where the store holds the one item of a kind; the manifest was checked to have it."""
        return next(path for item, path in self.stored.items() if self.kinds[item] == kind)


class ComponentInstaller(Protocol):
    """The port behind which one kind of component comes into effect."""

    def ask(self, part: Part) -> None:
        """Whether it may come into effect now; asked before anything is done, at every look.

        Raises:
            AskedLaterError: not now.
            ComponentFailedError: never, or nobody can say.
        """

    def prepare(self, part: Part) -> None:
        """Make it ready beside what runs; nothing that runs is touched.

        Raises:
            FailedError: the device did not take it.
            RefusedError: its files are not what was signed.
        """

    def take_effect(self, part: Part) -> None:
        """Bring it into effect, again if need be: a cut may have come in the middle.

        Raises:
            NotYetInEffectError: it will be, after the restart that was asked for.
            ComponentFailedError: it cannot be.
        """

    def leave(self, part: Part) -> None:
        """Take it out of effect: the generation that comes has no such component."""

    def in_effect(self, part: Part) -> bool:
        """Whether it is, as far as the device can tell; a restart from outside may undo it."""

    def confirm(self, part: Part) -> None:
        """Its release proved health: what would go back by itself need not any more."""


@runtime_checkable
class SeesStarts(Protocol):
    """What an installer may do besides: tell the device that a start of it was a good one."""

    def started(self, part: Part) -> None:
        """The device was started and its release is proven; asked once after each start.

        Raises:
            FailedError: it could not be told.
        """


@runtime_checkable
class RestartsDevice(Protocol):
    """What an installer may be besides: one that restarts the device."""

    def hold_restarts(self, why: Callable[[], RestartHold | None]) -> None:
        """Ask this right before each restart; until it was given, nothing is restarted.

        Args:
            why: what holds it now; None where nothing does.
        """


@runtime_checkable
class LosesWays(Protocol):
    """What an installer may be besides: unable to bring an earlier component back."""

    def way_back(self, part: Part, *, leaving: bool) -> str:
        """Why there is no way back to a component; empty where there is one.

        Args:
            part: the component that would come into effect again.
            leaving: it would be taken out of effect instead.
        """


def parts_of(
    manifest: ReleaseManifest, *, number: int, release: str, folder: Path, store: ContentStore
) -> tuple[Part, ...]:
    """The components of a release as one generation holds them.

    Args:
        manifest: the signed manifest.
        number: the number of the generation.
        release: SHA-256 of the manifest.
        folder: the generation's folder.
        store: where the items lie.
    """
    return tuple(
        _part(component, manifest, number=number, release=release, folder=folder, store=store)
        for component in manifest.components
    )


def _part(
    component: Component,
    manifest: ReleaseManifest,
    *,
    number: int,
    release: str,
    folder: Path,
    store: ContentStore,
) -> Part:
    items = [manifest.item(item) for item in component.items]
    known = "".join(f"{item.id} {item.digest.sha256}\n" for item in sorted(items, key=_id))
    return Part(
        id=component.id,
        version=component.version,
        generation=number,
        release=release,
        folder=folder / component.id,
        stored={item.id: store.path_of(item.digest.sha256) for item in items},
        kinds={item.id: item.kind for item in items},
        files={item.id: item.path for item in items},
        identity=hashlib.sha256(f"{component.installer}\n{known}".encode()).hexdigest(),
    )


def _id(item: object) -> str:
    return str(getattr(item, "id", ""))


def placed_items(manifest: ReleaseManifest) -> tuple[StoredItem, ...]:
    """The files of a release as a generation holds them, those of a component in its folder."""
    content = manifest.model_dump(mode="json", by_alias=True)
    inside = claims(content)
    return tuple(
        StoredItem(
            id=item["id"],
            kind=item["kind"],
            path=place_of(item, inside),
            length=item["length"],
            sha256=item["digest"]["sha256"],
        )
        for item in content["items"]
        if item["kind"] not in CARRIED
    )


class Act(StrEnum):
    """What is done to a component when generations change."""

    TAKE_EFFECT = "take-effect"
    LEAVE = "leave"


def acts_between(
    known: Mapping[str, str], old: Sequence[Part], new: Sequence[Part], *, back: bool
) -> tuple[tuple[Act, Part], ...]:
    """What has to be done, in order, so that ``new`` is in effect.

    Args:
        known: the identity of each component that is in effect for certain, by its name.
        old: the components that are in effect, or may be.
        new: those that are to be.
        back: whether it is going back, in reverse order.
    """
    to_be = {part.id for part in new}
    changed = [(Act.TAKE_EFFECT, part) for part in new if known.get(part.id) != part.identity]
    gone = [(Act.LEAVE, part) for part in old if part.id not in to_be and (back or not part.stays)]
    if not back:
        return (*changed, *reversed(gone))
    order = {part.id: place for place, part in enumerate((*new, *old))}
    return tuple(sorted((*changed, *gone), key=lambda act: -order[act[1].id]))


def failed(part: Part, *, found: str, expected: str, remedy: str) -> ComponentFailedError:
    """The error of a component that does not come into effect."""
    return ComponentFailedError(
        "A component of the release does not come into effect.",
        reason=Reason.STATE_COMPONENT,
        where=part.name,
        found=found,
        expected=expected,
        remedy=remedy,
    )


@dataclass
class FakeComponentInstaller:
    """The double: does nothing, remembers what it was asked, raises where it is told to.

    Attributes:
        raises: the error of each step, by its name.
        asked: each step with the component and the generation, in order.
        effective: what it answers to whether a component is in effect.
    """

    raises: dict[str, Exception] = field(default_factory=dict)
    asked: list[tuple[str, str, int]] = field(default_factory=list)
    effective: bool = True

    def ask(self, part: Part) -> None:
        """See :class:`ComponentInstaller`."""
        self._take("ask", part)

    def prepare(self, part: Part) -> None:
        """See :class:`ComponentInstaller`."""
        self._take("prepare", part)

    def take_effect(self, part: Part) -> None:
        """See :class:`ComponentInstaller`."""
        self._take("take-effect", part)

    def leave(self, part: Part) -> None:
        """See :class:`ComponentInstaller`."""
        self._take("leave", part)

    def in_effect(self, part: Part) -> bool:
        """See :class:`ComponentInstaller`."""
        self._take("in-effect", part)
        return self.effective

    def confirm(self, part: Part) -> None:
        """See :class:`ComponentInstaller`."""
        self._take("confirm", part)

    def _take(self, step: str, part: Part) -> None:
        self.asked.append((step, part.id, part.generation))
        if step in self.raises:
            raise self.raises[step]
