"""Reflectance spectra of basic covers, after published values and published models.

Everything lies on one grid of wavelengths (:data:`WAVELENGTHS`) that resolves the bands of
Sentinel-2 and Landsat; :func:`band_weights` takes it to a sensor's bands.

- Green and dry canopies and field soils: PROSAIL, computed beforehand (``make_canopies.py``).
- Soils, rocks, litter, pavements, roofs: ``materials.json``, a few values each, source named;
  few are the source's own numbers, most approximate its curve (the file says which).
- Water: a bio-optical model; snow: an asymptotic radiative-transfer solution; cloud: two-stream.

Only numpy is needed, so that the demo's scene can be made with the runtime's own packages.
"""

from __future__ import annotations

import csv
import functools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..models.bands import SENSORS, Band

CANOPIES_FILE = Path(__file__).with_name("canopies.csv")
MATERIALS_FILE = Path(__file__).with_name("materials.json")

#: Nanometres: fine where spectra bend (red edge), nothing where neither sensor has a band.
WAVELENGTHS: np.ndarray = np.concatenate(
    [
        np.arange(440, 681, 20),
        np.arange(690, 791, 10),
        np.arange(800, 901, 20),
        np.arange(1550, 1761, 30),
        np.arange(2080, 2356, 25),
    ]
).astype(float)

#: Where the values come from; the keys stand in ``materials.json``.
SOURCES: dict[str, str] = {
    "usgs": "Kokaly et al. 2017, USGS Spectral Library Version 7, USGS Data Series 1035, doi:10.5066/F7RR1WDJ (CC0)",
    "ecostress": "Meerdink et al. 2019, The ECOSTRESS spectral library version 1.0, Remote Sensing of Environment 230; "
    "Baldridge et al. 2009, The ASTER spectral library version 2.0, Remote Sensing of Environment 113",
    "jfsp": "Joint Fire Science Program, burn severity spectral library (USGS and University of Idaho), frames.gov",
    "herold": "Herold et al. 2004, Spectrometry for urban area remote sensing, Remote Sensing of Environment 91",
    "esri": "Esri Sentinel-2 Explorer, typical spectral profiles (Apache-2.0)",
    "prosail": "Féret et al. 2017, PROSPECT-D, Remote Sensing of Environment 193; Verhoef 1984, SAIL, Remote Sensing "
    "of Environment 16; Jacquemoud et al. 2009, PROSPECT+SAIL models, Remote Sensing of Environment 113",
    "water": "Lee et al. 1999, Hyperspectral remote sensing for shallow waters 2, Applied Optics 38; Gordon et al. "
    "1988, J. Geophys. Res. 93; Pope & Fry 1997, Applied Optics 36; Kou et al. 1993, Applied Optics 32; Morel 1974",
    "snow": "Kokhanovsky & Zege 2004, Scattering optics of snow, Applied Optics 43; Warren & Brandt 2008, "
    "Optical constants of ice, J. Geophys. Res. 113",
    "cloud": "Lacis & Hansen 1974, J. Atmos. Sci. 31; King et al. 1997, MODIS cloud retrieval ATBD",
}

#: The six bands that Landsat and Sentinel-2 share, under the names of the ``landsat-6`` preset.
LANDSAT_BANDS: tuple[Band, ...] = SENSORS["landsat-6"]
#: Sentinel-2's ten bands at 10 and 20 m.
SENTINEL2_TEN_BANDS: tuple[Band, ...] = SENSORS["sentinel2-10"]


