"""What D is, to the bit, in NumPy: written from include/kiln/gemm.hpp and arith/tensor_core.hpp, and
sharing nothing with the library that it checks. Finite values only.

A step of the tensor core is one sum of 32 products and the accumulator, every term cut toward zero
at 13 fraction bits below the largest exponent, and the sum cut to 13 fraction bits. Four steps make
the product of one block of K, which is scaled and added in FP32.
"""

from __future__ import annotations

import numpy as np

FRACTION_BITS = 13


def _parts(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """E4M3 bytes as signed significands and exponents: value = significand * 2^(exponent - 3)."""
    codes = codes.astype(np.int64)
    field, fraction = codes >> 3 & 15, codes & 7
    significand = np.where(field > 0, fraction + 8, fraction)
    return np.where(codes & 128, -significand, significand), np.maximum(field, 1) - 7


def _shift_toward_zero(values: np.ndarray, left: np.ndarray) -> np.ndarray:
    size = np.abs(values)
    shifted = np.where(left >= 0, size << np.maximum(left, 0), size >> np.minimum(-left, 63))
    return np.sign(values) * shifted


def _step(sums: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """sums [M,N] FP32 and the products of a [M,32] and b [N,32]."""
    (a_significand, a_exponent), (b_significand, b_exponent) = _parts(a), _parts(b)
    terms = a_significand[:, None, :] * b_significand[None, :, :]
    exponents = a_exponent[:, None, :] + b_exponent[None, :, :]
    # The accumulator: a significand of 24 bits in [1, 2) * 2^23.
    fraction, exponent = np.frexp(sums.astype(np.float64))
    sum_significand = np.rint(fraction * 2**24).astype(np.int64)
    sum_exponent = exponent.astype(np.int64) - 1
    nothing = -(2**20)
    largest = np.maximum(
        np.where(terms != 0, exponents, nothing).max(axis=2),
        np.where(sum_significand != 0, sum_exponent, nothing),
    )
    # In units of 2^(largest - 13).
    cut = _shift_toward_zero(terms, exponents - 6 - largest[:, :, None] + FRACTION_BITS)
    total = cut.sum(axis=2) + _shift_toward_zero(
        sum_significand, sum_exponent - 23 - largest + FRACTION_BITS
    )
    bits = np.frexp(np.abs(total).astype(np.float64))[1]
    excess = np.maximum(bits - (FRACTION_BITS + 1), 0)
    total = np.sign(total) * (np.abs(total) >> excess << excess)
    return np.ldexp(total.astype(np.float64), np.maximum(largest, -900) - FRACTION_BITS).astype(
        np.float32
    )


def _scale_rows(scales: np.ndarray, rows: int) -> np.ndarray:
    """Scales of blocks or rows, one row a row."""
    return scales if scales.shape[0] == rows else np.repeat(scales, 128, axis=0)[:rows]


def gemm(
    a: np.ndarray,
    a_scales: np.ndarray,
    b: np.ndarray,
    b_scales: np.ndarray,
    c: np.ndarray | None = None,
) -> np.ndarray:
    """T, FP32 [M,N], of E4M3 bytes a [M,K] and b [N,K]. D is T, or bf16(T)."""
    (m, k), n = a.shape, b.shape[0]
    sums = np.zeros((m, n), np.float32)
    a_rows, b_rows = _scale_rows(a_scales, m), _scale_rows(b_scales, n)
    for block in range((k + 127) // 128):
        product = np.zeros((m, n), np.float32)
        for first in range(block * 128, block * 128 + 128, 32):
            parts = [np.zeros((x.shape[0], 32), np.uint8) for x in (a, b)]
            for part, x in zip(parts, (a, b)):
                columns = x[:, first : first + 32]
                part[:, : columns.shape[1]] = columns
            product = _step(product, *parts)
        scale = a_rows[:, block][:, None] * b_rows[:, block][None, :]
        # An FMA: the exact product (38 bits) and sum, rounded once. 64 bits hold all but ties that
        # random data does not make.
        exact = scale.astype(np.longdouble) * product.astype(np.longdouble) + sums
        sums = exact.astype(np.float32)
    return sums if c is None else c.astype(np.float32) + sums


def bf16(values: np.ndarray) -> np.ndarray:
    """The bits of FP32 values rounded to nearest even, uint16."""
    bits = values.view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def quantize(
    x: np.ndarray, recipe: str = "row_1x128", power_of_two: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The E4M3 bytes [M,K] and the scales of x FP32 [M,K], from include/kiln/quantize.hpp."""
    import ml_dtypes

    m, k = x.shape
    rows = 1 if recipe == "row_1x128" else 128
    padded = np.zeros(((m + rows - 1) // rows * rows, (k + 127) // 128 * 128), np.float32)
    padded[:m, :k] = np.abs(x)
    largest = padded.reshape(-1, rows, padded.shape[1] // 128, 128).max(axis=(1, 3))
    scales = np.maximum(largest, np.float32(1e-4)) / np.float32(448)
    if power_of_two:
        fraction, exponent = np.frexp(scales)
        scales = np.ldexp(np.float32(1), exponent - (fraction == 0.5)).astype(np.float32)
    each = np.repeat(np.repeat(np.float32(1) / scales, rows, axis=0)[:m], 128, axis=1)[:, :k]
    values = np.clip(x * each, -448, 448).astype(ml_dtypes.float8_e4m3fn)
    return values.view(np.uint8), scales


def permute(ids: np.ndarray, groups: int, alignment: int, rows: int) -> tuple[np.ndarray, ...]:
    """ends, sources and rows of include/kiln/permute.hpp."""
    slots = ids.reshape(-1)
    sources, of_slot = np.full(rows, -1, np.int32), np.full(slots.size, -1, np.int32)
    ends, first = [], 0
    for group in range(groups):
        mine = np.flatnonzero(slots == group)
        if mine.size:
            first = (first + alignment - 1) // alignment * alignment
        sources[first : first + mine.size] = mine
        of_slot[mine] = np.arange(first, first + mine.size)
        first += mine.size
        ends.append(first)
    return np.array(ends, np.int32), sources, of_slot.reshape(ids.shape)


def unpermute(x: np.ndarray, rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The sum of fused multiply-adds, FP32 [T,H]; the exact one as in gemm()."""
    sums = np.zeros((rows.shape[0], x.shape[1]), np.float32)
    for slot in range(rows.shape[1]):
        there = (rows[:, slot] >= 0) & (rows[:, slot] < x.shape[0])
        taken = x[rows[there, slot]].astype(np.longdouble) * weights[there, slot, None]
        sums[there] = (taken + sums[there]).astype(np.float32)
    return sums
