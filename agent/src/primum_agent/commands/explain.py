"""The last verdict on a release, rule by rule: what was found, what was expected, and where.

Without VERSION the release that was judged last is explained.  The verdict is the one that the
device acted on; `check` judges anew.

Example:
  primum-agent explain --state /var/lib/primum 1.2.0
"""

from __future__ import annotations

import argparse
import textwrap
from typing import Any

from primum_agent.commands.shared import journal_to_read, layout_of, show, show_json
from primum_agent.remembered import memories
from primum_verifier.core.errors import UsageError
from primum_verifier.core.reasons import Reason

_MARKS = {"satisfied": "yes", "refused": "NO", "not-applicable": "-", "unknown": "?"}
_WIDTH = 96


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``explain``."""
    parser.add_argument("version", nargs="?", metavar="VERSION", help="such as 1.2.0")


def run(options: argparse.Namespace) -> int:
    """Show it."""
    journal = journal_to_read(layout_of(options))
    verdicts = journal.verdicts()
    state = journal.state()
    remembered = {item.release: item.text for item in memories(journal)}
    journal.close()
    wanted = options.version
    found = [
        item
        for item in verdicts
        if wanted is None
        or str(item["name"]).rpartition(" ")[2] == wanted
        or str(item["release"]).startswith(wanted)
    ]
    if not found:
        known = ", ".join(str(item["name"]) for item in verdicts)
        raise UsageError(
            "This release was never judged here.",
            reason=Reason.USAGE,
            found=wanted or "nothing",
            expected=known or "a device that has polled",
        )
    release = str(found[-1]["release"])
    verdict = {
        **found[-1],
        "conclusion": state.conclusions.get(release),
        "stopped": state.stopped,
        "remembered": remembered.get(release, ""),
    }
    if options.json:
        show_json(verdict)
    else:
        show(for_people(verdict))
    return 0


def for_people(verdict: dict[str, Any]) -> str:
    """The answer first, then every rule."""
    lines = [
        f"{verdict['name']}: may {verdict['capability']} ({verdict['phase']})",
        f"  because    {verdict['primary'] or 'nothing stands in the way'}",
        f"  judged     {verdict['judged']}",
        f"  over       engineering {verdict['engineeringView'][:16]}",
        f"  and        clinical {verdict['clinicalView'][:16]}",
    ]
    for name, label in (
        ("conclusion", "concluded"),
        ("remembered", "but"),
        ("stopped", "stopped"),
        ("ordered", "ordered"),
        ("userNotice", "notice"),
    ):
        if verdict.get(name):
            lines.append(f"  {label:<10} {verdict[name]}")
    lines.append("")
    for check in verdict["checks"]:
        reason = f"  [{check['reason']}]" if check["reason"] else ""
        lines.append(f"  {_MARKS[check['outcome']]:>3}  {check['name']}{reason}")
        for label in ("found", "expected", "source"):
            text = check[label]
            if label == "source":
                text = f"{text}; {check['clause']}"
            if text:
                lines += textwrap.wrap(
                    text,
                    width=_WIDTH,
                    initial_indent=f"         {label + ':':<10}",
                    subsequent_indent=" " * 19,
                )
    return "\n".join(lines)
