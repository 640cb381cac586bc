"""``thematica models``: what is in the store."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from ..models.store import list_models
from .console import Console


def add_parser(commands: Any) -> None:
    """Add the command to the program's parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "models", help="list the models in the store", description=(__doc__ or "").partition(": ")[2].capitalize()
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, console: Console) -> int:
    """Run the command."""
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
