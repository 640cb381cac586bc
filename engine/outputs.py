"""The files of a result before it exists: may they be written, and where are they made until they are complete?"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..errors import OutputError
from .cog import WorkFolder
from .job import FolderJob, RasterJob


class WorkFolders:
    """A working folder in every folder that gets a result: a file can only be renamed within one disk.

    Args:
        results: the final paths.
    """

    def __init__(self, results: Iterable[Path]) -> None:
        self._folders: dict[Path, WorkFolder] = {}
        try:
            for path in results:
                if path.parent.resolve() not in self._folders:
                    self._folders[path.parent.resolve()] = WorkFolder(path)
        except BaseException:
            self.remove()
            raise

    def beside(self, result: Path) -> WorkFolder:
        """The working folder in the folder of a result."""
        return self._folders[result.parent.resolve()]

    def remove(self) -> None:
        """Delete the folders and what is left in them."""
        for folder in self._folders.values():
            folder.remove()


def check_outputs(job: RasterJob, layers: Mapping[str, Path], tables: Iterable[str] = ("output",)) -> None:
    """Refuse results that would hit an input, each other or, unasked, an existing file.

    Args:
        job: the job.
        layers: name → final path of every layer of the result; each brings a style with it.
        tables: names of the rasters that bring an attribute table (``.aux.xml``) with them.

    Raises:
        OutputError: what would be hit.
    """
    # What a result brings with it; it is replaced with the result.
    brought = [(f"style of {name}", path.with_suffix(".qml")) for name, path in layers.items()]
    brought += [(f"table of {name}", layers[name].with_name(layers[name].name + ".aux.xml")) for name in tables]
    given = [*job.rasters, job.mask, job.model, job.card, job.area if isinstance(job.area, str) else None]
    _check(job, layers, brought, given)


def check_table(job: FolderJob) -> None:
    """The same for the table of a folder.

    Raises:
        OutputError: what would be hit.
    """
    _check(job, {"output": Path(job.output)}, [], [job.model, job.card])


def _check(
    job: RasterJob | FolderJob,
    results: Mapping[str, Path],
    brought: Sequence[tuple[str, Path]],
    given: Sequence[str | None],
) -> None:
    targets = [*results.items(), ("report", job.report_path())]
    try:
        inputs = {Path(name.split("|")[0]).resolve() for name in given if name and _is_local_file(name.split("|")[0])}
        seen: dict[str | Path, str] = {}
        for name, path in (*targets, *brought):
            if path.exists() and not (path.is_file() or path.is_dir()):
                raise OutputError(f"“{path}” is a device and not a file; give the result another name.")
            if path.is_dir():
                raise OutputError(f"“{path}” is a folder; give the result another name.")
            if not path.parent.is_dir():
                raise OutputError(f"The folder “{path.parent}” does not exist; create it or choose another place.")
            resolved = path.resolve()
            if resolved in inputs:
                raise OutputError(f"The result would overwrite the input “{path}”; choose another name.")
            if resolved in seen:
                raise OutputError(f"“{path}” is asked for twice ({seen[resolved]} and {name}); choose different names.")
            seen[resolved] = name
            # Names that only this map's files have; a report's name that was chosen, and that of a style
            # (fields.qml is also the style of fields.gpkg), may be anybody's.
            own = name.startswith("table of ") or (name == "report" and not job.report)
            replaceable = job.overwrite or own
            if path.exists() and not replaceable:
                raise OutputError(f"“{path}” exists already; use --overwrite to replace it, or choose another name.")
    except OSError as error:
        raise OutputError(
            f"The result cannot have this name ({error.strerror}); choose another name.", repr(error)
        ) from error


def check_sources(targets: Iterable[Path], sources: set[Path]) -> None:
    """Refuse a result in place of a file that is read but not named: behind a virtual raster, or beside a model.

    Raises:
        OutputError: a target is one of the sources.
    """
    for path in targets:
        if path.resolve() in sources:
            raise OutputError(f"The result would overwrite the input “{path}”; choose another name.")


def _is_local_file(name: str) -> bool:
    return "://" not in name and not name.startswith("/vsi") and len(name) < 4096 and os.path.isfile(name)
