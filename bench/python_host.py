#!/usr/bin/env python3
"""What a warm eager call from Torch costs on the host: microseconds until it returns.

    python3 bench/python_host.py [--out FILE.json]

Needs a Hopper GPU, Torch and the package kiln. A shape so small that the GPU keeps up; calls in
batches that its queue holds, the GPU idle between them; of each, the mean of 2000 calls, the least
of several repeats and their median. Beside kiln's calls: the same library function called by
ctypes on arguments made beforehand (no Python conversion at all: what C++ and the driver take),
deep_gemm's if it can be imported, and two of Torch's own calls as a yardstick.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import tvm_ffi

import kiln
import kiln._calls

CALLS, BATCH, REPEATS = 2000, 200, 15


def measure(call: Callable[[], Any]) -> dict[str, float]:
    for _ in range(BATCH):
        call()
    torch.cuda.synchronize()
    means = []
    for _ in range(REPEATS):
        spent = 0.0
        for _ in range(CALLS // BATCH):
            start = time.perf_counter()
            for _ in range(BATCH):
                call()
            spent += time.perf_counter() - start
            torch.cuda.synchronize()
        means.append(spent / CALLS * 1e6)
    return {"us": round(min(means), 3), "median_us": round(statistics.median(means), 3)}


class _Device(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int), ("index", ctypes.c_int)]


class _DType(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class _DLTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int),
        ("dtype", _DType),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class _Any(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int32), ("zero", ctypes.c_uint32), ("value", ctypes.c_void_p)]


_DTYPES = {torch.float8_e4m3fn: (10, 8), torch.float32: (2, 32), torch.bfloat16: (4, 16)}


def bare(tensors: list[torch.Tensor]) -> Callable[[], Any]:
    """A call of the library's gemm on the default stream with arguments made beforehand."""
    library = ctypes.CDLL(str(Path(kiln.__file__).with_name("lib") / "libkiln_ffi.so"))
    kept, values = [], (_Any * len(tensors))()
    for value, tensor in zip(values, tensors):
        n = tensor.dim()
        shape, strides = (ctypes.c_int64 * n)(*tensor.shape), (ctypes.c_int64 * n)(*tensor.stride())
        code, bits = _DTYPES[tensor.dtype]
        view = _DLTensor(
            tensor.data_ptr(), _Device(2, tensor.device.index), n, _DType(code, bits, 1), shape,
            strides, 0,
        )  # fmt: skip
        kept += [tensor, shape, strides, view]
        value.type, value.value = 7, ctypes.addressof(view)  # kTVMFFIDLTensorPtr
    result, function = _Any(), library.__tvm_ffi_gemm
    arguments = (ctypes.c_void_p(0), values, ctypes.c_int32(len(tensors)), ctypes.byref(result))

    def call() -> None:
        function(*arguments)

    call.kept = kept
    assert function(*arguments) == 0
    return call


def e4m3(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, device="cuda").to(torch.float8_e4m3fn)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    out_file = parser.parse_args().out
    torch.manual_seed(1)
    m, n, k, groups = 64, 256, 256, 4
    a, b = (
        (e4m3(m, k), torch.rand(m, 2, device="cuda")),
        (e4m3(n, k), torch.rand(2, 2, device="cuda")),
    )
    weights = (e4m3(groups, n, k), torch.rand(groups, 2, 2, device="cuda"))
    d = torch.empty(m, n, device="cuda", dtype=torch.bfloat16)
    end = torch.tensor([5, 5, 40, m], device="cuda", dtype=torch.int32)
    offsets = kiln.Grouping.offsets(end)
    x = torch.randn(m, k, device="cuda", dtype=torch.bfloat16)
    codes, act = kiln.quantize(x), kiln.swiglu(x)
    ids = torch.randint(groups, (m, 2), device="cuda")
    permutation = kiln.permute(ids, groups)
    sums = torch.empty(m, k, device="cuda", dtype=torch.bfloat16)
    kiln.gemm_prepare(a, b, d)
    kiln.grouped_gemm_prepare(a, weights, offsets, d)

    calls: dict[str, Callable[[], Any]] = {
        "kiln.gemm, out given": lambda: kiln.gemm(a, b, d),
        "kiln.gemm, out allocated": lambda: kiln.gemm(a, b),
        "kiln.gemm, out given, pdl=True": lambda: kiln.gemm(a, b, d, pdl=True),
        "kiln.grouped_gemm, out given": lambda: kiln.grouped_gemm(a, weights, offsets, d),
        "kiln.quantize, out given": lambda: kiln.quantize(x, codes),
        "kiln.quantize, out allocated": lambda: kiln.quantize(x),
        "kiln.swiglu, out given": lambda: kiln.swiglu(x, act),
        "kiln.permute, out given": lambda: kiln.permute(ids, groups, out=permutation),
        "kiln.unpermute, out given": lambda: kiln.unpermute(x, permutation.rows, out=sums),
        "library function by tvm-ffi": lambda: kiln._calls._gemm(*a, *b, d),
        "library function by ctypes, arguments made before": bare([*a, *b, d]),
        "torch.empty": lambda: torch.empty((m, n), dtype=torch.bfloat16, device="cuda"),
        "torch.add, out given": lambda: torch.add(d, d, out=d),
    }
    try:
        import kiln.compat.deep_gemm as compat

        calls["kiln.compat.deep_gemm.fp8_gemm_nt"] = lambda: compat.fp8_gemm_nt(a, b, d)
    except ImportError as error:
        print(f"without kiln.compat.deep_gemm: {error}", file=sys.stderr)
    try:
        import deep_gemm

        calls["deep_gemm.fp8_gemm_nt"] = lambda: deep_gemm.fp8_gemm_nt(a, b, d)
    except ImportError as error:
        print(f"without deep_gemm: {error}", file=sys.stderr)

    figures = {}
    for name, call in calls.items():
        try:
            figures[name] = measure(call)
        except Exception as error:  # noqa: BLE001 (a peer's: the rest is worth having)
            figures[name] = {"error": f"{type(error).__name__}: {error}"}
        print(f"{name:52} {figures[name].get('us', figures[name].get('error'))}")
    report = {
        "shape": {"m": m, "n": n, "k": k, "groups": groups},
        "calls": CALLS,
        "repeats": REPEATS,
        "gpu": torch.cuda.get_device_name(),
        "cpu": cpu_name(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "tvm_ffi": tvm_ffi.__version__,
        "kiln": kiln.__version__,
        "figures": figures,
    }
    if out_file:
        out_file.write_text(json.dumps(report, indent=1) + "\n")


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
