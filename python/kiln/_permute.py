"""Rows of tokens to their experts and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ._calls import goes_straight, straight_values
from ._errors import WrongTypeError
from ._frameworks import (
    allocate,
    allocate_scales,
    empty,
    result,
    tensor_argument,
    tensor_shape,
)
from ._grouping import Grouping
from ._library import function
from ._options import (
    LAYOUTS,
    CallOptions,
    IndexedOptions,
    ScaleLayout,
    Tensor,
    by_columns,
    option_values,
)
from ._tracing import arguments_of, run

if TYPE_CHECKING:
    from typing_extensions import Unpack

_permute = function("permute")
_permute_prepare = function("permute_prepare")
_permute_workspace_bytes = function("permute_workspace_bytes")
_unpermute = function("unpermute")
_unpermute_prepare = function("unpermute_prepare")
_unpermute_workspace_bytes = function("unpermute_workspace_bytes")


class Permutation(NamedTuple):
    """What permute() writes, of T tokens with J slots each, G experts and R permuted rows. Within an
    expert rows are in the order of their slots."""

    ends: Tensor
    """int32 [G]: expert g has the rows [ends[g-1], ends[g]), or with an alignment from the next
    multiple of it on."""
    sources: Tensor
    """int32 [R]: the slot t * J + j of each permuted row, -1 for a row that is no slot's."""
    rows: Tensor
    """int32 [T,J]: the permuted row of each slot, -1 for a slot that is dropped."""
    values: Tensor | None = None
    """[R,H]: the row of its token; rows that are no slot's are as they were."""
    scales: Tensor | None = None
    """FP32 [R,Q], likewise."""
    weights: Tensor | None = None
    """FP32 [R]: the weight of its slot, likewise."""
    alignment: int = 1

    @property
    def grouping(self) -> Grouping:
        """The experts' rows, for grouped_gemm()."""
        if self.alignment == 1:
            return Grouping.offsets(self.ends)
        return Grouping.aligned_offsets(self.ends, self.alignment)


def most_permuted_rows(tokens: int, slots: int, groups: int, alignment: int = 1) -> int:
    """The rows R that permute() needs at most: tokens * slots, and what aligning adds."""
    return tokens * slots + min(groups, tokens * slots) * (alignment - 1)


def permute(
    ids: Tensor,
    groups: int,
    values: Tensor | None = None,
    scales: Tensor | None = None,
    weights: Tensor | None = None,
    out: Permutation | None = None,
    *,
    alignment: int = 1,
    scale_layout: ScaleLayout = "row_major",
    **options: Unpack[IndexedOptions],
) -> Permutation:
    """The rows of T tokens, by expert: where each expert's rows end, which row is whose, and the
    rows themselves. Returns a Permutation.

    ids        int32 or int64 [T,J], any strides: the expert of each slot, as a router's top-k gives
               it; -1 drops the slot. An id out of range counts as -1; `index_report` is told.
    groups     G, the number of experts, 1 to 1024.
    values     [T,H], H contiguous: E4M3, BF16, FP32, int32 or int64. None: nothing moves.
    scales     FP32 [T,Q], any strides: of the values.
    weights    FP32 [T,J], any strides: the router's.
    out        a Permutation to write; what is None in it is allocated. R rows, at least
               most_permuted_rows(T, J, G, alignment).
    alignment  rows at which an expert may start: 1 for Grouping.offsets, more for .aligned_offsets.
    scale_layout  of scales that are allocated: "row_major" or "column_major", as in quantize().
    options    keywords; IndexedOptions tells of each: device, stream, sm_budget, pdl, invariance,
               workspace, index_report, emulation.

    Nothing is read on the host, so the call can be captured in a CUDA graph. Errors as in gemm().
    """
    if (
        goes_straight(ids, options)
        and (out is None or type(out) is Permutation)
        and type(groups) is type(alignment) is int
        and scale_layout in LAYOUTS
    ):
        if out is None or not _is_complete(out, values, scales, weights, alignment):
            columns = LAYOUTS[scale_layout] == 1
            moved = values, scales, weights
            out = _new_permutation(out, ids, groups, moved, alignment, columns)
        ends, sources, rows, to_values, to_scales, to_weights, _ = out
        _permute(
            ids, groups, alignment, ends, sources, rows, values, to_values, scales, to_scales,
            weights, to_weights, *straight_values(options),
        )  # fmt: skip
        return out
    return _permute_call(
        _permute, ids, groups, values, scales, weights, out, alignment=alignment,
        scale_layout=scale_layout, **options,
    )  # fmt: skip


