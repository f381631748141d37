"""The parts that every page is put together from: sections, tables, cells of numbers."""

from __future__ import annotations

from collections.abc import Iterable

from primum_verifier.shell.markup import Markup, tag


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
