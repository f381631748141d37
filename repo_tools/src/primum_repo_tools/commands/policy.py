"""``primum-repo policy``: show, sign."""

# ruff: noqa: PLC0415 - heavy parts are imported by the command that needs them
from __future__ import annotations

from typing import Annotated

import typer

from primum_repo_tools.commands.common import (
    AsJson,
    DryRun,
    PassphraseFile,
    WorkbenchFolder,
    Yes,
    command,
    confirm,
    new_app,
    pretty,
    secrets_from,
    tell,
)

app = new_app("The approval policy: what each stage needs, and which statements are over.")


@command(app)
def show(workbench: WorkbenchFolder, *, as_json: AsJson = False) -> None:
    """Show the approval policy in force, and what the next one burns.

    Example:
      primum-repo policy show clinical
    """
    from primum_repo_tools.moments import now_utc
    from primum_repo_tools.policy import left_to_burn, published_policy
    from primum_repo_tools.repository import AuthorityRepository
    from primum_repo_tools.workbench import open_created

    repository = AuthorityRepository(open_created(workbench, authority="clinical"), now=now_utc())
    policy, left = published_policy(repository), left_to_burn(repository)
    content = policy.model_dump(mode="json", by_alias=True, exclude_none=True)
    lines = [pretty(policy.to_bytes())]
    lines += [f"The next policy burns {', '.join(left)}."] if left else []
    tell({"policy": content, "leftToBurn": list(left)}, *lines, as_json=as_json)


@command(app)
def sign(
    workbench: WorkbenchFolder,
    *,
    burn: Annotated[
        list[str] | None,
        typer.Option(metavar="SHA256", help="Statement that ends for good; repeat it."),
    ] = None,
    min_statement_number: Annotated[
        int, typer.Option(min=0, help="No statement below it counts any more.")
    ] = 0,
    unsafe_lift_notices: Annotated[
        bool,
        typer.Option(
            "--unsafe-lift-notices",
            help="Also where a notice in force loses its strength by it. Logged, shown.",
        ),
    ] = False,
    yes: Yes = False,
    passphrase_file: PassphraseFile = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Sign the next policy: requirements from workbench.toml, people as they are.

    What was withdrawn everywhere is burned with it. A number never falls, and what is burned
    stays burned. A notice in force that too few functions signed for it is first signed again.

    Example:
      primum-repo policy sign clinical
      primum-repo policy sign clinical --min-statement-number 4
    """
    from primum_repo_tools.evidence import Override
    from primum_repo_tools.moments import now_utc
    from primum_repo_tools.policy import is_changed, publish_policy, settled_policy
    from primum_repo_tools.repository import AuthorityRepository
    from primum_repo_tools.strength import loss_by, require_notices_stand
    from primum_repo_tools.workbench import open_created

    bench = open_created(workbench, authority="clinical")
    now = now_utc()
    with bench.locked():
        settings = bench.settings.policy
        if settings is None:
            raise RuntimeError("the settings were checked to hold a policy")
        policy = settled_policy(
            AuthorityRepository(bench, now=now),
            settings,
            burn=burn or (),
            min_statement_number=min_statement_number,
            now=now,
        )
        loss = loss_by(AuthorityRepository(bench, now=now), policy, now=now)
        shown = pretty(policy.to_bytes())
        if loss.notices:
            shown += f"\nNOTICES THAT LOSE THEIR STRENGTH: {', '.join(loss.notice_ids)}."
        data: dict[str, object] = {
            "policy": policy.model_dump(mode="json", by_alias=True, exclude_none=True),
            "lifted": list(loss.notice_ids),
            "weakened": list(loss.releases),
        }
        if not is_changed(AuthorityRepository(bench, now=now), policy):
            told = "The policy in force says all of this already. Nothing was signed."
            tell({**data, "unchanged": True}, told, as_json=as_json)
            return
        if dry_run:
            tell({**data, "dryRun": True}, shown, "Nothing was signed.", as_json=as_json)
            return
        if not as_json:
            tell({}, shown, as_json=False)
        confirm("Sign and publish this policy?", yes=yes)
        repository = AuthorityRepository(bench, now=now, secrets=secrets_from(passphrase_file))
        overrides = frozenset({Override.LIFT_NOTICES} if unsafe_lift_notices else ())
        require_notices_stand(bench, loss, overrides=overrides, now=now)
        publish_policy(bench, repository, policy, now=now)
        bench.record(
            "policy.signed",
            at=now,
            policy=policy.number,
            burned=[item.sha256 for item in policy.burned_statements],
            least=policy.min_statement_number,
        )
    tell(data, f"Policy {policy.number} is published.", as_json=as_json)
