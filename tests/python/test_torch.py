"""The package with Torch: eager, compiled, captured in CUDA graphs, on streams. What needs no GPU
runs on CPU tensors; the rest skips where there is none."""

from __future__ import annotations

import shutil
import threading

import numpy as np
import pytest

import bits
import kiln
from kiln import Grouping
from operands import Gemm, Grouped
from processes import run
from torch_tensors import equal, tensors

pytestmark = pytest.mark.usefixtures("torch")


@pytest.mark.parametrize("operands", [Gemm(37, 200, 272), Gemm(70, 136, 160, by_row=True)])
def test_gemm_every_bit(torch, device, operands):
    a, b = tensors(torch, operands.pairs, device)
    c = torch.from_numpy(operands.c).to(device)
    wanted = bits.gemm(operands.a, operands.a_scales, operands.b, operands.b_scales)
    d = kiln.gemm(a, b)
    assert d.dtype == torch.bfloat16 and d.device == a[0].device
    np.testing.assert_array_equal(d.cpu().view(torch.uint16).numpy(), bits.bf16(wanted))
    out = torch.empty(d.shape, dtype=torch.float32, device=device)
    assert kiln.gemm(a, b, out) is out
    np.testing.assert_array_equal(out.cpu().numpy(), wanted)
    assert equal(torch, kiln.gemm(a, b, out_dtype=torch.float32), out)
    added = kiln.gemm(a, b, c=c, out_dtype="fp32")
    np.testing.assert_array_equal(added.cpu().numpy(), operands.c + wanted)
    assert kiln.gemm(a, b, c, c) is c
    assert equal(torch, c, added)
    as_bytes = [(values.view(torch.uint8), scales) for values, scales in (a, b)]
    assert equal(torch, kiln.gemm(*as_bytes), d)
    assert equal(torch, kiln.gemm(a, list(b), sm_budget=2, pdl=True), d)
    weights = torch.nn.Parameter(b[0], requires_grad=False)
    assert equal(torch, kiln.gemm(a, (weights, b[1])), d)


def test_grouped_gemm_every_kind(torch, device):
    operands = Grouped(4, 64, 136, 144)
    a, b = tensors(torch, operands.pairs, device)

    def index(*values):
        return torch.tensor(values, dtype=torch.int32, device=device)

    def rows(group, rows):
        return kiln.gemm((a[0][rows], a[1][rows]), (b[0][group], b[1][group]))

    ids = [0] * 16 + [-1] * 16 + [2] * 20 + [-1] * 12
    for grouping, groups in (
        (Grouping.offsets(index(5, 5, 20, 64)), {0: (0, 5), 2: (5, 20), 3: (20, 64)}),
        (Grouping.aligned_offsets(index(5, 16, 30, 40), 16), {0: (0, 5), 2: (16, 30), 3: (32, 40)}),
        (Grouping.row_ids(index(*ids), 16), {0: (0, 16), 2: (32, 52)}),
    ):
        out = torch.full((64, 136), 7, dtype=torch.bfloat16, device=device)
        assert kiln.grouped_gemm(a, b, grouping, out) is out
        left = torch.ones(64, dtype=torch.bool)
        for group, (first, last) in groups.items():
            assert equal(torch, out[first:last], rows(group, slice(first, last))), grouping.kind
            left[first:last] = False
        assert (out.cpu()[left] == 7).all()
    batch = a[0].view(4, 16, 144), a[1].view(4, 16, 2)
    masked = kiln.grouped_gemm(batch, b, Grouping.masked(index(3, 0, 16, 9), expected_rows=4))
    assert masked.shape == (4, 16, 136)
    assert equal(torch, masked[2], rows(2, slice(32, 48)))
    assert equal(torch, masked[3, :9], rows(3, slice(48, 57)))


