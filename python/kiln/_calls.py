"""The operations.

A call is thin on purpose: with Torch tensors and no rare option it is a few type checks and one
call of the library, which reads shapes, strides, dtypes and Torch's current stream itself. All
else goes the longer way below it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ._errors import WrongTypeError
from ._frameworks import empty, pair, result, rows_of, tensor_argument, torch_has_fast_dlpack
from ._grouping import KINDS, Grouping
from ._library import function
from ._options import (
    GemmOptions,
    GroupedOptions,
    Recipe,
    Scaled,
    Tensor,
    choice,
    option_values,
    recipe_number,
)
from ._tracing import arguments_of, goes_to_torch, refuse_to_trace

if TYPE_CHECKING:
    from typing_extensions import Unpack

_gemm = function("gemm")
_gemm_prepare = function("gemm_prepare")
_gemm_workspace_bytes = function("gemm_workspace_bytes")
_grouped_gemm = function("grouped_gemm")
_grouped_gemm_prepare = function("grouped_gemm_prepare")
_grouped_gemm_workspace_bytes = function("grouped_gemm_workspace_bytes")

# Torch's tensor if Torch is loaded (tvm-ffi loads it where it is installed) and the short way is open
# to it; else of no array.
_TorchTensor: type | None = None


def _no_compiler() -> bool:
    return False


# Under torch.compile's tracing Dynamo takes this for True; eagerly it costs 30 ns.
_is_traced: Callable[[], bool] = _no_compiler


def _look_for_torch() -> None:
    global _TorchTensor, _is_traced
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "compiler") and torch_has_fast_dlpack(torch):
        _TorchTensor, _is_traced = torch.Tensor, torch.compiler.is_dynamo_compiling


_look_for_torch()


def _new_bf16(a: Tensor, b: Tensor) -> Tensor:
    """Torch's memory for D of A [M,K] and B [N,K]."""
    torch = sys.modules["torch"]
    shape = rows_of("gemm", "a", a, 2), rows_of("gemm", "b", b, 2)
    return torch.empty(shape, dtype=torch.bfloat16, device=a.device)


# The options that a server sets at every call, so that they take the short way too.
_LAUNCH_OPTIONS = {"sm_budget", "pdl"}


def _launch_values(options: GemmOptions) -> tuple[Any, ...]:
    """Those in the library's order (_options.py), after the two recipes."""
    if not options:
        return ()
    return None, None, None, None, None, options.get("sm_budget", 0), options.get("pdl", False)


def goes_straight(tensor: Any, options: Any) -> bool:
    """Whether an operation beside the GEMMs may take the short way."""
    return (
        type(tensor) is _TorchTensor
        and (not options or options.keys() <= _LAUNCH_OPTIONS)
        and not _is_traced()
    )


def straight_values(options: Any) -> tuple[Any, ...]:
    return _launch_values(options)[2:]


