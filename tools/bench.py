"""``make bench``: speed and memory of everything that takes long, in sections that can be measured one by one.

    python tools/bench.py --only live,dataset

- *networks*, *memory*: here;
- *dataset*: training sets, ``bench_dataset.py``;
- *train*: the trainer, ``bench_train.py``;
- *live*: the live worker through its pipes, ``bench_live.py``;
- *live-qgis*: from an edit in QGIS to the picture on its canvas, ``bench_live_qgis.py``; left out without QGIS.

How close the engine comes to what its two unavoidable parts cost alone.  For each network:

- *session*: bare ``session.run`` of the network as given on haloed tiles that lie in memory, with the
  engine's tile, batch, workers and threads;
- *io*: reading the input once and making the same COG, with plain rasterio;
- ``floor = max(session, io, (session_cpu + io_cpu) / cores)`` and ``ratio = floor / wall``.

*wall* is the engine's own time for the job, in a process of its own; the start of that process is given
beside it.  Peak memory is that process's, as the kernel counts it.  Results: build/bench.json, and the
tables in docs/benchmarks.md between the markers of their section.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnxruntime
import rasterio
from bench_dataset import measure_dataset, table_dataset
from bench_live import measure_live, table_live
from bench_live_qgis import measure_live_qgis, table_live_qgis
from bench_networks import BANDS, CLASSES, DATA_TYPES, SIDES, TASKS, write_network
from bench_train import measure_train, table_train
from rasterio.transform import from_origin
from rasterio.windows import Window

from thematica.engine.cog import _WORKING_OPTIONS, write_cog
from thematica.engine.network import load_network
from thematica.engine.providers import provider_order
from thematica.engine.raster import gdal_environment
from thematica.engine.tiling import Plan, Rectangle, make_plan
from thematica.models.card import ModelCard
from thematica.models.describe import describe
from thematica.models.reading import read_model_card

FOLDER = Path("build/bench")
SIZES = {"light": 8192, "spectral": 8192, "unet": 3072, "unet-smooth": 3072, "window": 1024, "patches": 8192}
# Runs its arguments; prints wall seconds, processor seconds and peak memory in KiB.
_SMALL_PARENT = """
import resource, subprocess, sys, time
begun = time.perf_counter()
status = subprocess.call(sys.argv[1:])
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(time.perf_counter() - begun, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
sys.exit(status)
"""
SECTIONS = ("networks", "memory", "dataset", "train", "live", "live-qgis")
RESULTS, PAGE = Path("build/bench.json"), Path("docs/benchmarks.md")
MEMORY_SIDES = (10000, 40000)
# What else the machine did: figures of a busy one are those of another machine.
_LOAD = os.getloadavg()[0]
# A network, the size of a raster, or a case of another section, with its figures.
Figures = dict[str, dict[str, float]]


def make_raster(path: Path, size: int, bands: int, data_type: str) -> None:
    """A deflate-compressed GeoTIFF of smooth patches and noise, about as compressible as a scene."""
    if path.exists():
        return
    random = np.random.default_rng(3)
    top = 255 if data_type == "uint8" else 4000
    coarse = random.random((bands, size // 64 + 2, size // 64 + 2), np.float32)
    profile = {
        "driver": "GTiff", "width": size, "height": size, "count": bands, "dtype": data_type, "tiled": True,
        "blockxsize": 256, "blockysize": 256, "compress": "deflate", "interleave": "pixel", "num_threads": "all_cpus",
        "crs": "EPSG:32632", "transform": from_origin(500000, 5500000, 10, 10), "BIGTIFF": "IF_SAFER",
    }  # fmt: skip
    partial = path.with_suffix(".part.tif")
    with rasterio.open(partial, "w", **profile) as target:
        for row in range(0, size, 256):
            rows = (np.arange(row, row + 256) / 64)[:, None]
            columns = (np.arange(size) / 64)[None, :]
            y, x = rows.astype(int), columns.astype(int)
            dy, dx = (rows - y).astype(np.float32), (columns - x).astype(np.float32)
            smooth = (
                coarse[:, y, x] * (1 - dy) * (1 - dx)
                + coarse[:, y + 1, x] * dy * (1 - dx)
                + coarse[:, y, x + 1] * (1 - dy) * dx
                + coarse[:, y + 1, x + 1] * dy * dx
            )
            noise = random.standard_normal((1, 256, size), np.float32) * 0.01
            values = np.clip((smooth + noise) * top, 1, top).astype(data_type)
            target.write(values, window=Window(0, row, size, 256))
    partial.rename(path)


class Stopwatch:
    """Wall and processor seconds of a block of code."""

    def __enter__(self) -> Stopwatch:
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall, self.cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu


def input_shape(name: str, plan: Plan) -> tuple[int, ...]:
    """Shape of one run's input."""
    bands = BANDS[name]
    if name == "spectral":
        return plan.core[0] * plan.core[1], bands
    if name in SIDES:
        return plan.batch, bands, SIDES[name], SIDES[name]
    height, width = (side + 2 * plan.halo for side in plan.core)
    return plan.batch, bands, height, width


def number_of_runs(name: str, plan: Plan) -> int:
    """Runs that the whole raster takes where nothing is run twice."""
    pixels = plan.region.height * plan.region.width
    if name in SIDES:
        return math.ceil(pixels / (SIDES[name] ** 2 if TASKS[name] == "patch" else 1) / plan.batch)
    rows, columns = (
        math.ceil(side / core) for side, core in zip((plan.region.height, plan.region.width), plan.core, strict=True)
    )
    return math.ceil(rows * columns / plan.batch)


def measure_session(model: Path, plan: Plan, shape: tuple[int, ...], count: int, provider: str) -> Stopwatch:
    """Run the network as given ``count`` times on inputs in memory."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = plan.threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = [entry.name for entry in provider_order(provider).providers]
    session = onnxruntime.InferenceSession(str(model), options, providers=[*providers, "CPUExecutionProvider"][:1])
    name = session.get_inputs()[0].name
    random = np.random.default_rng(5)
    # A few dozen different tiles: as many as fit in memory without counting as a cache.
    tiles = [random.random(shape, np.float32) for _ in range(max(2, min(32, 2**28 // (4 * int(np.prod(shape))))))]
    session.run(None, {name: tiles[0]})
    counter = iter(range(count))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                index = next(counter, None)
            if index is None:
                return
            session.run(None, {name: tiles[index % len(tiles)]})

    workers = [threading.Thread(target=work) for _ in range(plan.workers)]
    with Stopwatch() as watch:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    return watch


def measure_reading(raster: Path, plan: Plan, threads: int) -> Stopwatch:
    """Read the input once: patches leave nothing worth writing."""
    with gdal_environment(threads, 256 << 20), Stopwatch() as watch, rasterio.open(raster) as source:
        for chunk in plan.chunks():
            source.read(window=Window(chunk.column, chunk.row, chunk.width, chunk.height))
    return watch


def measure_io(raster: Path, classes: Path, plan: Plan, threads: int) -> Stopwatch:
    """Read the input once, and make the engine's own result again from its codes in memory."""
    with rasterio.open(classes) as source:
        codes = source.read(1)
        profile = {"crs": source.crs, "transform": source.transform, "nodata": source.nodata}
        colors = source.colormap(1)
    working, finished = FOLDER / "io-working.tif", FOLDER / "io-cog.tif"
    with gdal_environment(threads, 256 << 20), Stopwatch() as watch:
        with rasterio.open(raster) as source:
            for chunk in plan.chunks():
                source.read(window=Window(chunk.column, chunk.row, chunk.width, chunk.height))
        height, width = codes.shape
        with rasterio.open(
            working, "w", **_WORKING_OPTIONS, width=width, height=height, count=1, dtype=codes.dtype, **profile
        ) as target:
            target.write_colormap(1, colors)
            for chunk in plan.chunks():
                part = codes[chunk.row : chunk.row + chunk.height, chunk.column : chunk.column + chunk.width]
                target.write(part, 1, window=Window(chunk.column, chunk.row, chunk.width, chunk.height))
        write_cog(working, finished, threads, classes=True)
    working.unlink()
    finished.unlink()
    return watch


def measure_engine(raster: Path, model: Path, output: Path, more: Sequence[str] = ()) -> dict[str, float]:
    """Run the command line in a process of its own."""
    what = "classify-patches" if output.suffix == ".gpkg" else "classify-pixels"
    command = [sys.executable, "-m", "thematica", what, str(raster), "--model", str(model)]
    command += ["--output", str(output), "--overwrite", "--progress", "none", *more]
    # A child's peak begins at its parent's, so the parent must be small: a Python of its own.
    run = subprocess.run([sys.executable, "-c", _SMALL_PARENT, *command], stdout=subprocess.PIPE, text=True)
    if run.returncode:
        raise SystemExit(f"the engine failed on {raster.name}")
    elapsed, cpu, kibibytes = (float(number) for number in run.stdout.split()[-3:])
    report = json.loads(output.with_suffix(".report.json").read_text())
    return {"wall_s": report["seconds"], "process_s": elapsed, "cpu_s": cpu, "peak_rss_mib": kibibytes / 1024}


def card_of(name: str, model: Path) -> ModelCard:
    """The network's card; where its shapes do not say what it does, one beside it says it."""
    card = read_model_card(model)
    if name in TASKS:
        card = describe(card, task=TASKS[name], tile=SIDES[name])
        model.with_suffix(".json").write_text(card.to_json(), encoding="utf-8")
        card = read_model_card(model)
    return card


class GpuWatch:
    """Share of the time that the GPU is busy, as nvidia-smi samples it ten times a second; nan without it."""

    def __enter__(self) -> GpuWatch:
        command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "100"]
        self._process = None
        if shutil.which(command[0]):
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.busy = math.nan
        if self._process is not None:
            self._process.terminate()
            samples = [float(line) for line in self._process.communicate()[0].split() if line.isdigit()]
            self.busy = sum(samples) / len(samples) / 100 if samples else math.nan