def test_compiled(torch, device):
    operands = Gemm(37, 200, 272)
    a, b = tensors(torch, operands.pairs, device)
    c = torch.from_numpy(operands.c).to(device)
    wanted, added = kiln.gemm(a, b), kiln.gemm(a, b, c=c, out_dtype=torch.float32)

    def allocated(x, y):
        return kiln.gemm(x, y) * 2

    def accumulated(x, y, z):
        return kiln.gemm(x, y, z, z) + 1

    def with_options(x, y):
        return kiln.gemm(x, y, out_dtype=torch.float32, sm_budget=2, pdl=True) + 0

    def compiled(function, dynamic=None):
        torch._dynamo.reset()
        return torch.compile(function, fullgraph=True, dynamic=dynamic, backend="aot_eager")

    assert equal(torch, compiled(allocated)(a, b), wanted * 2)
    assert equal(
        torch, compiled(with_options, dynamic=True)(a, b), kiln.gemm(a, b, out_dtype="fp32")
    )
    into = c.clone()
    assert equal(torch, compiled(accumulated)(a, b, into), added + 1)
    assert equal(torch, into, added)
    with pytest.raises(Exception, match="stream is given under torch.compile"):
        compiled(lambda x, y: kiln.gemm(x, y, stream=0))(a, b)
    with pytest.raises(Exception, match="prepare and workspace_bytes were called under"):
        compiled(kiln.gemm_prepare)(a, b)


def test_compiled_grouped(torch, device):
    operands = Grouped(3, 40, 136, 144)
    a, b = tensors(torch, operands.pairs, device)
    end = torch.tensor([5, 5, 40], dtype=torch.int32, device=device)

    def experts(x, y, index):
        return kiln.grouped_gemm(x, y, Grouping.offsets(index)) * 2

    torch._dynamo.reset()
    compiled = torch.compile(experts, fullgraph=True, backend="aot_eager")
    assert equal(torch, compiled(a, b, end), experts(a, b, end))


