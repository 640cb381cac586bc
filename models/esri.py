"""Models packed for ArcGIS: the definition file ``.emd`` and the package ``.dlpk``, where an ONNX network is inside.

A package is a zip with the definition and the network.  The definition's keys are those that arcgis.learn writes
(https://developers.arcgis.com/python) and the raster-deep-learning repository of Esri describes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

from ..errors import ModelError
from .bands import Band
from .card import LARGEST_SIDE, ModelCard, ModelClass, Normalisation, distinct_colors, slug
from .describe import check_classes, scaling
from .onnx_file import OnnxFacts, class_outputs

SUFFIXES = (".emd", ".dlpk")

# More than any network that a desktop runs; a zip may claim anything.
_MOST_BYTES = 4 << 30
_MOST_BYTES_OF_DEFINITION = 16 << 20
_UNSUPPORTED = {
    "objectdetection": "an object detector (it gives boxes, not a map)",
    "instancedetection": "an instance segmentation network",
    "panopticsegmentation": "a panoptic segmentation network",
    "superresolution": "a super-resolution network (it gives a finer image, not classes)",
    "imagetranslation": "an image translation network (it gives an image, not classes)",
    "changedetection": "a change detection network (it compares two dates, which cannot be done here yet)",
    "regression": "a regression network (it gives continuous values, not classes)",
    "edgedetection": "an edge detection network",
}


def network_of_emd(path: Path) -> Path:
    """The ONNX file that a definition names.

    Raises:
        ModelError: it names none, or one that is not there.
    """
    name = _name_in(str(_read(path).get("ModelFile") or ""))
    if Path(name).suffix.lower() != ".onnx":
        raise ModelError(
            f"“{path}” describes the network “{name or 'without a name'}”, which is no ONNX file: export the network "
            "to ONNX and name it in ModelFile."
        )
    network = path.with_name(name)
    if not network.is_file():
        raise ModelError(f"“{path}” describes the network “{name}”, which does not lie beside it; put it there.")
    return network


def unpack(path: Path, folder: Path) -> Path:
    """Take definition and network out of a package.

    Args:
        path: the ``.dlpk``.
        folder: gets a folder of its own for this package, made once.

    Returns:
        The ONNX file, its definition beside it.

    Raises:
        ModelError: no such package, or none with an ONNX network inside.
    """
    try:
        digest = _digest(path)
        with zipfile.ZipFile(path) as package:
            # Names alone: a package may say ../../elsewhere, or C:\\elsewhere.
            entries = {_name_in(entry.filename): entry for entry in package.infolist() if not entry.is_dir()}
            definition = next((name for name in entries if name.lower().endswith(".emd")), "")
            networks = [name for name in entries if name.lower().endswith(".onnx")]
            if not definition or not networks:
                others = ", ".join(
                    sorted(name for name in entries if Path(name).suffix.lower() in (".pth", ".h5", ".pb", ".pt"))
                )
                raise ModelError(
                    f"“{path}” holds no ONNX network with its definition ({f'but {others}' if others else 'nothing'}): "
                    "export the network to ONNX and pack it again, or use the ONNX file alone."
                )
            target = folder / f"{path.stem}-{digest}"
            for name in (definition, *networks):
                most = _MOST_BYTES if name != definition else _MOST_BYTES_OF_DEFINITION
                if entries[name].file_size > most:
                    raise ModelError(f"“{name}” in “{path}” is too large for what it should be; the package is wrong.")
                if not (target / name).is_file():
                    target.mkdir(parents=True, exist_ok=True)
                    _take_out(package, entries[name], target / name)
    except FileNotFoundError:
        raise ModelError(f"There is no model package “{path}”; check the path.") from None
    except OSError as error:
        raise ModelError(f"“{path}” cannot be unpacked into “{folder}”: {error.strerror or error}.") from error
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"“{path}” is not a model package that can be opened, or only part of one: download it again.", repr(error)
        ) from error
    return network_of_emd(target / definition)


def _digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        for part in iter(lambda: file.read(1 << 20), b""):
            found.update(part)
    return found.hexdigest()[:16]


def _name_in(path: str) -> str:
    return PureWindowsPath(path.replace("/", "\\")).name


def _take_out(package: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    """Write an entry beside its final name first: it is there whole or not at all."""
    handle, part = tempfile.mkstemp(dir=target.parent, suffix=".part")
    try:
        with package.open(entry) as source, os.fdopen(handle, "wb") as copy:
            shutil.copyfileobj(source, copy)
        os.replace(part, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise


def card_beside(path: Path, facts: OnnxFacts) -> ModelCard | None:
    """The card of an ONNX file from a definition in its folder that names it, or None.

    Raises:
        ModelError: there is one, but it cannot be understood.
    """
    for definition in sorted(path.parent.glob("*.emd")):
        try:
            content = _read(definition)
        except ModelError:
            # One that belongs to another network is none of our business.
            if definition.stem == path.stem:
                raise
            continue
        if _name_in(str(content.get("ModelFile") or "")) == path.name:
            try:
                return card_from_emd(content, path.stem, facts)
            except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
                raise ModelError(
                    f"The model definition “{definition}” cannot be understood; describe the network with a card.",
                    repr(error),
                ) from error
    return None


def card_from_emd(content: Mapping[str, Any], name: str, facts: OnnxFacts) -> ModelCard:
    """A card from a definition's keys and the file's tensors."""
    first, result = facts.inputs[0], class_outputs(facts)[0]
    # Scores per pixel or patch; 0 where they are open, or where the output holds class numbers.
    channels = 1 if len(result.shape) == 3 else max(result.shape[1], 0) if len(result.shape) > 1 else 0
    if result.holds_whole_numbers:
        channels = 0
    kind = re.sub(r"[^a-z]", "", str(content.get("ModelType") or "").lower())
    bands = (
        first.shape[1] if len(first.shape) == 4 and first.shape[1] > 0 else len(content.get("ExtractBands") or "RGB")
    )
    if kind in ("objectclassification", "featureclassifier") or len(result.shape) == 2:
        task = "patch"
    else:
        task = "segmentation"
    if str(content.get("ModelName") or "") == "FeatureClassifier" and content.get("MultiLabel"):
        task = "patch-multilabel"
    tile = int(content.get("ImageHeight") or 0)
    if not 0 <= tile <= LARGEST_SIDE:
        raise ValueError(f"ImageHeight {tile}")
    cell = content.get("MinCellSize") or {}
    threshold = content.get("Threshold")
    return ModelCard(
        name=slug(name),
        title=str(content.get("ModelName") or name) if len(str(content.get("ModelName") or "")) > 3 else name,
        description=f"Read from an Esri model definition. {content.get('Description') or ''}".strip(),
        task=task,
        bands=_bands(content, bands),
        classes=_classes(content, channels),
        normalisation=_normalisation(content, bands),
        activation="",
        output_name=result.name,
        thresholds=(float(threshold),) if threshold is not None and channels == 1 else (),
        unit="dn",
        gsd=_cell_size(cell),
        tile=tile,
        unsupported=_UNSUPPORTED.get(kind, ""),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MOST_BYTES_OF_DEFINITION:
            raise ModelError(f"“{path}” is too large for a model definition; choose another file.")
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ModelError(f"The model definition “{path}” cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"The model definition “{path}” is not valid JSON; export the model again.", repr(error)
        ) from error
    if not isinstance(content, dict):
        raise ModelError(f"“{path}” is not a model definition: a JSON object is expected.")
    return content


def _bands(content: Mapping[str, Any], count: int) -> list[Band]:
    """Names where the definition has them, else numbers; ``ExtractBands`` counts the raster's bands from 0."""
    chosen = [int(number) for number in content.get("ExtractBands") or range(count)]
    named = [str(name) for name in content.get("Bands") or ()]
    bands = []
    for position in range(count):
        number = chosen[position] if position < len(chosen) else position
        name = named[number] if number < len(named) else str(number + 1)
        bands.append(Band(name, name.lower() if name.lower() in ("red", "green", "blue", "nir") else ""))
    return bands


