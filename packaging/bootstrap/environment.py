"""Makes ``.venv``: the pinned third parties by hash, then the four parts of Primum, editable.

``make environment`` runs it with any Python 3.11 or newer. It needs the standard library and a
package index reached by pip's own configuration; it asks for no root and changes nothing outside
the checkout. A second run that finds nothing changed ends at once.

Hashes and editable installs do not mix, hence two steps: everything foreign, the build backend
included, with its hash and only as ready-made wheels, so that nothing foreign runs while it is
installed; then the four parts without dependencies and without a build environment of their own.

``environment.py --with NAME`` adds what one word of make alone needs, from the pins of that name
below ``packaging/requirements/campaigns/``.

A set-up that was interrupted leaves ``.venv/primum-unfinished``, and the next one starts afresh.
A ``.venv`` that somebody else made is completed, never deleted.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
VENV = CHECKOUT / ".venv"
STAMP = VENV / "primum-stamp.json"
UNFINISHED = VENV / "primum-unfinished"
CACHE = CHECKOUT / ".cache"
LOG = CACHE / "environment.log"
PINS = CHECKOUT / "packaging" / "requirements" / "dev.txt"
CAMPAIGNS = CHECKOUT / "packaging" / "requirements" / "campaigns"
MEMBERS = ("verifier", "agent", "repo_tools", "device_sim")

EXIT_USAGE = 2
EXIT_FAILED = 3
EXIT_INTERRUPTED = 128 + signal.SIGINT
# What of pip's own settings is kept: how to reach the index, and nothing that changes what is done.
KEPT_PIP_SETTINGS = re.compile(
    r"PIP_(INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX|CERT|CLIENT_CERT|PROXY|TRUSTED_HOST"
    r"|TIMEOUT|DEFAULT_TIMEOUT|RETRIES|RESUME_RETRIES|CACHE_DIR|NO_CACHE_DIR|CONFIG_FILE"
    r"|KEYRING_PROVIDER)"
)


@dataclass(frozen=True, kw_only=True)
class Cause:
    """How one way to fail shows in pip's output, and what a person can do about it."""

    pattern: str
    what: str
    remedy: str


# The first pattern that pip's output matches explains the failure; the order is part of it, because
# pip calls a package of an unreachable index "not found".
CAUSES = (
    Cause(
        pattern=r"DO NOT MATCH THE HASHES",
        what="a package is not the one that was pinned, and was refused",
        remedy="ask whoever runs your package index; nothing of it was installed",
    ),
    Cause(
        pattern=r"No space left on device",
        what="the disk is full",
        remedy="make room and run make again",
    ),
    Cause(
        pattern=r"connection broken|NewConnectionError|Could not fetch URL|ConnectTimeout"
        r"|ReadTimeout|SSLError|ProxyError|Temporary failure in name resolution|HTTP ?[Ee]rror",
        what="the package index cannot be reached",
        remedy="check the network, or point pip at your index (PIP_INDEX_URL or 'pip config set"
        " global.index-url ADDRESS'), and run make again",
    ),
    Cause(
        pattern=r"No matching distribution|not a supported wheel",
        what="the package index has no ready-made wheel of a pinned package for this machine",
        remedy="Primum's pins cover Python 3.11 to 3.14 on Linux, x86-64 and arm64; name such a"
        " Python with PRIMUM_PYTHON, or use an index that has the package",
    ),
)


class SetupError(Exception):
    """The world did not do its part; the message is for a person, with the remedy."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What an environment was made from; another value means that it has to be brought up to date.

    Args:
        checkout: where it was made: an environment cannot be moved.
        third_parties: digest of the pins.
        members: digest of the four parts' own declarations (scripts, names, versions).
    """

    checkout: str
    third_parties: str
    members: str


def say(text: str) -> None:
    """One line of progress for the person at the terminal."""
    print(f"environment: {text}", flush=True)


