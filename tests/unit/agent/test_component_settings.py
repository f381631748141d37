"""What the maker says of each component: what cannot be meant is told member by member."""

from __future__ import annotations

import pytest

from primum_agent.component_settings import ComponentSettings, component_faults

HOOK = ComponentSettings("hook", command=("/usr/libexec/pump",))
IMAGE = ComponentSettings("rauc", reboot=("/usr/bin/systemctl", "reboot"))
TREE = ComponentSettings("tree", unit="app.service")
AGENT = ComponentSettings("tree", agent=True)


def test_one_of_each_is_well() -> None:
    components = {"pump": HOOK, "os": IMAGE, "app": TREE, "agent": AGENT}
    assert list(component_faults(components)) == []


@pytest.mark.parametrize(
    ("settings", "member"),
    [
        (ComponentSettings("docker"), "installer"),
        (ComponentSettings("hook"), "command"),
        (ComponentSettings("hook", command=("pump",)), "command"),
        (ComponentSettings("rauc"), "reboot"),
        (ComponentSettings("rauc", reboot=("reboot",)), "reboot"),
        (ComponentSettings("rauc", reboot=("/sbin/reboot",), rauc_config="a.conf"), "rauc_config"),
        (ComponentSettings("tree", rauc_config="/other.conf"), "rauc_config"),
        (ComponentSettings("tree", reboot=("/sbin/reboot",)), "reboot"),
        (ComponentSettings("rauc", reboot=("/sbin/reboot",), unit="a.service"), "unit"),
        (ComponentSettings("tree", unit="app"), "unit"),
        (ComponentSettings("tree", unit="app.service", agent=True), "unit"),
        (ComponentSettings("tree", step_seconds=0.5), "step_seconds"),
        (ComponentSettings("hook", command=("/x",), asks_at_most=-1), "asks_at_most"),
    ],
)
def test_what_cannot_be_meant_is_told(settings: ComponentSettings, member: str) -> None:
    ((where, _, expected),) = component_faults({"it": settings})
    assert where == f"it.{member}"
    assert expected


@pytest.mark.parametrize("one", [IMAGE, AGENT])
def test_a_device_has_one_system_and_one_agent(one: ComponentSettings) -> None:
    ((_, found, expected),) = component_faults({"first": one, "second": one})
    assert found.startswith("two components")
    assert expected == "one"


def test_a_device_has_no_more_components_than_a_manifest_holds() -> None:
    many = {f"hook-{number}": HOOK for number in range(21)}
    assert [found for _, found, _ in component_faults(many)] == ["21"]
