"""gemm on NumPy arrays: every bit against the model in bits.py, on the CPU model and in the
emulator."""

from __future__ import annotations

import numpy as np
import pytest

import bits
import kiln
from operands import Gemm

ml_dtypes = pytest.importorskip("ml_dtypes")
DEVICES = ["cpu", "emu"]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "operands",
    [Gemm(5, 24, 128), Gemm(37, 200, 272), Gemm(70, 136, 160, by_row=True), Gemm(3, 1, 96)],
    ids=lambda o: f"{o.m}x{o.n}x{o.k}{'-rows' * o.by_row}",
)
def test_every_bit(operands, device):
    d = kiln.gemm(*operands.pairs, out_dtype="fp32", device=device)
    wanted = bits.gemm(operands.a, operands.a_scales, operands.b, operands.b_scales)
    assert d.dtype == np.float32
    np.testing.assert_array_equal(d.view(np.uint32), wanted.view(np.uint32))


@pytest.mark.parametrize("device", DEVICES)
def test_bf16_is_the_default_and_rounds_to_nearest_even(device):
    operands = Gemm(37, 200, 272)
    d = kiln.gemm(*operands.pairs, device=device)
    wanted = bits.bf16(bits.gemm(operands.a, operands.a_scales, operands.b, operands.b_scales))
    assert d.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(d.view(np.uint16), wanted)


@pytest.mark.parametrize("device", DEVICES)
def test_c_is_added_before_the_rounding_and_may_be_d(device):
    operands = Gemm(37, 200, 272)
    wanted = bits.gemm(operands.a, operands.a_scales, operands.b, operands.b_scales, operands.c)
    d = kiln.gemm(*operands.pairs, c=operands.c, out_dtype="fp32", device=device)
    np.testing.assert_array_equal(d, wanted)
    into = operands.c.copy()
    assert kiln.gemm(*operands.pairs, into, into, device=device) is into
    np.testing.assert_array_equal(into, wanted)


def test_out_is_written_where_it_is_and_nothing_beside_it():
    operands = Gemm(37, 200, 272)
    memory = np.full((39, 260), 7, np.float32)
    out = memory[1:38, 8:208]
    assert kiln.gemm(*operands.pairs, out) is out
    wanted = bits.gemm(operands.a, operands.a_scales, operands.b, operands.b_scales)
    np.testing.assert_array_equal(out, wanted)
    memory[1:38, 8:208] = 7
    assert (memory == 7).all()


@pytest.mark.parametrize("device", DEVICES)
def test_any_strides(device):
    operands = Gemm(37, 200, 272)
    wanted = kiln.gemm(*operands.pairs, out_dtype="fp32")
    padded = np.zeros((37, 300), np.uint8)[:, 3:275]  # rows off 16 bytes
    padded[:] = operands.a
    a_scales = np.asfortranarray(operands.a_scales)
    b_scales = np.zeros((4, 9), np.float32)[::2, ::3]
    b_scales[:] = operands.b_scales
    d = kiln.gemm((padded, a_scales), (operands.b, b_scales), out_dtype="fp32", device=device)
    np.testing.assert_array_equal(d, wanted)


def test_types_of_ml_dtypes_are_their_bytes():
    operands = Gemm(37, 200, 272)
    wanted = kiln.gemm(*operands.pairs)
    a, b = operands.pairs
    typed = [(x.view(ml_dtypes.float8_e4m3fn), s) for x, s in (a, b)]
    out = np.empty((37, 200), np.uint16)
    kiln.gemm(*typed, out)
    np.testing.assert_array_equal(out, wanted.view(np.uint16))


def test_read_only_inputs_are_read():
    operands = Gemm(37, 200, 272)
    wanted = kiln.gemm(*operands.pairs, out_dtype="fp32")
    for array in (operands.a, operands.a_scales, operands.b, operands.b_scales):
        array.flags.writeable = False
    np.testing.assert_array_equal(kiln.gemm(*operands.pairs, out_dtype="fp32"), wanted)


def test_scales_of_one_row_mean_the_same_by_either_recipe():
    operands = Gemm(3, 1, 96)
    by_block, by_row = (
        kiln.gemm(*operands.pairs, out_dtype="fp32", b_recipe=recipe)
        for recipe in ("block_128x128", "row_1x128")
    )
    np.testing.assert_array_equal(by_block, by_row)


def test_empty_matrices():
    operands = Gemm(0, 24, 128)
    assert kiln.gemm(*operands.pairs).shape == (0, 24)
    operands = Gemm(5, 24, 0)
    d = kiln.gemm(*operands.pairs, out_dtype="fp32")
    np.testing.assert_array_equal(d, np.zeros((5, 24)))
    np.testing.assert_array_equal(
        kiln.gemm(*operands.pairs, c=operands.c, out_dtype="fp32"), operands.c
    )


def test_options_of_a_call_change_no_bit():
    operands = Gemm(37, 200, 272)
    wanted = kiln.gemm(*operands.pairs, out_dtype="fp32")
    for options in (
        {"sm_budget": 1},
        {"pdl": True},
        {"invariance": "none"},
        {"workspace": np.empty(64, np.uint8)},
        {"emulation": kiln.Emulation(seed=7, policy="mixed", check=True, threads=1)},
        {"stream": 0},
        {"a_recipe": "row_1x128", "b_recipe": "block_128x128"},
    ):
        d = kiln.gemm(*operands.pairs, out_dtype="fp32", device="emu", **options)
        np.testing.assert_array_equal(d, wanted, err_msg=str(options))


def test_emulation_reaches_the_emulator():
    operands = Gemm(37, 200, 272)
    d = kiln.gemm(*operands.pairs, device="emu", emulation=kiln.Emulation(arithmetic="none"))
    assert not np.any(d)


def test_prepare_writes_nothing_and_no_workspace_is_needed():
    operands = Gemm(37, 200, 272)
    out = np.full((37, 200), 7, np.float32)
    assert kiln.gemm_prepare(*operands.pairs, out, device="emu") is None
    assert (out == 7).all()
    assert kiln.gemm_workspace_bytes(*operands.pairs, out) == 0
    assert kiln.gemm_workspace_bytes(*operands.pairs) == 0
