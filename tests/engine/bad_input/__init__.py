"""The table of bad input: every row spoils one thing in a folder that is good otherwise.

The rows stand in files by what they spoil, and in ``test_bad_input.py``, which holds the law for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ..workplace import Workplace

Row = Callable[[Workplace], list]
TABLE: list = []


def row(words: str, marks: object = ()) -> Callable[[Row], Row]:
    """Add a row; the function spoils something and returns the command.  ``words`` must be in the sentence."""

    def add(prepare: Row) -> Row:
        TABLE.append(pytest.param(prepare, words, id=prepare.__name__.strip("_"), marks=marks))
        return prepare

    return add


def rows(words: str, name: str, commands: dict[str, Callable[[Workplace], list]]) -> None:
    """Add rows that differ in little: ``name`` and the key make the row's name."""
    for key, prepare in commands.items():
        TABLE.append(pytest.param(prepare, words, id=f"{name}_{key}"))


def spoiled(path: Path, content: bytes) -> Path:
    """A file with this content."""
    path.write_bytes(content)
    return path
