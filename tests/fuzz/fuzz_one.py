"""One search over one parser, in its own process: ``fuzz_one.py SUBJECT [libFuzzer's options]``.

The campaign starts it. Only our own parts are instrumented: the search follows our branches, not
those of the libraries below.
"""

from __future__ import annotations

import random
import shlex
import sys

import atheris

with atheris.instrument_imports(include=["primum_verifier", "primum_agent", "primum_repo_tools"]):
    from fuzz_subjects import SUBJECTS

BYTES_SHARE = 0.3
"""Of the changes of a format that can be bent, those that change bytes all the same."""


def main() -> None:
    """Hand the subject over to libFuzzer, which ends the process."""
    name, *options = sys.argv[1:]
    # When it merges, libFuzzer starts itself again, through a shell, by the first argument.
    itself = shlex.join([sys.executable, sys.argv[0], name])
    subject = SUBJECTS[name]
    bend = subject.bend

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if bend is None or chance.random() < BYTES_SHARE:
            return bytes(atheris.Mutate(data, max_size))
        return bend(data, chance)[:max_size]

    more = {} if bend is None else {"custom_mutator": mutate}
    atheris.Setup([itself, *options], subject.run, **more)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
