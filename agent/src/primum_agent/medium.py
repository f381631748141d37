"""A stick or a gateway's disk in place of the servers: plain copies of the web roots.

Nothing is trusted because of where it lies: the same client reads it and the same rules judge it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from primum_agent.gate_settings import Probe
from primum_agent.settings import Repositories, Repository, Settings
from primum_verifier.core.errors import UsageError
from primum_verifier.core.reasons import Reason

PARTS = ("metadata", "targets", "artifacts")
"""What a web root holds; only engineering's has artifacts."""

MEDIUM_MEMBERS = ("engineering", "clinical", "site")


def settings_for(settings: Settings, medium: Path) -> Settings:
    """The settings of a device for one attempt from a medium.

    Args:
        settings: the device's own.
        medium: a folder with the web roots ``engineering``, ``clinical`` and, where the settings
            name a site, ``site``; a site that is not on it is silent and stops new activations.

    Raises:
        UsageError: the folder is not there, or is no such copy.
    """
    roots = {name: medium.resolve() / name for name in MEDIUM_MEMBERS}
    missing = [
        str(roots[name] / "metadata")
        for name in ("engineering", "clinical")
        if not (roots[name] / "metadata").is_dir()
    ]
    if missing:
        raise UsageError(
            "This folder holds no copy of the repositories.",
            reason=Reason.USAGE,
            where=str(medium),
            found=f"no folder {', no folder '.join(missing)}",
            expected="engineering/ and clinical/, each with metadata/ and targets/, as published",
            remedy="Copy the web roots whole onto the medium, and name the folder that holds them.",
        )
    site = settings.repositories.site
    return replace(
        settings,
        repositories=Repositories(
            engineering=_repository(roots["engineering"]),
            clinical=_repository(roots["clinical"]),
            site=None if site is None else _repository(roots["site"]),
        ),
        # Nothing comes over the network.
        gates=replace(settings.gates, metered=Probe(), download_window=None),
    )


def _repository(root: Path) -> Repository:
    metadata, targets, artifacts = (f"{(root / part).as_uri()}/" for part in PARTS)
    return Repository(metadata_url=metadata, targets_url=targets, artifacts_url=artifacts)
