"""``python -m thematica``, and ``python <plugin folder>/__main__.py`` wherever the folder lies.

QGIS starts the second form with the runtime's interpreter: the plugin's own code runs there, so
that plugin and engine can never be of different versions, and the folder may have any name.
"""

from __future__ import annotations

import sys


def _register_package() -> None:
    """Make this folder importable as ``thematica`` when it is run as a script."""
    import importlib.util
    from pathlib import Path

    folder = Path(__file__).resolve().parent
    # The folder itself must not be on the path: its plugin/, models/, … would shadow other packages.
    sys.path[:] = [entry for entry in sys.path if not entry or Path(entry).resolve() != folder]
    spec = importlib.util.spec_from_file_location(
        "thematica", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["thematica"] = package
    spec.loader.exec_module(package)


if __name__ == "__main__":
    if not __package__:
        _register_package()
    from thematica.cli.main import main

    sys.exit(main())
