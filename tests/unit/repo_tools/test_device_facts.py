"""Every fact that a verdict asks of a device can be signed for it."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from typing import Any

import pytest

from primum_verifier.core.vocabulary import Capability

COMPONENT = "pvc-classifier"
NARROW = """
[devices]
scope = "lot-numbers"
values = ["L7"]

[product]
manufacturer = "Demo"
device_name = "Cardiowear"
model_numbers = ["CW-2"]
udi_di = ["04012345678901"]

"""
MADE = [
    "--model-number", "CW-2", "--lot-number", "L7", "--boot-firmware", "4.1",
    "--hardware-revision", "3", "--sensor", "ads1292r",
]  # fmt: skip
PLACED = [
    "--site-group", "cardio-net", "--use-environment", "indoor", "--patient-category", "adult",
]  # fmt: skip


@pytest.fixture
def narrow(story: Any, terms_text: str) -> Any:
    """A release for one lot of one model, at sites of one group, for adults indoors."""
    text = terms_text.replace('sites = "all"', 'sites = { mode = "group", ids = ["cardio-net"] }')
    hardware = (
        'hardware = [{ hardware_id = "cardiowear-2", revisions = ["3"], boot_firmware = ["4.1"], '
        'sensors = ["ads1292r"] }]\nuse_environments = ["indoor"]\npatient_categories = ["adult"]'
    )
    text = text.replace('hardware = ["cardiowear-2"]', hardware)
    story.publish_first()
    story.make_eligible("1.0.0", terms_text=text.replace("[on_expiry]", NARROW + "[on_expiry]"))
    story.run("rollout", story.engineering, "--component", COMPONENT, "--version", "1.0.0")
    return story


def test_a_device_that_is_all_of_it_runs_it(narrow: Any, provision: Callable[..., Any]) -> None:
    assert narrow
    verdict = provision(*MADE, *PLACED).verdict("1.0.0")
    assert verdict.capability == Capability.CLINICAL, verdict.reason


@pytest.mark.parametrize(
    ("option", "other", "check"),
    [
        ("--model-number", "CW-1", "product"),
        ("--lot-number", "L8", "eligible-devices"),
        ("--boot-firmware", "4.0", "eligible-hardware"),
        ("--sensor", "max30003", "eligible-hardware"),
        ("--site-group", "general", "site"),
        ("--use-environment", "outdoor", "use-environment"),
        ("--patient-category", "neonatal", "patient-category"),
    ],
)
def test_a_device_that_lacks_one_of_it_does_not(
    narrow: Any, provision: Callable[..., Any], option: str, other: str, check: str
) -> None:
    assert narrow
    words = [*MADE, *PLACED]
    words[words.index(option) + 1] = other
    verdict = provision(*words).verdict("1.0.0")
    assert verdict.capability < Capability.CLINICAL
    assert [item.name for item in verdict.checks if item.stands_in_the_way] == [check]


def test_the_trust_map_says_how_offline_and_whether_it_takes_drills(
    published: Any, provision: Callable[..., Any]
) -> None:
    device = provision("--offline-allowance-days", "30", "--takes-drills")
    assert device.trust_map.offline_allowance_days == 30
    assert device.trust_map.takes_drills
    published.run(
        "rollout", published.engineering, "--component", COMPONENT, "--version", "1.0.0"
    )  # fmt: skip
    assert device.verdict("1.0.0").capability == Capability.CLINICAL
    published.run(
        "withdraw", published.clinical, "--component", COMPONENT, "--version", "1.0.0", "--yes",
        "--reason", "Exercise", "--hazard", "H", "--drill",
        "--as", published.folder / "people/a.berg", "--as", published.folder / "people/q.lee",
    )  # fmt: skip
    assert device.verdict("1.0.0").capability < Capability.CLINICAL


def test_what_was_not_said_is_not_signed(story: Any, provision: Callable[..., Any]) -> None:
    """An empty number would be a number; a device that knows none must be known to know none."""
    assert story
    device = provision()
    envelope = json.loads((device.provisioning / "device-context.dsse.json").read_text())
    factory = json.loads(b64decode(envelope["payload"]))["factory"]
    assert not {"modelNumber", "lotNumber", "bootFirmware", "sensors"} & set(factory)


@pytest.mark.parametrize(
    "wrong",
    [
        ["--sensor", "ADS 1292R"],
        ["--patient-category", "old"],
        ["--offline-allowance-days", "400"],
        ["--lot-number", ""],
        ["--site-group", "Cardio Net"],
        ["--component", "PVC"],
    ],
)
def test_a_fact_in_another_form_provisions_nothing(
    story: Any, provision: Callable[..., Any], wrong: list[str]
) -> None:
    with pytest.raises(AssertionError, match="usage"):
        provision(*wrong)
    assert not (story.folder / "provisioning").exists()
