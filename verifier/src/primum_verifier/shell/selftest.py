"""The one call that proves a model on this machine: screen, read, run, judge.

The agent calls it before activation and the release side before publishing: one implementation,
so that what was refused in the field could have been refused at home.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from primum_verifier.core.document import parse_document, sha256_hex
from primum_verifier.core.errors import FailedError, RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.fixtures import MAX_FIXTURE_BYTES, Fixtures, read_fixtures
from primum_verifier.proof.selftest import fixture_problems, judge_selftest
from primum_verifier.proof.selftest_result import Baselines, SelfTestResult, Subject
from primum_verifier.proof.selftest_spec import SelfTestSpec
from primum_verifier.shell.bench import REFERENCE_BENCH, Bench
from primum_verifier.shell.onnx_screen import MAX_MODEL_BYTES, check_size, screen_model

_PIECE = 1024 * 1024


def self_test(
    *,
    model: Path,
    spec: bytes,
    fixtures: Path,
    scratch: Path,
    bench: Bench = REFERENCE_BENCH,
    baselines: Baselines | None = None,
    hardware: str | None = None,
) -> SelfTestResult:
    """Prove that this machine computes with ``model`` what was validated.

    The caller has checked all three files against the signed manifest; that the fixtures are
    those the specification names is checked here.

    Args:
        model: the ONNX file.
        spec: the bytes of the signed specification.
        fixtures: the ``.npz`` file.
        scratch: an existing folder to run in; nothing is left in it.
        bench: the port that runs the model; by default a confined process.
        baselines: the earlier releases that it may have to be no worse than; without them a test
            that asks for it cannot be passed.
        hardware: the kind of hardware whose limits count: the device's own, or the one that a
            machine of the release side stands in for; without it no budget can be judged.

    Returns:
        The result with its report; only ``passed`` allows activation.

    Raises:
        RefusedError: ``document.invalid``: the specification cannot be read; ``artifact.size``:
            the model is larger than any may be, so that not even its digest was taken.
        FailedError: nothing was learnt about the release: a file that cannot be read here, no
            bench installed, a confinement that this system does not hold.
    """
    signed = parse_document(SelfTestSpec, spec, where="self-test specification")
    known: Fixtures | None = None
    refusal: RefusedError | None = None
    run = None
    raw = _read(fixtures, most=MAX_FIXTURE_BYTES)
    subject = Subject(spec=sha256_hex(spec), model=_digest_of(model), fixtures=sha256_hex(raw))
    try:
        if subject.fixtures != signed.fixtures.digest.sha256:
            raise _other_fixtures(fixtures, subject.fixtures, signed.fixtures.digest.sha256)
        known = read_fixtures(raw, where=fixtures.name)
        screen_model(model, spec=signed)
    except RefusedError as error:
        refusal = error
    ready = known is not None and not fixture_problems(
        signed, known, fixtures_sha256=subject.fixtures
    )
    if known is not None and ready and refusal is None:
        run = bench.run(
            model=model, fixtures=known, spec=signed, scratch=scratch, hardware=hardware
        )
    return judge_selftest(
        spec=signed,
        subject=subject,
        fixtures=known,
        run=run,
        refusal=refusal,
        baselines=baselines,
        hardware=hardware,
    )


def _other_fixtures(path: Path, found: str, expected: str) -> RefusedError:
    return RefusedError(
        "The fixtures are not those that the specification names.",
        reason=Reason.ARTIFACT_DIGEST,
        where=path.name,
        found=found,
        expected=expected,
        remedy="Build the release again; nothing was run.",
    )


def _digest_of(path: Path) -> str:
    """The digest of the model, of which no more is read than a model may have."""
    seen, length = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            length = os.fstat(file.fileno()).st_size
            while length <= MAX_MODEL_BYTES and (piece := file.read(_PIECE)):
                seen.update(piece)
                # It may grow while it is read.
                length = max(length, file.tell())
    except OSError as error:
        raise _unreadable(path, error) from error
    if length > MAX_MODEL_BYTES:
        check_size(length, where=path.name)
    return seen.hexdigest()


def _read(path: Path, *, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(most + 1)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> FailedError:
    return FailedError(
        "A file of the self-test cannot be read.",
        reason=Reason.STATE_DAMAGED,
        where=str(path),
        found=str(error.strerror or error),
        expected="a file that can be read",
        remedy="Check the content store, then try again.",
    )
