"""A folder of software: what a release carries of it, and what it refuses to lose silently."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from primum_repo_tools import source_tree
from primum_repo_tools.source_tree import read_tree
from primum_verifier.core.errors import UsageError
from primum_verifier.core.limits import MAX_TREE_DEPTH


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A tree without faults."""
    folder = tmp_path / "app"
    for name in ("bin/run", "lib/b.so", "lib/a.so", "lib.d/x", ".profile"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
        (folder / name).chmod(0o644)
    (folder / "bin/run").chmod(0o755)
    return folder


def refusal(folder: Path) -> UsageError:
    with pytest.raises(UsageError) as caught:
        read_tree(folder)
    assert caught.value.exit_code == 2
    return caught.value


def test_files_are_listed_in_the_order_of_their_paths(app: Path) -> None:
    tree = read_tree(app)
    assert [file.path for file in tree.files] == [
        *(".profile", "bin/run", "lib.d/x", "lib/a.so", "lib/b.so")
    ]
    assert [file.path for file in tree.files if file.executable] == ["bin/run"]
    assert tree.length == sum(len(file.path) for file in tree.files)
    assert tree.empty_folders == ()


@pytest.mark.parametrize(
    ("mode", "executable"),
    [(0o755, True), (0o700, True), (0o500, True), (0o644, False), (0o655, False), (0o666, False)],
)
def test_of_the_mode_one_bit_is_kept(app: Path, mode: int, *, executable: bool) -> None:
    (app / "bin/run").chmod(mode)
    assert {f.path: f.executable for f in read_tree(app).files}["bin/run"] is executable


def _link(app: Path) -> None:
    (app / "lib/link").symlink_to("a.so")


def _link_outside(app: Path) -> None:
    (app / "lib/link").symlink_to("/etc/passwd")


def _link_to_a_folder(app: Path) -> None:
    (app / "more").symlink_to(app / "lib")


def _pipe(app: Path) -> None:
    os.mkfifo(app / "lib/pipe")


def _socket(app: Path) -> None:
    before = Path.cwd()
    with socket.socket(socket.AF_UNIX) as made:
        # A socket's path may not be long.
        os.chdir(app)
        made.bind("sock")
        os.chdir(before)


def _mode(bits: int) -> Callable[[Path], None]:
    return lambda app: (app / "bin/run").chmod(0o755 | bits)


def _named(name: str) -> Callable[[Path], None]:
    def make(app: Path) -> None:
        path = os.fsencode(app) + b"/" + os.fsencode(name)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))

    return make


def _case(app: Path) -> None:
    (app / "LIB.d").mkdir()
    (app / "LIB.d/X").touch()


def _case_of_a_folder(app: Path) -> None:
    (app / "BIN").touch()


def _deep(app: Path) -> None:
    folder = app.joinpath(*["d"] * (MAX_TREE_DEPTH + 1))
    folder.mkdir(parents=True)
    (folder / "x").touch()


HOSTILE: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "link": (_link, "lib/link: a symbolic link", "Put the file itself there"),
    "link outside": (_link_outside, "lib/link: a symbolic link", "Put the file itself there"),
    "link to a folder": (_link_to_a_folder, "more: a symbolic link", "Put the file itself there"),
    "pipe": (_pipe, "lib/pipe: no plain file", "Leave it out"),
    "socket": (_socket, "sock: no plain file", "Leave it out"),
    "setuid": (_mode(stat.S_ISUID), "bin/run: mode 4755", "chmod u-s"),
    "setgid": (_mode(stat.S_ISGID), "bin/run: mode 2755", "chmod u-s"),
    "sticky": (_mode(stat.S_ISVTX), "bin/run: mode 1755", "chmod u-s"),
    "space": (_named("a b"), "a b: a name that a list refuses", "Rename it"),
    "letter": (_named("\u00e4"), "\\xe4: a name that a list refuses", "Rename it"),
    "no letter": (_named("\udcff"), "\\udcff: a name that a list refuses", "Rename it"),
    "backslash": (_named("a\\b"), "a\\b: a name that a list refuses", "Rename it"),
    "end of line": (_named("a\nb"), "a name that a list refuses", "Rename it"),
    "two dots": (_named("..a"), "..a: a name that a list refuses", "Rename it"),
    "long": (_named("a" * 202), "a name that a list refuses", "Rename it"),
    "case": (_case, "lib.d/x: differs from LIB.d/X in letter case alone", "Rename one"),
    "case of a folder": (_case_of_a_folder, "BIN: differs from bin in letter case", "Rename one"),
    "deep": (_deep, "too many folders deep", "folders deep"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_no_list_can_carry_is_refused_by_its_path(app: Path, name: str) -> None:
    """Dangers B04 to B06: what would be lost or would mean something else on a device."""
    make, found, remedy = HOSTILE[name]
    make(app)
    error = refusal(app)
    assert found in error.found
    assert remedy in error.remedy
    assert error.for_people().isprintable() or "\n" in error.for_people()
    assert "\x1b" not in error.for_people()


def test_every_fault_is_named_at_once(app: Path) -> None:
    for number in range(12):
        (app / f"link{number:02}").symlink_to("x")
    os.mkfifo(app / "pipe")
    error = refusal(app)
    assert error.found.count("a symbolic link") == 8
    assert error.found.endswith("5 more")
    assert "Put the file itself there" in error.remedy
    assert "Leave it out" in error.remedy


def test_folders_without_files_are_left_out_and_told(app: Path) -> None:
    (app / "var/log/old").mkdir(parents=True)
    (app / "lib/empty").mkdir()
    tree = read_tree(app)
    assert tree.empty_folders == ("lib/empty", "var", "var/log", "var/log/old")
    assert len(tree.files) == 5


@pytest.mark.parametrize("make", [str, Path.mkdir, Path.touch])
def test_a_tree_without_files_is_refused(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "app")
    assert refusal(tmp_path / "app").found in {"no folder", "no file"}


def test_more_files_than_a_device_takes_are_refused(
    app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_tree, "MAX_TREE_FILES", 5)
    assert len(read_tree(app).files) == 5
    (app / "one-more").touch()
    assert refusal(app).found == "more than 5 files"


def test_more_bytes_than_a_device_takes_are_refused_unread(app: Path) -> None:
    """Danger B15: a hole of five gigabytes is five gigabytes on a device."""
    with (app / "hole").open("wb") as file:
        file.truncate(5 * 2**30)
    assert "bytes" in refusal(app).found


def test_a_file_that_became_a_link_or_a_pipe_is_not_followed(app: Path) -> None:
    """Attack: what was looked at is replaced before it is read."""
    tree = read_tree(app)
    by_path = {file.path: file for file in tree.files}
    (app / "lib/a.so").unlink()
    (app / "lib/a.so").symlink_to("/etc/passwd")
    with pytest.raises(UsageError):
        list(by_path["lib/a.so"].pieces())
    (app / "lib/b.so").unlink()
    os.mkfifo(app / "lib/b.so")
    with pytest.raises(UsageError, match="changed while it was read"):
        list(by_path["lib/b.so"].pieces())


def test_a_file_that_is_gone_is_told_by_its_path(app: Path) -> None:
    tree = read_tree(app)
    (app / ".profile").unlink()
    with pytest.raises(UsageError, match=r"cannot be read") as caught:
        list(tree.files[0].pieces())
    assert caught.value.where.endswith("app/.profile")
