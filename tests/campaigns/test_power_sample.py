"""A short part of the power campaign, and what its two media forget.

On a machine that lets an ext4 be mounted both media are tried, elsewhere the model of the file
tree alone: the test that cannot run is skipped with the reason.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.campaigns.crash_worlds import CHECKOUT
from tests.campaigns.power_campaign import EXIT_DONE, EXIT_USAGE
from tests.campaigns.power_ext4 import (
    Ext4,
    Kept,
    cannot,
    image_with,
    keep_mounts_to_oneself,
    recording,
)
from tests.campaigns.power_points import Cut, in_turns
from tests.campaigns.power_scenes import Medium
from tests.campaigns.power_tree import Tree, TreeRecorder

SEED, SECONDS = 4, 6


@pytest.mark.parametrize("medium", Medium)
def test_an_update_whose_power_is_cut_anywhere_goes_on(tmp_path: Path, medium: Medium) -> None:
    """Old or new, the same after the next start, floors no lower, and then the next release."""
    words = ["--target", "update", "--seed", str(SEED), "--seconds", str(SECONDS)]
    words += ["--medium", str(medium), "--kept", str(tmp_path), "--workers", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.campaigns.power_campaign", *words],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == EXIT_USAGE:
        pytest.skip(done.stdout.strip())
    assert done.returncode == EXIT_DONE, done.stdout + done.stderr
    found = re.search(r"^(\d+) points, 0 bricked; (\d+) known", done.stdout, re.MULTILINE)
    assert found, done.stdout
    assert int(found[1]) >= 2, "some were tried"
    assert int(found[2]) > 500, "every write is a point"


def in_a_child(work: Callable[[], None]) -> None:
    """Do it in a process of its own, whose mounts end with it."""
    pid = os.fork()
    if pid == 0:
        try:
            keep_mounts_to_oneself()
            work()
        except BaseException:  # noqa: BLE001 - the parent is told by the exit code
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def write_synced(path: Path, text: str) -> None:
    with path.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def test_an_ext4_forgets_what_was_not_synced_and_nothing_else(tmp_path: Path) -> None:
    """What a cut is made of: without it no device that comes back shows anything."""
    if why := cannot():
        pytest.skip(why)

    def work() -> None:
        state, target, scene = tmp_path / "state", tmp_path / "mount", tmp_path / "scene"
        for folder in (state, target, scene):
            folder.mkdir()
        (state / "old").write_text("old")
        image = image_with(state, scene, target)
        with recording(image, scene, target) as count:
            begun = count()
            write_synced(target / "certain", "certain")
            certain = count()
            (target / "old").write_text("new")
            (target / "lost").write_text("lost")
            os.sync()
            written = count()
        assert begun < certain < written
        recorded = Ext4(scene, scene, target, begun=begun)
        before_sync = next(
            place for kept, place, _ in recorded.cuts([0]) if kept is Kept.NONE and place > certain
        )
        with recorded.laid(Kept.NONE, before_sync, 0):
            assert (target / "certain").read_text() == "certain"
            assert (target / "old").read_text() in {"old", ""}
            assert not (target / "lost").exists()
        with recorded.laid(Kept.ALL, len(recorded), 0):
            assert (target / "old").read_text() == "new"
            assert (target / "lost").read_text() == "lost"
        images = set()
        for kept, place, draw in recorded.cuts(range(4)):
            if kept is Kept.SOME:
                with recorded.laid(kept, place, draw):
                    assert (target / "certain").exists() or place < certain
                    images.add((target / "lost").exists())
        assert images, "something is left to chance"

    in_a_child(work)


def test_the_tree_forgets_bytes_and_names_that_were_not_synced(tmp_path: Path) -> None:
    """Bytes are certain by their file's sync, a name by its folder's."""
    state, scene = tmp_path / "state", tmp_path / "scene"
    state.mkdir()
    (state / "old").write_text("old")
    recorder = TreeRecorder(state, scene)
    recorder.look("me 1 open a")
    (state / "a").write_text("certain")
    (state / "b").write_text("lost")
    (state / "old").write_text("new")
    recorder.look("me 2 fsync a")
    recorder.look("me 3 fsync .")
    (state / "a").rename(state / "c")
    recorder.look("none 0 end .")
    recorder.write(scene / "steps.jsonl")
    tree, laid = Tree(scene, tmp_path / "laid"), tmp_path / "laid"
    laid.mkdir()

    def left(kept: Kept, position: int, draw: int = 0) -> dict[str, str]:
        with tree.laid(kept, position, draw):
            return {path.name: path.read_text() for path in laid.iterdir()}

    assert left(Kept.NONE, 2) == {"old": "old"}
    assert left(Kept.NONE, 3) == {"old": "old"}, "its bytes are there, its name is not"
    assert left(Kept.NONE, 4) == {"a": "certain", "b": "", "old": "old"}
    drawn = [left(Kept.SOME, 4, draw) for draw in range(40)]
    assert {"c", "a"} == {name for found in drawn for name in found} - {"b", "old"}
    assert all(("a" in found) != ("c" in found) for found in drawn), "a rename is one change"
    assert {found.get("a", found.get("c")) for found in drawn} == {"certain"}
    assert {found["old"] for found in drawn} == {"old", "new"}
    assert left(Kept.SOME, 4, 7) == drawn[7], "a draw is the same for ever"


def test_every_kind_of_cut_has_its_turn() -> None:
    """The order is drawn by the seed; each position once before any again."""
    cuts = [Cut("update", "ext4", "all", position, 0) for position in range(20)]
    cuts += [
        Cut("update", "ext4", "some", position, draw) for position in range(9) for draw in (0, 1)
    ]
    order = in_turns(cuts, seed=1)
    assert sorted(order, key=cuts.index) == cuts
    assert {cut.kept for cut in order[:2]} == {"all", "some"}
    some = [cut.position for cut in order if cut.kept == "some"]
    assert sorted(some[:9]) == list(range(9))
    assert in_turns(cuts, seed=1) == order
    assert any(in_turns(cuts, seed=seed) != order for seed in range(2, 9))
