#!/usr/bin/env python3
"""DeepGEMM on the rows of Kiln's result files, on the GPU at hand, as a file of peers' times.

Cards of one name differ by some 3 %, so a ratio is worth as much as its two times were taken side
by side. This times the peer on exactly the rows (and drawn group sizes) that `kiln bench --json`
has just measured, by the same method: kernel times from CUPTI (through Torch's profiler), an 8 GB
fill before every run, where the result says "clean" also a read of 400 MB.

    kiln bench grouped --suite contiguous --json a.json
    python3 bench/peers/deepgemm.py OUT.json a.json [...] [--runs 12]
    kiln bench grouped --suite contiguous --against OUT.json

Needs Torch on a Hopper GPU and `pip install sgl-deep-gemm`, SGLang's packaging of the library.
Contiguous rows are measured in both of its layouts, each group padded to its 128 rows (rates count
real rows only), masked ones with the mean as expected_m; the faster of nvcc's and NVRTC's kernels
is not looked for: nvcc's are taken, the library's default.
"""

import argparse
import json
import sys

import deep_gemm
import deep_gemm.utils.layout
import deep_gemm.utils.math
import torch
from torch.profiler import ProfilerActivity, profile


def align(x, y):
    return (x + y - 1) // y * y


def quantised(*shape):
    """E4M3 of random normals and their scales of 1x128, as the peer's kernels take them."""
    x = torch.randn(*shape, device="cuda", dtype=torch.bfloat16)
    x, scales = deep_gemm.utils.math.per_token_cast_to_fp8(x.view(-1, shape[-1]), use_ue8m0=False)
    scales = scales.view(*shape[:-1], -1)
    return x.view(shape), deep_gemm.utils.layout.get_mn_major_tma_aligned_tensor(scales)


def weights(n, k):
    """E4M3 [n, k] and their scales of 128x128."""
    x = torch.randn(n, k, device="cuda", dtype=torch.bfloat16)
    return deep_gemm.utils.math.per_block_cast_to_fp8(x, use_ue8m0=False)


def stacked_weights(groups, n, k):
    pairs = [weights(n, k) for _ in range(groups)]
    return torch.stack([p[0] for p in pairs]), torch.stack([p[1] for p in pairs])


def dense_calls(row):
    m, n, k = row["m"], row["n"], row["k"]
    a = quantised(m, k)
    if row["scales"] == "1D1D":
        d = torch.zeros(m, n, device="cuda", dtype=torch.float32)
        b = quantised(n, k)
        return [lambda: deep_gemm.fp8_gemm_nt(a, b, d, c=d, recipe=(1, 1, 128))]
    d = torch.empty(m, n, device="cuda", dtype=torch.bfloat16)
    b = weights(n, k)
    return [lambda: deep_gemm.fp8_gemm_nt(a, b, d)]


def sizes_of(row):
    return row["sizes"] if "sizes" in row else [row["rows"]] * row["groups"]


def contiguous_calls(row):
    sizes, n, k = sizes_of(row), row["n"], row["k"]
    ends, ids, start = [], [], 0
    for g, size in enumerate(sizes):
        ends.append(start + size)
        ids += [g] * size + [-1] * (align(size, 128) - size)
        start += align(size, 128)
    a, b = quantised(start, k), stacked_weights(len(sizes), n, k)
    d = torch.empty(start, n, device="cuda", dtype=torch.bfloat16)
    ends = torch.tensor(ends, device="cuda", dtype=torch.int32)
    ids = torch.tensor(ids, device="cuda", dtype=torch.int32)
    multiply = deep_gemm.m_grouped_fp8_gemm_nt_contiguous
    return [lambda: multiply(a, b, d, ids), lambda: multiply(a, b, d, ends, use_psum_layout=True)]


def masked_calls(row):
    sizes, n, k = sizes_of(row), row["n"], row["k"]
    groups, most = len(sizes), align(max(max(sizes), 1), 128)
    a = quantised(groups, most, k)
    b = stacked_weights(groups, n, k)
    d = torch.empty(groups, most, n, device="cuda", dtype=torch.bfloat16)
    counts = torch.tensor(sizes, device="cuda", dtype=torch.int32)
    expected = max(1, round(sum(sizes) / groups))
    return [lambda: deep_gemm.m_grouped_fp8_gemm_nt_masked(a, b, d, counts, expected)]


def calls_of(row):
    if "groups" not in row:
        return dense_calls(row)
    return masked_calls(row) if row["kind"] == "masked" else contiguous_calls(row)


class Flush:
    def __init__(self, clean):
        self.fill = torch.empty(2_000_000_000, device="cuda")
        self.read = torch.ones(100_000_000, device="cuda") if clean else None

    def __call__(self):
        self.fill.zero_()
        if self.read is not None:
            self.read.sum()


def kernel_us(call, flush, runs):
    """Durations of the peer's kernels, one of each call."""
    for _ in range(2):
        call()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for _ in range(runs):
            flush()
            call()
        torch.cuda.synchronize()
    times = [e.device_time_total for e in profiler.events() if "sm90" in e.name]
    if len(times) != runs:
        raise RuntimeError(f"{len(times)} kernels of the peer in {runs} calls")
    return times


def measured(row, flush, runs):
    torch.manual_seed(1)
    best = min((kernel_us(call, flush, runs) for call in calls_of(row)), key=sum)
    us = sum(best) / len(best)
    kept = ("m", "n", "k", "groups", "rows", "drawn", "sizes", "scales", "out", "accumulate", "kind")
    result = {key: row[key] for key in kept if key in row}
    rows = sum(sizes_of(row)) if "groups" in row else row["m"]
    result["us"], result["us_min"] = round(us, 3), round(min(best), 3)
    result["tflops"] = round(2 * rows * row["n"] * row["k"] / us / 1e6, 1)
    result["gbs"] = round(row["gbs"] * row["us"] / us, 1)  # the same bytes in the peer's time
    result["kiln_us"], result["vs_kiln"] = row["us"], round(us / row["us"], 4)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out")
    parser.add_argument("kiln", nargs="+", help="result files of kiln bench gemm or grouped")
    parser.add_argument("--runs", type=int, default=12)
    options = parser.parse_args()
    report = {"run": {"device": torch.cuda.get_device_name(), "torch": torch.__version__,
                      "deep_gemm": getattr(deep_gemm, "__version__", "?"), "runs": options.runs}}
    for path in options.kiln:
        with open(path) as file:
            result = json.load(file)
        flush = Flush(result["run"]["flush"] == "clean")
        for section, rows in result.items():
            if not isinstance(rows, list):
                continue
            seen = set()
            for row in rows:
                # The peer has two forms; Kiln's other kinds of the same rows have no peer.
                if row.get("kind", "masked") not in ("masked", "offsets") or "config_asked" in row:
                    continue
                if section.startswith("m_grouped_masked") and row["kind"] != "masked":
                    continue
                key = json.dumps([row.get(x) for x in ("m", "n", "k", "groups", "rows", "kind")])
                if key in seen:
                    continue
                seen.add(key)
                try:
                    done = measured(row, flush, options.runs)
                except Exception as error:
                    print(f"{section} {key}: {str(error).splitlines()[0][:300]}", file=sys.stderr)
                    continue
                print(section, json.dumps({x: y for x, y in done.items() if x != "sizes"}),
                      flush=True)
                report.setdefault(section, []).append(done)
                with open(options.out, "w") as out:
                    json.dump(report, out, indent=1)
        del flush
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
