"""Searching hyper-parameters: a grid, or random values (Bergstra & Bengio 2012), as trainings of their own.

Every trial is a folder ``trial-000``, … that holds a training like any other.  What they gave is read back from there:
a search that was stopped goes on, and the trials of one search may run on different machines.
"""

from __future__ import annotations

import csv
import itertools
import json
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Cancelled, InputError, OutputError, ThematicaError
from ..progress import Monitor
from .dataset.read import TrainingSet
from .recipe import Recipe
from .run import TrainOptions, check_kind, recipe_of, train
from .run_folder import RECIPE

GRID, RANDOM = "grid", "random"
OPEN, FINISHED, FAILED = "open", "finished", "failed"
HOWS = (GRID, RANDOM)
TABLE, REPORT = "search.csv", "search.json"
# The trials' own, as in :mod:`.events`, which loads what training needs.
EVENTS = "events.jsonl"
#: Trials of a random search, unless told otherwise.
TRIALS = 20
#: Values that a grid takes of a range.
_POINTS = 3
#: Digits of a number drawn: what is read in a table can be typed again.
_DIGITS = 4
# A drawing that was there already is drawn again, so often.
_ATTEMPTS = 1000
#: Ends that would come again: the trial is not run once more.  Others (a full disk, a process that died) may not.
_FINAL = ("nan-loss", "bad-input", "wrong-export", "memory")

Parameters = dict[str, Any]
#: Runs one training; ``train``, or in several processes.
Run = Callable[[TrainOptions, Monitor], dict[str, Any]]


@dataclass(frozen=True)
class SearchOptions:
    """How to search.

    Args:
        how: ``grid`` or ``random``.
        trials: at most so many; None: the whole grid, or :data:`TRIALS`.
        trial: run this one alone; None: all.
        table: only make the table, or after the one trial as well.
    """

    how: str
    trials: int | None = None
    trial: int | None = None
    table: bool = False


# -- what is tried ---------------------------------------------------------------------------------------


def draw_trials(recipe: Recipe, how: str, count: int | None = None) -> list[Parameters]:
    """What the trials change, by dotted key; none comes twice, and the recipe's seed settles all.

    Of a random search, the first trials are the same however many are wanted.

    Args:
        recipe: with what is to be searched under ``search``.
        how: ``grid`` or ``random``.
        count: how many; None: see :class:`SearchOptions`.

    Raises:
        InputError: the recipe searches nothing, a range that is none, or a grid larger than ``count``.
    """
    if how not in HOWS:
        raise InputError(f"There is no search “{how}”; use --search grid or --search random.")
    if count is not None and count < 1:
        raise InputError(f"--trials must be at least 1, not {count}.")
    if not recipe.search:
        raise InputError(
            f"The recipe of “{recipe.network}” has no ranges to search: give them under “search” in a recipe file, or "
            "with --set 'search.learning_rate=[0.01, 0.1]'."
        )
    # The same key may come twice, with dots and nested: what was set last counts.
    ranges = dict(_ranges(recipe.search))
    for key, values in ranges.items():
        _check(key, values)
    if how == GRID:
        return _grid(ranges, count)
    return _random(ranges, recipe.seed, count or TRIALS)


