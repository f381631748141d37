"""List the rules of a verdict: purpose, reason code, document, clause.

They stand in the order in which they are asked and a refusal is explained. What runs already is
judged by what may take it away instead; see the decision table.

Exit codes: 0 done, 2 usage (no such rule).

Examples:
  primum-verify rules
  primum-verify rules approvals
"""

from __future__ import annotations

import argparse
import json

from primum_verifier.core.errors import EXIT_DONE, UsageError
from primum_verifier.core.reasons import Reason
from primum_verifier.core.rules import Rule
from primum_verifier.core.verdict import RULES
from primum_verifier.core.vocabulary import Phase
from primum_verifier.shell.table import rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("name", nargs="?", metavar="NAME")


def run(options: argparse.Namespace) -> int:
    """List every rule, or one."""
    wanted = [rule for rule in RULES if options.name in {None, rule.name}]
    if not wanted:
        raise UsageError(
            "There is no rule of this name.",
            reason=Reason.USAGE,
            found=options.name,
            expected=", ".join(rule.name for rule in RULES),
        )
    if options.json:
        print(json.dumps([as_dict(rule) for rule in wanted]))  # noqa: T201
    else:
        print("\n".join(line for rule in wanted for line in _told(rule)))  # noqa: T201
    return EXIT_DONE


def as_dict(rule: Rule) -> dict[str, object]:
    """A rule as JSON shows it."""
    return {
        "name": rule.name,
        "purpose": " ".join((rule.judge.__doc__ or "").split()),
        "reason": str(rule.reason),
        "source": rule.source,
        "clause": rule.clause,
        "phases": [str(phase) for phase in Phase if phase in rule.phases],
    }


def _told(rule: Rule) -> list[str]:
    found = as_dict(rule)
    told = [
        ("for", str(found["purpose"])),
        ("refuses by", rule.reason),
        ("read from", rule.source),
        ("rests on", rule.clause),
        ("asked to", ", ".join(phase for phase in Phase if phase in rule.phases)),
    ]
    return rows(rule.name, told)
