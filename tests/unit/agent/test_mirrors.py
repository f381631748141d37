"""What is remembered of servers: small, durable, told once, and never for ever."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from primum_agent.clock import FakeClock
from primum_agent.journal import Journal
from primum_agent.layout import Layout
from primum_agent.mirror_memory import demotions_of, told_mirrors
from primum_agent.mirrors import FIRST_DEMOTION, LONGEST_DEMOTION, Servers
from primum_agent.settings import Repositories, Repository, Settings
from primum_device_sim.authorities.documents import COMPONENT, DEVICE
from primum_verifier.core.errors import FailedError, RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.core.view import ENGINEERING

OWN = "https://own/"
GATEWAY, SECOND = "https://gateway/", "https://second/"
DOWN = FailedError("no answer", reason=Reason.TRANSPORT_UNREACHABLE)
LIES = RefusedError("old", reason=Reason.TRUST_ROLLBACK)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    engineering = Repository(
        f"{OWN}metadata/", f"{OWN}targets/", f"{OWN}artifacts/", mirrors=(GATEWAY, SECOND)
    )
    clinical = Repository("https://clinical/metadata/", "https://clinical/targets/")
    return Settings(
        schema_version="0.1",
        device_id=DEVICE,
        component=COMPONENT,
        hardware_id="cardiowear-2",
        repositories=Repositories(engineering=engineering, clinical=clinical),
        folder=tmp_path,
    )


@pytest.fixture
def servers(settings: Settings, journal: Journal, clock: FakeClock) -> Servers:
    return Servers(settings, journal=journal, clock=clock, attempt="a1")


def order(servers: Servers) -> list[str]:
    found = servers.addresses(ENGINEERING)
    return [item.metadata_url.removesuffix("metadata/") for item in found]


def fail(servers: Servers, root: str, error: Any) -> None:
    known = servers.addresses(ENGINEERING)
    address = next(item for item in known if item.metadata_url == f"{root}metadata/")
    servers.failed(ENGINEERING, address, error)


def works(servers: Servers, root: str) -> None:
    known = servers.addresses(ENGINEERING)
    address = next(item for item in known if item.metadata_url == f"{root}metadata/")
    servers.worked(ENGINEERING, address)


def kinds(journal: Journal) -> list[str]:
    types = [json.loads(line)["type"] for line in journal.events()]
    return [kind.rpartition("primum.device.")[2] for kind in types if ".mirror." in kind]


def test_the_order_is_that_of_the_settings_and_the_own_address_comes_last(
    servers: Servers,
) -> None:
    assert order(servers) == [GATEWAY, SECOND, OWN]
    files = servers.of_files().bases()
    assert files == [f"{root}artifacts/" for root in (GATEWAY, SECOND, OWN)]


def test_who_failed_is_asked_last_for_a_while_and_then_in_its_place(
    servers: Servers, clock: FakeClock, journal: Journal
) -> None:
    fail(servers, GATEWAY, DOWN)
    assert order(servers) == [SECOND, OWN, GATEWAY]
    clock.powered += FIRST_DEMOTION - 1
    assert order(servers)[-1] == GATEWAY
    clock.powered += 2
    assert order(servers) == [GATEWAY, SECOND, OWN]
    assert told_mirrors(journal)[0]["times"] == 1, "it is remembered until it works"


def test_each_further_failure_doubles_the_time_and_is_counted_not_told(
    servers: Servers, journal: Journal
) -> None:
    for times in range(12):
        fail(servers, GATEWAY, DOWN)
        (found,) = demotions_of(journal).values()
        waits = found.until - journal.powered_seen()
        assert waits == pytest.approx(min(FIRST_DEMOTION * 2**times, LONGEST_DEMOTION), abs=1)
    assert kinds(journal) == ["mirror.failed"]
    works(servers, GATEWAY)
    works(servers, GATEWAY)
    assert kinds(journal) == ["mirror.failed", "mirror.works"]
    assert demotions_of(journal) == {}


def test_who_lied_has_the_longest_time_at_once_and_another_reason_is_told(
    servers: Servers, journal: Journal
) -> None:
    fail(servers, GATEWAY, DOWN)
    fail(servers, GATEWAY, LIES)
    fail(servers, SECOND, LIES)
    assert [item["reason"] for item in told_mirrors(journal)] == ["trust.rollback"] * 2
    seconds = demotions_of(journal)[f"{SECOND}metadata/"].until - journal.powered_seen()
    assert seconds == pytest.approx(LONGEST_DEMOTION, abs=1)
    assert kinds(journal) == ["mirror.failed"] * 3


def test_it_survives_a_restart_and_forgets_whom_the_settings_no_longer_name(
    servers: Servers, settings: Settings, layout: Layout, clock: FakeClock, journal: Journal
) -> None:
    fail(servers, GATEWAY, DOWN)
    again = Journal.open(layout, clock=clock, device_id=DEVICE)
    fewer = replace(settings.repositories.engineering, mirrors=(SECOND,))
    changed = replace(settings, repositories=replace(settings.repositories, engineering=fewer))
    later = Servers(changed, journal=again, clock=clock, attempt="a2")
    assert list(demotions_of(again)) == [f"{GATEWAY}metadata/"]
    fail(later, SECOND, DOWN)
    assert list(demotions_of(again)) == [f"{SECOND}metadata/"]
    again.close()
    assert len(journal.counter("mirrors", "")) < 300


def test_the_only_server_of_an_authority_is_never_set_back(
    servers: Servers, journal: Journal
) -> None:
    (only,) = servers.addresses("clinical")
    servers.failed("clinical", only, LIES)
    assert demotions_of(journal) == {}
    assert kinds(journal) == []
