"""``thematica train``: a network from a training set."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..models.store import add_new_model, check_name
from ..models.trainable import NETWORKS
from ..progress import Monitor
from .console import STYLES, Console
from .job_options import take_job
from .raster_options import listening_monitor

if TYPE_CHECKING:
    from ..trainer.run import TrainOptions


def add_parser(commands: Any) -> None:
    """Add the command to the program's parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "train", help="train a network", description=(__doc__ or "").partition(": ")[2].capitalize()
    )
    parser.add_argument("dataset", metavar="DATASET", nargs="?", help="folder of a training set (see: build-dataset)")
    parser.add_argument("--network", metavar="NAME", help=f"one of {', '.join(NETWORKS)}")
    parser.add_argument("--recipe", metavar="FILE|NAME", help="all that is decided before (default: the network's own)")
    parser.add_argument("--epochs", type=int, metavar="N", help="passes over the training part (default: the recipe's)")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="train with Horovod in N processes")
    parser.add_argument("--output", metavar="MODELDIR", help="folder of the run (default: in the training set's)")
    parser.add_argument("--resume", action="store_true", help="go on from the folder's checkpoint, if there is one")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change the recipe: learning_rate=0.01, network_options.dropout=0.3, refit=false",
    )
    parser.add_argument(
        "--weights", metavar="FILE", help="start from these: a state_dict of torch, or a run's best.pt or refit.pt"
    )
    parser.add_argument("--freeze", metavar="PATTERN", help="layers that keep their weights: layer1*,bn1; all-but-last")
    parser.add_argument("--name", help="of the model")
    parser.add_argument("--card", metavar="CARD.json", help="keep this model card's words, class codes and colours")
    parser.add_argument("--store", action="store_true", help="put the model into the store, where QGIS finds it")
    parser.add_argument("--compress", action="store_true", help="several processes: send gradients in 16 bits")
    parser.add_argument(
        "--report-optimism", action="store_true", help="train on a random split, too, and tell how much it flatters"
    )
    parser.add_argument("--progress", choices=STYLES, help="default: bar on a terminal, else none")
    parser.add_argument("--job", metavar="JOB.json", help="take the options from a file (those given here win)")
    searching = parser.add_argument_group("search of hyper-parameters in the recipe's ranges")
    searching.add_argument("--search", choices=("grid", "random"), help="train many times, and make a table")
    searching.add_argument("--trials", type=int, metavar="N", help="at most so many (default: the whole grid; 20)")
    searching.add_argument("--trial", type=int, metavar="I", help="only this one, from 0: for a job array")
    searching.add_argument("--search-table", action="store_true", help="make the table of what has been run")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, console: Console) -> int:
    """Run the command."""
    take_job(options, "train")
    if not options.dataset or not options.network:
        raise InputError("Train needs a training set and --network; see: thematica train --help.")
    from ..trainer.metrics import describe
    from ..trainer.run import TrainOptions, is_classical, recipe_of, train
    from ..trainer.run_folder import is_one_of_many

    asked = TrainOptions(
        options.dataset, options.network, options.recipe or "", options.output or "", options.epochs, options.resume,
        options.set, options.name or "", options.compress, options.weights or "", options.freeze or "",
        options.report_optimism, options.store, options.card or "",
    )  # fmt: skip
    if options.processes < 1:
        raise InputError(f"--processes must be at least 1, not {options.processes}.")
    if options.processes > 1 and is_classical(options.network):
        raise InputError(f"“{options.network}” is trained in one process, on all its cores: leave --processes away.")
    if not options.search and (options.trials is not None or options.trial is not None or options.search_table):
        raise InputError("--trials, --trial and --search-table go with --search grid or --search random.")
    # What is wrong is told once, before any process is started.
    recipe_of(asked)
    if asked.store:
        check_name(asked.model_name())
    monitor = listening_monitor(console)

    def run_one(one: TrainOptions, heard: Monitor) -> dict[str, Any]:
        if options.processes > 1 and not is_one_of_many():
            from ..trainer.launch import train_together

            return train_together(options.processes, _again(one), one.folder(), heard)
        return train(one, heard)

    if options.search:
        from ..trainer.search import SearchOptions, search

        wanted = SearchOptions(options.search, options.trials, options.trial, options.search_table)
        result = search(asked, wanted, monitor, run_one)
        if asked.store and "model" in result["files"]:
            result["report"]["stored"] = add_new_model(Path(result["files"]["model"]), asked.model_name()).name
    else:
        result = run_one(asked, monitor)
    if console.style == "json":
        console.event(result)
    elif "table" in result["files"]:
        console.close_bar()
        _print_search(result)
    elif result["files"]:
        console.close_bar()
        figures = result["report"]["metrics"]
        sys.stdout.write(f"{describe(figures, 'mean average precision' in figures)}\n{result['files']['model']}\n")
    if console.style != "json" and result["report"].get("stored"):
        sys.stdout.write(f"In the store: {result['report']['stored']}\n")
    return 0


def _print_search(result: dict[str, Any]) -> None:
    """The trials, the best one first."""
    report = result["report"]
    rows = sorted(report["trials"], key=lambda row: (row["validation"] is None, -(row["validation"] or 0)))
    sys.stdout.write(f"Validation, {report['monitor']}:\n")
    for row in rows:
        figure = row["state"] if row["validation"] is None else f"{row['validation']:.4f}"
        values = ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in row["parameters"].items())
        sys.stdout.write(f"{row['folder']} {figure:>8} {row['seconds']:>8.1f} s  {values}\n")
    for path in result["files"].values():
        sys.stdout.write(f"{path}\n")


def _again(asked: TrainOptions) -> list[str]:
    """The command's arguments for each of several processes."""
    arguments = [str(Path(asked.dataset).resolve()), "--network", asked.network]
    for name in ("recipe", "epochs", "output", "name", "weights", "freeze", "card"):
        if getattr(asked, name):
            arguments += [f"--{name}", str(getattr(asked, name))]
    for change in asked.changes:
        arguments += ["--set", change]
    flags = {
        "resume": asked.resume,
        "compress": asked.compress,
        "report-optimism": asked.report_optimism,
        "store": asked.store,
    }
    return arguments + [f"--{name}" for name, given in flags.items() if given]
