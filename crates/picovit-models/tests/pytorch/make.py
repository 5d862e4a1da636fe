"""Writes the files beside it; made with PyTorch 2.9: python make.py"""

import argparse
import collections
import datetime
import pathlib

import numpy
import torch

here = pathlib.Path(__file__).parent
numbers = torch.arange(24.0)
images = numbers.clone().view(2, 3, 2, 2).contiguous(memory_format=torch.channels_last)
tensors = {
    "plain": numbers.view(2, 3, 4),
    "channels_last": images,
    "transposed": numbers.view(4, 6).t(),
    "columns": numbers.view(4, 6)[:, 1:3],
    "expanded": numbers[:2, None].expand(2, 100),
    "one_by_one": numbers.view(24, 1, 1, 1).contiguous(memory_format=torch.channels_last),
    "scalar": numbers[5],
    "parameter": torch.nn.Parameter(numbers.view(6, 4).t()),
    "half": numbers[:4].half().view(2, 2).t(),
    "bfloat": numbers[:4].bfloat16(),
    "double": numbers[:4].double(),
    "integers": torch.arange(3),
}
torch.save(tensors, here / "strided.pth")
torch.save(tensors, here / "strided_legacy.pth", _use_new_zipfile_serialization=False)

layer = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
layer(torch.ones(1, 2)).sum().backward()
optimizer.step()
layer.weight.data, layer.bias.data = numbers[:2].view(1, 2), numbers[2:3].clone()
checkpoint = {
    "epoch": 3,
    "args": argparse.Namespace(lr=0.1, steps=[1, 2]),
    "state_dict": layer.state_dict(),
    "model": layer.state_dict(),
    "optimizer": optimizer.state_dict(),
    "scheduler": torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 2]).state_dict(),
    "best": numpy.float64(0.9),
    "device": torch.device("cpu"),
    "counts": collections.defaultdict(list, {"a": [1]}),
    "when": datetime.datetime(2026, 1, 1),
    "bytes": b"\xff\x00",
    "set": {1, 2},
    "classes": {0: "zero", 1: "one"},
    "big": 1 << 100,
}
# The same dictionary twice: the second is only named.
checkpoint["ema"] = checkpoint["state_dict"]
torch.save(checkpoint, here / "checkpoint.pth")
torch.save(checkpoint, here / "checkpoint_protocol4.pth", pickle_protocol=4)
torch.save({"model": layer}, here / "whole.pth")
