"""``torch.ops.kiln``: the operations as torch.compile sees them. Eager calls do not pass here.

Each op writes its `out` and returns nothing, so that a fake has nothing to describe. A C that is
the output itself is a flag: an op must not take the tensor that it writes twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ._calls import _gemm, _grouped_gemm
from ._companions import _quantize, _swiglu
from ._errors import UnsupportedError
from ._frameworks import torch_argument
from ._permute import _permute, _unpermute

_LAUNCH_OPTIONS = (
    "int? device=None, int? device_index=None, int sm_budget=0, bool pdl=False, int invariance=0, "
    "int[] emulation=[]"
)
_OPTIONS = f"int? a_recipe=None, int? b_recipe=None, {_LAUNCH_OPTIONS}"
_SCHEMAS = {
    "gemm": (
        "gemm(Tensor a, Tensor a_scales, Tensor b, Tensor b_scales, Tensor(d!) out, "
        f"Tensor? c=None, bool add_to_out=False, Tensor(w!)? workspace=None, {_OPTIONS}) -> ()"
    ),
    "grouped_gemm": (
        "grouped_gemm(int kind, Tensor a, Tensor a_scales, Tensor b, Tensor b_scales, "
        "Tensor(d!) out, Tensor index, Tensor? c=None, bool add_to_out=False, "
        "SymInt alignment=128, SymInt expected_rows=0, Tensor(w!)? workspace=None, "
        f"Tensor(r!)? index_report=None, {_OPTIONS}) -> ()"
    ),
}

# The operations beside the GEMMs: the library's function and its operands, in its order.
_COMPANIONS = {
    "quantize": (
        _quantize,
        (
            "Tensor x, Tensor(a!) out, Tensor(b!) out_scales, Tensor(c!)? transposed, "
            "Tensor(d!)? transposed_scales, int recipe, int rounding"
        ),
    ),
    "swiglu": (
        _swiglu,
        (
            "Tensor x, Tensor(a!) out, Tensor(b!)? out_scales, float? clamp, Tensor? weights, "
            "Tensor? rows, int rounding"
        ),
    ),
    "permute": (
        _permute,
        (
            "Tensor ids, SymInt groups, SymInt alignment, Tensor(a!) ends, Tensor(b!) sources, "
            "Tensor(c!) rows, Tensor? values, Tensor(d!)? to_values, Tensor? scales, "
            "Tensor(e!)? to_scales, Tensor? weights, Tensor(f!)? to_weights"
        ),
    ),
    "unpermute": (_unpermute, "Tensor x, Tensor rows, Tensor? weights, Tensor(a!) out"),
}

# Kept for the life of the process: an op goes with its Library.
_library = torch.library.Library("kiln", "DEF")


def _packed(
    workspace: Any = None,
    index_report: Any = None,
    device: int | None = None,
    device_index: int | None = None,
    sm_budget: int = 0,
    pdl: bool = False,
    invariance: int = 0,
    emulation: Sequence[int] = (),
) -> tuple[Any, ...]:
    """The options in the library's order (_options.py), on the current stream. Torch leaves out
    arguments at the end that have the schema's default."""
    return (
        device, device_index, None, sm_budget, pdl, invariance, workspace, index_report, *emulation
    )  # fmt: skip


def _packed_with_recipes(workspace, index_report, a_recipe=None, b_recipe=None, *options):
    return a_recipe, b_recipe, *_packed(workspace, index_report, *options)


def _run_gemm(a, a_scales, b, b_scales, out, c=None, add_to_out=False, workspace=None, *options):
    _gemm(
        torch_argument(a), a_scales, torch_argument(b), b_scales, out, out if add_to_out else c,
        *_packed_with_recipes(workspace, None, *options),
    )  # fmt: skip


def _run_grouped_gemm(
    kind, a, a_scales, b, b_scales, out, index, c=None, add_to_out=False, alignment=128,
    expected_rows=0, workspace=None, index_report=None, *options,
):  # fmt: skip
    _grouped_gemm(
        kind, torch_argument(a), a_scales, torch_argument(b), b_scales, out, index,
        out if add_to_out else c, alignment, expected_rows,
        *_packed_with_recipes(workspace, index_report, *options),
    )  # fmt: skip


def _runner(function: Any, count: int) -> Any:
    """Runs a companion of `count` operands, which the options follow."""

    def run(*arguments: Any) -> None:
        operands = (
            torch_argument(x) if isinstance(x, torch.Tensor) else x for x in arguments[:count]
        )
        function(*operands, *_packed(*arguments[count:]))

    return run


def _fake(*arguments: Any, **options: Any) -> None:
    """Nothing to describe."""


def _register(name: str, schema: str, run: Any) -> None:
    _library.define(schema)
    for key in ("CUDA", "CPU"):
        _library.impl(name, run, key)
    torch.library.register_fake(f"kiln::{name}", _fake, lib=_library)


_register("gemm", _SCHEMAS["gemm"], _run_gemm)
_register("grouped_gemm", _SCHEMAS["grouped_gemm"], _run_grouped_gemm)
for _name, (_function, _operands) in _COMPANIONS.items():
    _register(
        _name,
        f"{_name}({_operands}, Tensor(w!)? workspace=None, Tensor(r!)? index_report=None, "
        f"{_LAUNCH_OPTIONS}) -> ()",
        _runner(_function, _operands.count(", ") + 1),
    )


def _unpacked(operation: str, values: tuple[Any, ...]) -> tuple[Any, Any, tuple[Any, ...]]:
    """The workspace, the index report, and the other options in the schema's order."""
    (device, device_index, stream, sm_budget, pdl, invariance, workspace, index_report,
     *emulation) = values  # fmt: skip
    if stream is not None:
        raise UnsupportedError(
            f"{operation}: stream is given under torch.compile, wanted None: compiled code runs "
            "on Torch's current stream"
        )
    rest = device, device_index, sm_budget, pdl, invariance, [int(value) for value in emulation]
    return workspace, index_report, rest


def gemm(a: Any, b: Any, out: Any, c: Any, options: tuple[Any, ...]) -> None:
    workspace, _, rest = _unpacked("gemm", options[2:])
    same = c is out
    torch.ops.kiln.gemm(*a, *b, out, None if same else c, same, workspace, *options[:2], *rest)


def grouped_gemm(
    kind: int, a: Any, b: Any, out: Any, groups: Any, c: Any, options: tuple[Any, ...]
) -> None:
    workspace, index_report, rest = _unpacked("grouped_gemm", options[2:])
    same = c is out
    torch.ops.kiln.grouped_gemm(
        kind, *a, *b, out, groups.index, None if same else c, same, groups.alignment,
        groups.expected_rows, workspace, index_report, *options[:2], *rest,
    )  # fmt: skip


def companion(operation: str, operands: tuple[Any, ...], options: tuple[Any, ...]) -> None:
    workspace, index_report, rest = _unpacked(operation, options)
    getattr(torch.ops.kiln, operation)(*operands, workspace, index_report, *rest)
