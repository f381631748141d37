"""Receiving one file from whoever has it: every byte once, however often the link breaks.

In this order:

1. What was left of the file is believed as far as :mod:`primum_agent.partial_files` says.
2. The best mirror goes on where that ends.  One that breaks off after bytes is asked again at
   once, one that sent none after the others and a pause; one that sends what cannot be the file is
   left.
3. The digest of the whole decides.  Where it does not fit what several answers were put together
   to, the whole is taken once more from one mirror; where it does not fit what one mirror sent,
   that mirror is left.

Bounded are: the time, the bytes over all mirrors, the answers that bring nothing, and the time that
a server may ask to be left alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from primum_agent.partial_files import PartialFile
from primum_verifier.core.errors import FailedError, PrimumError, RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.shell.fetching import (
    AskedToWaitError,
    Body,
    NotThereError,
    RangeFetcher,
    StalledError,
    TooSlowError,
)

PROGRESS_BYTES = 16 * 1024
"""An answer that brings less counts as none: a server must not hold a device by single bytes."""

MOST_EMPTY = 4
"""Answers in a row that bring nothing, from one mirror, before it is left for this attempt."""

MOST_ANEW = 2
"""How often a mirror may begin the file anew instead of going on, before it is left."""

MOST_WAIT = 30.0
"""Seconds that an attempt waits for a server that asks for it; the next poll comes by itself."""

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 8.0
"""Seconds between two answers that bring nothing; it doubles."""

TELL_SECONDS = 1.0
"""Between two looks at what is to be told and at what may hold the download."""


class OverdueError(FailedError):
    """All time that an attempt has for fetching is over; what came is kept for the next one."""

    def __init__(self, sha256: str, *, received: int, seconds: float) -> None:
        super().__init__(
            "Fetching took longer than one attempt may.",
            reason=Reason.TRANSPORT_INTERRUPTED,
            where=f"artifacts/{sha256}",
            found=f"{received} bytes in {seconds:.0f} s",
            remedy="Nothing is lost; the next attempt goes on where this one stopped.",
        )


class Mirrors(Protocol):
    """Where a file may be had, and who hears how it went."""

    def bases(self) -> Sequence[str]:
        """Addresses that a file's digest is added to, the best first; at least one."""

    def failed(self, base: str, error: PrimumError, *, lied: bool) -> None:
        """A mirror was left: it sent what cannot be the file, or another one had to send it."""

    def worked(self, base: str) -> None:
        """A mirror sent the rest of a file, and the digest is right."""


@dataclass(frozen=True)
class Progress:
    """How far a file is.

    Attributes:
        sha256: its digest.
        done: bytes that are there.
        length: bytes that it is to have.
        received: bytes that came over the wire in this attempt.
        base: who sends.
    """

    sha256: str
    done: int
    length: int
    received: int
    base: str


@dataclass(eq=False)
class _Mirror:
    """How one mirror did with one file.

    Attributes:
        base: its address.
        empty: answers in a row that brought nothing.
        anew: how often it began anew instead of going on.
        not_before: when it may be asked again, on the attempt's clock.
        left: why it is not asked again.
        last: what it did wrong last.
        lied: whether that cannot have been the link.
    """

    base: str
    empty: int = 0
    anew: int = 0
    not_before: float = 0.0
    left: bool = False
    last: PrimumError | None = None
    lied: bool = False


