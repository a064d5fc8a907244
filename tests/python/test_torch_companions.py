"""quantize, swiglu, permute and unpermute with Torch: on a GPU every bit is the CPU model's; compiled,
captured in CUDA graphs, on streams. What needs no GPU runs on CPU tensors; the rest skips."""

from __future__ import annotations

import pytest

import kiln
from kiln import Permutation
from torch_tensors import equal

pytestmark = pytest.mark.usefixtures("torch")


def matrix(torch, *shape: int, seed: int = 1, dtype=None):
    """Of many magnitudes, on the CPU; BF16 unless said otherwise."""
    random = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=random)
    values *= torch.exp2(torch.rand(shape, generator=random) * 16 - 8)
    return values.to(dtype or torch.bfloat16)


def ids_of(torch, tokens: int, slots: int, groups: int):
    """With slots that are dropped among them."""
    random = torch.Generator().manual_seed(3)
    return torch.randint(-1, groups, (tokens, slots), generator=random)


def assert_equal(torch, got, wanted) -> None:
    """Tensors, or pairs of them and so on, on any device."""
    if isinstance(wanted, torch.Tensor):
        assert equal(torch, got.cpu(), wanted.cpu())
        return
    assert len(got) == len(wanted)
    for x, y in zip(got, wanted):
        assert_equal(torch, x, y)


@pytest.mark.parametrize("recipe", ["row_1x128", "block_128x128"])
@pytest.mark.parametrize("shape", [(300, 520), (2, 129, 384)])
def test_quantize(torch, device, recipe, shape):
    for dtype in (torch.bfloat16, torch.float32):
        x = matrix(torch, *shape, dtype=dtype)
        for options in (
            {},
            {"scale_rounding": "power_of_two", "scale_layout": "column_major"},
            {"transposed": True},
        ):
            got = kiln.quantize(x.to(device), recipe=recipe, **options)
            assert_equal(torch, got, kiln.quantize(x, recipe=recipe, **options))
    out = tuple(torch.zeros_like(part) for part in kiln.quantize(x, recipe=recipe))
    out = tuple(part.to(device) for part in out)
    assert kiln.quantize(x.to(device), out, recipe=recipe) is out
    assert_equal(torch, out, kiln.quantize(x, recipe=recipe))
    assert out[0].dtype == torch.float8_e4m3fn and out[1].dtype == torch.float32


def test_swiglu(torch, device):
    x = matrix(torch, 300, 1040) / 16
    w = torch.rand(300, generator=torch.Generator().manual_seed(2))
    last = torch.tensor([211], dtype=torch.int32)
    for options in ({}, {"clamp": 3.0}, {"out_dtype": torch.bfloat16}):
        got = kiln.swiglu(x.to(device), weights=w.to(device), **options)
        assert_equal(torch, got, kiln.swiglu(x, weights=w, **options))
    out = torch.zeros(300, 520, dtype=torch.bfloat16)
    on_device = out.to(device)
    assert kiln.swiglu(x.to(device), on_device, rows=last.to(device)) is on_device
    kiln.swiglu(x, out, rows=last)
    assert_equal(torch, on_device, out)
    assert not out[211:].any() and out[:211].any()


@pytest.mark.parametrize("alignment", [1, 64])
def test_permute_and_back(torch, device, alignment):
    tokens = kiln.quantize(matrix(torch, 500, 520))
    ids, w = ids_of(torch, 500, 4, 9), torch.rand(500, 4)
    wanted = kiln.permute(ids, 9, *tokens, w, alignment=alignment)
    for given in (ids, ids.to(torch.int32)):
        p = kiln.permute(
            given.to(device), 9, *(part.to(device) for part in tokens), w.to(device),
            alignment=alignment,
        )  # fmt: skip
        assert_equal(torch, p[:3], wanted[:3])
        there = wanted.sources >= 0
        for got, right in zip(p[3:6], wanted[3:6]):
            assert_equal(torch, got.cpu()[there], right[there])
        assert p.grouping.index is p.ends
    given = Permutation(*(torch.zeros_like(part) for part in p[:6]), alignment)
    operands = ids.to(device), 9, *(part.to(device) for part in tokens), w.to(device)
    assert kiln.permute(*operands, given, alignment=alignment) is given
    assert_equal(torch, given[:3], wanted[:3])
    # What is missing in it, or its alignment, is made.
    for part in given._replace(rows=None, weights=None), given._replace(alignment=3):
        again = kiln.permute(*operands, part, alignment=alignment, pdl=True)
        assert again.ends is given.ends and again.values is given.values
        assert again.alignment == alignment
        assert_equal(torch, again[:3], wanted[:3])
        assert_equal(torch, again.weights[there.to(device)], wanted.weights[there])
    x = matrix(torch, wanted.sources.shape[0], 264, seed=5)
    for weights in (w, None):
        got = kiln.unpermute(x.to(device), p.rows, None if weights is None else weights.to(device))
        assert_equal(torch, got, kiln.unpermute(x, wanted.rows, weights))
        out = torch.empty(500, 264, device=device)
        assert kiln.unpermute(x.to(device), p.rows, out=out) is out


