"""Lines for a terminal: 80 columns of plain text, colour only where a person looks."""

from __future__ import annotations

import textwrap

from primum_verifier.shell.table import printable

WIDTH = 80
LABEL = 12
"""Columns that the name of a row takes, so that a SHA-256 beside it stands on one line."""

_GREEN, _RED, _BOLD, _PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[1m", "\x1b[0m"


class Paint:
    """Colours a word, or leaves it as it is; words carry the meaning in both cases."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours

    def good(self, text: str) -> str:
        """What is as it should be."""
        return self._with(_GREEN, text)

    def bad(self, text: str) -> str:
        """What stands in the way."""
        return self._with(_RED, text)

    def strong(self, text: str) -> str:
        """A title."""
        return self._with(_BOLD, text)

    def _with(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._colours else text


def fitted(text: str, width: int) -> str:
    """A text of somebody else on one line of at most ``width`` characters."""
    shown = printable(text)
    return shown if len(shown) <= width else shown[: width - 1] + "~"


def row(name: str, text: str, *, indent: int = 4) -> list[str]:
    """A name of our own and what there is to say, going on below itself."""
    return wrapped(text, indent=indent + LABEL, first=f"{'':<{indent}}{printable(name):<{LABEL}}")


def wrapped(text: str, *, indent: int, first: str | None = None) -> list[str]:
    """A text of somebody else on as many lines as it needs.

    Args:
        text: what to say.
        indent: blanks before each line.
        first: what stands before the first line instead.
    """
    blank = " " * indent
    return textwrap.wrap(
        printable(text) or "nothing",
        width=WIDTH,
        initial_indent=blank if first is None else first,
        subsequent_indent=blank,
        break_on_hyphens=False,  # names hold hyphens, and a person looks for whole names
    )
