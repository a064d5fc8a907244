from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def torch():
    """Torch, or the test is skipped."""
    return pytest.importorskip("torch", reason="Torch is not installed")


@pytest.fixture(scope="session")
def cuda(torch):
    """Torch with a GPU that Kiln's kernels run on, or the test is skipped."""
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    if torch.cuda.get_device_capability() != (9, 0):
        pytest.skip(f"{torch.cuda.get_device_name()} is no Hopper GPU")
    return torch


@pytest.fixture(params=["cpu", "cuda"])
def device(request):
    """Where Torch's tensors are."""
    if request.param == "cuda":
        request.getfixturevalue("cuda")
    return request.param
