"""Finds a mosquitto that speaks MQTT 5, or unpacks the distribution's own into the checkout.

``make broker`` runs it with any Python 3.11 or newer. Looked at in this order:
``PRIMUM_MOSQUITTO``, the ``PATH``, the folders of system programs, what was unpacked before. Where
none is found and ``apt-get`` and ``dpkg-deb`` are there, the distribution's packages are fetched
through private apt folders, checked by apt against the distribution's signatures, and unpacked
below ``.cache/mosquitto/``: no root, nothing installed, nothing of the system changed.

No Python package ships an MQTT 5 broker, and under MQTT 3.1.1 a refused report looks delivered:
so a candidate counts only after it was started and answered an MQTT 5 greeting. The path of the
one to use is left in ``.cache/mosquitto/path``; ``--print-path`` prints it.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
CACHE = CHECKOUT / ".cache"
UNPACKED = CACHE / "mosquitto"
RECORDED = UNPACKED / "path"
WRAPPER = UNPACKED / "mosquitto"
SYSTEM_FOLDERS = (
    "/usr/sbin",
    "/usr/local/sbin",
    "/opt/homebrew/sbin",
    "/usr/local/opt/mosquitto/sbin",
)

OLDEST_VERSION = (2, 0)
START_SECONDS = 10.0
FETCH_SECONDS = 300.0
EXIT_FAILED = 3
EXIT_INTERRUPTED = 128 + signal.SIGINT
HOW_TO_INSTALL = (
    "install mosquitto 2.0 or newer (apt, dnf, apk, pacman, zypper and brew call it 'mosquitto'),"
    " or name one: make PRIMUM_MOSQUITTO=/path/to/mosquitto"
)
# MQTT 5.0, 3.1: CONNECT, clean start, keep alive 10 s, no properties, client id "primum".
GREETING = bytes.fromhex("101300044d5154540502000a0000067072696d756d")
# MQTT 5.0, 3.2: CONNACK, its length, its flags, and the reason code: 0 is success.
CONNACK, SUCCESS = 0x20, 0x00
CONNACK_HEAD_BYTES = 4

# apt's own settings are kept (proxies, mirrors), except what acts on the system afterwards.
APT_HOOKS = re.compile(r"^(APT::Update::(Pre|Post)-|DPkg::|APT::Archives|Dir::Etc::(main|parts)\b)")
APT_PRIVATE = """\
Dir::Etc::main "/dev/null";
Dir::Etc::parts "{folder}/parts";
Dir::State "{folder}/state";
Dir::State::status "/var/lib/dpkg/status";
Dir::State::lists "{folder}/lists";
Dir::Cache "{folder}/cache";
Dir::Cache::archives "{folder}/archives";
Dir::Log "{folder}/log";
Debug::NoLocking "true";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "2";
APT::Update::Error-Mode "any";
"""
# Mixing a second C library into the process would break it; the present one is always enough.
NEVER_UNPACKED = re.compile(r"(libc6|libc-bin|libgcc-s1|libstdc\+\+6|.*-base|dpkg|perl.*|adduser)")


class SetupError(Exception):
    """The world did not do its part; the message is for a person, with the remedy."""


def say(text: str) -> None:
    """One line of progress, on stderr: stdout belongs to ``--print-path``."""
    print(f"broker: {text}", file=sys.stderr, flush=True)


def version_of(executable: Path) -> tuple[int, ...] | None:
    """The version a mosquitto reports, or ``None`` where it is none or does not start."""
    try:
        finished = subprocess.run(
            [executable, "-h"], check=False, capture_output=True, text=True, timeout=START_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    found = re.search(r"^mosquitto version (\d+)\.(\d+)", finished.stdout, re.MULTILINE)
    return tuple(int(part) for part in found.groups()) if found else None


def greet(port: int) -> bool:
    """Whether something on this port of the loopback address accepts an MQTT 5 client."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(GREETING)
            answer = connection.recv(CONNACK_HEAD_BYTES)
    except OSError:
        return False
    whole = len(answer) == CONNACK_HEAD_BYTES
    return whole and answer[0] == CONNACK and answer[-1] == SUCCESS