@dataclass(eq=False, kw_only=True)
class Transfer:
    """Receives the files of one attempt.

    Attributes:
        fetcher: how bytes are got.
        mirrors: where from.
        total_seconds: the longest that all files may take together.
        pace: told how many bytes came; it may pause.
        watch: told how far the file is, about once a second; what it raises ends the transfer and
            leaves the file as it is, to go on with later.
        monotonic: a clock that never goes back, in seconds.
        sleep: waits, in seconds.
        draw: numbers in [0, 1) for jitter.
        received: bytes that came over the wire.
    """

    fetcher: RangeFetcher
    mirrors: Mirrors
    total_seconds: float
    pace: Callable[[int], None] = lambda _: None
    watch: Callable[[Progress], None] = lambda _: None
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    draw: Callable[[], float] = lambda: 0.5
    received: int = 0
    _until: float = field(init=False)
    _told: float = field(init=False)

    def __post_init__(self) -> None:
        now = self.monotonic()
        self._until, self._told = now + self.total_seconds, now

    def receive(self, partial: PartialFile, *, take: Callable[[PartialFile], None]) -> None:
        """Bring a file to its end and have it taken in.

        Args:
            partial: the file, open; it is left closed.
            take: takes in what is complete; refuses it where the digest is another.

        Raises:
            RefusedError: ``artifact.*``: what every mirror holds under this name is not the file;
                nothing of it was kept.
            FailedError: ``transport.*``: it did not come to its end; what came is kept and
                believed next time.  ``resource.storage`` and what ``watch`` raises besides.
        """
        with _left_well(partial):
            _One(self, partial).run(take)

    # Shared by the files of an attempt

    def look(self, progress: Progress) -> None:
        """Tell how far it is, and hear whether it may go on."""
        now = self.monotonic()
        if now > self._until:
            raise OverdueError(progress.sha256, received=self.received, seconds=self.total_seconds)
        if now - self._told >= TELL_SECONDS:
            self._told = now
            self.watch(progress)

    def pause(self, seconds: float) -> None:
        """Wait, jittered, but never beyond the end."""
        self.sleep(max(0.0, min(seconds * (0.75 + 0.5 * self.draw()), self._left())))

    def _left(self) -> float:
        return self._until - self.monotonic()


