"""Searching hyper-parameters: what is tried, and searches that were stopped, failed in part, or ran in pieces."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thematica.cli.main import main
from thematica.errors import Cancelled, InputError, OutputError
from thematica.progress import Monitor
from thematica.trainer.recipe import Recipe, read_recipe, recipe_names
from thematica.trainer.run import TrainOptions, train
from thematica.trainer.search import SearchOptions, draw_trials, search

from .training_sets import spectra

RANGES = st.one_of(
    st.lists(st.one_of(st.integers(-5, 5), st.sampled_from(["a", None, True]), st.lists(st.integers(1, 3)))).filter(
        len
    ),
    st.tuples(st.floats(1e-6, 1e3), st.floats(1.01, 1e4), st.booleans()).map(
        lambda entry: {"low": entry[0], "high": entry[0] * entry[1], "log": entry[2]}
    ),
    st.tuples(st.integers(1, 50), st.integers(1, 50)).map(lambda entry: {"low": entry[0], "high": sum(entry)}),
)
SPACES = st.dictionaries(st.sampled_from(["learning_rate", "batch", "network_options.a", "b.c.d"]), RANGES, min_size=1)


@pytest.fixture(scope="module")
def pixels(tmp_path_factory):
    return spectra(tmp_path_factory.mktemp("sets") / "spectra", count=200)


def options(data: Path, folder: Path, *changes: str, network: str = "mlp", **others) -> TrainOptions:
    fixed = ["epochs=2", "batch=16", "network_options.hidden=[8]"] if network == "mlp" else []
    return TrainOptions(str(data), network, output=str(folder), changes=[*fixed, *changes], **others)


def only(key: str, values: list) -> str:
    return f"search={json.dumps({key: values})}"


def rows(folder: Path) -> list[dict]:
    with (folder / "search.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


# -- what is tried -------------------------------------------------------------------------------------


@given(SPACES, st.integers(1, 30), st.integers(0, 5))
def test_random_trials_are_distinct_in_range_and_the_same_again(space, count, seed):
    recipe = Recipe("mlp", search=space, seed=seed)
    trials = draw_trials(recipe, "random", count)
    assert trials == draw_trials(recipe, "random", count)
    assert len({json.dumps(trial, sort_keys=True) for trial in trials}) == len(trials) <= count
    for trial in trials:
        assert set(trial) == set(space)
        for key, value in trial.items():
            if isinstance(space[key], list):
                assert any(value is entry or value == entry for entry in space[key])
            else:
                assert space[key]["low"] <= value <= space[key]["high"]
                assert isinstance(value, int) == isinstance(space[key]["low"], int)
    # More trials go on where fewer end.
    assert draw_trials(recipe, "random", count + 3)[: len(trials)] == trials


@given(SPACES)
def test_a_grid_has_every_combination_once(space):
    trials = draw_trials(Recipe("mlp", search=space), "grid")
    assert len({json.dumps(trial, sort_keys=True) for trial in trials}) == len(trials)
    sizes = [len({json.dumps(trial[key]) for trial in trials}) for key in space]
    assert len(trials) == math.prod(sizes)
    for key, values in space.items():
        tried = [trial[key] for trial in trials]
        if isinstance(values, dict):
            # Both ends, to the digits that are kept.
            assert min(tried) == pytest.approx(values["low"], rel=1e-3)
            assert max(tried) == pytest.approx(values["high"], rel=1e-3)
        else:
            assert {json.dumps(value) for value in tried} == {json.dumps(value) for value in values}


def test_logarithmic_ranges_are_drawn_evenly_over_their_powers():
    recipe = Recipe("mlp", search={"learning_rate": {"low": 1e-4, "high": 1.0, "log": True}})
    drawn = [trial["learning_rate"] for trial in draw_trials(recipe, "random", 200)]
    assert 70 < sum(value < 1e-2 for value in drawn) < 130


def test_other_seeds_try_other_values():
    found = [draw_trials(read_recipe("svm", [f"seed={seed}"]), "random", 3) for seed in (1, 2)]
    assert found[0] != found[1]


@pytest.mark.parametrize("name", ["mlp", "svm", "random-forest", "gradient-boosting"])
def test_recipes_with_ranges_can_be_searched(name):
    assert name in recipe_names()
    recipe = read_recipe(name)
    for how in ("grid", "random"):
        for trial in draw_trials(recipe, how):
            changed = read_recipe(name, [f"{key}={json.dumps(value)}" for key, value in trial.items()])
            assert set(changed.network_options) == set(recipe.network_options) | {
                key.partition(".")[2] for key in trial if key.startswith("network_options.")
            }


@pytest.mark.parametrize(
    ("space", "how", "count", "words"),
    [
        ({}, "grid", None, "no ranges to search"),
        ({"a": []}, "grid", None, "cannot search “a”"),
        ({"a": 3}, "grid", None, "cannot search “a”"),
        ({"a": {"low": 2}}, "random", None, "cannot search “a”"),
        ({"a": {"low": 2, "high": 2}}, "random", None, "cannot search “a”"),
        ({"a": {"low": 0, "high": 2, "log": True}}, "random", None, "cannot search “a”"),
        ({"a": {"low": 0, "high": math.nan}}, "random", None, "cannot search “a”"),
        ({"a": [1, 2], "b": [1, 2]}, "grid", 3, "has 4 trials, more than --trials 3"),
        ({"a": [1, 2]}, "random", 0, "at least 1"),
        ({"a": [1, 2]}, "best", 1, "no search “best”"),
    ],
)
def test_ranges_that_are_none_are_told(space, how, count, words):
    with pytest.raises(InputError, match=words):
        draw_trials(Recipe("mlp", search=space), how, count)


# -- running -------------------------------------------------------------------------------------------


def test_a_search_leaves_trials_and_one_table_that_names_the_best(tmp_path, pixels):
    folder = tmp_path / "search"
    asked = options(pixels, folder, only("learning_rate", [0.00001, 0.02]))
    result = search(asked, SearchOptions("grid"), Monitor())
    report = json.loads((folder / "search.json").read_text())
    assert report == result["report"]
    assert [row["parameters"]["learning_rate"] for row in report["trials"]] == [0.00001, 0.02]
    assert report["best"]["parameters"]["learning_rate"] == 0.02
    assert result["files"]["model"] == str(folder / "trial-001" / "model.onnx")
    for row, line in zip(report["trials"], rows(folder), strict=True):
        place = folder / row["folder"]
        recipe = json.loads((place / "recipe.json").read_text())
        assert recipe["learning_rate"] == row["parameters"]["learning_rate"]
        training = json.loads((place / "training.json").read_text())
        best = training["history"][training["best_epoch"]]
        assert row["validation"] == best["validation"][report["monitor"]] == float(line[report["monitor"]])
        assert float(line["seconds"]) == row["seconds"] > 0
    assert not list(folder.glob("*.part"))


def test_a_search_that_was_stopped_goes_on(tmp_path, pixels):
    values = only("learning_rate", [0.001, 0.01, 0.02])

    class StopsInTheSecondTrial(Monitor):
        """Once the second trial has a checkpoint."""

        @property
        def cancelled(self):
            return (tmp_path / "search" / "trial-001" / "checkpoint.pt").exists()

    asked = options(pixels, tmp_path / "search", values)
    with pytest.raises(Cancelled):
        search(asked, SearchOptions("grid"), StopsInTheSecondTrial())
    assert not (tmp_path / "search" / "search.csv").exists()
    assert not (tmp_path / "search" / "trial-001" / "model.onnx").exists()
    first = (tmp_path / "search" / "trial-000" / "model.onnx").stat()

    ran = []

    def run(trial, monitor):
        ran.append(Path(trial.output).name)
        return train(trial, monitor)

    again = search(asked, SearchOptions("grid"), Monitor(), run)
    assert ran == ["trial-001", "trial-002"]
    assert (tmp_path / "search" / "trial-000" / "model.onnx").stat() == first
    whole = search(options(pixels, tmp_path / "whole", values), SearchOptions("grid"), Monitor())
    figures = [[row["validation"] for row in result["report"]["trials"]] for result in (again, whole)]
    assert figures[0] == figures[1]
    ran.clear()
    search(asked, SearchOptions("grid"), Monitor(), run)
    assert ran == []


def test_what_a_killed_process_left_is_begun_anew(tmp_path, pixels):
    folder = tmp_path / "search"
    asked = options(pixels, folder, only("network_options.C", [1.0, 10.0]), network="svm")
    whole = search(asked, SearchOptions("grid"), Monitor())
    # As if it had been killed within a line of the second trial's events.
    events = folder / "trial-001" / "events.jsonl"
    lines = events.read_text().splitlines()
    events.write_text("\n".join([*lines[:-1], lines[-1][:25]]))
    (folder / "trial-001" / "model.onnx").unlink()
    again = search(asked, SearchOptions("grid"), Monitor())
    assert (folder / "trial-001" / "model.onnx").exists()
    assert [row["validation"] for row in again["report"]["trials"]] == [
        row["validation"] for row in whole["report"]["trials"]
    ]


def test_a_trial_that_fails_is_in_the_table_and_stops_no_other(tmp_path, pixels):
    folder, heard = tmp_path / "search", []
    asked = options(
        pixels, folder, only("learning_rate", [1e30, 0.01]), "optimizer=sgd", "schedule=constant", "warm_up=0"
    )
    result = search(asked, SearchOptions("grid"), Monitor(heard.append))
    failed, fine = result["report"]["trials"]
    assert failed["state"] == "failed"
    assert "not a number any more" in failed["reason"]
    assert failed["validation"] is None
    assert fine["state"] == "finished"
    assert result["report"]["best"]["trial"] == 1
    assert "not a number any more" in rows(folder)[0]["reason"]
    assert rows(folder)[0][result["report"]["monitor"]] == ""
    assert any(event.get("level") == "warning" and "failed" in event["message"] for event in heard)
    # It would fail again: it is not tried again, but told.
    ran = []
    search(asked, SearchOptions("grid"), Monitor(), lambda trial, monitor: ran.append(trial))
    assert ran == []
    with pytest.raises(InputError, match="failed before"):
        search(asked, SearchOptions("grid", trial=0), Monitor())


def test_a_trial_that_needs_too_much_memory_stops_no_other(tmp_path, pixels):
    def run(trial, monitor):
        if trial.output.endswith("000"):
            raise RuntimeError("CUDA out of memory")
        return train(trial, monitor)

    asked = options(pixels, tmp_path / "search", only("network_options.C", [1.0, 10.0]), network="svm")
    result = search(asked, SearchOptions("grid"), Monitor(), run)
    assert [row["state"] for row in result["report"]["trials"]] == ["failed", "finished"]
    assert "memory" in result["report"]["trials"][0]["reason"]


def test_trials_may_run_one_by_one_and_the_table_is_made_at_the_end(tmp_path, pixels, capsys):
    arguments = [
        "train", str(pixels), "--network", "svm", "--search", "random", "--trials", "3", "--progress", "none",
        "--output",
    ]  # fmt: skip
    pieces, whole = tmp_path / "pieces", tmp_path / "whole"
    for number in (2, 0):
        assert main([*arguments, str(pieces), "--trial", str(number)]) == 0
    assert not (pieces / "search.csv").exists()
    assert main([*arguments, str(pieces), "--search-table"]) == 0
    assert [row["state"] for row in rows(pieces)] == ["finished", "open", "finished"]
    assert main([*arguments, str(pieces), "--trial", "1", "--search-table"]) == 0
    assert main([*arguments, str(whole)]) == 0
    tables = [[{**row, "seconds": ""} for row in rows(folder)] for folder in (pieces, whole)]
    assert tables[0] == tables[1]
    assert "trial-002" in capsys.readouterr().out
    assert main([*arguments, str(pieces), "--trial", "3"]) == 2
    assert "no trial 3: this search has 3" in capsys.readouterr().err


def test_another_search_in_the_same_folder_is_refused(tmp_path, pixels):
    folder = tmp_path / "search"
    search(options(pixels, folder, only("network_options.C", [1.0]), network="svm"), SearchOptions("grid"), Monitor())
    other = options(pixels, folder, only("network_options.C", [2.0]), network="svm")
    with pytest.raises(OutputError, match="another search"):
        search(other, SearchOptions("grid"), Monitor())
    changed = spectra(tmp_path / "changed", count=200, seed=5)
    other = options(changed, folder, only("network_options.C", [1.0]), network="svm")
    with pytest.raises(OutputError, match="another search"):
        search(other, SearchOptions("grid"), Monitor())


def test_a_key_that_no_recipe_has_is_told_before_anything_runs(tmp_path, pixels):
    with pytest.raises(InputError, match="no entry “depth”"):
        search(options(pixels, tmp_path / "run", only("depth", [1])), SearchOptions("grid"), Monitor())
    assert not (tmp_path / "run").exists()


def test_options_of_a_search_without_one_are_told(pixels, capsys):
    assert main(["train", str(pixels), "--network", "svm", "--trials", "3"]) == 2
    assert "--search" in capsys.readouterr().err


def test_progress_is_that_of_the_whole_search(tmp_path, pixels):
    heard = []
    asked = options(pixels, tmp_path / "run", only("network_options.C", [1.0, 2.0]), network="svm")
    search(asked, SearchOptions("grid"), Monitor(heard.append))
    fractions = [event["fraction"] for event in heard if event["event"] == "progress"]
    assert fractions == sorted(fractions)
    assert all(event["stage"].startswith("Trial ") for event in heard if event["event"] == "progress")


def test_a_search_over_the_number_of_stages_can_be_gone_on_with(tmp_path, pixels):
    # A forest of 2 trees grows in 2 stages, whatever the recipe's epochs say.
    asked = options(pixels, tmp_path / "search", only("network_options.trees", [2, 5]), network="random-forest")
    first = search(asked, SearchOptions("grid"), Monitor())
    again = search(asked, SearchOptions("grid"), Monitor())
    assert again["report"] == first["report"]
