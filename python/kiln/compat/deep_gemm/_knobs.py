"""The peer's process-wide settings. Kiln itself has none: a call reads these once and passes on what
concerns it (the SM budget, programmatic launch, the alignment of groups)."""

from __future__ import annotations

from dataclasses import dataclass

from ..._errors import InvalidArgumentError


@dataclass
class Settings:
    num_sms: int = 0  # 0: all
    pdl: bool = False
    mk_alignment: int = 128
    # Remembered, and without effect: Kiln's kernels do not throttle themselves, take shapes at run
    # time, need no multiples, and are deterministic whatever is asked for.
    tc_util: int = 100
    ignore_compile_dims: bool = False
    block_size_multiple_of: tuple[int, int] = (1, 1)
    deterministic: bool = True
    compile_mode: int = 0


settings = Settings()


def _whole(name: str, value: int, least: int, most: int | None = None) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidArgumentError(f"{name}: got {value!r}, wanted an int of {least} or more")
    if most is not None and value > most:
        raise InvalidArgumentError(f"{name}: got {value}, wanted at most {most}")
    return value


def set_num_sms(new_num_sms: int) -> None:
    """At most so many SMs are used by the calls that follow."""
    settings.num_sms = _whole("set_num_sms", new_num_sms, 1)


def get_num_sms() -> int:
    """What set_num_sms() was given, else the SMs of Torch's current GPU."""
    if settings.num_sms:
        return settings.num_sms
    import torch

    return torch.cuda.get_device_properties(torch.cuda.current_device()).multi_processor_count


def set_pdl(new_enable_pdl: bool) -> None:
    """Whether the calls that follow use programmatic dependent launch."""
    settings.pdl = bool(new_enable_pdl)


def get_pdl() -> bool:
    return settings.pdl


def set_tc_util(new_tc_util: int) -> None:
    settings.tc_util = _whole("set_tc_util", new_tc_util, 0, 100)


def get_tc_util() -> int:
    return settings.tc_util


def set_ignore_compile_dims(new_value: bool) -> None:
    settings.ignore_compile_dims = bool(new_value)


def set_block_size_multiple_of(new_value: int | tuple[int, int]) -> None:
    pair = new_value if isinstance(new_value, tuple) else (new_value, new_value)
    m, n = (_whole("set_block_size_multiple_of", value, 1) for value in pair)
    settings.block_size_multiple_of = (m, n)


def use_deterministic_algorithms(mode: bool = True) -> None:
    settings.deterministic = bool(mode)


def set_compile_mode(new_value: int) -> None:
    settings.compile_mode = _whole("set_compile_mode", new_value, 0)


def get_compile_mode() -> int:
    return settings.compile_mode


def set_mk_alignment_for_contiguous_layout(new_value: int) -> None:
    """The rows to which a group's first row is aligned in the contiguous layouts."""
    name = "set_mk_alignment_for_contiguous_layout"
    settings.mk_alignment = _whole(name, new_value, 1)


def get_mk_alignment_for_contiguous_layout() -> int:
    return settings.mk_alignment


def get_theoretical_mk_alignment_for_contiguous_layout(
    expected_m: int | None = None, num_groups: int | None = None
) -> int:
    """What the peer wants on Hopper: 128. Kiln needs none."""
    return 128