def gemm(
    a: Scaled,
    b: Scaled,
    out: Tensor | None = None,
    c: Tensor | None = None,
    **options: Unpack[GemmOptions],
) -> Tensor:
    """D = A * B^T (+ C) of E4M3 matrices with FP32 scales, exact to the bit. Returns D.

    a, b      pairs (values, scales). Values: E4M3 [M,K] and [N,K], K contiguous (in NumPy
              ml_dtypes.float8_e4m3fn, or uint8 for the bytes). Scales: FP32, of any positive
              strides, of A [M, cdiv(K,128)] (recipe row_1x128), of B [cdiv(N,128), cdiv(K,128)]
              (block_128x128) or [N, cdiv(K,128)] (row_1x128).
    out       D, BF16 or FP32 [M,N], N contiguous (in NumPy ml_dtypes.bfloat16, or uint16 for
              BF16's bits); None: allocated by the framework of A's values.
    c         BF16 or FP32 [M,N], N contiguous, added in FP32 before the rounding to D. It may be
              `out` itself.
    options   keywords; GemmOptions tells of each: out_dtype, a_recipe, b_recipe, device, stream,
              sm_budget, pdl, invariance, workspace, emulation.

    On a GPU the call is asynchronous and can be captured in a CUDA graph; the first call of a kind
    of kernel compiles it (gemm_prepare does so ahead of time).

    Raises, before anything is launched or written: InvalidArgumentError (a ValueError) naming the
    argument, WrongTypeError (a TypeError) for a type or dtype, UnsupportedError, NoDeviceError,
    NoCompilerError, CompileError, DriverError. All of them are kiln.Error.
    """
    # Keywords as one dictionary: filling in ten defaults takes 0.1 us, looking for none nothing.
    if (
        (not options or options.keys() <= _LAUNCH_OPTIONS)
        and type(a) is type(b) is tuple
        and len(a) == len(b) == 2
        and (type(out) is _TorchTensor or (out is None and type(a[0]) is _TorchTensor))
        and not _is_traced()
    ):
        a_values, a_scales = a
        b_values, b_scales = b
        if out is None:
            out = _new_bf16(a_values, b_values)
        if options:
            _gemm(a_values, a_scales, b_values, b_scales, out, c, *_launch_values(options))
        else:
            _gemm(a_values, a_scales, b_values, b_scales, out, c)
        return out
    return _gemm_call(_gemm, a, b, out, c, **options)


def grouped_gemm(
    a: Scaled,
    b: Scaled,
    groups: Grouping,
    out: Tensor | None = None,
    c: Tensor | None = None,
    **options: Unpack[GroupedOptions],
) -> Tensor:
    """D_g = A_g * B_g^T (+ C_g) for many groups of rows in one launch: a mixture of experts'
    GEMMs, exact to the bit. Returns D.

    a         a pair (values E4M3 [M,K], scales FP32 [M, cdiv(K,128)]); grouped by `masked`
              [G,Mmax,K] and [G, Mmax, cdiv(K,128)].
    b         a pair (values E4M3 [G,N,K], scales FP32 [G, cdiv(N,128), cdiv(K,128)] or
              [G, N, cdiv(K,128)]), G from 0 to 1024.
    groups    which rows are whose: Grouping.offsets(end), .aligned_offsets(end), .row_ids(ids),
              .masked(rows).
    out, c    D and C, BF16 or FP32 [M,N]; grouped by `masked` [G,Mmax,N]. Rows that are nobody's
              are not written, whatever D held stays there: in a D that is allocated, garbage.
    options   keywords; GroupedOptions tells of each: those of gemm(), and index_report.

    Row m of D is, bit for bit, what gemm() computes of row m of A and its group's B. Everything
    else, the errors too, is as in gemm().
    """
    if (
        (not options or options.keys() <= _LAUNCH_OPTIONS)
        and type(out) is _TorchTensor
        and type(groups) is Grouping
        and type(a) is type(b) is tuple
        and len(a) == len(b) == 2
        and groups[0] in KINDS
        and not _is_traced()
    ):
        a_values, a_scales = a
        b_values, b_scales = b
        kind, index, alignment, expected_rows = groups
        _grouped_gemm(
            KINDS[kind], a_values, a_scales, b_values, b_scales, out, index, c, alignment,
            expected_rows, *_launch_values(options),
        )  # fmt: skip
        return out
    return _grouped_call(_grouped_gemm, a, b, groups, out, c, **options)


@arguments_of(gemm)
def gemm_prepare(*arguments: Any, **options: Any) -> None:
    """Compiles and loads the kernel that gemm() would use with these arguments, without launching
    it: that call and every other of the same shape and types then finds it in memory."""
    _gemm_call(_gemm_prepare, *arguments, **options)


@arguments_of(gemm)
def gemm_workspace_bytes(*arguments: Any, **options: Any) -> int:
    """Bytes of `workspace` that gemm() needs with these arguments: always 0."""
    return _gemm_call(_gemm_workspace_bytes, *arguments, **options)


@arguments_of(grouped_gemm)
def grouped_gemm_prepare(*arguments: Any, **options: Any) -> None:
    """Compiles and loads the kernel that grouped_gemm() would use, without launching it."""
    _grouped_call(_grouped_gemm_prepare, *arguments, **options)


