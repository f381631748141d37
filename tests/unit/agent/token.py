"""A token of a test's own: SoftHSM over a folder, with one PIN file that only the agent reads."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from primum_agent.key_address import TokenAddress

PIN = "1234567"
LABEL = "primum test"
MODULES = ("lib/softhsm", "lib64/softhsm", "lib/pkcs11", "lib64/pkcs11", "lib")


@dataclass(frozen=True)
class SoftToken:
    """One token.

    Attributes:
        usr: the folder with SoftHSM below it.
        folder: everything of this token.
    """

    usr: Path
    folder: Path

    @property
    def module(self) -> Path:
        return next(
            path for name in MODULES if (path := self.usr / name / "libsofthsm2.so").is_file()
        )

    @property
    def pin(self) -> Path:
        return self.folder / "pin"

    @property
    def settings(self) -> dict[str, str]:
        """What a process needs in its environment to see the token."""
        return {"SOFTHSM2_CONF": str(self.folder / "softhsm2.conf")}

    def address(self, label: str = "device", **other: object) -> TokenAddress:
        members: dict[str, object] = {
            "token": {"token": LABEL},
            "label": label,
            "module": str(self.module),
            "pin_source": str(self.pin),
            **other,
        }
        return TokenAddress(**members)  # type: ignore[arg-type] # a table of test cases

    def make(self) -> None:
        """Make the folder and the token in it."""
        (self.folder / "tokens").mkdir(parents=True)
        (self.folder / "softhsm2.conf").write_text(
            f"directories.tokendir = {self.folder / 'tokens'}\nlog.level = ERROR\n"
        )
        self.write_pin(PIN)
        subprocess.run(
            [
                self.usr / "bin" / "softhsm2-util", "--module", self.module, "--init-token",
                "--free", "--label", LABEL, "--so-pin", "87654321", "--pin", PIN,
            ],
            check=True, capture_output=True, env={**os.environ, **self.settings},
        )  # fmt: skip

    def write_pin(self, pin: str) -> None:
        self.pin.write_text(f"{pin}\n")
        self.pin.chmod(0o600)

    @contextmanager
    def pulled_out(self) -> Iterator[None]:
        """The token is not there while the block runs."""
        away = self.folder / "away"
        shutil.move(self.folder / "tokens", away)
        (self.folder / "tokens").mkdir()
        try:
            yield
        finally:
            shutil.rmtree(self.folder / "tokens")
            shutil.move(away, self.folder / "tokens")
