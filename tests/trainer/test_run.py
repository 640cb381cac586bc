"""What a run of the trainer asks for before it begins."""

from __future__ import annotations

import pytest

from thematica.errors import InputError
from thematica.trainer import run


@pytest.mark.parametrize(
    ("network", "there", "told"),
    [
        ("mlp", set(), "needs PyTorch, which"),
        ("random-forest", {"torch"}, "needs skl2onnx, which"),
        ("random-forest", set(), "needs PyTorch and skl2onnx, which"),
    ],
)
def test_a_python_that_cannot_train_is_refused_with_what_to_do(monkeypatch, network, there, told) -> None:
    monkeypatch.setattr(run, "find_spec", lambda name: object() if name in there else None)
    with pytest.raises(InputError, match="Runtime…, tick “With PyTorch”") as caught:
        run.require_packages(network)
    assert told in caught.value.message


def test_a_network_needs_no_skl2onnx(monkeypatch) -> None:
    monkeypatch.setattr(run, "find_spec", lambda name: object() if name == "torch" else None)
    run.require_packages("mlp")
