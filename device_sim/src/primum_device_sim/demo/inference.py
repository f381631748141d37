"""Runs a model file in this process, for building fixtures and for measuring; never on a device.

Rows go through one by one, as the wearable sees them: a model that declares a dynamic batch and
fails at two would otherwise be found out by the wrong person.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

# onnxruntime's Linux wheels report home by default, and only this, before the import, stops it.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

from primum_device_sim.demo.graph import ECG_INPUT, OUTPUT, RR_INPUT


def run_model(
    model: bytes, ecg_mv: NDArray[np.float32], rr_s: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The model's answers under onnxruntime's CPU provider, one thread: float32 [n, 1].

    Args:
        model: the bytes of a trusted ONNX file (this process is not confined).
        ecg_mv: float32 [n, 432], raw millivolts.
        rr_s: float32 [n, 3], seconds.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    rows = [
        session.run([OUTPUT], {ECG_INPUT: ecg_mv[row : row + 1], RR_INPUT: rr_s[row : row + 1]})[0]
        for row in range(ecg_mv.shape[0])
    ]
    return np.concatenate(rows).astype(np.float32)
