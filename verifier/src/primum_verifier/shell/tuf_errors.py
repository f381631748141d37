"""What the errors of ``tuf`` mean in the words of this project: one place, with the cause kept."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)

from primum_verifier.core.errors import FailedError, PrimumError, RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.shell.durable import storage_error
from primum_verifier.shell.fetching import NotThereError

_REFUSALS: tuple[tuple[type[Exception], Reason, str, str], ...] = (
    (
        ExpiredMetadataError,
        Reason.TRUST_EXPIRED,
        "The metadata has expired.",
        "The publisher must sign again; a frozen mirror or a wrong clock looks the same.",
    ),
    (
        BadVersionNumberError,
        Reason.TRUST_ROLLBACK,
        "The metadata has another version than it must have.",
        "Check the mirror; the device keeps what it has.",
    ),
    (
        UnsignedMetadataError,
        Reason.TRUST_THRESHOLD,
        "The metadata is not signed by enough trusted keys.",
        "Check who published; the device keeps what it has.",
    ),
    (
        LengthOrHashMismatchError,
        Reason.TRUST_METADATA,
        "The metadata is not what was announced for it.",
        "Publish again, or use another mirror.",
    ),
    (
        RepositoryError,
        Reason.TRUST_METADATA,
        "The metadata cannot be trusted.",
        "Publish again, or use another mirror.",
    ),
)

_NOT_A_NAME = {errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.EISDIR}


@contextmanager
def translated(authority: str) -> Iterator[None]:
    """Turn what ``tuf`` raises into the family of :class:`PrimumError`."""
    try:
        yield
    except NotThereError as error:
        raise _translate(error, authority) from error
    except (RepositoryError, DownloadError, OSError) as error:
        raise _translate(error, authority) from error


def _translate(error: Exception, authority: str) -> PrimumError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, NotThereError):
            return RefusedError(
                "A file that must be in the repository is not there.",
                reason=Reason.TRUST_NOT_FOUND,
                where=cause.where,
                found=cause.found,
                expected="the file that the metadata announces",
                remedy="Check the address, and that the repository was published whole.",
            )
        if isinstance(cause, PrimumError):
            return cause
        cause = cause.__cause__
    for kind, reason, message, remedy in _REFUSALS:
        if isinstance(error, kind):
            return RefusedError(
                message, reason=reason, where=authority, found=str(error)[:300], remedy=remedy
            )
    if isinstance(error, DownloadError):
        return _not_fetched(error, authority)
    return _not_stored(error, authority)


def _not_fetched(error: Exception, authority: str) -> PrimumError:
    if isinstance(error, DownloadLengthMismatchError):
        return RefusedError(
            "The server sends more metadata than is allowed.",
            reason=Reason.TRUST_LIMIT,
            where=authority,
            found=str(error),
        )
    return FailedError(
        "The metadata could not be fetched.",
        reason=Reason.TRANSPORT_UNREACHABLE,
        where=authority,
        found=str(error)[:300],
        remedy="Check the address and the network; what the device has stays as it is.",
    )


def _not_stored(error: Exception, authority: str) -> PrimumError:
    if isinstance(error, OSError) and error.errno not in _NOT_A_NAME:
        return storage_error(error, Path(str(error.filename or authority)))
    return RefusedError(
        "A name in the metadata cannot be a file.",
        reason=Reason.TRUST_LIMIT,
        where=authority,
        found=str(error)[:300],
        expected="a name of at most 255 bytes in its percent-encoded form",
        remedy="The publisher must choose a shorter name.",
    )