def band_weights(bands: Sequence[Band]) -> np.ndarray:
    """Weights that take spectra on the grid to a sensor's bands.

    The response of a band is taken as 1 within its full width at half maximum, 0 outside.

    Returns:
        (bands, wavelengths); each row sums to 1.

    Raises:
        ValueError: a band has no wavelength or lies outside the grid.
    """
    rows = []
    for band in bands:
        if band.wavelength is None:
            raise ValueError(f"band {band.name} has no wavelength")
        centre, half = band.wavelength * 1000, (band.width or 0.02) * 500
        fine = np.arange(max(centre - half, WAVELENGTHS[0]), min(centre + half, WAVELENGTHS[-1]) + 0.5)
        if not fine.size:
            raise ValueError(f"band {band.name} lies outside {WAVELENGTHS[0]:.0f} to {WAVELENGTHS[-1]:.0f} nm")
        # Linear interpolation to 1 nm and the mean over the band, as one row of weights.
        upper = np.clip(np.searchsorted(WAVELENGTHS, fine), 1, WAVELENGTHS.size - 1)
        share = (fine - WAVELENGTHS[upper - 1]) / (WAVELENGTHS[upper] - WAVELENGTHS[upper - 1])
        row = np.zeros(WAVELENGTHS.size)
        np.add.at(row, upper, share / fine.size)
        np.add.at(row, upper - 1, (1 - share) / fine.size)
        rows.append(row)
    return np.array(rows)


@functools.cache
def library(group: str) -> np.ndarray:
    """All tabulated spectra of ``green``, ``dry``, ``soil``, ``built`` or ``water`` as (spectra, wavelengths)."""
    rows = [spectrum for _, spectrum in materials(group)]
    with CANOPIES_FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.reader(file):
            if row[0] == group:
                rows.append(np.array(row[1:], dtype=float) / 10000)
    if not rows:
        raise KeyError(f"there are no spectra of group {group}")
    spectra = np.array(rows)
    spectra.setflags(write=False)
    return spectra


def materials(group: str) -> list[tuple[str, np.ndarray]]:
    """Name and spectrum of the materials of a group in ``materials.json``."""
    content = json.loads(MATERIALS_FILE.read_text(encoding="utf-8"))
    nodes = content["wavelengths_nm"]
    return [
        (entry["name"], np.interp(WAVELENGTHS, nodes, entry["reflectance"]))
        for entry in content["materials"]
        if entry["group"] == group
    ]


# Absorption of pure water in 1/m, rounded: after Pope & Fry 1997 to 720 nm, Kou et al. 1993 above.  Beyond 1 µm water
# is black at any depth that matters.
_WATER_NM = (440, 460, 480, 500, 520, 540, 560, 580, 600, 620, 640, 660, 680, 690, 700, 710, 720, 730, 740,
             750, 760, 770, 780, 790, 800, 820, 840, 860, 880, 900, 1550, 2355)  # fmt: skip
_WATER_ABSORPTION = (0.00635, 0.00979, 0.0127, 0.0204, 0.0409, 0.0474, 0.0619, 0.0896, 0.2224, 0.2755, 0.3108,
                     0.410, 0.465, 0.516, 0.624, 0.827, 1.231, 1.80, 2.38, 2.47, 2.55, 2.36, 2.16, 2.02, 1.96,
                     2.30, 3.30, 4.40, 5.50, 6.60, 900.0, 1800.0)  # fmt: skip
# Absorption of phytoplankton per mg chlorophyll, in m²/mg, after the mean shape in Bricaud et al. 1995.
_ALGAE_NM = (440, 460, 480, 500, 520, 540, 560, 580, 600, 620, 640, 660, 675, 690, 700, 720, 750, 2355)
_ALGAE_ABSORPTION = (0.040, 0.034, 0.028, 0.022, 0.015, 0.010, 0.008, 0.008, 0.007, 0.009, 0.010, 0.014, 0.020,
                     0.010, 0.004, 0.001, 0.0, 0.0)  # fmt: skip


