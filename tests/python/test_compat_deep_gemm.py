"""kiln.compat.deep_gemm: the whole surface, on NumPy arrays what needs no Torch, and the calls that
vLLM and SGLang make."""

from __future__ import annotations

import importlib.util
import inspect
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bits
import kiln
import kiln.compat
import kiln.compat.deep_gemm as dg
from kiln.compat.deep_gemm._knobs import Settings, settings
from operands import Gemm, Grouped

# Every name that a framework looks up.
SURFACE = {
    "knobs": """set_num_sms get_num_sms set_tc_util get_tc_util set_pdl get_pdl
        set_ignore_compile_dims set_block_size_multiple_of use_deterministic_algorithms
        set_compile_mode get_compile_mode""",
    "dense": """fp8_gemm_nt fp8_gemm_nn fp8_gemm_tn fp8_gemm_tt fp8_fp4_gemm_nt fp8_fp4_gemm_nn
        fp8_fp4_gemm_tn fp8_fp4_gemm_tt bf16_gemm_nt bf16_gemm_nn bf16_gemm_tn bf16_gemm_tt
        cublaslt_gemm_nt cublaslt_gemm_nn cublaslt_gemm_tn cublaslt_gemm_tt
        fp8_gemm_nt_skip_head_mid""",
    "m-grouped": """m_grouped_fp8_gemm_nt_contiguous m_grouped_fp8_gemm_nn_contiguous
        m_grouped_fp8_fp4_gemm_nt_contiguous m_grouped_fp8_fp4_gemm_nn_contiguous
        m_grouped_fp8_gemm_nt_masked fp8_m_grouped_gemm_nt_masked m_grouped_fp8_fp4_gemm_nt_masked
        m_grouped_bf16_gemm_nt_contiguous m_grouped_bf16_gemm_nn_contiguous
        m_grouped_bf16_gemm_nt_masked bf16_m_grouped_gemm_nt_masked""",
    "k-grouped": """k_grouped_fp8_gemm_nt_contiguous k_grouped_fp8_gemm_tn_contiguous
        k_grouped_bf16_gemm_tn_contiguous""",
    "indexer": """fp8_fp4_mqa_logits fp8_fp4_paged_mqa_logits fp8_mqa_logits fp8_paged_mqa_logits
        get_paged_mqa_logits_metadata""",
    "misc": "tf32_hc_prenorm_gemm einsum fp8_einsum",
    "layout": """transform_sf_into_required_layout get_mn_major_tma_aligned_tensor
        get_mn_major_tma_aligned_packed_ue8m0_tensor
        get_k_grouped_mn_major_tma_aligned_packed_ue8m0_tensor get_tma_aligned_size
        get_mk_alignment_for_contiguous_layout set_mk_alignment_for_contiguous_layout
        get_theoretical_mk_alignment_for_contiguous_layout get_m_alignment_for_contiguous_layout
        get_k_alignment_for_contiguous_layout pack_ue8m0_to_int ceil_to_ue8m0 ceil_div align
        per_token_cast_to_fp8 per_block_cast_to_fp8 per_channel_cast_to_fp8
        per_custom_dims_cast_to_fp8 calc_diff""",
    "mega": """SymmBuffer get_symm_buffer_for_mega_moe transform_weights_for_mega_moe
        fp8_fp4_mega_moe bf16_mega_moe mega_moe_pre_dispatch get_block_m_for_mega_moe fp8_mega_moe
        transform_weights_for_mega_moe_sm90""",
    "first release": """gemm_fp8_fp8_bf16_nt m_grouped_gemm_fp8_fp8_bf16_nt_contiguous
        m_grouped_gemm_fp8_fp8_bf16_nt_masked get_col_major_tma_aligned_tensor""",
}  # fmt: skip
NAMES = [name for names in SURFACE.values() for name in names.split()]


@pytest.fixture(autouse=True)
def default_settings():
    """The process-wide settings are back at their defaults after a test."""
    yield
    for name, value in vars(Settings()).items():
        setattr(settings, name, value)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there(name):
    assert callable(getattr(dg, name))
    assert name in dg.__all__


