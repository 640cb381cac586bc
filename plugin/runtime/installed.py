"""What is installed in a runtime, and whether its files are as their packages brought them."""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
import sys
from collections.abc import Mapping
from csv import Error as CsvError
from csv import reader
from dataclasses import dataclass
from pathlib import Path

from ...errors import Cancelled
from .build import numbers, package_name
from .process import Listener


@dataclass(frozen=True)
class Package:
    """An installed package.

    Args:
        name: normalised.
        version: as its metadata says.
        metadata: its ``.dist-info`` folder.
    """

    name: str
    version: str
    metadata: Path

    @property
    def has_record(self) -> bool:
        """True where its list of files is there, which pip writes last: without it pip was interrupted."""
        return (self.metadata / "RECORD").is_file()


@dataclass(frozen=True)
class Damage:
    """What is wrong with a package.

    Args:
        name: normalised.
        version: the one to install; empty where it is to be removed.
        reason: for the log and the analyst.
    """

    name: str
    version: str
    reason: str


def site_packages(folder: Path) -> Path | None:
    """The folder with a virtual environment's packages."""
    if sys.platform == "win32":
        path = folder / "Lib" / "site-packages"
        return path if path.is_dir() else None
    return next(iter(sorted((folder / "lib").glob("python3.*/site-packages"))), None)


def installed_packages(folder: Path) -> dict[str, Package]:
    """The packages of a virtual environment by name."""
    site = site_packages(folder)
    found: dict[str, Package] = {}
    for metadata in sorted(site.glob("*.dist-info")) if site else []:
        name, _, version = metadata.name[: -len(".dist-info")].rpartition("-")
        # A name that begins with ~ is what pip sets aside while it exchanges a package.
        if name and not name.startswith("~"):
            found[package_name(name)] = Package(package_name(name), version, metadata)
    return found


def examine(folder: Path, expected: Mapping[str, str], listener: Listener) -> list[Damage]:
    """Compare a virtual environment with the versions that it should have, file by file.

    Args:
        folder: the environment.
        expected: name → version; packages that are not in it are examined too, but not missed.
        listener: told of progress; may cancel.
    """
    packages = installed_packages(folder)
    damages = []
    for done, name in enumerate(sorted({*packages, *expected})):
        listener.step(f"Examining {name}", done / max(1, len({*packages, *expected})))
        package, wanted = packages.get(name), expected.get(name, "")
        if package is None:
            damages.append(Damage(name, wanted, "is missing"))
        elif wanted and numbers(package.version) != numbers(wanted):
            damages.append(Damage(name, wanted, f"is {package.version} instead of {wanted}"))
        elif reason := damage_of(package, listener):
            damages.append(Damage(name, wanted or package.version, reason))
    return damages


def damage_of(package: Package, listener: Listener) -> str:
    """What is wrong with a package's files, or ``""``: each is read and compared with the hash in its list."""
    if not package.has_record:
        return "was not installed completely"
    root = package.metadata.parent
    try:
        rows = list(reader(io.StringIO((package.metadata / "RECORD").read_text(encoding="utf-8"))))
    except (OSError, ValueError, CsvError):
        return "has an unreadable list of files"
    for row in rows:
        if len(row) != 3 or not row[1]:
            continue  # the list itself, and compiled files
        path = root / row[0]
        kind, _, expected = row[1].partition("=")
        try:
            if row[2] and path.stat().st_size != int(row[2]):
                return f"has a damaged file ({path.name})"
            if kind == "sha256" and _sha256(path, listener) != expected:
                return f"has a damaged file ({path.name})"
        except FileNotFoundError:
            return f"lacks a file ({path.name})"
        except (OSError, ValueError):
            return f"has an unreadable file ({path.name})"
    return ""


def _sha256(path: Path, listener: Listener) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(4 * 2**20):
            if listener.is_cancelled():
                raise Cancelled("Cancelled; the runtime was left as it was.")
            digest.update(chunk)
    return base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode("ascii")


def forget(folder: Path, name: str) -> None:
    """Remove a package's metadata, so that pip takes it for not installed and writes all its files anew."""
    site = site_packages(folder)
    for metadata in site.glob("*.dist-info") if site else []:
        if package_name(metadata.name[: -len(".dist-info")].rpartition("-")[0]) == name:
            shutil.rmtree(metadata, ignore_errors=True)
