"""Errors: the class, that it is the built-in one too, the whole sentence, and nothing written."""

from __future__ import annotations

import os
import re

import numpy as np
import pytest

import kiln
from kiln import Grouping
from on_device import OnDevice
from operands import Gemm, Grouped
from processes import run

GEMM, GROUPED = Gemm(37, 200, 272), Grouped(4, 64, 136, 144)
A, B = GEMM.pairs
TOKENS, EXPERTS = GROUPED.pairs
OUT = np.full((37, 200), 7, np.float32)
ROWS = np.full((64, 136), 7, np.float32)
END = np.array([5, 5, 20, 64], np.int32)
OFFSETS = Grouping.offsets(END)


def gemm(a=A, b=B, out=OUT, c=None, **options):
    return lambda: kiln.gemm(a, b, out, c, **options)


def grouped(a=TOKENS, b=EXPERTS, groups=OFFSETS, out=ROWS, c=None, **options):
    return lambda: kiln.grouped_gemm(a, b, groups, out, c, **options)


READ_ONLY = OUT.copy()
READ_ONLY.flags.writeable = False

INVALID = {
    "gemm: b.scales has shape [3, 3], wanted [cdiv(N,128), cdiv(K,128)] = [2, 3] for recipe "
    "block_128x128": gemm(b=(B[0], np.ones((3, 3), np.float32))),
    "gemm: a.scales has shape [2, 3], wanted [M, cdiv(K,128)] = [37, 3] for recipe row_1x128": gemm(
        a=(A[0], np.ones((2, 3), np.float32))
    ),
    "gemm: b.scales has shape [2, 3], wanted [N, cdiv(K,128)] = [200, 3] for recipe "
    "row_1x128": gemm(b_recipe="row_1x128"),
    "gemm: a.recipe is block_128x128, wanted row_1x128": gemm(a_recipe="block_128x128"),
    "gemm: b has shape [200, 271], wanted [N, K] with K = 272 as in a": gemm(
        b=(B[0][:, :271], B[1])
    ),
    "gemm: d has shape [36, 200], wanted [M, N] = [37, 200]": gemm(out=OUT[:36]),
    "gemm: c has shape [36, 200], wanted [M, N] = [37, 200]": gemm(c=OUT[:36].copy()),
    "gemm: a.stride[1] is 37, wanted 1 (rows contiguous)": gemm(a=(np.asfortranarray(A[0]), A[1])),
    "gemm: a.stride[0] is -272, wanted 1 or more": gemm(a=(A[0][::-1], A[1])),
    "gemm: a has 3 dimensions, wanted 2": gemm(a=(A[0][None], A[1])),
    "gemm: options.sm_budget is -1, wanted 0 or more": gemm(sm_budget=-1),
    "gemm: options.device.index is 1, wanted 0: this machine has one CPU": gemm(device="emu:1"),
    "gemm: options.emulation.threads is -2, wanted 0 or more": gemm(
        device="emu", emulation=kiln.Emulation(threads=-2)
    ),
    "gemm: a is in host memory, wanted the memory of a GPU for device cuda": gemm(device="cuda"),
    "gemm: device is 'gpu', wanted 'cuda', 'emu' or 'cpu'": gemm(device="gpu"),
    "gemm: device is 'cuda:x', wanted a number after the colon": gemm(device="cuda:x"),
    "gemm: b_recipe is 'per_row', wanted 'row_1x128' or 'block_128x128'": gemm(b_recipe="per_row"),
    "gemm: invariance is 'some', wanted 'full' or 'none'": gemm(invariance="some"),
    "gemm: out is read-only, wanted one that can be written": gemm(out=READ_ONLY),
    "gemm: workspace is not one contiguous dimension, wanted that": gemm(
        workspace=np.empty((1, 1, 2, 2), np.uint8)
    ),
    "grouped_gemm: groups.index has shape [3, 1], wanted [4, 1]: an entry a group of b for "
    "offsets": grouped(groups=Grouping.offsets(END[:3])),
    "grouped_gemm: groups.index has shape [4, 1], wanted [64, 1]: an entry a row of a for "
    "row_ids": grouped(groups=Grouping.row_ids(END)),
    "grouped_gemm: groups.alignment is 0, wanted 1 to 1048576 rows": grouped(
        groups=Grouping.row_ids(np.zeros(64, np.int32), 0)
    ),
    "grouped_gemm: groups.expected_rows is -1, wanted 0 or more": grouped(
        groups=Grouping.offsets(END, -1)
    ),
    "grouped_gemm: groups.kind is 'rows', wanted 'offsets', 'aligned_offsets', 'row_ids' or "
    "'masked'": grouped(groups=Grouping("rows", END)),
    "grouped_gemm: a has 2 dimensions, wanted 3": grouped(groups=Grouping.masked(END)),
    "grouped_gemm: b has 2 dimensions, wanted 3": grouped(b=(EXPERTS[0][0], EXPERTS[1][0])),
    "grouped_gemm: index_report has 3 elements of stride 1, wanted 4 of stride 1": grouped(
        index_report=np.zeros(3, np.int32)
    ),
}

