"""One search over one parser, in its own process: ``fuzz_one.py SUBJECT [libFuzzer's options]``.

The campaign starts it. Only our own parts are instrumented: the search follows our branches, not
those of the libraries below.
"""

from __future__ import annotations

import shlex
import sys

import atheris

with atheris.instrument_imports(include=["primum_verifier", "primum_agent"]):
    from fuzz_subjects import SUBJECTS


def main() -> None:
    """Hand the subject over to libFuzzer, which ends the process."""
    name, *options = sys.argv[1:]
    # When it merges, libFuzzer starts itself again, through a shell, by the first argument.
    itself = shlex.join([sys.executable, sys.argv[0], name])
    atheris.Setup([itself, *options], SUBJECTS[name].run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
