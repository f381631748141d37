"""The parts that every page is put together from: the frame, sections, tables, cells of numbers.

A page forbids itself scripts, frames and every address by its own policy, and every text in it is
escaped (:mod:`primum_verifier.shell.markup`), so it may be opened and sent on although what is
shown in it was written by others.
"""

from __future__ import annotations

from collections.abc import Iterable

from primum_verifier.shell.markup import Markup, tag
from primum_verifier.shell.page_style import STYLE

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(title: str, *inside: Markup, style: Markup = STYLE) -> str:
    """The whole page: nothing is loaded, nothing runs, and it prints."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", style),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, tag('body', *inside), lang='en')}\n"


def section(name: str, title: str, *inside: str) -> Markup:
    """A part of the page under a title; ``name`` is what an address names it by."""
    return tag("section", tag("h2", title), *inside, id=name)


def table(name: str, head: Iterable[Markup], rows: Iterable[Iterable[Markup]]) -> Markup:
    """A table that scrolls by itself where it is wider than the page."""
    body = [tag("tr", *cells) for cells in rows]
    drawn = tag("table", tag("thead", tag("tr", *head)), tag("tbody", *body), id=f"table-{name}")
    return tag("div", drawn, class_="wide")


def names(*heads: str) -> list[Markup]:
    """Heads of columns; one that begins with ``#`` is over numbers."""
    return [
        tag(
            "th", head.removeprefix("#"), scope="col", **({"class": "n"} if head[:1] == "#" else {})
        )
        for head in heads
    ]


def number(value: object) -> Markup:
    """A cell with a number."""
    return tag("td", str(value), class_="n")


def digest(sha256: str | None) -> list[Markup]:
    """A digest on a line of its own; nothing where there is none."""
    return [] if sha256 is None else [tag("p", f"sha256 {sha256}", class_="hash")]
