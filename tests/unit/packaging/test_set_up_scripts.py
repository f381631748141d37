"""Set-up that a stranger runs first: nothing unpinned, no place named, failures with a remedy."""

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
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
    """Where versions differ from Python to Python, each of them is one that was tested."""
    tested: dict[str, set[str]] = {}
    for name, version, _ in PINNED.findall((PINS[0].parent / "dev.txt").read_text()):
        tested.setdefault(name, set()).add(version)
    for pins in CAMPAIGN_PINS:
        for name, version, _ in PINNED.findall(pins.read_text()):
            assert version in tested.get(name, {version})


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


def a_program(path: Path, body: str = "exit 0") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.fixture
def look_for_rauc(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the script in a checkout of its own, in which nothing was unpacked before.

    It finds the programs that a test laid there and no others: no apt, so that nothing is fetched.
    """
    scripts = tmp_path / "checkout" / "packaging" / "bootstrap"
    scripts.mkdir(parents=True)
    for name in ("rauc.py", "unpacked.py", "broker.py"):
        shutil.copy(CHECKOUT / "packaging" / "bootstrap" / name, scripts)

    def look(**variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-I", scripts / "rauc.py"],
            check=False,
            capture_output=True,
            text=True,
            env={"PATH": str(tmp_path / "nothing-here"), **variables},
        )

    return look


def recorded(tmp_path: Path) -> str:
    path = tmp_path / "checkout" / ".cache" / "rauc" / "path"
    return path.read_text().strip() if path.is_file() else ""


def test_a_rauc_that_is_named_is_taken_and_written_down(
    look_for_rauc: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    named = tmp_path / "named"
    for program in ("rauc", "mksquashfs", "dbus-daemon"):
        a_program(named / "usr/bin" / program)
    done = look_for_rauc(PRIMUM_RAUC=str(named))
    assert done.returncode == 0, done.stderr
    assert recorded(tmp_path) == str(named)


@pytest.mark.parametrize(
    ("missing", "how"),
    [
        ("rauc", "is not there"),
        ("mksquashfs", "is not there"),
        ("dbus-daemon", "is not there"),
        ("rauc", "does not start"),
        ("mksquashfs", "does not start"),
    ],
)
def test_a_named_rauc_that_does_not_start_is_refused_and_none_is_fetched_instead(
    look_for_rauc: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
    missing: str,
    how: str,
) -> None:
    named = tmp_path / "named"
    for program in {"rauc", "mksquashfs", "dbus-daemon"} - {missing}:
        a_program(named / "usr/bin" / program)
    if how == "does not start":
        a_program(named / "usr/bin" / missing, "exit 1")
    done = look_for_rauc(PRIMUM_RAUC=str(named))
    assert done.returncode == 3
    assert f"PRIMUM_RAUC={named} holds no RAUC that starts" in done.stderr
    assert "make rauc PRIMUM_RAUC=/folder" in done.stderr, "the remedy"
    assert recorded(tmp_path) == ""


def test_without_rauc_and_without_apt_the_set_up_goes_on_and_says_what_is_left_out(
    look_for_rauc: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = look_for_rauc()
    assert done.returncode == 0, done.stderr
    assert "the tests on it are skipped" in done.stderr
    assert recorded(tmp_path) == ""


def test_a_rauc_whose_packages_cannot_be_had_leaves_nothing_behind(
    look_for_rauc: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """The tools are there, and the archive is not."""
    for tool in ("apt-get", "apt-config", "dpkg-deb"):
        a_program(tmp_path / "tools" / tool, "echo no route to host >&2; exit 100")
    done = look_for_rauc(PATH=str(tmp_path / "tools"))
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert "install rauc, squashfs-tools, dbus-daemon" in done.stderr
    assert recorded(tmp_path) == ""
    assert list((tmp_path / "checkout" / ".cache").glob("rauc*")) == []


def test_a_postgresql_that_is_named_and_does_not_start_is_refused(tmp_path: Path) -> None:
    scripts = tmp_path / "checkout" / "packaging" / "bootstrap"
    scripts.mkdir(parents=True)
    for name in ("postgresql.py", "unpacked.py", "broker.py"):
        shutil.copy(CHECKOUT / "packaging" / "bootstrap" / name, scripts)
    done = subprocess.run(
        [sys.executable, "-I", scripts / "postgresql.py"],
        capture_output=True, text=True, check=False, timeout=60,
        env={"PATH": str(tmp_path), "PRIMUM_POSTGRESQL": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 3
    assert "make postgresql PRIMUM_POSTGRESQL=/folder" in done.stderr, "the remedy"
    assert not (tmp_path / "checkout" / ".cache" / "postgresql" / "path").exists()
