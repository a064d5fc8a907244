"""Loads ``libkiln_ffi.so``. That opens no driver, no compiler and no GPU: Kiln does so when a call
needs one."""

from __future__ import annotations

from pathlib import Path

from ._tvm_ffi import tvm_ffi

_module = tvm_ffi.load_module(Path(__file__).with_name("lib") / "libkiln_ffi.so")


def function(name: str) -> tvm_ffi.Function:
    """A function of src/functions.cpp.

    The GIL is released while it runs: a first call may compile a kernel, and the emulator and the
    CPU model take their time.
    """
    found = getattr(_module, name)
    found.release_gil = True
    return found


# C++'s version(), "major.minor.patch".
version: str = _module.version()
