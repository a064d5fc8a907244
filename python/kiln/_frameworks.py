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

# Names of the dtypes of outputs: Kiln's and the frameworks'.
_DTYPES = {
    "e4m3": "float8_e4m3fn",
    "float8_e4m3fn": "float8_e4m3fn",
    "bf16": "bfloat16",
    "bfloat16": "bfloat16",
    "fp32": "float32",
    "float32": "float32",
}
_KILNS = {"float8_e4m3fn": "e4m3", "bfloat16": "bf16", "float32": "fp32"}


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


def pair(operation: str, name: str, operand: Any, output: bool = False) -> tuple[Any, Any]:
    """The values and the scales of an operand, as tvm-ffi takes them."""
    if not isinstance(operand, (tuple, list)) or len(operand) != 2:
        came = (
            f"a {type(operand).__name__} of {len(operand)}"
            if isinstance(operand, (tuple, list))
            else f"a {type(operand).__name__}"
        )
        raise WrongTypeError(f"{operation}: {name} is {came}, wanted a pair (values, scales)")
    values, scales = operand
    for part, array in ((name, values), (name + ".scales", scales)):
        if array is None:
            raise WrongTypeError(f"{operation}: {part} is None, wanted a tensor")
    return (
        tensor_argument(operation, name, values, output),
        tensor_argument(operation, name + ".scales", scales, output),
    )


def tensor_shape(operation: str, name: str, array: Any, least: int, most: int = 3) -> Any:
    """The shape of a tensor of so many dimensions, which an output that is allocated needs."""
    if not hasattr(array, "shape"):
        came = "None" if array is None else f"a {type(array).__name__}"
        raise WrongTypeError(f"{operation}: {name} is {came}, wanted a tensor")
    if not least <= len(array.shape) <= most:
        wanted = str(least) if least == most else f"{least} or {most}"
        raise InvalidArgumentError(
            f"{operation}: {name} has {len(array.shape)} dimensions, wanted {wanted}"
        )
    return array.shape


def rows_of(operation: str, name: str, values: Any, rank: int) -> int:
    """The rows of an operand's matrix."""
    return tensor_shape(operation, name, values, rank, rank)[-2]


def dtype_name(operation: str, dtype: Any, known: tuple[str, ...] = ("bfloat16", "float32")) -> str:
    """One of the `known` names from a name or any framework's dtype; None is the first of them."""
    if dtype is None:
        return known[0]
    if not isinstance(dtype, str):
        dtype_text = getattr(dtype, "name", None) or getattr(dtype, "__name__", None) or str(dtype)
    else:
        dtype_text = dtype
    name = _DTYPES.get(dtype_text.rpartition(".")[2])
    if name not in known:
        wanted = " or ".join(_KILNS[each] for each in known)
        raise WrongTypeError(f"{operation}: out_dtype is {dtype_text}, wanted {wanted}")
    return name


def empty(operation: str, like: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """An uninitialised array of `like`'s framework, on its device, BF16 or FP32."""
    return allocate(operation, like, shape, dtype_name(operation, dtype))


def allocate(operation: str, like: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """The same, of a dtype by NumPy's or ml_dtypes' name, or of the framework's."""
    if _is_torch(like):
        import torch

        dtype = getattr(torch, dtype) if isinstance(dtype, str) else dtype
        return torch.empty(shape, dtype=dtype, device=like.device)
    package = package_of(like)
    if package == "cupy":
        import cupy

        # CuPy has no E4M3: the bytes.
        dtype = "uint8" if dtype == "float8_e4m3fn" else _numpy_dtype(operation, dtype)
        with like.device:
            return cupy.empty(shape, dtype=dtype)
    if package == "numpy" or (package.startswith("jax") and _on_cpu(like)):
        import numpy

        return numpy.empty(shape, dtype=_numpy_dtype(operation, dtype))
    raise UnsupportedError(
        f"{operation}: out is None, wanted a tensor to write to: one cannot be allocated like a "
        f"{type(like).__module__}.{type(like).__qualname__} here"
    )


def allocate_scales(operation: str, like: Any, shape: tuple[int, ...], by_columns: bool) -> Any:
    """FP32 scales whose rows, or by_columns whose columns, lie together and start on 16 bytes, as
    the copy engine wants them."""
    *batch, rows, columns = shape
    if by_columns:
        rows, columns = columns, rows
    padded = (columns + 3) // 4 * 4
    if _is_torch(like):
        import torch

        strides = (rows * padded,) * len(batch)
        strides += (1, padded) if by_columns else (padded, 1)
        return torch.empty_strided(shape, strides, dtype=torch.float32, device=like.device)
    memory = allocate(operation, like, (*batch, rows, padded), "float32")[..., :columns]
    return memory.swapaxes(-1, -2) if by_columns else memory


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


def _numpy_dtype(operation: str, dtype: Any) -> Any:
    if not isinstance(dtype, str) or dtype not in _AS_BITS:
        return dtype
    try:
        import ml_dtypes
    except ImportError:
        name = _KILNS[dtype]
        fp32 = 'ask for out_dtype="fp32", ' if name == "bf16" else ""
        raise InvalidArgumentError(
            f"{operation}: out would be {name}, which NumPy needs the package ml_dtypes for; "
            f"install it, {fp32}or give out=, where {_AS_BITS[dtype]} stands for {name}"
        ) from None
    return getattr(ml_dtypes, dtype)
