"""Rounding and quantisation as the peer's callers use them, by Torch's operations."""

from __future__ import annotations

from typing import Any

_LARGEST_E4M3 = 448.0
_LEAST_AMAX = 1e-4


def ceil_div(x: int, y: int) -> int:
    return -(-x // y)


def align(x: int, y: int) -> int:
    return ceil_div(x, y) * y


def ceil_to_ue8m0(x: Any) -> Any:
    """|x| rounded up to a power of two, FP32; at least 2^-126, at most 2^127."""
    import torch

    bits = x.abs().float().view(torch.int32)
    exponent = (bits + 0x7FFFFF) >> 23  # any fraction carries into the exponent
    return (exponent.clamp(1, 254) << 23).view(torch.float32)


def pack_ue8m0_to_int(x: Any) -> Any:
    """FP32 powers of two [..., 4 n] as UE8M0 bytes, four to an int32: [..., n]."""
    import torch

    bits = x.contiguous().view(torch.int32)
    if x.dtype != torch.float32 or x.shape[-1] % 4 or (bits & 0x7FFFFF).any():
        raise RuntimeError("pack_ue8m0_to_int: wanted FP32 powers of two, a multiple of 4 in a row")
    return (bits >> 23).to(torch.uint8).view(torch.int32)


def _scale(largest: Any, use_ue8m0: bool) -> Any:
    scale = largest.float().clamp(min=_LEAST_AMAX) / _LARGEST_E4M3
    return ceil_to_ue8m0(scale) if use_ue8m0 else scale


def _to_fp8(x: Any, scale: Any) -> Any:
    import torch

    return (x * (1.0 / scale)).to(torch.float8_e4m3fn)


def _blocks(x: Any, rows: int, columns: int) -> Any:
    """x [M,N] as [M/rows, rows, N/columns, columns], zeros where the last blocks end outside."""
    import torch.nn.functional

    m, n = x.shape
    padded = torch.nn.functional.pad(x, (0, -n % columns, 0, -m % rows))
    return padded.view(-1, rows, padded.shape[1] // columns, columns)


def _cast_blocks(x: Any, rows: int, columns: int, use_ue8m0: bool) -> tuple[Any, Any]:
    blocks = _blocks(x, rows, columns)
    scale = _scale(blocks.abs().amax(dim=(1, 3), keepdim=True), use_ue8m0)
    m, n = x.shape
    values = _to_fp8(blocks, scale).reshape(blocks.shape[0] * rows, -1)
    return values[:m, :n].contiguous(), scale[:, 0, :, 0]


def per_token_cast_to_fp8(
    x: Any, use_ue8m0: bool = False, gran_k: int = 128, use_packed_ue8m0: bool = False
) -> tuple[Any, Any]:
    """x [M,K] as E4M3, and a scale for every `gran_k` of a row: FP32 [M, cdiv(K,gran_k)], or packed
    as pack_ue8m0_to_int() does."""
    values, scale = _cast_blocks(x, 1, gran_k, use_ue8m0 or use_packed_ue8m0)
    return values, pack_ue8m0_to_int(scale) if use_packed_ue8m0 else scale


def per_channel_cast_to_fp8(x: Any, use_ue8m0: bool = False, gran_k: int = 128) -> tuple[Any, Any]:
    """x [K,N] as E4M3, and a scale for every `gran_k` of a column: FP32 [cdiv(K,gran_k), N]."""
    return _cast_blocks(x, gran_k, 1, use_ue8m0)


def per_block_cast_to_fp8(x: Any, use_ue8m0: bool = False, gran_k: int = 128) -> tuple[Any, Any]:
    """x [N,K] as E4M3, and a scale for every block of gran_k x gran_k: FP32 [cdiv(N,gran_k),
    cdiv(K,gran_k)]."""
    return _cast_blocks(x, gran_k, gran_k, use_ue8m0)


def per_custom_dims_cast_to_fp8(
    x: Any, dims: tuple[int, ...], use_ue8m0: bool = False
) -> tuple[Any, Any]:
    """x as E4M3, and a scale for every index along the dimensions `dims`."""
    others = tuple(i for i in range(x.dim()) if i not in dims)
    scale = _scale(x.abs().amax(dim=others, keepdim=True), use_ue8m0)
    return _to_fp8(x, scale), scale.squeeze()
