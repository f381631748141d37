"""What a browser would make of a page, and texts that would like to be more than text."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

ELEMENTS = {
    *("html", "head", "meta", "title", "style", "body", "header", "section", "h1", "h2", "h3", "p"),
    *("span", "div", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "br"),
    *("svg", "line", "rect", "circle", "text", "path", "g"),
}
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style><style>*{display:none}",
    "</title><svg onload=alert(1)>",
    "<!-- ]]> &lt;b&gt; &#60;i>",
    "javascript:alert(1)",
    "\x1b[2J\x1b]0;owned\x07",
    "\u202e\u2066reversed\u2069",
    "two\nlines",
]


@dataclass
class Page(HTMLParser):
    """What a browser would make of the page."""

    seen: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    tables: dict[str, list[list[str]]] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    text: str = ""
    _table: str = ""
    _id: str = ""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        self.open.append(tag)
        named = dict(attrs).get("id") or ""
        if tag == "table":
            self._table = named
            self.tables[self._table] = []
        elif named:
            self._id = named
        if tag == "tr":
            self.tables[self._table].append([])
        if tag in {"td", "th"}:
            self.tables[self._table][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._id:
            self.ids[self._id] = self.ids.get(self._id, "") + data
        if {"td", "th"} & set(self.open):
            self.tables[self._table][-1][-1] += data


def read_page(text: str) -> Page:
    """Parse a page, every element of which is closed."""
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    return page