def test_what_has_not_landed_says_so():
    assert set(dg.NOT_LANDED) <= set(NAMES)
    for name, missing in dg.NOT_LANDED.items():
        with pytest.raises(NotImplementedError) as raised:
            getattr(dg, name)(1, 2, three=3)
        assert str(raised.value) == f"{name}: Kiln does not have {missing} yet"
        assert isinstance(raised.value, kiln.Error) and raised.value.code == "unsupported"


def test_the_documentation_lists_what_has_not_landed():
    page = Path(__file__).parents[2] / "docs/python.md"
    if not page.exists():
        pytest.skip("without the source tree")
    table = page.read_text().partition("| missing | names |")[2].partition("\n\n")[0]
    documented = {}
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == 2 and not cells[0].startswith("-"):
            documented |= dict.fromkeys(re.findall(r"`(\w+)`", cells[1]), cells[0])
    assert documented == dg.NOT_LANDED


def test_keywords_and_defaults_are_the_peers():
    dense = {"c": None, "recipe": None, "recipe_a": None, "recipe_b": None}
    contiguous = {
        "recipe": None, "recipe_a": None, "recipe_b": None, "compiled_dims": "nk", "disable_ue8m0_cast": False,
        "use_psum_layout": False, "ensure_zero_padding": True,
    }  # fmt: skip
    wanted = {
        "fp8_gemm_nt": dense | {"compiled_dims": "nk", "disable_ue8m0_cast": False},
        "fp8_gemm_nn": dense | {"compiled_dims": "nk", "disable_ue8m0_cast": False},
        "fp8_gemm_tn": dense | {"compiled_dims": "mn", "disable_ue8m0_cast": False},
        "fp8_gemm_tt": dense | {"compiled_dims": "mn", "disable_ue8m0_cast": False},
        "m_grouped_fp8_gemm_nt_contiguous": contiguous | {"expected_m_for_psum_layout": None},
        "m_grouped_fp8_gemm_nn_contiguous": contiguous,
        "m_grouped_fp8_gemm_nt_masked": {
            "recipe": None, "recipe_a": None, "recipe_b": None, "compiled_dims": "nk", "disable_ue8m0_cast": False,
            "max_block_n": 256, "enable_overlap": False, "signal": None,
        },
    }  # fmt: skip
    firsts = {
        "m_grouped_fp8_gemm_nt_contiguous": ["a", "b", "d", "grouped_layout"],
        "m_grouped_fp8_gemm_nn_contiguous": ["a", "b", "d", "grouped_layout"],
        "m_grouped_fp8_gemm_nt_masked": ["a", "b", "d", "masked_m", "expected_m"],
    }
    for name, defaults in wanted.items():
        parameters = inspect.signature(getattr(dg, name)).parameters
        first = firsts.get(name, ["a", "b", "d"])
        positional = [p.name for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
        assert positional == first + list(defaults), name
        assert {key: parameters[key].default for key in defaults} == defaults, name


def test_aliases_are_one_function():
    for alias, name in (
        ("fp8_fp4_gemm_nt", "fp8_gemm_nt"),
        ("m_grouped_fp8_fp4_gemm_nt_contiguous", "m_grouped_fp8_gemm_nt_contiguous"),
        ("m_grouped_fp8_fp4_gemm_nt_masked", "m_grouped_fp8_gemm_nt_masked"),
        ("fp8_m_grouped_gemm_nt_masked", "m_grouped_fp8_gemm_nt_masked"),
        ("get_m_alignment_for_contiguous_layout", "get_mk_alignment_for_contiguous_layout"),
        ("get_k_alignment_for_contiguous_layout", "get_mk_alignment_for_contiguous_layout"),
    ):
        assert getattr(dg, alias) is getattr(dg, name)


def test_knobs_are_remembered_and_reach_a_call(monkeypatch):
    dg.set_tc_util(80), dg.set_pdl(True), dg.set_compile_mode(1), dg.set_num_sms(78)
    dg.set_ignore_compile_dims(True), dg.set_block_size_multiple_of(16)
    dg.set_block_size_multiple_of((16, 32)), dg.use_deterministic_algorithms(True)
    dg.set_mk_alignment_for_contiguous_layout(64)
    assert (dg.get_tc_util(), dg.get_pdl(), dg.get_compile_mode()) == (80, True, 1)
    assert (dg.get_num_sms(), dg.get_mk_alignment_for_contiguous_layout()) == (78, 64)
    seen = []
    monkeypatch.setattr(dg._gemms, "gemm", lambda *a, **options: seen.append(options))
    monkeypatch.setattr(
        dg._gemms, "grouped_gemm", lambda *a, **options: seen.append((a[2], options))
    )
    dg.fp8_gemm_nt((1, 2), (3, 4), 5, recipe=(1, 1, 128))
    dg.m_grouped_fp8_gemm_nt_contiguous((1, 2), (3, 4), 5, [0])
    dg.m_grouped_fp8_gemm_nt_masked((1, 2), (3, 4), 5, [0], 9)
    knobs = {"sm_budget": 78, "pdl": True}
    assert seen == [
        knobs | {"b_recipe": "row_1x128"},
        (kiln.Grouping.row_ids([0], 64), knobs),
        (kiln.Grouping.masked([0], 9), knobs),
    ]
    for wrong in (lambda: dg.set_num_sms(0), lambda: dg.set_tc_util(101)):
        with pytest.raises(RuntimeError, match="wanted"):
            wrong()


def test_it_takes_the_name_only_when_asked():
    """And under it every way of importing works; environment names of the peer's are accepted."""
    code = """
import os, sys
os.environ.update(DG_JIT_CACHE_DIR="/nonexistent", DG_JIT_USE_NVRTC="1", DG_JIT_DEBUG="1",
                  DG_PRINT_CONFIGS="1", DG_JIT_NVCC_COMPILER="/nonexistent/nvcc")
import kiln.compat.deep_gemm
assert "deep_gemm" not in sys.modules
kiln.compat.install_deep_gemm()
import deep_gemm, importlib.util
from deep_gemm import fp8_gemm_nt
from deep_gemm.utils.layout import get_mn_major_tma_aligned_tensor
from deep_gemm.utils.math import ceil_div
from deep_gemm.testing import calc_diff
assert fp8_gemm_nt is kiln.compat.deep_gemm.fp8_gemm_nt
assert importlib.util.find_spec("deep_gemm") is not None
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("form", ["nt", "nn", "tn", "tt"])
def test_dense_forms(form):
    operands = Gemm(37, 200, 272)
    wanted = bits.gemm(operands.a, operands.a_scales, operands.b, operands.b_scales)
    # Transposed operands are views: K stays contiguous.
    a, b = (
        (x.T, s.T) if f else (x, s)
        for (x, s), f in zip(operands.pairs, (form[0] == "t", form[1] == "n"))
    )
    d = np.empty((37, 200), np.float32)
    assert getattr(dg, f"fp8_gemm_{form}")(a, b, d) is None
    np.testing.assert_array_equal(d, wanted)
    c = operands.c.copy()
    getattr(dg, f"fp8_fp4_gemm_{form}")(a, b, c, c=c, recipe_a=(1, 128), recipe_b=(128, 128))
    np.testing.assert_array_equal(c, operands.c + wanted)


def test_recipes():
    operands = Gemm(37, 200, 272, by_row=True)
    d = np.empty((37, 200), np.float32)
    dg.fp8_gemm_nt(*operands.pairs, d, recipe=(1, 1, 128))
    wanted = bits.gemm(operands.a, operands.a_scales, operands.b, operands.b_scales)
    np.testing.assert_array_equal(d, wanted)
    for error, recipe in (
        (NotImplementedError, {"recipe": (1, 1, 32)}),
        (NotImplementedError, {"recipe_a": (1, 32), "recipe_b": (1, 32)}),
        (RuntimeError, {"recipe": (1, 1, 128), "recipe_a": (1, 128), "recipe_b": (1, 128)}),
        (RuntimeError, {"recipe_a": (1, 128)}),
        (RuntimeError, {"recipe": (1, 128, 128)}),  # the scales are not of that recipe
    ):
        with pytest.raises(error, match="gemm"):
            dg.fp8_gemm_nt(*operands.pairs, d, **recipe)


def test_operands_of_later_operations_are_refused_as_such():
    operands = Gemm(37, 200, 272)
    a, b = operands.pairs
    d = np.empty((37, 200), np.float32)
    with pytest.raises(NotImplementedError, match="FP4"):
        dg.fp8_fp4_gemm_nt(a, (b[0].view(np.int8), b[1]), d)
    with pytest.raises(NotImplementedError, match="UE8M0"):
        dg.fp8_gemm_nt((a[0], a[1].view(np.int32)), b, d)
    with pytest.raises(NotImplementedError, match="overlap"):
        dg.m_grouped_fp8_gemm_nt_masked(a, b, d, None, 1, enable_overlap=True)


def test_contiguous_by_row_ids():
    operands = Grouped(3, 256, 136, 144)
    ids = np.full(256, -1, np.int32)
    ids[:100] = 2
    d = np.full((256, 136), 7, np.float32)
    dg.m_grouped_fp8_gemm_nt_contiguous(*operands.pairs, d, m_indices=ids)
    wanted = bits.gemm(operands.a, operands.a_scales, operands.b[2], operands.b_scales[2])
    np.testing.assert_array_equal(d[:100], wanted[:100])
    assert (d[100:] == 7).all()
    again = np.full((256, 136), 7, np.float32)
    dg.m_grouped_gemm_fp8_fp8_bf16_nt_contiguous(*operands.pairs, again, ids)
    np.testing.assert_array_equal(again, d)
    nn = np.full((256, 136), 7, np.float32)
    b = operands.b.swapaxes(1, 2), operands.b_scales.swapaxes(1, 2)
    dg.m_grouped_fp8_gemm_nn_contiguous(operands.pairs[0], b, nn, ids)
    np.testing.assert_array_equal(nn, d)
    with pytest.raises(RuntimeError, match="wanted grouped_layout"):
        dg.m_grouped_fp8_gemm_nt_contiguous(*operands.pairs, d)


def test_masked():
    operands = Grouped(3, 60, 136, 144)
    a = operands.a.reshape(3, 20, 144), operands.a_scales.reshape(3, 20, 2)
    rows = np.array([5, 0, 20], np.int32)
    d = np.full((3, 20, 136), 7, np.float32)
    dg.fp8_m_grouped_gemm_nt_masked(a, operands.pairs[1], d, rows, 8)
    for group, count in enumerate(rows):
        wanted = bits.gemm(a[0][group], a[1][group], operands.b[group], operands.b_scales[group])
        np.testing.assert_array_equal(d[group, :count], wanted[:count])
        assert (d[group, count:] == 7).all()


def test_psum_layout(torch):
    """With the padding zeroed, as by default, and left alone; an index that is a plain cumsum."""
    operands = Grouped(4, 64, 136, 144)
    a, b = ((torch.from_numpy(x), torch.from_numpy(s)) for x, s in operands.pairs)
    dg.set_mk_alignment_for_contiguous_layout(16)
    for end, groups in (
        ([5, 16, 30, 40], {0: (0, 5), 2: (16, 30), 3: (32, 40)}),
        ([0, 0, 16, 64], {2: (0, 16), 3: (16, 64)}),
        ([0, 0, 0, 0], {}),
    ):
        layout = torch.tensor(end, dtype=torch.int32)
        for zeroed in (True, False):
            d = torch.full((64, 136), 7.0)
            options = {} if zeroed else {"ensure_zero_padding": False}
            dg.m_grouped_fp8_gemm_nt_contiguous(a, b, d, layout, use_psum_layout=True, **options)
            left = np.full(64, 7.0)
            for group, (first, last) in groups.items():
                pair = operands.b[group], operands.b_scales[group]
                wanted = bits.gemm(operands.a[first:last], operands.a_scales[first:last], *pair)
                np.testing.assert_array_equal(d[first:last].numpy(), wanted)
                left[first : (last + 15) // 16 * 16] = 0 if zeroed else 7
                left[first:last] = np.nan
            for row in np.flatnonzero(~np.isnan(left)):
                assert (d[row] == left[row]).all(), (end, zeroed, row)


def test_casts(torch):
    torch.manual_seed(1)
    x = torch.randn(200, 300) * torch.exp2(torch.randint(-9, 9, (200, 1)))

    def check(values, scale, rows, columns):
        full = scale.repeat_interleave(rows, 0)[:200].repeat_interleave(columns, 1)[:, :300]
        error = (values.float() * full - x).abs()
        assert (error <= x.abs() / 16 + full * 2**-10).all()  # E4M3's half step
        return values

    for ue8m0 in (False, True):
        for cast, rows, columns in (
            (dg.per_token_cast_to_fp8, 1, 128),
            (dg.per_block_cast_to_fp8, 128, 128),
            (dg.per_channel_cast_to_fp8, 128, 1),
        ):
            values, scale = cast(x, ue8m0)
            assert values.dtype == torch.float8_e4m3fn and values.shape == x.shape
            assert scale.shape == (-(-200 // rows), -(-300 // columns))
            check(values, scale, rows, columns)
            if ue8m0:
                assert (torch.log2(scale) % 1 == 0).all()
            else:
                assert values.float().abs().max() == 448
    values, scale = dg.per_custom_dims_cast_to_fp8(x, (0,), False)
    check(values, scale[:, None], 1, 300)
    _, packed = dg.per_token_cast_to_fp8(x[:, :256], True, 64, use_packed_ue8m0=True)
    assert packed.dtype == torch.int32 and packed.shape == (200, 1)
    _, loose = dg.per_token_cast_to_fp8(x[:, :256], True, 64)
    assert torch.equal(torch.exp2(packed.view(torch.uint8).float() - 127), loose)
    assert dg.calc_diff(x, x) == 0 and dg.calc_diff(x, -x) == 2
    assert dg.calc_diff(torch.zeros(3), torch.zeros(3)) == 0
    exact = torch.tensor([1.0, 1.5, 2**-30, 0.0, -3.0])
    assert dg.ceil_to_ue8m0(exact).tolist() == [1, 2, 2**-30, 2**-126, 4]


def test_layouts(torch):
    x = torch.rand(37, 3)
    aligned = dg.get_mn_major_tma_aligned_tensor(x)
    assert torch.equal(aligned, x) and aligned.stride() == (1, 40)
    assert dg.get_mn_major_tma_aligned_tensor(aligned) is aligned
    batch = torch.rand(2, 37, 3)
    aligned = dg.get_col_major_tma_aligned_tensor(batch)
    assert torch.equal(aligned, batch) and aligned.stride() == (120, 1, 40)
    powers = torch.exp2(torch.randint(-20, 20, (2, 37, 6)).float())
    packed = dg.get_mn_major_tma_aligned_packed_ue8m0_tensor(powers)
    assert packed.dtype == torch.int32 and packed.shape == (2, 37, 2)
    assert packed.stride() == (80, 1, 40)
    unpacked = packed.contiguous().view(torch.uint8)
    assert torch.equal(torch.exp2(unpacked[..., :6].float() - 127), powers)
    assert not unpacked[..., 6:].any()
    transform = dg.transform_sf_into_required_layout
    sfa = transform(x, 37, 384, (1, 128, 128), is_sfa=True)
    assert torch.equal(sfa, x) and sfa.stride() == (1, 40)
    weights = torch.rand(5, 2, 3)
    assert transform(weights, 256, 384, (1, 128, 128), num_groups=5, is_sfa=False) is weights
    assert transform(batch, 37, 384, (1, 128), num_groups=2).stride() == (120, 1, 40)
    with pytest.raises(RuntimeError, match=r"wanted \[3, 3\] for 128x128"):
        transform(weights[0], 300, 384, (128, 128))
    with pytest.raises(NotImplementedError, match="1x32"):
        transform(x, 37, 96, (1, 32))
    with pytest.raises(RuntimeError, match="is_sfa"):
        transform(x, 37, 384, (1, 128, 128))
    assert dg.get_tma_aligned_size(37, 4) == 40 and dg.get_tma_aligned_size(37, 2) == 40
    assert dg.get_theoretical_mk_alignment_for_contiguous_layout(64, 8) == 128
    assert dg.ceil_div(129, 128) == 2 and dg.align(129, 128) == 256


def test_calls_of_vllm_and_sglang(cuda):
    """Shapes, layouts and keywords as the frameworks have them; values against kiln.gemm."""
    torch = cuda
    torch.manual_seed(2)
    m, n, k, groups, f8 = 7, 4096, 7168, 8, torch.float8_e4m3fn
    q = torch.randn(m, k, device="cuda").to(f8)
    w = torch.randn(n, k, device="cuda").to(f8)
    xs, ws = torch.rand(m, k // 128, device="cuda"), torch.rand(n // 128, k // 128, device="cuda")
    o = torch.empty(m, n, device="cuda", dtype=torch.bfloat16)
    wanted = kiln.gemm((q, xs), (w, ws))
    # vLLM: column-major scales of activations, this keyword; SGLang: as they are.
    for scales, options in (
        (dg.get_mn_major_tma_aligned_tensor(xs), {"disable_ue8m0_cast": True}),
        (xs, {}),
    ):
        o.fill_(7)
        dg.fp8_gemm_nt((q, scales), (w, ws), o, **options)
        assert torch.equal(o, wanted)
    reference = (q.float() * xs.repeat_interleave(128, 1)) @ (
        w.float() * ws.repeat_interleave(128, 0).repeat_interleave(128, 1)
    ).T
    assert dg.calc_diff(o, reference) < 1e-3

    # Both: contiguous, most rows nobody's.
    alignment = dg.get_mk_alignment_for_contiguous_layout()
    rows = alignment * groups
    a = torch.randn(rows, k, device="cuda").to(f8)
    a_scales = torch.rand(rows, k // 128, device="cuda")
    weights = torch.randn(groups, n, k, device="cuda").to(f8)
    weight_scales = torch.rand(groups, n // 128, k // 128, device="cuda")
    out = torch.full((rows, n), 7, device="cuda", dtype=torch.bfloat16)
    ids = torch.full((rows,), -1, device="cuda", dtype=torch.int32)
    ids[:alignment] = 3
    dg.m_grouped_fp8_gemm_nt_contiguous((a, a_scales), (weights, weight_scales), out, ids)
    first = kiln.gemm((a[:alignment], a_scales[:alignment]), (weights[3], weight_scales[3]))
    assert torch.equal(out[:alignment], first) and (out[alignment:] == 7).all()

    # Both: masked, first with nothing at all.
    batch = a.view(groups, alignment, k), a_scales.view(groups, alignment, -1)
    out = torch.full((groups, alignment, n), 7, device="cuda", dtype=torch.bfloat16)
    masked = torch.zeros(groups, device="cuda", dtype=torch.int32)
    dg.fp8_m_grouped_gemm_nt_masked(batch, (weights, weight_scales), out, masked, 16)
    assert (out == 7).all()
    masked[5] = 20
    dg.m_grouped_fp8_gemm_nt_masked(
        batch, (weights, weight_scales), out, masked, 16, disable_ue8m0_cast=True
    )
    five = kiln.gemm((batch[0][5, :20], batch[1][5, :20]), (weights[5], weight_scales[5]))
    assert torch.equal(out[5, :20], five) and (out[5, 20:] == 7).all()

    # Overlap of computing and communication: fewer SMs, the same bits.
    every = dg.get_num_sms()
    assert every == torch.cuda.get_device_properties(0).multi_processor_count
    dg.set_num_sms(every - 20), dg.set_pdl(True)
    o.fill_(7)
    dg.fp8_gemm_nt((q, xs), (w, ws), o)
    assert torch.equal(o, wanted)


def test_graph_of_a_padded_layout(cuda):
    """The padding is zeroed without anything read on the host, so it can be captured."""
    torch = cuda
    operands = Grouped(4, 512, 136, 144)
    a, b = ((torch.from_numpy(x).cuda(), torch.from_numpy(s).cuda()) for x, s in operands.pairs)
    layout = torch.tensor([5, 128, 130, 300], dtype=torch.int32, device="cuda")
    d = torch.full((512, 136), 7, dtype=torch.bfloat16, device="cuda")
    arguments = {"use_psum_layout": True, "expected_m_for_psum_layout": 64}
    dg.m_grouped_fp8_gemm_nt_contiguous(a, b, d, layout, **arguments)
    wanted = d.clone()
    assert not wanted[5:128].any() and wanted[:5].any()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        dg.m_grouped_fp8_gemm_nt_contiguous(a, b, d, layout, **arguments)
    d.fill_(7)
    graph.replay()
    torch.cuda.synchronize()
    padded = slice(384)
    assert torch.equal(d[padded], wanted[padded])


def test_the_real_one_is_left_alone():
    if importlib.util.find_spec("deep_gemm") is None:
        pytest.skip("no deep_gemm here")
    import deep_gemm

    assert deep_gemm is not dg
