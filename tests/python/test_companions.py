"""quantize, swiglu, permute and unpermute on NumPy arrays: the bits against bits.py, on the CPU model
and in the emulator; every form of the arguments; errors."""

from __future__ import annotations

import numpy as np
import pytest

import bits
import kiln
from kiln import Grouping, Permutation

ml_dtypes = pytest.importorskip("ml_dtypes")
DEVICES = ["cpu", "emu"]
BOTH = ("row_1x128", "block_128x128")


def matrix(*shape: int, seed: int = 1) -> np.ndarray:
    """FP32 of many magnitudes."""
    random = np.random.default_rng(seed)
    values = random.normal(size=shape) * np.exp2(random.uniform(-8, 8, shape))
    return values.astype(np.float32)


def as_bytes(values: np.ndarray) -> np.ndarray:
    return values.view(np.uint8)


def check_pair(pair, wanted) -> None:
    assert pair[0].dtype == ml_dtypes.float8_e4m3fn
    np.testing.assert_array_equal(as_bytes(pair[0]), wanted[0])
    np.testing.assert_array_equal(pair[1], wanted[1])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("recipe", BOTH)
def test_quantize_every_bit(device, recipe):
    x = matrix(70, 200)
    wanted = bits.quantize(x, recipe)
    check_pair(kiln.quantize(x, recipe=recipe, device=device), wanted)
    check_pair(
        kiln.quantize(x, recipe=recipe, scale_rounding="power_of_two", device=device),
        bits.quantize(x, recipe, power_of_two=True),
    )
    out, transposed = kiln.quantize(x, transposed=True, recipe=recipe, device=device)
    check_pair(out, wanted)
    if recipe == "row_1x128":
        check_pair(transposed, bits.quantize(x.T, recipe))
    else:
        check_pair(transposed, (wanted[0].T, wanted[1].T))


@pytest.mark.parametrize("device", DEVICES)
def test_quantize_of_bf16_and_of_a_batch(device):
    x = matrix(2, 33, 136).astype(ml_dtypes.bfloat16)
    values, scales = kiln.quantize(x, device=device)
    for i in range(2):
        check_pair((values[i], scales[i]), bits.quantize(x[i].astype(np.float32)))
    (again, _), transposed = kiln.quantize(x.view(np.uint16), transposed=True, device=device)
    np.testing.assert_array_equal(as_bytes(again), as_bytes(values))
    assert transposed[0].shape == (2, 136, 33) and transposed[1].shape == (2, 136, 1)
    check_pair(
        (transposed[0][1], transposed[1][1]), bits.quantize(x[1].astype(np.float32).T.copy())
    )


def test_quantize_writes_what_it_is_given_and_nothing_beside_it():
    x = matrix(40, 200)
    wanted = bits.quantize(x)
    values = np.full((42, 220), 7, np.uint8)
    scales = np.full((3, 90), 7, np.float32)
    out = values[1:41, 9:209], scales[:2, 5:85:2].T
    across = np.empty((200, 40), np.uint8), np.empty((200, 1), np.float32)
    assert kiln.quantize(x, out)[0] is out[0]
    both = kiln.quantize(x, out, transposed=across)
    assert both[0] is out and both[1] is across
    np.testing.assert_array_equal(out[0], wanted[0])
    np.testing.assert_array_equal(out[1], wanted[1])
    np.testing.assert_array_equal(across[0], bits.quantize(x.T)[0])
    out[0][:], out[1][:] = 7, 7
    assert (values == 7).all() and (scales == 7).all()


@pytest.mark.parametrize("shape", [(37, 272), (2, 37, 272)])
def test_layouts_of_scales(shape):
    """Those that are allocated start their rows, or columns, on 16 bytes: the copy engine's."""
    x = matrix(*shape)
    by_rows, by_columns = (
        kiln.quantize(x, scale_layout=layout)[1] for layout in ("row_major", "column_major")
    )
    assert by_rows.shape == by_columns.shape == (*shape[:-1], 3)
    np.testing.assert_array_equal(by_rows, by_columns)
    assert by_rows.strides[-2:] == (16, 4) and by_columns.strides[-2:] == (4, 160)
    blocks = kiln.quantize(x, recipe="block_128x128", scale_layout="column_major")[1]
    assert blocks.shape == (*shape[:-2], 1, 3)
    packed = kiln.quantize(matrix(5, 512))[1]
    assert packed.flags.c_contiguous


