"""The runtime: the Python environment of its own in which everything heavy runs; found, installed, repaired.

QGIS's Python is never installed into and never runs the engine.  A runtime is a virtual environment with the
packages of ``requirements.txt``; the code that runs in it is the plugin's own.  Everything here but
:mod:`.qgis_settings` is pure standard library, so that ``python3 <plugin folder>/plugin/runtime`` works without QGIS:

- :mod:`.find`: which runtime is used, and what is wrong with it;
- :mod:`.process`: starting its interpreter with a clean environment;
- :mod:`.build`, :mod:`.gpu`: for the processor or a graphics card, and what fits this machine;
- :mod:`.base_python`, :mod:`.own_python`: the CPython that it is made from, the machine's or one that we bring;
- :mod:`.install`, with :mod:`.pip`, :mod:`.downloads`, :mod:`.network`, :mod:`.installed` and :mod:`.lock`: making and
  repairing it.
"""

from __future__ import annotations

from .find import (
    SETTING,
    STAMP,
    Runtime,
    check_runtime,
    default_runtime_folder,
    find_runtime,
    interpreter_in,
    judge,
    require_runtime,
    runtime_problem,
)
from .process import clean_environment, kill_group, kill_process, process_options, worker_command

__all__ = [
    "Runtime",
    "SETTING",
    "STAMP",
    "check_runtime",
    "clean_environment",
    "default_runtime_folder",
    "find_runtime",
    "interpreter_in",
    "judge",
    "kill_group",
    "kill_process",
    "process_options",
    "require_runtime",
    "runtime_problem",
    "worker_command",
]
