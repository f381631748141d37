"""``primum-repo init``."""

# ruff: noqa: PLC0415 - heavy parts are imported by the command that needs them
from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from primum_repo_tools.commands.common import AsJson, WorkbenchFolder, tell


def init(
    workbench: WorkbenchFolder,
    *,
    authority: Annotated[
        Literal["engineering", "clinical", "site"], typer.Option(help="Which authority works here.")
    ],
    title: Annotated[str, typer.Option(help="Name that people read.")] = "",
    peer: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Web root of the other authority, only ever read."),
    ] = None,
    site: Annotated[
        list[str] | None,
        typer.Option(help="Of a responsible organisation: a site that it speaks for; repeat it."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    r"""Make a workbench: folders and settings. Nothing is signed yet.

    Example:
      primum-repo init engineering --authority engineering --peer clinical/web
      primum-repo init clinical --authority clinical --peer engineering/web
      primum-repo init hospital --authority site --title "Hospital A" --site site-a \
        --peer clinical/web
    """
    from primum_repo_tools.moments import now_utc
    from primum_repo_tools.workbench import SETTINGS_FILE, create_workbench

    made = create_workbench(
        workbench,
        authority=authority,
        title=title or f"{authority} authority",
        peer=peer,
        now=now_utc(),
        sites=site or (),
    )
    keys = "" if authority == "site" else " --provisioning-key FILE ..."
    tell(
        {"workbench": str(made.folder), "authority": authority},
        f"Made the {authority} workbench {workbench}.",
        f"Read and edit {workbench / SETTINGS_FILE}, then: "
        f"primum-repo authority create {workbench}{keys}",
        as_json=as_json,
    )
