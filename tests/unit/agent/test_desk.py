"""What somebody writes to the socket: each line is answered once, and costs no more than itself."""

from __future__ import annotations

import json
import selectors
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primum_agent.desk import MAX_LINE, Desk, Visitor, short_path


@contextmanager
def served(folder: Path) -> Iterator[tuple[Desk, socket.socket, list[dict[str, Any]]]]:
    """A desk that hands back what it took for a request, and one visitor's side of the wire."""
    taken: list[dict[str, Any]] = []

    def answer(visitor: Visitor, request: dict[str, Any]) -> dict[str, Any]:
        visitor.episodes += request.get("do") == "episode-begin"
        taken.append(request)
        return {"ok": True}

    with selectors.DefaultSelector() as selector:
        desk = Desk(path=folder / "primum.sock", selector=selector, answer=answer)
        desk.open()
        with (
            short_path(desk.path) as name,
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link,
        ):
            link.settimeout(0.2)
            link.connect(name)
            yield desk, link, taken
        desk.close()


def turn(desk: Desk) -> None:
    """The loop, until nothing is left to do."""
    while events := desk.selector.select(timeout=0):
        for key, _ in events:
            desk.handle(key.data)


def say(desk: Desk, link: socket.socket, data: bytes) -> list[dict[str, Any]]:
    """Send it piece by piece, as a stream may bring it; the answers."""
    received = b""
    for start in range(0, len(data), 5000):
        link.sendall(data[start : start + 5000])
        turn(desk)
        link.setblocking(False)
        try:
            while piece := link.recv(65_536):
                received += piece
        except BlockingIOError:
            pass
        link.settimeout(0.2)
    return [json.loads(line) for line in received.splitlines()]


@pytest.mark.parametrize(
    "line",
    [
        '{"do":"episode-begin","do":"episode-end"}',
        '{"do":"may-use","episode":{"ageYears":9,"ageYears":54}}',
        '{"do":"safe-mode","generation":3,"generation":4,"why":"so"}',
    ],
)
def test_a_member_that_stands_twice_is_refused_and_neither_is_taken(
    tmp_path: Path, line: str
) -> None:
    """Two readers of one line would else read two things."""
    with served(tmp_path) as (desk, link, taken):
        (answer,) = say(desk, link, line.encode() + b"\n")
        assert (answer["ok"], answer["reason"]) == (False, "usage")
        assert "twice" in answer["message"]
        assert taken == []
        assert say(desk, link, b'{"do":"status"}\n') == [{"ok": True}]


def test_a_line_that_is_too_long_is_answered_and_ends_no_episode(tmp_path: Path) -> None:
    with served(tmp_path) as (desk, link, taken):
        assert say(desk, link, b'{"do":"episode-begin"}\n') == [{"ok": True}]
        (answer,) = say(desk, link, b'{"do":"' + b"x" * 20 * MAX_LINE)
        assert (answer["ok"], answer["reason"]) == (False, "usage")
        assert str(MAX_LINE) in answer["message"]
        assert desk.visitors[0].pending == b"", "what is dropped is not kept"
        assert say(desk, link, b'"}\n{"do":"status"}\n') == [{"ok": True}]
        assert desk.episodes() == 1
        assert [item["do"] for item in taken] == ["episode-begin", "status"]


def test_the_bound_is_the_same_for_a_line_that_comes_at_once(tmp_path: Path) -> None:
    """Before, whether a line was too long hung on how the stream was cut."""
    head, tail = b'{"do":"', b'"}'
    fits = head + b"x" * (MAX_LINE - len(head) - len(tail)) + tail
    with served(tmp_path) as (desk, link, taken):
        assert say(desk, link, fits + b"\n") == [{"ok": True}]
        (answer,) = say(desk, link, head + b"x" + fits[len(head) :] + b"\n")
        assert answer["reason"] == "usage"
        assert len(taken) == 1


@given(
    lines=st.lists(
        st.sampled_from([b'{"do":"status"}', b"", b"x", b"[" * 9000, b"y" * (MAX_LINE + 1)]),
        max_size=5,
    )
)
def test_every_line_has_one_answer(tmp_path_factory: pytest.TempPathFactory, lines: Any) -> None:
    with served(tmp_path_factory.mktemp("desk")) as (desk, link, taken):
        answers = say(desk, link, b"".join(line + b"\n" for line in lines))
        assert [item["ok"] for item in answers] == [line[:1] == b"{" for line in lines]
        assert len(taken) == sum(item["ok"] for item in answers)
