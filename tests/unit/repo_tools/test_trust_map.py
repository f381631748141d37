"""Whom devices believe changes only by both roots, and by what their people saw."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from primum_verifier.core.errors import RefusedError
from primum_verifier.keeping.trust_map import next_trust_map
from primum_verifier.shell.cli import main as verify


@pytest.fixture
def change(published: Any, device: Any) -> Path:
    """A change that nobody signed: the device is to take part in exercises."""
    published.run(
        "trust-map", "prepare", "--current", device.provisioning / "trust-map.json",
        "--takes-drills", "--output", published.folder / "change",
    )  # fmt: skip
    return Path(published.folder / "change/trust-map.dsse.json")


def judged(device: Any, path: Path) -> Any:
    """What the verifier makes of a change on the device of the story."""
    from primum_repo_tools.moments import now_utc

    seen = device.authorities.refresh(now=now_utc(), device_id="wearable-001", held=())
    return next_trust_map(
        device.trust_map, path.read_bytes(), engineering=seen.engineering, clinical=seen.clinical
    )


def sign(story: Any, name: str, path: Path) -> Any:
    return story.run("trust-map", "sign", story.folder / name, path, "--yes", "--json").json


def test_both_roots_sign_in_turn_and_neither_alone(
    published: Any, device: Any, change: Path
) -> None:
    with pytest.raises(RefusedError, match="not signed by every root"):
        judged(device, change)
    assert sign(published, "clinical", change)["threshold"] == 2
    with pytest.raises(RefusedError) as refused:
        judged(device, change)
    assert refused.value.found == "engineering root: 0 of 2"
    assert sign(published, "engineering", change)["signed"] == 3
    changed = judged(device, change)
    assert (changed.number, changed.takes_drills) == (2, True)
    arguments = [
        "trust", "--provisioning", device.provisioning, "--change", change,
        "--engineering", published.engineering / "web", "--clinical", published.clinical / "web",
    ]  # fmt: skip
    assert verify([str(item) for item in arguments]) == 0


def test_signing_again_adds_nobody(published: Any, device: Any, change: Path) -> None:
    first = sign(published, "clinical", change)
    assert sign(published, "clinical", change)["signed"] == first["signed"]
    assert len(json.loads(change.read_text())["signatures"]) == first["signed"]
    with pytest.raises(RefusedError):
        judged(device, change)


def test_a_change_is_shown_before_it_is_signed(published: Any, change: Path) -> None:
    before = change.read_bytes()
    shown = published.run("trust-map", "sign", published.clinical, change, "--dry-run").out
    assert '"takesDrills": true' in shown
    assert "clinical root: 0 of 2 signatures" in shown
    refused = published.try_run("trust-map", "sign", published.clinical, change)
    assert refused.code == 2, "nobody is there to confirm"
    assert change.read_bytes() == before


def test_a_site_comes_and_goes_by_the_manufacturer_alone(published: Any, device: Any) -> None:
    hospital = published.folder / "hospital"
    published.run("init", hospital, "--authority", "site", "--title", "H", "--site", "site-a")
    published.run("authority", "create", hospital)
    current = device.provisioning / "trust-map.json"
    folder = published.folder / "change"
    published.run("trust-map", "prepare", "--current", current, "--site-root", hospital,
                  "--output", folder)  # fmt: skip
    path = folder / "trust-map.dsse.json"
    assert (folder / "site.root.json").read_bytes() == (
        hospital / "web/metadata/1.root.json"
    ).read_bytes()
    assert published.try_run("trust-map", "sign", hospital, path, "--yes").code == 2
    sign(published, "engineering", path)
    sign(published, "clinical", path)
    named = judged(device, path)
    assert named.site_root is not None
    current.write_bytes(named.to_bytes())
    published.run(
        "trust-map", "prepare", "--current", current, "--no-site", "--output", folder
    )  # fmt: skip
    sign(published, "engineering", path)
    sign(published, "clinical", path)
    gone = judged(device, path)
    assert (gone.number, gone.site_root) == (3, None)


def test_a_receiver_comes_and_goes_by_the_manufacturer_alone(published: Any, device: Any) -> None:
    current, folder = device.provisioning / "trust-map.json", published.folder / "receivers"
    published.run("fleet", "key", published.folder / "receiver.pem")
    key = published.folder / "receiver.public.json"
    published.run(
        "trust-map", "prepare", "--current", current, "--receiver", key, "--output", folder
    )
    change = folder / "trust-map.dsse.json"
    for name in ("engineering", "clinical"):
        sign(published, name, change)
    changed = judged(device, change)
    assert [found.to_bytes() for found in changed.receivers] == [key.read_bytes()]
    current.write_bytes(changed.to_bytes())
    away = published.run(
        "trust-map", "prepare", "--current", current, "--no-receivers", "--output", folder,
        "--dry-run", "--json",
    ).json  # fmt: skip
    assert away["trustMap"]["receivers"] == []
    both = published.try_run(
        "trust-map", "prepare", "--current", current, "--no-receivers", "--receiver", key,
        "--output", folder,
    )  # fmt: skip
    assert both.code == 2


def test_what_is_no_change_is_not_prepared_or_signed(
    published: Any, device: Any, change: Path
) -> None:
    current = device.provisioning / "trust-map.json"
    output = published.folder / "other"
    for words, told in (
        ([], "Nothing on the trust map would change"),
        (["--no-drills"], "Nothing on the trust map would change"),
        (["--site-root", published.clinical], "no responsible organisation"),
        (["--site-root", published.clinical, "--no-site"], "at once"),
        (["--component", "PVC"], "component"),
        (["--engineering-root", published.folder / "nowhere"], "No engineering is here"),
    ):
        command = ["trust-map", "prepare", "--current", current, "--output", output, *words]
        answer = published.try_run(*command)
        assert answer.code == 2, answer.err
        assert told in answer.err
    assert not output.exists()
    context = device.provisioning / "device-context.dsse.json"
    for wrong in (context, current, published.folder / "none"):
        assert published.try_run("trust-map", "sign", published.clinical, wrong, "--yes").code == 2
    answer = published.try_run("trust-map", "prepare", "--current", change, "--output", output)
    assert answer.code == 2
