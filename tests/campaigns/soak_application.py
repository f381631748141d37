"""An application on a device of the soak: it serves patients, one after the other, to its end.

A process of its own, over the library that an application has: ``soak_application STATE SEED``.
Each line that it writes is one episode that began, with the release that was opened for it.
"""

from __future__ import annotations

import random
import sys
import time
from contextlib import suppress
from pathlib import Path

from primum_agent.application import ActiveRelease, Episode, StandingError, open_active

PATIENT = Episode(age_years=54, patient_category="adult")


def serve(state: Path, draw: random.Random) -> None:
    """One episode, where anything may be used."""
    release = None
    with suppress(StandingError):
        release = open_active(state)
    if not isinstance(release, ActiveRelease) or not release.may_use(PATIENT):
        return
    release.tell_activated()
    release.prove_health()
    with release.episode():
        print(release.stamp()["generation"], flush=True)
        time.sleep(draw.uniform(0.1, 4.0))


def main() -> None:
    """Serve until it is ended."""
    state, draw = Path(sys.argv[1]), random.Random(int(sys.argv[2]))
    while True:
        # Whatever the device does meanwhile, an application goes on.
        with suppress(OSError):
            serve(state, draw)
        time.sleep(draw.uniform(0.2, 3.0))


if __name__ == "__main__":
    main()
