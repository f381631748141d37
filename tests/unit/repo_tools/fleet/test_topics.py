"""Topics: a device's own, and none that only looks like one."""

from __future__ import annotations

import pytest

from primum_repo_tools.fleet.messages import End, split_topic
from primum_verifier.core.errors import RefusedError


@pytest.mark.parametrize("end", End)
def test_each_topic_of_a_device_names_it_and_what_is_said(end: End) -> None:
    assert split_topic(f"primum/demo/wearable-001/{end}", fleet="demo") == ("wearable-001", end)


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "primum/demo/wearable-001",
        "primum/demo/wearable-001/receipt",
        "primum/demo/wearable-001/head/more",
        "primum/other/wearable-001/head",
        "other/demo/wearable-001/head",
        "primum/demo//head",
        "primum/demo/+/head",
        "primum/demo/#/head",
        "primum/demo/$SYS/head",
        "primum/demo/../head",
        "primum/demo/Wearable/head",
        "primum/demo/wearable-001\n/head",
        "primum/demo/wéarable/head",
        f"primum/demo/{'x' * 81}/head",
        f"primum/demo/{'x' * 65_000}/head",
    ],
)
def test_a_topic_with_an_odd_name_is_refused(topic: str) -> None:
    with pytest.raises(RefusedError) as found:
        split_topic(topic, fleet="demo")
    assert found.value.reason == "document.invalid"
    assert len(found.value.found) < 300
