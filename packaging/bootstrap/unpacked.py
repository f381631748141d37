"""Finds programs that the tests want and no Python package brings, or unpacks the distribution's.

What each script beside this one tells of its programs is one :class:`Wanted`. Looked at in this
order: the folder that its variable names, the system's folders, what was unpacked before. Where
none starts, the distribution's packages are fetched and unpacked below ``.cache/`` as the broker
is: no root, nothing installed, nothing of the system changed. The folder is left in
``.cache/<name>/path``; a checkout without it runs all tests but those on it, which say so.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

# The script beside this one: it knows how to unpack a package without root.
import broker  # type: ignore[import-not-found]

TOOLS = ("apt-get", "apt-config", "dpkg-deb")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Programs that belong together.

    Attributes:
        name: of the folder below ``.cache``, of the target and of the script.
        title: for people.
        variable: names a folder by hand, which then stands alone.
        packages: the distribution's packages, each with the program that stands for it: one whose
            program the system has is not fetched.
        system: where a system may have them.
        below: where they are below an unpacked ``/``.
        starts: whether all of it starts, from a folder, in the environment of
            :func:`environment_of`.
    """

    name: str
    title: str
    variable: str
    packages: dict[str, str]
    system: Callable[[], Sequence[Path]]
    below: Callable[[Path], Sequence[Path]]
    starts: Callable[[Path], bool]

    @property
    def unpacked(self) -> Path:
        """Where it is unpacked."""
        return Path(broker.CACHE) / self.name

    @property
    def remedy(self) -> str:
        """What a person can do."""
        wanted = ", ".join(self.packages)
        return f"install {wanted}, or name a folder: make {self.name} {self.variable}=/folder"

    def say(self, text: str) -> None:
        """One line of progress, on stderr."""
        print(f"{self.name}: {text}", file=sys.stderr, flush=True)


def environment_of(folder: Path) -> dict[str, str]:
    """The variables with which unpacked programs find each other and their libraries.

    Args:
        folder: below an unpacked ``/``, or one of the system's.
    """
    root = next((path for path in (folder, *folder.parents) if path.name == "root"), None)
    if root is None or root == Path("/root"):
        return dict(os.environ)
    places = sorted({str(file.parent) for file in root.rglob("*.so*")})
    paths = [str(root / "usr/bin"), os.environ.get("PATH", os.defpath)]
    return {
        **os.environ,
        "PATH": os.pathsep.join(paths),
        "LD_LIBRARY_PATH": os.pathsep.join(places),
    }


def answers(command: Sequence[str | Path], *, environment: dict[str, str]) -> bool:
    """Whether a program starts, does what it is asked and ends well."""
    try:
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            timeout=broker.START_SECONDS,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def find(wanted: Wanted) -> Path | None:
    """The first folder from which it starts; None where there is none.

    Raises:
        broker.SetupError: the one named by the variable does not, and no other is wanted.
    """
    named = os.environ.get(wanted.variable)
    if not named:
        return next((folder for folder in _candidates(wanted) if wanted.starts(folder)), None)
    if not wanted.starts(Path(named)):
        raise broker.SetupError(f"{wanted.variable}={named} holds no {wanted.title} that starts")
    return Path(named)


def _candidates(wanted: Wanted) -> Iterator[Path]:
    yield from wanted.system()
    yield from wanted.below(wanted.unpacked / "root")


def unpack(wanted: Wanted) -> Path:
    """Unpacks the distribution's packages below ``.cache``, whole or not at all.

    Raises:
        broker.SetupError: they cannot be had, or do not start here.
    """
    wanted.say(f"unpacking the distribution's {wanted.title} into .cache (nothing is installed)")
    for left_over in broker.CACHE.glob(f"{wanted.name}.new-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{wanted.name}.new-", dir=broker.CACHE))
    try:
        first, *others = wanted.packages
        # The first is what it is about: if it is installed, it did not start as it was found.
        missing = [name for name in others if not shutil.which(wanted.packages[name])]
        broker.unpack_packages(folder, first, *missing)
        broker.tidy(folder)
        if not any(wanted.starts(path) for path in wanted.below(folder / "root")):
            raise broker.SetupError(f"the distribution's {wanted.title} does not start here")
        shutil.rmtree(wanted.unpacked, ignore_errors=True)
        folder.rename(wanted.unpacked)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return next(path for path in wanted.below(wanted.unpacked / "root") if wanted.starts(path))


def main(wanted: Wanted, *, description: str) -> int:
    """Finds or unpacks it, and records where it is; an exit code."""
    argparse.ArgumentParser(description=description, prog=f"{wanted.name}.py").parse_args()
    try:
        with broker.only_one():
            known = find(wanted)
            if known is None and not all(shutil.which(tool) for tool in TOOLS):
                wanted.say(f"none here, so the tests on it are skipped; {wanted.remedy}")
                return 0
            found = (known or unpack(wanted)).absolute()
            wanted.unpacked.mkdir(parents=True, exist_ok=True)
            (wanted.unpacked / "path").write_text(f"{found}\n", encoding="utf-8")
    except (broker.SetupError, OSError) as error:
        print(f"{wanted.name}: {error}: {wanted.remedy}", file=sys.stderr)
        return int(broker.EXIT_FAILED)
    return 0