class _One:
    """One file on its way in."""

    def __init__(self, transfer: Transfer, partial: PartialFile) -> None:
        self._transfer = transfer
        self._partial = partial
        self._mirrors = [_Mirror(base) for base in transfer.mirrors.bases()]
        # Once for each mirror, and once for what several make together.
        self._most = partial.length * (len(self._mirrors) + 1)
        self._received = 0
        self._answers = 1 if partial.offset else 0
        self._single = False
        self._sender: _Mirror | None = None

    def run(self, take: Callable[[PartialFile], None]) -> None:
        while True:
            while not self._partial.is_complete:
                self._ask(self._next())
            try:
                take(self._partial)
            except RefusedError as error:
                self._wrong(error)
                continue
            self._tell_mirrors()
            return

    # Whom to ask

    def _next(self) -> _Mirror:
        """The mirror to ask now; waits where all are to be left alone for a moment."""
        transfer = self._transfer
        asked = [item for item in self._mirrors if not item.left]
        if not asked or self._received > self._most:
            raise self._given_up()
        now = transfer.monotonic()
        best = min(asked, key=lambda item: self._rank(item, now))
        wait = best.not_before - now
        if wait > MOST_WAIT:
            raise self._given_up()
        if wait > 0.0:
            transfer.pause(wait)
        transfer.look(self._progress(best))
        return best

    def _rank(self, item: _Mirror, now: float) -> tuple[bool, float, int]:
        other = self._single and self._sender is not None and item is not self._sender
        return other, max(0.0, item.not_before - now), item.empty

    def _given_up(self) -> PrimumError:
        """Why nobody sends it; where all of them lied, nothing of it is kept."""
        self._tell_liars()
        errors = [item.last for item in self._mirrors if item.last is not None]
        mended = [error for error in errors if not isinstance(error, RefusedError)]
        if not mended:
            self._partial.discard()
        return (mended or errors)[-1]

    # Asking

    def _ask(self, mirror: _Mirror) -> None:
        """Take what one mirror sends; what it does wrong is noted with it."""
        partial, before = self._partial, self._received
        if self._single and partial.offset and mirror is not self._sender:
            self._start_over()
        offset = partial.offset
        try:
            with self._transfer.fetcher.open(
                mirror.base + partial.name,
                max_bytes=partial.length + 1,
                offset=offset,
                validator=partial.validator_of(mirror.base),
            ) as body:
                self._take_body(mirror, body)
        except OverdueError:
            raise
        except (AskedToWaitError, NotThereError, TooSlowError) as error:
            self._set_aside(mirror, error)
        except RefusedError as error:
            mirror.last, mirror.left, mirror.lied = error, True, True
            if self._sender is mirror:
                # Nobody can say which of its bytes are right.
                self._start_over()
        except FailedError as error:
            if not str(error.reason).startswith("transport."):
                raise
            self._broke_off(mirror, error, brought=self._received - before)

    def _take_body(self, mirror: _Mirror, body: Body) -> None:
        transfer, partial = self._transfer, self._partial
        if body.length is not None and body.length != partial.length:
            # Not a byte is read of what cannot be the file.
            raise RefusedError(
                "The server holds a file of another length under this name.",
                reason=Reason.ARTIFACT_SIZE,
                where=mirror.base + partial.name,
                found=f"{body.length} bytes",
                expected=f"{partial.length} bytes",
                remedy="Nothing was kept; the publisher's server holds a wrong file.",
            )
        if body.start != partial.offset:
            # The server does not go on: what it begins anew is a file of its own.
            mirror.anew += 1
            self._start_over()
        partial.begin(origin=mirror.base, validator=body.validator)
        self._answers, self._sender = self._answers + 1, mirror
        for piece in body.pieces:
            transfer.received += len(piece)
            self._received += len(piece)
            partial.write(piece)
            transfer.pace(len(piece))
            transfer.look(self._progress(mirror))
        if not partial.is_complete:
            raise FailedError(
                "The server says that the file ends here.",
                reason=Reason.TRANSPORT_INTERRUPTED,
                where=mirror.base + partial.name,
                found=f"{partial.offset} bytes",
                expected=f"{partial.length} bytes",
                remedy="Nothing is lost; the device goes on where it stopped.",
            )

    def _start_over(self) -> None:
        self._partial.start_over()
        self._answers, self._sender = 0, None

    # What went wrong

    def _broke_off(self, mirror: _Mirror, error: FailedError, *, brought: int) -> None:
        """The link, or nobody listens: asked again, at once where bytes came."""
        mirror.last = error
        if mirror.anew > MOST_ANEW:
            mirror.left = True
            return
        silent = isinstance(error, StalledError)
        if not silent and brought >= min(PROGRESS_BYTES, self._partial.length):
            mirror.empty = 0
            return
        self._let_be(mirror)

    def _set_aside(self, mirror: _Mirror, error: FailedError) -> None:
        """It does not have it, is too slow, or asks to be left alone."""
        mirror.last = error
        if isinstance(error, AskedToWaitError):
            self._let_be(mirror, at_least=error.seconds)
        else:
            mirror.left = True

    def _let_be(self, mirror: _Mirror, *, at_least: float = 0.0) -> None:
        mirror.empty += 1
        mirror.left = mirror.empty >= MOST_EMPTY
        pause = min(FIRST_PAUSE * 2.0 ** (mirror.empty - 1), LONGEST_PAUSE)
        mirror.not_before = self._transfer.monotonic() + max(pause, at_least)

    def _wrong(self, error: RefusedError) -> None:
        """The file is complete, and is not the one."""
        spliced, sender = self._answers > 1, self._sender
        self._start_over()
        if sender is None or (spliced and not self._single):
            # Nobody can say whose bytes were wrong: from now on all of them come from one.
            self._single = True
            return
        sender.last, sender.left, sender.lied = error, True, True

    # Told to whoever keeps the mirrors

    def _tell_mirrors(self) -> None:
        self._tell_liars()
        sender = self._sender
        if sender is None:
            return
        for item in self._mirrors:
            absent = item.last is None or isinstance(item.last, NotThereError)
            if item is not sender and item.last is not None and not (item.lied or absent):
                self._transfer.mirrors.failed(item.base, item.last, lied=False)
        self._transfer.mirrors.worked(sender.base)

    def _tell_liars(self) -> None:
        for item in self._mirrors:
            if item.lied and item.last is not None:
                self._transfer.mirrors.failed(item.base, item.last, lied=True)

    def _progress(self, mirror: _Mirror) -> Progress:
        partial = self._partial
        return Progress(
            sha256=partial.name,
            done=partial.offset,
            length=partial.length,
            received=self._transfer.received,
            base=mirror.base,
        )


@contextmanager
def _left_well(partial: PartialFile) -> Generator[None]:
    """Whatever ends it, what came is made durable where that is possible, and the file closed."""
    try:
        yield
    except PrimumError:
        partial.checkpoint()
        raise
    finally:
        partial.close()