def layer(x, ids, weights):
    """All four, as in an expert layer, without the products."""
    tokens = kiln.quantize(x)
    p = kiln.permute(ids, 9, *tokens, weights)
    (w, w_scales), (across, across_scales) = kiln.quantize(
        x.float(), transposed=True, recipe="block_128x128"
    )
    rows = kiln.permute(ids, 9, x).values
    act, act_scales = kiln.swiglu(rows, clamp=3.0, weights=p.weights, rows=p.ends[-1:])
    back = kiln.unpermute(rows, p.rows, weights)
    nobodys = (p.sources < 0)[:, None]
    return (
        *tokens, *p[:3], w, w_scales, across, across_scales,
        act.float().masked_fill(nobodys, 0), act_scales.masked_fill(nobodys, 0), back,
    )  # fmt: skip


def layer_inputs(torch, device):
    x = matrix(torch, 200, 512) / 16
    w = torch.rand(200, 3, generator=torch.Generator().manual_seed(4))
    return x.to(device), ids_of(torch, 200, 3, 9).to(device), w.to(device)


@pytest.mark.parametrize("dynamic", [None, True])
def test_compiled(torch, device, dynamic):
    inputs = layer_inputs(torch, device)
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    assert_equal(torch, compiled(*inputs), layer(*inputs))
    with pytest.raises(Exception, match="stream is given under torch.compile"):
        torch.compile(lambda x: kiln.quantize(x, stream=0), fullgraph=True, backend="aot_eager")(
            inputs[0]
        )


def test_opcheck(torch, device):
    x, ids, w = layer_inputs(torch, device)

    def check(name, *arguments):
        checks = torch.library.opcheck(getattr(torch.ops.kiln, name), arguments)
        assert set(checks.values()) == {"SUCCESS"}

    def empty(dtype, *shape):
        return torch.zeros(shape, dtype=dtype, device=device)

    # Torch's checks have no equality of FP8: its bytes.
    values, scales = empty(torch.uint8, 200, 512), empty(torch.float32, 200, 4)
    across = empty(torch.uint8, 512, 200), empty(torch.float32, 512, 2)
    check("quantize", x, values, scales, None, None, 0, 0)
    check("quantize", x, values, scales, *across, 0, 1)
    check("swiglu", x, values[:, :256].clone(), scales[:, :2].clone(), 3.0, w[:, 0], None, 0)
    check("swiglu", x, x[:, :256].clone(), None, None, None, None, 0)
    ends, sources = empty(torch.int32, 9), empty(torch.int32, 600)
    rows = empty(torch.int32, 200, 3)
    moved = empty(torch.bfloat16, 600, 512)
    check("permute", ids, 9, 1, ends, sources, rows, x, moved, None, None, None, None)
    report = empty(torch.int32, 4)
    check("permute", ids, 9, 1, ends, sources, rows, *[None] * 6, None, report)
    check("unpermute", moved, rows, w, empty(torch.float32, 200, 512))


