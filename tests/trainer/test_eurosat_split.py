"""The split of EuroSAT: told from a name alone, the same for everyone, even within each class."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thematica.errors import InputError
from thematica.trainer.eurosat_split import TEST, TRAIN, VALIDATION, split_of

CLASSES = ("AnnualCrop", "River", "SeaLake")


@given(st.sampled_from(CLASSES), st.integers(1, 3000), st.integers(0, 9))
def test_a_name_is_in_one_part_wherever_the_file_lies(label, number, seed):
    name = f"{label}_{number}.jpg"
    part = split_of(name, seed)
    assert part in (TRAIN, VALIDATION, TEST)
    assert split_of(f"EuroSAT/{label}/{name}", seed) == part


@given(st.sampled_from(CLASSES), st.integers(0, 299), st.integers(0, 9))
def test_of_every_ten_numbers_seven_train_one_validates_two_test(label, block, seed):
    parts = Counter(split_of(f"{label}_{block * 10 + place}.jpg", seed) for place in range(1, 11))
    assert parts == {TRAIN: 7, VALIDATION: 1, TEST: 2}


def test_the_split_of_the_model_that_ships_never_changes():
    """Were these to change, images that the shipped model was trained on would count as held out."""
    letters = {TRAIN: ".", VALIDATION: "v", TEST: "T"}
    assert (
        "".join(letters[split_of(f"Forest_{number}.jpg")] for number in range(1, 31))
        == "Tv......T.T.Tv........v..TT..."
    )


def test_seeds_and_classes_and_tens_differ():
    def numbers(label: str, seed: int) -> list[int]:
        return [number for number in range(1, 1001) if split_of(f"{label}_{number}.jpg", seed) == TEST]

    assert len({tuple(numbers(label, seed)) for label in CLASSES for seed in range(3)}) == 9
    # The places within the ten are drawn anew each time: none is chosen much more often than another.
    assert all(10 <= count <= 32 for count in Counter(number % 10 for number in numbers("River", 1)).values())


@pytest.mark.parametrize(
    "name", ["", "River.jpg", "River_.jpg", "_3.jpg", "River_0.jpg", "River_x.jpg", "River_-1.jpg"]
)
def test_other_names_are_refused(name):
    with pytest.raises(InputError, match="no image of EuroSAT"):
        split_of(name)


@pytest.mark.real
def test_every_class_of_the_real_archive_is_split_alike(real_data):
    import zipfile

    with zipfile.ZipFile(real_data("eurosat_rgb.zip")) as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")]
    total = Counter(name.split("/")[1] for name in names)
    parts = Counter((name.split("/")[1], split_of(name)) for name in names)
    assert len(total) == 10
    for label, count in total.items():
        assert abs(parts[label, TEST] / count - 0.2) < 0.01
        assert abs(parts[label, VALIDATION] / count - 0.1) < 0.01
