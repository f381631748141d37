r"""Explain a verdict rule by rule: found, expected, signed where, on which clause.

For the device of a provisioning folder, or of another signed context, at a time and in a phase:
install, activate, fall-back or continue. What the device would find by itself is given as facts.
`primum-verify rules` says what each rule is for.

Exit codes: 0 nothing stands in the way of the phase, 1 refused (with the primary reason code),
2 usage, 3 failed.

Example:
  primum-verify explain pvc-classifier 1.1.0 --provisioning provisioning \
      --engineering engineering/web --clinical clinical/web --at 2026-11-22T12:00:00Z
"""

from __future__ import annotations

import argparse
import json

from primum_verifier.core.errors import EXIT_DONE, EXIT_REFUSED
from primum_verifier.core.verdict import judge
from primum_verifier.core.vocabulary import Phase
from primum_verifier.shell.asking import add_arguments as add_question
from primum_verifier.shell.asking import ask
from primum_verifier.shell.table import verdict_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    add_question(parser)
    parser.add_argument("--phase", type=Phase, choices=list(Phase), default=Phase.INSTALL)


def run(options: argparse.Namespace) -> int:
    """Judge, and tell every rule that was asked."""
    verdict = judge(ask(options, phase=options.phase).question)
    if options.json:
        print(json.dumps(verdict.as_dict()))  # noqa: T201
    else:
        print(verdict_table(verdict))  # noqa: T201
    return EXIT_REFUSED if verdict.in_the_way else EXIT_DONE
