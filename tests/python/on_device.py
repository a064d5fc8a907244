"""Tensors that say they are in a device's memory, to anyone who asks by DLPack."""

from __future__ import annotations

import ctypes

import numpy as np


class _DLTensor(ctypes.Structure):
    """DLPack's DLManagedTensor."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", ctypes.c_int32 * 2),
        ("ndim", ctypes.c_int32),
        ("dtype", ctypes.c_uint8 * 4),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
        ("manager", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    ]


_CODES = {"u": 1, "i": 0, "f": 2}


class OnDevice:
    """A dense matrix of DLPack's type (code, bits) at an address."""

    def __init__(self, code, bits, shape, device, address):
        self.device, self.shape = device, shape
        self.dims = (ctypes.c_int64 * len(shape))(*shape)
        self.view = _DLTensor(
            address, device, len(shape), (code, bits, 1, 0), self.dims, None, 0, None, None
        )

    @classmethod
    def of(cls, array: np.ndarray, device) -> OnDevice:
        """An array's memory, said to be a device's."""
        kind = array.dtype
        self = cls(_CODES[kind.kind], kind.itemsize * 8, array.shape, device, array.ctypes.data)
        self.array = array
        return self

    def __dlpack__(self, **options):
        make = ctypes.pythonapi.PyCapsule_New
        make.restype = ctypes.py_object
        make.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        return make(ctypes.addressof(self.view), b"dltensor", None)

    def __dlpack_device__(self):
        return self.device
