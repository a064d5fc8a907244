"""The operands as Torch tensors, and their equality."""

from __future__ import annotations


def tensors(torch, pairs, device):
    """Pairs (values, scales) on a device, E4M3 by its own dtype."""
    return tuple(
        (
            torch.from_numpy(values).to(device).view(torch.float8_e4m3fn),
            torch.from_numpy(scales).to(device),
        )
        for values, scales in pairs
    )


def equal(torch, x, y) -> bool:
    """Of every bit."""
    return x.dtype == y.dtype and torch.equal(
        x.contiguous().view(torch.uint8), y.contiguous().view(torch.uint8)
    )
