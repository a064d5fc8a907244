"""The peer's FP8 GEMMs.

An operand is a pair (values, scales). `nt` is D = A * B^T (+ C) with A [M,K] and B [N,K]; in the
other names `t` of A and `n` of B are given transposed, [K,M] and [K,N], and must be so in memory
that K is contiguous, as on the peer's Hopper path.
"""

from __future__ import annotations

from typing import Any

from ..._calls import gemm, grouped_gemm
from ..._errors import InvalidArgumentError, WrongTypeError
from ..._grouping import Grouping
from ._knobs import settings
from ._not_landed import refuse

_Pair = tuple[Any, Any]
_Recipe = tuple[int, int, int] | None
_Part = tuple[int, int] | None


def _b_recipe(name: str, recipe: _Recipe, recipe_a: _Part, recipe_b: _Part) -> str | None:
    """Kiln's word for what the scales of B mean; None: by their shape, as by default."""
    if recipe is None and recipe_a is None and recipe_b is None:
        return None
    if recipe is not None:
        if recipe_a is not None or recipe_b is not None:
            raise InvalidArgumentError(f"{name}: got recipe and recipe_a or recipe_b, wanted one")
        m, n, k = recipe
        recipe_a, recipe_b = (m, k), (n, k)
    if recipe_a is None or recipe_b is None:
        raise InvalidArgumentError(f"{name}: got one of recipe_a and recipe_b, wanted both")
    a, b = tuple(recipe_a), tuple(recipe_b)
    if a != (1, 128) or b not in ((128, 128), (1, 128)):
        raise refuse(name, f"scales of {a[0]}x{a[1]} for A and {b[0]}x{b[1]} for B")
    return "block_128x128" if b[0] == 128 else "row_1x128"


def _options(b_recipe: str | None) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if b_recipe is not None:
        options["b_recipe"] = b_recipe
    if settings.num_sms:
        options["sm_budget"] = settings.num_sms
    if settings.pdl:
        options["pdl"] = True
    return options


def _dtype(array: Any) -> str:
    return str(getattr(array, "dtype", "")).rpartition(".")[2]


def _explained(name: str, error: WrongTypeError, *pairs: Any) -> Exception:
    """A wrong dtype that is one of the peer's is an operation that Kiln does not have."""
    for pair in pairs:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            continue
        values, scales = pair
        if _dtype(values) in ("int8", "float4_e2m1fn_x2"):
            return refuse(name, "FP4 operands")
        if _dtype(scales) in ("int32", "uint8", "float8_e8m0fnu"):
            return refuse(name, "UE8M0 scales")
    return error


def _dense(
    name: str, a: _Pair, b: _Pair, d: Any, c: Any, recipe: _Recipe, recipe_a: _Part, recipe_b: _Part
) -> None:
    try:
        gemm(a, b, d, c, **_options(_b_recipe(name, recipe, recipe_a, recipe_b)))
    except WrongTypeError as error:
        raise _explained(name, error, a, b) from None


def _transposed(pair: _Pair) -> _Pair:
    """The last two dimensions of both swapped: a view."""
    values, scales = pair
    return values.swapaxes(-1, -2), scales.swapaxes(-1, -2)


def fp8_gemm_nt(
    a: _Pair,
    b: _Pair,
    d: Any,
    c: Any = None,
    recipe: _Recipe = None,
    recipe_a: _Part = None,
    recipe_b: _Part = None,
    compiled_dims: str = "nk",
    disable_ue8m0_cast: bool = False,
) -> None:
    """D = A * B^T (+ C), FP8. A E4M3 [M,K] with scales FP32 [M, cdiv(K,128)], B E4M3 [N,K] with
    scales [cdiv(N,128), cdiv(K,128)] or [N, cdiv(K,128)], D and C BF16 or FP32 [M,N]; C may be D.
    `compiled_dims` and `disable_ue8m0_cast` change nothing here: nothing is cast."""
    _dense("fp8_gemm_nt", a, b, d, c, recipe, recipe_a, recipe_b)


def fp8_gemm_nn(
    a: _Pair,
    b: _Pair,
    d: Any,
    c: Any = None,
    recipe: _Recipe = None,
    recipe_a: _Part = None,
    recipe_b: _Part = None,
    compiled_dims: str = "nk",
    disable_ue8m0_cast: bool = False,
) -> None:
    """fp8_gemm_nt with B and its scales given as [K,N] and [cdiv(K,128), ...]."""
    _dense("fp8_gemm_nn", a, _transposed(b), d, c, recipe, recipe_a, recipe_b)


