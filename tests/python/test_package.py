"""The package in a process: what importing does, fork, threads, and the frameworks' arrays."""

from __future__ import annotations

import os
import threading
import time

import numpy as np
import pytest

import bits
import kiln
from operands import Gemm
from processes import run


def test_importing_opens_no_driver_no_compiler_and_no_cuda_runtime():
    """Nor does a call that runs on the CPU. (Where Torch is installed, tvm-ffi imports it, and
    Torch links the CUDA runtime.)"""
    loaded = run(
        """
        import importlib.abc, sys
        class NoTorch(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path, target=None):
                if name == "torch":
                    raise ImportError("hidden for this test")
        sys.meta_path.insert(0, NoTorch())
        import kiln, kiln.compat.deep_gemm
        from operands import Gemm
        kiln.gemm(*Gemm(5, 24, 128).pairs, out_dtype="fp32")
        libraries = {line.split()[-1] for line in open("/proc/self/maps") if ".so" in line}
        print(*libraries, sep="\\n")
        """
    ).splitlines()
    names = [os.path.basename(path) for path in loaded]
    assert "libkiln_ffi.so" in names
    unwanted = ("libcuda.", "libcudart", "libnvrtc", "libtorch", "libc10", "libstdc++")
    # libtvm_ffi.so and NumPy bring a libstdc++ of their own; Kiln's needs none.
    assert [n for n in names if n.startswith(unwanted[:-1])] == []


def test_after_a_fork_parent_and_child_go_on():
    """Each with kernels that the other has, and with ones that it compiles itself."""
    print(
        run(
            """
            import os, numpy as np, bits, kiln
            from operands import Gemm
            def check(operands):
                d = kiln.gemm(*operands.pairs, out_dtype="fp32", device="emu")
                wanted = bits.gemm(operands.a, operands.a_scales, operands.b, operands.b_scales)
                assert (d.view(np.uint32) == wanted.view(np.uint32)).all()
            first, second = Gemm(37, 200, 272), Gemm(70, 136, 160, by_row=True)
            check(first)
            child = os.fork()
            check(first), check(second)
            if child == 0:
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            """
        )
    )


def test_threads_compile_one_kernel_together(tmp_path):
    """From an empty cache; all get the right bits."""
    assert "ok" in run(
        """
        import threading, numpy as np, bits, kiln
        from operands import Gemm
        operands = Gemm(37, 200, 272)
        wanted = bits.gemm(operands.a, operands.a_scales, operands.b, operands.b_scales)
        right = []
        def work():
            d = kiln.gemm(*operands.pairs, out_dtype="fp32", device="emu")
            right.append((d.view(np.uint32) == wanted.view(np.uint32)).all())
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert len(right) == 4 and all(right)
        print("ok")
        """,
        KILN_CACHE_DIR=str(tmp_path),
    )


def test_other_threads_run_while_a_call_does():
    """The GIL is released: the model takes a while over this product."""
    operands = Gemm(700, 2048, 4096)
    out = np.empty((700, 2048), np.float32)
    ticks, done = [], threading.Event()

    def tick() -> None:
        while not done.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    start = time.perf_counter()
    kiln.gemm(*operands.pairs, out)
    end = time.perf_counter()
    done.set()
    thread.join()
    assert end - start > 0.02, "too small a product for this test to say anything"
    inside = [t for t in ticks if start + 0.002 < t < end - 0.002]
    assert len(inside) >= 3, (end - start, len(inside))


class Dlpack:
    """An array of no framework, which has nothing but DLPack."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__()

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()

    @property
    def shape(self):
        return self.array.shape


def test_anything_with_dlpack_is_a_tensor():
    operands = Gemm(37, 200, 272)
    out = np.empty((37, 200), np.float32)
    a, b = (tuple(map(Dlpack, pair)) for pair in operands.pairs)
    kiln.gemm(a, b, Dlpack(out))
    np.testing.assert_array_equal(out, kiln.gemm(*operands.pairs, out_dtype="fp32"))
    with pytest.raises(NotImplementedError, match="out is None, wanted a tensor to write to"):
        kiln.gemm(a, b)


def test_jax():
    jnp = pytest.importorskip("jax.numpy", reason="JAX is not installed")
    jax = pytest.importorskip("jax")
    ml_dtypes = pytest.importorskip("ml_dtypes")
    operands = Gemm(37, 200, 272)
    on_cpu = jax.devices("cpu")[0]
    a, b = (
        tuple(jax.device_put(x, on_cpu) for x in (values.view(ml_dtypes.float8_e4m3fn), scales))
        for values, scales in operands.pairs
    )
    d = kiln.gemm(a, b)
    assert isinstance(d, jax.Array) and d.dtype == jnp.bfloat16
    wanted = bits.bf16(bits.gemm(operands.a, operands.a_scales, operands.b, operands.b_scales))
    np.testing.assert_array_equal(np.asarray(d).view(np.uint16), wanted)
    with pytest.raises(ValueError, match="out is a JAX array, wanted one that can be written"):
        kiln.gemm(a, b, d)


def test_cupy(cuda):
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    operands = Gemm(64, 256, 256)
    a, b = (tuple(map(cupy.asarray, pair)) for pair in operands.pairs)
    with cupy.cuda.Stream():
        d = kiln.gemm(a, b, out_dtype="fp32")
        got = cupy.asnumpy(d)
    wanted = bits.gemm(operands.a, operands.a_scales, operands.b, operands.b_scales)
    np.testing.assert_array_equal(got, wanted)


def test_torch_of_before_fast_dlpack(torch, monkeypatch):
    """As with such a Torch: the calls go the longer way and hand over FP8 as bytes."""
    import kiln._torch_ops

    monkeypatch.setattr(kiln._frameworks, "torch_has_fast_dlpack", lambda torch: False)
    monkeypatch.setattr(kiln._calls, "_TorchTensor", None)
    seen = []
    monkeypatch.setattr(kiln._calls, "_gemm", lambda *values: seen.append(values))
    monkeypatch.setattr(kiln._torch_ops, "_gemm", lambda *values: seen.append(values))
    operands = Gemm(37, 200, 272)
    a, b = (
        (torch.from_numpy(values).view(torch.float8_e4m3fn), torch.from_numpy(scales))
        for values, scales in operands.pairs
    )
    out = torch.empty(37, 200)
    kiln._calls._gemm_call(kiln._calls._gemm, a, b, out)
    torch.ops.kiln.gemm(*a, *b, out)
    assert [values[0].dtype for values in seen] == [torch.uint8] * 2
    assert [values[2].dtype for values in seen] == [torch.uint8] * 2


def test_version_is_the_librarys():
    assert kiln.__version__.count(".") == 2
    header = os.path.join(os.path.dirname(__file__), "../../CMakeLists.txt")
    if os.path.exists(header):
        with open(header) as text:
            assert f"VERSION {kiln.__version__} " in text.read()
