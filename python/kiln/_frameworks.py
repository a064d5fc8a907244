"""The arrays that Kiln takes: Torch's, NumPy's, CuPy's, JAX's, and whatever has ``__dlpack__``.

None of the frameworks is imported here unless the caller handed over an array of it.
"""

from __future__ import annotations

import sys
from typing import Any

from ._errors import InvalidArgumentError, UnsupportedError, WrongTypeError

# The types of NumPy's extension ml_dtypes that NumPy's DLPack does not know, and the plain ones of
# the same size as which the library takes them (src/arguments.cpp).
_AS_BITS = {"float8_e4m3fn": "uint8", "bfloat16": "uint16"}

_DTYPES = {"bf16": "bfloat16", "bfloat16": "bfloat16", "fp32": "float32", "float32": "float32"}


def package_of(array: Any) -> str:
    """The top package of an array's type: ``"torch"``, ``"numpy"``, ``"cupy"``, ``"jaxlib"``..."""
    return type(array).__module__.partition(".")[0]


def _is_torch(array: Any) -> bool:
    # Not by the package: Parameters, fake tensors and callers' subclasses are tensors too.
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def torch_has_fast_dlpack(torch: Any) -> bool:
    """Whether tvm-ffi reads this Torch's tensors directly (Torch 2.10 and later)."""
    return hasattr(torch.Tensor, "__dlpack_c_exchange_api__")


def torch_argument(tensor: Any) -> Any:
    """A Torch tensor, or None, as tvm-ffi takes it: the DLPack of older ones knows no FP8."""
    import torch

    if tensor is None or torch_has_fast_dlpack(torch) or tensor.dtype != torch.float8_e4m3fn:
        return tensor
    return tensor.view(torch.uint8)


def tensor_argument(operation: str, name: str, array: Any, output: bool = False) -> Any:
    """`array` as tvm-ffi takes it, sharing its memory."""
    if array is None:
        return None
    if _is_torch(array):
        return torch_argument(array)
    package = package_of(array)
    if output and package.startswith("jax"):
        raise InvalidArgumentError(
            f"{operation}: {name} is a JAX array, wanted one that can be written"
        )
    if package in ("numpy", "cupy"):
        if output and package == "numpy" and not array.flags.writeable:
            raise InvalidArgumentError(
                f"{operation}: {name} is read-only, wanted one that can be written"
            )
        bits = _AS_BITS.get(array.dtype.name)
        if bits is not None:
            array = array.view(bits)
        elif array.dtype.kind not in "biufc" or not array.dtype.isnative:
            raise WrongTypeError(
                f"{operation}: {name} has dtype {array.dtype.str}, wanted a native number"
            )
        return array if package == "cupy" or array.flags.writeable else _unlocked(array)
    if not hasattr(array, "__dlpack__") and not hasattr(array, "__tvm_ffi_object__"):
        raise WrongTypeError(f"{operation}: {name} is a {type(array).__name__}, wanted a tensor")
    return array


def dtype_name(operation: str, dtype: Any) -> str:
    """``"bfloat16"`` or ``"float32"`` from a name or any framework's dtype; None is BF16."""
    if dtype is None:
        return "bfloat16"
    if not isinstance(dtype, str):
        dtype_text = getattr(dtype, "name", None) or getattr(dtype, "__name__", None) or str(dtype)
    else:
        dtype_text = dtype
    name = _DTYPES.get(dtype_text.rpartition(".")[2])
    if name is None:
        raise WrongTypeError(f"{operation}: out_dtype is {dtype_text}, wanted bf16 or fp32")
    return name


def empty(operation: str, like: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """An uninitialised array of `like`'s framework, on its device."""
    name = dtype_name(operation, dtype)
    if _is_torch(like):
        import torch

        return torch.empty(shape, dtype=getattr(torch, name), device=like.device)
    package = package_of(like)
    if package == "cupy":
        import cupy

        with like.device:
            return cupy.empty(shape, dtype=_numpy_dtype(operation, name))
    if package == "numpy" or (package.startswith("jax") and _on_cpu(like)):
        import numpy

        return numpy.empty(shape, dtype=_numpy_dtype(operation, name))
    raise UnsupportedError(
        f"{operation}: out is None, wanted a tensor to write to: one cannot be allocated like a "
        f"{type(like).__module__}.{type(like).__qualname__} here"
    )


def result(out: Any, like: Any) -> Any:
    """`out`, which empty() allocated, as an array of `like`'s framework."""
    if package_of(like).startswith("jax"):
        import jax.numpy

        return jax.numpy.asarray(out)
    return out


def stream_of(stream: Any, array: Any) -> int | None:
    """The CUDA stream as a number; None: the one that tvm-ffi finds (Torch's current stream)."""
    if stream is None:
        if package_of(array) != "cupy":
            return None
        import cupy

        return cupy.cuda.get_current_stream().ptr
    if isinstance(stream, int):
        return stream
    for name in ("cuda_stream", "ptr"):  # torch.cuda.Stream, cupy.cuda.Stream
        if hasattr(stream, name):
            return getattr(stream, name)
    if hasattr(stream, "__cuda_stream__"):
        return stream.__cuda_stream__()[1]
    raise WrongTypeError(
        f"stream is a {type(stream).__name__}, wanted an int, a stream of Torch or CuPy, or an "
        "object with __cuda_stream__"
    )


class _Unlocked:
    """The memory of a read-only NumPy array, as one that may be written."""

    def __init__(self, array: Any) -> None:
        self.owner = array
        self.__array_interface__ = {
            **array.__array_interface__,
            "data": (array.__array_interface__["data"][0], False),
        }


def _unlocked(array: Any) -> Any:
    """A view of a read-only array that DLPack lets pass, for an input: Kiln only reads those."""
    import numpy

    return numpy.asarray(_Unlocked(array))


def _on_cpu(array: Any) -> bool:
    return array.__dlpack_device__()[0] == 1


def _numpy_dtype(operation: str, name: str) -> Any:
    if name != "bfloat16":
        return name
    try:
        import ml_dtypes
    except ImportError:
        raise InvalidArgumentError(
            f"{operation}: out_dtype is bf16, which NumPy needs the package ml_dtypes for; install "
            'it, ask for out_dtype="fp32", or give out=, where uint16 stands for bf16'
        ) from None
    return ml_dtypes.bfloat16
