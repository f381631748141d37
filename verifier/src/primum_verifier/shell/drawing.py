"""What plots are drawn with: inline SVG, no script, no file beside it, readable in the dark too.

Drawings take their colours from the page's style by class, so that one serves light, dark and
print; what a colour says is said by a word or a place as well.
"""

from __future__ import annotations

from primum_verifier.shell.markup import Markup, joined, tag

WIDTH = 720
"""Units across a plot; the page scales it."""

_NAME_LETTERS = 26


def svg(height: float, title: str, *inside: Markup) -> Markup:
    """A drawing over the whole width; ``title`` is what it is to whoever cannot see it."""
    return tag(
        "svg",
        tag("title", title),
        joined(*inside),
        role="img",
        viewBox=f"0 0 {WIDTH} {height:.0f}",
        class_="plot",
    )


def words(
    x: float, y: float, said: str, *, anchor: str = "middle", class_: str = "label"
) -> Markup:
    """A text, held at its middle, ``start`` or ``end``."""
    return tag("text", said, x=px(x), y=px(y), text_anchor=anchor, class_=class_)


def short(name: str) -> str:
    """A name that fits beside a row."""
    return (
        name
        if len(name) <= _NAME_LETTERS
        else name[: _NAME_LETTERS - 1] + "\N{HORIZONTAL ELLIPSIS}"
    )


def px(value: float) -> str:
    """A length or a place."""
    return f"{value:.1f}".removesuffix(".0")
