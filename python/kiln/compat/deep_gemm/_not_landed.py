"""The peer's operations that Kiln does not have yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..._errors import UnsupportedError

# Name -> what is missing. docs/python.md lists the same, and a test compares them.
NOT_LANDED = {
    **dict.fromkeys(
        (
            "bf16_gemm_nt",
            "bf16_gemm_nn",
            "bf16_gemm_tn",
            "bf16_gemm_tt",
            "cublaslt_gemm_nt",
            "cublaslt_gemm_nn",
            "cublaslt_gemm_tn",
            "cublaslt_gemm_tt",
        ),
        "BF16 GEMM",
    ),
    "fp8_gemm_nt_skip_head_mid": "outputs with a gap in every head",
    **dict.fromkeys(
        (
            "m_grouped_bf16_gemm_nt_contiguous",
            "m_grouped_bf16_gemm_nn_contiguous",
            "m_grouped_bf16_gemm_nt_masked",
            "bf16_m_grouped_gemm_nt_masked",
        ),
        "BF16 grouped GEMM",
    ),
    **dict.fromkeys(
        (
            "k_grouped_fp8_gemm_nt_contiguous",
            "k_grouped_fp8_gemm_tn_contiguous",
            "k_grouped_bf16_gemm_tn_contiguous",
            "get_k_grouped_mn_major_tma_aligned_packed_ue8m0_tensor",
        ),
        "grouped GEMM along K",
    ),
    **dict.fromkeys(
        (
            "fp8_fp4_mqa_logits",
            "fp8_fp4_paged_mqa_logits",
            "fp8_mqa_logits",
            "fp8_paged_mqa_logits",
            "get_paged_mqa_logits_metadata",
        ),
        "MQA logits (the indexer)",
    ),
    "tf32_hc_prenorm_gemm": "the HyperConnection prenorm GEMM",
    **dict.fromkeys(("einsum", "fp8_einsum"), "einsum"),
    **dict.fromkeys(
        (
            "SymmBuffer",
            "get_symm_buffer_for_mega_moe",
            "transform_weights_for_mega_moe",
            "transform_weights_for_mega_moe_sm90",
            "fp8_fp4_mega_moe",
            "fp8_mega_moe",
            "bf16_mega_moe",
            "mega_moe_pre_dispatch",
            "get_block_m_for_mega_moe",
        ),
        "the fused MoE",
    ),
}


def refuse(name: str, missing: str) -> UnsupportedError:
    return UnsupportedError(f"{name}: Kiln does not have {missing} yet")


def stub(name: str) -> Callable[..., Any]:
    """What stands for the name: callers look it up at import and tolerate that it raises."""

    def not_landed(*arguments: Any, **options: Any) -> Any:
        raise refuse(name, NOT_LANDED[name])

    not_landed.__name__ = not_landed.__qualname__ = name
    not_landed.__doc__ = f"Not there yet: Kiln does not have {NOT_LANDED[name]}."
    return not_landed
