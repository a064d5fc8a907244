"""What a call may choose besides its operands, as the numbers that the library reads.

The library's order is ``Arguments::options`` in src/arguments.cpp, the fields of C++'s ``Options``;
of the GEMMs after their two recipes. None stands for the default everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from ._errors import InvalidArgumentError, WrongTypeError
from ._frameworks import stream_of, tensor_argument

Tensor = Any  # of any framework
# A quantised operand: its values and their scales.
Scaled = tuple[Tensor, Tensor]

Recipe = Literal["row_1x128", "block_128x128"]
Rounding = Literal["nearest", "power_of_two"]
ScaleLayout = Literal["row_major", "column_major"]
Invariance = Literal["full", "none"]
Policy = Literal[
    "uniform", "starve_copies", "eager_copies", "starve_one_warp", "priority_change", "mixed"
]
Arithmetic = Literal["exact", "fast", "none"]

RECIPES = {"row_1x128": 0, "block_128x128": 1}
ROUNDINGS = {"nearest": 0, "power_of_two": 1}
LAYOUTS = {"row_major": 0, "column_major": 1}
_DEVICES = {"cuda": 0, "emu": 1, "cpu": 2}
_INVARIANCES = {"full": 0, "none": 1}
_POLICIES = {
    "uniform": 0,
    "starve_copies": 1,
    "eager_copies": 2,
    "starve_one_warp": 3,
    "priority_change": 4,
    "mixed": 5,
}
_ARITHMETICS = {"exact": 0, "fast": 1, "none": 2}


@dataclass(frozen=True)
class Emulation:
    """How ``device="emu"`` runs a call. Only ``arithmetic`` may change a result of a right kernel.

    seed        the same seed and policy replay the same run
    policy      which thread runs next, and when copies and multiplications complete
    check       runs the happens-before checker too; a race raises RaceError
    arithmetic  "exact": the hardware's bits; "fast": FP32 dot products; "none": products are zero
    threads     clusters run on as many threads; 0 is one a core
    """

    seed: int = 1
    policy: Policy = "uniform"
    check: bool = False
    arithmetic: Arithmetic = "exact"
    threads: int = 0


class CallOptions(TypedDict, total=False):
    """The keywords of every operation."""

    device: Any
    """Where it runs: None (the GPU in whose memory the tensors are, or for host memory "cpu"),
    "cuda", "cuda:1", "emu" (the kernels, run by the emulator; host memory) or "cpu" (the model of
    their bits; host memory)."""
    stream: Any
    """The CUDA stream: None (Torch's or CuPy's current one), a number, or a stream object."""
    sm_budget: int
    """At most so many SMs are used; 0 (default) is all. Changes no bit."""
    pdl: bool
    """Programmatic dependent launch: the kernel may start while the one before it drains."""
    invariance: Invariance
    """"full" (default): the bits follow from the operands of that row and column alone. "none"
    lets the planner split K (no kernel does so today)."""
    workspace: Tensor | None
    """Contiguous bytes in the device's memory, as many as ..._workspace_bytes() says: none today."""
    emulation: Emulation | None
    """How device="emu" runs it."""


class IndexedOptions(CallOptions, total=False):
    """Those of an operation that reads an index on the device."""

    index_report: Tensor | None
    """int32 [4] in the device's memory, the first of them 0: receives the first entry of the index
    that is out of range: the GroupIssue, where in the index it lies, its value, and the limit."""


class GemmOptions(CallOptions, total=False):
    """The keywords of gemm()."""

    out_dtype: Any
    """Of a D that is allocated: "bf16" (default), "fp32", or the framework's dtype."""
    a_recipe: Recipe | None
    b_recipe: Recipe | None
    """What the scales mean, "row_1x128" or "block_128x128"; None: by their shape."""


class GroupedOptions(GemmOptions, IndexedOptions, total=False):
    """The keywords of grouped_gemm()."""


def choice(operation: str, name: str, value: Any, numbers: dict[str, int]) -> int:
    """The number of a word."""
    number = numbers.get(value) if isinstance(value, str) else None
    if number is None:
        words = list(numbers)
        raise InvalidArgumentError(
            f"{operation}: {name} is {value!r}, wanted {', '.join(map(repr, words[:-1]))} or "
            f"{words[-1]!r}"
        )
    return number


def recipe_number(operation: str, name: str, recipe: Recipe | None) -> int | None:
    return None if recipe is None else choice(operation, name, recipe, RECIPES)


def rounding_number(operation: str, rounding: Rounding) -> int:
    return choice(operation, "scale_rounding", rounding, ROUNDINGS)


def by_columns(operation: str, layout: ScaleLayout) -> bool:
    return choice(operation, "scale_layout", layout, LAYOUTS) == 1


def device_numbers(operation: str, device: Any) -> tuple[int | None, int | None]:
    """The kind and the index of None, "cuda", "cuda:1", "emu", "cpu", or a torch.device."""
    if device is None:
        return None, None
    word, colon, index = str(device).partition(":")
    kind = choice(operation, "device", word, _DEVICES)
    if not colon:
        return kind, None
    if not index.isdecimal():
        raise InvalidArgumentError(
            f"{operation}: device is {str(device)!r}, wanted a number after the colon"
        )
    return kind, int(index)


def emulation_numbers(operation: str, emulation: Emulation | None) -> tuple[Any, ...]:
    if emulation is None:
        return ()
    if not isinstance(emulation, Emulation):
        raise WrongTypeError(
            f"{operation}: emulation is a {type(emulation).__name__}, wanted a kiln.Emulation"
        )
    return (
        emulation.seed,
        choice(operation, "emulation.policy", emulation.policy, _POLICIES),
        emulation.check,
        choice(operation, "emulation.arithmetic", emulation.arithmetic, _ARITHMETICS),
        emulation.threads,
    )


def option_values(
    operation: str,
    array: Any,
    *,
    indexed: bool = False,
    device: Any = None,
    stream: Any = None,
    sm_budget: int = 0,
    pdl: bool = False,
    invariance: Invariance = "full",
    workspace: Any = None,
    index_report: Any = None,
    emulation: Emulation | None = None,
    **unknown: Any,
) -> tuple[Any, ...]:
    """All of them in the library's order. `array` is one of the call's, whose stream counts;
    `indexed`: the operation has an index to report of."""
    if index_report is not None and not indexed:
        unknown["index_report"] = index_report
    for name in unknown:
        raise TypeError(f"{operation}() got an unexpected keyword argument {name!r}")
    return (
        *device_numbers(operation, device),
        stream_of(stream, array),
        sm_budget,
        pdl,
        choice(operation, "invariance", invariance, _INVARIANCES),
        tensor_argument(operation, "workspace", workspace, output=True),
        tensor_argument(operation, "index_report", index_report, output=True),
        *emulation_numbers(operation, emulation),
    )
