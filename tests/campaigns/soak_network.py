"""A network namespace for one device, where root may make one: packets get lost, a link is narrow.

Loss is a rule of nft inside the namespace, the width a queue of tc (tbf); what a machine lacks of
them is said, and the relay's faults are left.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

_IP, _TC = "ip", "tc"
NFT = "PRIMUM_NFT"
"""An nft other than the installed one."""


def _do(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, timeout=20)


def nft() -> str | None:
    """The program that drops packets, where the machine has it."""
    return shutil.which(os.environ.get(NFT, "nft"))


def what_is_missing() -> list[str]:
    """Why faults of a real network cannot be had here; empty where all can."""
    missing = []
    if os.geteuid() != 0 or shutil.which(_IP) is None:
        return ["network namespaces need root and ip: the relay alone makes the network bad"]
    try:
        _do(_IP, "netns", "add", _probe())
        _do(_IP, "netns", "del", _probe())
    except (OSError, subprocess.SubprocessError):
        return ["this machine lets nobody make network namespaces: the relay alone is used"]
    if nft() is None:
        missing.append("loss of packets needs nft, which is not installed")
    if shutil.which(_TC) is None:
        missing.append("a narrow link needs tc, which is not installed")
    return missing


def _probe() -> str:
    return f"soak-probe-{os.getpid()}"


@dataclass(frozen=True)
class Namespace:
    """One namespace, joined to this machine by a pair of links.

    Attributes:
        name: of the namespace.
        here: this machine's address, seen from inside.
    """

    name: str
    here: str

    @classmethod
    def make(cls, number: int) -> Self:
        """Make one; ``number`` is its own among those of this process."""
        base = os.getpid() % 120 * 2 + number
        one = cls(f"soak-{os.getpid()}-{number}", f"10.213.{base % 250}.1")
        there = one.here[:-1] + "2"
        outside, inside = one._outside, f"si{os.getpid() % 100_000}n{number}"
        _do(_IP, "netns", "add", one.name)
        try:
            _do(_IP, "link", "add", outside, "type", "veth", "peer", "name", inside)
            _do(_IP, "link", "set", inside, "netns", one.name, "name", "eth0")
            _do(_IP, "addr", "add", f"{one.here}/30", "dev", outside)
            _do(_IP, "link", "set", outside, "up")
            for words in (
                ("addr", "add", f"{there}/30", "dev", "eth0"),
                ("link", "set", "eth0", "up"),
                ("link", "set", "lo", "up"),
            ):
                one.inside(_IP, *words)
        except BaseException:
            with suppress(OSError, subprocess.SubprocessError):
                one.remove()
            raise
        return one

    @property
    def _outside(self) -> str:
        pid, number = self.name.split("-")[1:]
        return f"so{int(pid) % 100_000}n{number}"

    @property
    def command(self) -> list[str]:
        """What goes before a command that is to run inside."""
        return [_IP, "netns", "exec", self.name]

    def inside(self, *words: str) -> None:
        _do(*self.command, *words)

    def lose(self, percent: int) -> None:
        """Let so many of a hundred packets get lost, both ways."""
        program = nft() or "nft"
        self.inside(program, "add", "table", "inet", "soak")
        for hook in ("input", "output"):
            chain = f"{{ type filter hook {hook} priority 0 ; }}"
            self.inside(program, "add", "chain", "inet", "soak", hook, chain)
            self.inside(
                program,
                *("add", "rule", "inet", "soak", hook),
                *("numgen", "random", "mod", "100", "<", str(percent), "drop"),
            )

    def lose_nothing(self) -> None:
        self.inside(nft() or "nft", "delete", "table", "inet", "soak")

    def narrow(self, kbit: int) -> None:
        """Let so many thousand bits a second through, on the way out."""
        rate = ("rate", f"{kbit}kbit", "burst", "4kb", "latency", "400ms")
        self.inside(_TC, "qdisc", "add", "dev", "eth0", "root", "tbf", *rate)

    def widen(self) -> None:
        self.inside(_TC, "qdisc", "del", "dev", "eth0", "root")

    def take_down(self) -> None:
        self.inside(_IP, "link", "set", "eth0", "down")

    def bring_up(self) -> None:
        self.inside(_IP, "link", "set", "eth0", "up")

    def remove(self) -> None:
        """Take it away, with its link: the kernel would end that some time later."""
        with suppress(subprocess.SubprocessError):
            _do(_IP, "link", "del", self._outside)
        _do(_IP, "netns", "del", self.name)
