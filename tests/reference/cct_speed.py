"""Prints how many images a second PyTorch trains a CCT-2/3x2 or a CCT-7/3x1 on.

The peer of `picovit train --model cct_2_3x2`: the same network (32x32, one channel, dropped
attention weights and paths), AdamW and label smoothing. Images are noise that lies on the device
already: what is timed is the step. Run from anywhere with torch installed:

    python tests/reference/cct_speed.py --device cuda
"""

import argparse
import statistics
import time
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

CLASSES, EDGE = 10, 32


class Size(NamedTuple):
    """What sets the two networks apart."""

    dim: int
    heads: int
    layers: int
    mlp_ratio: int
    channels: list[int]
    parameters: int


SIZES = {
    "cct_2_3x2": Size(128, 2, 2, 1, [1, 64, 128], 282_571),
    "cct_7_3x1": Size(256, 4, 7, 2, [1, 256], 3_755_531),
}


class Block(nn.Module):
    """SHI-Labs' block: its second normalisation replaces the residual stream."""

    def __init__(self, size: Size, dropped_path: float) -> None:
        super().__init__()
        dim = size.dim
        self.heads = size.heads
        self.pre_norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.proj = nn.Linear(dim, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, size.mlp_ratio * dim)
        self.linear2 = nn.Linear(size.mlp_ratio * dim, dim)
        self.dropped_path = dropped_path

    def path(self, x: torch.Tensor) -> torch.Tensor:
        """Skips the branch for some images."""
        if not self.training or self.dropped_path == 0.0:
            return x
        return x * F.dropout(x.new_ones(len(x), 1, 1), self.dropped_path)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, dim = x.shape
        qkv = self.qkv(self.pre_norm(x)).reshape(batch, tokens, 3, self.heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        dropped = 0.1 if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropped)
        mixed = self.proj(mixed.transpose(1, 2).reshape(batch, tokens, dim))
        x = self.norm1(x + self.path(mixed))
        return x + self.path(self.linear2(F.gelu(self.linear1(x))))


class Cct(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        dim, layers = size.dim, size.layers
        pairs = zip(size.channels, size.channels[1:])
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in pairs)
        tokens = (EDGE >> len(self.convs)) ** 2
        self.positional_emb = nn.Parameter(0.02 * torch.randn(1, tokens, dim))
        self.blocks = nn.ModuleList(Block(size, 0.1 * i / (layers - 1)) for i in range(layers))
        self.norm = nn.LayerNorm(dim)
        self.attention_pool = nn.Linear(dim, 1)
        self.fc = nn.Linear(dim, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for conv in self.convs:
            x = F.max_pool2d(F.relu(conv(x)), 3, stride=2, padding=1)
        x = x.flatten(2).transpose(1, 2) + self.positional_emb
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        weights = self.attention_pool(x).softmax(1).transpose(1, 2)
        return self.fc((weights @ x).squeeze(1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=SIZES, default="cct_2_3x2")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=100, help="steps of one measurement")
    parser.add_argument("--rounds", type=int, default=5, help="measurements, behind one that warms up")
    parser.add_argument("--tf32", action="store_true", help="matrix products in TF32")
    parser.add_argument("--bf16", action="store_true", help="autocast to bfloat16")
    parser.add_argument("--compile", action="store_true", help="torch.compile the network")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = arguments.tf32
    torch.backends.cudnn.allow_tf32 = arguments.tf32

    size = SIZES[arguments.model]
    model = Cct(size).to(device)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert parameters == size.parameters, f"{parameters} parameters are not those of picovit's network"
    step_model = torch.compile(model) if arguments.compile else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    images = torch.randn(arguments.batch_size, 1, EDGE, EDGE, device=device)
    labels = torch.randint(CLASSES, (arguments.batch_size,), device=device)

    def step() -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=arguments.bf16):
            loss = F.cross_entropy(step_model(images), labels, label_smoothing=0.1)
        loss.backward()
        optimizer.step()
        return loss

    speeds = []
    for _ in range(1 + arguments.rounds):
        start = time.perf_counter()
        for _ in range(arguments.steps):
            # picovit watches every step's loss, which waits for the device: so does this.
            loss = step().item()
        speeds.append(arguments.steps * arguments.batch_size / (time.perf_counter() - start))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    speeds = speeds[1:]
    print(
        f"{arguments.model}, torch {torch.__version__} on {name}: {statistics.median(speeds):.0f} images/s "
        f"({min(speeds):.0f} to {max(speeds):.0f}), loss {loss:.3f}"
    )


if __name__ == "__main__":
    main()
