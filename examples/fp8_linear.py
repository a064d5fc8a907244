"""A linear layer for training whose three products are FP8 GEMMs of Kiln's.

    forward           Y [T,N]  = X [T,K] * W [N,K]^T       X by 1x128, W by 128x128 blocks
    data gradient     dX [T,K] = dY [T,N] * W              dY by 1x128, the same codes of W, transposed
    weight gradient   dW [N,K] = dY^T [N,T] * X^T [K,T]^T  both by 1x128 along the tokens, FP32 out

Each tensor is read once to be quantised for both products that it takes part in. What is kept for the
way back is FP8: half of what BF16 would take. Weights and their gradients are FP32.
"""

from __future__ import annotations

import math

import torch

import kiln


class Fp8Product(torch.autograd.Function):
    """Y = X * W^T of X BF16 [T,K] and W FP32 [N,K]; BF16."""

    @staticmethod
    def forward(ctx, x, weight):
        x_rows, x_columns = kiln.quantize(x, transposed=True)
        w, w_transposed = kiln.quantize(weight, recipe="block_128x128", transposed=True)
        ctx.save_for_backward(*x_columns, *w_transposed)
        return kiln.gemm(x_rows, w)

    @staticmethod
    def backward(ctx, dy):
        x_columns, w_transposed = ctx.saved_tensors[:2], ctx.saved_tensors[2:]
        dy_rows, dy_columns = kiln.quantize(dy.contiguous(), transposed=True)
        dx = kiln.gemm(dy_rows, w_transposed) if ctx.needs_input_grad[0] else None
        dw = None
        if ctx.needs_input_grad[1]:
            dw = kiln.gemm(dy_columns, x_columns, b_recipe="row_1x128", out_dtype=torch.float32)
        return dx, dw


class Fp8Linear(torch.nn.Module):
    """Of `inputs` to `outputs` features, both multiples of 16, without a bias. Takes BF16 of any
    leading dimensions."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(outputs, inputs))
        torch.nn.init.normal_(self.weight, std=1 / math.sqrt(inputs))

    def forward(self, x):
        y = Fp8Product.apply(x.reshape(-1, x.shape[-1]), self.weight)
        return y.view(*x.shape[:-1], -1)


class Bf16Linear(Fp8Linear):
    """The same layer with Torch's BF16 products."""

    def forward(self, x):
        return torch.nn.functional.linear(x, self.weight.to(torch.bfloat16))
