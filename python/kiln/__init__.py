"""Kiln: tensor-core kernels for large language models, compiled when they are needed and exact to
the bit.

``gemm``, ``grouped_gemm`` and what stands around them in a model, ``quantize``, ``swiglu``,
``permute`` and ``unpermute``, take tensors of Torch, NumPy, CuPy and JAX, on an NVIDIA Hopper GPU,
in the emulator that runs the same kernels on this machine's CPU (``device="emu"``), or by the model
of their bits (``device="cpu"``). Importing needs no GPU, driver or Torch and starts nothing.
"""

from ._calls import (
    gemm,
    gemm_prepare,
    gemm_workspace_bytes,
    grouped_gemm,
    grouped_gemm_prepare,
    grouped_gemm_workspace_bytes,
)
from ._companions import (
    quantize,
    quantize_prepare,
    quantize_workspace_bytes,
    swiglu,
    swiglu_prepare,
    swiglu_workspace_bytes,
)
from ._errors import (
    CacheError,
    CompileError,
    DeadlockError,
    DriverError,
    Error,
    FileError,
    InternalError,
    InvalidArgumentError,
    NoCompilerError,
    NoDeviceError,
    RaceError,
    UnsupportedError,
    WrongTypeError,
)
from ._grouping import Grouping, GroupIssue
from ._library import version as __version__
from ._options import Emulation
from ._permute import (
    Permutation,
    most_permuted_rows,
    permute,
    permute_prepare,
    permute_workspace_bytes,
    unpermute,
    unpermute_prepare,
    unpermute_workspace_bytes,
)

__all__ = [
    "CacheError",
    "CompileError",
    "DeadlockError",
    "DriverError",
    "Emulation",
    "Error",
    "FileError",
    "GroupIssue",
    "Grouping",
    "InternalError",
    "InvalidArgumentError",
    "NoCompilerError",
    "NoDeviceError",
    "Permutation",
    "RaceError",
    "UnsupportedError",
    "WrongTypeError",
    "__version__",
    "gemm",
    "gemm_prepare",
    "gemm_workspace_bytes",
    "grouped_gemm",
    "grouped_gemm_prepare",
    "grouped_gemm_workspace_bytes",
    "most_permuted_rows",
    "permute",
    "permute_prepare",
    "permute_workspace_bytes",
    "quantize",
    "quantize_prepare",
    "quantize_workspace_bytes",
    "swiglu",
    "swiglu_prepare",
    "swiglu_workspace_bytes",
    "unpermute",
    "unpermute_prepare",
    "unpermute_workspace_bytes",
]
