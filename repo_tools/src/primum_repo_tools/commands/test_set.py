"""``primum-repo test-set``: plan, lock, freeze, show."""

# ruff: noqa: PLC0415 - heavy parts are imported by the command that needs them
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from primum_repo_tools.commands.common import (
    AsJson,
    PersonPassphraseFile,
    command,
    new_app,
    person_secrets,
    table,
    tell,
    told_progress,
)

if TYPE_CHECKING:
    from primum_repo_tools.planning import Power
    from primum_repo_tools.statistics.power import Truth
    from primum_verifier.change.test_set_ledger import Ledger, LedgerEntry

app = new_app("Locked test sets: each use of one is counted, signed and kept.")

LedgerFolder = Annotated[Path, typer.Argument(metavar="LEDGER", help="Folder of the ledger.")]
AsPerson = Annotated[
    Path, typer.Option("--as", metavar="FOLDER", help="The folder of who keeps the set.")
]


@command(app)
def lock(
    ledger: LedgerFolder,
    *,
    cases: Annotated[
        Path, typer.Option(metavar="NPZ", help="Predictions of any arm: the cases are read.")
    ],
    set_id: Annotated[str, typer.Option("--id", help="Name of the test set.")],
    uses: Annotated[int, typer.Option(min=1, help="How often it may be used at all.")],
    person: AsPerson,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="What the cases were read from; each file is digested."
        ),
    ] = None,
    custodian: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Public key of another who may write; repeat it."),
    ] = None,
    person_passphrase_file: PersonPassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    r"""Lock a test set: from here on each use of it is counted in a signed ledger.

    Prints the table [testSet] that binds a protocol to it.

    Example:
      primum-repo test-set lock ledger --id locked-5 --cases model/1.0.0/locked.npz \
        --uses 10 --as people/q.lee
    """
    from primum_repo_tools.keys import read_public_key
    from primum_repo_tools.locked_set import held, lock_set, open_custodian
    from primum_repo_tools.moments import now_utc
    from primum_repo_tools.predictions import read_predictions

    read = read_predictions(cases)
    further = tuple(read_public_key(path) for path in custodian or [])
    secrets = person_secrets(person_passphrase_file, None)
    with held(ledger):
        found = lock_set(
            ledger,
            read,
            set_id=set_id,
            uses_allowed=uses,
            custodian=open_custodian(person, secrets=secrets),
            further=further,
            data=data,
            now=now_utc(),
        )
    _tell(found, as_json=as_json)


@command(app)
def freeze(
    ledger: LedgerFolder,
    protocol: Annotated[Path, typer.Argument(metavar="TOML", help="The protocol.")],
    *,
    person: AsPerson,
    person_passphrase_file: PersonPassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    r"""Record the digest of a protocol before its run; no comparison begins without.

    Example:
      primum-repo test-set freeze ledger model/protocol-locked.toml --as people/q.lee
    """
    from primum_repo_tools.files import read_input
    from primum_repo_tools.locked_set import freeze_protocol, held, open_custodian
    from primum_repo_tools.moments import now_utc
    from primum_repo_tools.protocol import Protocol
    from primum_repo_tools.settings import parse_settings
    from primum_verifier.core.document import sha256_hex

    data = read_input(protocol, what="protocol")
    parsed = parse_settings(Protocol, data, where=str(protocol))
    secrets = person_secrets(person_passphrase_file, None)
    with held(ledger):
        keeper = open_custodian(person, secrets=secrets)
        found = freeze_protocol(ledger, parsed, sha256_hex(data), keeper, now_utc())
    _tell(found, as_json=as_json)


@command(app)
def show(ledger: LedgerFolder, *, as_json: AsJson = False) -> None:
    """Prove a ledger and show every entry, with the table that binds a protocol to it.

    Example:
      primum-repo test-set show ledger
    """
    from primum_repo_tools.locked_set import open_ledger

    _tell(open_ledger(ledger), as_json=as_json)


@command(app)
def plan(
    protocol: Annotated[Path, typer.Argument(metavar="TOML", help="The protocol as drafted.")],
    *,
    positives: Annotated[int, typer.Option(min=1, help="Positive cases of each patient.")],
    negatives: Annotated[int, typer.Option(min=1, help="Negative cases of each patient.")],
    discordant: Annotated[
        float, typer.Option(help="Share of cases in which candidate and baseline differ.")
    ],
    difference: Annotated[
        float, typer.Option(help="True difference, candidate less baseline.")
    ] = 0.0,
    correlation: Annotated[
        float, typer.Option(help="Correlation of cases of one patient, 0 to 1.")
    ] = 0.1,
    share: Annotated[
        list[str] | None,
        typer.Option(metavar="COHORT=SHARE", help="Share of a claimed cohort; repeat it."),
    ] = None,
    patients: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Numbers of patients to judge; else the fewest are looked for."),
    ] = None,
    power: Annotated[float, typer.Option(help="Joint power that is wanted.")] = 0.9,
    studies: Annotated[int, typer.Option(min=100, help="Studies that are simulated.")] = 1000,
    as_json: AsJson = False,
) -> None:
    r"""Say how many patients a locked set needs, by simulating the protocol's own decisions.

    Every question of the protocol has to be shown at once: whole and claimed cohorts, sensitivity
    and specificity, last and original. The seed of the protocol makes it repeatable.

    Example:
      primum-repo test-set plan model/protocol.toml --positives 100 --negatives 400 \
        --discordant 0.04 --correlation 0.05
    """
    from primum_repo_tools.planning import Assumed, check_shares, fewest_patients, power_of
    from primum_repo_tools.protocol import Protocol
    from primum_repo_tools.settings import read_settings
    from primum_repo_tools.statistics.power import Truth

    drafted = read_settings(Protocol, protocol, what="protocol")
    truth = _truth(Truth, discordant, difference, correlation)
    assumed = Assumed(
        cases={"sensitivity": positives, "specificity": negatives},
        truth={"sensitivity": truth, "specificity": truth},
        shares=_shares(share or []),
        studies=studies,
    )
    check_shares(drafted, assumed)
    told = told_progress().step
    found = (
        [power_of(drafted, assumed, number, told=told) for number in patients]
        if patients
        else fewest_patients(drafted, assumed, power, told=told)
    )
    _tell_plan(found, power, as_json=as_json)


