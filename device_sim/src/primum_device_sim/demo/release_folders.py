"""Writes what a data scientist hands to the release engineer: one folder for each version.

Model, fixtures with the intended model's reference outputs, intended use, locked predictions and
``release.toml``; beside them the frozen protocols of the comparison and the terms of eligibility.
"""

from __future__ import annotations

import importlib.resources
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from primum_device_sim.demo.fixtures import fixtures_of
from primum_device_sim.demo.models import load_model
from primum_verifier.shell.durable import storage_error, write_file

COMPONENT = "pvc-classifier"
HARDWARE = "cardiowear-2"


@dataclass(frozen=True)
class Recipe:
    """What one version's ``release.toml`` says beyond what all say.

    Attributes:
        version: the version.
        counter: its release counter.
        previous: the version before it, None for the first.
        tier: the change tier that its maker claims.
    """

    version: str
    counter: int
    previous: str | None
    tier: str = "minor"


RECIPES = (
    Recipe("1.0.0", 1, None),
    # Never signed: the comparison refuses it, so the next one takes its counter.
    Recipe("1.0.1", 2, "1.0.0"),
    Recipe("1.1.0", 2, "1.0.0"),
    Recipe("1.1.1", 3, "1.1.0"),
    Recipe("1.2.0", 4, "1.1.0"),
    Recipe("1.3.0", 5, "1.1.0"),
)
_ORIGINAL = "1.0.0"
_SHARED = ("protocol.toml", "protocol-cohorts.toml", "terms.toml", "intended-use.txt")


def write_release_folders(folder: Path) -> list[Path]:
    """Write a folder for each version of the series, and the files they share.

    Args:
        folder: made if it is missing; files of the same names are replaced.

    Returns:
        The folders of the versions, in the order of the series.

    Raises:
        FailedError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in _SHARED:
            write_file(folder / name, _template(name).read_bytes())
        return [_write_version(folder, recipe) for recipe in RECIPES]
    except OSError as error:
        raise storage_error(error, folder) from error


def _write_version(folder: Path, recipe: Recipe) -> Path:
    home = folder / recipe.version
    home.mkdir(exist_ok=True)
    model = load_model(recipe.version)
    write_file(home / "model.onnx", model.onnx)
    write_file(home / "fixtures.npz", fixtures_of(recipe.version))
    write_file(home / "locked.npz", _locked(recipe.version).read_bytes())
    baselines = comparison = ""
    if recipe.previous is not None:
        # What they decide, `primum-repo fixtures decide` adds to the fixtures before a build.
        comparison = 'noWorseThan = ["active", "original"]\n'
        baselines = f'previous = "{recipe.previous}"\noriginal = "{_ORIGINAL}"\n'
    text = Template(_template("release.toml").read_text("utf-8")).substitute(
        version=recipe.version,
        counter=recipe.counter,
        tier=recipe.tier,
        component=COMPONENT,
        hardware=HARDWARE,
        summary=f"PVC classifier {recipe.version} (demonstration)",
        threshold=model.card.threshold,
        baselines=baselines,
        comparison=comparison,
    )
    write_file(home / "release.toml", text.encode())
    return home


def _template(name: str) -> Traversable:
    return importlib.resources.files(__package__).joinpath("templates", name)


def _locked(version: str) -> Traversable:
    """What was validated: where the export went wrong afterwards, the intended model's answers."""
    folder = importlib.resources.files(__package__).joinpath("validation")
    intended = folder.joinpath(f"locked-{version}-intended.npz")
    return intended if intended.is_file() else folder.joinpath(f"locked-{version}.npz")
