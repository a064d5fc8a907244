"""What stands around the GEMMs in a model: quantisation, and SwiGLU with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

from ._calls import goes_straight, straight_values
from ._errors import WrongTypeError
from ._frameworks import (
    allocate,
    allocate_scales,
    dtype_name,
    pair,
    result,
    tensor_argument,
    tensor_shape,
)
from ._library import function
from ._options import (
    LAYOUTS,
    RECIPES,
    ROUNDINGS,
    CallOptions,
    IndexedOptions,
    Recipe,
    Rounding,
    Scaled,
    ScaleLayout,
    Tensor,
    by_columns,
    option_values,
    recipe_number,
    rounding_number,
)
from ._tracing import arguments_of, run

if TYPE_CHECKING:
    from typing_extensions import Unpack

_quantize = function("quantize")
_quantize_prepare = function("quantize_prepare")
_quantize_workspace_bytes = function("quantize_workspace_bytes")
_swiglu = function("swiglu")
_swiglu_prepare = function("swiglu_prepare")
_swiglu_workspace_bytes = function("swiglu_workspace_bytes")


@overload
def quantize(
    x: Tensor,
    out: Scaled | None = None,
    *,
    transposed: Literal[False] = False,
    recipe: Recipe = "row_1x128",
    scale_rounding: Rounding = "nearest",
    scale_layout: ScaleLayout = "row_major",
    **options: Unpack[CallOptions],
) -> Scaled: ...


@overload
def quantize(
    x: Tensor,
    out: Scaled | None = None,
    *,
    transposed: Literal[True] | Scaled,
    recipe: Recipe = "row_1x128",
    scale_rounding: Rounding = "nearest",
    scale_layout: ScaleLayout = "row_major",
    **options: Unpack[CallOptions],
) -> tuple[Scaled, Scaled]: ...


def quantize(
    x: Tensor,
    out: Scaled | None = None,
    *,
    transposed: bool | Scaled = False,
    recipe: Recipe = "row_1x128",
    scale_rounding: Rounding = "nearest",
    scale_layout: ScaleLayout = "row_major",
    **options: Unpack[CallOptions],
) -> Any:
    """X to E4M3 with FP32 scales, exact to the bit, in one launch. Returns (values, scales), or with
    `transposed` two such pairs: X's, and its transpose's.

    x           BF16 or FP32 [M,K], or a batch [B,M,K]; K contiguous, any row stride.
    out         a pair to write: values E4M3 [M,K], K contiguous; scales FP32 of any strides that
                keep elements apart, [M, cdiv(K,128)] (row_1x128) or [cdiv(M,128), cdiv(K,128)]
                (block_128x128). None: allocated.
    transposed  True, or a pair to write: the other direction too, from the same read of X: values
                E4M3 [K,M], M contiguous; scales [K, cdiv(M,128)], of 128 consecutive m of one k,
                or [cdiv(K,128), cdiv(M,128)], those of `out` transposed.
    recipe      "row_1x128": one scale for 128 consecutive k of one row; "block_128x128": for 128
                rows of such. The last block of a row or column may be shorter.
    scale_rounding  "nearest", or "power_of_two": rounded up to one, so that scaling is exact.
    scale_layout    of scales that are allocated: "row_major", or "column_major" (neighbouring rows
                lie together). Either starts its rows (columns) on 16 bytes, as GEMMs like it best,
                and so may be a view of memory that is a little larger.
    options     keywords; CallOptions tells of each: device, stream, sm_budget, pdl, invariance,
                workspace, emulation.

    A block's scale is s = fl(max(largest |x|, 1e-4) / 448), a value e4m3(fl(x * fl(1 / s))), to
    nearest even, saturated at +-448; so x is nearly value * s. include/kiln/quantize.hpp has the
    rest: NaN, infinity. Errors as in gemm().
    """
    if (
        transposed is False
        and goes_straight(x, options)
        and (out is None or (type(out) is tuple and len(out) == 2))
        and recipe in RECIPES
        and scale_rounding in ROUNDINGS
        and scale_layout in LAYOUTS
    ):
        if out is None:
            shape = tensor_shape("quantize", "x", x, 2)
            out = _new_pair("quantize", x, shape, RECIPES[recipe], LAYOUTS[scale_layout] == 1)
        _quantize(
            x, *out, None, None, RECIPES[recipe], ROUNDINGS[scale_rounding],
            *straight_values(options),
        )  # fmt: skip
        return out
    return _quantize_call(
        _quantize, x, out, transposed=transposed, recipe=recipe, scale_rounding=scale_rounding,
        scale_layout=scale_layout, **options,
    )  # fmt: skip


def swiglu(
    x: Tensor,
    out: Scaled | Tensor | None = None,
    *,
    clamp: float | None = None,
    weights: Tensor | None = None,
    rows: Tensor | None = None,
    out_dtype: Any = None,
    scale_rounding: Rounding = "nearest",
    scale_layout: ScaleLayout = "row_major",
    **options: Unpack[IndexedOptions],
) -> Any:
    """A = G / (1 + e^-G) * U * w of X = [G, U], quantised in the same pass. Returns (values, scales),
    or a BF16 tensor if `out` or `out_dtype` says so.

    x           BF16 [M,2H], or a batch [B,M,2H]: the gate G, then as many columns U; 2H contiguous,
                any row stride.
    out         a pair to write: E4M3 [M,H] and FP32 scales [M, cdiv(H,128)] of any strides that keep
                elements apart; or a BF16 tensor [M,H]. None: allocated.
    clamp       c > 0: G = min(G, c), U = min(max(U, -c), c).
    weights     FP32 [M] (of a batch [B,M]): w, the router's weight of each row; else 1.
    rows        int32 [1] (of a batch [B]) in the device's memory: only so many first rows (of each
                matrix) exist. The others are neither read nor written. `permutation.ends[-1:]`
                leaves out what is nobody's; of a batch it is what Grouping.masked takes.
    out_dtype   of an output that is allocated: "e4m3" (default) with scales, "bf16" without.
    scale_rounding, scale_layout  as in quantize().
    options     keywords; IndexedOptions tells of each: those of quantize(), and index_report, which
                is told of a number in `rows` that is out of range.

    Every bit is specified (include/kiln/swiglu.hpp). Errors as in gemm().
    """
    if (
        goes_straight(x, options)
        and (
            (out is None and out_dtype is None and x.dim() > 1)
            or (type(out) is tuple and len(out) == 2)
        )
        and scale_rounding in ROUNDINGS
        and scale_layout in LAYOUTS
    ):
        if out is None:
            shape = *x.shape[:-1], x.shape[-1] // 2
            out = _new_pair("swiglu", x, shape, 0, LAYOUTS[scale_layout] == 1)
        _swiglu(x, *out, clamp, weights, rows, ROUNDINGS[scale_rounding], *straight_values(options))
        return out
    return _swiglu_call(
        _swiglu, x, out, clamp=clamp, weights=weights, rows=rows, out_dtype=out_dtype,
        scale_rounding=scale_rounding, scale_layout=scale_layout, **options,
    )  # fmt: skip


@arguments_of(quantize)
def quantize_prepare(*arguments: Any, **options: Any) -> None:
    """Compiles and loads the kernel that quantize() would use, without launching it."""
    _quantize_call(_quantize_prepare, *arguments, **options)


@arguments_of(quantize)
def quantize_workspace_bytes(*arguments: Any, **options: Any) -> int:
    """Bytes of `workspace` that quantize() needs with these arguments: always 0."""
    return _quantize_call(_quantize_workspace_bytes, *arguments, **options)


@arguments_of(swiglu)
def swiglu_prepare(*arguments: Any, **options: Any) -> None:
    """Compiles and loads the kernel that swiglu() would use, without launching it."""
    _swiglu_call(_swiglu_prepare, *arguments, **options)


@arguments_of(swiglu)
def swiglu_workspace_bytes(*arguments: Any, **options: Any) -> int:
    """Bytes of `workspace` that swiglu() needs with these arguments: always 0."""
    return _swiglu_call(_swiglu_workspace_bytes, *arguments, **options)


def _blocks(size: int) -> int:
    return (size + 127) // 128


def _new_pair(operation: str, like: Tensor, shape: Any, recipe: int, columns: bool) -> Scaled:
    """Values of a shape, and their scales."""
    *batch, rows, k = shape
    scale_rows = _blocks(rows) if recipe else rows
    return (
        allocate(operation, like, tuple(shape), "float8_e4m3fn"),
        allocate_scales(operation, like, (*batch, scale_rows, _blocks(k)), columns),
    )


def _results(made: Any, like: Tensor) -> Scaled:
    """A pair that was allocated, as arrays of `like`'s framework."""
    return result(made[0], like), result(made[1], like)