def measure(name: str, repeats: int, provider: str, precision: str) -> dict[str, float]:
    """All figures of one network; the best of several runs, since other programs can only slow one down."""
    base = name.removesuffix("-smooth")
    size, bands = SIZES[name], BANDS[name]
    patches = TASKS.get(name) == "patch"
    raster, model = FOLDER / f"{base}.tif", FOLDER / f"{base}.onnx"
    output = FOLDER / f"{name}-map{'.gpkg' if patches else '.tif'}"
    make_raster(raster, size, bands, DATA_TYPES[name])
    gflop = write_network(base, model)
    network = load_network(model, card_of(name, model), patches=patches)
    cores = len(os.sched_getaffinity(0))
    mode = "smooth" if name.endswith("-smooth") else "exact"
    region = Rectangle(0, 0, size, size)
    batch = 64 if patches else None
    plan = make_plan(network, region, (256, 256), size, batch=batch, threads=cores, mode=mode)
    modes = ["--mode", mode] if mode == "smooth" else []
    more = ["--provider", provider, "--precision", precision, *modes]
    with GpuWatch() as gpu:
        runs = [measure_engine(raster, model, output, more) for _ in range(repeats)]
    best = min(runs, key=lambda run: run["wall_s"])
    shape, count = input_shape(name, plan), number_of_runs(name, plan)
    session = min(
        (measure_session(model, plan, shape, count, provider) for _ in range(repeats)), key=lambda run: run.wall
    )

    def measured_io() -> Stopwatch:
        return measure_reading(raster, plan, cores) if patches else measure_io(raster, output, plan, cores)

    io = min((measured_io() for _ in range(repeats)), key=lambda run: run.wall)
    floor = max(session.wall, io.wall, (session.cpu + io.cpu) / cores)
    return {
        "ratio": floor / best["wall_s"],
        "mpx_per_s": size * size / 1e6 / best["wall_s"],
        "wall_s": best["wall_s"],
        "process_s": best["process_s"],
        "floor_s": floor,
        "session_s": session.wall,
        "session_cpu_s": session.cpu,
        "io_s": io.wall,
        "io_cpu_s": io.cpu,
        "cpu_s": best["cpu_s"],
        "peak_rss_mib": max(run["peak_rss_mib"] for run in runs),
        "size": size,
        "gflop_per_mpx": gflop,
        "tile": plan.core[0],
        "halo": plan.halo,
        "workers": plan.workers,
        "threads": plan.threads,
        **({} if math.isnan(gpu.busy) else {"gpu_busy": gpu.busy}),
    }


