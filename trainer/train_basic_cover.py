"""Train the models that ship: basic cover types from one pixel's spectrum.

``python -m thematica.trainer.train_basic_cover [--output FOLDER] [--pixels N] [--seed N]`` draws
simulated pixels, trains one perceptron for Sentinel-2's ten bands and one for the six bands that
Landsat and Sentinel-2 share, and writes both with their cards.  It needs scikit-learn, which
nothing else does.  The same seed on the same machine gives the same files.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..models.bands import Band
from ..models.card import ModelCard, ModelClass
from .export import perceptron_to_onnx, save_model
from .simulate import CLASS_NAMES, CLOUD, SNOW, simulate
from .spectra import LANDSAT_BANDS, SENTINEL2_TEN_BANDS, SOURCES

BUNDLED_FOLDER = Path(__file__).resolve().parents[1] / "models" / "bundled"

CLASS_COLORS = ("#2b6fc4", "#2f8f3a", "#dcc65a", "#b07d4f", "#c8403a", "#9fe3ee", "#e9e9ee", "#4a4658")

_LIMITS = (
    "It looks at one pixel at a time and at no texture, season or height. It was trained on simulated spectra only, "
    "so check it before you rely on it. Expect bare soil and built-up to be mixed up (they are the same minerals), "
    "dark shadow to be taken for water and the reverse, white roofs, salt and bright sand for cloud, burnt ground for "
    "shadow or built-up, and thin cloud for what lies below. Surface reflectance (level 2) works best; "
    "top-of-atmosphere reflectance works less well, most of all over water and shadow."
)


@dataclass(frozen=True)
class Recipe:
    """What differs between the two models."""

    name: str
    title: str
    bands: Sequence[Band]
    gsd: float
    gsd_range: tuple[float, float]
    trained_for: str


RECIPES: tuple[Recipe, ...] = (
    Recipe(
        "basic-cover-sentinel2",
        "Basic cover types, Sentinel-2 (ten bands)",
        SENTINEL2_TEN_BANDS,
        10,
        (5, 60),
        "Sentinel-2's ten bands at 10 and 20 m, brought to one grid",
    ),
    Recipe(
        "basic-cover-landsat",
        "Basic cover types, Landsat or Sentinel-2 (six bands)",
        LANDSAT_BANDS,
        30,
        (5, 100),
        "the six bands that Landsat 4 to 9 and Sentinel-2 share (blue, green, red, near infrared, two short-wave "
        "infrared)",
    ),
)


@dataclass
class TrainedNetwork:
    """A perceptron that takes reflectance as it is.

    Args:
        weights, biases: per layer; the scaling of the input is folded into the first.
        metrics: accuracies on held-out simulated pixels.
        confusion: (classes, classes), rows true, columns predicted.
    """

    weights: list[np.ndarray]
    biases: list[np.ndarray]
    metrics: dict[str, float]
    confusion: np.ndarray

    def scores(self, pixels: np.ndarray) -> np.ndarray:
        """Logits (n, classes) of reflectance (n, bands), in float64."""
        flowing = np.asarray(pixels, dtype=float)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            flowing = np.maximum(flowing @ weight + bias, 0)
        return flowing @ self.weights[-1] + self.biases[-1]


def train(
    bands: Sequence[Band], pixels: int, seed: int, hidden: Sequence[int] = (48, 32), epochs: int = 40
) -> TrainedNetwork:
    """Train on simulated pixels and measure on as many again as a tenth, drawn from another seed."""
    from sklearn.neural_network import MLPClassifier

    features, labels = simulate(bands, pixels, np.random.default_rng([seed, 1]))
    held_features, held_labels = simulate(bands, max(pixels // 10, 1000), np.random.default_rng([seed, 2]))

    # Snow and cloud are left out of the scaling: dark covers differ by little and need the resolution.
    ground = features[(labels != SNOW) & (labels != CLOUD)]
    mean, deviation = ground.mean(axis=0, dtype=float), ground.std(axis=0, dtype=float)
    network = MLPClassifier(tuple(hidden), learning_rate_init=2e-3, alpha=1e-5, random_state=seed)
    scaled = (features - mean) / deviation
    order = np.random.default_rng([seed, 3])
    for epoch in range(epochs):
        # Larger batches towards the end calm the steps as a smaller learning rate would (Smith et al. 2018).
        network.set_params(batch_size=min(int(256 * 2 ** (6 * epoch / epochs)), len(scaled)))
        shuffled = order.permutation(len(scaled))
        network.partial_fit(scaled[shuffled], labels[shuffled], classes=np.arange(len(CLASS_NAMES)))

    weights, biases = fold_scaling(network.coefs_, network.intercepts_, mean, deviation)
    trained = TrainedNetwork(weights, biases, {}, np.zeros((len(CLASS_NAMES),) * 2, dtype=int))
    predicted = trained.scores(held_features).argmax(axis=1)
    np.add.at(trained.confusion, (held_labels, predicted), 1)
    trained.metrics = _metrics(trained.confusion)
    return trained


def fold_scaling(
    weights: Sequence[np.ndarray], biases: Sequence[np.ndarray], mean: np.ndarray, deviation: np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Weights and biases that take raw values, from ones that take ``(value - mean) / deviation``."""
    folded_weights = [np.array(weight, dtype=float) for weight in weights]
    folded_biases = [np.array(bias, dtype=float) for bias in biases]
    folded_biases[0] = folded_biases[0] - (mean / deviation) @ folded_weights[0]
    folded_weights[0] = folded_weights[0] / deviation[:, None]
    return folded_weights, folded_biases