def test_fake_tensors_and_export(torch):
    """Traced without Dynamo; nobody looks at memory that is not there."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    operands = Gemm(37, 200, 272)
    a, b = tensors(torch, operands.pairs, "cpu")
    mode = FakeTensorMode()
    fake_a, fake_b = (tuple(map(mode.from_tensor, pair)) for pair in (a, b))
    with mode:
        d = kiln.gemm(fake_a, fake_b)
        assert d.shape == (37, 200) and d.dtype == torch.bfloat16
        end = mode.from_tensor(torch.tensor([37], dtype=torch.int32))
        experts = tuple(x[None] for x in fake_b)
        assert kiln.grouped_gemm(fake_a, experts, Grouping.offsets(end)).shape == (37, 200)

    class Linear(torch.nn.Module):
        def forward(self, x, x_scales, w, w_scales):
            return kiln.gemm((x, x_scales), (w, w_scales))

    program = torch.export.export(Linear(), (*a, *b), strict=False)
    assert "kiln.gemm" in program.graph_module.code
    assert equal(torch, program.module()(*a, *b), kiln.gemm(a, b))


def test_inductor(cuda):
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("Triton needs a C compiler")
    operands = Gemm(37, 200, 272)
    a, b = tensors(cuda, operands.pairs, "cuda")
    cuda._dynamo.reset()
    compiled = cuda.compile(lambda x, y: kiln.gemm(x, y).float() * 2, fullgraph=True)
    assert equal(cuda, compiled(a, b), kiln.gemm(a, b).float() * 2)


def test_opcheck(torch, device):
    # The bytes of E4M3: Torch cannot compare values of its FP8 types, which opcheck does.
    import kiln._torch_ops  # noqa: F401 (defines the ops)

    def as_bytes(pairs):
        (x, x_scales), (y, y_scales) = tensors(torch, pairs, device)
        return x.view(torch.uint8), x_scales, y.view(torch.uint8), y_scales

    operands = Gemm(37, 200, 272)
    out = torch.empty((37, 200), dtype=torch.bfloat16, device=device)
    c = torch.from_numpy(operands.c).to(device)
    for arguments in ((out,), (out, c), (c, None, True)):
        checks = torch.library.opcheck(torch.ops.kiln.gemm, (*as_bytes(operands.pairs), *arguments))
        assert set(checks.values()) == {"SUCCESS"}
    grouped = Grouped(3, 40, 136, 144)
    end = torch.tensor([5, 5, 40], dtype=torch.int32, device=device)
    out = torch.zeros((40, 136), dtype=torch.float32, device=device)
    checks = torch.library.opcheck(
        torch.ops.kiln.grouped_gemm, (0, *as_bytes(grouped.pairs), out, end)
    )
    assert set(checks.values()) == {"SUCCESS"}


def test_errors_leave_out_alone(torch, device):
    operands = Gemm(37, 200, 272)
    a, b = tensors(torch, operands.pairs, device)
    out = torch.full((37, 200), 7, dtype=torch.bfloat16, device=device)
    for wrong in (
        lambda: kiln.gemm((a[0], a[1][:5]), b, out),
        lambda: kiln.gemm((a[0].to(torch.float16), a[1]), b, out),
        lambda: kiln.gemm(a[0], b, out),
        lambda: kiln.gemm((), b),
        lambda: kiln.gemm(a, (None, b[1])),
        lambda: kiln.gemm(a, (b[0][0], b[1])),
        lambda: kiln.gemm(a, (b[0], None), out),
        lambda: kiln.gemm(a, b, out[:5]),
    ):
        with pytest.raises(kiln.Error, match="gemm: "):
            wrong()
    assert (out == 7).all()


def test_memory_of_another_device_is_refused(cuda):
    operands = Gemm(37, 200, 272)
    a, b = tensors(cuda, operands.pairs, "cuda")
    with pytest.raises(ValueError, match="gemm: b is in host memory, wanted the memory of cuda:0"):
        kiln.gemm(a, (b[0].cpu(), b[1]))
    with pytest.raises(ValueError, match="wanted host memory for device emu"):
        kiln.gemm(a, b, device="emu")


def test_current_stream_counts(cuda):
    """A call on a stream waits for what that stream does, and for no other one."""
    operands = Gemm(64, 256, 256)
    a, b = tensors(cuda, operands.pairs, "cuda")
    wanted = kiln.gemm(a, b)
    late = a[0].clone().view(cuda.uint8)
    values = late.clone()
    late.zero_()
    cuda.cuda.synchronize()
    side = cuda.cuda.Stream()
    for how in ("current", "given", "number"):
        out = cuda.empty_like(wanted)
        late.zero_()
        cuda.cuda.synchronize()
        operand = (late.view(cuda.float8_e4m3fn), a[1])
        with cuda.cuda.stream(side):
            cuda.cuda._sleep(20_000_000)  # ten milliseconds or so
            late.copy_(values)
            if how == "current":
                kiln.gemm(operand, b, out)
        if how != "current":
            stream = side if how == "given" else side.cuda_stream
            kiln.gemm(operand, b, out, stream=stream)
        side.synchronize()
        assert equal(cuda, out, wanted), how


def test_cuda_graph(cuda):
    operands, grouped = Gemm(64, 256, 256), Grouped(4, 64, 136, 144)
    a, b = tensors(cuda, operands.pairs, "cuda")
    tokens, experts = tensors(cuda, grouped.pairs, "cuda")
    end = cuda.tensor([5, 5, 20, 64], dtype=cuda.int32, device="cuda")
    out = cuda.zeros((64, 256), dtype=cuda.bfloat16, device="cuda")
    rows = cuda.zeros((64, 136), dtype=cuda.bfloat16, device="cuda")
    kiln.gemm_prepare(a, b, out)
    kiln.grouped_gemm_prepare(tokens, experts, Grouping.offsets(end), rows)
    graph = cuda.cuda.CUDAGraph()
    with cuda.cuda.graph(graph):
        kiln.gemm(a, b, out)
        kiln.grouped_gemm(tokens, experts, Grouping.offsets(end), rows)
        allocated = kiln.gemm(a, b)
    assert not out.any() and not rows.any()
    for values in ([5, 5, 20, 64], [64, 64, 64, 64]):
        end.copy_(cuda.tensor(values, dtype=cuda.int32))
        graph.replay()
        cuda.cuda.synchronize()
        assert equal(cuda, out, kiln.gemm(a, b)) and equal(cuda, allocated, out)
        assert equal(cuda, rows, kiln.grouped_gemm(tokens, experts, Grouping.offsets(end)))


def test_capture_without_a_warm_up(cuda):
    """A kernel of which the process has none yet is compiled and loaded while capturing."""
    operands = Gemm(64, 256, 384, by_row=True)
    a, b = tensors(cuda, operands.pairs, "cuda")
    out = cuda.empty((64, 256), dtype=cuda.float32, device="cuda")
    graph = cuda.cuda.CUDAGraph()
    with cuda.cuda.graph(graph):
        kiln.gemm(a, b, out)
    graph.replay()
    cuda.cuda.synchronize()
    wanted = bits.gemm(operands.a, operands.a_scales, operands.b, operands.b_scales)
    np.testing.assert_array_equal(out.cpu().numpy(), wanted)


def test_threads_with_streams(cuda):
    operands = Gemm(64, 256, 256)
    a, b = tensors(cuda, operands.pairs, "cuda")
    wanted = kiln.gemm(a, b)
    cuda.cuda.synchronize()
    results: dict[int, bool] = {}

    def work(number: int) -> None:
        with cuda.cuda.stream(cuda.cuda.Stream()):
            outs = [kiln.gemm(a, b) for _ in range(50)]
            cuda.cuda.current_stream().synchronize()
            results[number] = all(equal(cuda, out, wanted) for out in outs)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == dict.fromkeys(range(4), True)


def test_index_report_on_the_device(cuda):
    operands = Grouped(3, 40, 136, 144)
    a, b = tensors(cuda, operands.pairs, "cuda")
    report = cuda.zeros(4, dtype=cuda.int32, device="cuda")
    end = cuda.tensor([9, 5, 40], dtype=cuda.int32, device="cuda")
    kiln.grouped_gemm(a, b, Grouping.offsets(end), index_report=report)
    assert report.tolist()[:3] == [kiln.GroupIssue.DESCENDING, 1, 5]


def test_the_gpu_is_that_of_the_tensors(cuda):
    """Not the current one, and its current stream counts."""
    if cuda.cuda.device_count() < 2:
        pytest.skip("one GPU here")
    operands = Gemm(64, 256, 256)
    a, b = tensors(cuda, operands.pairs, "cuda:1")
    assert cuda.cuda.current_device() == 0
    side = cuda.cuda.Stream("cuda:1")
    side.wait_stream(cuda.cuda.current_stream("cuda:1"))
    with cuda.cuda.device(0):
        d = kiln.gemm(a, b)
        cuda.cuda.synchronize("cuda:1")
    with cuda.cuda.stream(side):
        on_side = kiln.gemm(a, b)
    side.synchronize()
    wanted = bits.gemm(operands.a, operands.a_scales, operands.b, operands.b_scales)
    for got in (d, on_side):
        assert got.device == a[0].device
        np.testing.assert_array_equal(got.cpu().view(cuda.uint16).numpy(), bits.bf16(wanted))


def test_importing_leaves_the_gpu_to_children(torch):
    """tvm-ffi asks Torch for a GPU while it is imported; where NVML answers, nothing is started that
    a fork does not survive. Here NVML answers that there is none."""
    if torch.version.cuda is None:
        pytest.skip("this Torch is not for CUDA")
    run(
        """
        import os, torch
        torch.cuda._device_count_nvml = lambda: 0
        import kiln
        assert "PYTORCH_NVML_BASED_CUDA_CHECK" not in os.environ
        child = os.fork()
        if child == 0:
            os._exit(torch.cuda._is_in_bad_fork())
        assert os.waitpid(child, 0)[1] == 0
        """
    )


def test_fork(cuda):
    """A child of a process that has imported the package and not used the GPU yet uses it, as the
    parent does; one of a process that has used it gets Kiln's error, and no crash."""
    said = run(
        """
        import os, torch, kiln
        def ones(*shape):
            return torch.ones(shape, device="cuda")
        def multiply():
            a = ones(64, 256).to(torch.float8_e4m3fn), ones(64, 2)
            b = ones(128, 256).to(torch.float8_e4m3fn), ones(1, 2)
            out = kiln.gemm(a, b)
            assert (out == 256).all()
            return a, b, out
        child = os.fork()
        operands = multiply()
        if child == 0:
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        child = os.fork()
        if child == 0:
            try:
                kiln.gemm(*operands)
            except kiln.Error as error:
                print(type(error).__name__, error, flush=True)
                os._exit(0)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        """
    )
    assert said.partition(" ")[0] in ("DriverError", "NoDeviceError"), said
