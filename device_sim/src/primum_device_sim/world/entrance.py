"""The entrance of a played device: nobody waits in it; whoever asks is answered at once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from primum_agent.desk import Visitor
from primum_agent.entrance import Answer


@dataclass(eq=False)
class PlayedEntrance:
    """See :class:`primum_agent.entrance.Entrance`.

    Attributes:
        rung: called when the supervisor is to look again.
        visitor: the application, the only one who comes.
        signal: no signal reaches a device that is played.
    """

    rung: Callable[[], None]
    visitor: Visitor = field(default_factory=Visitor)
    signal: int = 0
    _answer: Answer | None = None

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """See :class:`primum_agent.entrance.Entrance`."""
        yield

    def open(self, path: Path, answer: Answer) -> None:
        """See :class:`primum_agent.entrance.Entrance`."""
        del path
        self._answer = answer

    def close(self) -> None:
        """See :class:`primum_agent.entrance.Entrance`."""
        self._answer, self.visitor = None, Visitor()

    def episodes(self) -> int:
        """See :class:`primum_agent.entrance.Entrance`."""
        return self.visitor.episodes

    def ring(self) -> None:
        """See :class:`primum_agent.entrance.Entrance`."""
        self.rung()

    def wait(self, seconds: float) -> None:
        """See :class:`primum_agent.entrance.Entrance`; the world waits, not the device."""
        del seconds

    def ask(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """What the supervisor answers; None while there is none."""
        return None if self._answer is None else self._answer(self.visitor, request)