def _metrics(confusion: np.ndarray) -> dict[str, float]:
    """Overall accuracy, and per class the producer's and user's accuracy."""
    right = np.diag(confusion)
    metrics = {"overall accuracy": float(right.sum() / confusion.sum())}
    for index, name in enumerate(CLASS_NAMES):
        metrics[f"producer's accuracy, {name}"] = float(right[index] / max(confusion[index].sum(), 1))
        metrics[f"user's accuracy, {name}"] = float(right[index] / max(confusion[:, index].sum(), 1))
    return {name: round(value, 4) for name, value in metrics.items()}


def make_card(recipe: Recipe, trained: TrainedNetwork, pixels: int, seed: int) -> ModelCard:
    """The card of a trained network, all but what :func:`save_model` reads off the graph."""
    layers = "-".join(str(weight.shape[1]) for weight in trained.weights)
    return ModelCard(
        name=recipe.name,
        title=recipe.title,
        task="pixel",
        description=f"Eight basic cover types from {recipe.trained_for}, as reflectance from 0 to 1. {_LIMITS}",
        bands=[replace(band, unit="reflectance") for band in recipe.bands],
        classes=[ModelClass(value, name, CLASS_COLORS[value]) for value, name in enumerate(CLASS_NAMES)],
        activation="logits",
        unit="reflectance",
        value_range=(0.0, 1.0),
        gsd=recipe.gsd,
        gsd_range=recipe.gsd_range,
        receptive_field=1,
        trained_on=f"{pixels} simulated pixels (seed {seed}): spectra after published values and models (few of the "
        "values are a source's own, most approximate its curves), mixed, lit, hazed and noised by "
        "thematica.trainer.simulate. No satellite image was used.",
        split=f"The metrics are of {max(pixels // 10, 1000)} simulated pixels from another seed. They say how well the "
        "network learned the simulation, not how well it maps a real scene.",
        metrics=trained.metrics,
        licence="GPL-2.0-or-later",
        sources=list(SOURCES.values()),
        architecture=f"multilayer perceptron, {layers}, ReLU",
        created="2026-11-23T00:00:00Z",
    )


def train_all(output: Path, pixels: int, seed: int, hidden: Sequence[int] = (48, 32), epochs: int = 40) -> list[Path]:
    """Train and write both models; returns the ONNX files."""
    written = []
    for recipe in RECIPES:
        trained = train(recipe.bands, pixels, seed, hidden, epochs)
        path = output / f"{recipe.name}.onnx"
        save_model(perceptron_to_onnx(trained.weights, trained.biases), make_card(recipe, trained, pixels, seed), path)
        print(f"{path.name}: {trained.metrics['overall accuracy']:.3f} on simulated held-out pixels")
        print(trained.confusion)
        written.append(path)
    return written


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line of the training."""
    parser = argparse.ArgumentParser(description="Train the models that ship with Thematica.")
    parser.add_argument("--output", type=Path, default=BUNDLED_FOLDER, help="folder for the models")
    parser.add_argument("--pixels", type=int, default=600_000, help="simulated pixels to train on")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=2026)
    options = parser.parse_args(arguments)
    train_all(options.output, options.pixels, options.seed, epochs=options.epochs)


if __name__ == "__main__":
    main()
