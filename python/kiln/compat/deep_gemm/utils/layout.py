"""Layouts of scales as the peer's callers know them. Kiln takes scales in any layout and needs none
of these; what they return is what the peer's return on Hopper."""

from __future__ import annotations

from typing import Any

from ...._errors import InvalidArgumentError
from .._knobs import (
    get_mk_alignment_for_contiguous_layout,
    get_theoretical_mk_alignment_for_contiguous_layout,
    set_mk_alignment_for_contiguous_layout,
)
from .._not_landed import refuse, stub
from .math import align, ceil_div

__all__ = [
    "get_col_major_tma_aligned_tensor",
    "get_k_alignment_for_contiguous_layout",
    "get_k_grouped_mn_major_tma_aligned_packed_ue8m0_tensor",
    "get_m_alignment_for_contiguous_layout",
    "get_mk_alignment_for_contiguous_layout",
    "get_mn_major_tma_aligned_packed_ue8m0_tensor",
    "get_mn_major_tma_aligned_tensor",
    "get_theoretical_mk_alignment_for_contiguous_layout",
    "get_tma_aligned_size",
    "set_mk_alignment_for_contiguous_layout",
    "transform_sf_into_required_layout",
]

get_m_alignment_for_contiguous_layout = get_mk_alignment_for_contiguous_layout
get_k_alignment_for_contiguous_layout = get_mk_alignment_for_contiguous_layout


def get_tma_aligned_size(x: int, element_size: int) -> int:
    """The elements to which a dimension of x is padded so that its rows are 16-byte aligned."""
    return align(x, 16 // element_size)


def _mn_major(x: Any) -> Any:
    """x [.., mn, k] in memory with mn contiguous, columns aligned to 16 bytes; x if it is so."""
    import torch

    mn, k = x.shape[-2:]
    stride = get_tma_aligned_size(mn, x.element_size())
    wanted = (stride * k, 1, stride) if x.dim() == 3 else (1, stride)
    if x.stride() == wanted:
        return x
    batch = x.shape[0] if x.dim() == 3 else 1
    memory = torch.empty_strided(
        (batch, mn, k), (stride * k, 1, stride), dtype=x.dtype, device=x.device
    )
    result = memory if x.dim() == 3 else memory[0]
    return result.copy_(x)


def _check_scales(name: str, x: Any) -> None:
    import torch

    if x.dtype != torch.float32 or x.dim() not in (2, 3):
        raise InvalidArgumentError(
            f"{name}: got {x.dtype} of {x.dim()} dimensions, wanted float32 of 2 or 3"
        )


def get_mn_major_tma_aligned_tensor(x: Any) -> Any:
    """FP32 scales [.., mn, k] with strides (.., 1, align(mn, 4)); x itself if it has them."""
    _check_scales("get_mn_major_tma_aligned_tensor", x)
    return _mn_major(x)


# Its name in the peer's first release.
get_col_major_tma_aligned_tensor = get_mn_major_tma_aligned_tensor


def get_mn_major_tma_aligned_packed_ue8m0_tensor(x: Any) -> Any:
    """FP32 scales [.., mn, k] as UE8M0 bytes (their exponents), four of a row to an int32:
    [.., mn, cdiv(k,4)], with strides (.., 1, align(mn, 4))."""
    import torch
    import torch.nn.functional

    _check_scales("get_mn_major_tma_aligned_packed_ue8m0_tensor", x)
    exponents = (x.contiguous().view(torch.int32) >> 23).to(torch.uint8)
    padded = torch.nn.functional.pad(exponents, (0, -x.shape[-1] % 4)).contiguous()
    return _mn_major(padded.view(torch.int32))


get_k_grouped_mn_major_tma_aligned_packed_ue8m0_tensor = stub(
    "get_k_grouped_mn_major_tma_aligned_packed_ue8m0_tensor"
)


def transform_sf_into_required_layout(
    sf: Any,
    mn: int,
    k: int,
    recipe: tuple[int, ...],
    num_groups: int | None = None,
    is_sfa: bool | None = None,
    disable_ue8m0_cast: bool = False,
    psum_layout: Any = None,
) -> Any:
    """Scales in the layout that the peer's Hopper kernels take: those of 1x128 MN-major and
    aligned, those of 128x128 as they are.

    sf          FP32 [mn / gran_mn, k / gran_k], with `num_groups` before it where that is given
    recipe      (gran_m, gran_n, gran_k), and `is_sfa` says which of the first two counts; or
                (gran_mn, gran_k)
    """
    name = "transform_sf_into_required_layout"
    if (len(recipe) == 3) != (is_sfa is not None) or len(recipe) not in (2, 3):
        raise InvalidArgumentError(
            f"{name}: got recipe {tuple(recipe)} and is_sfa {is_sfa}, wanted three numbers and "
            "is_sfa, or two and none"
        )
    rows = (recipe[0] if is_sfa else recipe[1]) if len(recipe) == 3 else recipe[0]
    columns = recipe[-1]
    if str(sf.dtype) != "torch.float32" or columns != 128 or rows not in (1, 128):
        raise refuse(name, f"{sf.dtype} scales of {rows}x{columns}")
    shape = (ceil_div(mn, rows), ceil_div(k, columns))
    wanted = shape if num_groups is None else (num_groups, *shape)
    if tuple(sf.shape) != wanted:
        raise InvalidArgumentError(
            f"{name}: sf has shape {list(sf.shape)}, wanted {list(wanted)} for {rows}x{columns}"
        )
    return get_mn_major_tma_aligned_tensor(sf) if rows == 1 else sf
