"""The plan of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from thematica.engine.network import load_network
from thematica.engine.tiling import Plan, Rectangle, make_plan
from thematica.models.reading import read_model_card

from .networks import Net, make_card, save


def plan_of(path: Path, batch: int | str, threads: int = 4) -> Plan:
    net = Net(3, shape=[batch, 3, "h", "w"])
    x = net.relu(net.conv(net.relu(net.conv(net.input, 32)), 32))
    save(path, net.model(net.conv(x, 3)), make_card(3, 3))
    network = load_network(path, read_model_card(path))
    return make_plan(network, Rectangle(0, 0, 9000, 9000), (512, 512), 9000, threads=threads)


@pytest.mark.parametrize(("batch", "workers"), [("n", 4), (16, 1)])
def test_a_batch_that_the_network_fixes_counts_in_memory(tmp_path: Path, batch: int | str, workers: int) -> None:
    """Sixteen tiles at once in each of four workers would not fit."""
    assert plan_of(tmp_path / "m.onnx", batch).workers == workers
