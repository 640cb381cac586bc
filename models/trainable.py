"""The networks that can be trained, by name: what QGIS's dialogs and the trainer both know of them."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InputError


@dataclass(frozen=True)
class NetworkKind:
    """A network that can be trained.

    Args:
        name: as in recipes and on the command line.
        title: for the analyst.
        kinds: of training sets that it learns from: ``pixels``, ``windows``, ``chips``, ``patches``.
        several: True where it can learn several labels per patch.
        recipe: the recipe taken where none is named.
        module: module of ``trainer.networks`` that builds it; empty where scikit-learn trains it.
        others: recipes taken instead for one kind of samples, or one task, which they are named by.
        summary: one sentence for who has to choose.
    """

    name: str
    title: str
    kinds: tuple[str, ...]
    several: bool
    recipe: str
    module: str = ""
    others: tuple[tuple[str, str], ...] = ()
    summary: str = ""

    @property
    def is_classical(self) -> bool:
        """True where scikit-learn trains it."""
        return not self.module

    def learns(self, kind: str, task: str) -> bool:
        """True where it learns from such samples.

        Args:
            kind: of the samples: ``pixels``, ``windows``, ``chips`` or ``patches``.
            task: ``single-label``, ``multi-label`` or ``segmentation``.
        """
        return kind in self.kinds and (self.several or task != "multi-label")

    def recipe_for(self, kind: str, task: str) -> str:
        """The recipe taken for a training set where none is named.

        Args:
            kind: of its samples: ``pixels``, ``windows``, ``chips`` or ``patches``.
            task: ``single-label``, ``multi-label`` or ``segmentation``.
        """
        others = dict(self.others)
        return others.get(task) or others.get(kind) or self.recipe


NETWORKS: dict[str, NetworkKind] = {
    entry.name: entry
    for entry in (
        NetworkKind(
            "mlp",
            "Multi-layer perceptron on the spectrum",
            ("pixels",),
            False,
            "mlp",
            "mlp",
            summary="A small network on the spectrum of each pixel; it gains from many labelled pixels.",
        ),
        NetworkKind(
            "cnn3d",
            "3D convolutional network on ground and spectrum",
            ("windows",),
            False,
            "cnn3d",
            "cnn3d",
            summary="Looks at a pixel's neighbours and spectrum together: for images with dozens of narrow bands.",
        ),
        NetworkKind(
            "small-resnet",
            "Small residual network",
            ("patches", "windows"),
            True,
            "small-resnet",
            "small_resnet",
            (("multi-label", "small-resnet-multilabel"), ("windows", "small-resnet-windows")),
            summary="Knows patches, or the surroundings of a pixel, by their look; small enough for a processor.",
        ),
        NetworkKind(
            "resnet50",
            "ResNet-50",
            ("patches",),
            True,
            "resnet50",
            "resnet50",
            (("multi-label", "resnet50-multilabel"),),
            summary="The large network for patches: for many thousands of them, and a graphics card.",
        ),
        NetworkKind(
            "unet",
            "U-Net",
            ("chips",),
            False,
            "unet",
            "unet",
            summary="Maps whole pieces of an image at once: for things with a shape, such as fields, roads and roofs.",
        ),
        NetworkKind(
            "random-forest",
            "Random forest",
            ("pixels",),
            False,
            "random-forest",
            summary="Many decision trees on the spectrum of a pixel: trained in seconds, and good with few labels.",
        ),
        NetworkKind(
            "gradient-boosting",
            "Gradient-boosted trees",
            ("pixels",),
            False,
            "gradient-boosting",
            summary="Decision trees that correct each other: as fast as a forest, and worth a comparison with it.",
        ),
        NetworkKind(
            "convsvm",
            "Multi-scale convolutional SVM network",
            ("patches", "windows"),
            False,
            "convsvm",
            "",
            (("windows", "convsvm-windows"),),
            summary="Support vector machines as filters, learned layer by layer: for some hundred patches or windows.",
        ),
        NetworkKind(
            "svm",
            "Support vector machine (RBF)",
            ("pixels",),
            False,
            "svm",
            summary="Finds the widest gap between the classes' spectra: good with few labels, slow with many.",
        ),
    )
}


def network_kind(name: str) -> NetworkKind:
    """The network of a name.

    Raises:
        InputError: there is none.
    """
    if name not in NETWORKS:
        raise InputError(f"There is no network “{name}”; choose {', '.join(NETWORKS)}.")
    return NETWORKS[name]


#: More pixels than these are enough for a network; with fewer a forest is the better first choice.
_MANY_PIXELS = 50_000
#: More bands than these are a spectrum, along which a network can look for patterns.
_MANY_BANDS = 30


def proposed_network(kind: str, task: str, samples: int = 0, bands: int = 0) -> str:
    """The network to begin with; empty where none learns from such samples.

    Args:
        kind: of the samples: ``pixels``, ``windows``, ``chips`` or ``patches``.
        task: ``single-label``, ``multi-label`` or ``segmentation``.
        samples: of the training part; 0: not known.
        bands: of a sample; 0: not known.
    """
    first = {
        "pixels": "mlp" if samples > _MANY_PIXELS else "random-forest",
        "windows": "cnn3d" if bands > _MANY_BANDS else "small-resnet",
        "chips": "unet",
        "patches": "small-resnet",
    }.get(kind, "")
    if first and NETWORKS[first].learns(kind, task):
        return first
    return next((entry.name for entry in NETWORKS.values() if entry.learns(kind, task)), "")


@dataclass(frozen=True)
class LossTitle:
    """A loss, for the analyst.

    Args:
        title: what it is called.
        one: for samples with one label.
        several: for samples with several.
    """

    title: str
    one: bool
    several: bool


#: The losses of recipes, by name.
LOSSES = {
    "cross-entropy": LossTitle("Cross-entropy", True, False),
    "binary-cross-entropy": LossTitle("Binary cross-entropy", False, True),
    "mean-squared-error": LossTitle("Mean squared error", True, True),
    "focal": LossTitle("Focal", True, True),
    "dice": LossTitle("Dice", True, False),
}
#: The optimisers of recipes: name → title.
OPTIMIZERS = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop", "lars": "LARS"}
#: What the network computes in while it is trained: name → title.
PRECISIONS = {"fp32": "single (fp32)", "bf16": "half (bf16)", "fp16": "half (fp16)"}
