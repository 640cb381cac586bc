"""Make a two-date, ten-band scene like Sentinel-2's, with the land cover that it was made from.

``python demo/make_scene.py FOLDER [--size 1024] [--seed 7]`` writes ``scene-2023-06-14.tif`` and
``scene-2025-06-28.tif`` (reflectance × 10000, scale declared, nodata 0 in a corner) and for each a
``…-truth.tif`` with the class codes of the bundled models.  A river and a lake, parcels, woods, a
town, mountains with snow, clouds and their shadows; by the second date crops have changed, woods
were felled and halls were built.  Reflectances come from :mod:`thematica.trainer.spectra`.  Only
numpy and rasterio are needed.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin

from thematica.trainer import spectra
from thematica.trainer.simulate import (
    BUILT,
    CLASS_NAMES,
    CLOUD,
    DRY,
    GREEN,
    SHADOW,
    SNOW,
    SOIL,
    WATER,
)

PIXEL = 10.0
BANDS = spectra.SENTINEL2_TEN_BANDS
CENTRES = np.array([(band.wavelength or 0) * 1000 for band in BANDS])
#: Bands that Sentinel-2 takes at 20 m.
COARSE = [index for index, band in enumerate(BANDS) if band.name in ("B5", "B6", "B7", "B8A", "B11", "B12")]
NODATA_TRUTH = 255
CLASS_COLORS = {
    WATER: (43, 111, 196), GREEN: (47, 143, 58), DRY: (220, 198, 90), SOIL: (176, 125, 79), BUILT: (200, 64, 58),
    SNOW: (159, 227, 238), CLOUD: (233, 233, 238), SHADOW: (74, 70, 88),
}  # fmt: skip


@dataclass(frozen=True)
class Date:
    """What differs between the two dates."""

    day: str
    sun_elevation: float
    sun_azimuth: float
    clouds: float
    haze: float
    changed: bool


DATES = (
    Date("2023-06-14", 58.0, 148.0, 0.025, 0.006, changed=False),
    Date("2025-06-28", 61.0, 144.0, 0.045, 0.014, changed=True),
)


def fractal(size: int, roughness: float, rng: np.random.Generator, longest: float = 1.0) -> np.ndarray:
    """Fractal noise of mean 0 and deviation 1: power falls with frequency to ``-roughness``.

    ``longest`` is the longest wave, as a share of the side.
    """
    fy, fx = np.fft.fftfreq(size)[:, None] * size, np.fft.rfftfreq(size)[None, :] * size
    frequency = np.maximum(np.hypot(fy, fx), 1 / longest)
    spectrum = np.fft.rfft2(rng.standard_normal((size, size))) * frequency ** (-roughness / 2)
    spectrum[0, 0] = 0
    noise = np.fft.irfft2(spectrum, (size, size))
    return (noise / noise.std()).astype(np.float32)


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of a (rows, columns) image (the sensor's point-spread function)."""
    # The transform takes the image for a tile that repeats, hence the mirrored margin.
    margin = 8
    padded = np.pad(image, margin, mode="reflect")
    fy, fx = np.fft.fftfreq(padded.shape[0])[:, None], np.fft.rfftfreq(padded.shape[1])[None, :]
    response = np.exp(-2 * (np.pi * sigma) ** 2 * (fy**2 + fx**2))
    smooth = np.fft.irfft2(np.fft.rfft2(padded) * response, padded.shape)
    return smooth[margin:-margin, margin:-margin].astype(np.float32)


