"""Tiny PyTorch networks, saved in every way in which an analyst may get them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import onnx
import torch
from torch import nn

from thematica.models.card import ModelCard

from .networks import make_card, save

#: How a network can be written, and what its file is called.
KINDS = ("net.onnx", "traced.pt", "scripted.ts", "exported.pt2")


class Segmenter(nn.Module):
    """Convolution with stride 1, batch normalisation, a branch at half resolution: (N,C,H,W) → (N,K,H,W)."""

    def __init__(self, bands: int, classes: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(bands, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.down = nn.Conv2d(6, 8, 2, stride=2)
        self.up = nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.last = nn.Conv2d(12, classes, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        fine = torch.relu(self.norm(self.first(image)))
        coarse = torch.relu(self.up(torch.relu(self.down(fine))))
        return self.last(torch.cat([fine, coarse], 1))


class Spectral(nn.Module):
    """Two dense layers: (N,C) → (N,K)."""

    def __init__(self, bands: int, classes: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(bands, 8), nn.Linear(8, classes)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.first(pixels)))


def seeded(kind: type[nn.Module], bands: int, classes: int, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    module = kind(bands, classes)
    for name, buffer in module.named_buffers():
        if "running" in name:
            buffer.uniform_(0.5, 1.5)
    module.eval()
    # Scores that lie apart and favour no class, so that every decision occurs and rounding changes few.
    with torch.no_grad():
        scores = module(torch.rand(64, bands) if kind is Spectral else torch.rand(1, bands, 16, 16))
        scores = scores.transpose(0, 1).flatten(1)
        spread = scores.std(1).clamp(min=1e-2)
        module.last.weight *= (2 / spread).reshape(-1, *[1] * (module.last.weight.ndim - 1))
        module.last.bias.copy_((module.last.bias - scores.mean(1)) * 2 / spread)
    return module


def write(folder: Path, kind: str, module: nn.Module, card: ModelCard) -> Path:
    """Save a module in one of :data:`KINDS`, its card inside or beside."""
    pixelwise = card.task == "pixel"
    bands = len(card.bands)
    example = torch.rand(7, bands) if pixelwise else torch.rand(2, bands, 16, 24)
    path = folder / kind
    if kind.endswith(".onnx"):
        axes = {0: "n"} if pixelwise else {0: "n", 2: "h", 3: "w"}
        torch.onnx.export(
            module, (example,), str(path), input_names=["image"], output_names=["scores"], opset_version=17,
            dynamic_axes={"image": axes, "scores": axes}, dynamo=False,
        )  # fmt: skip
        return save(path, onnx.load(path), card)
    if kind == "traced.pt":
        torch.jit.trace(module, example).save(str(path))
    elif kind == "scripted.ts":
        torch.jit.script(module).save(str(path))
    else:
        free = torch.export.Dim.AUTO
        sizes = {0: free} if pixelwise else {0: free, 2: free, 3: free}
        torch.export.save(torch.export.export(module, (example,), dynamic_shapes=(sizes,)), str(path))
    path.with_suffix(".json").write_text(card.to_json(), encoding="utf-8")
    return path


def segmenter_card(bands: int = 3, classes: int = 4, **fields) -> ModelCard:
    return make_card(bands, classes, receptive_field=fields.pop("receptive_field", 7), **fields)


def with_task(card: ModelCard, task: str) -> ModelCard:
    return dataclasses.replace(card, task=task)
