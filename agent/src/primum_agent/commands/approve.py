"""Record that a person agrees to a release, where its signed statement asks for it.

This is not one of the signed approvals that make a release eligible: it lets a release that is
eligible, tested and waiting be activated on this one device.  It names exactly one release, and
says who agreed; it is an event in the journal.  It overrides no rule.

RELEASE is a version that this device has judged, or the start of its digest.

Example:
  primum-agent approve --state /var/lib/primum 1.2.0 --by "R. Meyer, ward 7"
"""

from __future__ import annotations

import argparse
import re

from primum_agent.commands.shared import (
    journal_to_read,
    journal_to_write,
    layout_of,
    person_named,
    polls_now,
    show,
    show_json,
)
from primum_agent.consenting import agree
from primum_agent.layout import Layout
from primum_verifier.core.errors import UsageError
from primum_verifier.core.reasons import Reason

_DIGEST = re.compile(r"[0-9a-f]{8,64}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``approve``."""
    parser.add_argument("release", metavar="RELEASE", help="such as 1.2.0, as `status` shows it")
    parser.add_argument("--by", required=True, metavar="PERSON", help="who agrees")


def run(options: argparse.Namespace) -> int:
    """Record it, and let a running supervisor poll now."""
    person = person_named(options.by, where="--by")
    layout = layout_of(options)
    release, name = _find(layout, options.release)
    with journal_to_write(layout) as journal:
        agree(journal, release=release, name=name, by=person, using="primum-agent approve")
    polls = polls_now(layout)
    if options.json:
        show_json({"ok": True, "release": release, "name": name, "by": person, "polls": polls})
    else:
        when = "now" if polls else "at the next poll"
        show(f"{name}: {person} agrees; it is judged again {when}.")
    return 0


def _find(layout: Layout, wanted: str) -> tuple[str, str]:
    """Digest and name of the one release that is meant; two of one version are told apart."""
    journal = journal_to_read(layout)
    try:
        known = {str(item["release"]): str(item["name"]) for item in journal.verdicts()}
    finally:
        journal.close()
    by_digest = bool(_DIGEST.fullmatch(wanted))
    found = [
        (release, name)
        for release, name in known.items()
        if name.rpartition(" ")[2] == wanted or (by_digest and release.startswith(wanted))
    ]
    if len(found) != 1:
        names = "; ".join(f"{name} ({release[:16]})" for release, name in known.items())
        nothing = "This release was never judged here."
        raise UsageError(
            "More than one release is meant." if found else nothing,
            reason=Reason.USAGE,
            found=wanted,
            expected=names or "a device that has polled",
            remedy="Name it by the start of its digest, as `primum-agent explain` shows it.",
        )
    return found[0]