WRONG_TYPE = {
    "gemm: a has dtype fp32, wanted e4m3": gemm(a=(A[0].astype(np.float32), A[1])),
    "gemm: a has dtype float16, wanted e4m3": gemm(a=(A[0].astype(np.float16), A[1])),
    "gemm: a has dtype int8, wanted e4m3": gemm(a=(A[0].view(np.int8), A[1])),
    "gemm: b.scales has dtype float64, wanted fp32": gemm(b=(B[0], B[1].astype(np.float64))),
    "gemm: d has dtype float16, wanted bf16 or fp32": gemm(out=OUT.astype(np.float16)),
    "gemm: c has dtype int64, wanted bf16 or fp32": gemm(c=OUT.astype(np.int64)),
    "gemm: a.scales has dtype >f4, wanted a native number": gemm(a=(A[0], A[1].astype(">f4"))),
    "gemm: a has dtype |O, wanted a native number": gemm(a=(A[0].astype(object), A[1])),
    "gemm: a is a ndarray, wanted a pair (values, scales)": gemm(a=A[0]),
    "gemm: b is a tuple of 3, wanted a pair (values, scales)": gemm(b=(*B, None)),
    "gemm: a.scales is None, wanted a tensor": gemm(a=(A[0], None)),
    "gemm: a is a str, wanted a tensor": gemm(a=("values", A[1])),
    "gemm: c is a int, wanted a tensor": gemm(c=3),
    "gemm: sm_budget is a str, wanted an int": gemm(sm_budget="all"),
    "gemm: pdl is a str, wanted a bool": gemm(pdl="yes"),
    "gemm: emulation is a dict, wanted a kiln.Emulation": gemm(emulation={}),
    "gemm: out_dtype is float16, wanted bf16 or fp32": gemm(out=None, out_dtype=np.float16),
    "stream is a str, wanted an int, a stream of Torch or CuPy, or an object with "
    "__cuda_stream__": gemm(stream="fast"),
    "grouped_gemm: groups is a ndarray, wanted a kiln.Grouping": grouped(groups=END),
    "grouped_gemm: groups.index is None, wanted a tensor": grouped(groups=Grouping.offsets(None)),
    "grouped_gemm: groups.index has dtype int64, wanted int32": grouped(
        groups=Grouping.offsets(END.astype(np.int64))
    ),
}


@pytest.mark.parametrize("sentence", INVALID)
def test_invalid_arguments(sentence):
    with pytest.raises(ValueError) as raised:
        INVALID[sentence]()
    assert type(raised.value) is kiln.InvalidArgumentError
    assert str(raised.value) == sentence
    assert raised.value.code == "invalid_argument"
    assert (OUT == 7).all() and (ROWS == 7).all()


@pytest.mark.parametrize("sentence", WRONG_TYPE)
def test_wrong_types(sentence):
    with pytest.raises(TypeError) as raised:
        WRONG_TYPE[sentence]()
    assert type(raised.value) is kiln.WrongTypeError
    assert str(raised.value) == sentence
    assert (OUT == 7).all() and (ROWS == 7).all()


def test_overlaps_are_refused():
    memory = np.full((38, 200), 7, np.float32)
    with pytest.raises(
        ValueError, match=r"^gemm: d \[0x\w+, 0x\w+\) overlaps c \(and is not exactly c"
    ):
        kiln.gemm(A, B, memory[:37], memory[1:])
    assert (memory == 7).all()


