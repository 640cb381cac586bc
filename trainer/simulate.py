"""Labelled pixel spectra as a satellite would deliver them, drawn from the spectra of basic covers.

A pixel is drawn in three steps: what lies in it (a cover, often mixed with others), how it is lit
(slopes, shadow, a thin or thick cloud above), and how it was measured (haze left by or overdone in
the atmospheric correction, gain errors between bands, noise, saturation, a forgotten offset).
The label is the cover that fills most of the pixel, or shadow or cloud where they hide it.
All ranges are ours and wide on purpose.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..models.bands import Band
from . import spectra
from .spectra import WAVELENGTHS

#: Classes in the order of their codes.
CLASS_NAMES: tuple[str, ...] = (
    "Water",
    "Green vegetation",
    "Dry vegetation",
    "Bare soil and rock",
    "Built-up",
    "Snow and ice",
    "Cloud",
    "Shadow",
)
WATER, GREEN, DRY, SOIL, BUILT, SNOW, CLOUD, SHADOW = range(8)
#: How often each class is drawn.
CLASS_SHARES = np.array([0.20, 0.18, 0.12, 0.11, 0.18, 0.08, 0.09, 0.04])

# Which covers lie beside which: rows are the main cover, columns what it is mixed with.
_NEIGHBOURS = np.array(
    [  # water green  dry   soil  built  snow
        [0.05, 0.45, 0.15, 0.25, 0.08, 0.02],
        [0.06, 0.18, 0.31, 0.22, 0.15, 0.08],
        [0.04, 0.33, 0.16, 0.34, 0.09, 0.04],
        [0.07, 0.26, 0.32, 0.22, 0.08, 0.05],
        [0.02, 0.57, 0.16, 0.18, 0.05, 0.02],
        [0.05, 0.40, 0.20, 0.30, 0.05, 0.00],
    ]
)


def draw_cover(cover: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Spectra of one cover (water to snow), well lit and unmixed with others: (count, wavelengths)."""
    if cover == WATER:
        return _draw_water(count, rng)
    if cover == GREEN:
        return _draw_green(count, rng)
    if cover == BUILT:
        return _draw_built(count, rng)
    if cover == SNOW:
        grain = np.exp(rng.uniform(np.log(0.05), np.log(12), count))
        return spectra.snow_reflectance(grain, np.exp(rng.uniform(-4, 4.5, count)), rng.uniform(0, 2.5, count))
    group = {DRY: "dry", SOIL: "soil"}[cover]
    blend = _blend(spectra.library(group), 2, count, rng)
    # Moisture darkens soil and litter, most where water absorbs (Lobell & Asner 2002).
    wet = rng.uniform(0, 1, (count, 1)) ** 2 * rng.uniform(0, 0.6, (count, 1))
    return blend * (1 - wet * np.interp(WAVELENGTHS, (440, 900, 1550, 2200), (0.8, 0.8, 1.0, 1.2)))


def _blend(library: np.ndarray, parts: int, count: int, rng: np.random.Generator, evenness: float = 0.5) -> np.ndarray:
    """Random blends of ``parts`` spectra of a library, with a spread of brightness and tilt."""
    shares = rng.dirichlet(np.full(parts, evenness), count)
    picks = rng.integers(0, len(library), (count, parts))
    blend = np.zeros((count, WAVELENGTHS.size))
    for part in range(parts):
        blend += shares[:, part, None] * library[picks[:, part]]
    return blend * _spread(count, rng, 0.15, 0.06)


def _spread(count: int, rng: np.random.Generator, brightness: float, tilt: float) -> np.ndarray:
    """Factors for the spread within a material: brightness (log-normal) and spectral tilt."""
    bent = np.log(WAVELENGTHS / 850)
    return np.exp(rng.normal(0, brightness, (count, 1)) + rng.normal(0, tilt, (count, 1)) * bent)


def _log_uniform(low: float, high: float, count: int, rng: np.random.Generator) -> np.ndarray:
    return np.exp(rng.uniform(np.log(low), np.log(high), count))


