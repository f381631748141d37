"""Writes the trained weights as an ONNX model that takes raw millivolts and RR intervals.

Everything between the sensor and the answer is in the graph: baseline, averaging, relative
intervals, the network, and the input checks that make the model say nothing rather than something
wrong. The answer is NaN, "no decision", where

- any input is NaN or infinite (``0 * sum`` carries it through, whatever a kernel's ``Relu`` or
  ``Clip`` makes of NaN),
- a sample lies beyond what the converter can deliver (a wrong gain or unit),
- more than a tenth of the window sits at the converter's rails (saturation),
- the window spans less than 0.1 mV (lead off, constant input),
- an RR interval is shorter than 0.15 s (no heart does that: a detector's fault).

A healthy-looking window at a moderately wrong gain is not recognised; the model then answers.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from primum_device_sim.demo.features import RR_COUNT, WINDOW_SAMPLES
from primum_device_sim.demo.training import (
    BASELINE_SAMPLES,
    POOL_SAMPLES,
    RR_RATIO_HIGH,
    RR_RATIO_LOW,
    RR_SCALE,
    Weights,
)

OPSET: Final = 17
IR_VERSION: Final = 8
ECG_INPUT: Final = "ecg_mv"
RR_INPUT: Final = "rr_s"
OUTPUT: Final = "pvc_probability"

# The converter spans -5.12 to 5.115 mV.
LARGEST_MV: Final = 6.0
RAIL_MV: Final = 5.1
LARGEST_RAIL_SHARE: Final = 0.1
SMALLEST_SPAN_MV: Final = 0.1
SMALLEST_RR_S: Final = 0.15


def onnx_bytes(weights: Weights, *, version: str, swap_intervals: bool = False) -> bytes:
    """The model file: a few kilobytes, the same bytes for the same weights.

    Args:
        weights: as ``training.train`` returns them; exact in float32.
        version: the release version, written into the file for people.
        swap_intervals: export with the preceding and the following interval in each other's place,
            as a real export mistake would; only the release that is broken on purpose does.
    """
    nodes = [*_normalisation(swap_intervals=swap_intervals), *_network(), *_input_checks()]
    graph = helper.make_graph(
        nodes,
        "pvc-classifier",
        [
            helper.make_tensor_value_info(ECG_INPUT, TensorProto.FLOAT, ["batch", WINDOW_SAMPLES]),
            helper.make_tensor_value_info(RR_INPUT, TensorProto.FLOAT, ["batch", RR_COUNT]),
        ],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", 1])],
        initializer=[
            numpy_helper.from_array(array, name) for name, array in _constants(weights).items()
        ],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="primum-demo",
        producer_version=version,
        doc_string="Demonstration only: not a medical device, no clinical claim.",
    )
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _normalisation(*, swap_intervals: bool) -> list[onnx.NodeProto]:
    first, second = ("rr_after", "rr_before") if swap_intervals else ("rr_before", "rr_after")
    return [
        helper.make_node("Unsqueeze", [ECG_INPUT, "axis_1"], ["signal"]),
        helper.make_node(
            "AveragePool",
            ["signal"],
            ["baseline"],
            kernel_shape=[BASELINE_SAMPLES],
            pads=[BASELINE_SAMPLES // 2, BASELINE_SAMPLES // 2],
            count_include_pad=0,
        ),
        helper.make_node("Sub", ["signal", "baseline"], ["level"]),
        helper.make_node(
            "AveragePool",
            ["level"],
            ["pooled"],
            kernel_shape=[POOL_SAMPLES],
            strides=[POOL_SAMPLES],
        ),
        helper.make_node("Flatten", ["pooled"], ["shape_inputs"], axis=1),
        helper.make_node("Split", [RR_INPUT, "ones"], [first, second, "rr_mean"], axis=1),
        helper.make_node("Concat", ["rr_before", "rr_after"], ["rr_pair"], axis=1),
        helper.make_node("Div", ["rr_pair", "rr_mean"], ["rr_ratio"]),
        helper.make_node("Clip", ["rr_ratio", "ratio_low", "ratio_high"], ["rr_bounded"]),
        helper.make_node("Sub", ["rr_bounded", "one"], ["rr_centred"]),
        helper.make_node("Mul", ["rr_centred", "rr_scale"], ["rr_inputs"]),
        helper.make_node("Concat", ["shape_inputs", "rr_inputs"], ["inputs"], axis=1),
    ]


def _network() -> list[onnx.NodeProto]:
    return [
        helper.make_node("Gemm", ["inputs", "hidden_weights", "hidden_bias"], ["hidden_sum"]),
        helper.make_node("Relu", ["hidden_sum"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "output_weights", "output_bias"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["probability"]),
    ]


def _input_checks() -> list[onnx.NodeProto]:
    return [
        helper.make_node("Abs", [ECG_INPUT], ["size"]),
        helper.make_node("ReduceMax", ["size"], ["largest"], axes=[1], keepdims=1),
        helper.make_node("LessOrEqual", ["largest", "largest_mv"], ["in_range"]),
        helper.make_node("GreaterOrEqual", ["size", "rail_mv"], ["at_rail"]),
        helper.make_node("Cast", ["at_rail"], ["at_rail_count"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["at_rail_count"], ["rail_share"], axes=[1], keepdims=1),
        helper.make_node("LessOrEqual", ["rail_share", "largest_rail_share"], ["unsaturated"]),
        helper.make_node("ReduceMax", [ECG_INPUT], ["top"], axes=[1], keepdims=1),
        helper.make_node("ReduceMin", [ECG_INPUT], ["bottom"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["top", "bottom"], ["span"]),
        helper.make_node("GreaterOrEqual", ["span", "smallest_span_mv"], ["alive"]),
        helper.make_node("ReduceMin", [RR_INPUT], ["shortest"], axes=[1], keepdims=1),
        helper.make_node("GreaterOrEqual", ["shortest", "smallest_rr_s"], ["rr_possible"]),
        helper.make_node("And", ["in_range", "unsaturated"], ["usable_level"]),
        helper.make_node("And", ["alive", "rr_possible"], ["usable_beat"]),
        helper.make_node("And", ["usable_level", "usable_beat"], ["usable"]),
        helper.make_node("Where", ["usable", "probability", "no_decision"], ["checked"]),
        helper.make_node("Concat", [ECG_INPUT, RR_INPUT], ["everything"], axis=1),
        helper.make_node("Mul", ["everything", "zero"], ["nothing"]),
        helper.make_node("ReduceSum", ["nothing", "axis_1"], ["nan_or_zero"], keepdims=1),
        helper.make_node("Add", ["checked", "nan_or_zero"], [OUTPUT]),
    ]


def _constants(weights: Weights) -> dict[str, NDArray[np.generic]]:
    scalars = {
        "one": 1.0,
        "zero": 0.0,
        "ratio_low": RR_RATIO_LOW,
        "ratio_high": RR_RATIO_HIGH,
        "rr_scale": RR_SCALE,
        "largest_mv": LARGEST_MV,
        "rail_mv": RAIL_MV,
        "largest_rail_share": LARGEST_RAIL_SHARE,
        "smallest_span_mv": SMALLEST_SPAN_MV,
        "smallest_rr_s": SMALLEST_RR_S,
        "no_decision": np.nan,
    }
    return {
        "axis_1": np.array([1], dtype=np.int64),
        "ones": np.ones(RR_COUNT, dtype=np.int64),
        **{name: np.array(value, dtype=np.float32) for name, value in scalars.items()},
        "hidden_weights": weights.hidden.astype(np.float32),
        "hidden_bias": weights.hidden_bias.astype(np.float32),
        "output_weights": weights.output.astype(np.float32),
        "output_bias": weights.output_bias.astype(np.float32),
    }
