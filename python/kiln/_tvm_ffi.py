"""Imports tvm-ffi without that starting the CUDA driver.

Where Torch is installed tvm-ffi asks it, while it is imported, whether there is a GPU. The usual way
to an answer initialises the driver, after which no child that this process forks can use the GPU (and
Torch refuses to try); NVML's answer does not.
"""

from __future__ import annotations

import os

_BY_NVML = "PYTORCH_NVML_BASED_CUDA_CHECK"  # https://pytorch.org/docs/stable/notes/multiprocessing

_before = os.environ.get(_BY_NVML)
os.environ[_BY_NVML] = "1"
try:
    import tvm_ffi
finally:
    if _before is None:
        del os.environ[_BY_NVML]
    else:
        os.environ[_BY_NVML] = _before

__all__ = ["tvm_ffi"]
