"""grouped_gemm on NumPy arrays: each row against gemm() of its group, which test_gemm.py checks."""

from __future__ import annotations

import numpy as np
import pytest

import kiln
from kiln import Grouping
from operands import Grouped

DEVICES = ["cpu", "emu"]
SIZES = [3, 0, 17, 9]  # rows of each group


def rows_of(operands: Grouped, group: int, rows) -> np.ndarray:
    """What gemm gives of some rows of A and a group's B."""
    return kiln.gemm(
        (operands.a[rows], operands.a_scales[rows]),
        (operands.b[group], operands.b_scales[group]),
        out_dtype="fp32",
    )


def check(operands: Grouped, grouping: Grouping, ids: np.ndarray, device: str) -> None:
    """Every row is its group's product, or, where it is nobody's (-1), as it was."""
    out = np.full((operands.m, operands.n), 7, np.float32)
    assert kiln.grouped_gemm(*operands.pairs, grouping, out, device=device) is out
    for group in range(operands.groups):
        rows = ids == group
        np.testing.assert_array_equal(out[rows], rows_of(operands, group, rows))
    assert (out[ids < 0] == 7).all()


@pytest.mark.parametrize("device", DEVICES)
def test_offsets(device):
    operands = Grouped(4, 32, 136, 144)
    ids = np.concatenate([np.repeat(np.arange(4), SIZES), [-1] * 3])
    end = np.cumsum(SIZES).astype(np.int32)
    check(operands, Grouping.offsets(end), ids, device)
    check(operands, Grouping.offsets(end, expected_rows=16), ids, device)


@pytest.mark.parametrize("device", DEVICES)
def test_aligned_offsets(device):
    operands = Grouped(4, 64, 136, 144)
    ids = np.full(64, -1)
    end, first = [], 0
    for group, size in enumerate(SIZES):
        ids[first : first + size] = group
        end.append(first + size)
        first = (first + size + 15) // 16 * 16
    check(operands, Grouping.aligned_offsets(np.array(end, np.int32), 16), ids, device)


@pytest.mark.parametrize("device", DEVICES)
def test_row_ids(device):
    operands = Grouped(4, 64, 136, 144)
    ids = np.full(64, -1, np.int32)
    ids[0:16:2], ids[16:31], ids[48:64] = 2, 0, 3
    check(operands, Grouping.row_ids(ids, 16), ids, device)


@pytest.mark.parametrize("device", DEVICES)
def test_masked(device):
    operands = Grouped(4, 80, 136, 144)
    rows = np.array([3, 0, 20, 9], np.int32)
    a = operands.a.reshape(4, 20, 144), operands.a_scales.reshape(4, 20, 2)
    out = np.full((4, 20, 136), 7, np.float32)
    groups = Grouping.masked(rows, expected_rows=8)
    kiln.grouped_gemm(a, (operands.b, operands.b_scales), groups, out, device=device)
    for group, count in enumerate(rows):
        first = group * 20
        wanted = rows_of(operands, group, slice(first, first + count))
        np.testing.assert_array_equal(out[group, :count], wanted)
        assert (out[group, count:] == 7).all()


def test_allocated_output_and_c():
    operands = Grouped(2, 20, 136, 144)
    groups = Grouping.offsets(np.array([5, 20], np.int32))
    d = kiln.grouped_gemm(*operands.pairs, groups, out_dtype="float32")
    assert d.dtype == np.float32 and d.shape == (20, 136)
    np.testing.assert_array_equal(d[5:], rows_of(operands, 1, slice(5, 20)))
    c = np.random.default_rng(3).normal(size=d.shape).astype(np.float32)
    added = kiln.grouped_gemm(*operands.pairs, groups, c=c, out_dtype="fp32", device="emu")
    np.testing.assert_array_equal(added, c + d)
    a = operands.a.reshape(2, 10, 144), operands.a_scales.reshape(2, 10, 2)
    masked = kiln.grouped_gemm(
        a, (operands.b, operands.b_scales), Grouping.masked(np.array([10, 10], np.int32)),
        out_dtype="fp32",
    )  # fmt: skip
    assert masked.shape == (2, 10, 136)
    np.testing.assert_array_equal(masked[0], rows_of(operands, 0, slice(0, 10)))


def test_index_report():
    operands = Grouped(3, 20, 136, 144)
    report = np.zeros(4, np.int32)
    groups = Grouping.offsets(np.array([9, 5, 20], np.int32))
    kiln.grouped_gemm(*operands.pairs, groups, device="emu", index_report=report)
    assert list(report[:3]) == [kiln.GroupIssue.DESCENDING, 1, 5]


def test_prepare_writes_nothing_and_no_workspace_is_needed():
    operands = Grouped(2, 20, 136, 144)
    groups = Grouping.offsets(np.array([5, 20], np.int32))
    out = np.full((20, 136), 7, np.float32)
    assert kiln.grouped_gemm_prepare(*operands.pairs, groups, out, device="emu") is None
    assert (out == 7).all()
    assert kiln.grouped_gemm_workspace_bytes(*operands.pairs, groups) == 0
