"""``python3 <plugin folder>/plugin/runtime create``: the installer without QGIS, wherever the plugin's folder lies."""

from __future__ import annotations

import sys


def _register_package() -> None:
    """Make the plugin's folder importable as ``thematica``, as its own ``__main__`` does."""
    import importlib.util
    from pathlib import Path

    here = Path(__file__).resolve().parent
    folder = here.parents[1]
    # Our modules must not be taken for others: there may well be another "process" or "pip".
    sys.path[:] = [entry for entry in sys.path if not entry or Path(entry).resolve() != here]
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
    from thematica.plugin.runtime.command import main

    sys.exit(main())
