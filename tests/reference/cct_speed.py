"""Prints how many images a second PyTorch trains a CCT-2/3x2 or a CCT-7/3x1 on.

The peer of `picovit train --model cct_2_3x2`: the same network (32x32, one channel, dropped
attention weights and paths), AdamW and label smoothing. Images are noise that lies on the device
already: what is timed is the step. Run from anywhere with torch installed:

    python tests/reference/cct_speed.py --device cuda
"""

import argparse
import statistics
import time

import torch
from torch.nn import functional as F

from cct_train import CLASSES, EDGE, network

PARAMETERS = {"cct_2_3x2": 282_571, "cct_7_3x1": 3_755_531}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=PARAMETERS, default="cct_2_3x2")
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

    model = network(arguments.model, dropped=0.1, path=0.1).to(device)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert parameters == PARAMETERS[arguments.model], f"{parameters} parameters are not those of picovit's network"
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
