"""Kiln's exceptions: one class for each code of C++'s ``kiln::Error``.

Each is also the built-in exception that a caller would expect, so ``except ValueError`` works
without knowing Kiln. The text is the sentence that C++ throws.
"""

from __future__ import annotations

from ._tvm_ffi import tvm_ffi


class Error(RuntimeError):
    """What every error of Kiln is. ``code`` is the word for its kind, e.g. ``"driver"``."""

    code: str = "internal"


class InvalidArgumentError(Error, ValueError):
    """The input breaks a documented rule; nothing was launched or written."""

    code = "invalid_argument"


class WrongTypeError(InvalidArgumentError, TypeError):
    """An argument is of another type, or a tensor of another dtype, than wanted."""


class UnsupportedError(Error, NotImplementedError):
    """Legal, but this version, device or operation cannot do it."""

    code = "unsupported"


class NoDeviceError(Error):
    """There is no such device, or no driver that can reach it."""

    code = "no_device"


class NoCompilerError(Error):
    """A kernel needs compiling and no usable compiler was found."""

    code = "no_compiler"


class CompileError(Error):
    """The compiler refused a kernel; the message carries its log."""

    code = "compile_failed"


class DriverError(Error):
    """A call of the CUDA driver failed."""

    code = "driver"


class CacheError(Error):
    """A command for the kernel cache failed. Calls never fail on their cache."""

    code = "cache"


class FileError(Error):
    """A file could not be read or written."""

    code = "io"


class DeadlockError(Error):
    """The emulator found a kernel that cannot go on; the message says who waits for what."""

    code = "deadlock"


class RaceError(Error):
    """The emulator's checker found accesses to memory that nothing orders."""

    code = "race"


class InternalError(Error):
    """A bug in Kiln."""

    code = "internal"


# By the names under which the library raises them (src/functions.cpp). Users know them as kiln.X.
for _error in (
    InvalidArgumentError,
    UnsupportedError,
    NoDeviceError,
    NoCompilerError,
    CompileError,
    DriverError,
    CacheError,
    FileError,
    DeadlockError,
    RaceError,
    InternalError,
):
    tvm_ffi.register_error("kiln." + _error.code, _error)
    _error.__module__ = "kiln"
tvm_ffi.register_error("kiln.wrong_type", WrongTypeError)
Error.__module__ = WrongTypeError.__module__ = "kiln"
