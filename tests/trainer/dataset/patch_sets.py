"""Small data sets of patches in the layouts of EuroSAT and BigEarthNet."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.transform import from_origin

from thematica.trainer.dataset.bigearthnet import BAND_FILES

#: Side of each of BigEarthNet's bands in pixels.
SIDES = {**dict.fromkeys(BAND_FILES, 120), "B01": 20, "B09": 20,
         **dict.fromkeys(("B05", "B06", "B07", "B8A", "B11", "B12"), 60)}  # fmt: skip


def eurosat_image(path: Path, seed: int = 0, bands: int = 3, corner: tuple[float, float] | None = None) -> Path:
    """A JPEG of three bands, or a GeoTIFF of 13."""
    path.parent.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(seed)
    profile = {"count": bands, "width": 64, "height": 64}
    if path.suffix == ".jpg":
        profile |= {"driver": "JPEG", "dtype": "uint8"}
    else:
        profile |= {"driver": "GTiff", "dtype": "uint16"}
        if corner is not None:
            profile |= {"crs": CRS.from_epsg(32633), "transform": from_origin(*corner, 10, 10)}
    with rasterio.open(path, "w", **profile) as file:
        file.write(chance.integers(0, 255, (bands, 64, 64)).astype(profile["dtype"]))
    return path


def eurosat_folder(root: Path, per_class: int = 10, classes: Sequence[str] = ("Forest", "River", "SeaLake")) -> Path:
    for place, label in enumerate(classes):
        for number in range(1, per_class + 1):
            eurosat_image(root / "EuroSAT" / label / f"{label}_{number}.jpg", 100 * place + number)
    return root


def zipped(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder).as_posix())
    return target


def bands_of_patch(folder: Path, corner: tuple[float, float], zone: int = 32629, seed: int = 0) -> Path:
    """The twelve files of a patch, in a folder with the patch's name."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(seed)
    for band, side in SIDES.items():
        with rasterio.open(
            folder / f"{folder.name}_{band}.tif", "w", driver="GTiff", dtype="uint16", count=1, width=side, height=side,
            crs=CRS.from_epsg(zone), transform=from_origin(*corner, 1200 / side, 1200 / side),
        ) as file:  # fmt: skip
            file.write(chance.integers(0, 4000, (1, side, side)).astype("uint16"))
    return folder


def patch_v1(
    root: Path, number: int, labels: Sequence[str], corner: tuple[float, float] | None = None, zone: int = 32629
) -> Path:
    """A patch of BigEarthNet v1; without a corner they lie 24 km apart."""
    corner = corner or (300_000 + 24_000 * number, 5_900_040)
    folder = bands_of_patch(root / f"S2A_MSIL2A_20170617T113321_{number}_7", corner, zone, number)
    metadata = {
        "labels": list(labels),
        "coordinates": {"ulx": corner[0], "uly": corner[1], "lrx": corner[0] + 1200, "lry": corner[1] - 1200},
        "projection": CRS.from_epsg(zone).to_wkt(version="WKT1_GDAL"),
        "tile_source": "S2A_MSIL1C_20170617T113321_N0205_R080_T29UPU_20170617T113319.SAFE",
        "acquisition_date": "2017-06-17 11:33:21",
    }
    (folder / f"{folder.name}_labels_metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    return folder


def set_v2(root: Path, patches: Mapping[int, tuple[Sequence[str], str]]) -> Path:
    """BigEarthNet v2 with patches by number: labels and part."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    tile = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP"
    for number in patches:
        corner = (300_000 + 24_000 * number, 5_300_040)
        bands_of_patch(root / "BigEarthNet-S2" / tile / f"{tile}_{number}_57", corner, 32633, number)
    names = [f"{tile}_{number}_57" for number in patches]
    table = {
        "patch_id": names,
        "labels": [list(labels) for labels, _ in patches.values()],
        "split": [part for _, part in patches.values()],
        "country": ["Austria"] * len(names),
    }
    parquet.write_table(arrow.table(table), root / "metadata.parquet")
    return root