def water_reflectance(
    chlorophyll: np.ndarray,
    sediment: np.ndarray,
    yellow_substance: np.ndarray,
    depth: np.ndarray | None = None,
    bottom: np.ndarray | None = None,
) -> np.ndarray:
    """Reflectance of water just above its surface, without glint (Lee et al. 1999, simplified).

    Args:
        chlorophyll: mg/m³, (n,).
        sediment: suspended mineral matter in g/m³, (n,).
        yellow_substance: absorption of dissolved organic matter at 440 nm in 1/m, (n,).
        depth: metres, (n,); None for water without a visible bottom.
        bottom: reflectance of the bottom, (n, wavelengths).

    Returns:
        (n, wavelengths).
    """
    nm = WAVELENGTHS
    chl, tsm, cdom = (np.asarray(value, dtype=float)[:, None] for value in (chlorophyll, sediment, yellow_substance))
    absorption = (
        np.interp(nm, _WATER_NM, _WATER_ABSORPTION)
        + chl**0.85 * np.interp(nm, _ALGAE_NM, _ALGAE_ABSORPTION)
        + cdom * np.exp(-0.015 * (nm - 440))
        + 0.03 * tsm * np.exp(-0.011 * (nm - 440))
    )
    backscatter = 0.00096 * (550 / nm) ** 4.3 + 0.0125 * tsm * (550 / nm) ** 0.6 + 0.0008 * chl**0.7 * (550 / nm)
    u = backscatter / (absorption + backscatter)
    below = (0.0895 + 0.1247 * u) * u
    if depth is not None and bottom is not None:
        seen = np.exp(-2.3 * (absorption + backscatter) * np.asarray(depth, dtype=float)[:, None])
        below = below * (1 - seen) + bottom / np.pi * seen
    return np.pi * 0.5 * below / (1 - 1.5 * below)


# Imaginary part of the refractive index of ice, rounded, after Warren & Brandt 2008.
_ICE_NM = (440, 500, 550, 600, 650, 700, 750, 800, 850, 900, 1550, 1600, 1650, 1700, 1760, 2080, 2150, 2200, 2250,
           2300, 2355)  # fmt: skip
_ICE_ABSORPTION = (8e-11, 6e-10, 2.3e-9, 5.7e-9, 1.4e-8, 2.9e-8, 5.9e-8, 1.2e-7, 2.1e-7, 4.2e-7, 4.5e-4, 3.0e-4,
                   2.3e-4, 1.7e-4, 1.2e-4, 7.5e-4, 4.0e-4, 2.8e-4, 2.6e-4, 3.6e-4, 5.0e-4)  # fmt: skip


def snow_reflectance(grain_mm: np.ndarray, impurity: np.ndarray, dust: np.ndarray) -> np.ndarray:
    """Reflectance of deep snow, firn or bubbly ice (Kokhanovsky & Zege 2004): ``exp(-sqrt(α L))``.

    Args:
        grain_mm: effective grain diameter in mm, (n,): 0.1 is fresh snow, 1 to 3 old, 10 ice.
        impurity: absorption by soot and dust at 550 nm in 1/m, (n,).
        dust: how much more the impurity absorbs in blue than in red (exponent), (n,).

    Returns:
        (n, wavelengths).
    """
    ice = np.exp(np.interp(WAVELENGTHS, _ICE_NM, np.log(_ICE_ABSORPTION)))
    absorption = (
        4 * np.pi * ice / (WAVELENGTHS * 1e-9)
        + np.asarray(impurity)[:, None] * (550 / WAVELENGTHS) ** (np.asarray(dust)[:, None])
    )
    return np.exp(-np.sqrt(absorption * 13e-3 * np.asarray(grain_mm)[:, None]))


def cloud_reflectance(optical_depth: np.ndarray, swir_darkening: np.ndarray, surface: np.ndarray) -> np.ndarray:
    """Reflectance of a cloud above a surface (two streams, conservative in the visible).

    Args:
        optical_depth: (n,); asymmetry 0.85.
        swir_darkening: absorption by droplets or crystals: 0 for none, about 0.4 for water, 1 for ice, (n,).
        surface: reflectance under it, (n, wavelengths).

    Returns:
        (n, wavelengths).
    """
    scaled = 0.75 * 0.15 * np.asarray(optical_depth)[:, None]
    albedo = scaled / (1 + scaled)
    strength = np.interp(WAVELENGTHS, (900, 1550, 1650, 1760, 2080, 2200, 2355), (0, 1.0, 0.8, 0.7, 1.5, 1.3, 1.5))
    # Thicker clouds hold light longer, so they absorb more.
    kept = np.exp(-np.asarray(swir_darkening)[:, None] * strength * np.sqrt(np.minimum(albedo, 1)))
    through = (1 - albedo) * (0.5 + 0.5 * kept)
    return albedo * kept + through**2 * surface / (1 - albedo * surface)
