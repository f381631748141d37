"""The application's side: open the active release, stamp outputs, prove health, declare use.

Standard library only (the verifier's question per episode is too), so that it costs an
application nothing.  The file ``run/standing.json``
and the socket ``run/primum.sock`` are the contract; other languages read them the same way.

Example::

    release = open_active(Path("/var/lib/primum"))
    if isinstance(release, SafeMode):
        show(release.notice)
    else:
        model, threshold = load(release.model), release.threshold
        release.prove_health()
        allowed = release.may_use(Episode(age_years=54, patient_category="adult"))
        if allowed:
            show(allowed.banner)
            with release.episode():
                output = {"score": 0.7, **release.stamp()}
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from primum_verifier.core.reasons import Reason
from primum_verifier.keeping.episode import Answer, Episode, Permission, may_use

__all__ = [
    "ActiveRelease",
    "Answer",
    "Episode",
    "Permission",
    "SafeMode",
    "StandingError",
    "agent_is_running",
    "ask_agent",
    "by_terms",
    "hand_over",
    "none_begins",
    "open_active",
    "standing_now",
]

SCHEMA_VERSION = "0.1"
STANDING = Path("run") / "standing.json"
SOCKET = Path("run") / "primum.sock"
ANSWER_SECONDS = 2.0
MAX_BYTES = 1024 * 1024

_PIECE = 1024 * 1024
_MODES = {"clinical", "investigational"}
_NO_RELEASE = "No eligible model is active."


class StandingError(Exception):
    """What the agent wrote cannot be used: missing, unreadable, or not what lies on the disk.

    Attributes:
        reason: a stable reason code.
    """

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class SafeMode:
    """No release may be used: the declared safe mode.

    Attributes:
        reasons: reason codes, the primary first.
        notice: what the user is to be told.
        suspended: ``ai-function`` or ``device-function`` where a signed order suspends it, or the
            application had the use stopped: with the latter word the device may not go on
            measuring either; empty otherwise.
    """

    state_dir: Path
    reasons: tuple[str, ...]
    notice: str
    suspended: str = ""

    def changed(self) -> bool:
        """Whether the agent has said something else since."""
        content = standing_now(self.state_dir)
        return content["mode"] != "safe" or (content.get("suspended") or "") != self.suspended


@dataclass(frozen=True)
class ActiveRelease:
    """The release in use, opened once: its files cannot change under the application.

    Attributes:
        folder: the generation's folder.
        files: path of each file by its kind.
        output: the output that the operating point is for.
        threshold: the only threshold at which the release may be used.
        threshold_text: the same as it was signed.
        notice: what the user is to be told meanwhile; empty when there is nothing.
        mode: ``clinical``, or ``investigational``: then every output is shown as such.
        ordered: what a signed order makes of it while it goes on, such as ``advisory-only``
            (shown with the banner, no automatic effect) or ``restrict``; empty without one.
    """

    state_dir: Path
    generation: int
    component: str
    version: str
    release: str
    statement: str
    statement_number: int
    folder: Path
    files: Mapping[str, Path]
    output: str
    threshold: float
    threshold_text: str
    not_after: datetime | None
    on_expiry: str
    reasons: tuple[str, ...]
    notice: str
    mode: str = "clinical"
    ordered: str = ""

    @property
    def model(self) -> Path:
        """The model's file."""
        return self.files["model"]

    def stamp(self) -> dict[str, object]:
        """What every output carries: by it an auditor finds release and eligibility again."""
        return {
            "component": self.component,
            "version": self.version,
            "release": self.release,
            "statement": self.statement,
            "statementNumber": self.statement_number,
            "generation": self.generation,
            "mode": self.mode,
        }

    def changed(self) -> bool:
        """Whether it is to be opened again before the next episode.

        Another release, or none, is to be used then; or this one in another mode, at another
        operating point, under another order, or under another statement, which the stamp names.
        """
        now = standing_now(self.state_dir)
        point = now.get("operatingPoint")
        return (
            (now["mode"], now.get("generation")) != (self.mode, self.generation)
            or not isinstance(point, dict)
            or (point.get("output"), point.get("threshold")) != (self.output, self.threshold_text)
            or (now.get("ordered") or "") != self.ordered
            or now.get("statement") != self.statement
        )

    def prove_health(self) -> bool:
        """Tell the agent that this release works; whether the agent took it."""
        return self._tell("healthy")

    def tell_unhealthy(self, why: str) -> bool:
        """Tell the agent that this release does not work: it rolls back, if it is provisional."""
        return self._tell("unhealthy", why=why)

    def ask_safe_mode(self, why: str, *, by: str = "") -> bool:
        """Ask that no release be used any more; whether the agent took it.

        It lasts through restarts and newer releases, until a person at the device ends it with
        ``primum-agent reinstate``. Whether or not it was taken: stop using the release now.

        Args:
            why: one line for journal, reports and screen; nothing about a patient.
            by: the person who asks; empty where it is the application itself.
        """
        return self._tell("safe-mode", why=why, **({"by": by} if by else {}))

    def tell_activated(self) -> bool:
        """Tell the agent that this release was loaded."""
        return self._tell("activated")

    def may_use(self, episode: Episode | None = None, *, now: datetime | None = None) -> Permission:
        """Whether an episode may begin with this release.

        The agent judges expiry by proven time and takes a lapsed release away itself. Where no
        agent runs, the statement's own end is applied here, by the device's clock.

        Args:
            episode: what the application knows of it. Without one nothing is known, which is
                enough where the statement leaves nothing to the episode, and nowhere else.
            now: the time; the device's clock when None.

        Returns:
            True in a condition when it may; it holds the banner to show meanwhile, or the reason.
        """
        content = standing_now(self.state_dir)
        opened = (self.mode, self.generation)
        if content["mode"] != "safe" and (content["mode"], content.get("generation")) != opened:
            return _refused(Reason.ELIGIBILITY_SUPERSEDED, "open the active release again")
        # A refusal is false in a condition.
        if (refusal := none_begins(content)) is not None:
            return refusal
        if content.get("statement") != self.statement:
            return _refused(Reason.ELIGIBILITY_SUPERSEDED, "open the active release again")
        return by_terms(
            content,
            episode or Episode(),
            now=now or datetime.now(UTC),
            agent_runs=lambda: agent_is_running(self.state_dir),
        )

    @contextlib.contextmanager
    def episode(self) -> Iterator[None]:
        """Declare clinical use while the block runs: nothing is switched meanwhile.

        The episode ends with the block, or with the application. Where no agent runs the block
        runs all the same: nothing can be switched then.
        """
        with contextlib.ExitStack() as stack:
            try:
                link = stack.enter_context(_connected(self.state_dir))
                _converse(link, {"do": "episode-begin"})
            except (OSError, ValueError):
                link = None
            try:
                yield
            finally:
                if link is not None:
                    with contextlib.suppress(OSError, ValueError):
                        _converse(link, {"do": "episode-end"})

    def _tell(self, what: str, **more: str) -> bool:
        request = {"do": what, "generation": self.generation, **more}
        return ask_agent(self.state_dir, request).get("ok") is True


