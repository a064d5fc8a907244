"""Operands for the tests: random, the same in every run, as NumPy arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def e4m3(random: np.random.Generator, *shape: int) -> np.ndarray:
    """Bytes of finite E4M3 values of every exponent, zeros and both signs among them."""
    codes = random.integers(0, 256, shape, dtype=np.uint8)
    return np.where(codes & 0x7F == 0x7F, np.uint8(0x3A), codes)


def scales(random: np.random.Generator, *shape: int) -> np.ndarray:
    return np.exp2(random.uniform(-6, 6, shape)).astype(np.float32)


@dataclass
class Gemm:
    """The operands of one call; b_scales of blocks of 128 rows, or of rows."""

    m: int
    n: int
    k: int
    by_row: bool = False
    seed: int = 1

    def __post_init__(self) -> None:
        random = np.random.default_rng(self.seed)
        k_blocks = (self.k + 127) // 128
        self.a, self.b = e4m3(random, self.m, self.k), e4m3(random, self.n, self.k)
        self.a_scales = scales(random, self.m, k_blocks)
        self.b_scales = scales(random, self.n if self.by_row else (self.n + 127) // 128, k_blocks)
        self.c = random.normal(size=(self.m, self.n)).astype(np.float32)

    @property
    def pairs(self) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        return (self.a, self.a_scales), (self.b, self.b_scales)


@dataclass
class Grouped:
    """The operands of a grouped call with `groups` matrices B."""

    groups: int
    m: int
    n: int
    k: int
    seed: int = 2

    def __post_init__(self) -> None:
        random = np.random.default_rng(self.seed)
        k_blocks = (self.k + 127) // 128
        self.a, self.b = e4m3(random, self.m, self.k), e4m3(random, self.groups, self.n, self.k)
        self.a_scales = scales(random, self.m, k_blocks)
        self.b_scales = scales(random, self.groups, (self.n + 127) // 128, k_blocks)

    @property
    def pairs(self) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        return (self.a, self.a_scales), (self.b, self.b_scales)
