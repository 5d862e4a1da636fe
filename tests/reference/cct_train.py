"""Trains compact transformers on Fashion-MNIST in PyTorch, with or without teachers.

Weights are saved under SHI-Labs' names, for `picovit import`. Data, variations, optimizers, the
average of the weights and the images kept for validation are those of `picovit train`; a step is one
CUDA graph, so that a small network keeps a large card busy. Without `--epochs`, the learning rate
falls with the clock and the run takes `--seconds`. A residual network can be a teacher, too:

    python tests/reference/cct_train.py --model resnet --data DIR --out resnet.pth --epochs 30
    python tests/reference/cct_train.py --model cct_7_3x1 --data DIR --out teacher.pth --epochs 40
    python tests/reference/cct_train.py --model cct_2_3x2 --data DIR --out student.pth \\
        --teacher teacher.pth resnet.pth --epochs 150

On a processor, `--bf16`, `resnet_small` and `--views` make an hour enough for a small network.
"""

import argparse
import gzip
import json
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

EDGE, CLASSES = 32, 10
MEAN, STD = 0.21899983, 0.33181137
# Width, heads, layers, ratio of the MLP, channels of the tokenizer.
SIZES = {
    "cct_2_3x2": (128, 2, 2, 1, [1, 64, 128]),
    "cct_7_3x1": (256, 4, 7, 2, [1, 256]),
}
NETWORKS = ["resnet", "resnet_small", *SIZES]


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int, dropped: float) -> None:
        super().__init__()
        self.heads, self.dropped = heads, dropped
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, dim = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, dim // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        dropped = self.dropped if self.training else 0.0
        if x.is_cuda:
            mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropped)
        else:  # for so few tokens, the processor's fused kernel takes longer
            scores = query @ key.transpose(2, 3) * (dim // self.heads) ** -0.5
            mixed = F.dropout(scores.softmax(3), dropped) @ value
        return self.proj(mixed.transpose(1, 2).reshape(batch, tokens, dim))


class Block(nn.Module):
    """SHI-Labs' block: its second normalisation replaces the residual stream."""

    def __init__(self, dim: int, heads: int, ratio: int, dropped: float, path: float) -> None:
        super().__init__()
        self.pre_norm = nn.LayerNorm(dim)
        self.self_attn = Attention(dim, heads, dropped)
        self.norm1 = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, ratio * dim)
        self.linear2 = nn.Linear(ratio * dim, dim)
        self.path = path

    def branch(self, x: torch.Tensor) -> torch.Tensor:
        """Skips the branch for some images."""
        if not self.training or self.path == 0.0:
            return x
        return x * F.dropout(x.new_ones(len(x), 1, 1), self.path)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm1(x + self.branch(self.self_attn(self.pre_norm(x))))
        return x + self.branch(self.linear2(F.gelu(self.linear1(x))))


