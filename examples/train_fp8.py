"""Trains a small byte-level transformer twice from the same seed and on the same batches, with BF16
and with FP8 products (fp8_linear.py) in its blocks, and once more in BF16 from another seed: that is
how far two runs are apart anyway.

    python3 examples/train_fp8.py --json curves.json          on a GPU: 2,000 steps each
    python3 examples/train_fp8.py --plot curves.json curves.svg     needs matplotlib

The text is what is here: documentation and Python sources of the installed packages, in the order of
their names; every tenth file is held out. The bytes are the vocabulary.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import math
import time
from pathlib import Path
from typing import Any

KINDS = (".md", ".rst", ".txt", ".py", ".pyi")


def corpus(bytes_per_package: int) -> tuple[bytes, bytes, dict[str, Any]]:
    """What is trained on, what is held out, and where they come from. Of a package the first files by
    name are taken, up to so many bytes."""
    parts: tuple[list[bytes], list[bytes]] = [], []
    packages, files = {}, 0
    found = {each.metadata["Name"]: each for each in importlib.metadata.distributions()}
    for name in sorted(found, key=str.lower):
        left = bytes_per_package
        for path in sorted(found[name].files or (), key=str):
            if path.suffix not in KINDS or path.is_absolute() or ".." in path.parts:
                continue
            try:
                text = path.locate().read_bytes()
                text.decode()
            except (OSError, UnicodeDecodeError):
                continue
            if not 256 <= len(text) <= left:
                continue
            left -= len(text)
            parts[files % 10 == 9].append(text)
            files += 1
        if left < bytes_per_package:
            packages[name] = found[name].version
    train, held_out = (b"\n".join(part) for part in parts)
    told = {
        "files": files,
        "train_bytes": len(train),
        "held_out_bytes": len(held_out),
        "sha256": hashlib.sha256(train + held_out).hexdigest(),
        "packages": packages,
    }
    return train, held_out, told


def transformer(linear: Any, width: int, depth: int, heads: int, context: int) -> Any:
    """Before each block's two parts the stream is normalised; positions are learnt; the ends, the
    embedding and the head, are BF16 products in every run."""
    import torch
    from torch.nn import functional

    from fp8_linear import Bf16Linear

    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.out = linear(width, 3 * width), linear(width, width)
            self.up, self.down = linear(width, 4 * width), linear(4 * width, width)
            for last in (self.out, self.down):
                with torch.no_grad():
                    last.weight.div_(math.sqrt(2 * depth))

        def forward(self, x):
            batch, length, _ = x.shape
            qkv = self.qkv(functional.rms_norm(x, (width,)))
            q, k, v = qkv.view(batch, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
            mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
            return x + self.down(functional.gelu(self.up(functional.rms_norm(x, (width,)))))

    class Transformer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bytes = torch.nn.Embedding(256, width)
            self.positions = torch.nn.Parameter(torch.randn(context, width) * 0.02)
            self.blocks = torch.nn.ModuleList(Block() for _ in range(depth))
            self.head = Bf16Linear(width, 256)

        def forward(self, inputs, targets):
            x = (self.bytes(inputs) + self.positions[: inputs.shape[1]]).to(torch.bfloat16)
            for block in self.blocks:
                x = block(x)
            logits = self.head(functional.rms_norm(x, (width,))).float()
            return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())

    return Transformer()


class Training:
    """One run. On a GPU a step is one CUDA graph from its fourth time on."""

    def __init__(self, options: argparse.Namespace, linear: Any, seed: int, texts: Any) -> None:
        import torch

        torch.manual_seed(seed)
        self.options, self.texts = options, texts
        self.on_gpu = options.device == "cuda"
        self.model = transformer(
            linear, options.width, options.depth, options.width // 64, options.context
        ).to(options.device)
        self.rate = torch.tensor(0.0, device=options.device)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=self.rate, betas=(0.9, 0.95), weight_decay=0.1,
            fused=self.on_gpu, capturable=self.on_gpu,
        )  # fmt: skip
        shape = options.batch, options.context
        self.inputs, self.targets = (
            torch.zeros(shape, dtype=torch.int64, device=options.device) for _ in range(2)
        )
        self.random = torch.Generator().manual_seed(0)  # every run has the same batches
        self.graph = None
        self.loss = None

    def load(self, text: Any, random: Any) -> None:
        """A batch of windows of a text at random places."""
        import torch

        length = self.options.context + 1
        starts = torch.randint(len(text) - length, (self.options.batch, 1), generator=random)
        places = (starts + torch.arange(length)).to(text.device, non_blocking=True)
        windows = text[places].long()
        self.inputs.copy_(windows[:, :-1])
        self.targets.copy_(windows[:, 1:])

    def learn(self) -> Any:
        import torch

        self.optimizer.zero_grad(set_to_none=True)
        loss = self.model(self.inputs, self.targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return loss.detach()

    def step(self, number: int) -> Any:
        """The loss of one batch, before it is learnt from."""
        import torch

        steps, warm_up = self.options.steps, max(1, self.options.steps // 20)
        done = max(0, number - warm_up) / max(1, steps - warm_up)
        share = min((number + 1) / warm_up, 0.55 + 0.45 * math.cos(math.pi * done))
        self.rate.fill_(self.options.rate * share)
        self.load(self.texts[0], self.random)
        if not self.on_gpu:
            return self.learn()
        if (
            number < 3
        ):  # what a graph wants to be there before it is captured is made on a side stream
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                loss = self.learn()
            torch.cuda.current_stream().wait_stream(side)
            return loss
        if self.graph is None:
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.loss = self.learn()
        self.graph.replay()
        return self.loss

    def held_out(self) -> float:
        """The mean loss of some batches of the held-out text, always the same."""
        import torch

        random = torch.Generator().manual_seed(1)
        losses = []
        with torch.no_grad():
            for _ in range(self.options.held_out_batches):
                self.load(self.texts[1], random)
                losses.append(self.model(self.inputs, self.targets))
        return float(torch.stack(losses).mean())

    def run(self) -> dict[str, Any]:
        import torch

        options = self.options
        losses = torch.zeros(options.steps, device=options.device)
        held_out = [[0, self.held_out()]]
        seconds = 0.0
        for first in range(0, options.steps, options.every):
            start = time.perf_counter()
            for number in range(first, min(first + options.every, options.steps)):
                losses[number].copy_(self.step(number))
            if self.on_gpu:
                torch.cuda.synchronize()
            last = time.perf_counter() - start
            seconds += last
            held_out.append([number + 1, self.held_out()])
        return {
            "train": [round(loss, 5) for loss in losses.tolist()],
            "held_out": [[number, round(loss, 5)] for number, loss in held_out],
            "seconds": round(seconds, 2),
            # Of the last stretch: kernels are compiled and graphs captured by then.
            "ms_a_step": round(last / (number + 1 - first) * 1e3, 3),
        }


def compared(runs: dict[str, Any]) -> dict[str, Any]:
    """How far the held-out losses of each run are from the first one's: at the end, and over the
    second half of the steps."""
    (_, first), *others = runs.items()
    apart = {}
    for name, run in others:
        differences = [x - y for (_, x), (_, y) in zip(run["held_out"], first["held_out"])]
        late = differences[len(differences) // 2 :]
        apart[name] = {
            "at_the_end": round(differences[-1], 5),
            "mean": round(sum(late) / len(late), 5),
            "largest": round(max(map(abs, late)), 5),
        }
    return apart


def train(options: argparse.Namespace) -> dict[str, Any]:
    import torch

    import kiln
    from fp8_linear import Bf16Linear, Fp8Linear

    train_text, held_out_text, told = corpus(options.bytes_per_package)
    texts = [
        torch.frombuffer(bytearray(text), dtype=torch.uint8).to(options.device)
        for text in (train_text, held_out_text)
    ]
    print(f"{told['train_bytes']} bytes of {told['files']} files, {len(told['packages'])} packages")
    runs = {}
    for name, linear, seed in (
        ("bf16", Bf16Linear, 1),
        ("fp8", Fp8Linear, 1),
        ("bf16, another seed", Bf16Linear, 2),
    ):
        training = Training(options, linear, seed, texts)
        runs[name] = training.run()
        parameters = sum(each.numel() for each in training.model.parameters())
        print(
            f"{name}: held-out loss {runs[name]['held_out'][-1][1]:.4f} nats a byte, "
            f"{runs[name]['ms_a_step']} ms a step, {runs[name]['seconds']} s", flush=True,
        )  # fmt: skip
    apart = compared(runs)
    for name, differences in apart.items():
        print(f"{name}, held-out loss minus that of bf16: {differences}")
    settings = {key: value for key, value in vars(options).items() if key not in ("json", "plot")}
    machine = {"torch": torch.__version__, "kiln": kiln.__version__}
    if options.device == "cuda":
        from moe_layer import machine as of_gpu

        machine = of_gpu(torch)
    return {
        "machine": machine,
        "settings": {**settings, "parameters": parameters},
        "corpus": told,
        "held_out_minus_bf16": apart,
        "runs": runs,
    }


def plot(curves: Path, picture: Path) -> None:
    """Above the curves, below how far each is from the first on the held-out text."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "kiln"  # the same file each time
    from matplotlib import pyplot

    results = json.loads(curves.read_text())
    figure, (above, below) = pyplot.subplots(
        2, 1, figsize=(8, 7), height_ratios=(3, 2), sharex=True, layout="constrained"
    )
    first = None
    for name, run in results["runs"].items():
        steps, losses = zip(*run["held_out"])
        first = first or losses
        width = 20
        smooth = [
            sum(run["train"][i : i + width]) / width
            for i in range(0, len(run["train"]) - width + 1, width)
        ]
        at = [width * (i + 0.5) for i in range(len(smooth))]
        (line,) = above.plot(steps, losses, marker=".", label=f"{name}, held out")
        above.plot(at, smooth, color=line.get_color(), alpha=0.4, label=f"{name}, training")
        below.plot(steps, [x - y for x, y in zip(losses, first)], marker=".", label=name)
    above.set_ylabel("loss, nats a byte")
    above.set_ylim(0.5 * min(first), 3.5)
    below.set_ylabel("held-out loss minus that of bf16")
    below.set_xlabel("steps")
    spread = max(abs(x - y) for run in results["runs"].values()
                 for (_, x), y in list(zip(run["held_out"], first))[len(first) // 4 :])  # fmt: skip
    below.set_ylim(-1.5 * spread, 1.5 * spread)
    for axes in (above, below):
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(picture, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=32, help="windows of text a step")
    parser.add_argument("--context", type=int, default=256, help="bytes a window")
    parser.add_argument("--width", type=int, default=768, help="a multiple of 64")
    parser.add_argument("--depth", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1e-3, help="the highest learning rate")
    parser.add_argument("--every", type=int, default=100, help="steps between held-out losses")
    parser.add_argument("--held-out-batches", type=int, default=16)
    parser.add_argument("--bytes-per-package", type=int, default=1 << 16)
    parser.add_argument("--json", type=Path, help="where the curves go")
    parser.add_argument("--plot", type=Path, nargs=2, metavar=("CURVES", "PICTURE"))
    options = parser.parse_args()
    if options.plot:
        plot(*options.plot)
        return
    results = train(options)
    if options.json:
        options.json.write_text(json.dumps(results) + "\n")


if __name__ == "__main__":
    main()
