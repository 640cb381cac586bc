"""PyTorch's files by their archive alone: no PyTorch is needed to tell what one is."""

from __future__ import annotations

import contextlib
import hashlib
import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thematica.errors import ModelError
from thematica.models.card import METADATA_KEY
from thematica.models.torch_file import TORCH_SUFFIXES, is_torch_file, read_torch_facts

SCRIPTED = {
    "net/data.pkl": b"\x80\x02.",
    "net/constants.pkl": b"\x80\x02.",
    "net/code/__torch__/net.py": b"",
    "net/version": b"3",
}
EXPORTED = {"net/archive_format": b"pt2", "net/models/model.json": b"{}", "net/data/weights/weight_0": b""}
PICKLED = {"net/data.pkl": b"\x80\x02.", "net/data/0": b"", "net/version": b"3"}


def packed(entries: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return content.getvalue()


@pytest.mark.parametrize(("entries", "kind"), [(SCRIPTED, "torchscript"), (EXPORTED, "exported")])
def test_networks_are_told_apart_and_hashed(tmp_path: Path, entries, kind):
    path = tmp_path / "net.pt"
    path.write_bytes(packed(entries))
    facts = read_torch_facts(path)
    assert (facts.kind, facts.metadata) == (kind, {})
    assert facts.weights_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_card_inside_is_found(tmp_path: Path):
    path = tmp_path / "net.pt"
    path.write_bytes(packed({**SCRIPTED, f"net/extra/{METADATA_KEY}": '{"id": "Bäume"}'.encode()}))
    assert read_torch_facts(path).metadata == {METADATA_KEY: '{"id": "Bäume"}'}


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        (PICKLED, "pickled Python objects"),
        ({"net/data/aotinductor/model/x.so": b""}, "compiled for one machine"),
        ({"serialized_exported_program.json": b"{}", "version": b"5.1"}, "older than 2.8"),
        ({"photo.jpg": b""}, "not a PyTorch network"),
        ({}, "not a PyTorch network"),
    ],
)
def test_what_is_no_network_is_refused_with_a_way_out(tmp_path: Path, entries, sentence):
    path = tmp_path / "net.pt"
    path.write_bytes(packed(entries))
    with pytest.raises(ModelError, match=sentence):
        read_torch_facts(path)


def test_missing_files_and_folders_are_told(tmp_path: Path):
    with pytest.raises(ModelError, match="There is no model file"):
        read_torch_facts(tmp_path / "none.pt")
    with pytest.raises(ModelError, match="is a folder"):
        read_torch_facts(tmp_path)


def test_the_name_says_who_runs_it():
    assert all(is_torch_file(f"Net{suffix.upper()}") for suffix in TORCH_SUFFIXES)
    assert not is_torch_file("net.onnx")
    assert not is_torch_file("pt")


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([SCRIPTED, EXPORTED, PICKLED]), st.data())
def test_damaged_archives_are_refused_and_never_crash(tmp_path_factory, entries, data):
    content = bytearray(packed(entries))
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    path = tmp_path_factory.getbasetemp() / "fuzzed.pt"
    path.write_bytes(content)
    # Any other exception fails the test.
    with contextlib.suppress(ModelError):
        assert read_torch_facts(path).kind in ("torchscript", "exported")
