"""The RAUC of the device, asked through its own command: two slots, and which of them boots next.

RAUC itself writes the image, and checks the signature of a bundle and for which devices it is; the
agent decides when it is started, so RAUC must not do that by itself (``activate-installed=false``).
"""

from __future__ import annotations

import configparser
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from primum_agent.programs import Ended, run_program
from primum_verifier.core.errors import FailedError
from primum_verifier.core.reasons import Reason

RAUC = "rauc"

ASK_SECONDS = 60.0
"""Within which RAUC answers a question; writing an image takes what the settings give it."""

_KEPT = 65_536  # of its status: some hundred slots
_NO_SERVICE = 2  # how `rauc install` ends where the service does not answer or is busy
_SLOTS = 2
_SHOWN = 80
_PER_SLOT = "per-slot"


@dataclass(frozen=True)
class Slot:
    """One of the two slots that the device starts from.

    Attributes:
        name: RAUC's name for it.
        stamp: what RAUC wrote down when it last installed into it, whole; empty where it never
            did, or did not come to the end.
    """

    name: str
    stamp: str


@dataclass(frozen=True)
class Slots:
    """What RAUC says of the device.

    Attributes:
        booted: the slot that the device was started from.
        other: the slot that an image is installed into.
        primary: the name of the slot that the next start tries; empty where RAUC cannot say.
    """

    booted: Slot
    other: Slot
    primary: str


class Rauc:
    """The port to the device's RAUC.

    Args:
        config: the settings that its service was started with.
        install_seconds: within which it has written an image.
    """

    def __init__(self, config: Path, *, install_seconds: float) -> None:
        self._config = config
        self._seconds = install_seconds

    def check(self) -> None:
        """Refuse a RAUC that would start an image before its time, or forget what it wrote.

        Raises:
            FailedError: ``resource.program``.
        """
        said = self._said()
        activates = said.get("activate-installed", "nothing, which means yes")
        if activates not in {"false", "0"}:
            raise self._not_set(
                "activate-installed",
                found=activates,
                expected="activate-installed=false, so that the agent decides when it is started",
                remedy="Set activate-installed=false",
            )
        if "data-directory" not in said and said.get("statusfile", _PER_SLOT) == _PER_SLOT:
            raise self._not_set(
                "statusfile",
                found="no file for the whole device",
                expected="one file in which RAUC keeps what it wrote into which slot",
                remedy="Set statusfile to a file that no image replaces",
            )

    def slots(self) -> Slots:
        """The two slots and which of them boots next.

        Raises:
            FailedError: ``resource.program``: it does not answer, or the device has not two slots.
        """
        ended = self._run("status", "--detailed", "--output-format=json")
        if ended.code:
            raise _silent(ended)
        try:
            return _slots(json.loads(ended.printed))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise _not_ready(
                where=f"{RAUC} status",
                found=str(error)[:200] or type(error).__name__,
                expected="one slot that the device was started from and one beside it",
                remedy="Give both slots of a class a bootname in RAUC's system.conf.",
            ) from error

    def install(self, bundle: Path) -> str:
        """Write an image into the slot that the device was not started from.

        Returns:
            Empty once it is there; why RAUC did not take it.

        Raises:
            FailedError: ``resource.program``: it does not answer, is busy, or takes too long.
        """
        ended = run_program(
            [RAUC, "install", str(bundle)], seconds=self._seconds, kept=_KEPT, known=_PLAIN
        )
        if ended.code == _NO_SERVICE:
            raise _silent(ended)
        if not ended.code:
            return ""
        lines = ended.printed.decode("utf-8", "replace").splitlines()
        why = next((line for line in lines if line.startswith("LastError:")), ended.complaint)
        return why.removeprefix("LastError:").strip()[:300] or f"ended with {ended.code}"

    def mark_active(self, slot: Slot) -> None:
        """Let the next start try a slot.

        Raises:
            FailedError: ``resource.program``.
        """
        self._mark("mark-active", slot.name)

    def mark_good(self) -> None:
        """Tell the boot loader that the slot that was started is a good one.

        Raises:
            FailedError: ``resource.program``.
        """
        self._mark("mark-good", "booted")

    def _mark(self, how: str, slot: str) -> None:
        ended = self._run("status", how, slot)
        if ended.code:
            raise _silent(ended)

    def _run(self, *words: str) -> Ended:
        return run_program([RAUC, *words], seconds=ASK_SECONDS, kept=_KEPT, known=_PLAIN)

    def _said(self) -> dict[str, str]:
        """What the settings say of the system."""
        parser = configparser.ConfigParser(
            strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",)
        )
        try:
            with self._config.open(encoding="utf-8") as file:
                parser.read_file(file)
            return {name: text.strip()[:_SHOWN] for name, text in parser.items("system")}
        except (OSError, configparser.Error, ValueError) as error:
            raise _not_ready(
                where=str(self._config),
                found=str(error)[:200],
                expected="the settings that the device's RAUC was started with",
                remedy="Name them in agent.toml (rauc_config), readable for the agent's user.",
            ) from error

    def _not_set(self, name: str, *, found: str, expected: str, remedy: str) -> FailedError:
        return _not_ready(
            where=f"{self._config}: [system] {name}",
            found=found,
            expected=expected,
            remedy=f"{remedy} in {self._config} and restart RAUC.",
        )


_PLAIN = {"LC_ALL": "C"}


def _slots(status: dict[str, Any]) -> Slots:
    named = [item for entry in status["slots"] for item in entry.items()]
    booted = [(name, slot) for name, slot in named if slot["state"] == "booted"]
    if len(booted) != 1:
        raise ValueError(f"{len(booted)} slots that the device was started from")
    kind = booted[0][1]["class"]
    pair = [(name, slot) for name, slot in named if slot["class"] == kind and slot["bootname"]]
    if len(pair) != _SLOTS or booted[0] not in pair:
        raise ValueError(f"{len(pair)} slots of the class {kind} that can be started")
    other = next(item for item in pair if item != booted[0])
    return Slots(_slot(*booted[0]), _slot(*other), str(status.get("boot_primary") or ""))


def _slot(name: str, slot: dict[str, Any]) -> Slot:
    said = slot.get("slot_status") or {}
    if said.get("status") != "ok":
        return Slot(name, "")
    installed, checksum = said["installed"], said["checksum"]
    return Slot(name, f"{installed['count']} {installed['timestamp']} {checksum['sha256']}")


def _silent(ended: Ended) -> FailedError:
    return _not_ready(
        where=RAUC,
        found=f"ended with {ended.code}: {ended.complaint}"[:300],
        expected="an answer of the RAUC service",
        remedy="See `systemctl status rauc` and `rauc status`; the agent tries again.",
    )


def _not_ready(*, where: str, found: str, expected: str, remedy: str) -> FailedError:
    return FailedError(
        "The RAUC of this device cannot be used.",
        reason=Reason.RESOURCE_PROGRAM,
        where=where,
        found=found,
        expected=expected,
        remedy=remedy,
    )
