"""The people of clinical: one person, one function, one key, listed in the approval policy."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from primum_repo_tools.files import PRIVATE_MODE, make_folder, write_durably
from primum_repo_tools.keys import Secrets, Signer, create_key, load_key
from primum_repo_tools.policy import next_policy, publish_policy, published_policy
from primum_repo_tools.repository import AuthorityRepository
from primum_repo_tools.settings import read_settings
from primum_repo_tools.workbench import Workbench
from primum_verifier.core.approval import (
    POLICY_TARGET,
    ApprovalPolicy,
    Person,
    PersonStatus,
)
from primum_verifier.core.document import (
    Document,
    SchemaVersion,
    Slug,
    Text,
    canonical_json,
)
from primum_verifier.core.errors import RefusedError, UsageError
from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import Function

KEY_FILE = "key.pem"
PERSON_FILE = "person.toml"


class PersonSettings(Document):
    """``person.toml`` in a person's own folder: who this is."""

    schema_version: SchemaVersion
    person_id: Slug
    printed_name: Text
    function: Function


@dataclass(frozen=True)
class Approver:
    """A person with the key at hand.

    Attributes:
        settings: who it is.
        signer: the person's key.
    """

    settings: PersonSettings
    signer: Signer


def add_person(
    workbench: Workbench,
    *,
    person: PersonSettings,
    folder: Path,
    secrets: Secrets,
    own: Secrets,
    now: datetime,
) -> ApprovalPolicy:
    """Make a person's key in the person's own folder and list the person in the policy.

    A key that an interrupted run left there for the same person is used again.

    Args:
        workbench: of clinical; the caller holds its lock.
        person: who, and in which one function.
        folder: the person's own folder; nobody else needs to read it.
        secrets: opens clinical's keys.
        own: the person's passphrase.
        now: the moment of listing.

    Raises:
        UsageError: the person, or another one, is listed or at home in the folder already.
    """
    repository = AuthorityRepository(workbench, now=now, secrets=secrets)
    policy = published_policy(repository)
    if any(known.person_id == person.person_id for known in policy.people):
        raise UsageError(
            "This person is listed already: one person, one function, one key.",
            reason=Reason.USAGE,
            where=POLICY_TARGET,
            found=person.person_id,
            remedy=f"See: primum-repo person list {workbench.folder}",
        )
    make_folder(folder, mode=0o700)
    if (folder / KEY_FILE).exists() or (folder / PERSON_FILE).exists():
        _check_same(folder, person)
    else:
        write_durably(folder / PERSON_FILE, _person_toml(person), mode=PRIVATE_MODE)
    if not (folder / KEY_FILE).exists():
        create_key(folder / KEY_FILE, secrets=own)
    key = load_key(folder / KEY_FILE, secrets=own).public
    listed = Person(
        person_id=person.person_id,
        printed_name=person.printed_name,
        function=person.function,
        key=key,
        status=PersonStatus.ACTIVE,
    )
    changed = next_policy(repository, now=now, people=(*policy.people, listed))
    publish_policy(workbench, repository, changed, now=now)
    workbench.record(
        "person.added",
        at=now,
        person=person.person_id,
        function=person.function,
        key=key.key_id,
        policy=changed.number,
    )
    return changed


def open_approver(folder: Path, *, policy: ApprovalPolicy, secrets: Secrets) -> Approver:
    """Open a person's folder and see to it that the policy knows this very key.

    Raises:
        UsageError: no person's folder, or a wrong passphrase.
        RefusedError: the policy does not list this person with this key and function as active.
    """
    settings = read_settings(PersonSettings, folder / PERSON_FILE, what="person")
    signer = load_key(folder / KEY_FILE, secrets=secrets)
    for listed in policy.active_people():
        if listed.person_id == settings.person_id and listed.key.public == signer.public.public:
            if listed.function == settings.function:
                return Approver(settings=settings, signer=signer)
            break
    raise RefusedError(
        "The approval policy does not list this person with this key and function.",
        reason=Reason.ELIGIBILITY_APPROVALS,
        where=str(folder),
        found=f"{settings.person_id}, {settings.function}",
        expected="an active person of the policy",
        remedy="See: primum-repo person list WORKBENCH",
    )


def _check_same(folder: Path, person: PersonSettings) -> None:
    known = read_settings(PersonSettings, folder / PERSON_FILE, what="person")
    if known != person:
        raise UsageError(
            "Somebody else is at home in this folder.",
            reason=Reason.USAGE,
            where=str(folder),
            found=f"{known.person_id}, {known.function}",
            expected=f"{person.person_id}, {person.function}",
            remedy="Give every person a folder of their own.",
        )


def _person_toml(person: PersonSettings) -> bytes:
    # JSON's strings are TOML's basic strings, escapes included.
    lines = [
        f"{name} = {canonical_json(str(value)).decode().strip()}"
        for name, value in person.model_dump(mode="json", by_alias=False).items()
    ]
    return ("\n".join(lines) + "\n").encode()