def _classes(content: Mapping[str, Any], channels: int) -> list[ModelClass]:
    entries = list(content.get("Classes") or ())
    wanted = 2 if channels == 1 else channels
    colors = distinct_colors(max(len(entries) + 1, wanted))
    classes = []
    for index, entry in enumerate(entries):
        color = entry.get("Color")
        hexadecimal = (
            "#" + "".join(f"{min(max(int(part), 0), 255):02x}" for part in color[:3]) if color else colors[index]
        )
        classes.append(
            ModelClass(int(entry.get("Value", index)), str(entry.get("Name") or f"class {index}"), hexadecimal)
        )
    # arcgis.learn counts what is no class as the first output, and does not list it.
    if wanted in (0, len(classes) + 1) and classes and all(entry.value for entry in classes):
        classes.insert(0, ModelClass(0, "background", "#d9d9d9"))
    if not entries:
        classes = [ModelClass(value, f"class {value}", colors[value]) for value in range(wanted)]
    check_classes(classes)
    return classes


def _normalisation(content: Mapping[str, Any], bands: int) -> Normalisation:
    """Multispectral models scale each band from its minimum and maximum to 0…1, others divide by 255; then z-scores."""
    stats = content.get("NormalizationStats")
    chosen = [int(number) for number in content.get("ExtractBands") or range(bands)]
    if isinstance(stats, dict) and stats.get("band_min_values") and stats.get("band_max_values"):
        if len(chosen) != bands or min(chosen) < 0:
            raise ValueError(f"ExtractBands {chosen} of a network with {bands} bands")

        def of(key: str, default: float) -> list[float]:
            values = stats.get(key)
            return [float(values[number]) if values else default for number in chosen]

        low, high = of("band_min_values", 0.0), of("band_max_values", 1.0)
        mean, std = of("scaled_mean_values", 0.0), of("scaled_std_values", 1.0)
        if content.get("DoNormalize") is False:
            # Scaled to 0…1 and no further.
            mean, std = [0.0] * bands, [1.0] * bands
        # A band that is the same everywhere enters as its minimum's distance, not as a division by nothing.
        spans = [b - a if b > a else 1.0 for a, b in zip(low, high)]
        if not all(1e-15 < value < 1e15 for value in (*spans, *std)) or not all(
            abs(m) < 1e15 for m in (*low, *high, *mean)
        ):
            raise ValueError(f"NormalizationStats are beyond all images: {stats}")
        return Normalisation(
            tuple(1 / (span * s) for span, s in zip(spans, std)),
            tuple(-(a / span + m) / s for a, span, m, s in zip(low, spans, mean, std)),
        )
    span: list[Any] = list(content.get("DataRange") or ())
    given = content.get("ModelParameters")
    parameters: Mapping[str, Any] = given if isinstance(given, dict) else {}
    means = parameters.get("mean") or content.get("Mean")
    deviations = parameters.get("std") or content.get("StdDev")
    if means and deviations:
        return scaling(bands, 255.0, [float(value) for value in means], [float(value) for value in deviations])
    if len(span) > 1 and float(span[1]) == 1:
        return scaling(bands, 255.0)
    if str(content.get("Framework")).startswith("arcgis.learn") and bands == 3:
        # What arcgis.learn does where nothing is said: images of 8 bits with ImageNet's statistics.
        return scaling(bands, 255.0, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    return Normalisation()


def _cell_size(cell: Any) -> float | None:
    """Ground sampling distance, where the definition's cell size is in metres."""
    if not isinstance(cell, dict) or not cell.get("x"):
        return None
    reference = cell.get("spatialReference") or {}
    is_degrees = reference.get("wkid") == 4326 or reference.get("latestWkid") == 4326
    size = float(cell["x"])
    return None if is_degrees or not 0 < size < 1e6 else size