def measure_memory(side: int) -> dict[str, float]:
    """Peak memory and speed on a raster of ``side``² pixels: a VRT that repeats the light raster's corner."""
    small, vrt = FOLDER / "light.tif", FOLDER / f"light-{side}.vrt"
    make_raster(small, SIZES["light"], BANDS["light"], DATA_TYPES["light"])
    write_network("light", FOLDER / "light.onnx")
    step = 2048
    bands = []
    for band in range(1, BANDS["light"] + 1):
        sources = "".join(
            f'<SimpleSource><SourceFilename relativeToVRT="1">{small.name}</SourceFilename>'
            f"<SourceBand>{band}</SourceBand>"
            f'<SrcRect xOff="0" yOff="0" xSize="{step}" ySize="{step}"/>'
            f'<DstRect xOff="{column}" yOff="{row}" xSize="{step}" ySize="{step}"/></SimpleSource>'
            for row in range(0, side, step)
            for column in range(0, side, step)
        )
        bands.append(f'<VRTRasterBand dataType="Byte" band="{band}">{sources}</VRTRasterBand>')
    vrt.write_text(
        f'<VRTDataset rasterXSize="{side}" rasterYSize="{side}"><SRS>EPSG:32632</SRS>'
        f"<GeoTransform>300000, 1, 0, 5500000, 0, -1</GeoTransform>{''.join(bands)}</VRTDataset>"
    )
    return measure_engine(vrt, FOLDER / "light.onnx", FOLDER / f"light-{side}-map.tif")


