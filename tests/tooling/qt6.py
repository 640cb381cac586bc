"""What of Qt the plugin uses, and whether Qt 6 has it: read from the source, without QGIS 4.

PyQt6 knows enum members only under their enum (``Qt.ItemDataRole.UserRole``), and lacks some of PyQt5's
names; PyQt5 takes the long form, too.
"""

from __future__ import annotations

import ast
import enum
import functools
import importlib
from pathlib import Path
from typing import Any

MODULES = ("QtCore", "QtGui", "QtWidgets", "QtNetwork", "QtSvg", "QtXml", "QtPrintSupport", "uic", "sip")

#: Qt 6 moved these from QtWidgets to QtGui; ``qgis.PyQt.QtWidgets`` goes on offering them.
OFFERED_BY_QGIS = {"QAction", "QActionGroup", "QShortcut"}


def find_problems(source: str) -> list[str]:
    """Everything in a module's source that Qt 6 does not have, as ``line: sentence``."""
    tree = ast.parse(source)
    problems = []
    classes: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            problems += _import_from(node, classes)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if _is_direct(alias.name):
                    problems.append(f"{node.lineno}: {alias.name} is imported directly; use qgis.PyQt")
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            if node.attr.rstrip("_") in {"exec", "print"} and node.attr.endswith("_"):
                problems.append(f"{node.lineno}: .{node.attr} is gone in Qt 6; use .{node.attr.rstrip('_')}")
            if id(node) not in inner:
                problems += _chain(node, classes)
    return problems


def _is_direct(module: str) -> bool:
    return module.split(".")[0] in {"PyQt4", "PyQt5", "PyQt6", "PySide2", "PySide6", "sip", "PyQt"}


def _import_from(node: ast.ImportFrom, classes: dict[str, Any]) -> list[str]:
    module = node.module or ""
    if _is_direct(module):
        return [f"{node.lineno}: {module} is imported directly; use qgis.PyQt"]
    problems = []
    for alias in node.names:
        if module == "qgis.PyQt":
            classes[alias.asname or alias.name] = _pyqt6(alias.name)
        elif module.startswith("qgis.PyQt."):
            found = getattr(_pyqt6(module.removeprefix("qgis.PyQt.")), alias.name, None)
            if found is None and alias.name in OFFERED_BY_QGIS:
                found = getattr(_pyqt6("QtGui"), alias.name)
            if found is None:
                problems.append(f"{node.lineno}: Qt 6 has no {module.removeprefix('qgis.PyQt.')}.{alias.name}")
            else:
                classes[alias.asname or alias.name] = found
    return problems


def _pyqt6(name: str) -> Any:
    return importlib.import_module(f"PyQt6.{name}")


def _chain(node: ast.Attribute, classes: dict[str, Any]) -> list[str]:
    """Check ``Root.a.b``: each step on Qt's class, or, for an instance, that no bare enum member is meant."""
    names = [node.attr]
    value: ast.expr = node.value
    while isinstance(value, ast.Attribute):
        names.insert(0, value.attr)
        value = value.value
    root = value.id if isinstance(value, ast.Name) else ""
    if root not in classes:
        return _bare_member(node, root, names)
    here, path = classes[root], root
    for name in names:
        if not hasattr(here, name):
            return [f"{node.lineno}: Qt 6 has no {path}.{name}"]
        here, path = getattr(here, name), f"{path}.{name}"
        if not isinstance(here, (type, enum.Enum)) and not hasattr(here, "__path__"):
            break  # a method or a signal: what it gives is not known here
    return []


def _bare_member(node: ast.Attribute, root: str, names: list[str]) -> list[str]:
    """``self.buttons.Ok``: an enum's member taken from an instance, which PyQt6 does not allow."""
    owner = names[-2] if len(names) > 1 else root
    if not root or root[0].isupper() or not names[-1][0].isupper() or (owner and owner[0].isupper()):
        return []
    if names[-1] in _enum_members():
        return [f"{node.lineno}: {'.'.join([root, *names])} is an enum's member; name class and enum in full"]
    return []


@functools.cache
def _enum_members() -> frozenset[str]:
    """The names of all members of all enums in Qt's classes."""
    found: set[str] = set()
    for module in ("QtCore", "QtGui", "QtWidgets"):
        for cls in vars(_pyqt6(module)).values():
            if isinstance(cls, type):
                for inner in vars(cls).values():
                    if isinstance(inner, type) and issubclass(inner, enum.Enum):
                        found.update(inner.__members__)
    return frozenset(found)


def load_form(path: Path) -> None:
    """Load a ``.ui`` file with Qt 6; classes of QGIS and of our own stand in as their Qt bases.

    Call it in a process of its own, with a QApplication.  Raises what PyQt6 raises.
    """
    import sys
    import types
    from xml.etree import ElementTree

    from PyQt6 import QtWidgets, uic

    root = ElementTree.parse(path).getroot()
    for custom in root.iter("customwidget"):
        name, base, header = (custom.findtext(tag, "") for tag in ("class", "extends", "header"))
        # Relative headers are ours: they are looked up in the package that uic is given.
        module = f"forms{header}" if header.startswith(".") else header.removesuffix(".h").replace("/", ".")
        parts = module.split(".")
        for length in range(1, len(parts) + 1):
            sys.modules.setdefault(".".join(parts[:length]), types.ModuleType(".".join(parts[:length])))
        setattr(sys.modules[module], name, type(name, (getattr(QtWidgets, base),), {}))
    sys.modules.setdefault("forms", types.ModuleType("forms"))
    top = root.find("widget")
    assert top is not None, f"{path.name} has no widget"
    uic.loadUi(str(path), getattr(QtWidgets, top.get("class", ""))(), package="forms")


if __name__ == "__main__":
    import sys

    from PyQt6.QtWidgets import QApplication

    application = QApplication([])
    for name in sys.argv[1:]:
        load_form(Path(name))
        print("loaded", Path(name).name)
