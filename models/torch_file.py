"""What a PyTorch file is, read from its archive alone; nothing in it is unpickled or run.

TorchScript (``torch.jit.save``) and exported programs (``torch.export.save``) are ZIP archives that hold a
network.  ``torch.save`` makes archives too, but of pickled Python objects: loading one runs whatever code its
maker put there, and most hold weights without the network.
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ModelError
from .card import METADATA_KEY

#: Endings of files that PyTorch runs.
TORCH_SUFFIXES = (".pt", ".pt2", ".ts", ".torchscript", ".pth")


@dataclass
class TorchFacts:
    """What is read of a PyTorch file.

    Args:
        kind: ``torchscript`` or ``exported``.
        weights_sha256: over the whole file.
        metadata: small text files that were stored with the network (``_extra_files``, ``extra_files``), of
            which only the card is read.
    """

    kind: str
    weights_sha256: str
    metadata: dict[str, str] = field(default_factory=dict)


def is_torch_file(path: str | Path) -> bool:
    """Whether a file's name says that PyTorch runs it."""
    return Path(path).suffix.lower() in TORCH_SUFFIXES


def read_torch_facts(path: str | Path) -> TorchFacts:
    """Read what kind of network a PyTorch file holds.

    Raises:
        ModelError: no such file, a damaged one, or pickled Python objects instead of a network.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise ModelError(f"“{path}” is a folder; choose a model file.")
        if path.stat().st_size == 0:
            raise ModelError(f"“{path}” is empty; choose another model file.")
        with path.open("rb") as file:
            start = file.read(4)
            file.seek(0)
            digest = hashlib.sha256()
            for part in iter(lambda: file.read(1 << 20), b""):
                digest.update(part)
    except FileNotFoundError:
        raise ModelError(f"There is no model file “{path}”; check the path.") from None
    except OSError as error:
        raise ModelError(f"The model file “{path}” cannot be read: {error.strerror or error}.") from error
    if start[:1] == b"\x80":
        # The first byte of a pickle; PyTorch before 1.6 wrote nothing around it.
        raise _pickled(path)
    try:
        with zipfile.ZipFile(path) as archive:
            kind = _kind(path, archive.namelist())
            return TorchFacts(kind, digest.hexdigest(), _metadata(archive))
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError, EOFError) as error:
        raise ModelError(
            f"“{path}” is not a PyTorch network, or only part of one: choose another or download it again.", repr(error)
        ) from error


def _kind(path: Path, names: list[str]) -> str:
    # Everything lies in one folder whose name is anything.
    inside = {name.partition("/")[2] for name in names}
    if "archive_format" in inside and "models/model.json" in inside:
        return "exported"
    if any(name.startswith("data/aotinductor/") for name in inside):
        raise ModelError(
            f"“{path}” holds a network compiled for one machine (AOTInductor); save the exported program itself with "
            "torch.export.save, or export it as ONNX."
        )
    if "constants.pkl" in inside and any(name.startswith("code/") for name in inside):
        return "torchscript"
    if "serialized_exported_program.json" in names:
        raise ModelError(
            f"“{path}” was exported by a PyTorch older than 2.8; export it again with torch.export.save, or as ONNX."
        )
    if "data.pkl" in inside:
        raise _pickled(path)
    raise ModelError(f"“{path}” is not a PyTorch network; choose a TorchScript file, an exported program or ONNX.")


def _pickled(path: Path) -> ModelError:
    return ModelError(
        f"“{path}” holds pickled Python objects (torch.save), not a network that can be run safely: in Python, save it "
        "with torch.onnx.export(model, …), torch.jit.script(model).save(…) or torch.export.save(…), and for YOLO use "
        "model.export(format='onnx')."
    )


def _metadata(archive: zipfile.ZipFile) -> dict[str, str]:
    for entry in archive.infolist():
        # No card is larger than a megabyte.
        if entry.filename.partition("/")[2] == f"extra/{METADATA_KEY}" and entry.file_size < 1 << 20:
            return {METADATA_KEY: archive.read(entry).decode("utf-8", "replace")}
    return {}
