"""The options that the commands for safety notices share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from primum_verifier.core.vocabulary import EpisodeRule

_MONTH = 30 * 86_400
"""Seconds; the longest that a notice may let something go on."""

Component = Annotated[str, typer.Option("--component", help="Of which component.")]
Version = Annotated[str, typer.Option("--version", help="Which release.")]
Why = Annotated[str, typer.Option("--reason", help="Why, in words.")]
Hazard = Annotated[str, typer.Option("--hazard", help="Hazard that it answers.")]
Code = Annotated[str, typer.Option("--code", help="Reason in a code.")]
UserNotice = Annotated[str, typer.Option("--user-notice", help="What the user is told.")]
People = Annotated[
    list[Path], typer.Option("--as", metavar="FOLDER", help="Person who signs; repeat it.")
]

Jurisdictions = Annotated[
    list[str] | None,
    typer.Option("--jurisdiction", help="Only for devices supplied there; repeat it."),
]
Sites = Annotated[
    list[str] | None, typer.Option("--site", help="Only for devices at this site; repeat it.")
]
SiteGroups = Annotated[
    list[str] | None,
    typer.Option("--site-group", help="Only for devices at sites of this group; repeat it."),
]
Models = Annotated[
    list[str] | None, typer.Option("--model-number", help="Only for this model; repeat it.")
]
Lots = Annotated[
    list[str] | None, typer.Option("--lot-number", help="Only for this lot; repeat it.")
]
Serials = Annotated[
    list[str] | None, typer.Option("--serial-number", help="Only for this device; repeat it.")
]

Grace = Annotated[
    int, typer.Option("--grace-seconds", min=0, max=_MONTH, help="How long it may go on.")
]
Episode = Annotated[
    EpisodeRule, typer.Option("--running-episode", help="What becomes of use that runs.")
]
MaxUse = Annotated[
    int | None,
    typer.Option(
        "--max-use-seconds", min=0, max=_MONTH, help="The longest a running episode goes on."
    ),
]
LookBack = Annotated[
    str | None,
    typer.Option(
        "--look-back-from", metavar="MOMENT", help="Outputs from then on are looked at again."
    ),
]
Preserve = Annotated[
    bool, typer.Option("--preserve-evidence", help="Devices keep what they recorded.")
]
FieldFile = Annotated[
    str | None,
    typer.Option("--field-action", metavar="AUTHORITY,NUMBER,TYPE", help="The regulator's file."),
]
Drill = Annotated[
    bool,
    typer.Option(
        "--drill", help="An exercise: only devices that take part act on it, for 72 hours."
    ),
]