def _draw_water(count: int, rng: np.random.Generator) -> np.ndarray:
    """Clear, green, brown and muddy water, some with a visible bottom, all with some glint."""
    bottom = 0.8 * draw_cover(SOIL, count, rng)
    depth = np.where(rng.random(count) < 0.15, _log_uniform(0.5, 15, count, rng), 1e3)
    deep = spectra.water_reflectance(
        _log_uniform(0.05, 200, count, rng),
        _log_uniform(0.05, 600, count, rng) * np.where(rng.random(count) < 0.4, 0.1, 1.0),
        _log_uniform(0.01, 12, count, rng),
        depth,
        bottom,
    )
    measured = _blend(spectra.library("water"), 2, count, rng, 1.0)
    water = np.where(rng.random((count, 1)) < 0.1, measured, deep)
    # Sky and sun mirrored at the surface: sky is blue, sun glint nearly white.
    sky = rng.uniform(0, 0.03, (count, 1)) * (550 / WAVELENGTHS) ** rng.uniform(0, 2.5, (count, 1))
    glint = np.where(rng.random((count, 1)) < 0.2, rng.uniform(0, 0.08, (count, 1)), rng.uniform(0, 0.01, (count, 1)))
    return water + sky + glint


def _draw_green(count: int, rng: np.random.Generator) -> np.ndarray:
    """Leaves from crops to forest: crowns shade each other, deepest in dense old forest and conifers."""
    leaves = _blend(spectra.library("green"), 2, count, rng)
    shaded = np.where(rng.random((count, 1)) < 0.6, rng.beta(2, 2.5, (count, 1)), 0.0) * 0.85
    # Light that is scattered by leaves, and skylight, still reaches the shade.
    in_shade = leaves * (0.08 + 0.35 * leaves + 0.05 * (550 / WAVELENGTHS) ** 2)
    return (1 - shaded) * leaves + shaded * in_shade


def _draw_built(count: int, rng: np.random.Generator) -> np.ndarray:
    """Roofs, streets and the shadows between them."""
    library = spectra.library("built")
    few, many = _blend(library, 2, count, rng), _blend(library, 4, count, rng, 1.5)
    parts = np.where(rng.random((count, 1)) < 0.5, few, many)
    shaded = np.where(rng.random((count, 1)) < 0.6, rng.uniform(0, 0.45, (count, 1)), 0.0)
    return parts * (1 - 0.85 * shaded)