def test_what_is_quantised_multiplies():
    x, w = matrix(37, 272), matrix(136, 272, seed=2)
    a, b = kiln.quantize(x), kiln.quantize(w, recipe="block_128x128")
    d = kiln.gemm(a, b, out_dtype="fp32")
    np.testing.assert_array_equal(d, bits.gemm(*bits.quantize(x), *bits.quantize(w, BOTH[1])))
    # A value is off by at most 2^-4 of itself, or of half the smallest normal times its scale.
    bound = 2**-4 * (1.1 * np.abs(x) @ np.abs(w).T)
    bound += 2**-9 * np.repeat(a[1], 128, axis=1)[:, :272] @ np.abs(w).T
    bound += 2**-9 * np.abs(x) @ np.repeat(np.repeat(b[1], 128, axis=1), 128, axis=0)[:136, :272].T
    assert (np.abs(d - x.astype(np.float64) @ w.T) <= 2 * bound).all()


def swiglu(x: np.ndarray, clamp: float | None = None, weights=1.0) -> np.ndarray:
    """The formula in FP64."""
    gate, up = np.split(x.astype(np.float64), 2, axis=-1)
    if clamp is not None:
        gate, up = np.minimum(gate, clamp), np.clip(up, -clamp, clamp)
    return gate / (1 + np.exp(-gate)) * up * np.asarray(weights, np.float64)[..., None]


@pytest.mark.parametrize("device", DEVICES)
def test_swiglu(device):
    """To BF16 within its rounding and six of FP32; to E4M3 within its rounding (2^-4, or half the
    smallest subnormal); and the same bits from the model and from the kernel."""
    x = (matrix(37, 400) / 16).astype(ml_dtypes.bfloat16)
    weights = np.random.default_rng(3).uniform(0, 1, 37).astype(np.float32)
    for clamp, w in ((None, None), (2.5, None), (4, weights)):
        wanted = swiglu(x, clamp, 1.0 if w is None else w)
        to_bf16 = kiln.swiglu(x, clamp=clamp, weights=w, out_dtype="bf16", device=device)
        error = np.abs(to_bf16.astype(np.float64) - wanted)
        assert (error <= (2**-8 + 6 * 2**-24) * np.abs(wanted) + 1e-37).all()
        values, scales = kiln.swiglu(x, clamp=clamp, weights=w, device=device)
        assert values.shape == (37, 200) and scales.shape == (37, 2)
        scale = np.repeat(scales, 128, axis=1)[:, :200].astype(np.float64)
        error = np.abs(values.astype(np.float64) * scale - wanted)
        assert (error <= (2**-4 + 1e-6) * np.abs(wanted) + 2**-10 * scale).all()
        model = kiln.swiglu(x, clamp=clamp, weights=w, device="cpu")
        np.testing.assert_array_equal(as_bytes(values), as_bytes(model[0]))
        np.testing.assert_array_equal(scales, model[1])


@pytest.mark.parametrize("device", DEVICES)
def test_swiglu_of_so_many_rows(device):
    x = matrix(2, 40, 256, seed=5).astype(ml_dtypes.bfloat16)
    weights = np.random.default_rng(6).uniform(0, 1, (2, 40)).astype(np.float32)
    rows, report = np.array([3, 50], np.int32), np.zeros(4, np.int32)
    out = np.full((2, 40, 128), 7, np.uint8), np.full((2, 40, 1), 7, np.float32)
    written = kiln.swiglu(x, out, weights=weights, rows=rows, index_report=report, device=device)
    assert written is out
    assert list(report) == [kiln.GroupIssue.PAST_THE_END, 1, 50, 40]
    wanted = kiln.swiglu(x, weights=weights, scale_layout="column_major")
    assert wanted[1].strides[-2] == 4
    for i, count in ((0, 3), (1, 40)):
        np.testing.assert_array_equal(out[0][i, :count], as_bytes(wanted[0][i, :count]))
        np.testing.assert_array_equal(out[1][i, :count], wanted[1][i, :count])
    assert (out[0][0, 3:] == 7).all() and (out[1][0, 3:] == 7).all()