def shifted(image: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """The image moved down and right, its edges drawn out."""
    down = np.clip(np.arange(image.shape[0]) - rows, 0, image.shape[0] - 1)
    right = np.clip(np.arange(image.shape[1]) - columns, 0, image.shape[1] - 1)
    return image[down[:, None], right[None, :]]


class Palette:
    """Spectra at the sensor's bands, each with its class; covers name ranges of them."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.spectra: list[np.ndarray] = []
        self.classes: list[int] = []
        self.ranges: dict[str, tuple[int, int]] = {}
        weights = spectra.band_weights(BANDS).T
        named = {name: curve for group in ("soil", "dry", "built") for name, curve in spectra.materials(group)}
        green = spectra.library("green")
        # Crops stand bright and closed; woods are darker, because crowns shade each other.
        lush = green[np.argsort((green @ weights)[:, 6])[len(green) // 2 :]]
        red = (lush @ weights)[:, 2]
        lush = lush[np.argsort(red)[: len(lush) * 2 // 3]]

        def pick(curves: np.ndarray, count: int) -> np.ndarray:
            return curves[rng.integers(0, len(curves), count)]

        def of(*names: str) -> np.ndarray:
            return np.array([named[name] for name in names])

        def shaded(curves: np.ndarray, low: float, high: float) -> np.ndarray:
            shade = rng.uniform(low, high, (len(curves), 1))
            return curves * (1 - shade + shade * 0.15)

        lake = spectra.water_reflectance(rng.uniform(2, 6, 8), rng.uniform(0.6, 1.6, 8), rng.uniform(0.2, 0.5, 8))
        river = spectra.water_reflectance(rng.uniform(2, 8, 8), rng.uniform(12, 25, 8), rng.uniform(0.3, 0.8, 8))
        self._add("lake", WATER, lake + 0.006, weights)
        self._add("river", WATER, river + 0.008, weights)
        self._add("broadleaf", GREEN, shaded(pick(lush, 10), 0.15, 0.4), weights)
        self._add("conifer", GREEN, shaded(pick(lush, 10), 0.5, 0.68), weights)
        self._add("crop", GREEN, pick(lush, 14), weights)
        self._add("meadow", GREEN, shaded(pick(lush, 8), 0.0, 0.12) * 0.85 + 0.15 * named["golden dry grass"], weights)
        self._add("ripe", DRY, of("golden dry grass", "wheat straw", "maize residue", "cured savanna grass"), weights)
        self._add("ploughed", SOIL, pick(spectra.library("soil")[-40:], 10) * 0.6
                  + 0.4 * of("bare soil, Sentinel-2 profile", "dark brown sandy loam")[rng.integers(0, 2, 10)],
                  weights)  # fmt: skip
        scree = 0.4 * of("granite", "limestone", "red sandstone") + 0.6 * named["reddish brown sandy loam (ultisol)"]
        self._add("rock", SOIL, scree, weights)
        self._add("gravel bank", SOIL, of("quartz dune sand", "limestone", "wet beach sand"), weights)
        self._add("slash", DRY, of("weathered wood", "bark", "dead needles"), weights)
        self._add("snow", SNOW, spectra.snow_reflectance(
            rng.uniform(0.4, 1.5, 6), rng.uniform(0.5, 3, 6), np.ones(6)), weights)  # fmt: skip
        self._add("tile roof", BUILT, of("red clay tile", "red cement tile, weathered", "dark red brick"), weights)
        self._add("flat roof", BUILT, of("gravel roof", "bitumen roof", "light grey road concrete"), weights)
        self._add("hall", BUILT, of("white roof membrane", "light grey painted aluminium", "galvanised sheet metal"),
                  weights)  # fmt: skip
        self._add("street", BUILT, of("old road asphalt", "weathered asphalt with light aggregate", "paving stone"),
                  weights)  # fmt: skip
        self._add("garden", GREEN, shaded(pick(lush, 6), 0.1, 0.35), weights)
        self.table = np.array(self.spectra, dtype=np.float32)
        self.class_table = np.array(self.classes, dtype=np.uint8)

    def _add(self, name: str, label: int, curves: np.ndarray, weights: np.ndarray) -> None:
        self.ranges[name] = (len(self.spectra), len(curves))
        self.spectra.extend(np.clip(curves @ weights, 0.001, 1.1))
        self.classes.extend([label] * len(curves))

    def index(self, name: str, pick: np.ndarray) -> np.ndarray:
        """Palette entries of a cover, chosen by numbers from 0 to 1."""
        start, count = self.ranges[name]
        return start + np.minimum((pick * count).astype(np.int32), count - 1)


class Land:
    """The land: heights, and a palette entry per pixel, for either date."""

    def __init__(self, size: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.size = size
        self.palette = Palette(rng)
        self.y, self.x = (axis.astype(np.float32) / size for axis in np.mgrid[0:size, 0:size])
        hills = fractal(size, 3.4, rng, 0.5)
        rise = np.clip((self.x * 0.75 - self.y * 0.9 + 0.12) / 0.62, 0, 1) ** 1.7
        #: Metres.
        self.height = 350 + 18 * hills + 2300 * rise * (0.75 + 0.18 * hills)
        self.patch = fractal(size, 2.6, rng, 0.2)
        self.fine = fractal(size, 1.6, rng, 0.05)
        self.grain = rng.random((size, size), dtype=np.float32)
        self.shuffle = rng.random((2, 8192)).astype(np.float32)
        self.rng = rng
        self.entry = {changed: self._cover(changed) for changed in (False, True)}

    def _hash(self, *numbers: np.ndarray, row: int = 0) -> np.ndarray:
        """A random number from 0 to 1 for each combination of whole numbers."""
        total = np.zeros(self.x.shape, dtype=np.int64)
        for number, prime in zip(numbers, (7919, 104729, 1299709), strict=False):
            total += number.astype(np.int64) * prime
        return self.shuffle[row, total % self.shuffle.shape[1]]

    def _parcels(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Blocks of strips: number of the parcel as a random value (for either date), and its border."""
        rng = np.random.default_rng(11)
        # The blocks follow the nearest of scattered points, bent a little so that no border is ruled.
        points = rng.random((46, 2)).astype(np.float32)
        bx, by = self.x + 0.012 * self.patch, self.y + 0.012 * np.roll(self.patch, 97, 0)
        nearest = np.full(self.x.shape, 9.0, dtype=np.float32)
        block = np.zeros(self.x.shape, dtype=np.int32)
        for number, (py, px) in enumerate(points):
            distance = (bx - px) ** 2 + (by - py) ** 2
            closer = distance < nearest
            nearest[closer], block[closer] = distance[closer], number
        angle, width, length = rng.uniform(0, np.pi, 46), rng.uniform(7, 19, 46), rng.uniform(24, 60, 46)
        metres = self.size
        u = (self.x * np.cos(angle)[block] + self.y * np.sin(angle)[block]) * metres / width[block]
        v = (self.y * np.cos(angle)[block] - self.x * np.sin(angle)[block]) * metres / length[block]
        iu, iv = np.floor(u), np.floor(v)
        border = ((u - iu) * width[block] < 0.9) | ((v - iv) * length[block] < 0.9)
        return self._hash(block, iu, iv), self._hash(block, iu, iv, row=1), border

    def _cover(self, changed: bool) -> np.ndarray:
        pick = self.palette.index
        x, y, size = self.x, self.y, self.size
        blend = np.clip(0.5 + 0.22 * self.patch + 0.35 * (self.grain - 0.5), 0, 0.999)
        first, second, border = self._parcels()
        # Farmland: what grows on a parcel, and at the second date something else on a third of them.
        kind = np.where(changed & (second < 0.35), (first + 0.37) % 1, first)
        shade = (kind * 37.7 + (0.25 if changed else 0.0)) % 1
        cover = np.where(kind < 0.42, pick("crop", shade), pick("meadow", shade))
        cover = np.where((kind >= 0.6) & (kind < 0.8), pick("ripe", shade), cover)
        cover = np.where(kind >= 0.8, pick("ploughed", shade), cover)
        cover = np.where(border, pick("meadow", blend), cover)

        # Woods on hills and in patches; conifers higher up; meadows, rock and snow above.
        wood = (self.patch + 0.0022 * (self.height - 420)) > 0.95
        conifer = self.height + 160 * self.fine > 850
        cover = np.where(wood, np.where(conifer, pick("conifer", blend), pick("broadleaf", blend)), cover)
        alpine = self.height + 110 * self.fine
        cover = np.where(alpine > 1350, pick("meadow", blend), cover)
        cover = np.where(alpine > 1600, pick("rock", blend), cover)
        cover = np.where(alpine > 1950, pick("snow", blend), cover)
        if changed:
            for cy, cx, tilt, half in ((0.1, 0.2, 0.3, 0.026), (0.43, 0.72, -0.5, 0.03), (0.33, 0.5, 0.8, 0.022)):
                u = (x - cx) * np.cos(tilt) + (y - cy) * np.sin(tilt)
                v = (y - cy) * np.cos(tilt) - (x - cx) * np.sin(tilt)
                felled = (np.abs(u) < 1.6 * half) & (np.abs(v) < half) & (alpine < 1300)
                cover = np.where(
                    felled, np.where(self.grain < 0.6, pick("slash", blend), pick("ploughed", blend)), cover
                )

        # River with gravel banks, and a lake in its course.
        course = 0.56 + 0.09 * np.sin(5.2 * x + 0.6) + 0.035 * np.sin(13 * x + 2)
        off = np.abs(y - course) * size - (5.5 + 1.8 * np.sin(21 * x))
        lake = np.hypot((x - 0.73) / 0.14, (y - 0.64) / 0.075) + 0.16 * self.patch < 1
        cover = np.where((off < 3.2) & (self.patch > 0.1), pick("gravel bank", blend), cover)

        cover = self._town(cover, off, changed, blend)
        cover = np.where(off < 0, pick("river", blend), cover)
        return np.where(lake, pick("lake", blend), cover).astype(np.int32)

    def _town(self, cover: np.ndarray, river: np.ndarray, changed: bool, blend: np.ndarray) -> np.ndarray:
        """Streets, houses with gardens, denser towards the middle; halls at the edge; roads out of town."""
        pick, x, y, size = self.palette.index, self.x, self.y, self.size
        # One town and some villages; each place is (x, y, radius) in shares of the side.
        cx, cy = 0.31, 0.72
        places = ((cx, cy, 0.13), (0.14, 0.36, 0.04), (0.47, 0.36, 0.045), (0.86, 0.83, 0.05), (0.57, 0.66, 0.035))
        away = np.full(x.shape, 9.0, dtype=np.float32)
        for px, py, radius in places:
            away = np.minimum(away, np.hypot(x - px, (y - py) * 1.15) / radius)
        away = away + 0.26 * self.patch
        town = (away < 1) & (self.height < 900)
        bend = 0.012 * np.roll(self.patch, 41, 1)
        u = ((x + bend) * 0.94 + y * 0.34) * size
        v = ((y - bend) * 0.94 - x * 0.34) * size
        street = ((u % 11) < 1.6) | ((v % 15) < 1.7)
        house = self._hash(np.floor(u / 2.2), np.floor(v / 2.5))
        kind = self._hash(np.floor(u / 2.2), np.floor(v / 2.5), row=1)
        dense = np.clip(0.94 - 0.5 * away, 0.3, 0.9)
        flat = self._hash(np.floor(u / 11), np.floor(v / 15), row=1) < 0.5 - 0.45 * away
        roof = np.where(flat, pick("flat roof", kind), pick("tile roof", kind))
        inside = np.where(house < dense, roof, pick("garden", blend))
        cover = np.where(town, np.where(street, pick("street", blend), inside), cover)
        park = np.hypot((x - cx - 0.05) / 0.035, (y - cy + 0.045) / 0.025) < 1
        cover = np.where(park, pick("garden", blend), cover)

        zones = [(0.52, 0.83, 0.055, 0.035)] + ([(0.47, 0.93, 0.06, 0.03)] if changed else [])
        for zx, zy, half_x, half_y in zones:
            zone = (np.abs(x - zx) < half_x) & (np.abs(y - zy) < half_y)
            hall = ((u % 17) > 5) & ((v % 21) > 6)
            yard = self._hash(np.floor(u / 17), np.floor(v / 21))
            cover = np.where(zone, np.where(hall, pick("hall", yard), pick("street", blend)), cover)
        for road in (
            np.abs(y - 0.73 - 0.1 * (x - 0.3) - 0.03 * np.sin(7 * x)),
            np.abs(x - 0.33 - 0.12 * (y - 0.7) ** 2),
        ):
            cover = np.where((road * size < 1.1) & (self.height < 900), pick("street", blend), cover)
        return cover


def light(land: Land, date: Date) -> tuple[np.ndarray, np.ndarray]:
    """Sunlight by slope relative to flat ground, and where mountains cast shadow."""
    elevation, azimuth = np.radians(date.sun_elevation), np.radians(date.sun_azimuth)
    height = blur(land.height, 2.0)
    down, right = np.gradient(height, PIXEL)
    east, north = -np.sin(azimuth), -np.cos(azimuth)
    cosine = (np.sin(elevation) + np.cos(elevation) * (right * east - down * north)) / np.sqrt(1 + down**2 + right**2)
    direct = np.clip(cosine / np.sin(elevation), 0, 1.5)
    cast = np.zeros(height.shape, dtype=bool)
    # Walk towards the sun: whatever stands higher than the ray on the way hides it.
    for step in range(2, 60, 2):
        rows = round(-np.cos(azimuth) * step)
        columns = round(np.sin(azimuth) * step)
        towards = shifted(height, -rows, -columns)
        cast |= towards > height + step * PIXEL * np.tan(elevation)
    return direct.astype(np.float32), cast


def clouds(land: Land, date: Date, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Optical depth of the clouds, and their shadow on the ground from 0 (none) to 1."""
    field = fractal(land.size, 3.1, rng, 0.13)
    edge = np.quantile(field, 1 - date.clouds)
    depth = np.clip(field - edge, 0, None) * 26
    depth += 0.7 * np.clip(field - edge + 0.12, 0, 0.12) / 0.12
    distance = 900 / np.tan(np.radians(date.sun_elevation)) / PIXEL
    azimuth = np.radians(date.sun_azimuth)
    shift = (round(np.cos(azimuth) * distance), round(-np.sin(azimuth) * distance))
    # Nothing is known of clouds beyond the edge, so none of them throws its shadow into the scene.
    margin = max(abs(shift[0]), abs(shift[1]))
    wide = np.pad(depth, margin)
    thrown = shifted(wide, *shift)[margin:-margin, margin:-margin] if margin else depth
    thick = 1 - np.exp(-thrown / 2.2)
    return depth, blur(thick, 1.0)


def render(land: Land, date: Date, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Reflectance (bands, rows, columns) and class codes of one date."""
    rng = np.random.default_rng(seed)
    entry = land.entry[date.changed]
    truth = land.palette.class_table[entry]
    direct, cast = light(land, date)
    depth, cloud_shadow = clouds(land, date, rng)
    cloud_shadow = np.clip(cloud_shadow, 0, 1)
    sunny = np.where(cast, 0.0, direct) * (1 - 0.93 * cloud_shadow)
    water = truth == WATER
    sunny = np.where(water & ~cast, 1 - 0.93 * cloud_shadow, sunny)
    texture = 1 + 0.055 * blur(rng.standard_normal(truth.shape), 0.7) / 0.4 * np.where(water, 0.15, 1.0)
    texture = texture + np.where(truth == GREEN, 0.05, 0.025) * land.fine
    veil = date.haze * (1 + 0.35 * fractal(land.size, 3.2, rng, 0.6))

    # A cloud's own light, and what it lets through, tabulated over its optical depth.
    depths = np.concatenate([[0], np.geomspace(0.05, 120, 80)])
    weights = spectra.band_weights(BANDS).T
    absorbing = np.full(len(depths), 0.35)
    own = spectra.cloud_reflectance(depths, absorbing, np.zeros((len(depths), spectra.WAVELENGTHS.size))) @ weights
    through = (
        spectra.cloud_reflectance(depths, absorbing, np.full((len(depths), spectra.WAVELENGTHS.size), 0.2)) @ weights
        - own
    ) / 0.2

    image = np.empty((len(BANDS), *truth.shape), dtype=np.float32)
    for band, centre in enumerate(CENTRES):
        sky = 0.11 * (550 / centre) ** 1.3
        ground = land.palette.table[entry, band] * np.maximum(texture, 0.5) * (sunny + sky) / (1 + sky)
        seen = np.interp(depth, depths, own[:, band]) + np.interp(depth, depths, through[:, band]) * ground
        seen = seen + veil * (550 / centre) ** 1.4
        sharp = blur(seen, 1.1 if band in COARSE else 0.6)
        if band in COARSE:
            rows, columns = (side // 2 * 2 for side in sharp.shape)
            halved = sharp[:rows, :columns].reshape(rows // 2, 2, columns // 2, 2).mean(axis=(1, 3))
            sharp[:rows, :columns] = halved.repeat(2, 0).repeat(2, 1)
        image[band] = sharp * (1 + rng.normal(0, 0.004, truth.shape)) + rng.normal(0, 0.0012, truth.shape)

    # What fills most of what the sensor sees, not what lies under the pixel's middle alone.
    seen_share = [blur((truth == code).astype(np.float32), 0.9) for code in range(CLOUD)]
    truth = np.argmax(seen_share, axis=0)
    dark = (sunny < 0.22) & ~water & (truth != SNOW)
    truth = np.where(dark, SHADOW, truth)
    truth = np.where(depth > 2.0, CLOUD, truth).astype(np.uint8)
    # The swath ends in a corner.
    outside = land.x + 0.32 * land.y < 0.13
    truth[outside] = NODATA_TRUTH
    image[:, outside] = 0
    return image, truth


def write_scene(folder: Path, size: int, seed: int) -> list[Path]:
    """Write both dates and their truth; returns the two scenes."""
    folder.mkdir(parents=True, exist_ok=True)
    land = Land(size, seed)
    profile = {
        "driver": "GTiff", "width": size, "height": size, "crs": "EPSG:32632",
        "transform": from_origin(607_200, 5_284_800, PIXEL, PIXEL),
        "tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate", "predictor": 2,
    }  # fmt: skip
    written = []
    for number, date in enumerate(DATES):
        image, truth = render(land, date, seed + 100 + number)
        outside = truth == NODATA_TRUTH
        # 0 means nodata, so the darkest pixel holds 1.
        stored = np.clip(np.round(image * 10000), 1, 65535).astype(np.uint16)
        stored[:, outside] = 0
        path = folder / f"scene-{date.day}.tif"
        with rasterio.open(path, "w", count=len(BANDS), dtype="uint16", nodata=0, interleave="band", **profile) as dst:
            dst.write(stored)
            dst.scales = [0.0001] * len(BANDS)
            dst.offsets = [0.0] * len(BANDS)
            dst.descriptions = [band.name for band in BANDS]
            dst.update_tags(
                TIFFTAG_DATETIME=date.day.replace("-", ":") + " 10:15:30",
                TIFFTAG_IMAGEDESCRIPTION="Simulated by demo/make_scene.py of Thematica; no satellite took it.",
            )
        with rasterio.open(
            folder / f"scene-{date.day}-truth.tif", "w", count=1, dtype="uint8", nodata=NODATA_TRUTH, **profile
        ) as dst:
            dst.write(truth, 1)
            dst.descriptions = ["land cover"]
            dst.write_colormap(1, {**CLASS_COLORS, NODATA_TRUTH: (0, 0, 0, 0)})
            dst.update_tags(1, **{f"class {code}": name for code, name in enumerate(CLASS_NAMES)})
        written.append(path)
    return written


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Make the demo's two-date Sentinel-2-like scene.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=1024, help="pixels per side")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    for path in write_scene(options.folder, options.size, options.seed):
        print(path)


if __name__ == "__main__":
    main()
