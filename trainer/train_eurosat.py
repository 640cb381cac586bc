"""Train the land-use model that ships: EuroSAT's ten classes from Sentinel-2 patches in natural colours.

``python -m thematica.trainer.train_eurosat EUROSAT.zip`` reads the images, trains a small residual network on seven
tenths of them, keeps the weights that were best on another tenth, measures them once on the last fifth, and writes
the model with its card.  It needs torch.  The same seed and number of threads on
the same machine give the same model; on a busy machine one thread (``OMP_NUM_THREADS=1``) is faster than several.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime
import rasterio.errors
import torch
from rasterio.io import MemoryFile
from torch import nn
from torch.optim.swa_utils import AveragedModel

from ..errors import InputError
from ..models.bands import SENTINEL2_BANDS, Band
from ..models.card import ModelCard, ModelClass, Normalisation
from .accuracy import Accuracy
from .dataset.eurosat import CLASSES, SIDE
from .eurosat_split import SEED, TEST, TRAIN, VALIDATION, split_of
from .export import OPSET, save_model
from .small_resnet import SmallResNet
from .training_report import Epoch, accuracy_tables, training_curve

BUNDLED_FOLDER = Path(__file__).resolve().parents[1] / "models" / "bundled"
NAME = "eurosat-rgb"

BANDS = tuple(
    Band(band.name, band.common_name, band.wavelength, "dn", band.width)
    for band in (SENTINEL2_BANDS[name] for name in ("B4", "B3", "B2"))
)

_DESCRIPTION = (
    "One of EuroSAT's ten kinds of land use and land cover for each patch of 64×64 pixels of 10 m, from Sentinel-2's "
    "red, green and blue as 8-bit numbers. It gives one label to 640×640 m of ground, so it draws no boundaries, and "
    "it knows only the ten classes: bare rock, wetland, snow, cloud and the like get the label that looks most "
    "alike. It was trained on European scenes stretched to 8 bits for the eye, with no correction of the atmosphere; "
    "elsewhere, in other seasons or under another stretch expect less. Its accuracy was measured on a random fifth of "
    "the same images: patches of one scene look alike, so the figure is higher than a scene never seen would give."
)


@dataclass
class Patches:
    """Images with labels.

    Args:
        names: file names in the archive.
        pixels: uint8 (images, 3, 64, 64), red, green, blue.
        labels: int64 (images,), places in :data:`CLASSES`.
    """

    names: list[str]
    pixels: np.ndarray
    labels: np.ndarray

    def part(self, part: str, seed: int) -> Patches:
        """The images of one part of the split."""
        chosen = np.array([split_of(name, seed) == part for name in self.names], dtype=bool)
        names = [name for name, wanted in zip(self.names, chosen, strict=True) if wanted]
        return Patches(names, self.pixels[chosen], self.labels[chosen])


def read_patches(archive: str | Path, names: Sequence[str] | None = None) -> Patches:
    """Decode EuroSAT's images from its zip, with GDAL, as classification does.

    Args:
        archive: the zip, with ``EuroSAT/<Class>/<Class>_<number>.jpg``.
        names: some of the file names in it; None: all.

    Raises:
        InputError: no such file, no zip, or it does not hold EuroSAT's images.
    """
    try:
        with zipfile.ZipFile(archive) as images:
            if names is None:
                names = sorted(name for name in images.namelist() if name.lower().endswith(".jpg"))
            labels = [_label(name) for name in names]
            pixels = np.empty((len(names), 3, SIDE, SIDE), dtype=np.uint8)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
                for index, name in enumerate(names):
                    with MemoryFile(images.read(name)) as file, file.open() as image:
                        if (image.count, image.height, image.width) != (3, SIDE, SIDE):
                            raise InputError(f"“{name}” is no RGB image of {SIDE}×{SIDE} pixels, as EuroSAT's are.")
                        pixels[index] = image.read()
    except (OSError, zipfile.BadZipFile, rasterio.errors.RasterioIOError) as error:
        raise InputError(f"“{archive}” cannot be read as EuroSAT's zip of RGB images.", repr(error)) from error
    if not names:
        raise InputError(f"“{archive}” holds no JPEG images: EuroSAT's zip of RGB images is expected.")
    return Patches(list(names), pixels, np.array(labels, dtype=np.int64))


def _label(name: str) -> int:
    folder = PurePosixPath(name).stem.rpartition("_")[0]
    if folder not in CLASSES:
        raise InputError(f"“{name}” is of none of EuroSAT's classes: {', '.join(CLASSES)}.")
    return list(CLASSES).index(folder)


@dataclass(frozen=True)
class Recipe:
    """What is decided before training.

    Args:
        widths, depths: of :class:`.small_resnet.SmallResNet`.
        epochs: passes over the training images.
        batch: images per step.
        rate: highest learning rate, reached after ``warm_up`` of the steps, then lowered along a cosine to 0.
        decay: weight decay of the convolutions and the linear layer.
        smoothing: label smoothing.
        dropout: share of the last features that is left out of each step.
        average: share that the running mean of the weights keeps per step.
        bfloat16: convolutions in 16 bits while training; twice as fast on processors that know the format.
    """

    widths: tuple[int, ...] = (32, 64, 128, 256)
    depths: tuple[int, ...] = (0, 2, 2, 1)
    epochs: int = 20
    batch: int = 128
    rate: float = 0.1
    warm_up: float = 0.1
    decay: float = 5e-4
    smoothing: float = 0.1
    dropout: float = 0.1
    average: float = 0.998
    bfloat16: bool = True


@dataclass
class Trained:
    """The best weights, how they came about, and the mean and deviation that normalise the bands."""

    network: nn.Module
    history: list[Epoch]
    mean: np.ndarray
    deviation: np.ndarray


def augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Move, turn, mirror and relight a batch of normalised images (N, C, side, side).

    A land-use patch has no up and no left.  The batch is in random order, so its eighths get one of the square's
    eight symmetries each, with a shift of their own, and no image needs to be handled alone.
    """
    reach = 4
    side = images.shape[-1]
    padded = nn.functional.pad(images, (reach,) * 4, mode="reflect")
    parts = []
    for symmetry, part in enumerate(padded.chunk(8)):
        top, left = torch.randint(0, 2 * reach + 1, (2,), generator=generator).tolist()
        turned = torch.rot90(part[..., top : top + side, left : left + side], symmetry % 4, (2, 3))
        parts.append(turned.flip(3) if symmetry >= 4 else turned)
    light = torch.rand((2, len(images), 1, 1, 1), generator=generator) * 2 - 1
    return torch.cat(parts) * (1 + 0.15 * light[0]) + 0.15 * light[1]