def unpermute(
    x: Tensor,
    rows: Tensor,
    weights: Tensor | None = None,
    out: Tensor | None = None,
    *,
    out_dtype: Any = None,
    **options: Unpack[CallOptions],
) -> Tensor:
    """The way back: each token is the sum of its slots' rows, times the router's weights. Returns
    out [T,H].

    x          BF16 or FP32 [R,H], by permuted row; H contiguous.
    rows       int32 [T,J], J contiguous: the permuted row of each slot (Permutation.rows). What is
               no row of x, -1 among it, is left out.
    weights    FP32 [T,J], any strides; None: 1.
    out        BF16 or FP32 [T,H], H contiguous. None: allocated.
    out_dtype  of an output that is allocated: "bf16" (default) or "fp32".
    options    keywords; CallOptions tells of each.

    The sum is one of FP32 fused multiply-adds in the order of the slots, rounded once to out's type.
    Errors as in gemm().
    """
    if out is not None and goes_straight(x, options):
        _unpermute(x, rows, weights, out, *straight_values(options))
        return out
    return _unpermute_call(_unpermute, x, rows, weights, out, out_dtype=out_dtype, **options)


@arguments_of(permute)
def permute_prepare(*arguments: Any, **options: Any) -> None:
    """Compiles and loads the kernels that permute() would use, without launching them."""
    _permute_call(_permute_prepare, *arguments, **options)


@arguments_of(permute)
def permute_workspace_bytes(*arguments: Any, **options: Any) -> int:
    """Bytes of `workspace` that permute() needs with these arguments: always 0."""
    return _permute_call(_permute_workspace_bytes, *arguments, **options)


@arguments_of(unpermute)
def unpermute_prepare(*arguments: Any, **options: Any) -> None:
    """Compiles and loads the kernel that unpermute() would use, without launching it."""
    _unpermute_call(_unpermute_prepare, *arguments, **options)


@arguments_of(unpermute)
def unpermute_workspace_bytes(*arguments: Any, **options: Any) -> int:
    """Bytes of `workspace` that unpermute() needs with these arguments: always 0."""
    return _unpermute_call(_unpermute_workspace_bytes, *arguments, **options)


def _is_complete(
    out: Permutation,
    values: Tensor | None,
    scales: Tensor | None,
    weights: Tensor | None,
    alignment: int,
) -> bool:
    """Whether a permutation has memory for all that a call is to write, and its alignment."""
    ends, sources, rows, to_values, to_scales, to_weights, aligned = out
    return (
        ends is not None
        and sources is not None
        and rows is not None
        and (values is None or to_values is not None)
        and (scales is None or to_scales is not None)
        and (weights is None or to_weights is not None)
        and aligned == alignment
    )


