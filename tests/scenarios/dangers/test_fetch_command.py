"""`primum-verify fetch` as an assessor types it: sticks, old copies, versions signed twice."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from primum_verifier.shell import cli

MANIFEST = "releases/pvc/1.0.0/manifest.json"
DONE, REFUSED, USAGE, FAILED, BUSY = range(5)

Fetch = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def fetch(publisher: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Fetch:
    """Runs the command over the publisher's folder; its exit code, and what it says."""
    root = tmp_path / "1.root.json"
    root.write_bytes(publisher.first_root)

    def run(*words: str, at: str = "2026-06-01T12:00:00Z") -> tuple[int, dict[str, Any]]:
        url = publisher.folder.as_uri()
        code = cli.main(
            [
                *("fetch", "--json", "--trusted-root", str(root)),
                *("--metadata-dir", str(tmp_path / "trusted"), "--at", at),
                *("--metadata-url", f"{url}/metadata", "--targets-url", f"{url}/targets/", *words),
            ]
        )
        return code, json.loads(capsys.readouterr().out)

    return run


def test_stick_is_read_and_its_targets_land(fetch: Fetch, tmp_path: Path) -> None:
    code, told = fetch("--target", MANIFEST, "--output", str(tmp_path / "got"))
    assert (code, told["alarms"]) == (DONE, [])
    (path,) = (tmp_path / "got").iterdir()
    assert path.read_bytes() == b'{"release":1}'


def test_old_stick_counts_for_an_offline_device_only(fetch: Fetch, publisher: Any) -> None:
    """The timestamp ended a day ago: refused without an allowance and with none of use."""
    publisher.timestamp.expires = publisher.now
    publisher.publish()
    late = "2026-06-02T12:00:00Z"
    assert fetch(at=late)[0] == REFUSED
    assert fetch("--offline-days", "1", at=late)[0] == REFUSED
    assert fetch("--offline-days", "2", at=late)[0] == DONE


@pytest.mark.parametrize("text", ["-1", "1.5", "many", "367", ""])
def test_allowance_that_makes_no_sense_is_a_wrong_call(fetch: Fetch, text: str) -> None:
    with pytest.raises(SystemExit) as caught:
        fetch("--offline-days", text)
    assert caught.value.code == USAGE


def test_floors_of_another_store_refuse_an_older_repository(
    fetch: Fetch, publisher: Any, device: Any, tmp_path: Path
) -> None:
    """An empty folder, and the floors that a build carried: yesterday's repository is refused."""
    old = publisher.all_files()
    publisher.publish()
    device.run(MANIFEST)
    floors = tmp_path / "floors"
    floors.write_bytes((device.trusted / "primum.floors").read_bytes())
    publisher.restore(old)
    code, told = fetch("--floors", str(floors))
    assert (code, told["reason"]) == (REFUSED, "trust.rollback")
    floors.write_bytes(b"{}")
    code, told = fetch("--floors", str(floors))
    assert (code, told["reason"]) == (REFUSED, "state.damaged")
    assert fetch("--floors", str(tmp_path / "none"))[0] == USAGE
    assert fetch()[0] == DONE


def test_version_signed_twice_is_told_and_the_run_goes_on(
    fetch: Fetch, publisher: Any, tmp_path: Path
) -> None:
    fetch()
    publisher.timestamp.version -= 1
    publisher.timestamp.unrecognized_fields["said"] = "to others"
    publisher.publish_timestamp()
    code, told = fetch()
    assert code == DONE
    assert [alarm["reason"] for alarm in told["alarms"]] == ["trust.equivocation"]
    assert len(list((tmp_path / "trusted" / "primum.proofs").iterdir())) == 1


def test_second_process_is_told_at_once(fetch: Fetch, tmp_path: Path) -> None:
    fetch()
    descriptor = os.open(tmp_path / "trusted", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    code, told = fetch()
    os.close(descriptor)
    assert (code, told["reason"]) == (BUSY, "state.busy")
    assert fetch()[0] == DONE


@pytest.mark.parametrize("url", ["file:relative", "file://host/share/", "file:///a%00b/"])
def test_address_that_is_no_folder_here_is_a_wrong_call(fetch: Fetch, url: str) -> None:
    code, told = fetch("--metadata-url", url)
    assert (code, told["reason"]) == (USAGE, "usage")


def test_plain_http_is_refused_beside_a_folder(fetch: Fetch) -> None:
    """One address of each kind: the strictest reading counts, and no file is read by http."""
    code, told = fetch("--metadata-url", "http://127.0.0.1:9/metadata/")
    assert (code, told["reason"]) == (FAILED, "transport.insecure")


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+23:59", "tomorrow", "2026-06-01T12:00:00"])
def test_moment_that_no_clock_can_say_is_a_wrong_call(fetch: Fetch, moment: str) -> None:
    with pytest.raises(SystemExit) as caught:
        fetch(at=moment)
    assert caught.value.code == USAGE
