"""Which part of EuroSAT an image belongs to: told from its file name alone.

Nothing but the name counts, so the parts are the same for everyone, whichever images are at hand and in
whatever order they are listed: of every ten numbers in a row of a class, seven train, one validates, two test
(or as many as asked for).
"""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath

from ..errors import InputError

TRAIN, VALIDATION, TEST = "train", "validation", "test"
#: The seed of the model that ships.
SEED = 2026


def split_of(name: str, seed: int = SEED, validation: int = 1, test: int = 2) -> str:
    """The part of an image: ``train``, ``validation`` or ``test``.

    Args:
        name: file name, with or without folders: ``EuroSAT/River/River_17.jpg``.
        seed: another seed gives another split.
        validation: how many of every ten numbers validate.
        test: how many test.

    Raises:
        InputError: the name is not ``<Class>_<number>``.
    """
    label, _, number = PurePosixPath(name).stem.rpartition("_")
    if not label or not number.isdecimal() or int(number) < 1:
        raise InputError(f"“{name}” is no image of EuroSAT: names like River_17.jpg are expected.")
    block, place = divmod(int(number) - 1, 10)
    # A hash, not a random generator: it is the same in every version of Python.
    shuffled = sorted(range(10), key=lambda i: hashlib.sha256(f"{seed}/{label}/{block}/{i}".encode()).digest())
    ten = (TRAIN,) * (10 - validation - test) + (VALIDATION,) * validation + (TEST,) * test
    return ten[shuffled.index(place)]