def _new_permutation(
    given: Permutation | None,
    ids: Tensor,
    groups: int,
    moved: tuple[Tensor | None, Tensor | None, Tensor | None],
    alignment: int,
    columns: bool,
) -> Permutation:
    """All that is to be written: what is given, and memory for what is not."""
    tokens, slots = tensor_shape("permute", "ids", ids, 2, 2)
    values, scales, weights = moved
    given = given or Permutation(None, None, None)

    def new(name: str, shape: tuple[int, ...], dtype: Any, like: Tensor = ids) -> Tensor:
        array = getattr(given, name)
        return allocate("permute", like, shape, dtype) if array is None else array

    rows = most_permuted_rows(tokens, slots, groups, alignment)
    sources = new("sources", (rows,), "int32")
    (rows,) = tensor_shape("permute", "out.sources", sources, 1, 1)
    to_values, to_scales, to_weights = given.values, given.scales, given.weights
    if values is not None and to_values is None:
        _, columns_ = tensor_shape("permute", "values", values, 2, 2)
        to_values = allocate("permute", values, (rows, columns_), values.dtype)
    if scales is not None and to_scales is None:
        _, columns_ = tensor_shape("permute", "scales", scales, 2, 2)
        to_scales = allocate_scales("permute", scales, (rows, columns_), columns)
    if weights is not None and to_weights is None:
        to_weights = allocate("permute", weights, (rows,), "float32")
    return Permutation(
        new("ends", (groups,), "int32"), sources, new("rows", (tokens, slots), "int32"),
        to_values, to_scales, to_weights, alignment,
    )  # fmt: skip


def _permute_call(
    form: Any,
    ids: Tensor,
    groups: int,
    values: Tensor | None = None,
    scales: Tensor | None = None,
    weights: Tensor | None = None,
    out: Permutation | None = None,
    *,
    alignment: int = 1,
    scale_layout: ScaleLayout = "row_major",
    **options: Any,
) -> Any:
    operation = "permute"
    for name, value in (("groups", groups), ("alignment", alignment)):
        if isinstance(value, (str, float)) or value is None:
            raise WrongTypeError(f"{operation}: {name} is a {type(value).__name__}, wanted an int")
    if out is not None and not isinstance(out, Permutation):
        raise WrongTypeError(
            f"{operation}: out is a {type(out).__name__}, wanted a kiln.Permutation"
        )
    columns = by_columns(operation, scale_layout)
    moved = values, scales, weights
    to = _new_permutation(out, ids, groups, moved, alignment, columns)
    written = {
        name: tensor_argument(operation, f"out.{name}", getattr(to, name), output=True)
        for name in ("ends", "sources", "rows", "values", "scales", "weights")
    }
    operands = (
        tensor_argument(operation, "ids", ids), groups, alignment,
        written["ends"], written["sources"], written["rows"],
        tensor_argument(operation, "values", values), written["values"],
        tensor_argument(operation, "scales", scales), written["scales"],
        tensor_argument(operation, "weights", weights), written["weights"],
    )  # fmt: skip
    numbers = option_values(operation, ids, indexed=True, **options)
    answer = run(operation, form, _permute, operands, numbers)
    if form is not _permute:
        return answer
    return Permutation._make((*(result(x, ids) for x in to[:6]), alignment)) if out is None else to


def _unpermute_call(
    form: Any,
    x: Tensor,
    rows: Tensor,
    weights: Tensor | None = None,
    out: Tensor | None = None,
    *,
    out_dtype: Any = None,
    **options: Any,
) -> Any:
    operation = "unpermute"
    allocated = out is None
    if allocated:
        _, columns = tensor_shape(operation, "x", x, 2, 2)
        tokens, _ = tensor_shape(operation, "rows", rows, 2, 2)
        out = empty(operation, x, (tokens, columns), out_dtype)
    operands = (
        tensor_argument(operation, "x", x),
        tensor_argument(operation, "rows", rows),
        tensor_argument(operation, "weights", weights),
        tensor_argument(operation, "out", out, output=True),
    )
    answer = run(operation, form, _unpermute, operands, option_values(operation, x, **options))
    if form is not _unpermute:
        return answer
    return result(out, x) if allocated else out


# What Python says of a missing argument should name the function that was called.
_permute_call.__qualname__, _unpermute_call.__qualname__ = "permute", "unpermute"
