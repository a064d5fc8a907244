"""When a call is to become an operation of Torch's, and other forms of one function."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from ._errors import UnsupportedError
from ._options import Tensor

_P = ParamSpec("_P")
_R = TypeVar("_R")


def arguments_of(_: Callable[_P, Any]) -> Callable[[Callable[..., _R]], Callable[_P, _R]]:
    """Gives a function the signature of another, for type checkers."""
    return lambda wrapped: wrapped


def goes_to_torch(out: Tensor) -> bool:
    """Whether a call is to become an operation of Torch's: under its compiler's tracing, and for
    tensors that have no memory (fake ones) or are not what they seem."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "compiler"):
        return False
    if torch.compiler.is_compiling():
        return True
    dispatch = getattr(type(out), "__torch_dispatch__", None)
    return dispatch is not None and dispatch is not torch.Tensor.__torch_dispatch__


def refuse_to_trace(operation: str) -> UnsupportedError:
    return UnsupportedError(
        f"{operation}: prepare and workspace_bytes were called under torch.compile, wanted before"
    )


def run(
    operation: str, form: Any, launch: Any, operands: tuple[Any, ...], options: tuple[Any, ...]
) -> Any:
    """Calls one `form` of an operation, of which `launch` is the one that runs it: directly, or by
    torch.ops.kiln. The first operand decides."""
    if not goes_to_torch(operands[0]):
        return form(*operands, *options)
    if form is not launch:
        raise refuse_to_trace(operation)
    from . import _torch_ops

    return _torch_ops.companion(operation, operands, options)
