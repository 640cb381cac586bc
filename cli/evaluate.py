"""``thematica evaluate``: how good a model is on a part of a training set."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from ..errors import InputError, OutputError
from ..models.store import resolve_model
from .console import STYLES, Console
from .job_options import take_job
from .raster_options import listening_monitor


def add_parser(commands: Any) -> None:
    """Add the command to the program's parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "evaluate",
        help="measure a model on a training set",
        description=(__doc__ or "").partition(": ")[2].capitalize(),
    )
    parser.add_argument("model", metavar="MODEL", nargs="?", help="a model of the store, or an ONNX file")
    parser.add_argument("dataset", metavar="DATASET", nargs="?", help="folder of a training set (see: build-dataset)")
    parser.add_argument("--split", metavar="PART", help="train, validation or test (the default)")
    parser.add_argument("--json", metavar="FILE", help="write all figures to a JSON file")
    parser.add_argument("--figures", metavar="DIR", help="write confusion matrix, reliability and F1 as PNG")
    parser.add_argument("--progress", choices=STYLES, help="default: bar on a terminal, else none")
    parser.add_argument("--job", metavar="JOB.json", help="take the options from a file (those given here win)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, console: Console) -> int:
    """Run the command."""
    take_job(options, "evaluate")
    if not options.model or not options.dataset:
        raise InputError("Evaluate needs a model, and a training set to measure it on; see: thematica evaluate --help.")
    options.split = options.split or "test"
    from ..trainer.dataset.read import TrainingSet
    from ..trainer.evaluate import evaluate, report

    data, path = TrainingSet(options.dataset), resolve_model(options.model)
    monitor = listening_monitor(console)
    result = evaluate(path, data, options.split, monitor)
    content = report(result, data, path, options.split)
    for warning in result.warnings:
        monitor.log(warning, "warning")
    files: dict[str, str] = {}
    if options.json:
        _write(Path(options.json), content)
        files["json"] = options.json
    if options.figures:
        from ..trainer.figures import result_figures, save_figures

        title = f"{path.stem} on {data.folder.resolve().name}, {options.split} part"
        for figure in save_figures(result_figures(result.tally, title), Path(options.figures)):
            files[figure.stem] = str(figure)
    if console.style == "json":
        console.event({"event": "result", "files": files, "report": content})
        return 0
    console.close_bar()
    _print(content)
    return 0


def _write(path: Path, content: dict[str, Any]) -> None:
    partial = path.with_name(path.name + ".part")
    try:
        partial.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise OutputError(
            f"“{path}” cannot be written ({error.strerror}); choose another file with --json.", repr(error)
        ) from error


_OF_A_CLASS = {
    "producer's accuracy": "recall", "recall": "recall", "user's accuracy": "precision", "precision": "precision",
    "F1": "F1", "average precision": "average precision",
}  # fmt: skip


def _print(content: dict[str, Any]) -> None:
    """The figures as a table."""
    metrics = content["metrics"]
    classes: dict[str, dict[str, float]] = {name: {} for name in content["classes"]}
    for name, value in metrics.items():
        title, comma, label = name.partition(", ")
        if comma and label in classes:
            classes[label][_OF_A_CLASS[title]] = value
        else:
            sys.stdout.write(f"{name:28} {value:.4f}\n")
    titles = ["precision", "recall", "F1"]
    if any("average precision" in values for values in classes.values()):
        titles.append("average precision")
    width = max([len(name) for name in classes] + [5])
    sys.stdout.write(f"\n{'Class':{width}}" + "".join(f" {title:>{max(len(title), 9)}}" for title in titles) + "\n")
    for name, values in classes.items():
        cells = "".join(f" {values.get(title, 0):>{max(len(title), 9)}.3f}" for title in titles)
        sys.stdout.write(f"{name:{width}}{cells}\n")
    sys.stdout.write(f"\n{content['samples']:,} samples of the {content['part']} part.\n")
