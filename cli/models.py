"""``thematica models``: what is in the store; and putting a model into it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..models.store import add_model, list_models
from .console import Console


def add_parser(commands: Any) -> None:
    """Add the command to the program's parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "models", help="list the models in the store", description=(__doc__ or "").partition(": ")[2].capitalize()
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list")
    parser.add_argument("--add", metavar="FILE", help="copy a model, and the card beside it, into your store")
    parser.add_argument("--name", help="with --add: its name in the store (default: the file's)")
    parser.add_argument("--replace", action="store_true", help="with --add: replace a model of that name")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, console: Console) -> int:
    """Run the command."""
    if (options.name is not None or options.replace) and not options.add:
        raise InputError("--name and --replace say how a model is added; name its file with --add.")
    if options.add:
        added = add_model(Path(options.add), options.name, options.replace)
        sys.stderr.write(f"“{added.name}” is in the store now.\n")
    models = list_models()
    if options.json:
        rows = [
            {
                "name": model.name,
                "path": str(model.path),
                "task": model.card.task if model.card else None,
                "bundled": model.bundled,
                "title": model.card.title if model.card else model.name,
                "problem": model.problem,
            }
            for model in models
        ]
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return 0
    width = max([len(model.name) for model in models] + [4])
    for model in models:
        title = model.card.title if model.card else f"cannot be read: {model.problem}"
        sys.stdout.write(f"{model.name:{width}}  {'ships' if model.bundled else 'yours'}  {title}\n")
    return 0
