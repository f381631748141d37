"""One thing that ``doctor`` looked at: whether it is well, what was found, what to do about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        what: the thing, as people call it.
        well: whether it is as it should be.
        found: what was found.
        remedy: what to do about it; shown where it is not well, or a note.
        note: nothing is wrong, but a person may want to know.
    """

    what: str
    well: bool
    found: str
    remedy: str = ""
    note: bool = False