def _quantize_call(
    form: Any,
    x: Tensor,
    out: Scaled | None = None,
    *,
    transposed: bool | Scaled = False,
    recipe: Recipe = "row_1x128",
    scale_rounding: Rounding = "nearest",
    scale_layout: ScaleLayout = "row_major",
    **options: Any,
) -> Any:
    operation = "quantize"
    number = recipe_number(operation, "recipe", recipe) or 0
    rounding = rounding_number(operation, scale_rounding)
    columns = by_columns(operation, scale_layout)
    made = out, transposed
    if out is None:
        out = _new_pair(operation, x, tensor_shape(operation, "x", x, 2), number, columns)
    if transposed is True:
        *batch, m, k = tensor_shape(operation, "x", x, 2)
        transposed = _new_pair(operation, x, (*batch, k, m), number, columns)
    operands = (
        tensor_argument(operation, "x", x),
        *pair(operation, "out", out, output=True),
        *(
            pair(operation, "transposed", transposed, output=True)
            if transposed is not False and transposed is not None
            else (None, None)
        ),
        number,
        rounding,
    )
    answer = run(operation, form, _quantize, operands, option_values(operation, x, **options))
    if form is not _quantize:
        return answer
    if made[0] is None:
        out = _results(out, x)
    if operands[3] is None:
        return out
    return out, _results(transposed, x) if made[1] is True else transposed


