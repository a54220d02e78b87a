"""What is drawn, as bytes for another process; arrays that are mapped from files stay there."""

import io
import mmap
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: object) -> Any:
        if isinstance(value, np.memmap) and isinstance(value.base, mmap.mmap):
            return _mapped, (str(value.filename), value.dtype.str, int(value.offset), value.shape)
        return NotImplemented


def pack(value: object) -> bytes:
    """Turn a value into bytes; of an array that is a mapped file, where it lies."""
    packed = io.BytesIO()
    _Pickler(packed, pickle.HIGHEST_PROTOCOL).dump(value)
    return packed.getvalue()


unpack: Callable[[bytes], Any] = pickle.loads
"""Make the value again; only of bytes that this service has packed itself."""


def _mapped(name: str, kind: str, offset: int, shape: tuple[int, ...]) -> Any:
    return np.memmap(name, np.dtype(kind), "r", offset, shape)
