"""The supervisor's children, played: their work is done in this process, at once.

It takes its time on the device's clock, so that the supervisor looks again when it is over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from primum_agent.children import GRACE_SECONDS, Task

Work = Callable[[str], int]
"""Does the work of a task, given its reason; an exit code of the one table."""

START_SECONDS = 0.4
"""What a process of its own takes to start, on a device in the field."""


@dataclass(eq=False)
class PlayedChild:
    """See :class:`primum_agent.children.Running`: it has ended by the time anybody looks."""

    task: Task
    deadline: float
    reason: str
    code: int

    def poll(self) -> int | None:
        """See :class:`primum_agent.children.Running`."""
        return self.code

    def signal(self, number: int) -> None:
        """See :class:`primum_agent.children.Running`; it has ended."""

    def stop(self, *, grace: float = GRACE_SECONDS) -> None:
        """See :class:`primum_agent.children.Running`; it has ended."""


@dataclass(eq=False)
class PlayedChildren:
    """Starts them.

    Attributes:
        works: what each task does.
        spend: lets time pass on the device's clock.
    """

    works: dict[Task, Work]
    spend: Callable[[float], None]

    def __call__(
        self, task: Task, arguments: list[str], *, deadline: float, reason: str = ""
    ) -> PlayedChild:
        """See :class:`primum_agent.children.Start`."""
        del arguments
        self.spend(START_SECONDS)
        code = self.works[task](reason)
        return PlayedChild(task=task, deadline=deadline, reason=reason, code=code)
