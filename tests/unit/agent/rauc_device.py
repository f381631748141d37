"""A device with a real RAUC: two slots that are plain files, a bus and a boot loader of its own.

What a real device has and this one has not: a boot loader.  A script in its place keeps what it is
told in files, and :meth:`RaucDevice.restart` starts the slot that a boot loader would have started.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

COMPATIBLE = "cardiowear-2"
A, B = "rootfs.0", "rootfs.1"
NAMES = {"A": A, "B": B}

BUS = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={folder}/bus</listen>
<policy context="default"><allow own="*"/><allow send_destination="*"/>
<allow send_type="signal"/><allow receive_sender="*"/></policy></busconfig>
"""

SYSTEM = """\
[system]
compatible={compatible}
bootloader=custom
{status}
mountprefix={folder}/mnt
{activate}
[handlers]
bootloader-custom-backend={folder}/loader
[keyring]
path={folder}/cert.pem
[slot.rootfs.0]
device={folder}/slot.A
type=raw
bootname=A
[slot.rootfs.1]
device={folder}/slot.B
type=raw
bootname=B
"""

LOADER = """\
#!/bin/sh
cd {folder}/boot || exit 1
case $1 in
get-primary) cat primary;;
set-primary) echo "$2" > primary; echo good > "state.$2"
    test ! -x {folder}/at-mark || {folder}/at-mark;;
get-state) cat "state.$2";;
set-state) echo "$3" > "state.$2"; echo "$2 $3" >> states;;
get-current) cat current;;
esac
"""

# Every call is noted; where a test says so, the attempt is killed before or after it.
WRAPPER = """\
#!/bin/sh
echo "$*" >> {folder}/calls
# Between the attempt and what it runs stands the stage of the leash.
attempt=$(ps -o ppid= -p $PPID)
case "$*" in "$(cat {folder}/cut-before 2>/dev/null)"*)
    test -s {folder}/cut-before && rm {folder}/cut-before && kill -9 $attempt && exit 1;;
esac
export LD_LIBRARY_PATH={libraries} DBUS_SYSTEM_BUS_ADDRESS=unix:path={folder}/bus
case "$1" in "$(cat {folder}/deaf-to 2>/dev/null)")
    rm {folder}/deaf-to && export DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nowhere;;
esac
case "$*" in *service*) exec {program} "$@";; esac
{program} "$@"
code=$?
case "$*" in "$(cat {folder}/cut-after 2>/dev/null)"*)
    test -s {folder}/cut-after && rm {folder}/cut-after && kill -9 $attempt;;
esac
exit $code
"""

REBOOT = """\
#!/bin/sh
echo asked >> {folder}/reboots
exit $(cat {folder}/reboot-code 2>/dev/null || echo 0)
"""


