"""A layer of a mixture of experts made of Kiln's operations.

    router -> quantize -> permute -> grouped_gemm -> swiglu + quantise -> grouped_gemm -> unpermute

    python3 examples/moe_layer.py                      on a GPU with Torch: checked, timed step by step
    python3 examples/moe_layer.py --device emu         the same kernels without a GPU, on NumPy, small

Tokens are quantised before they are permuted: a row's codes do not depend on where the row lies, and
this way each is quantised once, not once an expert, and rows of bytes move. What is nobody's (slots
that the router dropped) lies behind the last expert's rows and is passed by. Nothing is read on the
host, so the layer is one CUDA graph whatever the router says.

T tokens of H features, E experts of I features inside, J experts a token; R = T * J rows.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
import subprocess
from pathlib import Path
from typing import Any

import kiln


def moe_layer(x, router, w13, w2, after=lambda step: None, **options):
    """x BF16 [T,H] to BF16 [T,H]. `router` gives the experts int [T,J] and weights FP32 [T,J] of x.
    w13 and w2 are pairs of E4M3 [E,2I,H] and [E,H,I] with scales of 128 x 128 blocks; the gate's rows
    of w13 come first. `after` is told of each step once it is enqueued, `options` go to every call."""
    ids, weights = router(x)
    after("router")
    tokens = kiln.quantize(x, **options)
    after("quantize")
    rows = kiln.permute(ids, len(w13[0]), *tokens, weights, **options)
    after("permute")
    both = kiln.grouped_gemm((rows.values, rows.scales), w13, rows.grouping, **options)
    after("grouped_gemm up")
    act = kiln.swiglu(both, weights=rows.weights, rows=rows.ends[-1:], **options)
    after("swiglu")
    down = kiln.grouped_gemm(act, w2, rows.grouping, **options)
    after("grouped_gemm down")
    out = kiln.unpermute(down, rows.rows, **options)
    after("unpermute")
    return out


def plain_layer(arrays, x, ids, weights, w13, w2):
    """The layer in plain Torch or NumPy (`arrays`): x [T,H], w13 and w2 as lists of matrices."""
    out = arrays.zeros_like(x)
    for expert, (up_weights, down_weights) in enumerate(zip(w13, w2)):
        mine = ids == expert
        there = mine.any(1)
        both = x[there] @ up_weights.T
        half = both.shape[1] // 2
        gate, up = both[:, :half], both[:, half:]
        share = (weights * mine).sum(1)[there, None]
        out[there] += (gate / (1 + arrays.exp(-gate)) * up * share) @ down_weights.T
    return out


def dequantised(pair):
    """FP32 of E4M3 [M,K] with scales of rows or blocks; M of blocks and K are multiples of 128."""
    values, scales = pair
    values = values.float() if hasattr(values, "float") else values.astype("float32")
    (m, k), height = values.shape, values.shape[0] // scales.shape[0]
    blocks = values.reshape(m // height, height, k // 128, 128)
    return (blocks * scales[:, None, :, None]).reshape(m, k)


# How far the layer may be from the plain one on the dequantised operands, in FP32. What lies between
# is the quantisation of the activations between the GEMMs: a code is off by at most 2^-4 of its value,
# spread over that range, so by 2^-4 / sqrt(3) in the mean square; a sum of many products of such
# values with independent ones has the same relative error. The other roundings do not come near: BF16
# twice (2^-8 / sqrt(3) each), the 13 bits of the tensor core's sums.
TOLERANCE = 2**-4 / math.sqrt(3)


def check(out: Any, wanted: Any) -> float:
    """The relative error in the mean square, or the end."""
    error = math.sqrt(float(((out - wanted) ** 2).sum()) / float((wanted**2).sum()))
    print(f"against the plain layer: relative error {error:.4f}, at most {TOLERANCE:.4f} allowed")
    if not error <= TOLERANCE:
        raise SystemExit("the layer is wrong")
    return error


def check_bits(same: bool, where: str) -> None:
    if not same:
        raise SystemExit(f"{where}: the bits differ from the CPU model's")
    print(f"{where}: every bit is the CPU model's")


def run_on_host(device: str, sizes: argparse.Namespace) -> None:
    """On NumPy, by the emulator or the CPU model."""
    import ml_dtypes
    import numpy as np

    random = np.random.default_rng(1)

    def matrix(*shape: int) -> Any:
        return (random.normal(size=shape) / math.sqrt(shape[-1])).astype(ml_dtypes.bfloat16)

    x = (matrix(sizes.tokens, sizes.hidden) * math.sqrt(sizes.hidden)).astype(ml_dtypes.bfloat16)
    gate = random.normal(size=(sizes.experts, sizes.hidden)) / math.sqrt(sizes.hidden)
    w13 = kiln.quantize(
        matrix(sizes.experts, 2 * sizes.inner, sizes.hidden), recipe="block_128x128"
    )
    w2 = kiln.quantize(matrix(sizes.experts, sizes.hidden, sizes.inner), recipe="block_128x128")

    def router(x: Any) -> tuple[Any, Any]:
        shares = np.exp(x.astype(np.float64) @ gate.T)
        ids = np.argsort(-shares, axis=1, kind="stable")[:, : sizes.top_k]
        weights = np.take_along_axis(shares, ids, 1)
        return ids, (weights / weights.sum(1, keepdims=True)).astype(np.float32)

    out = moe_layer(x, router, w13, w2, device=device)
    model = moe_layer(x, router, w13, w2, device="cpu")
    check_bits((out.view(np.uint16) == model.view(np.uint16)).all(), device)
    experts = [[dequantised(each) for each in zip(*w)] for w in (w13, w2)]
    wanted = plain_layer(np, dequantised(kiln.quantize(x)), *router(x), *experts)
    check(out.astype(np.float32), wanted)


def run_on_gpu(sizes: argparse.Namespace) -> dict[str, Any]:
    import torch

    torch.manual_seed(1)

    def matrix(*shape: int) -> Any:
        return torch.randn(shape, device="cuda", dtype=torch.bfloat16) / math.sqrt(shape[-1])

    x = torch.randn(sizes.tokens, sizes.hidden, device="cuda", dtype=torch.bfloat16)
    gate = matrix(sizes.experts, sizes.hidden)
    w13 = kiln.quantize(
        matrix(sizes.experts, 2 * sizes.inner, sizes.hidden), recipe="block_128x128"
    )
    w2 = kiln.quantize(matrix(sizes.experts, sizes.hidden, sizes.inner), recipe="block_128x128")

    def router(x: Any) -> tuple[Any, Any]:
        weights, ids = torch.topk((x @ gate.T).float().softmax(1), sizes.top_k)
        return ids, weights / weights.sum(1, keepdim=True)

    out = moe_layer(x, router, w13, w2)
    ids, weights = router(x)
    experts = [[dequantised(each) for each in zip(*w)] for w in (w13, w2)]
    error = check(
        out.float(), plain_layer(torch, dequantised(kiln.quantize(x)), ids, weights, *experts)
    )
    # A token's bits do not depend on the others', so that a few of them are enough.
    few = min(4, sizes.tokens)
    model = moe_layer(
        x[:few].cpu(), lambda _: (ids[:few].cpu(), weights[:few].cpu()),
        *(tuple(part.cpu() for part in w) for w in (w13, w2)),
    )  # fmt: skip
    check_bits(torch.equal(out[:few].cpu().view(torch.int16), model.view(torch.int16)), "cuda")

    graphs = {}
    for name, options in (("graph_us", {}), ("graph_pdl_us", {"pdl": True})):
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            captured = moe_layer(x, router, w13, w2, **options)
        graph.replay()
        check_bits(torch.equal(captured.view(torch.int16), out.view(torch.int16)), "CUDA graph")
        graphs[name] = time_whole(torch, graph.replay)
    experts = [[w.bfloat16() for w in each] for each in experts]
    return {
        "relative_error": error,
        "steps_us": time_steps(torch, lambda after: moe_layer(x, router, w13, w2, after)),
        **graphs,
        "plain_torch_bf16_us": time_whole(
            torch, lambda: plain_layer(torch, x, ids, weights.bfloat16(), *experts)
        ),
    }


def time_steps(torch: Any, layer: Any, runs: int = 20) -> dict[str, float]:
    """Microseconds of each step, medians: from the events around it on the stream. The GPU is kept
    busy while the host enqueues a run, so that no step waits for the host."""
    times: dict[str, list[float]] = {}
    for _ in range(runs + 2):
        torch.cuda.synchronize()
        torch.cuda._sleep(10_000_000)  # 5 ms
        events = [("", torch.cuda.Event(enable_timing=True))]
        events[0][1].record()

        def after(step: str, events: Any = events) -> None:
            events.append((step, torch.cuda.Event(enable_timing=True)))
            events[-1][1].record()

        layer(after)
        torch.cuda.synchronize()
        for (_, start), (step, end) in itertools.pairwise(events):
            times.setdefault(step, []).append(start.elapsed_time(end) * 1e3)
    return {step: statistics.median(each[2:]) for step, each in times.items()}


def time_whole(torch: Any, call: Any, runs: int = 20) -> float:
    """Microseconds of one call after the other, the host's time counting where it is longer."""
    for _ in range(3):
        call()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(runs):
        call()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) * 1e3 / runs


