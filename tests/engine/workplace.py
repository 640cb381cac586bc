"""A scene, networks and the command line, for the tests of what a user types."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from thematica.cli.main import main

from .networks import Net, image, light, make_card, noise, save, z_scores


@dataclass
class Outcome:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def events(self) -> list[dict]:
        """stdout as JSON lines, and nothing else."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def sentence(self) -> str:
        """What the user is told at the end."""
        lines = [line for line in self.err.splitlines() if line.startswith("thematica: ")]
        assert len(lines) == 1, self.err
        return lines[0].removeprefix("thematica: ")


def run_here(*arguments: object) -> Outcome:
    """The command in this process: quick, and everything but exit and signals is the same."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = main([str(argument) for argument in arguments])
            except SystemExit as stop:  # how argparse ends
                status = int(stop.code or 0)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return Outcome(status, out.getvalue(), err.getvalue())


def run_there(*arguments: object, **options) -> Outcome:
    """The command in a process of its own."""
    program = Path(sys.executable).with_name("thematica")
    done = subprocess.run(
        [str(program), *map(str, arguments)],
        capture_output=True, text=True, encoding="utf-8", timeout=60, stdin=subprocess.DEVNULL, **options,
    )  # fmt: skip
    return Outcome(done.returncode, done.stdout, done.stderr)


@dataclass
class Workplace:
    """A folder with a scene (3 bands, uint8, 40 × 50 pixels) and a network that fits it."""

    folder: Path
    scene: Path = field(init=False)
    model: Path = field(init=False)
    output: Path = field(init=False)

    def __post_init__(self) -> None:
        self.scene = image(self.folder / "scene.tif", noise((3, 40, 50)))
        self.model = light(self.folder / "net.onnx")
        self.output = self.folder / "map.tif"

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def command(self, *more: object, raster: object = None, model: object = None, output: object = None) -> list[str]:
        """``classify-pixels`` with what is not given here as usual."""
        return [
            "classify-pixels",
            *([str(self.scene)] if raster is None else [str(raster)] if raster else []),
            "--model", str(model or self.model), "--output", str(output or self.output), *map(str, more),
        ]  # fmt: skip

    def run(self, *more: object, **given: object) -> Outcome:
        return run_here(*self.command(*more, **given))

    def files(self, folder: Path | None = None) -> dict[str, str]:
        """Every file with the hash of its content, hidden ones too."""
        folder = folder or self.folder
        return {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
            for path in sorted(folder.rglob("*"))
        }


@contextlib.contextmanager
def slow_run(
    workplace: Workplace, *more: object, stage: str = "Classifying", layers: int = 4, **options
) -> Iterator[subprocess.Popen]:
    """A run in a process of its own that takes long; yields it in the stage, and waits until it has ended."""
    folder = workplace.folder.parent / f"{workplace.folder.name}-slow"
    folder.mkdir()
    net = Net(3)
    x = net.input
    for _ in range(layers):
        x = net.relu(net.conv(x, 16, 5))
    model = save(
        folder / "slow.onnx",
        net.model(net.conv(x, 3)),
        make_card(3, 3, normalisation_steps=z_scores([128] * 3, [64] * 3)),
    )
    scene = image(folder / "slow.tif", noise((3, 3000, 3000)))
    command = workplace.command("--progress", "json", "--tile", 64, *more, raster=scene, model=model)
    program = Path(sys.executable).with_name("thematica")
    given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    process = subprocess.Popen([str(program), *command], text=True, encoding="utf-8", **given)
    try:
        for line in process.stdout:
            if json.loads(line).get("stage") == stage:
                break
        else:
            raise AssertionError(process.stderr.read())
        yield process
    finally:
        process.kill()
        process.wait(10)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """``small_disk("size=200k")``: a file system of its own; skips where mounting is not allowed."""
    mounted: list[Path] = []

    def mount(options: str) -> Path:
        place = tmp_path / f"disk{len(mounted)}"
        place.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", "-l", str(place)], check=True)
