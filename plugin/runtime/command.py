"""The installer without QGIS: ``python3 <plugin folder>/plugin/runtime create``, for administrators and scripts."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ...errors import InputError, ThematicaError
from .base_python import OLDEST_PYTHON
from .build import BUILDS, builds_here, bytes_free, bytes_needed, propose_build, size_label
from .find import check_runtime, default_runtime_folder, find_own_runtime, interpreter_of, judge
from .install import (
    Choice,
    create_runtime,
    download_arguments,
    download_command,
    install_horovod,
    repair_runtime,
)
from .network import Network
from .process import Listener, process_options


class _Console(Listener):
    def line(self, text: str) -> None:
        sys.stderr.write(f"  {text}\n")

    def step(self, text: str, fraction: float | None = None) -> None:
        if fraction is not None:
            sys.stderr.write(f"{fraction:4.0%}  {text}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="runtime", description=__doc__)
    parser.add_argument("action", choices=("create", "repair", "check", "command", "wheels", "horovod"))
    parser.add_argument("--build", choices=[*BUILDS, "auto"], default="auto", help="auto: what fits this machine")
    parser.add_argument("--torch", action="store_true", help="with PyTorch, and what training needs")
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="folder of wheels: install from it, or fill it")
    parser.add_argument("--python", type=Path, metavar="PATH", help="for horovod: another environment than ours")
    parser.add_argument("--certificates", default="", metavar="FILE", help="PEM file with certificates to trust")
    parser.add_argument("--proxy", default="", metavar="URL", help="otherwise HTTPS_PROXY and pip's configuration")
    parser.add_argument("--torch-index", default="", metavar="URL", help="package index for PyTorch's wheels")
    parser.add_argument("--python-mirror", default="", metavar="URL", help="mirror of python-build-standalone")
    parser.add_argument("--python-version", default="3.12", metavar="3.X", help="for command and wheels")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one action; exit status 0 done, 2 it cannot be done (one sentence on stderr), 130 broken off."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except ThematicaError as error:
        sys.stderr.write(f"{error.message}\n")
        return error.exit_status
    except KeyboardInterrupt:
        sys.stderr.write("Broken off; the next run goes on from here.\n")
        return 130


def _run(options: argparse.Namespace) -> int:
    network = Network(options.proxy, (), options.certificates, options.torch_index, options.python_mirror)
    build, why = propose_build() if options.build == "auto" else (options.build, "")
    # An existing folder as source for create and repair, a folder to fill for the other two.
    choice = Choice(build, options.torch, options.wheels, network)
    if options.action == "check":
        return _check()
    if options.action == "horovod":
        python = interpreter_of(str(options.python)) if options.python else None
        install_horovod(_Console(), network, options.wheels, python)
        return 0
    if options.action in ("command", "wheels"):
        return _wheels(options, Choice(build, options.torch, None, network))
    if build not in [entry.name for entry in builds_here()]:
        raise InputError(f"There is no build “{build}” for this system; leave --build out.")
    needed = bytes_needed(build, options.torch, options.wheels is None, brings_python=False)
    free = bytes_free(default_runtime_folder())
    sys.stderr.write(f"Build {build}{f' ({why})' if why else ''}\n")
    sys.stderr.write(f"Needs {size_label(needed)}, free {'?' if free is None else size_label(free)}\n")
    make = create_runtime if options.action == "create" else repair_runtime
    runtime = make(choice, _Console())
    sys.stdout.write(f"{runtime.folder}\n")
    return 0


def _check() -> int:
    runtime = find_own_runtime()
    verdict = judge(runtime)
    if verdict.sentence or runtime is None:
        raise InputError(verdict.sentence)
    answer = check_runtime(runtime)
    sys.stdout.write(json.dumps(answer, indent=2) + "\n")
    return 0 if answer.get("ok") else 2


def _wheels(options: argparse.Namespace, choice: Choice) -> int:
    major, _, minor = options.python_version.partition(".")
    if not (major.isdigit() and minor.isdigit()) or (int(major), int(minor)) < OLDEST_PYTHON:
        raise InputError("--python-version wants a version like 3.12, not older than 3.10.")
    version = (int(major), int(minor))
    folder = str(options.wheels or "thematica-wheels")
    if options.action == "command":
        sys.stdout.write(download_command(choice, version, folder) + "\n")
        return 0
    command = [sys.executable, "-m", "pip", *download_arguments(choice, version, folder)]
    environment = {**os.environ, **choice.network.environment()}
    done = subprocess.run(command, env=environment, check=False, **process_options())
    return 0 if done.returncode == 0 else 2
