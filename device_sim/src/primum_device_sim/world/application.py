"""The application of a played device: it opens what stands, proves health or does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from primum_agent.application import ActiveRelease, SafeMode, StandingError, open_active

Ask = Callable[[dict[str, Any]], dict[str, Any] | None]

_WAITS = float("inf")


@dataclass(eq=False)
class PlayedApplication:
    """What a device's application does.

    Attributes:
        state: the device's state folder.
        ask: asks the supervisor.
        notices: seconds after which it looks at what stands.
        proves: seconds after opening a release until it says that it works.
        healthy: the versions it can work with; None for all of them.
        opened: generation and version that it has open; None in safe mode.
        seen: the word on each look: a version, or ``safe``.
    """

    state: Path
    ask: Ask = field(repr=False)
    notices: float = 1.0
    proves: float = 3.0
    healthy: Callable[[str], bool] = field(default=lambda _: True, repr=False)
    opened: tuple[int, str] | None = None
    seen: list[str] = field(default_factory=list)
    _says_at: float = _WAITS

    def look(self, now: float) -> float:
        """Look at what stands, and say what is due; when to look again at the latest.

        Args:
            now: seconds of the world's time.
        """
        try:
            found = open_active(self.state)
        except StandingError:
            return now + self.notices
        word = "safe" if isinstance(found, SafeMode) else found.version
        if not self.seen or self.seen[-1] != word:
            self.seen.append(word)
        if not isinstance(found, ActiveRelease):
            self.opened, self._says_at = None, _WAITS
            return _WAITS
        known = (found.generation, found.version)
        if known != self.opened:
            self.opened = known
            self.ask({"do": "activated", "generation": found.generation})
            self._says_at = now + self.proves
        if now >= self._says_at and self.healthy(found.version):
            answer = self.ask({"do": "healthy", "generation": found.generation})
            told = answer is not None and bool(answer.get("proven"))
            self._says_at = _WAITS if told else now + self.proves
        return self._says_at if self.healthy(found.version) else _WAITS