def test_errors_leave_out_alone(torch, device):
    """By the short way too."""
    x, ids, w = layer_inputs(torch, device)
    out = kiln.quantize(x)
    out[0].view(torch.uint8).fill_(7)
    out[1].fill_(7)
    rows = torch.zeros(200, 3, dtype=torch.int32, device=device)
    sums = torch.full((200, 512), 7.0, device=device)
    sevens = (torch.full(n, 7, dtype=torch.int32, device=device) for n in ((9,), (600,), (200, 3)))
    p = Permutation(*sevens)
    for wrong, sentence in (
        (lambda: kiln.quantize(x, (out[0][:5], out[1])), "quantize: out.values has shape"),
        (lambda: kiln.quantize(x, (out[0], None)), "quantize: out.scales is None"),
        (lambda: kiln.quantize(x.half(), out), "quantize: x has dtype float16"),
        (lambda: kiln.quantize(x, out, recipe="rows"), "quantize: recipe is 'rows'"),
        (lambda: kiln.quantize(x, out, scale_layout="mn"), "quantize: scale_layout is 'mn'"),
        (lambda: kiln.quantize(x[0]), "quantize: x has 1 dimensions"),
        (lambda: kiln.swiglu(x, out), "swiglu: out.values has shape"),
        (lambda: kiln.swiglu(x, clamp="high"), "swiglu: clamp is a str, wanted a float"),
        (lambda: kiln.swiglu(x[0]), "swiglu: x has 1 dimensions"),
        (lambda: kiln.swiglu(x, weights=w), "swiglu: weights has 2 dimensions, wanted 1"),
        (lambda: kiln.unpermute(x, ids, out=sums), "unpermute: rows has dtype int64"),
        (lambda: kiln.unpermute(x, rows[:5], out=sums), "unpermute: rows has shape"),
        (lambda: kiln.permute(ids, 9, x.half()), "permute: values.from has dtype float16"),
        (lambda: kiln.permute(ids, "9", out=p), "permute: groups is a str, wanted an int"),
        (lambda: kiln.permute(ids, None, out=p), "permute: groups is a NoneType, wanted an int"),
        (lambda: kiln.permute(ids, 8, out=p), "permute: ends has shape [9, 1]"),
        (lambda: kiln.permute(ids, 9, alignment=2, out=p), "permute: sources has 600 rows"),
        (lambda: kiln.permute(ids, 9, scale_layout="mn", out=p), "permute: scale_layout is 'mn'"),
        (lambda: kiln.permute(ids[0], 9, out=p), "permute: ids has 1 dimensions"),
        (lambda: kiln.permute(ids, 9, out=p[:3]), "permute: out is a tuple"),
    ):
        with pytest.raises(kiln.InvalidArgumentError) as raised:
            wrong()
        assert str(raised.value).startswith(sentence)
    assert (out[0].view(torch.uint8) == 7).all() and (out[1] == 7).all() and (sums == 7).all()
    assert all((part == 7).all() for part in p[:3])


def test_fake_tensors(torch):
    from torch._subclasses.fake_tensor import FakeTensorMode

    mode = FakeTensorMode()
    x, ids, w = map(mode.from_tensor, layer_inputs(torch, "cpu"))
    with mode:
        assert [tuple(t.shape) for t in kiln.quantize(x, transposed=True)[1]] == [
            (512, 200), (512, 2),
        ]  # fmt: skip
        p = kiln.permute(ids, 9, x, weights=w, alignment=16)
        assert p.values.shape == (600 + 9 * 15, 512)
        assert kiln.unpermute(p.values, p.rows, w).shape == (200, 512)
        assert kiln.swiglu(p.values)[0].shape == (735, 256)


def test_cuda_graph(cuda):
    x, ids, w = layer_inputs(cuda, "cuda")
    layer(x, ids, w)
    graph = cuda.cuda.CUDAGraph()
    with cuda.cuda.graph(graph):
        captured = layer(x, ids, w)
    for seed in (8, 9):
        x.copy_(matrix(cuda, 200, 512, seed=seed) / 16)
        ids.copy_(ids.roll(seed, 0))
        graph.replay()
        cuda.cuda.synchronize()
        assert_equal(cuda, captured, layer(x, ids, w))


def test_streams(cuda):
    """A call waits for what its stream does, the current one or the one that is given."""
    x, ids, w = layer_inputs(cuda, "cuda")
    wanted = layer(x, ids, w)
    values = x.clone()
    cuda.cuda.synchronize()
    side = cuda.cuda.Stream()
    x.zero_()
    cuda.cuda.synchronize()
    with cuda.cuda.stream(side):
        cuda.cuda._sleep(20_000_000)  # ten milliseconds or so
        x.copy_(values)
        got = layer(x, ids, w)
    side.synchronize()
    assert_equal(cuda, got, wanted)
    out = Permutation(
        cuda.zeros(9, dtype=cuda.int32, device="cuda"),
        cuda.zeros(600, dtype=cuda.int32, device="cuda"),
        cuda.zeros(200, 3, dtype=cuda.int32, device="cuda"),
    )
    cuda.cuda.synchronize()
    kiln.permute(ids, 9, out=out, stream=side)
    side.synchronize()
    assert_equal(cuda, out[:3], wanted[2:5])
