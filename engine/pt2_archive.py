"""Exported programs (.pt2) without what would run code of the file's maker.

``torch.export.load`` unpickles the example inputs, may unpickle weights and custom objects, evaluates the
expressions of free sizes and runs the checks that were stored with the program.  A network needs none of
that: what is dangerous is left out, and what cannot be left out is refused.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ModelError

# Free sizes are written as SymPy prints them: names of functions, numbers, names of symbols.
_EXPRESSION = re.compile(
    r"(?:\s|[-+*/(),=<>]|\d|'[A-Za-z_]\w*'|\b(?:Symbol|Integer|Rational|Float|Mul|Add|Pow|Max|Min|Mod|PythonMod|FloorDiv"
    r"|CleanDiv|CeilDiv|TruncToInt|FloorToInt|CeilToInt|RoundToInt|IntTrueDiv|FloatTrueDiv|ToFloat|Where|Identity|Abs|floor"
    r"|ceiling|Piecewise|ExprCondPair|ModularIndexing|Eq|Ne|Lt|Le|Gt|Ge|Equality|Unequality|LessThan|GreaterThan"
    r"|StrictLessThan|StrictGreaterThan|And|Or|Not|One|Zero|NegativeOne|Half|positive|negative|integer|nonnegative"
    r"|True|False|true|false|oo|int_oo)\b)*"
)
# Operators of networks, and the sums that Python does on sizes.
_OPERATOR = re.compile(
    r"(?:torch\.ops\.\w+\.\w+(?:\.\w+)?|torch\.sym_\w+|_operator\.(?!attrgetter|methodcaller)\w+|math\.\w+)"
)


def without_code(path: Path) -> io.BytesIO:
    """A copy of an exported program's archive that only describes a network.

    Raises:
        ModelError: the archive holds pickled objects, or something else than a network.
    """
    content = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as target:
        for entry in source.infolist():
            name = entry.filename.partition("/")[2]
            data = source.read(entry)
            if name.startswith("data/sample_inputs/"):
                data = b""
            elif name.startswith("models/"):
                data = _program(path, name, data)
            elif name.endswith("_config.json"):
                _check_payload(path, data)
            elif name.startswith(("data/weights/", "data/constants/")) and name.endswith(".pt"):
                raise _refused(path, name)
            elif name.startswith(("data/aotinductor/", "extra/")):
                continue
            target.writestr(entry.filename, data)
    content.seek(0)
    return content


def _program(path: Path, name: str, data: bytes) -> bytes:
    if not name.endswith(".json"):
        raise _refused(path, name)
    program = json.loads(data)
    # Python code, run to check the sizes of inputs; the network's own operators refuse wrong sizes too.
    program["guards_code"] = []
    for key, value in _strings(program):
        if key == "expr_str" and not _EXPRESSION.fullmatch(value):
            raise _refused(path, value)
        if key == "target" and not _OPERATOR.fullmatch(value):
            raise _refused(path, value)
    return json.dumps(program).encode()


def _check_payload(path: Path, data: bytes) -> None:
    for entry in json.loads(data)["config"].values():
        if entry.get("use_pickle") or not re.fullmatch(r"(weight|tensor)_\d+", entry["path_name"]):
            raise _refused(path, entry["path_name"])


def _strings(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a JSON document, with the key it stands under."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, list):
        for entry in value:
            yield from _strings(entry, key)
    elif isinstance(value, dict):
        for name, entry in value.items():
            yield from _strings(entry, name)


def _refused(path: Path, what: str) -> ModelError:
    return ModelError(
        f"“{path}” holds more than a network (pickled objects or code of its own), which could do anything to this "
        "computer: export it again with torch.export.save from plain tensors, or as ONNX.",
        what[:500],
    )
