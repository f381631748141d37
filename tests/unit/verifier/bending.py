"""How a test bends the world before it asks: one small change each, to be combined."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from tests.unit.verifier.conftest import NOW, World, moment

from primum_verifier.core.document import sha256_hex
from primum_verifier.core.question import Verdict
from primum_verifier.core.reasons import Reason
from primum_verifier.core.verdict import judge
from primum_verifier.core.vocabulary import Capability, Phase

Bend = Callable[[World], object]

Row = tuple[Bend, Bend, Reason]
"""What lies inside a bound, what lies one step beyond, and why that is refused."""


def both(*bends: Bend) -> Bend:
    """One bend after another."""

    def bend(world: World) -> None:
        for item in bends:
            item(world)

    return bend


def nothing(_: World) -> None:
    """The world as it is: everything is right."""


def facts(**changes: Any) -> Bend:
    """The device finds something else."""
    return lambda world: world.facts.update(changes)


def within(part: str, path: str, value: Any) -> Bend:
    """A member of a document, by its path with dots, has another value."""

    def bend(world: World) -> None:
        place = getattr(world, part)
        *folders, last = path.split(".")
        for folder in folders:
            place = place[int(folder) if folder.isdecimal() else folder]
        place[last] = value

    return bend


def statement(**members: Any) -> Bend:
    """The statement has these members."""
    return lambda world: world.statement.update(members)


def constraint(**members: Any) -> Bend:
    """The statement's constraints have these members."""
    return lambda world: world.statement["constraints"].update(members)


def manifest(**members: Any) -> Bend:
    """The manifest has these members."""
    return lambda world: world.manifest.update(members)


def shadow_first(**members: Any) -> Bend:
    """The statement asks for a clean time in shadow on each device first."""
    first = {"minHours": 48, "minComparisons": 1000, "maxFlipShare": "0.01", **members}
    kind, digest = "monitoring-specification", {"sha256": "a" * 64}
    item = {"id": kind, "kind": kind, "path": f"{kind}.bin", "length": 3, "digest": digest}
    return both(
        statement(use={"mode": "clinical", "shadowFirst": first}, monitoringSpecification=digest),
        lambda world: world.manifest["items"].append(item),
    )


def shadow_was_clean(world: World) -> None:
    """The device had it in shadow, cleanly, under the statement as it now stands."""
    world.facts.update(shadowed_under=sha256_hex(world.statement_bytes()))


TREE = {"id": "app", "version": "2.0.0", "installer": "tree", "items": ["app.list", "app.pack"]}
IMAGE = {"id": "os", "version": "3.1.0", "installer": "rauc", "items": ["os.image"]}
HOOK = {"id": "pump", "version": "1.0.0", "installer": "hook", "items": ["pump.bin"]}
_COMPONENT_ITEMS = (
    ("app.list", "tree-list"),
    ("app.pack", "tree-pack"),
    ("os.image", "os-image"),
    ("pump.bin", "driver"),
)


def a_set(*components: dict[str, Any]) -> Bend:
    """The release is a set of these components, with the items that they claim."""

    def bend(world: World) -> None:
        claimed = {name for component in components for name in component["items"]}
        world.manifest.update(installer="set", components=[dict(item) for item in components])
        world.manifest["bundle"]["track"] = "combined"
        world.manifest["items"] += [
            {"id": name, "kind": kind, "path": name, "length": 3, "digest": digest("d")}
            for name, kind in _COMPONENT_ITEMS
            if name in claimed
        ]

    return bend


def made(**members: Any) -> Bend:
    """The context says this of how the device was made."""
    return lambda world: world.context["factory"].update(members)


def placed(**members: Any) -> Bend:
    """The context says this of where the device stands."""
    return lambda world: world.context["placement"].update(members)


def policy(**members: Any) -> Bend:
    """The approval policy has these members."""
    return lambda world: world.policy.update(members)


def needs(**members: Any) -> Bend:
    """The policy's requirement for production has these members."""
    return lambda world: world.policy["requirements"][0].update(members)


def trust_map(**members: Any) -> Bend:
    """The device was provisioned with this."""
    return lambda world: world.trust_map.update(members)


def attribute(name: str, value: Any) -> Bend:
    """The world itself is otherwise."""
    return lambda world: setattr(world, name, value)


def noticed(*signers: str, **changes: Any) -> Bend:
    """These people sign a notice about the release."""
    return lambda world: world.notice(*signers, **changes)


def held(signer: str = "clinical", **changes: Any) -> Bend:
    """One person holds the release, three days from now at most."""
    said = {"kind": "hold", "action": "no-new-activation", "expiresAt": when(days=3), **changes}
    return noticed(signer, **said)


def restricted(*signers: str, **members: Any) -> Bend:
    """Two functions narrow the release."""
    who = signers or ("clinical", "quality")
    return noticed(*who, kind="restriction", action="restrict", restriction=members)


def accepted(**changes: Any) -> Bend:
    """The hospital is on the trust map and accepts the statement."""
    entry = {"acceptedFrom": moment(NOW), "person": "Head", "conditions": [], **changes}
    return lambda world: world.accept(accepted=[entry])


def expires(at: datetime, *roles: str) -> Bend:
    """These roles of every authority end then."""
    return lambda world: world.expires.update(dict.fromkeys(roles, at))


def at(*, clock: datetime | None = None, **later: float) -> Bend:
    """Both clock and proven time stand this much after the start; or the clock somewhere else."""
    now = NOW + timedelta(**later)
    return facts(clock=clock or now, proven=now)


def when(**later: float) -> str:
    """A moment this much after the start, as documents write it."""
    return moment(NOW + timedelta(**later))


def drop_approval(function: str) -> Bend:
    """Nobody of this function approved."""

    def bend(world: World) -> None:
        world.approvals = [item for item in world.approvals if item["function"] != function]

    return bend


def change_approval(function: str, **changes: Any) -> Bend:
    """The approval of this function says something else."""

    def bend(world: World) -> None:
        for item in world.approvals:
            if item["function"] == function:
                item.update(changes)

    return bend


def digest(letter: str) -> dict[str, str]:
    """Some digest."""
    return {"sha256": letter * 64}


def asked(world: World, bend: Bend = nothing, *, phase: Phase | None = None) -> Verdict:
    """The verdict over the bent world; what runs was activated in the world as it was."""
    if phase == Phase.CONTINUE:
        world.run()
    elif phase is not None:
        world.facts["phase"] = phase
    bend(world)
    return judge(world.question())


def granted(verdict: Verdict) -> bool:
    """Whether the device may use it on patients."""
    return verdict.capability == Capability.CLINICAL


def left(number: int, *, notices: bool) -> Bend:
    """Somebody has left, and the notices so far stay honoured, or only something else does."""

    def bend(world: World) -> None:
        digests = ["9" * 64]
        if notices:
            payloads = [json.loads(line)["payload"] for line in world.notice_lines().splitlines()]
            digests += [sha256_hex(base64.b64decode(payload)) for payload in payloads]
        world.policy["people"][number].update(
            status="left", honoured=[{"sha256": digest} for digest in digests]
        )

    return bend