class Tokenizer(nn.Module):
    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.conv_layers = nn.ModuleList()
        for before, after in zip(channels, channels[1:]):
            conv = nn.Conv2d(before, after, 3, padding=1, bias=False)
            nn.init.kaiming_normal_(conv.weight)
            layer = [conv, nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
            self.conv_layers.append(nn.Sequential(*layer))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.conv_layers:
            x = layer(x)
        return x.flatten(2).transpose(1, 2)


class Classifier(nn.Module):
    def __init__(self, size: tuple, dropped: float, path: float) -> None:
        super().__init__()
        dim, heads, layers, ratio, channels = size
        tokens = (EDGE >> (len(channels) - 1)) ** 2
        self.positional_emb = nn.Parameter(torch.zeros(1, tokens, dim))
        nn.init.trunc_normal_(self.positional_emb, std=0.2)
        paths = [path * i / max(layers - 1, 1) for i in range(layers)]
        self.blocks = nn.ModuleList(Block(dim, heads, ratio, dropped, path) for path in paths)
        self.norm = nn.LayerNorm(dim)
        self.attention_pool = nn.Linear(dim, 1)
        self.fc = nn.Linear(dim, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.positional_emb
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        weights = self.attention_pool(x).softmax(1).transpose(1, 2)
        return self.fc((weights @ x).squeeze(1))


class Cct(nn.Module):
    def __init__(self, size: tuple, dropped: float = 0.0, path: float = 0.0) -> None:
        super().__init__()
        self.tokenizer = Tokenizer(size[-1])
        self.classifier = Classifier(size, dropped, path)
        for layer in self.classifier.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.tokenizer(x))


class Residual(nn.Module):
    """Two convolutions, normalised beforehand."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(before), nn.BatchNorm2d(after)
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        same = stride == 1 and before == after
        self.skip = None if same else nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.norm1(x))
        skipped = x if self.skip is None else self.skip(y)
        return skipped + self.conv2(F.relu(self.norm2(self.conv1(y))))


class ResNet(nn.Module):
    """Wide residual network of 16 layers (Zagoruyko and Komodakis, 2016).

    The small one of 10 layers halves the image first, for training on a processor.
    """

    def __init__(self, small: bool = False) -> None:
        super().__init__()
        before = 48 if small else 32
        layers = [nn.Conv2d(1, before, 3, padding=1, bias=False)]
        if small:
            layers.append(nn.MaxPool2d(2))
        for after, stride, blocks in [(96, 1, 1), (192, 2, 2), (384, 2, 1)] if small else [(96, 1, 2), (192, 2, 2), (384, 2, 2)]:
            layers.append(Residual(before, after, stride))
            layers += [Residual(after, after, 1) for _ in range(1, blocks)]
            before = after
        self.layers = nn.Sequential(*layers, nn.BatchNorm2d(before), nn.ReLU())
        self.fc = nn.Linear(before, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.layers(x).mean((2, 3)))


def network(name: str, dropped: float = 0.0, path: float = 0.0) -> nn.Module:
    if name.startswith("resnet"):
        model = ResNet(small=name == "resnet_small")
    else:
        model = Cct(SIZES[name], dropped, path)
    return model.to(memory_format=torch.channels_last)


def read_weights(path: str, device: torch.device) -> dict:
    """Saved weights, also as `picovit export` writes them."""
    if path.endswith(".safetensors"):
        from safetensors.torch import load_file

        return load_file(path, device=str(device))
    return torch.load(path, map_location=device)


def load(path: str, device: torch.device) -> nn.Module:
    """A saved network; its weights tell which."""
    weights = read_weights(path, device)
    for name in NETWORKS:
        model = network(name)
        own = model.state_dict()
        if own.keys() == weights.keys() and all(own[k].shape == weights[k].shape for k in own):
            model.load_state_dict(weights)
            return model.to(device).eval().requires_grad_(False)
    raise SystemExit(f"{path} holds none of {', '.join(NETWORKS)}")


def read_idx(folder: Path, name: str, header: int) -> np.ndarray:
    path = folder / f"{name}-ubyte"
    data = path.read_bytes() if path.exists() else gzip.open(f"{path}.gz").read()
    return np.frombuffer(data, np.uint8, offset=header)


class Xoshiro:
    """xoshiro256++ (Blackman and Vigna), seeded by SplitMix64."""

    MASK = 2**64 - 1

    def __init__(self, seed: int) -> None:
        self.state = []
        for _ in range(4):
            seed = (seed + 0x9E3779B97F4A7C15) & self.MASK
            z = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & self.MASK
            z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & self.MASK
            self.state.append(z ^ (z >> 31))

    def next(self) -> int:
        def turned(x: int, by: int) -> int:
            return ((x << by) | (x >> (64 - by))) & self.MASK

        s = self.state
        result = (turned((s[0] + s[3]) & self.MASK, 23) + s[0]) & self.MASK
        shifted = (s[1] << 17) & self.MASK
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= shifted
        s[3] = turned(s[3], 45)
        return result


def split(images: int, kept: int, seed: int) -> tuple[list[int], list[int]]:
    """Training and validation images as `picovit train --seed` parts them."""
    random = Xoshiro(Xoshiro(seed).next() ^ 1)
    order = list(range(images))
    for i in range(images - 1, 0, -1):
        j = ((random.next() >> 32) * (i + 1)) >> 32
        order[i], order[j] = order[j], order[i]
    return order[kept:], order[:kept]


def vary(images: torch.Tensor, padding: int, erase: float) -> torch.Tensor:
    """Flip, shift and erase bytes `[image, row, column]`; gives `[image, 1, row, column]`."""
    count, device = len(images), images.device

    def unit() -> torch.Tensor:
        return torch.rand(count, 1, 1, device=device)

    images = images.float() / 255.0
    images = torch.where(unit() < 0.5, images.flip(2), images)
    place = torch.arange(EDGE, device=device)
    shift = torch.randint(0, 2 * padding + 1, (2, count, 1, 1), device=device)
    rows, columns = place.view(1, -1, 1) + shift[0], place.view(1, 1, -1) + shift[1]
    each = torch.arange(count, device=device).view(-1, 1, 1)
    images = F.pad(images, [padding] * 4)[each, rows, columns]
    area = (0.02 + 0.31 * unit()) * EDGE * EDGE
    aspect = torch.exp(math.log(3.3) * (2 * unit() - 1))
    height = (area * aspect).sqrt().round().clamp(1, EDGE)
    width = (area / aspect).sqrt().round().clamp(1, EDGE)
    top = (unit() * (EDGE - height + 1)).floor()
    left = (unit() * (EDGE - width + 1)).floor()
    y, x = place.view(1, -1, 1), place.view(1, 1, -1)
    inside = (y >= top) & (y < top + height) & (x >= left) & (x < left + width)
    erased = inside & (unit() < erase)
    images = torch.where(erased, torch.rand_like(images), images)
    return ((images - MEAN) / STD).unsqueeze(1)


def orthogonal(update: torch.Tensor) -> torch.Tensor:
    """Newton-Schulz iteration of Muon (Jordan and others, 2024)."""
    x = update.bfloat16()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
    return (x.T if tall else x).float()


class Muon:
    """Muon for matrices and kernels, with updates of AdamW's usual size."""

    def __init__(self, weights: list, rate: torch.Tensor, decay: float) -> None:
        self.weights, self.rate, self.decay = weights, rate, decay
        self.momenta = [torch.zeros_like(weight) for weight in weights]

    @torch.no_grad()
    def step(self) -> None:
        for weight, momentum in zip(self.weights, self.momenta):
            momentum.mul_(0.95).add_(weight.grad)
            update = orthogonal((weight.grad + 0.95 * momentum).flatten(1))
            scale = 0.2 * max(update.shape) ** 0.5
            weight.mul_(1 - self.rate * self.decay)
            weight.sub_(update.view_as(weight) * (scale * self.rate))


class Student:
    """A network in training, its optimizers and the average of its weights."""

    def __init__(self, model: nn.Module, options: argparse.Namespace, share: float) -> None:
        self.model, self.share = model, share
        self.average_decay = options.average_decay
        self.average = network(options.model).to(next(model.parameters()).device).eval()
        self.average.load_state_dict(model.state_dict())
        device = next(model.parameters()).device
        self.rate = torch.zeros((), device=device)
        self.muon_rate = torch.zeros((), device=device)
        matrices, rest = [], []
        for name, weight in model.named_parameters():
            inner = weight.dim() == 4 or weight.dim() == 2 and "blocks" in name
            (matrices if inner else rest).append(weight)
        self.muon = Muon(matrices, self.muon_rate, options.weight_decay)
        decaying = [weight for weight in rest if weight.dim() == 2]
        others = [weight for weight in rest if weight.dim() != 2]
        groups = [
            {"params": decaying, "weight_decay": options.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        cuda = device.type == "cuda"
        rate = self.rate if cuda else 0.0
        self.adam = torch.optim.AdamW(groups, lr=rate, capturable=cuda, foreach=cuda)
        self.best = (0.0, None)

    def set_rate(self, rate: float, factor: float) -> None:
        self.rate.fill_(rate)
        self.muon_rate.fill_(rate * factor)
        if self.rate.device.type != "cuda":
            for group in self.adam.param_groups:
                group["lr"] = rate

    def update(self) -> None:
        self.muon.step()
        self.adam.step()
        with torch.no_grad():
            pairs = zip(self.average.state_dict().values(), self.model.state_dict().values())
            for average, value in pairs:
                if average.is_floating_point():
                    average.lerp_(value, 1 - self.average_decay)

    def validate(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
        """Accuracy of the weights and of their average; keeps the better ones if they are the best."""
        scores = []
        for model in [self.model, self.average]:
            score = accuracy(model, images, labels)
            if score > self.best[0]:
                weights = {name: value.cpu().clone().contiguous() for name, value in model.state_dict().items()}
                self.best = (score, weights)
            scores.append(score)
        return tuple(scores)


@torch.no_grad()
def accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    training = model.training
    model.eval()
    correct = 0
    for part, wanted in zip(images.split(1000), labels.split(1000)):
        answers = model((part.float().unsqueeze(1) / 255.0 - MEAN) / STD).argmax(1)
        correct += (answers == wanted).sum().item()
    model.train(training)
    return correct / len(labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=NETWORKS, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of Fashion-MNIST's files")
    parser.add_argument("--out", required=True)
    parser.add_argument("--start", help="weights to start from")
    parser.add_argument("--teacher", nargs="*", default=[], help="saved networks to learn from")
    parser.add_argument("--share", type=float, nargs="*", default=[0.9], help="teachers' share of the loss, one student each")
    parser.add_argument("--temperature", type=float, default=2.0)
    parser.add_argument("--epochs", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--muon-factor", type=float, default=4.0)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--average-decay", type=float, default=0.998)
    parser.add_argument("--label-smoothing", type=float, default=0.1)
    parser.add_argument("--dropped", type=float, default=0.0, help="dropout of attention weights")
    parser.add_argument("--path", type=float, default=0.0, help="stochastic depth")
    parser.add_argument("--padding", type=int, default=2)
    parser.add_argument("--erase", type=float, default=0.2)
    parser.add_argument("--mixup", type=float, default=0.0, help="share of the batches that are mixed")
    parser.add_argument("--validation", type=int, default=2000)
    parser.add_argument("--views", type=int, default=0, help="without a GPU: ask the teachers about so many variations of every image, an epoch each")
    parser.add_argument("--uses", type=int, default=4, help="make a variation anew after so many epochs")
    parser.add_argument("--bf16", action="store_true", help="without a GPU: compute in bfloat16, too")
    parser.add_argument("--limit", type=int, help="use so many training images, for a quick try")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    cuda = device.type == "cuda"
    if options.views and (cuda or not options.teacher or options.mixup):
        parser.error("--views is for the CPU, needs a --teacher and does without --mixup")
    precision = {"device_type": device.type, "dtype": torch.bfloat16, "enabled": cuda or options.bf16, "cache_enabled": False}

    images = read_idx(options.data, "train-images-idx3", 16).reshape(-1, 28, 28)
    images = torch.from_numpy(np.pad(images, ((0, 0), (2, 2), (2, 2)))).to(device)
    labels = torch.from_numpy(read_idx(options.data, "train-labels-idx1", 8).astype(np.int64)).to(device)
    train, kept = split(len(images), options.validation, 0)
    train = torch.tensor(train[: options.limit], device=device)
    kept = torch.tensor(kept, device=device)

    teachers = [load(path, device) for path in options.teacher]
    students = []
    for share in options.share:
        model = network(options.model, options.dropped, options.path).to(device)
        if options.start:
            model.load_state_dict(read_weights(options.start, device))
        students.append(Student(model.train(), options, share if teachers else 0.0))

    views = [None] * options.views

    def scaled(logits: torch.Tensor) -> torch.Tensor:
        """Teachers that are sure of themselves should not outvote the others."""
        return logits * (1.4 / logits.std()) if len(teachers) > 1 else logits

    def view_of(epoch: int) -> tuple:
        """Varied images and the teachers' answers, which serve several epochs."""
        place = epoch % len(views)
        if epoch // len(views) % options.uses == 0 or views[place] is None:
            varied, answers = [], []
            for part in images[train].split(500):
                pixels = vary(part, options.padding, options.erase)
                with torch.no_grad(), torch.autocast(**precision):
                    answers.append(sum(scaled(teacher(pixels).float()) for teacher in teachers) / len(teachers))
                varied.append(pixels.half())
            views[place] = (torch.cat(varied), torch.cat(answers))
        return views[place]

    batch = options.batch_size
    chosen_images = images[train[:batch]].clone()
    chosen_labels = labels[train[:batch]].clone()
    places, view = None, None
    totals = torch.zeros(1 + len(students), device=device)

    def forward_backward() -> None:
        with torch.autocast(**precision):
            if views:
                pixels, answers = (part[places].float() for part in view)
            else:
                pixels, answers = vary(chosen_images, options.padding, options.erase), None
            targets = F.one_hot(chosen_labels, CLASSES).float()
            targets = targets * (1 - options.label_smoothing) + options.label_smoothing / CLASSES
            if options.mixup > 0.0:
                order = torch.argsort(torch.rand(batch, device=device))
                weight = torch.rand(batch, device=device)
                mixed = torch.rand(batch, device=device) < options.mixup
                weight = torch.where(mixed, weight, torch.ones_like(weight))
                pixels = torch.lerp(pixels[order], pixels, weight.view(-1, 1, 1, 1))
                targets = torch.lerp(targets[order], targets, weight.view(-1, 1))
            if teachers and answers is None:
                with torch.no_grad():
                    answers = sum(teacher(pixels).float() for teacher in teachers) / len(teachers)
            total = 0.0
            for number, student in enumerate(students):
                logits = student.model(pixels).float()
                loss = -(targets * logits.log_softmax(1)).sum(1).mean() * (1 - student.share)
                if answers is not None:
                    t = options.temperature
                    wanted, found = (answers / t).log_softmax(1), (logits / t).log_softmax(1)
                    divergence = (wanted.exp() * (wanted - found)).sum(1).mean()
                    loss = loss + divergence * (t * t * student.share)
                total = total + loss
                totals[1 + number] += (logits.argmax(1) == chosen_labels).float().mean()
        total.backward()
        totals[0] += total.detach()

    def no_gradients() -> None:
        for student in students:
            student.model.zero_grad(set_to_none=True)

    def whole_step() -> None:
        no_gradients()
        forward_backward()
        for student in students:
            student.update()

    step = whole_step
    if cuda:
        try:
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                for _ in range(3):
                    whole_step()
            torch.cuda.current_stream().wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            no_gradients()
            with torch.cuda.graph(graph):
                forward_backward()
                for student in students:
                    student.update()
            step = graph.replay
        except RuntimeError as error:
            print(f"without a graph: {error}")
            torch.cuda.synchronize()

    steps = len(train) // batch
    start = time.perf_counter()
    epoch, progress = 0, 0.0
    while progress < 1.0:
        epoch += 1
        began = time.perf_counter()
        totals.zero_()
        done = 0
        view = view_of(epoch) if views else None
        for places in torch.randperm(len(train), device=device)[: steps * batch].split(batch):
            if done % 8 == 0 and cuda:
                torch.cuda.synchronize()
            if options.epochs:
                progress = ((epoch - 1) * steps + done) / (options.epochs * steps)
            else:
                progress = min((time.perf_counter() - start) / options.seconds, 1.0)
            rising = min(progress / 0.03, 1.0)
            rate = options.learning_rate * rising * (0.5 + 0.5 * math.cos(math.pi * progress) + 0.004)
            for student in students:
                student.set_rate(rate, options.muon_factor)
            chosen = train[places]
            chosen_images.copy_(images[chosen])
            chosen_labels.copy_(labels[chosen])
            step()
            done += 1
            if progress >= 1.0:
                break
        if options.epochs and epoch == options.epochs:
            progress = 1.0
        if cuda:
            torch.cuda.synchronize()
        speed = done * batch / (time.perf_counter() - began)
        if epoch % 2 == 0 or progress > 0.6 or not cuda:
            scores = [student.validate(images[kept], labels[kept]) for student in students]
            loss, *shares = (totals / done).tolist()
            text = "; ".join(
                f"train {share:.4f}, validation {plain:.4f}, average {average:.4f}"
                for share, (plain, average) in zip(shares, scores)
            )
            if epoch % 10 == 0 or progress >= 1.0 or epoch < 4 or not cuda:
                print(f"epoch {epoch} ({100 * progress:.0f} %) loss {loss:.4f} {text}; {speed:.0f} images/s", flush=True)
    for number, student in enumerate(students):
        path = options.out if len(students) == 1 else options.out.replace(".pth", f"-{number}.pth")
        torch.save(student.best[1], path + ".tmp")
        os.replace(path + ".tmp", path)
        print(json.dumps({"file": path, "share": student.share, "validation": student.best[0], "epochs": epoch}))


if __name__ == "__main__":
    main()
