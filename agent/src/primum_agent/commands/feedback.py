"""Record what a clinician, a technician or a patient remarks, for those who look after the fleet.

The remark is an event with the release and the eligibility statement in use: role, category and
severity. TEXT stays on this device and goes with no report; its length and a digest do. Names and
numbers of patients do not belong into it all the same. `--texts` shows what is kept here.

Severity: no-harm, could-harm, harm, serious-harm. What harmed or could have is reported by the
manufacturer; where somebody is in danger, act first, and stop the use: `primum-agent status` says
how.

Example:
  primum-agent feedback --state /var/lib/primum --role clinician --category missed-finding
      --severity could-harm --text "couplet at the end of the strip not marked"
  primum-agent feedback --state /var/lib/primum --texts
"""

from __future__ import annotations

import argparse
from dataclasses import asdict

from primum_agent.clock import SystemClock
from primum_agent.commands.shared import (
    journal_to_read,
    journal_to_write,
    layout_of,
    show,
    show_json,
    table,
)
from primum_agent.desk import ask
from primum_agent.health import summary_of
from primum_agent.layout import Layout
from primum_agent.remarking import Remark, remark, remark_text, texts_of
from primum_verifier.core.errors import EXIT_DONE, UsageError
from primum_verifier.core.reasons import Reason
from primum_verifier.record.words import FeedbackCategory, FeedbackRole, FeedbackSeverity


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``feedback``."""
    parser.add_argument("--role", choices=[*map(str, FeedbackRole)], help="who remarks it")
    parser.add_argument("--category", choices=[*map(str, FeedbackCategory)], help="about what")
    parser.add_argument("--severity", choices=[*map(str, FeedbackSeverity)], help="how bad it is")
    parser.add_argument("--text", default="", metavar="TEXT", help="in words; stays on the device")
    parser.add_argument("--dry-run", action="store_true", help="show the event; record nothing")
    parser.add_argument("--texts", action="store_true", help="show the texts that are kept here")


def run(options: argparse.Namespace) -> int:
    """Record it, or show what is kept."""
    layout = layout_of(options)
    if options.texts:
        return _show_texts(layout, options)
    said = _said(options)
    if options.dry_run:
        journal = journal_to_read(layout)
        in_use = summary_of(journal.state())
        journal.close()
        number = None
    else:
        with journal_to_write(layout) as writing:
            in_use = summary_of(writing.state())
            number = remark(writing, said, clock=SystemClock())
        # A running supervisor looks again, and reports it.
        ask(layout.socket, {"do": "status"})
    told = {
        **said.classified(),
        "characters": len(said.text),
        "event": number,
        "release": in_use["release"],
        "statementNumber": in_use["statementNumber"],
    }
    if options.json:
        show_json({"ok": True, **told})
        return EXIT_DONE
    about = "no release in use"
    if in_use["version"] is not None:
        about = f"{in_use['component']} {in_use['version']}, statement {in_use['statementNumber']}"
    done = "would be recorded" if number is None else f"recorded as event {number}"
    text = f" The text ({len(said.text)} characters) stays on this device." if said.text else ""
    words = f"{said.severity}, {said.category}, by a {said.role}"
    show(f"{words}: {done}, about {about}.{text}")
    return EXIT_DONE


def _said(options: argparse.Namespace) -> Remark:
    given = {name: getattr(options, name) for name in ("role", "category", "severity")}
    missing = [f"--{name}" for name, value in given.items() if value is None]
    if missing:
        raise UsageError(
            "A remark is classified, or nobody can look after it.",
            reason=Reason.USAGE,
            where=", ".join(missing),
            expected="a role, a category and a severity",
            remedy="See `primum-agent feedback --help`.",
        )
    return Remark(
        role=FeedbackRole(given["role"]),
        category=FeedbackCategory(given["category"]),
        severity=FeedbackSeverity(given["severity"]),
        text=remark_text(options.text, where="--text"),
    )


def _show_texts(layout: Layout, options: argparse.Namespace) -> int:
    journal = journal_to_read(layout)
    try:
        kept = texts_of(journal)
    finally:
        journal.close()
    if options.json:
        show_json([{**asdict(item), "digest": item.digest} for item in kept])
    elif kept:
        rows = [(str(item.event), item.at, item.text) for item in kept]
        show(table(("event", "time", "text"), rows))
    else:
        show("No text is kept on this device.")
    return EXIT_DONE
