"""Settings: a mistyped limit is never no limit, and the error names the member."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from primum_agent.settings import read_settings
from primum_agent.timing import LONGEST_BACK_OFF, backed_off, jittered
from primum_verifier.core.errors import UsageError

GOOD = """
schema_version = "0.1"
device_id = "wearable-001"
component = "pvc-classifier"
hardware_id = "cardiowear-2"
[repositories.engineering]
metadata_url = "https://example.org/e/metadata/"
targets_url = "https://example.org/e/targets/"
artifacts_url = "https://example.org/e/artifacts/"
[repositories.clinical]
metadata_url = "https://example.org/c/metadata/"
targets_url = "https://example.org/c/targets/"
[transport]
allow_http = false
[broker]
addresses = ["mqtts://broker.example.org", "mqtts://10.0.0.7:8884", "mqtt://127.0.0.1:1"]
ca_file = "broker-ca.pem"
fleet = "demo"
[timing]
poll_seconds = 3600
poll_jitter = 0.2
[journal]
keep_days = 30
max_bytes = 8388608
[application]
asks_per_episode = true
[platform]
conditions_met = ["second-lead"]
[installed]
filter = "1.2.0"
"""


def read(folder: Path, text: str | bytes) -> Any:
    data = text if isinstance(text, bytes) else text.encode()
    (folder / "agent.toml").write_bytes(data)
    return read_settings(folder)


def test_the_settings_as_provisioned_are_read(tmp_path: Path) -> None:
    found = read(tmp_path, GOOD)
    assert found.device_id == "wearable-001"
    assert found.broker is not None
    assert [(item.host, item.port, item.tls) for item in found.broker.parsed] == [
        ("broker.example.org", 8883, True),
        ("10.0.0.7", 8884, True),
        ("127.0.0.1", 1, False),
    ]
    assert found.broker_ca == tmp_path / "broker-ca.pem"
    assert found.timing.poll_seconds == 3600.0
    assert found.trust_map == tmp_path / "trust-map.json"
    assert (found.journal.keep_days, found.journal.max_bytes) == (30.0, 8_388_608)
    assert found.journal.keep_events == 1000
    assert found.application.asks_per_episode
    assert found.platform.conditions_met == ("second-lead",)
    assert found.installed == {"filter": "1.2.0"}
    assert list(found.repositories.all) == ["engineering", "clinical"]


def test_what_nobody_promises_is_not_promised(tmp_path: Path) -> None:
    found = read(tmp_path, GOOD.partition("[application]")[0])
    assert not found.application.asks_per_episode
    assert found.platform.conditions_met == ()
    assert found.installed == {}


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('"wearable-001"', '"wearable/001"', "device_id"),
        ('"wearable-001"', '"+"', "device_id"),
        ('"demo"', '"demo/#"', "broker.fleet"),
        ("mqtts://10.0.0.7:8884", "mqtt://10.0.0.7:8884", "broker.addresses"),
        ("mqtts://10.0.0.7:8884", "mqtts://10.0.0.7:0", "broker.addresses"),
        ("mqtts://10.0.0.7:8884", "mqtts://10.0.0.7:65536", "broker.addresses"),
        ("mqtts://10.0.0.7:8884", "mqtts://me:pass@10.0.0.7", "broker.addresses"),
        ("mqtts://10.0.0.7:8884", "mqtts://10.0.0.7/topic", "broker.addresses"),
        ("mqtts://10.0.0.7:8884", "https://10.0.0.7:8884", "broker.addresses"),
        ("mqtts://10.0.0.7:8884", "mqtts://", "broker.addresses"),
        ('"mqtts://10.0.0.7:8884"', "7", "broker.addresses"),
        (', "mqtts://10.0.0.7:8884"', ', "mqtts://b"' * 8, "broker.addresses"),
        ('"broker-ca.pem"', '"../broker-ca.pem"', "broker.ca_file"),
        ("allow_http = false", "allow_htp = true", "transport"),
        ("https://example.org/e/metadata/", "http://example.org/e/metadata/", "metadata_url"),
        ("https://example.org/e/metadata/", "https://example.org/e/metadata", "metadata_url"),
        ("https://example.org/e/metadata/", "ftp://example.org/", "metadata_url"),
        ('artifacts_url = "https://example.org/e/artifacts/"', "", "artifacts_url"),
        ('schema_version = "0.1"', 'schema_version = "0.2"', "schema_version"),
        ("poll_seconds = 3600", "poll_seconds = 0", "timing.poll_seconds"),
        ("poll_seconds = 3600", "poll_seconds = nan", "timing.poll_seconds"),
        ("poll_seconds = 3600", "poll_seconds = -1", "timing.poll_seconds"),
        ("poll_jitter = 0.2", "poll_jitter = 7.0", "timing.poll_jitter"),
        ("keep_days = 30", "keep_days = 0.5", "journal.keep_days"),
        ("keep_days = 30", "keep_events = 3", "journal.keep_events"),
        ("keep_days = 30", "keep_years = 3", "journal"),
        ("max_bytes = 8388608", "max_bytes = 1000", "journal.max_bytes"),
        ("max_bytes = 8388608", "max_bytes = 8e6", "journal.max_bytes"),
        ("max_bytes = 8388608", "telemetry_rows = -1", "journal.telemetry_rows"),
        ("max_bytes = 8388608", "telemetry_bytes = -1", "journal.telemetry_bytes"),
        ('device_id = "wearable-001"', "", "device_id"),
        ("[timing]", "[timing", "agent.toml"),
        ("[transport]", "[unheard-of]", "unheard-of"),
        ("asks_per_episode = true", 'asks_per_episode = "yes"', "asks_per_episode"),
        ('["second-lead"]', '"second-lead"', "conditions_met"),
        ('["second-lead"]', "[7]", "conditions_met"),
        ('["second-lead"]', f"{[*'x' * 1001]}", "conditions_met"),
        ('filter = "1.2.0"', 'filter = "1.2"', "installed.filter"),
        ('filter = "1.2.0"', "filter = 1.2", "installed"),
        ('filter = "1.2.0"', '"a/b" = "1.2.0"', "installed"),
        (
            "[transport]",
            '[repositories.site]\nmetadata_url = "http://x/"\ntargets_url = "https://x/"\n[transport]',
            "repositories.site.metadata_url",
        ),
    ],
)
def test_what_is_wrong_is_refused_by_name(tmp_path: Path, old: str, new: str, named: str) -> None:
    assert old in GOOD
    with pytest.raises(UsageError) as found:
        read(tmp_path, GOOD.replace(old, new))
    assert named in found.value.for_people()
    assert found.value.remedy


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_bytes_are_settings_or_a_usage_error(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(UsageError):
        read(tmp_path, data)


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.integers(0, len(GOOD) - 1), letter=st.characters(codec="utf-8"))
@example(place=160, letter="[")
def test_one_changed_letter_is_settings_or_a_usage_error(
    tmp_path: Path, place: int, letter: str
) -> None:
    text = GOOD[:place] + letter + GOOD[place + 1 :]
    with suppress(UsageError):
        assert read(tmp_path, text).timing.poll_seconds >= 0.2


def test_a_missing_folder_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as found:
        read_settings(tmp_path / "nowhere")
    assert "primum-repo device" in found.value.remedy


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        read(tmp_path, "#" * 100_000)


@given(
    seconds=st.floats(0.2, 86_400),
    failures=st.integers(-5, 10_000),
    jitter=st.floats(0, 1),
    draw=st.floats(0, 1, exclude_max=True),
)
def test_every_delay_is_bounded(seconds: float, failures: int, jitter: float, draw: float) -> None:
    delay = backed_off(seconds, failures=failures, jitter=jitter, draw=draw)
    assert 0 <= delay <= 2 * max(seconds, LONGEST_BACK_OFF)
    assert backed_off(seconds, failures=failures, jitter=0, draw=draw) >= seconds
    assert jittered(seconds, jitter=0, draw=draw) == seconds
