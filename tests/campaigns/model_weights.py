"""Mutations of a model's weights: each gives a model that still runs, and computes something else.

They are the ones that nothing but known inputs can find.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import onnx
from ml_dtypes import bfloat16
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from tests.campaigns.model_graphs import Change, weights_of

_MATRICES = ("hidden_weights", "hidden_bias", "output_weights", "output_bias")
Floats = NDArray[Any]


def _drawn(model: onnx.ModelProto, draw: random.Random) -> Any:
    return weights_of(model, draw.choice(_MATRICES))


def _put(tensor: Any, values: Floats) -> None:
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _floats(tensor: Any) -> Floats:
    return numpy_helper.to_array(tensor).copy()


def _noise(draw: random.Random, shape: tuple[int, ...]) -> Floats:
    source = np.random.Generator(np.random.PCG64(draw.getrandbits(64)))
    return source.normal(size=shape).astype(np.float32)


def _perturb(model: onnx.ModelProto, draw: random.Random) -> None:
    """Noise on one matrix, from what rounding does to what retraining does."""
    tensor = _drawn(model, draw)
    values = _floats(tensor)
    size = np.float32(10.0 ** -draw.uniform(0, 7))
    _put(tensor, values + size * np.abs(values).max() * _noise(draw, values.shape))


def _perturb_one(model: onnx.ModelProto, draw: random.Random) -> None:
    tensor = _drawn(model, draw)
    values = _floats(tensor)
    values.flat[draw.randrange(values.size)] *= np.float32(1 + draw.choice((-1, 1)) * draw.random())
    _put(tensor, values)


def _sign(model: onnx.ModelProto, draw: random.Random) -> None:
    """The sign of one weight, of a row, or of all."""
    tensor = _drawn(model, draw)
    values = _floats(tensor)
    match draw.randrange(3):
        case 0:
            values.flat[draw.randrange(values.size)] *= -1
        case 1:
            values[draw.randrange(values.shape[0])] *= -1
        case _:
            values *= -1
    _put(tensor, values)


def _dead_neuron(model: onnx.ModelProto, draw: random.Random) -> None:
    """One hidden unit says nothing any more, before or behind its weights."""
    if draw.random() < 0.5:
        tensor = weights_of(model, "output_weights")
        values = _floats(tensor)
        values[draw.randrange(values.shape[0])] = 0
    else:
        tensor = weights_of(model, "hidden_weights")
        values = _floats(tensor)
        values[:, draw.randrange(values.shape[1])] = 0
    _put(tensor, values)


def _exchange_rows(model: onnx.ModelProto, draw: random.Random) -> None:
    tensor = weights_of(model, draw.choice(("hidden_weights", "output_weights")))
    values = _floats(tensor)
    one, other = draw.sample(range(values.shape[0]), 2)
    values[[one, other]] = values[[other, one]]
    _put(tensor, values)


def _transposed(model: onnx.ModelProto, draw: random.Random) -> None:
    """The same numbers read in another order, with the shape that was wanted."""
    tensor = weights_of(model, draw.choice(("hidden_weights", "output_weights")))
    values = _floats(tensor)
    kept = values.T.reshape(values.shape) if draw.random() < 0.5 else values.T
    _put(tensor, np.ascontiguousarray(kept))


def _quantised(model: onnx.ModelProto, draw: random.Random) -> None:
    """All weights on a grid of some bits, as a smaller release would have them."""
    levels = 2 ** (draw.randint(2, 12) - 1)
    for name in _MATRICES:
        tensor = weights_of(model, name)
        values = _floats(tensor)
        step = np.abs(values).max() / levels
        _put(tensor, (np.round(values / step) * step).astype(np.float32))


def _small_type(model: onnx.ModelProto, draw: random.Random) -> None:
    """Weights through half precision and back: all, or one matrix."""
    kind = draw.choice((np.float16, bfloat16))
    for name in _MATRICES if draw.random() < 0.5 else (draw.choice(_MATRICES),):
        tensor = weights_of(model, name)
        _put(tensor, _floats(tensor).astype(kind).astype(np.float32))


def _bias_near_the_threshold(model: onnx.ModelProto, draw: random.Random) -> None:
    """A shift of every answer, from far below the tolerance up to decisions that flip."""
    tensor = weights_of(model, "output_bias")
    shift = draw.choice((-1, 1)) * 10.0 ** -draw.uniform(-0.5, 6)
    _put(tensor, (_floats(tensor) + shift).astype(np.float32))


def _no_number(model: onnx.ModelProto, draw: random.Random) -> None:
    """NaN or an infinity among the weights: one, or all of a matrix."""
    tensor = _drawn(model, draw)
    values = _floats(tensor)
    wrong = draw.choice((np.nan, np.inf, -np.inf))
    if draw.random() < 0.7:
        values.flat[draw.randrange(values.size)] = wrong
    else:
        values[...] = wrong
    _put(tensor, values)


def _constant(model: onnx.ModelProto, draw: random.Random) -> None:
    """A constant of the input checks or of the normalisation, moved."""
    singles = [one for one in model.graph.initializer if one.name not in _MATRICES]
    tensor = draw.choice(singles)
    values = _floats(tensor)
    if values.dtype == np.float32:
        factor = draw.choice((0.0, 0.5, 0.9, 0.999, 1.001, 1.1, 2.0, -1.0, 1000.0))
        moved = np.asarray(values * np.float32(factor), np.float32)
        if np.isnan(values).all():
            moved = np.asarray(draw.choice((0.0, 0.5, 1.0)), np.float32)
        _put(tensor, moved)
    else:
        values.flat[draw.randrange(values.size)] += draw.choice((-2, -1, 1, 2**40))
        _put(tensor, values)


def _stored_type(model: onnx.ModelProto, draw: random.Random) -> None:
    """An initialiser of another type: converted, or with the old bytes under a new name."""
    tensor = draw.choice(model.graph.initializer)
    if draw.random() < 0.5:
        kind = draw.choice((np.float64, np.float16, np.int32, np.int64))
        values = np.nan_to_num(_floats(tensor))
        _put(tensor, values.astype(kind))
    else:
        kinds = (TensorProto.INT32, TensorProto.DOUBLE, TensorProto.STRING, 0)
        tensor.data_type = draw.choice(kinds)


def _stored_shape(model: onnx.ModelProto, draw: random.Random) -> None:
    """Dimensions that do not fit the bytes, or fit them in another way."""
    tensor = _drawn(model, draw)
    match draw.randrange(3):
        case 0:
            tensor.dims[0] += draw.choice((-1, 1, 2**40))
        case 1:
            tensor.dims.append(draw.choice((1, 2, 0)))
        case _:
            tensor.raw_data = tensor.raw_data[: -draw.choice((1, 4, 8))]


WEIGHT_CHANGES: dict[str, Change] = {
    "perturb": _perturb,
    "perturb-one": _perturb_one,
    "sign": _sign,
    "dead-neuron": _dead_neuron,
    "exchange-rows": _exchange_rows,
    "transposed": _transposed,
    "quantised": _quantised,
    "small-type": _small_type,
    "bias-near-the-threshold": _bias_near_the_threshold,
    "no-number": _no_number,
    "constant": _constant,
    "stored-type": _stored_type,
    "stored-shape": _stored_shape,
}
"""Every mutation of weights by name."""
