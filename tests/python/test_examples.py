"""The Python examples: what they say is right is, small, without a GPU where they can."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import kiln

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.skipif(
    not (EXAMPLES / "moe_layer.py").exists(), reason="without the source tree"
)


def run(name: str, *arguments: str) -> str:
    paths = [os.path.dirname(os.path.dirname(kiln.__file__)), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_moe_layer_on_the_emulator():
    pytest.importorskip("ml_dtypes")
    said = run("moe_layer.py", "--device", "emu", "--tokens", "12")
    assert "emu: every bit is the CPU model's" in said
    assert "against the plain layer: relative error 0.0" in said


def test_moe_layer_on_a_gpu(cuda, tmp_path):
    sizes = ("--tokens", "70", "--hidden", "512", "--inner", "256", "--experts", "8")
    said = run("moe_layer.py", *sizes, "--json", str(tmp_path / "figures.json"))
    assert "CUDA graph: every bit is the CPU model's" in said
    steps = json.loads((tmp_path / "figures.json").read_text())["steps_us"]
    assert len(steps) == 7 and min(steps.values()) > 0


def test_fp8_linear(torch, device, monkeypatch):
    """Against the plain layer in FP32. Both operands of a product are quantised, each with a relative
    error of at most 2^-4 / sqrt(3) in the mean square (moe_layer.py)."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    from fp8_linear import Fp8Linear

    torch.manual_seed(1)
    layer = Fp8Linear(384, 256).to(device)
    x = torch.randn(3, 100, 384, device=device).to(torch.bfloat16).requires_grad_()
    dy = torch.randn(3, 100, 256, device=device).to(torch.bfloat16)
    y = layer(x)
    y.backward(dy)
    assert y.dtype == x.grad.dtype == torch.bfloat16 and layer.weight.grad.dtype == torch.float32
    plain_x = x.detach().float().requires_grad_()
    weight = layer.weight.detach().clone().requires_grad_()
    wanted = torch.nn.functional.linear(plain_x, weight)
    wanted.backward(dy.float())
    for got, right in ((y, wanted), (x.grad, plain_x.grad), (layer.weight.grad, weight.grad)):
        error = (got.float() - right).square().mean().sqrt() / right.square().mean().sqrt()
        assert 0.01 < error < 2**0.5 * 2**-4 / 3**0.5


def test_training(torch, device, tmp_path):
    curves = tmp_path / "curves.json"
    sizes = ("--steps", "8", "--batch", "2", "--context", "64", "--width", "64", "--depth", "1")
    more = ("--every", "4", "--held-out-batches", "1", "--bytes-per-package", "8192")
    run("train_fp8.py", "--device", device, *sizes, *more, "--json", str(curves))
    runs = json.loads(curves.read_text())["runs"]
    bf16, fp8, other = (runs[name] for name in ("bf16", "fp8", "bf16, another seed"))
    for each in runs.values():
        assert len(each["train"]) == 8 and [step for step, _ in each["held_out"]] == [0, 4, 8]
        assert each["held_out"][-1][1] < each["held_out"][0][1]
    # The same batches and, but for its products, the same model.
    assert 0 < abs(bf16["train"][0] - fp8["train"][0]) < 0.05
    assert bf16["train"][0] != other["train"][0]