def speaks_mqtt5(executable: Path) -> bool:
    """Starts the broker on a port of its own and greets it as an MQTT 5 client."""
    with socket.socket() as probe, tempfile.TemporaryDirectory(prefix="primum-broker-") as folder:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        settings = [f"listener {port} 127.0.0.1", "allow_anonymous true", "persistence false"]
        if os.geteuid() == 0:
            settings.append("user root")  # the user it would change to may not exist here
        config = Path(folder) / "mosquitto.conf"
        config.write_text("\n".join(settings) + "\n", encoding="utf-8")
        with subprocess.Popen(
            [executable, "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                deadline = time.monotonic() + START_SECONDS
                while process.poll() is None and time.monotonic() < deadline:
                    if greet(port):
                        return True
                    time.sleep(0.02)
                return False
            finally:
                process.terminate()
                try:
                    process.wait(timeout=START_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()


def candidates() -> Iterator[Path]:
    """Where a mosquitto may be, best first; what is named by hand stands alone."""
    named = os.environ.get("PRIMUM_MOSQUITTO")
    if named:
        yield Path(shutil.which(named) or named)
        return
    on_path = shutil.which("mosquitto")
    if on_path:
        yield Path(on_path)
    for folder in SYSTEM_FOLDERS:
        yield Path(folder) / "mosquitto"
    yield WRAPPER


def find() -> Path | None:
    """The first candidate that serves.

    Raises:
        SetupError: when the one named by ``PRIMUM_MOSQUITTO`` does not.
    """
    for candidate in candidates():
        version = version_of(candidate)
        if version is None:
            continue
        if version < OLDEST_VERSION:
            say(f"{candidate} is {'.'.join(map(str, version))}: too old for MQTT 5")
        elif is_recorded(candidate) or speaks_mqtt5(candidate):
            return candidate.absolute()
        else:
            say(f"{candidate} does not start or does not speak MQTT 5")
    named = os.environ.get("PRIMUM_MOSQUITTO")
    if named:
        raise SetupError(f"PRIMUM_MOSQUITTO={named} is no mosquitto 2.0 or newer that starts")
    return None


def is_recorded(executable: Path) -> bool:
    """Whether an earlier run already saw this one speak MQTT 5."""
    try:
        return RECORDED.read_text(encoding="utf-8").strip() == str(executable.absolute())
    except OSError:
        return False


def record(executable: Path) -> None:
    """Leaves the path for the tests, the demo and the next run."""
    UNPACKED.mkdir(parents=True, exist_ok=True)
    beside = RECORDED.with_suffix(".new")
    beside.write_text(f"{executable}\n", encoding="utf-8")
    beside.replace(RECORDED)


def run(command: list[str], folder: Path) -> str:
    """Runs one of the distribution's tools in a private folder and returns what it printed.

    Raises:
        SetupError: when it fails, with its last line of complaint.
    """
    environment = os.environ | {"APT_CONFIG": str(folder / "apt.conf"), "LC_ALL": "C"}
    try:
        finished = subprocess.run(
            command,
            check=False,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=FETCH_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise SetupError(f"'{command[0]}' took longer than {FETCH_SECONDS:.0f} s") from None
    if finished.returncode:
        complaints = [line for line in finished.stderr.splitlines() if line.startswith("E: ")]
        raise SetupError(f"'{' '.join(command[:2])}' failed: {(complaints or ['no reason'])[0]}")
    return finished.stdout


def prepare_apt(folder: Path) -> None:
    """Gives apt folders of its own, with the system's sources, keys and proxies."""
    for name in ("parts", "state", "lists/partial", "cache", "archives/partial", "log", "root"):
        (folder / name).mkdir(parents=True)
    own = folder / "apt.conf"
    own.write_text("", encoding="utf-8")
    own.chmod(0o600)  # a proxy's address may carry a password
    environment = {name: value for name, value in os.environ.items() if name != "APT_CONFIG"}
    tool = shutil.which("apt-config") or "apt-config"
    dump = subprocess.run(
        [tool, "dump"], check=False, capture_output=True, text=True, env=environment
    ).stdout
    kept = [line for line in dump.splitlines() if not APT_HOOKS.match(line)]
    text = "\n".join(kept) + "\n" + APT_PRIVATE.format(folder=folder)
    own.write_text(text, encoding="utf-8")


def unpack_packages(folder: Path, *packages: str) -> None:
    """Fetches packages and the libraries this system lacks, and unpacks them.

    Args:
        folder: gets them below ``root``.
        packages: the distribution's names of them.

    Raises:
        SetupError: when the distribution's packages cannot be had.
    """
    prepare_apt(folder)
    unreached = None
    try:
        run(["apt-get", "-q", "update"], folder)
    except SetupError as error:
        # One unreachable source among several is common; whether it matters shows next.
        unreached = error
    try:
        command = ["apt-get", "-s", "-q", "--no-install-recommends", "install", *packages]
        plan = run(command, folder)
    except SetupError as error:
        raise unreached or error from error
    names = re.findall(r"^Inst (\S+)", plan, re.MULTILINE)
    wanted = [name for name in names if not NEVER_UNPACKED.fullmatch(name)]
    # One that is installed, yet not usable as found, is itself what there is to unpack.
    wanted += [package for package in packages if package not in wanted]
    run(["apt-get", "-q", "download", *wanted], folder)
    for file in sorted(folder.glob("*.deb")):
        run(["dpkg-deb", "-x", str(file), str(folder / "root")], folder)
    say(f"unpacked {', '.join(wanted)}")


def write_wrapper(folder: Path) -> None:
    """Writes the script that starts the unpacked broker with its unpacked libraries.

    Raises:
        SetupError: when the packages held no broker.
    """
    programs = sorted((folder / "root").glob("usr/*bin/mosquitto"))
    if not programs:
        raise SetupError("the distribution's packages hold no mosquitto")
    libraries = sorted({file.parent for file in (folder / "root").rglob("*.so*")})
    places = ":".join(f"$here/{place.relative_to(folder)}" for place in libraries)
    wrapper = folder / "mosquitto"
    wrapper.write_text(
        "#!/bin/sh\n"
        "# Starts the unpacked mosquitto; exec, so that signals reach the broker itself.\n"
        'here=$(dirname "$(readlink -f "$0")")\n'
        f'export LD_LIBRARY_PATH="{places}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"\n'
        f'exec "$here/{programs[0].relative_to(folder)}" "$@"\n',
        encoding="utf-8",
    )
    wrapper.chmod(0o755)


def tidy(folder: Path) -> None:
    """Takes away what was needed to unpack, and leaves what was unpacked."""
    for name in ("apt.conf", "parts", "state", "lists", "cache", "archives", "log"):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for package in folder.glob("*.deb"):
        package.unlink()
    folder.chmod(0o755)


def unpack() -> Path:
    """Unpacks the distribution's mosquitto below ``.cache/mosquitto``, whole or not at all.

    Raises:
        SetupError: when this distribution has other tools, or its packages cannot be had.
    """
    if not all(shutil.which(tool) for tool in ("apt-get", "apt-config", "dpkg-deb")):
        raise SetupError("no mosquitto 2.0 or newer here")
    say("no mosquitto installed; unpacking the distribution's into .cache (nothing is installed)")
    for left_over in CACHE.glob("mosquitto.new-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix="mosquitto.new-", dir=CACHE))
    try:
        unpack_packages(folder, "mosquitto")
        write_wrapper(folder)
        if not speaks_mqtt5(folder / "mosquitto"):
            raise SetupError("the distribution's mosquitto does not start here")
        tidy(folder)
        shutil.rmtree(UNPACKED, ignore_errors=True)
        folder.rename(UNPACKED)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return WRAPPER


@contextmanager
def only_one() -> Iterator[None]:
    """Holds the broker's set-up lock; a second set-up waits for the first."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "broker.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Finds or unpacks a broker, and records where it is."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], prog="broker.py")
    parser.add_argument("--print-path", action="store_true", help="print the broker's path")
    arguments = parser.parse_args()
    try:
        with only_one():
            executable = find()
            if executable is None:
                executable = unpack()
            if not is_recorded(executable):
                record(executable)
                say(f"using {executable}")
    except SetupError as error:
        print(f"broker: {error}: {HOW_TO_INSTALL}", file=sys.stderr)
        return EXIT_FAILED
    except OSError as error:
        print(f"broker: {error}: the checkout must be complete and writable", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("broker: interrupted; run make again to go on", file=sys.stderr)
        return EXIT_INTERRUPTED
    if arguments.print_path:
        print(executable)
    return 0


if __name__ == "__main__":
    # A stop request leaves like Ctrl-C does: what was begun is taken away again.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