def report(sizes: argparse.Namespace, result: dict[str, Any]) -> None:
    rows = sizes.tokens * sizes.top_k
    flops = {
        "grouped_gemm up": 2 * rows * 2 * sizes.inner * sizes.hidden,
        "grouped_gemm down": 2 * rows * sizes.hidden * sizes.inner,
    }
    for step, time in result["steps_us"].items():
        rate = f"{flops[step] / time / 1e6:8.0f} TFLOP/s" if step in flops else ""
        print(f"{step:22}{time:10.1f} us {rate}")
    print(f"{'sum of the steps':22}{sum(result['steps_us'].values()):10.1f} us")
    print(f"{'as one CUDA graph':22}{result['graph_us']:10.1f} us")
    print(f"{'with pdl=True':22}{result['graph_pdl_us']:10.1f} us")
    print(f"{'plain Torch, BF16':22}{result['plain_torch_bf16_us']:10.1f} us")


def machine(torch: Any) -> dict[str, str]:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    driver = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    return {
        "device": torch.cuda.get_device_name(),
        "driver": (driver.split() or ["unknown"])[0],
        "torch": torch.__version__,
        "kiln": kiln.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "emu", "cpu"), default="cuda")
    parser.add_argument("--tokens", type=int, help="T (4096 on a GPU, else 24)")
    parser.add_argument("--hidden", type=int, help="H, a multiple of 128 (7168, else 256)")
    parser.add_argument("--inner", type=int, help="I, a multiple of 128 (2048, else 128)")
    parser.add_argument("--experts", type=int, help="E (32, else 4)")
    parser.add_argument("--top-k", type=int, help="J (8, else 2)")
    parser.add_argument("--json", type=Path, help="where the figures go")
    sizes = parser.parse_args()
    on_gpu = sizes.device == "cuda"
    usual = {"tokens": 4096, "hidden": 7168, "inner": 2048, "experts": 32, "top_k": 8}
    small = {"tokens": 24, "hidden": 256, "inner": 128, "experts": 4, "top_k": 2}
    for name, size in (usual if on_gpu else small).items():
        if getattr(sizes, name) is None:
            setattr(sizes, name, size)
    if not on_gpu:
        run_on_host(sizes.device, sizes)
        return
    import torch

    result = run_on_gpu(sizes)
    report(sizes, result)
    if sizes.json:
        shape = {name: getattr(sizes, name) for name in usual}
        sizes.json.write_text(
            json.dumps({"machine": machine(torch), "shape": shape, **result}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