class RaucDevice:
    """The slots, the boot loader and the RAUC service of one device.

    Args:
        folder: everything of this device.
        rauc: a folder laid out like ``/`` with RAUC in it.
    """

    def __init__(self, folder: Path, rauc: Path) -> None:
        self.folder = folder
        for name in ("boot", "mnt", "bin"):
            (folder / name).mkdir(parents=True)
        places = [] if rauc == Path("/") else sorted({str(x.parent) for x in rauc.rglob("*.so*")})
        self._tools = os.pathsep.join([str(rauc / "usr/bin"), os.environ["PATH"]])
        self._libraries = os.pathsep.join(places)
        program = rauc / "usr/bin/rauc"
        self._script("loader", LOADER)
        self._script("bin/rauc", WRAPPER, libraries=self._libraries, program=program)
        self._script("reboot", REBOOT)
        self._write("bus.conf", BUS.format(folder=folder))
        self.configure()
        self._certify()
        for name in NAMES:
            (folder / f"slot.{name}").write_bytes(bytes(65_536))
            self._write(f"boot/state.{name}", "good\n")
        self._write("boot/primary", "A\n")
        self.booted = "A"
        self.broken: set[str] = set()
        self.boot_id = folder / "boot_id"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._bundles: dict[tuple[bytes, str], bytes] = {}
        self._name_boot()

    @property
    def path(self) -> str:
        """What the agent has to find as its ``PATH``."""
        return os.pathsep.join([str(self.folder / "bin"), os.environ["PATH"]])

    def settings(self, **given: Any) -> str:
        """The component in ``agent.toml``."""
        values = {
            "installer": "rauc",
            "reboot": [str(self.folder / "reboot"), "now"],
            "rauc_config": str(self.folder / "system.conf"),
        }
        lines = [f"{name} = {json.dumps(value)}" for name, value in (values | given).items()]
        return "\n".join(["[components.os]", *lines, ""])

    def configure(
        self, activate: str = "activate-installed=false", *, status: str | None = None
    ) -> None:
        """RAUC's own settings."""
        text = SYSTEM.format(
            folder=self.folder,
            compatible=COMPATIBLE,
            activate=activate,
            status=f"statusfile={self.folder}/central.raucs" if status is None else status,
        )
        self._write("system.conf", text)

    # What a maker builds

    def bundle(self, content: bytes, *, compatible: str = COMPATIBLE, fails: bool = False) -> bytes:
        """A signed bundle with one image; the same content is the same bundle.

        Args:
            content: of the slot.
            compatible: the devices that it is for.
            fails: its own script fails once the image has been written.
        """
        key = (content, compatible + str(fails))
        if key not in self._bundles:
            source = self.folder / "source"
            source.mkdir()
            # RAUC installs no image that is smaller than a sector.
            (source / "rootfs.img").write_bytes(content.ljust(4096, b"\0"))
            (source / "manifest.raucm").write_text(
                f"[update]\ncompatible={compatible}\nversion=1\n[bundle]\nformat=plain\n"
                + ("[hooks]\nfilename=hook\n" if fails else "")
                + "[image.rootfs]\nfilename=rootfs.img\n"
                + ("hooks=post-install\n" if fails else "")
            )
            if fails:
                (source / "hook").write_text("#!/bin/sh\nexit 1\n")
                (source / "hook").chmod(0o755)
            made = self.folder / "made.raucb"
            options = ["--cert", self.folder / "cert.pem", "--key", self.folder / "key.pem"]
            self._rauc("bundle", *options, source, made)
            self._bundles[key] = made.read_bytes()
            made.unlink()
            shutil.rmtree(source)
        return self._bundles[key]

    # The life of the device

    @contextmanager
    def on(self) -> Iterator[None]:
        """Bus and RAUC, for as long as the block runs."""
        try:
            self._start_bus()
            self.start_service()
            yield
        finally:
            for process in reversed(self._processes):
                _stop(process)

    def start_service(self) -> None:
        """RAUC's service, on the slot that is booted."""
        program = str(self.folder / "bin/rauc")
        config = ["--conf", str(self.folder / "system.conf")]
        self._processes.append(
            self._spawn([program, *config, "service", f"--override-boot-slot={self.booted}"])
        )
        deadline = time.monotonic() + 10
        while self._ask("status").returncode:
            assert time.monotonic() < deadline, "RAUC does not answer"
            time.sleep(0.02)
        self.forget()

    def stop_service(self) -> None:
        """RAUC is gone."""
        _stop(self._processes.pop())

    def restart(self, *, forgets: bool = False) -> str:
        """Power off and on; the slot that the boot loader started.

        Args:
            forgets: what RAUC wrote down is lost.
        """
        self.stop_service()
        if forgets:
            (self.folder / "central.raucs").unlink()
        wanted = self.primary
        if wanted in self.broken:
            self._write(f"boot/state.{wanted}", "bad\n")
            wanted = next(name for name in NAMES if name != wanted)
            self._write("boot/primary", f"{wanted}\n")
        self.booted = wanted
        self._name_boot()
        self.start_service()
        return NAMES[wanted]

    def at_mark(self, script: str) -> None:
        """What happens right after a slot is marked as the next one to start; empty for nothing."""
        path = self.folder / "at-mark"
        path.unlink(missing_ok=True)
        if script:
            self._script("at-mark", f"#!/bin/sh\n{script}\n")

    def install_by_hand(self, content: bytes) -> None:
        """Somebody else installs a bundle, past the agent."""
        path = self.folder / "by-hand.raucb"
        path.write_bytes(self.bundle(content))
        assert self._ask("install", str(path)).returncode == 0
        self.forget()

    # What is to be seen

    @property
    def primary(self) -> str:
        """What the boot loader starts next."""
        return (self.folder / "boot/primary").read_text().strip()

    @property
    def calls(self) -> list[str]:
        """What RAUC was told to do."""
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        told = [line.split(" /")[0] for line in lines]
        return [line for line in told if line.startswith(("install", "status mark-"))]

    @property
    def reboots(self) -> int:
        """How often a restart was asked for."""
        path = self.folder / "reboots"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def state(self, slot: str) -> str:
        """What the boot loader thinks of a slot."""
        return (self.folder / f"boot/state.{slot}").read_text().strip()

    def content(self, slot: str) -> bytes:
        """What lies in a slot."""
        return (self.folder / f"slot.{slot}").read_bytes().rstrip(b"\0")

    def forget(self) -> None:
        """Begin to count anew."""
        for name in ("calls", "reboots"):
            (self.folder / name).unlink(missing_ok=True)

    def cut(self, when: str, call: str) -> None:
        """The power fails before or after RAUC is asked this."""
        self._write(f"cut-{when}", call)

    def deaf_to(self, command: str) -> None:
        """The bus is not there when RAUC is next told this."""
        self._write("deaf-to", command)

    def no_reboot(self, code: int | None) -> None:
        """The program that restarts the device ends so."""
        self._write("reboot-code", "" if code is None else str(code))
        if code is None:
            (self.folder / "reboot-code").unlink()

    # Inside

    def _name_boot(self) -> None:
        self.boot_id.write_text(f"{uuid.uuid4()}\n")
        self._write("boot/current", f"{self.booted}\n")

    def _write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def _script(self, name: str, text: str, **words: object) -> None:
        path = self.folder / name
        path.write_text(text.format(folder=self.folder, **words))
        path.chmod(0o755)

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=log, env={**os.environ, "PATH": self._tools}
            )

    def _start_bus(self) -> None:
        daemon = shutil.which("dbus-daemon", path=self._tools)
        assert daemon is not None
        words = ["--nofork", "--nopidfile", "--nosyslog"]
        configured = f"--config-file={self.folder}/bus.conf"
        self._processes.append(self._spawn([daemon, configured, *words]))
        deadline = time.monotonic() + 10
        while not (self.folder / "bus").exists():
            assert time.monotonic() < deadline, "no bus"
            time.sleep(0.01)

    def _ask(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [self.folder / "bin/rauc", *words], check=False, capture_output=True, timeout=30
        )

    def _rauc(self, *words: object) -> None:
        subprocess.run(
            [self.folder / "bin/rauc", *map(str, words)],
            check=True,
            capture_output=True,
            timeout=30,
            env={**os.environ, "PATH": self._tools},
        )

    def _certify(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "maker")])
        today = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(today - timedelta(days=1))
            .not_valid_after(today + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        (self.folder / "cert.pem").write_bytes(made.public_bytes(pem))
        (self.folder / "key.pem").write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=10)
