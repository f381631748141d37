"""A TPM 2 in software with a token behind its PKCS#11 module: what a device with a TPM has.

A device reaches its TPM through the kernel's resource manager; this one has none, and serves one
process at a time.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.unit.agent.token import LABEL, PIN
from tests.unit.agent.waiting import wait_for

from primum_agent.key_address import TokenAddress

OFFICER = "87654321"


@dataclass
class Tpm:
    """One TPM, one token.

    Attributes:
        root: the folder with its programs below it, laid out like ``/``.
        folder: everything of this TPM.
    """

    root: Path
    folder: Path
    _ports: tuple[int, int] = (0, 0)
    _process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def module(self) -> Path:
        found = (self.root / "usr/lib").glob("*/pkcs11/libtpm2_pkcs11.so")
        return next(iter(sorted(found)))

    @property
    def settings(self) -> dict[str, str]:
        """What a process needs in its environment to see the token."""
        given = {
            "TPM2_PKCS11_STORE": str(self.folder / "store"),
            "TPM2_PKCS11_TCTI": f"swtpm:host=127.0.0.1,port={self._ports[0]}",
            # The module has words of its own for whatever it meets, and says them on stderr.
            "TSS2_LOG": "all+NONE",
        }
        if self.root == Path("/"):
            return given
        places = sorted({str(file.parent) for file in self.root.rglob("*.so*")})
        path = f"{self.root / 'usr/bin'}:{os.environ['PATH']}"
        return {**given, "LD_LIBRARY_PATH": os.pathsep.join(places), "PATH": path}

    def address(self, label: str = "device") -> TokenAddress:
        return TokenAddress(
            token={"token": LABEL},
            label=label,
            module=str(self.module),
            pin_source=str(self.folder / "pin"),
        )

    def make(self) -> None:
        """Power it on for the first time, and make the token."""
        (self.folder / "store").mkdir(parents=True)
        (self.folder / "state").mkdir()
        pin = self.folder / "pin"
        pin.write_text(f"{PIN}\n")
        pin.chmod(0o600)
        self.power_on()
        self._tool("--init-token", "--slot-index", "0", "--label", LABEL, "--so-pin", OFFICER)
        who = ("--login", "--login-type", "so", "--so-pin", OFFICER)
        self._tool("--init-pin", "--token-label", LABEL, "--new-pin", PIN, *who)

    def _tool(self, *words: str) -> None:
        environment = {**os.environ, **self.settings}
        tool = shutil.which("pkcs11-tool", path=environment["PATH"])
        assert tool is not None
        done = subprocess.run(
            [tool, "--module", str(self.module), *words],
            check=False, capture_output=True, text=True, env=environment,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def power_on(self) -> None:
        """Start it; its ports stay the same, as a device's TPM stays where it is."""
        if not self._ports[0]:
            self._ports = _free_ports()
        server, control = (f"type=tcp,port={port},bindaddr=127.0.0.1" for port in self._ports)
        environment = {**os.environ, **self.settings}
        program = shutil.which("swtpm", path=environment["PATH"])
        assert program is not None
        self._process = subprocess.Popen(
            [
                program, "socket", "--tpm2", "--tpmstate", f"dir={self.folder / 'state'}",
                "--server", server, "--ctrl", control,
                "--flags", "not-need-init,startup-clear",
            ],
            env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_for(lambda: _answers(self._ports[1]))

    def power_off(self) -> None:
        """The power is gone; what it keeps for ever is in its state folder."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def clear(self) -> None:
        """What ``tpm2_clear`` or another mainboard comes to: nothing of it is there any more."""
        self.power_off()
        shutil.rmtree(self.folder / "state")
        (self.folder / "state").mkdir()
        self.power_on()


def _free_ports() -> tuple[int, int]:
    """Two in a row: the way to the TPM expects its control port right after the other."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            with suppress(OSError):
                second.bind(("127.0.0.1", port + 1))
                return port, port + 1


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
