"""Prints what mutmut changed, for each name given: one JSON object, name to difference.

Run in the folder that mutmut works in.  One process for all: its own command ``show`` starts anew
for each.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module


def main() -> int:
    """Print the differences."""
    apply = import_module("mutmut.mutation.diff_apply")
    names = json.load(sys.stdin)
    json.dump({name: apply.get_diff_for_mutant(name) for name in names}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
