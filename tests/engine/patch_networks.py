"""Tiny networks for patches, and what a direct run of them gives: the parts of the tests of patches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import pyogrio.raw

from .networks import Net, make_card, save, z_scores

BANDS = 3
CLASSES = ("Forest", "Annual crop", "Water", "Grünland, nass")


def patch_net(
    path: Path,
    side: int | None = 8,
    classes: Sequence[str] = CLASSES,
    task: str = "patch",
    seed: int = 0,
    batch: int | str = "n",
    data_type: str = "float32",
    **card,
) -> Path:
    """Convolution, global pooling, dense layer; ``side`` None leaves the size of the patch open."""
    net = Net(BANDS, seed, [batch, BANDS, side or "h", side or "w"], data_type)
    x = net.node("Flatten", net.node("GlobalAveragePool", net.relu(net.conv(net.input, 6))))
    x = net.dense(x, len(classes))
    card.setdefault("normalisation_steps", [] if data_type == "uint8" else z_scores([128] * BANDS, [20] * BANDS))
    return save(path, net.model(x, [batch, len(classes)]), make_card(BANDS, classes, task, **card))


def direct(model: Path, patches: np.ndarray, several: bool = False, scaled: bool = True) -> np.ndarray:
    """Probabilities by ONNX Runtime alone: (N, K) from patches as stored, scaled in double precision."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    values = (patches.astype(np.float64) - 128) / 20 if scaled else patches
    values = values.astype(np.uint8 if entry.type == "tensor(uint8)" else np.float32)
    # One by one: a fixed batch is filled with the same patch.
    count = entry.shape[0] if isinstance(entry.shape[0], int) else 1
    logits = np.concatenate(
        [session.run(None, {entry.name: np.repeat(value[None], count, 0)})[0][:1] for value in values]
    ).astype(np.float64)
    if several:
        return 1 / (1 + np.exp(-logits))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def table(path: str | Path) -> dict[str, np.ndarray]:
    """A layer of patches as columns; ``outline`` holds the polygons as WKB."""
    meta, _, outlines, values = pyogrio.raw.read(path, layer=Path(path).stem)
    return {"outline": outlines, **dict(zip(meta["fields"], values, strict=True))}
