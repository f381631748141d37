"""Writes HTML and SVG in which a text can never become markup.

An element is made by :func:`tag` alone.  What is put inside or into an attribute is escaped, unless
it is :class:`Markup`, which only this module makes; so a name out of a hostile file stays a name.
Characters that steer a terminal or turn the direction of a line are shown as ``?``.
"""

from __future__ import annotations

import html
import re

_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9-]*")
_VOID = frozenset({"br", "meta", "line", "rect", "circle", "path"})
"""Elements that are written without an inside; of SVG those that are drawn and hold no title."""


class Markup(str):
    """Text that is markup already: what :func:`tag` made, and constants of our own."""

    __slots__ = ()


def tag(name: str, /, *inside: str, **attributes: str) -> Markup:
    """One element.

    Args:
        name: of the element.
        inside: texts, which are escaped, and :class:`Markup`, which is not.
        attributes: by name; ``class_`` stands for ``class`` and ``_`` for ``-``.
    """
    written = "".join(f' {_attribute(key)}="{escaped(text)}"' for key, text in attributes.items())
    if not _NAME.fullmatch(name):
        raise RuntimeError(f"no name of an element: {name!r}")
    if name in _VOID and not inside:
        return Markup(f"<{name}{written}/>")
    return Markup(f"<{name}{written}>{joined(*inside)}</{name}>")


def joined(*parts: str) -> Markup:
    """Parts one after the other, each escaped unless it is markup."""
    return Markup("".join(part if isinstance(part, Markup) else escaped(part) for part in parts))


def escaped(text: str) -> str:
    """A text as it stands in an element or in a quoted attribute."""
    shown = "".join(sign if sign.isprintable() else " " if sign == "\n" else "?" for sign in text)
    return html.escape(shown, quote=True)


def _attribute(key: str) -> str:
    name = key.rstrip("_").replace("_", "-")
    if not _NAME.fullmatch(name):
        raise RuntimeError(f"no name of an attribute: {key!r}")
    return name
