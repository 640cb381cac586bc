"""Recipes: every entry has a meaning, and what has none is told."""

from __future__ import annotations

import json

import pytest

from thematica.errors import InputError
from thematica.trainer.recipe import Recipe, read_recipe, recipe_from, recipe_names


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"network": "mlp", "optimizer_options": {"momentum": 0.9}, "batch": 64}))
    return path


def test_what_is_left_out_has_its_default(file):
    recipe = read_recipe(file)
    assert (recipe.network, recipe.batch, recipe.epochs) == ("mlp", 64, Recipe("mlp").epochs)
    assert recipe_from(recipe.to_dict()) == recipe


def test_entries_can_be_changed_one_by_one(file):
    changes = ["epochs=3", "optimizer_options.momentum=0.5", "augment.flips=1", "patience=null", "loss=focal"]
    recipe = read_recipe(file, changes)
    assert (recipe.epochs, recipe.optimizer_options, recipe.augment) == (3, {"momentum": 0.5}, {"flips": 1})
    assert (recipe.patience, recipe.loss) == (None, "focal")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("epochs", "--set KEY=VALUE"),
        ("=3", "--set KEY=VALUE"),
        ("a..b=3", "--set KEY=VALUE"),
        ("epochs.more=3", "no entry|cannot be"),
        ("batch.more=3", "“batch” holds a value"),
        ("epoch=3", "no entry “epoch”"),
        ("epochs=0", "at least 1"),
        ("epochs=many", "cannot be"),
        ("epochs=true", "cannot be"),
        ("epochs=1.5", "cannot be"),
        ("batch=-1", "at least 1"),
        ("learning_rate=0", "above 0"),
        ("learning_rate=NaN", "above 0"),
        ("weight_decay=-1", "from 0"),
        ("warm_up=1", "less than 1"),
        ("average=2", "less than 1"),
        ("clip=0", "above 0"),
        ("patience=0", "at least 1"),
        ("precision=fp8", "fp32, bf16 or fp16"),
        ("schedule=linear", "cannot be “linear”"),
        ("augment.flips=yes", "cannot be"),
        ("network=", "names no network"),
    ],
)
def test_what_cannot_be_is_told(file, change, words):
    with pytest.raises(InputError, match=words):
        read_recipe(file, [change])


@pytest.mark.parametrize(("content", "words"), [("{", "not JSON"), ("[]", "no JSON object"), ("\ud800", "not JSON")])
def test_a_file_that_is_no_recipe_is_told(tmp_path, content, words):
    path = tmp_path / "recipe.json"
    path.write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(InputError, match=words):
        read_recipe(path)


def test_an_unknown_name_lists_those_there_are(tmp_path):
    with pytest.raises(InputError, match="There is no recipe"):
        read_recipe("no such recipe")


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_that_ships_can_be_read_and_names_its_source(name):
    recipe = read_recipe(name)
    assert recipe.title
    assert recipe.source