def machine() -> str:
    """The machine and the versions that figures were measured with."""
    facts = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":", 1)[1].strip() for line in facts if line.startswith("model name")), "unknown")
    return (
        f"Machine: {cpu}, {len(os.sched_getaffinity(0))} cores, {platform.system()}. Python "
        f"{platform.python_version()}, onnxruntime {onnxruntime.__version__}, rasterio {rasterio.__version__} "
        f"(GDAL {rasterio.__gdal_version__}), NumPy {np.__version__}. Load of the machine before: {_LOAD:.1f}."
    )


def table_networks(figures: Figures) -> str:
    """The figures as Markdown."""
    lines = [
        "| network | raster | ratio | Mpx/s | wall s | session s (cpu) | io s (cpu) | cpu s | process s | peak MiB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    if any("gpu_busy" in row for row in figures.values()):
        lines[-2:] = [lines[-2] + " GPU busy |", lines[-1] + " --- |"]
    for name, row in figures.items():
        gpu = f" {row['gpu_busy']:.0%} |" if "gpu_busy" in row else ""
        lines.append(
            f"| `{name}` | {row['size']:.0f}² × {BANDS[name]} {DATA_TYPES[name]} | **{row['ratio']:.2f}** | "
            f"{row['mpx_per_s']:.3g} | {row['wall_s']:.2f} | {row['session_s']:.2f} ({row['session_cpu_s']:.2f}) | "
            f"{row['io_s']:.2f} ({row['io_cpu_s']:.2f}) | {row['cpu_s']:.2f} | {row['process_s']:.2f} | "
            f"{row['peak_rss_mib']:.0f} |{gpu}"
        )
    return "\n".join(lines)


def table_memory(figures: Figures) -> str:
    """The figures as Markdown."""
    lines = ["| `light`, size | peak MiB | seconds |", "| --- | --- | --- |"]
    for side, row in figures.items():
        lines.append(f"| {side}² | {row['peak_rss_mib']:.0f} | {row['wall_s']:.1f} |")
    return "\n".join(lines)


TABLES: dict[str, Callable[[Figures], str]] = {
    "networks": table_networks,
    "memory": table_memory,
    "dataset": table_dataset,
    "train": table_train,
    "live": table_live,
    "live-qgis": table_live_qgis,
}


def keep(section: str, figures: Figures, how: str = "") -> None:
    """Write a section's figures into build/bench.json and docs/benchmarks.md; the other sections stay.

    Args:
        section: one of :data:`SECTIONS`.
        figures: that were measured; others of the section stay, too.
        how: what the table should say beside the machine.
    """
    known: dict[str, Figures] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    kept = known[section] = {**known.get(section, {}), **figures}
    RESULTS.write_text(json.dumps(known, indent=2) + "\n")
    text = f"{machine()} {how}".strip() + "\n\n" + TABLES[section](kept)
    print(text, flush=True)
    start, end = f"<!-- bench {section}: start -->", f"<!-- bench {section}: end -->"
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(start)
    after = rest.partition(end)[2]
    PAGE.write_text(f"{before}{start}\n{text}\n{end}{after}", encoding="utf-8")


def rounded(figures: dict[str, float]) -> dict[str, float]:
    """What is worth keeping of the digits."""
    return {key: round(value, 3) for key, value in figures.items()}


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", choices=[*CLASSES, []], help="only these networks")
    parser.add_argument("--only", default="", metavar="SECTION,…", help=f"of {', '.join(SECTIONS)} (default: all)")
    parser.add_argument("--provider", help="what the engine and the bare session run on (default: cpu)", default="cpu")
    parser.add_argument("--precision", help="fp32 or fp16, of the engine (the bare session is fp32)", default="fp32")
    parser.add_argument("--device", help="cpu, or cuda: of the section train, the device alone", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", nargs="*", type=int, default=None, metavar="SIDE", help="sides of rasters")
    options = parser.parse_args()
    wanted = [name.strip() for name in options.only.split(",") if name.strip()]
    if not wanted:
        wanted = ["networks", *(["memory"] if options.memory else [])] if options.networks else list(SECTIONS)
    unknown = sorted(set(wanted) - set(SECTIONS))
    if unknown:
        parser.error(f"there is no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    if "networks" in wanted:
        measured = {}
        for name in options.networks or CLASSES:
            measured[name] = rounded(measure(name, options.repeats, options.provider, options.precision))
            print(name, measured[name], flush=True)
        keep("networks", measured, f"The network on {options.provider}, {options.precision}.")
    if "memory" in wanted:
        sides = MEMORY_SIDES if options.memory is None else options.memory
        keep("memory", {str(side): rounded(measure_memory(side)) for side in sides})
    if "dataset" in wanted:
        keep("dataset", {name: rounded(row) for name, row in measure_dataset().items()})
    if "train" in wanted:
        measured = measure_train(options.device)
        keep("train", {name: rounded(row) for name, row in measured.items()}, f"PyTorch {version('torch')}.")
    if "live" in wanted:
        keep("live", {name: rounded(row) for name, row in measure_live(2 * options.repeats + 1).items()})
    if "live-qgis" in wanted:
        found = measure_live_qgis(2 * options.repeats + 1)
        if found is None:
            print("There is no QGIS here; the section live-qgis stays as it is.")
        else:
            keep("live-qgis", found)


if __name__ == "__main__":
    # The figures of a benchmark that swaps or waits for its own limits say nothing.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
