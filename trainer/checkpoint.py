"""Checkpoints: all that a training needs to go on, in one file that is whole or not there.

Only tensors and plain values are read back: a file that asks to run code is refused.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError, OutputError

#: Version of the content.
FORMAT = 2


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint; the one before stays until the new one is complete.

    Raises:
        OutputError: it cannot be written; the one before is still there.
    """
    partial = path.with_name(path.name + ".part")
    try:
        with partial.open("wb") as stream:
            torch.save({"format": FORMAT, **content}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:
        # torch tells of a full disk by a RuntimeError.
        partial.unlink(missing_ok=True)
        raise OutputError(
            f"The checkpoint “{path}” could not be written: look whether the disk is full or read-only. The one before "
            "is as it was; the training can go on from there with --resume.",
            repr(error),
        ) from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint.

    Raises:
        InputError: there is none, it is damaged, not one of ours, or wants to run code.
    """
    content = load_tensors(path, "checkpoint")
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"“{path}” is no checkpoint of this version of Thematica; start the training anew.")
    return content


def load_tensors(path: Path, what: str) -> Any:
    """Read a file of torch that holds tensors and plain values.

    Args:
        path: the file.
        what: it should be, for the sentence.

    Raises:
        InputError: it cannot be read as such.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"The {what} “{path}” cannot be read: {error.strerror or 'check the path'}.") from error
    except pickle.UnpicklingError as error:
        # A letter that is no instruction of a pickle says that it is none; all else is refused for what it asks for.
        if "unsupported operand" not in str(error).lower():
            raise InputError(
                f"“{path}” holds more than tensors and would run code when it is read, so it was not: save the "
                "network's state_dict() instead.",
                str(error),
            ) from error
        raise _damaged(path, what, error) from error
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise _damaged(path, what, error) from error


def _damaged(path: Path, what: str, error: Exception) -> InputError:
    return InputError(f"The {what} “{path}” is damaged or none at all; use another one.", repr(error))