def open_active(state_dir: Path) -> ActiveRelease | SafeMode:
    """Open what may be used now; its files are checked against their digests once.

    Args:
        state_dir: the agent's state folder.

    Raises:
        StandingError: ``state.damaged``: the agent's word is missing or unreadable, or a file is
            not the one that was activated. Treat it as safe mode.
    """
    content = _read_standing(state_dir)
    try:
        if content["mode"] == "safe":
            return SafeMode(
                state_dir=state_dir,
                reasons=tuple(str(item) for item in content["reasons"]),
                notice=str(content["notice"]) or _NO_RELEASE,
                suspended=str(content.get("suspended") or ""),
            )
        return _open_release(state_dir, content)
    except (KeyError, TypeError, ValueError) as error:
        raise StandingError(
            f"{state_dir / STANDING} lacks or holds a wrong member: {error}",
            reason="state.damaged",
        ) from error


def _open_release(state_dir: Path, content: Mapping[str, Any]) -> ActiveRelease:
    if content["mode"] not in _MODES:
        raise ValueError(f"unknown mode {content['mode']!r}")
    folder = Path(content["folder"])
    files: dict[str, Path] = {}
    for item in content["files"]:
        name = str(item["path"])
        if name != Path(name).name:
            raise ValueError("a file outside the generation")
        path = folder / name
        if _digest_of(path) != item["sha256"]:
            raise StandingError(
                f"{path} is not the file that was activated", reason="artifact.digest"
            )
        files[str(item["kind"])] = path
    if "model" not in files:
        raise ValueError("no model")
    point = content["operatingPoint"]
    ends = content["notAfter"]
    return ActiveRelease(
        state_dir=state_dir,
        generation=int(content["generation"]),
        component=str(content["component"]),
        version=str(content["version"]),
        release=str(content["release"]),
        statement=str(content["statement"]),
        statement_number=int(content["statementNumber"]),
        folder=folder,
        files=files,
        output=str(point["output"]),
        threshold=float(point["threshold"]),
        threshold_text=str(point["threshold"]),
        not_after=None if ends is None else datetime.fromisoformat(ends),
        on_expiry=str(content.get("onExpiry") or "fall-back"),
        reasons=tuple(str(item) for item in content["reasons"]),
        notice=str(content["notice"]),
        mode=str(content["mode"]),
        ordered=str(content.get("ordered") or ""),
    )


