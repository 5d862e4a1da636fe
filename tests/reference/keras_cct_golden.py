"""Writes the golden file of the Keras example's CCT, computed in numpy as Keras would.

Weights are not stored: they are made from the names of the tensors, here and in the test.
Run from the repository root, with numpy and safetensors installed:

    python tests/reference/keras_cct_golden.py
"""

import math
from pathlib import Path

import numpy as np
from filled import fill, images
from safetensors.numpy import save_file

FOLDER = Path(__file__).parent.parent / "golden"
DIM, HEADS, KEY_DIM, HIDDEN, CLASSES, LAYERS = 128, 2, 128, 128, 10, 2

erf = np.vectorize(math.erf)


def weight(name, shape):
    return fill(name, shape).astype(np.float64)


def gelu(x):
    return x * 0.5 * (1.0 + erf(x / math.sqrt(2.0)))


def softmax(x, axis):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def layer_norm(x, name):
    mean = x.mean(axis=-1, keepdims=True)
    var = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    normed = (x - mean) / np.sqrt(var + 1e-5)
    return normed * weight(f"{name}.weight", (DIM,)) + weight(f"{name}.bias", (DIM,))


def dense(x, name, out):
    return x @ weight(f"{name}.weight", (out, x.shape[-1])).T + weight(f"{name}.bias", (out,))


def conv_valid(x, kernel):
    """[height, width, channels] with [out, in, 3, 3]."""
    height, width = x.shape[0] - 2, x.shape[1] - 2
    out = np.zeros((height, width, kernel.shape[0]))
    for i in range(3):
        for j in range(3):
            out += x[i : i + height, j : j + width] @ kernel[:, :, i, j].T
    return out


def max_pool_same(x):
    """Windows of 3 at stride 2; what "same" adds never wins."""
    size = x.shape[0]
    out = -(-size // 2)
    total = max((out - 1) * 2 + 3 - size, 0)
    before = total // 2
    border = ((before, total - before), (before, total - before), (0, 0))
    x = np.pad(x, border, constant_values=-np.inf)
    windows = [x[i : i + 2 * out - 1 : 2, j : j + 2 * out - 1 : 2] for i in range(3) for j in range(3)]
    return np.max(windows, axis=0)


def attention(x, name):
    # Keras' kernels: query, key and value [dim, heads, key_dim], output [heads, key_dim, dim].
    packed = weight(f"{name}.qkv.weight", (3 * HEADS * KEY_DIM, DIM)).T
    packed = packed.reshape(DIM, 3, HEADS, KEY_DIM)
    bias = weight(f"{name}.qkv.bias", (3 * HEADS * KEY_DIM,)).reshape(3, HEADS, KEY_DIM)
    q, k, v = (np.einsum("td,dhk->thk", x, packed[:, i]) + bias[i] for i in range(3))
    scores = np.einsum("thk,shk->hts", q / math.sqrt(KEY_DIM), k)
    mixed = np.einsum("hts,shk->thk", softmax(scores, -1), v)
    kernel = weight(f"{name}.proj.weight", (DIM, HEADS * KEY_DIM)).T.reshape(HEADS, KEY_DIM, DIM)
    return np.einsum("thk,hkd->td", mixed, kernel) + weight(f"{name}.proj.bias", (DIM,))


def network(image):
    x = image.astype(np.float64).transpose(1, 2, 0)
    for stage, channels in enumerate([64, DIM]):
        kernel = weight(f"tokenizer.{stage}.weight", (channels, x.shape[2], 3, 3))
        x = np.maximum(conv_valid(x, kernel), 0.0)
        x = max_pool_same(np.pad(x, ((1, 1), (1, 1), (0, 0))))
    x = x.reshape(-1, DIM)
    x = x + weight("positional_emb", (1, len(x), DIM))[0]
    for i in range(LAYERS):
        name = f"blocks.{i}"
        x = x + attention(layer_norm(x, f"{name}.norm1"), name)
        y = layer_norm(x, f"{name}.norm2")
        y = gelu(dense(y, f"{name}.linear1", HIDDEN))
        x = x + gelu(dense(y, f"{name}.linear2", DIM))
    x = layer_norm(x, "norm")
    scores = softmax(dense(x, "attention_pool", 1), 0)
    return dense((scores * x).sum(axis=0)[None], "fc", CLASSES)[0]


def main():
    golden = {}
    # An even and an odd extent in front of each pooling.
    for edge in [32, 27, 29]:
        logits = np.stack([network(image) for image in images(2, 3, edge)])
        golden[f"logits_{edge}"] = logits.astype(np.float32)
        print(edge, logits.std(), np.abs(logits[0] - logits[1]).max())
    save_file(golden, FOLDER / "cct_2_3x2_keras.io.safetensors")


if __name__ == "__main__":
    main()