IDS = np.random.default_rng(7).integers(-1, 5, (70, 3))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("alignment", [1, 16])
def test_permute(device, alignment):
    values, scales = bits.quantize(matrix(70, 200))
    weights = np.random.default_rng(8).uniform(0, 1, (70, 3)).astype(np.float32)
    p = kiln.permute(IDS, 5, values, scales, weights, alignment=alignment, device=device)
    rows = kiln.most_permuted_rows(70, 3, 5, alignment)
    ends, sources, of_slot = bits.permute(IDS, 5, alignment, rows)
    for got, wanted in ((p.ends, ends), (p.sources, sources), (p.rows, of_slot)):
        assert got.dtype == np.int32
        np.testing.assert_array_equal(got, wanted)
    there = sources >= 0
    np.testing.assert_array_equal(p.values[there], values[sources[there] // 3])
    np.testing.assert_array_equal(p.scales[there], scales[sources[there] // 3])
    np.testing.assert_array_equal(p.weights[there], weights.reshape(-1)[sources[there]])
    kind = "offsets" if alignment == 1 else "aligned_offsets"
    assert p.grouping.kind == kind and p.grouping.index is p.ends
    assert alignment == 1 or p.grouping.alignment == alignment


@pytest.mark.parametrize("device", DEVICES)
def test_permute_into_memory_of_the_callers(device):
    out = Permutation(
        np.zeros(5, np.int32), np.zeros(300, np.int32), np.zeros((70, 3), np.int32),
        np.full((300, 64), 7, np.float32),
    )  # fmt: skip
    report = np.zeros(4, np.int32)
    ids = IDS.astype(np.int32)
    ids[4, 1] = 9
    values = matrix(70, 64)
    p = kiln.permute(ids, 5, values, out=out, index_report=report, device=device)
    assert p.values is out.values and p.ends is out.ends
    assert list(report) == [kiln.GroupIssue.NO_SUCH_GROUP, 13, 9, 5]
    ids[4, 1] = -1
    ends, sources, rows = bits.permute(ids, 5, 1, 300)
    np.testing.assert_array_equal(out.ends, ends)
    np.testing.assert_array_equal(out.sources, sources)
    np.testing.assert_array_equal(out.rows, rows)
    np.testing.assert_array_equal(out.values[: ends[-1]], values[sources[: ends[-1]] // 3])
    assert (out.values[ends[-1] :] == 7).all()


@pytest.mark.parametrize("device", DEVICES)
def test_unpermute(device):
    x = matrix(210, 136)
    _, _, rows = bits.permute(IDS, 5, 1, 210)
    weights = np.random.default_rng(9).uniform(0, 1, (70, 3)).astype(np.float32)
    wanted = bits.unpermute(x, rows, weights)
    d = kiln.unpermute(x, rows, weights, out_dtype="fp32", device=device)
    np.testing.assert_array_equal(d, wanted)
    to_bf16 = kiln.unpermute(x, rows, weights, device=device)
    np.testing.assert_array_equal(to_bf16.view(np.uint16), bits.bf16(wanted))
    out = np.empty((70, 136), np.float32)
    assert kiln.unpermute(x, rows, out=out, device=device) is out
    np.testing.assert_array_equal(out, bits.unpermute(x, rows, np.ones_like(weights)))


def test_an_expert_layer_is_the_rows_one_by_one():
    """permute, grouped_gemm and unpermute against gemm() of each token's experts."""
    tokens, w = kiln.quantize(matrix(9, 144)), matrix(3, 136, 144, seed=2)
    experts = kiln.quantize(w, recipe="block_128x128")
    ids = np.array([[0, 2], [2, 1], [1, -1]] * 3)
    p = kiln.permute(ids, 3, *tokens)
    d = kiln.grouped_gemm((p.values, p.scales), experts, p.grouping, out_dtype="fp32")
    sums = kiln.unpermute(d, p.rows, out_dtype="fp32")
    for token in range(9):
        each = [
            kiln.gemm(
                (tokens[0][token : token + 1], tokens[1][token : token + 1]),
                (experts[0][expert], experts[1][expert]), out_dtype="fp32",
            )[0]
            for expert in ids[token] if expert >= 0
        ]  # fmt: skip
        np.testing.assert_array_equal(sums[token], sum(each, np.zeros(136, np.float32)))


def test_prepare_writes_nothing_and_no_workspace_is_needed():
    x = matrix(8, 128).astype(ml_dtypes.bfloat16)
    out = np.full((8, 128), 7, np.uint8), np.full((8, 1), 7, np.float32)
    half = out[0][:, :64].copy(), out[1]
    p = Permutation(*(np.full(shape, 7, np.int32) for shape in (5, 210, (70, 3))))
    sums = np.full((70, 128), 7, np.float32)
    assert kiln.quantize_prepare(x, out, device="emu") is None
    assert kiln.swiglu_prepare(x, half, device="emu") is None
    assert kiln.permute_prepare(IDS, 5, out=p, device="emu") is None
    assert kiln.unpermute_prepare(x, p.rows, out=sums, device="emu") is None
    assert all((array == 7).all() for array in (*out, half[0], *p[:3], sums))
    assert kiln.quantize_workspace_bytes(x) == kiln.swiglu_workspace_bytes(x) == 0
    assert kiln.unpermute_workspace_bytes(x, p.rows) == 0
    assert kiln.permute_workspace_bytes(IDS, 5) == kiln.permute_workspace_bytes(IDS, 5, out=p) == 0


def test_options_of_a_call_change_no_bit():
    x = matrix(70, 200)
    wanted, wanted_map = kiln.quantize(x), kiln.permute(IDS, 5)[:3]
    for options in (
        {"sm_budget": 1},
        {"pdl": True},
        {"invariance": "none"},
        {"emulation": kiln.Emulation(seed=7, policy="mixed", check=True, threads=1)},
        {"stream": 0},
        {"workspace": np.empty(64, np.uint8)},
    ):
        values, scales = kiln.quantize(x, device="emu", **options)
        np.testing.assert_array_equal(as_bytes(values), as_bytes(wanted[0]), err_msg=str(options))
        np.testing.assert_array_equal(scales, wanted[1])
        for got, right in zip(kiln.permute(IDS, 5, device="emu", **options), wanted_map):
            np.testing.assert_array_equal(got, right, err_msg=str(options))


X = matrix(8, 128)
BF16 = X.astype(ml_dtypes.bfloat16)
OUT = np.full((8, 128), 7, np.uint8), np.full((8, 1), 7, np.float32)
ROWS = np.zeros((70, 3), np.int32)

INVALID = {
    "quantize: out.values has shape [7, 128], wanted [M, K] = [8, 128]": lambda: kiln.quantize(
        X, (OUT[0][:7], OUT[1])
    ),
    "quantize: out.scales has shape [8, 1], wanted [cdiv(M,128), cdiv(K,128)] = [1, 1] for recipe "
    "block_128x128": lambda: kiln.quantize(X, OUT, recipe="block_128x128"),
    "quantize: recipe is 'rows', wanted 'row_1x128' or 'block_128x128'": lambda: kiln.quantize(
        X, recipe="rows"
    ),
    "quantize: scale_rounding is 'up', wanted 'nearest' or 'power_of_two'": lambda: kiln.quantize(
        X, OUT, scale_rounding="up"
    ),
    "quantize: scale_layout is 'mn', wanted 'row_major' or 'column_major'": lambda: kiln.quantize(
        X, scale_layout="mn"
    ),
    "quantize: x has 1 dimensions, wanted 2 or 3": lambda: kiln.quantize(X[0]),
    "quantize: device is 'gpu', wanted 'cuda', 'emu' or 'cpu'": lambda: kiln.quantize(
        X, device="gpu"
    ),
    "swiglu: clamp is -1, wanted a finite number above 0": lambda: kiln.swiglu(BF16, clamp=-1),
    "swiglu: x has shape [8, 127], wanted [M, 2H]: as many up as gate columns": lambda: kiln.swiglu(
        BF16[:, :127], (OUT[0][:, :63], OUT[1])
    ),
    "swiglu: weights has shape [7, 1], wanted [M, 1] = [8, 1]": lambda: kiln.swiglu(
        BF16, weights=X[:7, 0].copy()
    ),
    "permute: groups is 0, wanted 1 to 1024": lambda: kiln.permute(IDS, 0),
    "permute: alignment is 0, wanted 1 to 1048576 rows": lambda: kiln.permute(IDS, 5, alignment=0),
    "permute: sources has 209 rows, wanted at least most_permuted_rows(70, 3, 5, 1) = "
    "210": lambda: kiln.permute(
        IDS, 5, out=Permutation(None, np.empty(209, np.int32), None), device="emu"
    ),
    "permute: sources has 264 rows, wanted at least most_permuted_rows(70, 3, 5, 12) = "
    "265": lambda: kiln.permute(
        IDS, 5, alignment=12, out=Permutation(None, np.empty(264, np.int32), None)
    ),
    "permute: workspace is not one contiguous dimension, wanted that": lambda: kiln.permute(
        IDS, 5, workspace=np.empty((2, 2), np.uint8)
    ),
    "unpermute: x has shape [8, 128], wanted [R, H] with H = 100 as in out": lambda: kiln.unpermute(
        X, ROWS, out=np.empty((70, 100), np.float32)
    ),
}

WRONG_TYPE = {
    "quantize: x has dtype float64, wanted bf16 or fp32": lambda: kiln.quantize(
        X.astype(np.float64)
    ),
    "quantize: x is None, wanted a tensor": lambda: kiln.quantize(None),
    "quantize: out is a ndarray, wanted a pair (values, scales)": lambda: kiln.quantize(X, OUT[0]),
    "swiglu: x has dtype fp32, wanted bf16": lambda: kiln.swiglu(X),
    "swiglu: clamp is a str, wanted a float": lambda: kiln.swiglu(BF16, clamp="high"),
    "swiglu: out_dtype is fp32, wanted e4m3 or bf16": lambda: kiln.swiglu(BF16, out_dtype="fp32"),
    "permute: ids has dtype fp32, wanted int32 or int64": lambda: kiln.permute(X, 5),
    "permute: groups is a str, wanted an int": lambda: kiln.permute(IDS, "5"),
    "permute: out is a tuple, wanted a kiln.Permutation": lambda: kiln.permute(IDS, 5, out=()),
    "unpermute: rows has dtype int64, wanted int32": lambda: kiln.unpermute(X, IDS),
}


@pytest.mark.parametrize("sentence", [*INVALID, *WRONG_TYPE])
def test_errors(sentence):
    kind = kiln.InvalidArgumentError if sentence in INVALID else kiln.WrongTypeError
    with pytest.raises(kind) as raised:
        {**INVALID, **WRONG_TYPE}[sentence]()
    assert type(raised.value) is kind
    assert str(raised.value) == sentence
    assert (OUT[0] == 7).all() and (OUT[1] == 7).all()


def test_unknown_keywords_name_the_function():
    for call, name in (
        (lambda: kiln.quantize(X, fast=True), "quantize"),
        (lambda: kiln.quantize(X, index_report=ROWS), "quantize"),
        (lambda: kiln.swiglu(BF16, fast=True), "swiglu"),
        (lambda: kiln.permute(IDS, 5, fast=True), "permute"),
        (lambda: kiln.unpermute(X, ROWS, fast=True), "unpermute"),
    ):
        with pytest.raises(TypeError, match=rf"^{name}\(\) got an unexpected keyword argument"):
            call()


def test_permutation_says_what_grouped_gemm_takes():
    p = kiln.permute(IDS, 5)
    assert isinstance(p.grouping, Grouping) and p.values is p.scales is p.weights is None
