"""Proves that a device gets the agent, the verifier and what they declare, and nothing else.

In a fresh environment in a temporary folder it installs the device's pins by hash and the wheels of
the two parts without dependencies; then everything importable is imported and the two commands are
started. Whatever else came along is a failure: signing tools, the simulator, workstation libraries,
or a bench that some devices bring themselves.

Run with the checkout's own interpreter, after ``make environment``.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PINS = CHECKOUT / "packaging" / "requirements" / "agent.txt"
PARTS = {"primum-verifier": "verifier", "primum-agent": "agent"}
# What an extra brings and a device may bring in another form: modules may ask for these, but only
# when they are used, never to be imported.
OPTIONAL = ("numpy", "onnxruntime")
FORBIDDEN = (
    "primum_repo_tools",
    "primum_device_sim",
    "onnx",
    "matplotlib",
    "jinja2",
    "typer",
    "rich",
    *OPTIONAL,
)
EXIT_DONE, EXIT_REFUSED, EXIT_FAILED = 0, 1, 3
SECONDS = 300

# Runs inside the device's environment: imports every module, tells what failed and what is there.
PROBE = """
import importlib, importlib.metadata, importlib.util, json, pkgutil, sys
failed = {}
def visit(name):
    try:
        module = importlib.import_module(name)
    except BaseException as error:
        failed[name] = f"{type(error).__name__}: {error}"
        return
    for entry in pkgutil.iter_modules(getattr(module, "__path__", ())):
        if entry.name != "__main__":
            visit(f"{name}.{entry.name}")
for package in ("primum_verifier", "primum_agent"):
    visit(package)
print(json.dumps({
    "failed": failed,
    "present": [name for name in sys.argv[1:] if importlib.util.find_spec(name)],
    "distributions": sorted({
        distribution.metadata["Name"].lower().replace("_", "-")
        for distribution in importlib.metadata.distributions()
    }),
}))
"""


class CheckError(Exception):
    """The check could not be made; says nothing about the device."""


def run(command: list[str], *, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs one command to its end with its output kept."""
    return subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        env=environment,
        stdin=subprocess.DEVNULL,
        timeout=SECONDS,
    )


def must(command: list[str], *, environment: dict[str, str]) -> str:
    """Runs a step of the preparation.

    Raises:
        CheckError: when it fails, with the end of its output.
    """
    finished = run(command, environment=environment)
    if finished.returncode:
        tail = "\n".join((finished.stdout + finished.stderr).splitlines()[-15:])
        raise CheckError(f"{' '.join(command[:6])} ... failed:\n{tail}")
    return finished.stdout


def install_device(folder: Path, environment: dict[str, str], *, pins: Path = PINS) -> Path:
    """Makes the device's environment, without pip: a device has none.

    Args:
        folder: gets the environment as ``device``, and the wheels of the two parts.
        environment: the variables that the steps run with.
        pins: the third parties.

    Returns:
        The folder of its programs.
    """
    device = folder / "device"
    must([sys.executable, "-m", "venv", "--without-pip", str(device)], environment=environment)
    pip = [sys.executable, "-m", "pip"]
    onto_device = [*pip, "--python", str(device / "bin" / "python"), "install", "--no-deps"]
    pinned = ["--require-hashes", "--only-binary", ":all:", "-r", str(pins)]
    must([*onto_device, *pinned], environment=environment)
    wheels = folder / "wheels"
    sources = [str(CHECKOUT / part) for part in PARTS.values()]
    build = ["wheel", "--no-deps", "--no-index", "--no-build-isolation", "-w", str(wheels)]
    must([*pip, *build, *sources], environment=environment)
    built = [str(wheel) for wheel in sorted(wheels.glob("*.whl"))]
    must([*onto_device, "--no-index", *built], environment=environment)
    check = [*pip, "--python", str(device / "bin" / "python"), "check"]
    must(check, environment=environment)
    return device / "bin"


def faults_of(programs: Path, environment: dict[str, str]) -> list[str]:
    """What a device would have too much or too little, one sentence each."""
    probe = [str(programs / "python"), "-I", "-c", PROBE, *FORBIDDEN]
    seen = json.loads(must(probe, environment=environment).splitlines()[-1])
    faults = [f"{name} is on the device" for name in seen["present"]]
    pinned = re.findall(r"^([A-Za-z0-9_.-]+)==", PINS.read_text(encoding="utf-8"), re.MULTILINE)
    expected = {name.lower().replace("_", "-") for name in pinned} | set(PARTS)
    faults += [
        f"the distribution {name} came along undeclared"
        for name in seen["distributions"]
        if name not in expected
    ]
    faults += [f"{name} does not import: {why}" for name, why in seen["failed"].items()]
    for command in ("primum-agent", "primum-verify"):
        started = run([str(programs / command), "--help"], environment=environment)
        if started.returncode:
            last = (started.stderr.strip().splitlines() or ["no output"])[-1]
            faults.append(f"'{command} --help' ends with {started.returncode}: {last}")
    return faults


def main() -> int:
    """Installs a device and judges it."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTHON")
    }
    # The build backend looks for its own program on the PATH.
    programs = str(Path(sys.executable).parent)
    environment["PATH"] = os.pathsep.join([programs, environment.get("PATH", os.defpath)])
    try:
        with tempfile.TemporaryDirectory(prefix="primum-device-") as folder:
            faults = faults_of(install_device(Path(folder), environment), environment)
    except (CheckError, OSError, ValueError, subprocess.TimeoutExpired) as error:
        print(f"device-install: {error}", file=sys.stderr)
        return EXIT_FAILED
    for fault in faults:
        print(f"device-install: {fault}")
    if faults:
        return EXIT_REFUSED
    print("device-install: agent and verifier install and start with their own dependencies only")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
