"""``make campaign-life``: plays lives of a device until the time is over; see ``test_life_model``.

SECONDS=… (ten minutes), in rounds of some lives; each round draws by its own seed, from SEED=… on.
The seed of the last round that ended is kept for this very code, so that the next run plays on.

Exit: 0 every life held what is promised, 1 one did not (hypothesis says which), 2 wrongly called.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.campaigns.campaign_tried import CACHE, code_digest, say
from tests.campaigns.crash_worlds import CHECKOUT

KEPT = CACHE / "life" / "played.json"
ROUND = 20
"""Lives in a round."""

SECONDS = 600.0
EXIT_DONE, EXIT_FOUND = 0, 1
_MODEL = "tests/campaigns/test_life_model.py"


def played_before(kept: Path, *, code: str, seed: int) -> int:
    """How many rounds were played on this very code from this seed on."""
    try:
        content = json.loads(kept.read_bytes())
    except (OSError, ValueError):
        return 0
    return int(content.get(str(seed), 0)) if content.get("code") == code else 0


def main(words: Sequence[str] | None = None) -> int:
    """Play as the command line asks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0], prog="life")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lives", type=int, default=ROUND, help="in a round")
    parser.add_argument("--kept", type=Path, default=KEPT)
    parser.add_argument("--again", action="store_true")
    options = parser.parse_args(words)
    until, code = time.monotonic() + options.seconds, code_digest()
    before = 0 if options.again else played_before(options.kept, code=code, seed=options.seed)
    rounds = before
    while rounds == before or time.monotonic() < until:
        # Each seed has rounds of its own.
        drawn = options.seed * 1_000_000 + rounds
        play = ["pytest", "-q", "-x", "-p", "no:cacheprovider", f"--hypothesis-seed={drawn}"]
        done = subprocess.run(
            [sys.executable, "-m", *play, _MODEL],
            cwd=CHECKOUT,
            env={**os.environ, "PRIMUM_LIFE_EXAMPLES": str(options.lives)},
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            say(done.stdout)
            say(f"{(rounds + 1) * options.lives} lives, one broke a promise; seed {drawn}")
            return EXIT_FOUND
        rounds += 1
        options.kept.parent.mkdir(parents=True, exist_ok=True)
        options.kept.write_text(json.dumps({"code": code, str(options.seed): rounds}))
        say(f"{rounds * options.lives} lives played")
    say(f"{rounds * options.lives} lives, nothing found; {before * options.lives} of them before")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
