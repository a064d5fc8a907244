"""The way to a GPU without one: bench/fake_gpu's libcuda.so.1 keeps device memory on the host, and
either gives the bits of the model or records what it is asked to launch. Tensors say that they are on
CUDA."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from processes import run

FAKES = Path(
    os.environ.get("KILN_FAKE_GPU_DIR", Path(__file__).parents[2] / "build/fake_gpu_libraries")
)

# A launch as the stub driver keeps it: tests/unit/stub_driver/stub_driver.hpp.
SUPPORT = """
import ctypes, numpy as np, bits, kiln, tvm_ffi
from operands import Gemm
from on_device import OnDevice

class Launch(ctypes.Structure):
    _fields_ = [("grid", ctypes.c_uint * 3), ("block", ctypes.c_uint * 3), ("smem", ctypes.c_uint),
                ("stream", ctypes.c_void_p), ("attributes", ctypes.c_void_p),
                ("attribute_count", ctypes.c_uint)]
class State(ctypes.Structure):
    _fields_ = [("shown", ctypes.c_int * 7), ("failing_call", ctypes.c_char_p),
                ("error", ctypes.c_int), ("counts", ctypes.c_int * 9),
                ("launches", ctypes.c_int), ("launch", Launch)]
driver = ctypes.CDLL("libcuda.so.1")
state = State.in_dll(driver, "kiln_stub_state")
assert list(state.shown) == [13000, 2, 9, 0, 132, 232448, 60 << 20]

operands = Gemm(64, 2048, 256)
wanted = bits.gemm(operands.a, operands.a_scales, operands.b, operands.b_scales)
def cuda(array, device=0):
    return OnDevice.of(array, (2, device))
a, b = (tuple(map(cuda, pair)) for pair in operands.pairs)
memory = np.zeros((64, 2048), np.float32)
out = cuda(memory)
"""


def on_fake_gpu(code: str, computes: bool = False) -> str:
    if not (FAKES / "libcuda.so.1").exists():
        pytest.skip(f"no fake GPU in {FAKES}: it is built with the tests")
    return run(
        SUPPORT + code,
        LD_LIBRARY_PATH=str(FAKES),
        KILN_COMPILER=f"nvcc:{FAKES}/nvcc",
        KILN_CACHE_DIR="off",
        KILN_FAKE_COMPUTE="1" if computes else "0",
    )


def test_bits():
    on_fake_gpu(
        """
assert kiln.gemm(a, b, out) is out
np.testing.assert_array_equal(memory, wanted)
import kiln.compat.deep_gemm as dg
memory[:] = 0
dg.fp8_gemm_nt(a, b, out)
np.testing.assert_array_equal(memory, wanted)
""",
        computes=True,
    )


def test_a_call_launches_once_on_the_tensors_device():
    on_fake_gpu("""
kiln.gemm_prepare(a, b, out)
assert state.launches == 0 and not memory.any()
assert kiln.gemm(a, b, out) is out
assert state.launches == 1 and state.launch.stream is None
second = [tuple(cuda(x.array, 1) for x in pair) for pair in (a, b)]
try:
    kiln.gemm(*second, out)
except ValueError as error:
    assert str(error) == "gemm: d is in the memory of cuda:0, wanted the memory of cuda:1 as a"
kiln.gemm(*second, cuda(memory, 1), device="cuda")
kiln.gemm(*second, cuda(memory, 1), device="cuda:1")
assert state.launches == 3
""")


def test_streams():
    """A number, objects of the frameworks' kinds, and the one that tvm-ffi has for the device."""
    on_fake_gpu("""
class Torchs: cuda_stream = 0x1000
class Cupys: ptr = 0x2000
class Another:
    def __cuda_stream__(self): return 0, 0x3000
for stream, number in ((0x4000, 0x4000), (Torchs(), 0x1000), (Cupys(), 0x2000), (Another(), 0x3000), (0, None)):
    kiln.gemm(a, b, out, stream=stream)
    assert state.launch.stream == number, (stream, state.launch.stream)
with tvm_ffi.use_raw_stream(tvm_ffi.device("cuda", 0), 0x5000):
    kiln.gemm(a, b, out)
    assert state.launch.stream == 0x5000
    kiln.gemm(a, b, out, stream=0x6000)
    assert state.launch.stream == 0x6000
kiln.gemm(a, b, out)
assert state.launch.stream is None
""")