def test_unknown_keywords_name_the_function():
    with pytest.raises(TypeError, match=r"^gemm\(\) got an unexpected keyword argument 'fast'"):
        kiln.gemm(A, B, OUT, fast=True)
    with pytest.raises(TypeError, match=r"^grouped_gemm\(\) got an unexpected keyword"):
        kiln.grouped_gemm(TOKENS, EXPERTS, OFFSETS, ROWS, fast=True)


def test_every_code_of_cpp_has_its_class():
    header = os.path.join(os.path.dirname(__file__), "../../include/kiln/error.hpp")
    if not os.path.exists(header):
        pytest.skip("without the source tree")
    with open(header) as text:
        enumeration = re.search(r"enum class ErrorCode \{(.*?)\};", text.read(), re.DOTALL).group(1)
    codes = re.findall(r"^\s*(\w+),?\s*(?://.*)?$", enumeration, re.MULTILINE)
    classes = [getattr(kiln, name) for name in kiln.__all__ if name.endswith("Error")]
    assert len(codes) > 5
    assert {c.code for c in classes} == set(codes)
    for cls in classes:
        assert issubclass(cls, kiln.Error) and issubclass(cls, RuntimeError)
    assert issubclass(kiln.UnsupportedError, NotImplementedError)


def test_compilers(tmp_path):
    """None, and one that refuses the kernel; the model needs none."""
    refusing = tmp_path / "refusing-c++"
    refusing.write_text(
        '#!/bin/sh\ncase " $* " in *" -shared "*) echo no such luck; exit 1;; esac\nexec c++ "$@"\n'
    )
    refusing.chmod(0o755)
    for compiler, name, sentence in (
        ("/nonexistent/c++", "NoCompilerError", "KILN_CXX=/nonexistent/c++ is no executable file"),
        (str(refusing), "CompileError", "no such luck"),
    ):
        said = run(
            """
            import kiln
            from operands import Gemm
            operands = Gemm(5, 24, 128)
            try:
                kiln.gemm(*operands.pairs, device="emu", out_dtype="fp32")
            except kiln.Error as error:
                print(type(error).__name__, error)
            kiln.gemm(*operands.pairs, device="cpu", out_dtype="fp32")
            """,
            KILN_CXX=compiler,
            KILN_CACHE_DIR="off",
        )
        assert said.startswith(name + " ")
        assert sentence in said


def test_a_bad_setting_is_named():
    said = run(
        """
        import kiln
        from operands import Gemm
        try:
            kiln.gemm(*Gemm(5, 24, 128).pairs, device="emu", out_dtype="fp32")
        except ValueError as error:
            print(error)
        """,
        KILN_CACHE_DIR="relative/path",
    )
    assert "environment variable KILN_CACHE_DIR: wanted an absolute path" in said


E4M3, FP32 = (10, 8), (2, 32)


def on_device(device):
    """A, B and an output on a device, far apart."""
    a = OnDevice(*E4M3, (37, 272), device, 1 << 20), OnDevice(*FP32, (37, 3), device, 2 << 20)
    b = OnDevice(*E4M3, (200, 272), device, 3 << 20), OnDevice(*FP32, (2, 3), device, 4 << 20)
    return a, b, OnDevice(*FP32, (37, 200), device, 5 << 20)


def test_no_gpu():
    """Where there is none, GPU tensors (of the ordinal 999 in any case) get a NoDeviceError."""
    with pytest.raises(kiln.NoDeviceError) as raised:
        kiln.gemm(*on_device((2, 999)))
    assert raised.value.code == "no_device"


def test_tensors_of_different_devices():
    a, b, out = on_device((2, 1))
    with pytest.raises(ValueError) as raised:
        kiln.gemm((a[0], on_device((2, 0))[0][1]), b, out)
    assert str(raised.value) == (
        "gemm: a.scales is in the memory of cuda:0, wanted the memory of cuda:1 as a"
    )
    with pytest.raises(ValueError, match="wanted the memory of cuda:0 for device cuda:0"):
        kiln.gemm(a, b, out, device="cuda:0")
    wrong = OnDevice(12, 8, (37, 272), (2, 0), 1 << 20)
    with pytest.raises(TypeError, match="gemm: a has dtype float8_e5m2, wanted e4m3"):
        kiln.gemm((wrong, a[1]), b, out)
    with pytest.raises(ValueError, match="DLPack's device type 10, wanted CUDA's or the CPU's"):
        kiln.gemm(*on_device((10, 0)))
