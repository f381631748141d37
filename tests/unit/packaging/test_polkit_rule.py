"""The example of a polkit rule is the one that the page shows."""

from __future__ import annotations

from pathlib import Path

CHECKOUT = Path(__file__).parents[3]
RULES = CHECKOUT / "packaging" / "polkit" / "primum-components.rules"


def test_the_page_shows_the_rule_that_the_package_brings() -> None:
    page = (CHECKOUT / "docs" / "components.md").read_text()
    assert RULES.read_text() in page
    assert f"/usr/share/doc/primum-agent/examples/{RULES.name}" in page