def _ranges(search: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and what is tried; ``--set search.network_options.C=…`` nests them."""
    for key, values in search.items():
        if isinstance(values, dict) and not ("low" in values or "high" in values):
            yield from _ranges(values, f"{before}{key}.")
        else:
            yield before + key, values


def _check(key: str, values: Any) -> None:
    if isinstance(values, list) and values:
        return
    if isinstance(values, dict) and set(values) <= {"low", "high", "log"}:
        low, high, log = values.get("low", math.nan), values.get("high", math.nan), values.get("log", False)
        numbers = all(isinstance(end, (int, float)) and not isinstance(end, bool) for end in (low, high))
        if numbers and math.isfinite(low) and math.isfinite(high) and low < high and (low > 0 or not log):
            return
    raise InputError(
        f"The recipe cannot search “{key}” in {json.dumps(values, ensure_ascii=False)[:60]}: give a list of values, or "
        '{"low": …, "high": …}, with "log": true for numbers above 0.'
    )


def _grid(ranges: dict[str, Any], count: int | None) -> list[Parameters]:
    choices = []
    for values in ranges.values():
        points = np.linspace(0, 1, _POINTS)
        found = [_between(values, share) for share in points] if isinstance(values, dict) else values
        choices.append(_distinct(found))
    size = math.prod(len(found) for found in choices)
    if count is not None and size > count:
        raise InputError(
            f"The grid has {size} trials, more than --trials {count}: allow them, give shorter lists, or use --search "
            "random."
        )
    return [dict(zip(ranges, values, strict=True)) for values in itertools.product(*choices)]


def _random(ranges: dict[str, Any], seed: int, count: int) -> list[Parameters]:
    chance = np.random.default_rng(seed)
    found: dict[str, Parameters] = {}
    for _ in range(count * _ATTEMPTS):
        if len(found) == count:
            break
        drawn: Parameters = {}
        for key, values in ranges.items():
            # One number each, whatever it is for: what is drawn for a key does not hang on the others' ranges.
            share = float(chance.random())
            if isinstance(values, dict):
                drawn[key] = _between(values, share)
            else:
                drawn[key] = values[int(share * len(values))]
        found.setdefault(json.dumps(drawn, sort_keys=True), drawn)
    return list(found.values())


def _between(values: dict[str, Any], share: float) -> float | int:
    low, high = values["low"], values["high"]
    whole = isinstance(low, int) and isinstance(high, int)
    if values.get("log"):
        number = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    elif whole:
        # Every whole number alike, the ends too.
        return low + min(int(share * (high - low + 1)), high - low)
    else:
        number = low + share * (high - low)
    number = min(max(float(f"{number:.{_DIGITS}g}"), low), high)
    return round(number) if whole else float(number)


def _distinct(values: list[Any]) -> list[Any]:
    return list({json.dumps(value, sort_keys=True): value for value in values}.values())


# -- running it ------------------------------------------------------------------------------------------


def search(options: TrainOptions, wanted: SearchOptions, monitor: Monitor, run: Run = train) -> dict[str, Any]:
    """Run the trials that have not been run, and make the table.

    Args:
        options: what to train; ``output`` is the folder of the search.
        wanted: how to search.
        monitor: hears of the progress; cancelling stops the present trial and keeps what is there.
        run: runs one training.

    Returns:
        The ``result`` event; of one trial alone, that of its training.

    Raises:
        InputError: a trial that there is not, ranges or options that cannot be.
        OutputError: the folder holds another search.
        Cancelled: it was asked to stop.
    """
    data = TrainingSet(options.dataset)
    base = recipe_of(options)
    check_kind(base, data)
    trials = draw_trials(base, wanted.how, wanted.trials)
    folder = search_folder(options)
    asked = [_trial(options, folder, number, parameters) for number, parameters in enumerate(trials)]
    # A key that no recipe has is told before anything runs.
    recipes = [recipe_of(entry) for entry in asked]
    if wanted.trial is not None and not 0 <= wanted.trial < len(trials):
        raise InputError(f"There is no trial {wanted.trial}: this search has {len(trials)}, counted from 0.")
    for entry, recipe in zip(asked, recipes, strict=True):
        _check_folder(entry.folder(), recipe, data)
    only_table = wanted.table and wanted.trial is None
    numbers = [] if only_table else [wanted.trial] if wanted.trial is not None else list(range(len(trials)))
    if wanted.how == RANDOM and len(trials) < (wanted.trials or TRIALS):
        monitor.log(f"The recipe's lists of values give no more than {len(trials)} trials.")
    for place, number in enumerate(numbers):
        monitor.check()
        trial = asked[number]
        if _outcome(trial.folder(), base.monitor).state != OPEN:
            continue
        title = f"Trial {place + 1} of {len(numbers)}"
        try:
            run(trial, _TrialMonitor(monitor, title, place, len(numbers)))
        except Cancelled:
            raise
        except (ThematicaError, MemoryError, RuntimeError) as error:
            reason = _reason_of(error, trial.folder())
            if wanted.trial is not None:
                raise
            monitor.log(f"{title} failed: {reason}", "warning")
    if wanted.trial is not None and not wanted.table:
        return _result_of(asked[wanted.trial].folder(), base.monitor)
    return _make_table(folder, wanted.how, base, trials, asked)


def search_folder(options: TrainOptions) -> Path:
    """Where the trials lie."""
    return Path(options.output) if options.output else Path(options.dataset) / "runs" / f"{options.network}-search"


def _trial(options: TrainOptions, folder: Path, number: int, parameters: Parameters) -> TrainOptions:
    changes = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in parameters.items()]
    # Only the best of them goes into the store, in the end.
    return replace(
        options, output=str(folder / f"trial-{number:03}"), changes=[*options.changes, *changes], resume=True,
        name=f"{options.model_name()}-{number:03}", store=False,
    )  # fmt: skip


def _check_folder(folder: Path, recipe: Recipe, data: TrainingSet) -> None:
    """Refuse to take the training of another search for one of this."""
    if not (folder / RECIPE).exists():
        return
    found = _read_json(folder / RECIPE)
    made = _read_json(folder / "training.json")
    print_of = made.get("dataset", {}).get("fingerprint", data.description.fingerprint)
    if found != recipe.to_dict() or print_of != data.description.fingerprint:
        raise OutputError(
            f"“{folder}” holds a trial of another search; choose another folder with --output, or delete that one."
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _reason_of(error: Exception, folder: Path) -> str:
    """What became of a failed trial, in a sentence; kept in its folder."""
    if isinstance(error, ThematicaError):
        return error.message
    reason = "This trial needs more memory than there is, or a fault of PyTorch's ended it."
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / EVENTS).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({"event": "error", "code": "memory", "message": reason, "details": repr(error)}) + "\n")
    return reason


class _TrialMonitor(Monitor):
    """Tells of a trial's progress as a part of the search's."""

    def __init__(self, whole: Monitor, title: str, place: int, count: int) -> None:
        super().__init__()
        self.whole, self.title, self.place, self.count = whole, title, place, count

    @property
    def cancelled(self) -> bool:
        """See :class:`Monitor`."""
        return self.whole.cancelled

    def log(self, message: str, level: str = "info") -> None:
        """See :class:`Monitor`."""
        self.whole.log(f"{self.title}: {message}", level)

    def progress(
        self, stage: str, fraction: float, pixels_per_second: float | None = None, seconds_left: float | None = None
    ) -> None:
        """See :class:`Monitor`."""
        self.whole.progress(f"{self.title}: {stage}", (self.place + fraction) / self.count, pixels_per_second)


# -- what came of it -------------------------------------------------------------------------------------


@dataclass
class _Outcome:
    """What became of a trial.

    Args:
        state: one of :data:`OPEN`, :data:`FINISHED`, :data:`FAILED`.
        figure: of the validation part, in the best epoch; None: not finished.
        seconds: of all its epochs.
        reason: why it failed.
    """

    state: str = OPEN
    figure: float | None = None
    seconds: float = 0.0
    reason: str = ""


def _outcome(folder: Path, monitor: str) -> _Outcome:
    """As the trial's events tell."""
    outcome, best = _Outcome(), None
    try:
        lines = (folder / EVENTS).read_text(encoding="utf-8").splitlines()
    except OSError:
        return outcome
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            # The last line of a process that was killed.
            continue
        if event["event"] == "epoch":
            outcome.seconds += event.get("seconds") or 0.0
            if event.get("best"):
                best = event["validation"].get(monitor)
        elif event["event"] == "error" and event.get("code") in _FINAL:
            outcome.state, outcome.reason = FAILED, event.get("message", "")
        elif event["event"] == "end":
            outcome.state, outcome.figure = FINISHED, best
    return outcome


def _make_table(
    folder: Path, how: str, base: Recipe, trials: list[Parameters], asked: list[TrainOptions]
) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for number, (parameters, entry) in enumerate(zip(trials, asked, strict=True)):
        outcome = _outcome(entry.folder(), base.monitor)
        rows.append(
            {
                "trial": number, "parameters": parameters, "validation": outcome.figure,
                "seconds": round(outcome.seconds, 2), "state": outcome.state, "reason": outcome.reason,
                "folder": entry.folder().name,
            }
        )  # fmt: skip
    done = [row for row in rows if row["validation"] is not None]
    best = max(done, key=lambda row: row["validation"]) if done else None
    report = {
        "how": how, "network": base.network, "seed": base.seed, "monitor": base.monitor, "trials": rows, "best": best,
    }  # fmt: skip
    keys = list(trials[0])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / (TABLE + ".part")
        with partial.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["trial", *keys, base.monitor, "seconds", "state", "reason", "folder"])
            for row in rows:
                values = [_cell(row["parameters"][key]) for key in keys]
                rest = [row[name] for name in ("validation", "seconds", "state", "reason", "folder")]
                writer.writerow([row["trial"], *values, *rest])
        os.replace(partial, folder / TABLE)
        partial = folder / (REPORT + ".part")
        partial.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        os.replace(partial, folder / REPORT)
    except OSError as error:
        raise OutputError(
            f"The table could not be written to “{folder}”: look whether the disk is full or read-only.", repr(error)
        ) from error
    files = {"table": str(folder / TABLE), "report": str(folder / REPORT)}
    if best is not None:
        files["model"] = str(folder / best["folder"] / "model.onnx")
    return {"event": "result", "files": files, "report": report}


def _cell(value: Any) -> Any:
    return value if isinstance(value, (int, float, str)) else json.dumps(value)


def _result_of(folder: Path, monitor: str) -> dict[str, Any]:
    """The result of one trial, that ran now or before."""
    outcome = _outcome(folder, monitor)
    if outcome.state == FAILED:
        raise InputError(f"This trial failed before: {outcome.reason}")
    names = {"model": "model.onnx", "card": "model.json", "training": "training.json", "events": EVENTS}
    files = {kind: str(folder / name) for kind, name in names.items() if (folder / name).exists()}
    return {"event": "result", "files": files, "report": _read_json(folder / "training.json")}
