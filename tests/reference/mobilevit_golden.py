"""Writes the golden files of MobileViT: what timm and transformers compute from known weights.

Weights are not stored: they are made from the names of the tensors, here and in the test.
Run from the repository root, with torch, timm, transformers and safetensors installed:

    python tests/reference/mobilevit_golden.py
"""

import json
from pathlib import Path

import timm
import torch
from filled import fill, images
from safetensors.torch import save_file
from transformers import MobileViTConfig, MobileViTForImageClassification

FOLDER = Path(__file__).parent.parent / "golden"
CLASSES = 10


def write(name: str, model: torch.nn.Module, logits_of, edge: int, batch: int = 2) -> None:
    state = {
        key: torch.from_numpy(fill(key, tuple(value.shape))) if value.is_floating_point() else value
        for key, value in model.state_dict().items()
    }
    model.load_state_dict(state)
    model.eval()
    inputs = torch.from_numpy(images(batch, 3, edge))
    with torch.no_grad():
        logits = logits_of(model, inputs)
    save_file({"logits": logits.contiguous()}, FOLDER / f"{name}.io.safetensors")
    keys = {key: list(value.shape) for key, value in state.items() if value.is_floating_point()}
    description = {"edge": edge, "batch": batch, "keys": keys}
    (FOLDER / f"{name}.json").write_text(json.dumps(description, separators=(",", ":")) + "\n")
    print(name, logits.std().item(), (logits[0] - logits[1]).abs().max().item())


def main() -> None:
    torch.manual_seed(0)
    for size, edge in [("xxs", 128), ("xs", 64), ("s", 64)]:
        model = timm.create_model(f"mobilevit_{size}", pretrained=False, num_classes=CLASSES)
        write(f"mobilevit_{size}_timm", model, lambda model, x: model(x), edge)
    config = MobileViTConfig(
        hidden_sizes=[64, 80, 96],
        neck_hidden_sizes=[16, 16, 24, 48, 64, 80, 320],
        expand_ratio=2.0,
        hidden_dropout_prob=0.0,
        num_labels=CLASSES,
    )
    model = MobileViTForImageClassification(config)
    # Its images come blue first; the test's come red first.
    write("mobilevit_xxs_hf", model, lambda model, x: model(x.flip(1)).logits, 64)


if __name__ == "__main__":
    main()
