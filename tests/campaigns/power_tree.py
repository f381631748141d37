"""The storage double: a model of the file tree that forgets what nobody synced.

For machines where no ext4 can be mounted, and stricter than one: a file's bytes are certain when
that file was synced, a name when its folder was.  Of what came after, anything between nothing
and all may be left; the changes of one folder come in their order, as a file system with a
journal keeps them, the pages of one file in any.

The agent's processes are halted before each change of a file (:mod:`crash_tracer`) and the tree
is looked at; only ``ptrace`` is needed.  SQLite's ``-shm`` is left out: it is made anew at every
start and never synced.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import stat
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path

from tests.campaigns.crash_tracer import SYNCS
from tests.campaigns.power_ext4 import Kept

_PAGE = 4096
_LEFT_OUT = "-shm"
_EMPTY = sha256(b"").hexdigest()


@dataclass(frozen=True)
class Node:
    """What one inode was at one moment.

    Attributes:
        mode: type and permissions.
        content: a file's digest, or a link's target.
        entries: a folder's names, and the number of what each names.
    """

    mode: int
    content: str = ""
    entries: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """The tree right before one call.

    Attributes:
        call: role, number, name and path of the call that came next.
        nodes: every inode by a number of its own; 0 is the state folder.
        synced: the inode that the call makes certain, or None.
    """

    call: str
    nodes: dict[int, Node]
    synced: int | None


class TreeRecorder:
    """Looks at a state folder before each call.

    Args:
        root: the state folder.
        folder: where contents are kept, by digest.
    """

    def __init__(self, root: Path, folder: Path) -> None:
        self._root = root
        self._contents = folder / "contents"
        self._contents.mkdir(parents=True)
        self._numbers: dict[int, int] = {}
        self._next = 0
        self.steps: list[Step] = []
        self._keep(b"")

    def look(self, call: str) -> None:
        """Take down the tree; ``call`` is about to be made."""
        nodes: dict[int, Node] = {}
        seen: dict[int, int] = {}
        self._take(self._root, nodes, seen)
        # A number of the kernel's that is free again belongs to another file.
        self._numbers = seen
        self.steps.append(Step(call, nodes, self._synced(call, seen)))

    def _take(self, path: Path, nodes: dict[int, Node], seen: dict[int, int]) -> int:
        found = path.lstat()
        number = seen.get(found.st_ino)
        if number is not None:
            return number
        number = self._numbers.get(found.st_ino)
        if number is None:
            number, self._next = self._next, self._next + 1
        seen[found.st_ino] = number
        if stat.S_ISDIR(found.st_mode):
            entries = {}
            for name in sorted(item.name for item in path.iterdir()):
                if name.endswith(_LEFT_OUT):
                    continue
                with contextlib.suppress(FileNotFoundError):
                    entries[name] = self._take(path / name, nodes, seen)
            nodes[number] = Node(found.st_mode, entries=entries)
        elif stat.S_ISLNK(found.st_mode):
            nodes[number] = Node(found.st_mode, str(path.readlink()))
        elif stat.S_ISREG(found.st_mode):
            nodes[number] = Node(found.st_mode, self._keep(path.read_bytes()))
        else:
            nodes[number] = Node(found.st_mode)
        return number

    def _keep(self, data: bytes) -> str:
        digest = sha256(data).hexdigest()
        place = self._contents / digest
        if not place.exists():
            place.write_bytes(data)
        return digest

    def _synced(self, call: str, seen: dict[int, int]) -> int | None:
        _, _, name, path = call.split(" ", 3)
        if name not in SYNCS:
            return None
        with contextlib.suppress(FileNotFoundError):
            return seen.get((self._root / path).lstat().st_ino)
        return None

    def write(self, path: Path) -> None:
        """Keep the steps."""
        with path.open("w", encoding="utf-8") as kept:
            for step in self.steps:
                kept.write(json.dumps(asdict(step)) + "\n")


def _read(path: Path) -> list[Step]:
    steps = []
    for line in path.read_text("utf-8").splitlines():
        found = json.loads(line)
        nodes = {int(number): Node(**item) for number, item in found["nodes"].items()}
        steps.append(Step(found["call"], nodes, found["synced"]))
    return steps


class Tree:
    """A recorded tree, cut as often as one likes.

    Args:
        folder: where ``steps.jsonl`` and ``contents`` lie.
        state: the state folder; what lies there is replaced.
    """

    def __init__(self, folder: Path, state: Path) -> None:
        self._steps = _read(folder / "steps.jsonl")
        self._contents = folder / "contents"
        self._target = state

    def __len__(self) -> int:
        """How many moments there are."""
        return len(self._steps)

    def cuts(self, draws: Sequence[int]) -> Iterator[tuple[Kept, int, int]]:
        """Each way to cut: what is kept, after how many steps, and which draw."""
        for position in range(1, len(self._steps) + 1):
            yield Kept.NONE, position, 0
            for draw in draws:
                yield Kept.SOME, position, draw

    def about(self, position: int) -> str:
        """What was about to be done, for people."""
        return f"before call {position} of {len(self._steps)}: {self._steps[position - 1].call}"

    @contextlib.contextmanager
    def laid(self, kept: Kept, position: int, draw: int) -> Iterator[None]:
        """The state folder as a cut before the call of this position leaves it."""
        # The folder itself may be where something is mounted.
        subprocess.run(["find", self._target, "-mindepth", "1", "-delete"], check=True)
        drawn = random.Random(f"{position}:{draw}") if kept is Kept.SOME else None
        nodes = self._left(position, drawn)
        self._lay(self._target, 0, nodes, {}, drawn)
        yield

    def _left(self, position: int, drawn: random.Random | None) -> dict[int, list[Node]]:
        """Of each inode, what is certain and, where one draws, one later state of it."""
        histories: dict[int, list[Node]] = {}
        first = self._steps[0].nodes
        for number, node in first.items():
            histories[number] = [node]
        for step in self._steps[:position]:
            for number, node in step.nodes.items():
                # A file that nobody synced is there, if its name is, and empty.
                empty = Node(node.mode, _EMPTY if stat.S_ISREG(node.mode) else node.content)
                history = histories.setdefault(number, [empty])
                if history[-1] != node:
                    history.append(node)
            if step is not self._steps[position - 1] and step.synced is not None:
                del histories[step.synced][:-1]
        if drawn is None:
            return {number: history[:1] for number, history in histories.items()}
        return {
            number: [history[0], history[drawn.randrange(len(history))]]
            for number, history in sorted(histories.items())
        }

    def _lay(
        self,
        path: Path,
        number: int,
        nodes: dict[int, list[Node]],
        placed: dict[int, Path],
        drawn: random.Random | None,
    ) -> None:
        certain, later = nodes[number][0], nodes[number][-1]
        if number in placed:
            os.link(placed[number], path, follow_symlinks=False)
            return
        if stat.S_ISDIR(later.mode):
            path.mkdir(exist_ok=True)
            for name, inner in later.entries.items():
                self._lay(path / name, inner, nodes, placed, drawn)
            path.chmod(stat.S_IMODE(later.mode))
            return
        placed[number] = path
        if stat.S_ISLNK(later.mode):
            path.symlink_to(later.content)
        elif stat.S_ISREG(later.mode):
            old = (self._contents / certain.content).read_bytes()
            new = (self._contents / later.content).read_bytes()
            path.write_bytes(new if drawn is None else _torn(old, new, drawn))
            path.chmod(stat.S_IMODE(later.mode))


def _torn(old: bytes, new: bytes, drawn: random.Random) -> bytes:
    """Half of the time the new content, else each page of it or what stood there before."""
    if old == new or drawn.random() < 0.5:
        return new
    made = bytearray(new)
    for start in range(0, len(new), _PAGE):
        if drawn.random() < 0.5:
            page = old[start : start + _PAGE]
            end = min(start + _PAGE, len(new))
            made[start:end] = page.ljust(end - start, b"\0")
    return bytes(made)
