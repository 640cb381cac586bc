"""Compute the canopy and soil spectra of ``canopies.csv`` with PROSAIL.

Run once, as ``python -m thematica.trainer.make_canopies``; it needs the PyPI package ``prosail``,
which nothing else here does.  PROSPECT-D (Féret et al. 2017) gives the leaves, 4SAIL (Verhoef
1984; Verhoef et al. 2007) the canopy over a soil that is a blend of the two spectra that come
with the package.  The parameter ranges are ours: wide, because variety matters more than
agreement with any one field.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .spectra import CANOPIES_FILE, WAVELENGTHS


def _leaf(rng: np.random.Generator, kind: str) -> dict[str, float]:
    """One leaf's PROSPECT-D parameters (µg/cm² for pigments, cm for water, g/cm² for dry matter)."""
    if kind == "green":
        return {
            "n": rng.uniform(1.2, 2.3),
            "cab": rng.uniform(15, 80),
            "car": rng.uniform(4, 16),
            "cbrown": float(rng.choice([0.0, rng.uniform(0, 0.35)])),
            "cw": rng.uniform(0.005, 0.032),
            "cm": rng.uniform(0.002, 0.016),
            "ant": float(rng.choice([0.0, rng.uniform(0, 6)])),
        }
    return {
        "n": rng.uniform(1.5, 2.8),
        "cab": rng.uniform(0, 9),
        "car": rng.uniform(0, 6),
        "cbrown": rng.uniform(0.2, 1.6),
        "cw": rng.uniform(0.0002, 0.004),
        "cm": rng.uniform(0.003, 0.014),
        "ant": rng.uniform(0, 2),
    }


def canopies(kind: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """``count`` canopy spectra of ``green`` or ``dry`` leaves as (count, wavelengths) reflectance."""
    from prosail import run_prosail

    rows = []
    for _ in range(count):
        spectrum = run_prosail(
            **_leaf(rng, kind),
            lai=np.exp(rng.uniform(np.log(0.9), np.log(7.5))),
            lidfa=rng.uniform(25, 75),
            typelidf=2,
            hspot=rng.uniform(0.01, 0.4),
            tts=rng.uniform(15, 65),
            tto=rng.uniform(0, 15),
            psi=rng.uniform(0, 180),
            rsoil=rng.uniform(0.3, 1.0),
            psoil=rng.uniform(0.0, 1.0),
            prospect_version="D",
        )
        rows.append(np.interp(WAVELENGTHS, np.arange(400, 2501), spectrum))
    return np.array(rows)


def soils(count: int, rng: np.random.Generator) -> np.ndarray:
    """``count`` blends of PROSAIL's dry and wet soil, brighter and darker."""
    from prosail import spectral_lib

    wet_part, brightness = rng.uniform(0, 1, (count, 1)), rng.uniform(0.35, 1.15, (count, 1))
    dry, wet = spectral_lib.soil.rsoil1, spectral_lib.soil.rsoil2
    spectra = brightness * ((1 - wet_part) * dry + wet_part * np.maximum(wet, 0.15 * dry))
    return np.array([np.interp(WAVELENGTHS, np.arange(400, 2501), row) for row in spectra])


def main(path: Path = CANOPIES_FILE) -> None:
    """Write ``canopies.csv``: group, then reflectance × 10000 at each wavelength."""
    rng = np.random.default_rng(2026)
    groups = {"green": canopies("green", 260, rng), "dry": canopies("dry", 80, rng), "soil": soils(40, rng)}
    with path.open("w", encoding="utf-8") as file:
        file.write("group," + ",".join(f"{wavelength:.0f}" for wavelength in WAVELENGTHS) + "\n")
        for group, spectra in groups.items():
            for spectrum in np.round(spectra * 10000).astype(int):
                file.write(f"{group}," + ",".join(map(str, spectrum)) + "\n")


if __name__ == "__main__":
    main()