def _swiglu_call(
    form: Any,
    x: Tensor,
    out: Scaled | Tensor | None = None,
    *,
    clamp: float | None = None,
    weights: Tensor | None = None,
    rows: Tensor | None = None,
    out_dtype: Any = None,
    scale_rounding: Rounding = "nearest",
    scale_layout: ScaleLayout = "row_major",
    **options: Any,
) -> Any:
    operation = "swiglu"
    rounding = rounding_number(operation, scale_rounding)
    columns = by_columns(operation, scale_layout)
    allocated = out is None
    if allocated:
        *batch, doubled = tensor_shape(operation, "x", x, 2)
        shape = (*batch, doubled // 2)
        if dtype_name(operation, out_dtype, ("float8_e4m3fn", "bfloat16")) == "bfloat16":
            out = allocate(operation, x, shape, "bfloat16")
        else:
            out = _new_pair(operation, x, shape, 0, columns)
    quantised = isinstance(out, (tuple, list))
    if clamp is not None and not isinstance(clamp, (int, float)):
        raise WrongTypeError(f"{operation}: clamp is a {type(clamp).__name__}, wanted a float")
    operands = (
        tensor_argument(operation, "x", x),
        *(
            pair(operation, "out", out, output=True)
            if quantised
            else (tensor_argument(operation, "out", out, output=True), None)
        ),
        None if clamp is None else float(clamp),
        tensor_argument(operation, "weights", weights),
        tensor_argument(operation, "rows", rows),
        rounding,
    )
    values = option_values(operation, x, indexed=True, **options)
    answer = run(operation, form, _swiglu, operands, values)
    if form is not _swiglu:
        return answer
    if not allocated:
        return out
    return _results(out, x) if quantised else result(out, x)


# What Python says of a missing argument should name the function that was called.
_quantize_call.__qualname__, _swiglu_call.__qualname__ = "quantize", "swiglu"