def learning_rate(progress: float, recipe: Recipe) -> float:
    """Share of the highest learning rate after a share of the steps: a straight rise, then half a cosine."""
    if progress < recipe.warm_up:
        return progress / recipe.warm_up
    return 0.5 + 0.5 * math.cos(math.pi * (progress - recipe.warm_up) / (1 - recipe.warm_up))


def running_mean(share: float) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor | int], torch.Tensor]:
    """The exponential moving average of weights; it remembers less in the first steps, when weights change fast."""

    def average(mean: torch.Tensor, current: torch.Tensor, steps: torch.Tensor | int) -> torch.Tensor:
        kept = min(share, (1 + int(steps)) / (10 + int(steps)))
        return kept * mean + (1 - kept) * current

    return average


def train(training: Patches, validation: Patches, recipe: Recipe, seed: int) -> Trained:
    """Train on one part and keep the averaged weights of the epoch that was best on the other."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    # Whole numbers of a hundredth, so that the card can state exactly what was used.
    mean = training.pixels.mean(axis=(0, 2, 3), dtype=float).round(2)
    deviation = training.pixels.std(axis=(0, 2, 3), dtype=float).round(2)
    pixels, labels = torch.from_numpy(training.pixels), torch.from_numpy(training.labels)

    network = SmallResNet(len(BANDS), len(CLASSES), recipe.widths, recipe.depths, recipe.dropout)
    averaged = AveragedModel(network, avg_fn=running_mean(recipe.average), use_buffers=True)
    # Weights decay; biases and the scales of the batch normalisation do not.
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim == 1]
    groups: list[dict[str, Any]] = [{"params": weights, "weight_decay": recipe.decay}, {"params": others}]
    optimizer = torch.optim.SGD(
        groups,
        lr=recipe.rate,
        momentum=0.9,
        nesterov=True,
    )
    steps = max(len(pixels) // recipe.batch, 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate((step + 1) / (steps * recipe.epochs), recipe)
    )
    loss_of = nn.CrossEntropyLoss(label_smoothing=recipe.smoothing)

    history: list[Epoch] = []
    best: dict[str, torch.Tensor] = {}
    for epoch in range(recipe.epochs):
        started, losses = time.perf_counter(), []
        network.train()
        order = torch.randperm(len(pixels), generator=generator)
        for step in range(steps):
            chosen = order[step * recipe.batch : (step + 1) * recipe.batch]
            images = augment(normalise(pixels[chosen], mean, deviation), generator)
            with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
                scores = network(images.contiguous(memory_format=torch.channels_last))
            loss = loss_of(scores.float(), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            averaged.update_parameters(network)
            losses.append(loss.item())
        right = predict(averaged.module, validation, mean, deviation).argmax(axis=1) == validation.labels
        history.append(Epoch(float(np.mean(losses)), float(right.mean()), time.perf_counter() - started))
        if history[-1].validation_accuracy >= max(entry.validation_accuracy for entry in history):
            best = {name: value.clone() for name, value in averaged.module.state_dict().items()}
        print(
            f"epoch {epoch + 1:3} of {recipe.epochs}: loss {history[-1].train_loss:.4f}, "
            f"validation {history[-1].validation_accuracy:.4f}, {history[-1].seconds:.0f} s",
            flush=True,
        )
    network.load_state_dict(best)
    return Trained(network.eval(), history, mean, deviation)


def normalise(pixels: torch.Tensor, mean: np.ndarray, deviation: np.ndarray) -> torch.Tensor:
    """Bytes (N, 3, side, side) as the network takes them: ``(value - mean) / deviation`` per band, float32."""
    shape = (1, -1, 1, 1)
    centre = torch.as_tensor(mean, dtype=torch.float32).reshape(shape)
    return (pixels.float() - centre) / torch.as_tensor(deviation, dtype=torch.float32).reshape(shape)


@torch.no_grad()
def predict(network: nn.Module, patches: Patches, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Logits (images, classes) of bytes, each image seen once and as it is."""
    network.eval()
    scores = [
        network(normalise(torch.from_numpy(pixels), mean, deviation).contiguous(memory_format=torch.channels_last))
        for pixels in np.array_split(patches.pixels, max(len(patches.pixels) // 256, 1))
    ]
    return torch.cat(scores).numpy()


def to_onnx(network: nn.Module) -> onnx.ModelProto:
    """The network as (N, 3, 64, 64) → (N, 10), with its batch normalisation folded into the convolutions."""
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        # The newer exporter needs onnxscript and gains nothing for a network of convolutions.
        warnings.simplefilter("ignore", DeprecationWarning)
        path = Path(folder) / "network.onnx"
        torch.onnx.export(
            network.eval(),
            (torch.zeros(1, len(BANDS), SIDE, SIDE),),
            path,
            input_names=["image"],
            output_names=["scores"],
            dynamic_axes={"image": {0: "N"}, "scores": {0: "N"}},
            opset_version=OPSET,
            do_constant_folding=True,
            dynamo=False,
        )
        return onnx.load(path)


def run_onnx(model: onnx.ModelProto, patches: Patches, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Logits (images, classes) as ONNX Runtime gives them on the CPU."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    scores = [
        session.run(None, {"image": normalise(torch.from_numpy(pixels), mean, deviation).numpy()})[0]
        for pixels in np.array_split(patches.pixels, max(len(patches.pixels) // 256, 1))
    ]
    return np.concatenate(scores)


def check_export(model: onnx.ModelProto, trained: Trained, patches: Patches) -> np.ndarray:
    """Logits of the exported network, after a comparison with torch's.

    Raises:
        RuntimeError: the two differ by more than 0.0001: the export is wrong.
    """
    scores = run_onnx(model, patches, trained.mean, trained.deviation)
    difference = float(np.abs(scores - predict(trained.network, patches, trained.mean, trained.deviation)).max())
    if not difference < 1e-4:
        raise RuntimeError(f"ONNX Runtime's scores differ from torch's by {difference:.2g}; the export is wrong.")
    return scores


def make_card(trained: Trained, recipe: Recipe, seed: int, counts: dict[str, int], accuracy: Accuracy) -> ModelCard:
    """The card of a trained network, all but what :func:`.export.save_model` reads off the graph."""
    layout = ", ".join(f"{depth} of {width}" for depth, width in zip(recipe.depths, recipe.widths, strict=True))
    return ModelCard(
        name=NAME,
        title="EuroSAT land use, Sentinel-2 in natural colours (patches of 640 m)",
        description=_DESCRIPTION,
        task="patch",
        bands=list(BANDS),
        classes=[ModelClass(value, name, color) for value, (name, color) in enumerate(CLASSES.values())],
        normalisation=Normalisation(tuple(1 / trained.deviation), tuple(-trained.mean / trained.deviation)),
        normalisation_steps=[
            {"type": "z-score", "mean": float(mean), "stddev": float(deviation)}
            for mean, deviation in zip(trained.mean, trained.deviation, strict=True)
        ],
        activation="logits",
        unit="dn",
        value_range=(0.0, 255.0),
        gsd=10.0,
        tile=SIDE,
        trained_on=f"{counts[TRAIN]} of EuroSAT's RGB patches: JPEG images made of bands B4, B3 and B2 of Sentinel-2A "
        "level-1C scenes of 34 European countries, stretched to 8 bits by EuroSAT's authors.",
        split=f"thematica.trainer.eurosat_split, seed {seed}, random within each class: {counts[TRAIN]} images to "
        f"train, {counts[VALIDATION]} to choose the best epoch, {counts[TEST]} to measure, once. The metrics are of "
        "the last; each image was seen once and as it is. Patches of one scene may lie in different parts.",
        metrics=accuracy.metrics(),
        licence="GPL-2.0-or-later",
        sources=[
            "Helber, P., Bischke, B., Dengel, A., Borth, D. (2019): EuroSAT: A Novel Dataset and Deep Learning "
            "Benchmark for Land Use and Land Cover Classification. IEEE Journal of Selected Topics in Applied Earth "
            "Observations and Remote Sensing 12(7), 2217-2226, doi:10.1109/JSTARS.2019.2918242 (images: MIT licence; "
            "they contain modified Copernicus Sentinel data)"
        ],
        architecture=f"residual network, stem with stride 2, basic blocks {layout}, mean over the patch",
        created="2026-11-25T00:00:00Z",
    )


def train_model(patches: Patches, output: Path, recipe: Recipe, seed: int) -> tuple[Trained, Accuracy]:
    """Train, measure, and write ``eurosat-rgb.onnx`` and ``eurosat-rgb.json``."""
    parts = {part: patches.part(part, seed) for part in (TRAIN, VALIDATION, TEST)}
    trained = train(parts[TRAIN], parts[VALIDATION], recipe, seed)
    model = to_onnx(trained.network)
    # The figures are those of the file that ships, as ONNX Runtime runs it.
    predicted = check_export(model, trained, parts[TEST]).argmax(axis=1)
    accuracy = Accuracy.of([name for name, _ in CLASSES.values()], parts[TEST].labels, predicted)
    counts = {part: len(images.names) for part, images in parts.items()}
    save_model(model, make_card(trained, recipe, seed, counts, accuracy), output / f"{NAME}.onnx")
    return trained, accuracy


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line of the training."""
    parser = argparse.ArgumentParser(description="Train the EuroSAT model that ships with Thematica.")
    parser.add_argument("archive", type=Path, help="EuroSAT's RGB images as zip")
    parser.add_argument("--output", type=Path, default=BUNDLED_FOLDER, help="folder for the model")
    parser.add_argument("--report", type=Path, help="folder for the tables and the curve of docs/results.md")
    parser.add_argument("--epochs", type=int, default=Recipe.epochs)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument(
        "--bfloat16",
        action=argparse.BooleanOptionalAction,
        default=Recipe.bfloat16,
        help="train in 16 bits: twice as fast on processors that know the format, slower on others",
    )
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    recipe = Recipe(epochs=options.epochs, bfloat16=options.bfloat16)
    trained, accuracy = train_model(read_patches(options.archive), options.output, recipe, options.seed)
    print(f"overall accuracy {accuracy.overall:.4f}, kappa {accuracy.kappa:.4f}, macro F1 {accuracy.f1.mean():.4f}")
    print(f"{time.perf_counter() - started:.0f} s in all")
    if options.report:
        options.report.mkdir(parents=True, exist_ok=True)
        (options.report / f"{NAME}.md").write_text(accuracy_tables(accuracy), encoding="utf-8")
        (options.report / f"{NAME}-training.svg").write_text(training_curve(trained.history), encoding="utf-8")


if __name__ == "__main__":
    main()
