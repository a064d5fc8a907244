#!/usr/bin/env python3
"""Second peers of `kiln bench grouped` at small sizes: a Triton kernel and Torch's own grouped GEMM.

Needs Torch with Triton on a Hopper GPU. Timed as `kiln bench --flush clean` does it: kernel times
from CUPTI (through Torch's profiler), an 8 GB fill and a 400 MB read before every run.

    python3 bench/peers/grouped.py OUT.json [--runs 12]

The Triton kernel takes what Kiln takes: E4M3, scales 1x128 of A and 128x128 of B, exact groups. It
is a plain one, as engines carry it: a program a tile of BLOCK_M rows of one group, whose group and
first row a host-made list names; of four tile shapes the fastest counts. `torch._scaled_grouped_mm`
has one scale a row of A and a row of B instead, which is less work.
"""

import argparse
import json
import sys

import torch
import triton
import triton.language as tl
from torch.profiler import ProfilerActivity, profile


@triton.jit
def grouped_fp8_kernel(a, b, d, a_scales, b_scales, tile_group, tile_row, group_end, n, k,
                       a_scale_stride, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    tile = tl.program_id(1)
    group = tl.load(tile_group + tile).to(tl.int64)
    rows = tl.load(tile_row + tile) + tl.arange(0, BLOCK_M)
    exists = rows < tl.load(group_end + group)
    columns = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    inner = tl.arange(0, 128)
    b += group * n * k
    b_scales += group * (n // 128) * (k // 128)
    total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for block in range(0, k // 128):
        x = tl.load(a + rows[:, None].to(tl.int64) * k + (block * 128 + inner)[None, :],
                    mask=exists[:, None], other=0.0)
        w = tl.load(b + columns[None, :].to(tl.int64) * k + (block * 128 + inner)[:, None])
        sx = tl.load(a_scales + block * a_scale_stride + rows, mask=exists, other=0.0)
        sw = tl.load(b_scales + columns // 128 * (k // 128) + block)
        total += tl.dot(x, w) * sx[:, None] * sw[None, :]
    tl.store(d + rows[:, None].to(tl.int64) * n + columns[None, :], total.to(tl.bfloat16),
             mask=exists[:, None])


class Problem:
    """Random normals, quantised, like Kiln's own benchmark."""

    def __init__(self, groups, rows, n, k):
        self.groups, self.rows, self.n, self.k = groups, rows, n, k
        m, q = groups * rows, k // 128
        x = torch.randn(m, k, device="cuda")
        blocks = x.view(m, q, 128)
        scale = blocks.abs().amax(-1, keepdim=True) / 448
        self.a = (blocks / scale).view(m, k).to(torch.float8_e4m3fn)
        self.a_scales = scale.view(m, q).t().contiguous()  # [q, m]
        self.b = torch.empty(groups, n, k, device="cuda", dtype=torch.float8_e4m3fn)
        self.b_scales = torch.empty(groups, n // 128, q, device="cuda")
        for g in range(groups):
            w = torch.randn(n // 128, 128, q, 128, device="cuda")
            s = w.abs().amax((1, 3), keepdim=True) / 448
            self.b[g] = (w / s).view(n, k).to(torch.float8_e4m3fn)
            self.b_scales[g] = s.view(n // 128, q)
        self.ends = torch.arange(1, groups + 1, device="cuda", dtype=torch.int32) * rows
        self.d = torch.empty(m, n, device="cuda", dtype=torch.bfloat16)

    def triton(self, block_m, block_n, warps, stages):
        tiles = [(g, g * self.rows + r) for g in range(self.groups)
                 for r in range(0, self.rows, block_m)]
        group = torch.tensor([t[0] for t in tiles], device="cuda", dtype=torch.int32)
        row = torch.tensor([t[1] for t in tiles], device="cuda", dtype=torch.int32)
        grid = (self.n // block_n, len(tiles))

        def run():
            grouped_fp8_kernel[grid](self.a, self.b, self.d, self.a_scales, self.b_scales, group,
                                     row, self.ends, self.n, self.k, self.a_scales.stride(0),
                                     BLOCK_M=block_m, BLOCK_N=block_n, num_warps=warps,
                                     num_stages=stages)

        return run

    def torch(self):
        a_scales = torch.ones(self.a.shape[0], device="cuda")
        b_scales = torch.ones(self.groups, self.n, device="cuda")
        b = self.b.transpose(-2, -1)
        return lambda: torch._scaled_grouped_mm(self.a, b, a_scales, b_scales, offs=self.ends,
                                                out_dtype=torch.bfloat16)

    def check(self):
        """Rows of D against the same product of the dequantised operands in FP32."""
        for row in (0, self.a.shape[0] - 1):
            g = row // self.rows
            a = self.a[row].float().view(-1, 128) * self.a_scales[:, row, None]
            w = self.b[g].float().view(self.n // 128, 128, -1, 128)
            w = (w * self.b_scales[g][:, None, :, None]).view(self.n, self.k)
            wanted = w @ a.view(-1)
            error = (self.d[row].float() - wanted).norm() / wanted.norm()
            assert error < 0.01, f"the Triton kernel is wrong by {error:.3g}"


def kernel_us(run, fill, read, runs):
    """Mean of the kernels' time that one call takes."""
    for _ in range(2):
        run()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for _ in range(runs):
            fill.zero_()
            read.sum()
            run()
        torch.cuda.synchronize()
    total = 0.0
    for event in profiler.events():
        name = event.name.lower()
        if "memset" in name or "fill" in name or "reduce" in name:
            continue
        total += event.device_time_total
    return total / runs


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out")
    parser.add_argument("--runs", type=int, default=12)
    options = parser.parse_args()
    fill = torch.empty(2_000_000_000, device="cuda")
    read = torch.ones(100_000_000, device="cuda")
    rows_out = []
    for n, k in ((4096, 7168), (7168, 2048)):
        for groups in (8, 32):
            for rows in (1, 4, 16, 32, 64):
                torch.manual_seed(rows)
                problem = Problem(groups, rows, n, k)
                result = {"groups": groups, "rows": rows, "n": n, "k": k}
                best = None
                block_m = max(16, min(64, rows))
                for block_n, warps, stages in ((64, 4, 6), (128, 4, 4), (128, 8, 4), (256, 8, 3)):
                    try:
                        run = problem.triton(block_m, block_n, warps, stages)
                        run()
                        problem.check()
                        us = kernel_us(run, fill, read, options.runs)
                    except Exception as error:  # a tile that does not fit shared memory
                        print(f"triton {block_m}x{block_n}: {type(error).__name__}", file=sys.stderr)
                        continue
                    if best is None or us < best[0]:
                        best = (us, f"{block_m}x{block_n} {warps} warps {stages} stages")
                if best:
                    result["triton_us"], result["triton_config"] = round(best[0], 2), best[1]
                try:
                    result["torch_us"] = round(kernel_us(problem.torch(), fill, read, options.runs), 2)
                except Exception as error:
                    result["torch_note"] = str(error).splitlines()[0][:200]
                print(result, flush=True)
                rows_out.append(result)
                report = {"run": {"device": torch.cuda.get_device_name(), "torch": torch.__version__,
                                  "triton": triton.__version__, "runs": options.runs,
                                  "flush": "clean"},
                          "grouped_second_peers": rows_out}
                with open(options.out, "w") as file:
                    json.dump(report, file, indent=1)


if __name__ == "__main__":
    main()
