"""What the release side lists and packs, a device lays out: two programs, one contract."""

from __future__ import annotations

import random
import stat
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from tests.unit.agent.set_releases import TREE, Part, publish_parts, publish_set, tree_part

NOISE = random.Random(1).randbytes(3000)
TREES: dict[str, Mapping[str, bytes]] = {
    "compressed": TREE,
    "stored plainly": {"bin/run": NOISE, "lib/x": b"x"},
    "of empty files alone": {"a": b"", "b/c": b""},
    "of names at the edge": {
        ".hidden/.file": b"1",
        "A" * 200: b"2",
        "a+b@c=d,e~f": b"3",
        "/".join("d" * 33): b"deep",
    },
}


@pytest.fixture
def with_trees(in_the_field: Any) -> Any:
    """A device that takes a tree by the name of ``bedside-app``."""
    in_the_field.more_settings += '[components.bedside-app]\ninstaller = "tree"\n'
    in_the_field.enroll()
    return in_the_field


@pytest.mark.parametrize("name", TREES)
def test_a_tree_that_was_built_is_laid_out_file_by_file(
    with_trees: Any, attempt_now: Callable[..., int], name: str
) -> None:
    publish_set(with_trees, "1.0.0", counter=1, tree=TREES[name])
    assert attempt_now() == 0
    with_trees.commit()
    active = with_trees.layout.generations / str(with_trees.journal().state().active)
    top = active / "bedside-app"
    files = {path for path in top.rglob("*") if path.is_file()}
    assert {str(path.relative_to(top)): path.read_bytes() for path in files} == TREES[name]
    runs = {str(path.relative_to(top)) for path in files if path.stat().st_mode & stat.S_IXUSR}
    assert runs == {path for path in TREES[name] if path.startswith("bin/")}


def _cut(part: Part) -> None:
    part.put("tree-pack", part.data("tree-pack")[: len(part.data("tree-pack")) // 2])


def _more(part: Part) -> None:
    part.put("tree-pack", part.data("tree-pack") + part.data("tree-pack"))


def _other(part: Part) -> None:
    bent = {**TREE, "bin/run": TREE["bin/run"].replace(b"60", b"61")}
    part.put("tree-pack", tree_part(bent).data("tree-pack"))


def _outside(part: Part) -> None:
    part.put("tree-list", part.data("tree-list").replace(b'"bin/run"', b'"../run"'))


@pytest.mark.parametrize("bend", [_cut, _more, _other, _outside])
def test_a_signed_pack_that_is_not_what_its_list_says_never_comes_into_effect(
    with_trees: Any, attempt_now: Callable[..., int], bend: Callable[[Part], None]
) -> None:
    """Danger B09, validly signed: the device keeps what it had, and leaves nothing behind."""
    publish_set(with_trees, "1.0.0", counter=1)
    assert attempt_now() == 0
    with_trees.commit()
    before = with_trees.journal().state().active
    part = tree_part({**TREE, "etc/app.conf": b"gain = 3\n"})
    bend(part)
    publish_parts(with_trees, "1.1.0", part, counter=2)
    assert attempt_now() != 0
    assert with_trees.journal().state().active == before
    top = with_trees.layout.generations / str(before) / "bedside-app"
    assert (top / "etc/app.conf").read_bytes() == TREE["etc/app.conf"]
    assert {path.name for path in with_trees.layout.generations.iterdir()} == {str(before)}


def test_a_device_without_that_installer_refuses_before_it_fetches(
    in_the_field: Any, attempt_now: Callable[..., int]
) -> None:
    digest = publish_set(in_the_field, "1.0.0", counter=1, image=b"an image" * 99)
    assert attempt_now() == 1
    assert in_the_field.journal().state().active is None
    refused = in_the_field.event("update.refused")["data"]
    assert refused["reasons"][0] == "compat.installer"
    assert digest == in_the_field.releases["1.0.0"]
