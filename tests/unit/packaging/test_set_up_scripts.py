"""Set-up that a stranger runs first: nothing unpinned, no place named, failures with a remedy."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
PINS = sorted((CHECKOUT / "packaging" / "requirements").glob("*.txt"))
CAMPAIGN_PINS = sorted((CHECKOUT / "packaging" / "requirements" / "campaigns").glob("*.txt"))
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==(\S+?)(?: ; (.+?))? \\$", re.MULTILINE)


def load(script: str) -> ModuleType:
    """A script of ``packaging/`` as a module; none of them is part of a distribution."""
    path = CHECKOUT / "packaging" / script
    spec = importlib.util.spec_from_file_location(f"packaging_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("pins", [*PINS, *CAMPAIGN_PINS], ids=lambda path: path.name)
def test_every_third_party_is_pinned_by_version_and_hash(pins: Path) -> None:
    blocks = re.split(r"\n(?=[A-Za-z])", pins.read_text().split("\n", 2)[2])
    assert len(blocks) > (5 if pins in PINS else 0)
    for block in blocks:
        assert PINNED.match(block), block
        assert "--hash=sha256:" in block, block


@pytest.mark.parametrize("pins", [*PINS, *CAMPAIGN_PINS], ids=lambda path: path.name)
def test_pins_name_no_address_and_no_file(pins: Path) -> None:
    assert not re.search(r"://|^-|@", pins.read_text(), re.MULTILINE)


@pytest.mark.parametrize("pins", PINS, ids=lambda path: path.name)
def test_device_gets_the_versions_that_were_tested(pins: Path) -> None:
    tested = set(PINNED.findall((pins.parent / "dev.txt").read_text()))
    assert set(PINNED.findall(pins.read_text())) <= tested


def test_a_campaign_changes_no_version_that_was_tested() -> None:
    whole = (PINS[0].parent / "dev.txt").read_text()
    tested = {name: version for name, version, _ in PINNED.findall(whole)}
    for pins in CAMPAIGN_PINS:
        for name, version, _ in PINNED.findall(pins.read_text()):
            assert tested.get(name, version) == version


def test_device_pins_hold_no_bench_and_no_workstation_library() -> None:
    device = {name for name, *_ in PINNED.findall((PINS[0].parent / "agent.txt").read_text())}
    assert "tuf" in device
    assert not device & {"numpy", "onnxruntime", "onnx", "typer", "rich", "jinja2", "pytest"}


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("docs/a.md", "taken from files.python" + "hosted.org"),
        ("docs/a.md", "see https://py" + "pi.org/project/tuf"),
        ("tests/a.py", 'FOLDER = "/' + 'home/somebody/recordings"'),
        ("Makefile", "cd /" + "root/checkout"),
        ("packaging/requirements/dev.txt", "--index-url http" + "://mirror.example/simple"),
    ],
)
def test_place_that_slipped_in_is_named(name: str, line: str) -> None:
    findings = load("checks/speaks_of_itself.py").findings(name, f"first line\n{line}\n")
    assert len(findings) == 1
    assert findings[0].startswith(f"{name}:2: ")


@pytest.mark.parametrize(
    "line",
    ["metadata/root/1.root.json", "${HOME}/work/notes", "~/work", "a/home/b", "http://x/rootless"],
)
def test_path_inside_a_repository_is_no_place(line: str) -> None:
    assert load("checks/speaks_of_itself.py").findings("docs/a.md", line) == []


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (
            (
                "WARNING: Retrying after connection broken by 'NewConnectionError()'\n"
                "ERROR: No matching distribution found for tuf==7.0.1"
            ),
            "the package index cannot be reached",
        ),
        ("ERROR: No matching distribution found for tuf==7.0.1", "no ready-made wheel"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM", "not the one that was pinned"),
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
    ],
)
def test_failed_set_up_names_its_cause_and_the_remedy(
    output: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = load("bootstrap/environment.py")
    monkeypatch.setattr(script, "LOG", tmp_path / "log")
    with pytest.raises(script.SetupError, match=expected) as failure:
        script.run([sys.executable, "-c", f"print({output!r}); raise SystemExit(1)"])
    assert str(tmp_path / "log") in str(failure.value)


def test_settings_of_the_caller_do_not_bend_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_NO_BINARY", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, "nonsense")
    monkeypatch.setenv("PIP_INDEX_URL", "http://mirror.example/simple")
    environment = load("bootstrap/environment.py").clean_environment()
    assert "nonsense" not in environment.values()
    assert environment["PIP_INDEX_URL"] == "http://mirror.example/simple"


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("echo 'mosquitto version 1.6.9'", "too old for MQTT 5"),
        ("echo 'mosquitto version 2.0.18'", "does not speak MQTT 5"),
        ("exit 0", "no mosquitto 2.0"),
    ],
    ids=["too old for MQTT 5", "ends at once", "something else"],
)
def test_named_program_that_speaks_no_mqtt5_is_refused(
    body: str, complaint: str, tmp_path: Path
) -> None:
    program = tmp_path / "mosquitto"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    script = CHECKOUT / "packaging" / "bootstrap" / "broker.py"
    finished = subprocess.run(
        [sys.executable, "-I", script, "--print-path"],
        check=False,
        capture_output=True,
        text=True,
        env={"PRIMUM_MOSQUITTO": str(program), "PATH": "/usr/bin:/bin"},
    )
    assert finished.returncode == 3
    assert finished.stdout == ""
    assert complaint in finished.stderr
    assert "PRIMUM_MOSQUITTO" in finished.stderr
