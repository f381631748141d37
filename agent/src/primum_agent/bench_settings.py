"""What the maker of a device asks of the bench that proves releases: the table ``[bench]``.

Standard library only, for the supervisor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from primum_verifier.proof.confinement import ALWAYS_POSSIBLE, Confinement


@dataclass(frozen=True)
class BenchSettings:
    """How confined a model has to be on this device before it is loaded, and by what it is run.

    Attributes:
        require: confinements without which no model is loaded, besides those that every system
            can hold.
        command: a bench of the maker's own, by absolute path; empty for the one that comes with
            the verifier.
    """

    require: tuple[str, ...] = ()
    command: tuple[str, ...] = ()

    @property
    def required(self) -> frozenset[Confinement]:
        """Everything that has to be held."""
        return ALWAYS_POSSIBLE | frozenset(map(Confinement, self.require))


def bench_faults(settings: BenchSettings) -> Iterator[tuple[str, str, str]]:
    """What of the settings cannot be: the member, what was found, and what was expected."""
    unknown = sorted(set(settings.require) - set(Confinement))
    if unknown:
        yield "require", repr(unknown[0][:80]), ", ".join(sorted(Confinement))
    if settings.command and not settings.command[0].startswith("/"):
        yield "command", repr(settings.command[0][:80]), "the absolute path of a program"
