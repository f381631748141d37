"""The element types a self-test can compare, by the name that every other format calls them.

One table for the specification, the fixtures (NPY), the model file (``TensorProto.DataType`` of
ONNX 1.23) and the runtime, so that a type is read everywhere or nowhere.  Texts are in none of
them: a tensor of texts has no fixed size and no tolerance, and no device model needs one.

Standard library only: the confined process imports this module before it is confined.
"""

from __future__ import annotations

import struct
from enum import StrEnum
from typing import Final

Number = float | int


class ElementType(StrEnum):
    """One number of a tensor; little-endian wherever it stands in bytes."""

    FLOAT16 = "float16"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    INT8 = "int8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    UINT8 = "uint8"
    UINT16 = "uint16"
    UINT32 = "uint32"
    UINT64 = "uint64"
    BOOL = "bool"

    @property
    def size(self) -> int:
        """Bytes of one number."""
        return struct.calcsize(f"<{_CODES[self]}")

    @property
    def exact(self) -> bool:
        """Whether two of them agree only when they are the same: all but the floating ones."""
        return self not in FLOATING

    def unpack(self, data: bytes) -> tuple[Number, ...]:
        """The numbers in ``data``, which holds a whole count of them; a bool is 0 or 1."""
        return struct.unpack(f"<{len(data) // self.size}{_CODES[self]}", data)


FLOATING: Final = frozenset({ElementType.FLOAT16, ElementType.FLOAT32, ElementType.FLOAT64})

# A bool is read as a byte, so that a byte other than 0 and 1 is seen instead of taken for true.
_CODES: Final = {
    ElementType.FLOAT16: "e",
    ElementType.FLOAT32: "f",
    ElementType.FLOAT64: "d",
    ElementType.INT8: "b",
    ElementType.INT16: "h",
    ElementType.INT32: "i",
    ElementType.INT64: "q",
    ElementType.UINT8: "B",
    ElementType.UINT16: "H",
    ElementType.UINT32: "I",
    ElementType.UINT64: "Q",
    ElementType.BOOL: "B",
}

BY_NPY: Final = {
    "<f2": ElementType.FLOAT16,
    "<f4": ElementType.FLOAT32,
    "<f8": ElementType.FLOAT64,
    "|i1": ElementType.INT8,
    "<i2": ElementType.INT16,
    "<i4": ElementType.INT32,
    "<i8": ElementType.INT64,
    "|u1": ElementType.UINT8,
    "<u2": ElementType.UINT16,
    "<u4": ElementType.UINT32,
    "<u8": ElementType.UINT64,
    "|b1": ElementType.BOOL,
}
"""By the ``descr`` of an NPY header."""

BY_ONNX: Final = {
    1: ElementType.FLOAT32,
    2: ElementType.UINT8,
    3: ElementType.INT8,
    4: ElementType.UINT16,
    5: ElementType.INT16,
    6: ElementType.INT32,
    7: ElementType.INT64,
    9: ElementType.BOOL,
    10: ElementType.FLOAT16,
    11: ElementType.FLOAT64,
    12: ElementType.UINT32,
    13: ElementType.UINT64,
}
"""By ``TensorProto.DataType``."""

BY_RUNTIME: Final = {
    "tensor(float)": ElementType.FLOAT32,
    "tensor(double)": ElementType.FLOAT64,
    **{f"tensor({kind})": kind for kind in ElementType},
}
"""By what onnxruntime calls it; it knows two by their names in C."""