def test_options_reach_the_launch():
    on_fake_gpu("""
kiln.gemm(a, b, out)
every = state.launch.grid[0]
kiln.gemm(a, b, out, sm_budget=3)
assert state.launch.grid[0] <= 3 < every, (state.launch.grid[0], every)
kiln.gemm(a, b, out)
assert state.launch.grid[0] == every
before = state.launch.attribute_count  # a cluster, or nothing
kiln.gemm(a, b, out, pdl=True)
assert state.launch.attribute_count == before + 1
import kiln.compat.deep_gemm as dg
dg.set_num_sms(3), dg.set_pdl(True)
dg.fp8_gemm_nt(a, b, out)
assert state.launch.grid[0] <= 3 and state.launch.attribute_count == before + 1
""")


def test_errors_of_the_driver():
    on_fake_gpu("""
third = [tuple(cuda(x.array, 2) for x in pair) for pair in (a, b)]
try:
    kiln.gemm(*third, cuda(memory, 2))
except kiln.NoDeviceError as error:
    assert "there is no CUDA device 2" in str(error) and "shows 2 devices" in str(error)
else:
    raise AssertionError("device 2")
state.failing_call = b"cuLaunchKernelEx"
state.error = 700
try:
    kiln.gemm(a, b, out)
except kiln.DriverError as error:
    assert error.code == "driver" and "cuLaunchKernelEx" in str(error)
else:
    raise AssertionError("no error")
assert not memory.any()
""")


def test_the_operations_beside_the_gemms():
    """Each on its stream and its tensors' device, prepared without a launch."""
    on_fake_gpu("""
x = cuda(np.ones((64, 256), np.float32))
codes = cuda(np.zeros((64, 256), np.uint8)), cuda(np.zeros((64, 2), np.float32))
half = cuda(np.zeros((64, 128), np.uint8)), cuda(np.zeros((64, 1), np.float32))
gate_up = cuda(np.zeros((64, 256), np.uint16))
ids, rows = (cuda(np.zeros((64, 2), np.int32)) for _ in range(2))
p = kiln.Permutation(cuda(np.zeros(4, np.int32)), cuda(np.zeros(128, np.int32)), rows)
moved = p._replace(values=cuda(np.zeros((128, 256), np.float32)))
for call, prepare, launches in (
    (kiln.quantize, kiln.quantize_prepare, ((1, (x, codes), {}), (1, (x, codes), {"recipe": "row_1x128"}))),
    (kiln.swiglu, kiln.swiglu_prepare, ((1, (gate_up, half), {"clamp": 2}),)),
    (kiln.permute, kiln.permute_prepare, (
        (1, (ids, 4), {"out": p}),
        (2, (ids, 4, x), {"out": moved}))),
    (kiln.unpermute, kiln.unpermute_prepare, ((1, (x, rows), {"out": cuda(np.zeros((64, 256), np.float32))}),)),
):
    for count, arguments, options in launches:
        before = state.launches
        prepare(*arguments, **options)
        assert state.launches == before, call
        call(*arguments, stream=0x5000, sm_budget=3, pdl=True, **options)
        assert state.launches == before + count, (call, state.launches - before)
        assert state.launch.stream == 0x5000 and state.launch.grid[0] <= 3
        plain = state.launch.attribute_count
        call(*arguments, stream=0x6000, **options)
        # A second launch of one call overlaps the first whatever pdl is.
        assert state.launch.attribute_count == plain - (count == 1)
""")