@arguments_of(grouped_gemm)
def grouped_gemm_workspace_bytes(*arguments: Any, **options: Any) -> int:
    """Bytes of `workspace` that grouped_gemm() needs with these arguments: always 0."""
    return _grouped_call(_grouped_gemm_workspace_bytes, *arguments, **options)


def _finish(call: Any, out: Tensor, allocated: bool, like: Tensor, launched: bool) -> Any:
    """What the public function returns: D of an operation, else what the library answered."""
    if not launched:
        return call
    return result(out, like) if allocated else out


def _gemm_call(
    library_function: Any,
    a: Scaled,
    b: Scaled,
    out: Tensor | None = None,
    c: Tensor | None = None,
    *,
    out_dtype: Any = None,
    a_recipe: Recipe | None = None,
    b_recipe: Recipe | None = None,
    **options: Any,
) -> Any:
    if _TorchTensor is None:
        _look_for_torch()
    a_pair, b_pair = pair("gemm", "a", a), pair("gemm", "b", b)
    allocated = out is None
    if allocated:
        shape = (rows_of("gemm", "a", a_pair[0], 2), rows_of("gemm", "b", b_pair[0], 2))
        out = empty("gemm", a[0], shape, out_dtype)
    values = (
        recipe_number("gemm", "a_recipe", a_recipe),
        recipe_number("gemm", "b_recipe", b_recipe),
        *option_values("gemm", out, **options),
    )
    if goes_to_torch(out):
        if library_function is not _gemm:
            raise refuse_to_trace("gemm")
        from . import _torch_ops

        _torch_ops.gemm(a_pair, b_pair, out, c, values)
        return out
    answer = library_function(
        *a_pair,
        *b_pair,
        tensor_argument("gemm", "out", out, output=True),
        tensor_argument("gemm", "c", c),
        *values,
    )
    return _finish(answer, out, allocated, a[0], library_function is _gemm)


def _grouped_call(
    library_function: Any,
    a: Scaled,
    b: Scaled,
    groups: Grouping,
    out: Tensor | None = None,
    c: Tensor | None = None,
    *,
    out_dtype: Any = None,
    a_recipe: Recipe | None = None,
    b_recipe: Recipe | None = None,
    **options: Any,
) -> Any:
    operation = "grouped_gemm"
    if _TorchTensor is None:
        _look_for_torch()
    if not isinstance(groups, Grouping):
        raise WrongTypeError(
            f"{operation}: groups is a {type(groups).__name__}, wanted a kiln.Grouping"
        )
    kind = choice(operation, "groups.kind", groups.kind, KINDS)
    index = tensor_argument(operation, "groups.index", groups.index)
    a_pair, b_pair = pair(operation, "a", a), pair(operation, "b", b)
    allocated = out is None
    if allocated:
        rank = 3 if groups.kind == "masked" else 2
        rows_of(operation, "a", a_pair[0], rank)
        columns = rows_of(operation, "b", b_pair[0], 3)
        out = empty(operation, a[0], (*a_pair[0].shape[:-1], columns), out_dtype)
    values = (
        recipe_number(operation, "a_recipe", a_recipe),
        recipe_number(operation, "b_recipe", b_recipe),
        *option_values(operation, out, indexed=True, **options),
    )
    if goes_to_torch(out):
        if library_function is not _grouped_gemm:
            raise refuse_to_trace(operation)
        from . import _torch_ops

        _torch_ops.grouped_gemm(kind, a_pair, b_pair, out, groups, c, values)
        return out
    answer = library_function(
        kind,
        *a_pair,
        *b_pair,
        tensor_argument(operation, "out", out, output=True),
        index,
        tensor_argument(operation, "c", c),
        groups.alignment,
        groups.expected_rows,
        *values,
    )
    return _finish(answer, out, allocated, a[0], library_function is _grouped_gemm)


# What Python says of a keyword that there is not should name the function that was called.
_gemm_call.__qualname__, _grouped_call.__qualname__ = "gemm", "grouped_gemm"
