"""Downloads that outlive an installation that was broken off.

pip keeps what it downloads in its cache only where the index allows that (many an organisation's mirror or proxy does
not say so), and its temporary folder is removed when it fails.  So pip gets a temporary folder of ours, and every wheel
that is complete there is linked into a folder that the next try looks into first.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path


class Downloads:
    """The wheels of one installation, in its building folder.

    Args:
        folder: where they are kept; made and removed here.
    """

    def __init__(self, folder: Path) -> None:
        self.temporary = folder / "tmp"
        self.wheels = folder / "wheels"
        self.folder = folder

    def prepare(self) -> None:
        """Keep what an earlier try has left, and empty its temporary folder."""
        self.wheels.mkdir(parents=True, exist_ok=True)
        self.gather()
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.temporary.mkdir(exist_ok=True)

    def environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The environment in which pip's temporary files go here."""
        return {**environment, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(self.temporary))}

    def gather(self) -> None:
        """Link the wheels that are complete; a wheel's table of contents is at its end, so half a one has none."""
        for path in self.temporary.glob("pip-unpack-*/*.whl"):
            kept = self.wheels / _preferred(path.name)
            try:
                if kept.exists() or not zipfile.is_zipfile(path):
                    continue
                try:
                    os.link(path, kept)
                except OSError:  # a file system without links
                    partial = kept.with_suffix(".part")
                    shutil.copyfile(path, partial)
                    os.replace(partial, kept)
            except OSError:
                continue  # pip has removed it in this moment; then it is downloaded again, and no more

    def remove(self) -> None:
        """The installation is complete."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _preferred(name: str) -> str:
    """A wheel's name with a high build number: of two files of one version pip would take the index's."""
    parts = name.split("-")
    if len(parts) not in (5, 6):
        return name
    return "-".join([*parts[:2], "9999", *parts[-3:]])
