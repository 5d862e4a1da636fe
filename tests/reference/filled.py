"""Weights that need not be stored: made from the names of the tensors."""

import zlib

import numpy as np


def uniform(name: str, count: int) -> np.ndarray:
    """Values in [-1, 1) that depend on the name and their index alone."""
    seed = np.uint32(zlib.crc32(name.encode()))
    x = np.arange(count, dtype=np.uint32) * np.uint32(2654435769) + seed
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x85EBCA6B)
    x ^= x >> np.uint32(13)
    x *= np.uint32(0xC2B2AE35)
    x ^= x >> np.uint32(16)
    return (x >> np.uint32(8)).astype(np.float64) / 2**23 - 1.0


def fill(name: str, shape: tuple) -> np.ndarray:
    """Values for a tensor of a state dict, chosen so that activations neither grow nor fade."""
    u = uniform(name, int(np.prod(shape)))
    if name.endswith("running_var"):
        values = 1.0 + 0.5 * u
    elif name.endswith("running_mean"):
        values = 0.3 * u
    elif len(shape) == 1 and name.endswith("weight"):
        values = 1.0 + 0.3 * u
    elif len(shape) == 1:
        values = 0.2 * u
    else:
        values = u * np.sqrt(4.0 / np.prod(shape[1:]))
    return values.astype(np.float32).reshape(shape)


def images(batch: int, channels: int, edge: int) -> np.ndarray:
    """Images in [0, 1)."""
    u = uniform("images", batch * channels * edge * edge) * 0.5 + 0.5
    return u.astype(np.float32).reshape(batch, channels, edge, edge)