def fp8_gemm_tn(
    a: _Pair,
    b: _Pair,
    d: Any,
    c: Any = None,
    recipe: _Recipe = None,
    recipe_a: _Part = None,
    recipe_b: _Part = None,
    compiled_dims: str = "mn",
    disable_ue8m0_cast: bool = False,
) -> None:
    """fp8_gemm_nt with both operands and their scales given transposed."""
    _dense("fp8_gemm_tn", _transposed(a), _transposed(b), d, c, recipe, recipe_a, recipe_b)


def fp8_gemm_tt(
    a: _Pair,
    b: _Pair,
    d: Any,
    c: Any = None,
    recipe: _Recipe = None,
    recipe_a: _Part = None,
    recipe_b: _Part = None,
    compiled_dims: str = "mn",
    disable_ue8m0_cast: bool = False,
) -> None:
    """fp8_gemm_nt with A and its scales given as [K,M] and [cdiv(K,128), M]."""
    _dense("fp8_gemm_tt", _transposed(a), b, d, c, recipe, recipe_a, recipe_b)


def _zero_padding(d: Any, end: Any, alignment: int) -> None:
    """Zeroes the rows of D from each group's end to the next multiple of the alignment.

    Without reading anything on the host: `alignment - 1` rows a group are written, and those of
    them that are no padding are row 0 with what it holds. Row 0 is never padding: it is the first
    group's, or, if that has no rows, the first one's that has some.
    """
    import torch

    rows = end.long().clamp(0, d.shape[0])
    stop = ((rows + alignment - 1) // alignment * alignment).clamp(max=d.shape[0])
    row = rows[:, None] + torch.arange(alignment - 1, device=d.device)
    padding = row < stop[:, None]
    row = torch.where(padding, row, 0).flatten()
    d.index_copy_(0, row, torch.where(padding.flatten()[:, None], torch.zeros_like(d[0]), d[0]))


def _contiguous(
    name: str,
    a: _Pair,
    b: _Pair,
    d: Any,
    grouped_layout: Any,
    m_indices: Any,
    b_recipe: str | None,
    use_psum_layout: bool,
    ensure_zero_padding: bool,
    expected_m: int | None,
) -> None:
    if (grouped_layout is None) == (m_indices is None):
        raise InvalidArgumentError(f"{name}: wanted grouped_layout (or m_indices, its older name)")
    layout = m_indices if grouped_layout is None else grouped_layout
    alignment = settings.mk_alignment
    if use_psum_layout:
        groups = Grouping.aligned_offsets(layout, alignment, expected_m or 0)
    else:
        groups = Grouping.row_ids(layout, alignment)
    try:
        grouped_gemm(a, b, groups, d, **_options(b_recipe))
    except WrongTypeError as error:
        raise _explained(name, error, a, b) from None
    if use_psum_layout and ensure_zero_padding and alignment > 1 and d.shape[0] and len(layout):
        _zero_padding(d, layout, alignment)


def m_grouped_fp8_gemm_nt_contiguous(
    a: _Pair,
    b: _Pair,
    d: Any,
    grouped_layout: Any = None,
    recipe: _Recipe = None,
    recipe_a: _Part = None,
    recipe_b: _Part = None,
    compiled_dims: str = "nk",
    disable_ue8m0_cast: bool = False,
    use_psum_layout: bool = False,
    ensure_zero_padding: bool = True,
    expected_m_for_psum_layout: int | None = None,
    *,
    m_indices: Any = None,
) -> None:
    """Groups of rows of A [M,K], each with its own matrix of B [G,N,K], into D [M,N].

    grouped_layout  int32 [M]: the group of each row, -1 for none; the rows of a segment of
                    get_mk_alignment_for_contiguous_layout() rows are one group's or none's. Rows of
                    -1 are not written. `m_indices` is its older name.
    use_psum_layout  grouped_layout is int32 [G] instead: where each group's rows end; a group
                    starts at the end of the one before, aligned. An empty group's may be any value
                    up to that.
    ensure_zero_padding  of that layout: D's rows between a group's end and the next one's start
                    are zeroed (by a few small kernels of Torch's).
    """
    name = "m_grouped_fp8_gemm_nt_contiguous"
    _contiguous(
        name, a, b, d, grouped_layout, m_indices, _b_recipe(name, recipe, recipe_a, recipe_b),
        use_psum_layout, ensure_zero_padding, expected_m_for_psum_layout,
    )  # fmt: skip


def m_grouped_fp8_gemm_nn_contiguous(
    a: _Pair,
    b: _Pair,
    d: Any,
    grouped_layout: Any = None,
    recipe: _Recipe = None,
    recipe_a: _Part = None,
    recipe_b: _Part = None,
    compiled_dims: str = "nk",
    disable_ue8m0_cast: bool = False,
    use_psum_layout: bool = False,
    ensure_zero_padding: bool = True,
    *,
    m_indices: Any = None,
) -> None:
    """m_grouped_fp8_gemm_nt_contiguous with B and its scales given as [G,K,N]."""
    name = "m_grouped_fp8_gemm_nn_contiguous"
    _contiguous(
        name, a, _transposed(b), d, grouped_layout, m_indices,
        _b_recipe(name, recipe, recipe_a, recipe_b), use_psum_layout, ensure_zero_padding, None,
    )  # fmt: skip


def m_grouped_fp8_gemm_nt_masked(
    a: _Pair,
    b: _Pair,
    d: Any,
    masked_m: Any,
    expected_m: int,
    recipe: _Recipe = None,
    recipe_a: _Part = None,
    recipe_b: _Part = None,
    compiled_dims: str = "nk",
    disable_ue8m0_cast: bool = False,
    max_block_n: int = 256,
    enable_overlap: bool = False,
    signal: Any = None,
) -> None:
    """The first masked_m[g] rows of matrix g of A [G,Mmax,K], with matrix g of B [G,N,K], into D
    [G,Mmax,N], whose other rows are not written. `expected_m` steers the choice of a kernel, never
    the result. `max_block_n` has no effect."""
    name = "m_grouped_fp8_gemm_nt_masked"
    if enable_overlap or signal is not None:
        raise refuse(name, "signals for overlap with communication")
    options = _options(_b_recipe(name, recipe, recipe_a, recipe_b))
    try:
        grouped_gemm(a, b, Grouping.masked(masked_m, expected_m), d, **options)
    except WrongTypeError as error:
        raise _explained(name, error, a, b) from None


# One function by the names that releases of the peer have for it.
fp8_fp4_gemm_nt, fp8_fp4_gemm_nn = fp8_gemm_nt, fp8_gemm_nn
fp8_fp4_gemm_tn, fp8_fp4_gemm_tt = fp8_gemm_tn, fp8_gemm_tt
m_grouped_fp8_fp4_gemm_nt_contiguous = m_grouped_fp8_gemm_nt_contiguous
m_grouped_fp8_fp4_gemm_nn_contiguous = m_grouped_fp8_gemm_nn_contiguous
m_grouped_fp8_fp4_gemm_nt_masked = m_grouped_fp8_gemm_nt_masked
fp8_m_grouped_gemm_nt_masked = m_grouped_fp8_gemm_nt_masked


def gemm_fp8_fp8_bf16_nt(lhs: _Pair, rhs: _Pair, out: Any) -> None:
    """fp8_gemm_nt by its name in the peer's first release."""
    _dense("gemm_fp8_fp8_bf16_nt", lhs, rhs, out, None, None, None, None)


def m_grouped_gemm_fp8_fp8_bf16_nt_contiguous(
    lhs: _Pair, rhs: _Pair, out: Any, m_indices: Any
) -> None:
    """m_grouped_fp8_gemm_nt_contiguous by its name in the peer's first release."""
    name = "m_grouped_gemm_fp8_fp8_bf16_nt_contiguous"
    _contiguous(name, lhs, rhs, out, None, m_indices, None, False, False, None)


def m_grouped_gemm_fp8_fp8_bf16_nt_masked(
    lhs: _Pair, rhs: _Pair, out: Any, masked_m: Any, expected_m: int
) -> None:
    """m_grouped_fp8_gemm_nt_masked by its name in the peer's first release."""
    m_grouped_fp8_gemm_nt_masked(lhs, rhs, out, masked_m, expected_m)
