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
    """

    name: str
    title: str
    kinds: tuple[str, ...]
    several: bool
    recipe: str
    module: str = ""
    others: tuple[tuple[str, str], ...] = ()

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
        NetworkKind("mlp", "Multi-layer perceptron on the spectrum", ("pixels",), False, "mlp", "mlp"),
        NetworkKind("cnn3d", "3D convolutional network on ground and spectrum", ("windows",), False, "cnn3d", "cnn3d"),
        NetworkKind(
            "small-resnet",
            "Small residual network",
            ("patches", "windows"),
            True,
            "small-resnet",
            "small_resnet",
            (("multi-label", "small-resnet-multilabel"), ("windows", "small-resnet-windows")),
        ),
        NetworkKind(
            "resnet50",
            "ResNet-50",
            ("patches",),
            True,
            "resnet50",
            "resnet50",
            (("multi-label", "resnet50-multilabel"),),
        ),
        NetworkKind("unet", "U-Net", ("chips",), False, "unet", "unet"),
        NetworkKind("random-forest", "Random forest", ("pixels",), False, "random-forest"),
        NetworkKind("gradient-boosting", "Gradient-boosted trees", ("pixels",), False, "gradient-boosting"),
        NetworkKind(
            "convsvm",
            "Multi-scale convolutional SVM network",
            ("patches", "windows"),
            False,
            "convsvm",
            "",
            (("windows", "convsvm-windows"),),
        ),
        NetworkKind("svm", "Support vector machine (RBF)", ("pixels",), False, "svm"),
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