def digest(*files: Path) -> str:
    """One digest over several files, in the order given."""
    total = hashlib.sha256()
    for file in files:
        total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def wanted_inputs() -> Inputs:
    """What the environment has to be made from now."""
    return Inputs(
        checkout=str(CHECKOUT),
        third_parties=digest(PINS),
        members=digest(*(CHECKOUT / member / "pyproject.toml" for member in MEMBERS)),
    )


def present_inputs() -> Inputs | None:
    """What the environment was made from, or ``None`` where no complete one of ours stands."""
    try:
        return Inputs(**json.loads(STAMP.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def clean_environment() -> dict[str, str]:
    """The caller's environment without what would bend Python or pip."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "__PYVENV"))
        and name != "VIRTUAL_ENV"
        and (not name.startswith("PIP_") or KEPT_PIP_SETTINGS.fullmatch(name))
    }
    # The build backend looks for its own program on the PATH.
    path = os.pathsep.join([str(VENV / "bin"), os.environ.get("PATH", os.defpath)])
    fixed = {"PIP_USER": "0", "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return kept | fixed | {"PATH": path}


@contextmanager
def only_one() -> Iterator[None]:
    """Holds the checkout's set-up lock; a second set-up waits for the first.

    Child processes inherit the lock: where this one is killed alone, the next set-up waits until
    its orphaned pip has ended, instead of writing into the same folder with it.
    """
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "environment.lock").open("w") as lock:
        os.set_inheritable(lock.fileno(), True)  # noqa: FBT003  # the standard library's own form
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up is under way; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(command: list[str]) -> None:
    """Runs one command with its output in the log.

    Raises:
        SetupError: when it fails, with the cause as far as its output tells.
    """
    with LOG.open("ab") as log:
        start = log.tell()
        finished = subprocess.run(
            command,
            check=False,
            cwd=CHECKOUT,
            env=clean_environment(),
            close_fds=False,  # hands on the set-up lock
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    if finished.returncode == 0:
        return
    output = LOG.read_bytes()[start:].decode("utf-8", "replace")
    for cause in CAUSES:
        if re.search(cause.pattern, output):
            raise SetupError(f"{cause.what}: {cause.remedy} (details: {LOG})")
    complaints = re.findall(r"^\W*(\w*error\b.*)", output, re.MULTILINE | re.IGNORECASE)
    raise SetupError(f"set-up failed: {(complaints or ['no reason given'])[0]} (details: {LOG})")


def can_run(python: Path) -> bool:
    """Whether the environment's interpreter still starts: the one it was made from may be gone."""
    try:
        check = "import sys; sys.exit(sys.version_info < (3, 11))"
        finished = subprocess.run(
            [python, "-I", "-c", check], check=False, capture_output=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return finished.returncode == 0


def has_module(name: str) -> bool:
    """Whether this Python has a module; a folder that is left over from one does not count."""
    spec = find_spec(name)
    return spec is not None and spec.origin is not None


def make_interpreter() -> list[str]:
    """Makes an empty environment where none stands.

    Returns:
        The command that runs pip on the environment.

    Raises:
        SetupError: when this Python cannot make environments and no pip can stand in.
    """
    python = VENV / "bin" / "python"
    if not can_run(python):
        # Debian and its children package ensurepip apart, and ``venv`` fails without it. A pip
        # outside can fill an environment that has none.
        bundled = has_module("ensurepip")
        if not bundled and not has_module("pip"):
            version = sysconfig.get_python_version()
            raise SetupError(
                f"this Python ({sys.executable}) cannot make environments: install its venv"
                f" package (Debian, Ubuntu: apt install python{version}-venv), or name another"
                " Python with PRIMUM_PYTHON"
            )
        VENV.mkdir(exist_ok=True)
        UNFINISHED.touch()
        say(f"Python {sys.version.split()[0]} in .venv")
        extra = [] if bundled else ["--without-pip"]
        run([sys.executable, "-I", "-m", "venv", *extra, str(VENV)])
    if any((VENV / "lib").glob("python3*/site-packages/pip")):
        return [str(python), "-I", "-m", "pip"]
    return [sys.executable, "-I", "-m", "pip", "--python", str(python)]


def install_pinned(pip: list[str], pins: Path) -> None:
    """Installs one file of pins, each package by its hash and as a ready-made wheel."""
    options = ["--require-hashes", "--no-deps", "--only-binary", ":all:"]
    run([*pip, "install", *options, "--no-warn-script-location", "-r", str(pins)])


def add_campaign(name: str) -> None:
    """Adds what one campaign needs, once for each state of the environment and of the pins.

    Raises:
        SetupError: when it cannot be installed here; the environment is as good as before.
    """
    pins = CAMPAIGNS / f"{name}.txt"
    stamp = VENV / f"primum-campaign-{name}"
    wanted = digest(PINS, pins)
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return
    say(f"installing what '{name}' needs")
    install_pinned(make_interpreter(), pins)
    stamp.write_text(wanted, encoding="utf-8")


def set_aside() -> None:
    """Takes away an environment of ours: renamed first, so that no half of it is ever met."""
    aside = CACHE / f"old-environment-{os.getpid()}"
    VENV.rename(aside)
    for old in CACHE.glob("old-environment-*"):
        shutil.rmtree(old, ignore_errors=True)


def bring_up_to_date(wanted: Inputs, present: Inputs | None) -> None:
    """Makes the environment what ``wanted`` says; the stamp is written last.

    Raises:
        SetupError: when a step fails; what stands is completed or remade by the next run.
    """
    ours = present is not None or UNFINISHED.exists()
    usable = can_run(VENV / "bin" / "python") and not UNFINISHED.exists()
    moved = present is not None and present.checkout != wanted.checkout
    if VENV.exists() and ours and (moved or not usable):
        say("the environment is unfinished or was moved; making it anew")
        set_aside()
        present = None
    if VENV.exists() and not ours and not usable:
        raise SetupError(f"{VENV} holds no Python 3.11 or newer: run 'make clean' and try again")
    LOG.write_bytes(b"")
    adopted = VENV.exists() and not ours
    pip = make_interpreter()
    if not adopted:
        UNFINISHED.touch()
    STAMP.unlink(missing_ok=True)
    if present is None or present.third_parties != wanted.third_parties:
        size = "about 700 MB, a minute or two" if present is None else "what changed"
        say(f"installing the pinned third parties ({size})")
        install_pinned(pip, PINS)
    say("installing the four parts")
    editable = [part for member in MEMBERS for part in ("-e", str(CHECKOUT / member))]
    run([*pip, "install", "--no-deps", "--no-index", "--no-build-isolation", *editable])
    run([*pip, "check"])
    beside = STAMP.with_suffix(".new")
    beside.write_text(json.dumps(asdict(wanted), indent=2) + "\n", encoding="utf-8")
    UNFINISHED.unlink(missing_ok=True)
    beside.replace(STAMP)


def main() -> int:
    """Brings the environment up to date, or finds that it is."""
    parser = argparse.ArgumentParser(prog="environment", description=__doc__)
    names = sorted(path.stem for path in CAMPAIGNS.glob("*.txt"))
    parser.add_argument("--with", dest="campaign", choices=names, help="add a campaign's needs")
    campaign: str | None = parser.parse_args().campaign
    started = time.monotonic()
    try:
        with only_one():
            wanted, present = wanted_inputs(), present_inputs()
            current = present == wanted and not UNFINISHED.exists()
            if not (current and can_run(VENV / "bin" / "python")):
                bring_up_to_date(wanted, present)
                say(f"ready after {time.monotonic() - started:.0f} s")
            if campaign:
                add_campaign(campaign)
    except SetupError as error:
        print(f"environment: {error}", file=sys.stderr)
        return EXIT_USAGE if campaign else EXIT_FAILED
    except OSError as error:
        print(f"environment: {error}: the checkout must be complete and writable", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("environment: interrupted; run make again to go on", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


if __name__ == "__main__":
    # A stop request leaves like Ctrl-C does: the child is ended, the next run starts afresh.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
