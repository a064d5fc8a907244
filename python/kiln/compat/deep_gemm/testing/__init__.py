"""The peer's measure of a difference."""

from __future__ import annotations

from typing import Any


def calc_diff(x: Any, y: Any) -> Any:
    """1 - 2 <x,y> / (<x,x> + <y,y>) in FP64: 0 for equal tensors, 1 for orthogonal ones; a scalar
    tensor. Two tensors of zeros are equal."""
    x, y = x.double(), y.double()
    size = (x * x + y * y).sum()
    return (1 - 2 * (x * y).sum() / size) if size != 0 else size