def agent_is_running(state_dir: Path) -> bool:
    """Whether an agent answers on this state folder."""
    return ask_agent(state_dir, {"do": "status"}).get("ok") is True


def ask_agent(state_dir: Path, request: Mapping[str, object]) -> dict[str, Any]:
    """Ask the agent one thing; ``{"ok": False, …}`` where none answers."""
    try:
        with _connected(state_dir) as link:
            return _converse(link, request)
    except (OSError, ValueError) as error:
        return {"ok": False, "reason": "state.busy", "message": str(error)}


def hand_over(
    state_dir: Path, request: Mapping[str, object], *, seconds: float = ANSWER_SECONDS
) -> bool | None:
    """Hand one thing to the agent: whether it took it; None where none listens.

    Only then nothing was sent.

    Args:
        state_dir: the agent's state folder.
        request: what is handed over.
        seconds: how long its answer is waited for.
    """
    with contextlib.ExitStack() as stack:
        try:
            link = stack.enter_context(_connected(state_dir))
        except OSError:
            return None
        try:
            link.settimeout(seconds)
            return _converse(link, request).get("ok") is True
        except (OSError, ValueError):
            return False


def standing_now(state_dir: Path) -> dict[str, Any]:
    """What the agent says now; unreadable is safe mode."""
    try:
        content = _read_standing(state_dir)
    except StandingError:
        return {"mode": "safe"}
    return {**content, "mode": str(content.get("mode"))}


def none_begins(content: Mapping[str, Any]) -> Permission | None:
    """The refusal where no episode begins whatever its patient; None where the terms decide."""
    if content["mode"] not in _MODES:
        return _refused(Reason.FALLBACK_NONE, "no release may be used")
    if content.get("ending"):
        return _refused(_ending_reason(content), "it is taken away: no new episode begins")
    return None


def by_terms(
    content: Mapping[str, Any],
    episode: Episode,
    *,
    now: datetime,
    agent_runs: Callable[[], bool],
) -> Permission:
    """What the terms in force say to an episode.

    Args:
        content: what the agent says now.
        episode: what is known of it.
        now: the device's clock.
        agent_runs: asked only once the statement's own end has passed: where an agent runs, it
            judges expiry by proven time and takes a lapsed release away itself.
    """
    # Terms that are missing or cannot be read permit nothing.
    terms = content.get("terms") or {}
    answer = may_use(terms, episode, now=now)
    if answer.reason is Reason.ELIGIBILITY_EXPIRED and agent_runs():
        return may_use(terms, episode, now=None)
    return answer


@contextlib.contextmanager
def _connected(state_dir: Path) -> Iterator[socket.socket]:
    path = state_dir / SOCKET
    # Through the folder's descriptor: a socket's address holds only 107 bytes.
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(ANSWER_SECONDS)
            link.connect(f"/proc/self/fd/{folder}/{path.name}")
            yield link
    finally:
        os.close(folder)


def _converse(link: socket.socket, request: Mapping[str, object]) -> dict[str, Any]:
    link.sendall(json.dumps(request).encode() + b"\n")
    received = b""
    while not received.endswith(b"\n"):
        piece = link.recv(4096)
        if not piece or len(received) > MAX_BYTES:
            raise ValueError("the agent gave no answer")
        received += piece
    answer = json.loads(received)
    if not isinstance(answer, dict):
        raise ValueError("the agent's answer is no object")  # noqa: TRY004 - one kind of error
    return answer


def _read_standing(state_dir: Path) -> dict[str, Any]:
    path = state_dir / STANDING
    try:
        with path.open("rb") as stream:
            content = json.loads(stream.read(MAX_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise StandingError(f"{path} cannot be read: {error}", reason="state.damaged") from error
    if not isinstance(content, dict) or content.get("schemaVersion") != SCHEMA_VERSION:
        raise StandingError(f"{path} is of another form", reason="state.damaged")
    return content


def _refused(reason: Reason, found: str) -> Permission:
    return Permission(Answer.REFUSE, reason, found, "")


def _ending_reason(content: Mapping[str, Any]) -> Reason:
    """Why it is taken away; a code that this library does not know is still a taking away."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        return Reason(content["ending"]["reason"])
    return Reason.ELIGIBILITY_WITHDRAWN


def _digest_of(path: Path) -> str:
    seen = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while piece := stream.read(_PIECE):
                seen.update(piece)
    except OSError as error:
        raise StandingError(f"{path} cannot be read: {error}", reason="state.damaged") from error
    return seen.hexdigest()