def _tell_plan(found: Sequence[Power], wanted: float, *, as_json: bool) -> None:
    from primum_repo_tools.statistics.power import power_each

    last = found[-1]
    rows = [(item.patients, f"{item.joint:.3f}", f"{item.error:.3f}") for item in found]
    each = [(name, f"{value:.3f}") for name, value in last.each.items()]
    tell(
        {
            "wanted": wanted,
            "tried": [
                {"patients": one.patients, "joint": one.joint, "error": one.error} for one in found
            ],
            "each": dict(last.each),
        },
        table("Joint power", ("patients", "shown", "standard error"), rows),
        table(f"Each with {last.patients} patients", ("question", "shown"), each),
        f"For {wanted:g} jointly, {len(each)} independent questions would need "
        f"{power_each(wanted, len(each)):.3f} each.",
        f"{last.patients} patients: {last.joint:.3f} jointly"
        + ("." if last.joint >= wanted else f", less than {wanted:g}."),
        as_json=as_json,
    )


def _truth(kind: type[Truth], discordant: float, difference: float, correlation: float) -> Truth:
    from primum_verifier.core.errors import UsageError
    from primum_verifier.core.reasons import Reason

    try:
        return kind(discordant, difference, correlation)
    except ValueError as error:
        raise UsageError(
            "What is assumed cannot be.",
            reason=Reason.USAGE,
            found=f"discordant {discordant:g}, difference {difference:g}, "
            f"correlation {correlation:g}",
            expected="shares between 0 and 1, a difference no larger than what is discordant",
        ) from error


def _shares(given: list[str]) -> dict[str, float]:
    from primum_verifier.core.errors import UsageError
    from primum_verifier.core.reasons import Reason

    shares = {}
    for item in given:
        name, _, text = item.partition("=")
        try:
            shares[name] = float(text)
        except ValueError as error:
            raise UsageError(
                "A share is no number.",
                reason=Reason.USAGE,
                where="--share",
                found=item[:80],
                expected="a cohort and its share, such as female=0.5",
            ) from error
    return shares


def _tell(ledger: Ledger, *, as_json: bool) -> None:
    locked = ledger.locked
    uses_left = locked.uses_allowed - len(ledger.uses)
    rows = [
        (entry.number, f"{entry.at:%Y-%m-%d %H:%M:%S}", entry.by, *_happened(entry))
        for entry in ledger.entries
    ]
    binding = (
        "[testSet]",
        f'id = "{locked.id}"',
        f'cases = {{ sha256 = "{locked.cases.sha256}" }}',
        f'ledger = "{ledger.origin}"',
        f"usesAllowed = {locked.uses_allowed}",
    )
    tell(
        {
            "testSet": {
                "id": locked.id,
                "cases": {"sha256": locked.cases.sha256},
                "ledger": ledger.origin,
                "usesAllowed": locked.uses_allowed,
            },
            "uses": len(ledger.uses),
            "head": ledger.head,
            "entries": [item.model_dump(mode="json", by_alias=True) for item in ledger.entries],
        },
        table(f"Test set {locked.id}", ("entry", "at", "by", "what", "which"), rows),
        f"{len(ledger.uses)} uses of {locked.uses_allowed}; {max(0, uses_left)} left.",
        f"Head: sha256 {ledger.head}",
        "A protocol is bound to it by:",
        *binding,
        as_json=as_json,
    )


def _happened(entry: LedgerEntry) -> tuple[str, str]:
    if entry.locked is not None:
        return "locked", f"{entry.locked.rows} cases of {entry.locked.patients} patients"
    if entry.frozen is not None:
        protocol = entry.frozen
        return "protocol frozen", f"{protocol.protocol_id}, sha256 {protocol.protocol.sha256[:12]}"
    if entry.used is not None:
        used = entry.used
        again = f", run again: {used.repeat_reason}" if used.repeats else ""
        return f"use {used.use_number}", f"candidate {used.candidate.sha256[:12]}{again}"
    if entry.reported is None:
        raise RuntimeError("an entry in which nothing happened")
    reported = entry.reported
    return (
        f"report on use {reported.use_number}",
        f"{reported.overall}, {reported.report.sha256[:12]}",
    )
