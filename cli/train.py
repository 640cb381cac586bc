"""``thematica train``: a network from a training set."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..errors import InputError
from .console import STYLES, Console
from .raster_options import listening_monitor


def add_parser(commands: Any) -> None:
    """Add the command to the program's parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "train", help="train a network", description=(__doc__ or "").partition(": ")[2].capitalize()
    )
    parser.add_argument("dataset", metavar="DATASET", help="folder of a training set (see: build-dataset)")
    parser.add_argument("--network", required=True, metavar="NAME", help="the network to train")
    parser.add_argument("--recipe", metavar="FILE|NAME", help="all that is decided before (default: the network's own)")
    parser.add_argument("--epochs", type=int, metavar="N", help="passes over the training part (default: the recipe's)")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="train with Horovod in N processes")
    parser.add_argument("--output", metavar="MODELDIR", help="folder of the run (default: in the training set's)")
    parser.add_argument("--resume", action="store_true", help="go on from the folder's checkpoint, if there is one")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe")
    parser.add_argument("--weights", metavar="FILE", help="start from these: a state_dict of torch, or a run's best.pt")
    parser.add_argument("--freeze", metavar="PATTERN", help="layers that keep their weights: layer1*,bn1; all-but-last")
    parser.add_argument("--name", help="of the model")
    parser.add_argument("--compress", action="store_true", help="several processes: send gradients in 16 bits")
    parser.add_argument("--progress", choices=STYLES, help="default: bar on a terminal, else none")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, console: Console) -> int:
    """Run the command."""
    from ..trainer.metrics import describe
    from ..trainer.run import TrainOptions, is_classical, is_one_of_many, recipe_of, train

    asked = TrainOptions(
        options.dataset, options.network, options.recipe or "", options.output or "", options.epochs, options.resume,
        options.set, options.name or "", options.compress, options.weights or "", options.freeze or "",
    )  # fmt: skip
    if options.processes < 1:
        raise InputError(f"--processes must be at least 1, not {options.processes}.")
    if options.processes > 1 and is_classical(options.network):
        raise InputError(f"“{options.network}” is trained in one process, on all its cores: leave --processes away.")
    # What is wrong is told once, before any process is started.
    recipe_of(asked)
    monitor = listening_monitor(console)
    if options.processes > 1 and not is_one_of_many():
        from ..trainer.launch import train_together

        result = train_together(options.processes, _again(options), asked.folder(), monitor)
    else:
        result = train(asked, monitor)
    if console.style == "json":
        console.event(result)
    elif result["files"]:
        console.close_bar()
        figures = result["report"]["metrics"]
        sys.stdout.write(f"{describe(figures, 'mean average precision' in figures)}\n{result['files']['model']}\n")
    return 0


def _again(options: argparse.Namespace) -> list[str]:
    """The command's arguments for each of several processes."""
    arguments = [str(Path(options.dataset).resolve()), "--network", options.network]
    for name in ("recipe", "epochs", "output", "name", "weights", "freeze"):
        if getattr(options, name) is not None:
            arguments += [f"--{name}", str(getattr(options, name))]
    for change in options.set:
        arguments += ["--set", change]
    return arguments + [f"--{name}" for name in ("resume", "compress") if getattr(options, name)]
