"""What the delta benchmark is run on: four versions of one model, and two trees of a real wheel.

The model is drawn from a seed, so that figures of two days compare.  The wheels come from the
package index that pip is set up for, into ``.cache/wheels``, and stay there.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "wheels"
WHEEL = "numpy"
VERSIONS = ("2.2.6", "2.3.3", "2.3.4")
"""A minor release, and a patch release after it."""

_SIZES = (1024, 1024, 1024, 1024, 1024, 1024, 1024, 1024, 128)
_SPREAD, _TRAINED = 0.05, 1e-3

Layer = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class Change:
    """One change to measure.

    Attributes:
        name: what changed.
        old: the file that a device holds.
        new: the file that it is to have.
    """

    name: str
    old: Path
    new: Path


def changes(folder: Path, *, with_wheels: bool) -> list[Change]:
    """Lay the files down, and fetch the wheels where they are asked for and missing."""
    chance = np.random.default_rng(7)

    def drawn(*shape: int) -> NDArray[np.float32]:
        return chance.normal(0, _SPREAD, shape).astype(np.float32)

    def trained(value: NDArray[np.float32]) -> NDArray[np.float32]:
        return (value + chance.normal(0, _TRAINED, value.shape)).astype(np.float32)

    layers: list[Layer] = [
        (drawn(before, after), drawn(after)) for before, after in pairwise(_SIZES)
    ]
    last = layers[-1]
    versions = {
        "old": _model(layers, "1.0.0"),
        "metadata only": _model(layers, "1.0.1 of May"),
        "last layer": _model([*layers[:-1], (trained(last[0]), trained(last[1]))], "1.1.0"),
        "every weight": _model([(trained(one), trained(two)) for one, two in layers], "2.0.0"),
    }
    for name, data in versions.items():
        (folder / f"{name}.onnx").write_bytes(data)
    found = [
        Change(name, folder / "old.onnx", folder / f"{name}.onnx")
        for name in versions
        if name != "old"
    ]
    if with_wheels:
        trees = {version: _tree(version, folder) for version in VERSIONS}
        minor, patch, newest = (trees[version] for version in VERSIONS)
        found += [Change("wheel, patch", patch, newest), Change("wheel, minor", minor, newest)]
    return found


def _model(layers: list[Layer], version: str) -> bytes:
    weights, nodes, at = [], [], "x"
    for number, (weight, bias) in enumerate(layers):
        names = f"w{number}", f"b{number}"
        weights += [
            numpy_helper.from_array(value, name)
            for value, name in zip((weight, bias), names, strict=True)
        ]
        nodes.append(helper.make_node("Gemm", [at, *names], [f"h{number}"]))
        nodes.append(helper.make_node("Relu", [f"h{number}"], [f"r{number}"]))
        at = f"r{number}"
    graph = helper.make_graph(
        nodes,
        "layers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", _SIZES[0]])],
        [helper.make_tensor_value_info(at, TensorProto.FLOAT, ["n", _SIZES[-1]])],
        weights,
    )
    model = helper.make_model(graph, producer_name="benchmark")
    helper.set_model_props(model, {"version": version})
    return bytes(model.SerializeToString())


def _tree(version: str, folder: Path) -> Path:
    """The files of a wheel as a plain pack carries them: in the order of their paths."""
    CACHE.mkdir(parents=True, exist_ok=True)
    pattern = f"{WHEEL}-{version}-*.whl"
    if not list(CACHE.glob(pattern)):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary=:all:", "--dest", str(CACHE), f"{WHEEL}=={version}"]
        subprocess.run(command, check=True)
    path = folder / f"tree-{version}"
    with zipfile.ZipFile(next(CACHE.glob(pattern))) as wheel, path.open("wb") as tree:
        for name in sorted(wheel.namelist()):
            tree.write(wheel.read(name))
    return path
