"""The words of another model's card for a new one: what no training can know, such as title and class codes.

A model that is trained anew keeps its description, and its maps keep their codes and colours.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..errors import InputError
from ..models.card import ModelCard, read_card
from .dataset.description import Description


def read_template(path: str | Path, told: Description) -> ModelCard:
    """A card whose words the model of a training set can keep.

    Args:
        path: a model card, JSON.
        told: of the training set; its classes are found in the card by their names.

    Raises:
        ModelError: no such file, or no card.
        InputError: it lacks a class of the training set.
    """
    card = read_card(path)
    known = {_plain(entry.name) for entry in card.classes}
    missing = [entry.label.name for entry in told.classes if _plain(entry.label.name) not in known]
    if missing:
        raise InputError(
            f"The card “{path}” has no class “{missing[0]}”, which the training set has: add it to the card, or take "
            "the card of a model with the same classes."
        )
    return card


def keep_words(card: ModelCard, template: ModelCard) -> ModelCard:
    """The card with the template's title, description, licence, sources, and codes and colours of classes.

    Args:
        card: of the new model; the order of its classes is that of its outputs, and stays.
        template: see :func:`read_template`.
    """
    known = {_plain(entry.name): entry for entry in template.classes}
    return replace(
        card,
        title=template.title,
        description=template.description,
        licence=template.licence,
        sources=template.sources or card.sources,
        classes=[known[_plain(entry.name)] for entry in card.classes],
    )


def _plain(name: str) -> str:
    return " ".join(name.casefold().split())
