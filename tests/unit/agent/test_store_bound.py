"""What releases may use of the disk: asked before a fetch, never at the price of going back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from primum_agent.content_store import FolderStore
from primum_agent.layout import Layout
from primum_agent.settings import read_settings
from primum_agent.store_bound import used_bytes
from primum_verifier.core.errors import FailedError, UsageError
from primum_verifier.core.reasons import Reason

Attempt = Callable[..., int]
MIB = 1024 * 1024
DONE, FAILED = 0, 3


@pytest.fixture
def bounded(in_the_field: Any, attempt_now: Attempt) -> Any:
    """A device with two proven releases and a bound of one MiB."""
    in_the_field.more_settings = f"[store]\nmax_bytes = {MIB}\n"
    in_the_field.write("agent.toml", in_the_field.settings().encode())
    for counter, version in enumerate(("1.0.0", "1.1.0"), start=1):
        in_the_field.release(version, counter=counter)
        assert attempt_now() == DONE
        in_the_field.commit()
    return in_the_field


def files(field: Any) -> set[str]:
    return {path.name for path in (field.layout.store / "sha256").iterdir()}


def test_what_nobody_needs_goes_before_a_release_is_refused(
    bounded: Any, attempt_now: Attempt
) -> None:
    """A withdrawn release of another time still fills the store."""
    (bounded.layout.store / "sha256" / ("0" * 64)).write_bytes(b"x" * MIB)
    bounded.release("1.2.0", counter=3)
    assert attempt_now() == DONE
    assert bounded.opened().version == "1.2.0"
    assert "0" * 64 not in files(bounded)
    assert used_bytes(bounded.layout) < MIB


def test_what_does_not_fit_is_refused_before_it_is_fetched_and_the_way_back_stays(
    bounded: Any, attempt_now: Attempt
) -> None:
    filler = bounded.layout.generations / "1" / "filler"
    filler.write_bytes(b"x" * MIB)
    before = files(bounded)
    bounded.release("1.2.0", counter=3)
    assert attempt_now() == FAILED
    assert files(bounded) == before, "nothing was fetched, and nothing given up"
    event = bounded.event("update.failed")["data"]
    assert event["reasons"] == ["resource.storage"]
    assert "max_bytes" in event["detail"]["expected"]
    assert "what is needed to go back" in event["detail"]["remedy"]
    assert bounded.opened().version == "1.1.0"
    store = FolderStore(bounded.layout)
    assert store.generation_is_whole(1, release=bounded.releases["1.0.0"])
    found = bounded.agent("doctor", "--provisioning", bounded.provisioning, "--json").stdout
    (shown,) = [item for item in json.loads(found) if item["what"] == "content store"]
    assert shown["well"] is False
    assert f"of {MIB}" in shown["found"]
    status = json.loads(bounded.agent("status", "--json").stdout)
    assert status["storeBytes"] > MIB
    # The next run with room succeeds with no hand repair.
    filler.unlink()
    assert attempt_now() == DONE
    assert bounded.opened().version == "1.2.0"


def test_a_bound_that_is_met_takes_nothing_away(bounded: Any, attempt_now: Attempt) -> None:
    filler = bounded.layout.generations / "2" / "filler"
    filler.write_bytes(b"x" * MIB)
    assert attempt_now() == DONE
    assert bounded.opened().version == "1.1.0"


def test_a_file_under_two_names_counts_once(layout: Layout) -> None:
    store = FolderStore(layout, max_bytes=2 * MIB)
    store.prepare()
    file = layout.store / "sha256" / ("0" * 64)
    file.write_bytes(b"x" * MIB)
    (layout.generations / "1").mkdir()
    (layout.generations / "1" / "model").hardlink_to(file)
    (layout.generations / "1" / "link").symlink_to("model")
    assert MIB <= used_bytes(layout) < MIB + 100
    store.make_room(MIB - 100)
    with pytest.raises(FailedError) as found:
        store.make_room(MIB + 1)
    assert found.value.reason is Reason.RESOURCE_STORAGE
    (layout.generations / "1" / "more").write_bytes(b"x" * 2 * MIB)
    # What lies here already needs no room, also where the bound was lowered below it.
    store.make_room(0)


@pytest.mark.parametrize("bound", ["-1", "1", str(MIB - 1), str(MIB**3), '"much"'])
def test_a_mistyped_bound_is_refused(in_the_field: Any, bound: str) -> None:
    """Zero is none; a bound that nothing fits into is a mistake."""
    in_the_field.more_settings = f"[store]\nmax_bytes = {bound}\n"
    in_the_field.write("agent.toml", in_the_field.settings().encode())
    with pytest.raises(UsageError) as found:
        read_settings(in_the_field.provisioning)
    assert "store.max_bytes" in found.value.where


def test_a_running_agent_shows_its_bound(bounded: Any, eventually: Callable[..., Any]) -> None:
    with bounded.running():
        eventually(lambda: f"of {MIB}" in bounded.agent("status").stdout)