def _mix(main: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Pixels that are labelled ``main``: it fills most of them, the rest is a neighbour."""
    pixel = draw_cover(main, count, rng)
    second = rng.choice(6, count, p=_NEIGHBOURS[main])
    rest = np.empty_like(pixel)
    for cover in range(6):
        chosen = second == cover
        rest[chosen] = draw_cover(cover, int(chosen.sum()), rng)
    # Analysts call trees over litter by the trees, and houses on bare ground by the houses, so these
    # two win over soil and dry plants from 40 % on.
    least = np.full(6, 0.5)
    if main in (GREEN, BUILT):
        least[[DRY, SOIL]] = 0.4
    elif main in (DRY, SOIL):
        least[[GREEN, BUILT]] = 0.6
    pure = rng.random(count) < (0.15 if main == BUILT else 0.45)
    share = np.where(pure, rng.uniform(0.92, 1, count), rng.uniform(least[second], 0.95))[:, None]
    return share * pixel + (1 - share) * rest


def _slope_light(count: int, rng: np.random.Generator) -> np.ndarray:
    """Light on slopes relative to flat ground: direct sun by the slope, skylight bluish and constant."""
    direct = np.where(rng.random((count, 1)) < 0.5, rng.normal(1, 0.05, (count, 1)), rng.uniform(0.4, 1.35, (count, 1)))
    sky = rng.uniform(0.03, 0.2, (count, 1)) * (550 / WAVELENGTHS) ** rng.uniform(1, 2, (count, 1))
    return (direct + sky) / (1 + sky)


def _in_shadow(surface: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The surface lit by the sky alone (shadow of a cloud, a mountain, a building)."""
    count = len(surface)
    sky = rng.uniform(0.06, 0.26, (count, 1)) * (550 / WAVELENGTHS) ** rng.uniform(0.5, 1.7, (count, 1))
    # Light through the thin parts of the cloud, and what the sunlit neighbourhood scatters into the shadow.
    stray = rng.uniform(0.01, 0.15, (count, 1))
    return surface * (sky + stray)


def _through_atmosphere(surface: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The surface through what is left of the atmosphere after its correction, or through all of it."""
    count = len(surface)
    # Adjacency: the air scatters a little of the neighbourhood's light, mostly of green land, into the pixel.
    stray = np.where(rng.random((count, 1)) < 0.5, rng.uniform(0, 0.06, (count, 1)), 0.0)
    surface = (1 - stray) * surface + stray * _blend(spectra.library("green"), 2, count, rng)
    exponent = rng.uniform(0.3, 2.5, (count, 1))
    # Aerosol: mostly a small rest of either sign, since corrections overdo it too; sometimes plain haze.
    rest, haze = rng.normal(0, 0.006, (count, 1)), rng.uniform(0, 0.06, (count, 1))
    path = np.where(rng.random((count, 1)) < 0.55, rest, haze) * (550 / WAVELENGTHS) ** exponent
    # Top-of-atmosphere products: molecular scattering of about 0.05 at 490 nm comes on top.
    molecules = rng.uniform(0.6, 1.4, (count, 1)) * 0.034 * (550 / WAVELENGTHS) ** 4.08
    path = path + np.where(rng.random((count, 1)) < 0.3, molecules, 0.0)
    # What scatters light towards the sensor also takes light away from the ground's.
    return path + surface * (1 - 1.5 * np.maximum(path, 0))


def _draw(label: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """At-sensor spectra of one class on the grid of wavelengths."""
    if label < CLOUD:
        pixel = _mix(label, count, rng)
        light = _slope_light(count, rng)
        pixel = pixel * (light if label != WATER else 1.0)
        if label == SNOW:
            # Snow in the shade of a mountain is still mapped as snow.
            shady = rng.random(count) < 0.2
            pixel[shady] = _in_shadow(pixel[shady], rng)
    else:
        # Below are all covers alike; what shadow lies on water stays water, and snow stays snow.
        below = rng.choice([GREEN, DRY, SOIL, BUILT], count, p=[0.62, 0.25, 0.09, 0.04])
        pixel = np.empty((count, WAVELENGTHS.size))
        for cover in (GREEN, DRY, SOIL, BUILT):
            chosen = below == cover
            pixel[chosen] = _mix(cover, int(chosen.sum()), rng)
        if label == SHADOW:
            pixel = _in_shadow(pixel, rng)
        else:
            over_water = rng.random(count) < 0.25
            pixel[over_water] = _draw_water(int(over_water.sum()), rng)
            depth, droplets = _log_uniform(3.0, 120, count, rng), rng.uniform(0.1, 1.1, count)
            pixel = spectra.cloud_reflectance(depth, droplets, pixel)
            pixel *= rng.uniform(0.75, 1.3, (count, 1))
    if label != CLOUD:
        # A veil too thin to hide what is below.
        veil = np.where(rng.random(count) < 0.15, rng.uniform(0, 0.8, count), 0.0)
        pixel = spectra.cloud_reflectance(veil, np.full(count, 0.4), pixel)
    return _through_atmosphere(pixel, rng)


def simulate(
    bands: Sequence[Band],
    count: int,
    rng: np.random.Generator | int,
    shares: np.ndarray = CLASS_SHARES,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw labelled pixels.

    Args:
        bands: the sensor's bands, with wavelength and width.
        count: number of pixels.
        rng: generator or seed; the same seed gives the same pixels.
        shares: how often each class is drawn, (8,).

    Returns:
        Reflectance (count, bands) in float32, around 0 to 1 with some negative values, and the
        class codes (count,) in int64.
    """
    rng = np.random.default_rng(rng)
    weights = spectra.band_weights(bands).T
    labels = rng.choice(len(CLASS_NAMES), count, p=shares / shares.sum())
    pixels = np.empty((count, len(bands)))
    for label in range(len(CLASS_NAMES)):
        chosen = np.flatnonzero(labels == label)
        # In parts, so that memory stays small.
        for part in np.array_split(chosen, max(1, len(chosen) // 20000)):
            pixels[part] = _draw(label, len(part), rng) @ weights
    return _measure(pixels, labels, rng).astype(np.float32), labels


def _measure(pixels: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gain errors between bands, noise, saturation, and an offset that was not removed."""
    count, bands = pixels.shape
    gain = rng.normal(1, 0.02, (count, bands))
    noise = rng.normal(0, 1, (count, bands)) * _log_uniform(0.0005, 0.006, count, rng)[:, None]
    measured = pixels * gain + noise
    # Landsat 4 to 7 saturate over cloud and snow; their products then hold a fixed value of 1.6 or 2.
    limit = rng.uniform(0.3, 1.0, (count, bands))
    bright = np.isin(labels, (CLOUD, SNOW))[:, None]
    saturating = bright & (rng.random((count, 1)) < 0.2) & (measured > limit)
    measured = np.where(saturating, rng.choice([1.6, 2.0], (count, 1)), measured)
    # Sentinel-2 products since processing baseline 04.00 hold reflectance + 0.1; not every reader takes it off.
    return measured + np.where(rng.random((count, 1)) < 0.15, 0.1, 0.0)
