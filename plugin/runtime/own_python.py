"""A CPython that we bring, where the machine has none that will do.

It is a build of python-build-standalone, which runs from wherever it is unpacked: from an archive in the analyst's
folder of wheels, or fetched by ``uv``, whose wheel comes from the package index; uv knows the releases and their
checksums, and its mirror can be named (``UV_PYTHON_INSTALL_MIRROR``).
"""

from __future__ import annotations

import configparser
import hashlib
import json
import os
import platform
import re
import ssl
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import Cancelled, RuntimeMissingError
from ...models.store import user_data_folder
from .base_python import OLDEST_PYTHON, candidates, probe
from .network import Network
from .process import CommandFailed, Listener, masked, process_options, run_command, secrets_of

#: The version that uv is asked for: the one with the most wheels.
VERSION = "3.12"
_ARCHIVE = re.compile(r"cpython-(3\.\d+\.\d+)\+?\d*-(.+?)-install_only(?:_stripped)?\.tar\.gz$")


def own_python_folder() -> Path:
    """Where a CPython of our own lies: beside the runtime, which is made from it."""
    return user_data_folder() / "python"


def find_own_python(oldest: tuple[int, int] = OLDEST_PYTHON) -> Path | None:
    """A CPython that was brought before, or None."""
    for folder in sorted(own_python_folder().glob("cpython-3.*"), key=lambda path: _release(path.name), reverse=True):
        found = _interpreter_of(folder)
        if found is not None and probe(found, oldest)[0] is not None:
            # Not what the probe says: uv's links, and the interpreter's idea of itself, may differ from the folder.
            return found
    return None


def _interpreter_of(folder: Path) -> Path | None:
    places = (folder / "python.exe", folder / "bin" / "python3")
    return next((path for path in places if path.is_file()), None)


def _release(name: str) -> tuple[int, ...]:
    found = re.match(r"cpython-(\d+)\.(\d+)(?:\.(\d+))?", name)
    return tuple(int(part or 0) for part in found.groups()) if found else (0,)


def platform_name() -> str:
    """This system as python-build-standalone spells it: ``x86_64-unknown-linux-gnu``."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    if sys.platform == "win32":
        return f"{machine}-pc-windows-msvc"
    return f"{machine}-apple-darwin" if sys.platform == "darwin" else f"{machine}-unknown-linux-gnu"


def archive_in(folder: Path, oldest: tuple[int, int] = OLDEST_PYTHON) -> Path | None:
    """The archive of a CPython for this system in a folder (``cpython-3.…-install_only.tar.gz``), or None."""
    fitting = []
    for path in folder.glob("cpython-3.*.tar.gz"):
        named = _ARCHIVE.match(path.name)
        release = _release(path.name)
        if named and named[2] == platform_name() and oldest <= release[:2] <= (3, 13):
            fitting.append((release, path))
    return max(fitting)[1] if fitting else None


def unpack(archive: Path, listener: Listener) -> Path:
    """Unpack an archive of python-build-standalone into our folder.

    Returns:
        The interpreter.

    Raises:
        RuntimeMissingError: it is no such archive, or does not run here.
        Cancelled: nothing is left.
    """
    listener.line(f"Unpacking {archive}")
    folder = own_python_folder()
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / archive.name.split("-install_only")[0].replace("+", "-")
    no_archive = RuntimeMissingError(
        f"“{archive}” is no complete archive of CPython: copy it again, or remove it from the folder."
    )
    # Unpacked beside and renamed, so that a CPython under its final name is complete.
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=folder) as beside:
        try:
            with tarfile.open(archive, "r:gz") as packed:
                _extract(packed, Path(beside), listener)
        except (tarfile.TarError, EOFError, OSError, ValueError) as error:
            no_archive.details = str(error)
            raise no_archive from error
        found = _interpreter_of(Path(beside) / "python")
        if found is None:
            raise no_archive
        why_not = probe(found)[1]
        if why_not:
            raise RuntimeMissingError(f"The CPython in “{archive}” cannot be used here: {why_not}.")
        if not target.exists():
            (Path(beside) / "python").rename(target)
    made = _interpreter_of(target)
    if made is None:
        raise RuntimeMissingError(f"The CPython in “{target}” is damaged: remove that folder and try again.")
    return made


def _extract(packed: tarfile.TarFile, folder: Path, listener: Listener) -> None:
    """Extract what lies below ``python/``, and nothing that would land, or point, outside."""
    # Python's own guard, where this Python has it (3.12, and security releases of older ones).
    guard: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    for member in packed:
        if listener.is_cancelled():
            raise Cancelled("Cancelled; the runtime was left as it was.")
        parts = Path(member.name).parts
        if Path(member.name).is_absolute() or ".." in parts or parts[:1] != ("python",):
            raise ValueError(f"{member.name} leads outside")
        if member.issym() or member.islnk():
            base = Path(member.name).parent if member.issym() else Path()
            if os.path.isabs(member.linkname) or os.path.normpath(base / member.linkname).startswith(".."):
                raise ValueError(f"{member.name} points outside")
        elif not (member.isfile() or member.isdir()):
            raise ValueError(f"{member.name} is no file")
        packed.extract(member, folder, **guard)


# -- with uv ----------------------------------------------------------------------------------------


def fetch_with_uv(network: Network, listener: Listener, inherited: Sequence[int] = ()) -> Path:
    """Let uv fetch a CPython into our folder.

    Returns:
        The interpreter.

    Raises:
        RuntimeMissingError: uv or the CPython could not be fetched.
        Cancelled: the listener said so.
    """
    listener.step("Bringing a CPython")
    folder = own_python_folder()
    folder.mkdir(parents=True, exist_ok=True)
    environment = network.environment()
    with tempfile.TemporaryDirectory(prefix=".uv-", dir=folder) as beside:
        uv = _uv_of(_fetch_uv_wheel(Path(beside), environment, listener, inherited), Path(beside))
        environment.update(
            UV_PYTHON_INSTALL_DIR=str(folder),
            UV_PYTHON_INSTALL_BIN="0",
            UV_PYTHON_INSTALL_REGISTRY="0",
            UV_SYSTEM_CERTS="true",
            UV_NATIVE_TLS="true",  # what the variable above was called before
            UV_NO_PROGRESS="1",
            UV_CACHE_DIR=str(Path(beside) / "cache"),
            # A file of versions in a project of the analyst's is not for us.
            UV_WORKING_DIRECTORY=beside,
            UV_WORKING_DIR=beside,
        )
        try:
            run_command([str(uv), "python", "install", VERSION], listener, environment, inherited)
        except (CommandFailed, OSError) as failure:
            raise RuntimeMissingError(
                f"A CPython could not be fetched from {network.python_mirror or 'GitHub'}. Install Python {VERSION} "
                "yourself, name a mirror under “Network”, or put its archive into the folder of wheels.",
                "\n".join(getattr(failure, "lines", [str(failure)])),
            ) from failure
    found = find_own_python()
    if found is None:
        raise RuntimeMissingError(
            f"The CPython that was fetched does not run on this system: install Python {VERSION}."
        )
    return found


def _fetch_uv_wheel(folder: Path, environment: dict[str, str], listener: Listener, inherited: Sequence[int]) -> Path:
    """The wheel of uv for this system: through pip where a Python has one, since pip knows the machine's settings."""
    for python in candidates():
        if not _has_pip(python, environment):
            continue
        command = [str(python), "-I", "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-input"]
        try:
            listener.line(f"Fetching uv with {python}")
            run_command([*command, "--dest", str(folder), "uv"], listener, environment, inherited)
            return next(folder.glob("uv-*.whl"))
        except (CommandFailed, OSError, StopIteration):
            break  # another Python's pip reads the same settings
    return fetch_uv_from_index(folder, environment, listener)


def _has_pip(python: Path, environment: dict[str, str]) -> bool:
    try:
        done = subprocess.run(
            [str(python), "-I", "-m", "pip", "--version"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=30,
            check=False,
            **process_options(),
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def fetch_uv_from_index(folder: Path, environment: dict[str, str], listener: Listener) -> Path:
    """The wheel of uv for this system from the machine's package index, with the standard library alone.

    Raises:
        RuntimeMissingError: no index is named, or it cannot be reached or has no wheel for this system.
    """
    index = environment.get("PIP_INDEX_URL") or _configured_index()
    if not index:
        # Which index is meant where none is named, pip knows, and there is no pip here.
        raise RuntimeMissingError(
            f"No Python here has pip, which would bring a CPython: install Python {VERSION} (or pip for any Python; "
            "Debian, Ubuntu: sudo apt install python3-pip), or name the package index in the variable PIP_INDEX_URL."
        )
    page = f"{index.rstrip('/')}/uv/"
    listener.line(f"Fetching uv from {masked(page)}")
    try:
        opener = _opener(environment)
        accept = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
        with _open(opener, page, accept) as answer:
            links = _links(answer.read().decode("utf-8"), answer.geturl(), answer.headers.get_content_type())
        name, url, digest = _newest_fitting(links)
        path = folder / name
        with _open(opener, url, "*/*") as answer, path.open("wb") as stream:
            hashed = hashlib.sha256()
            while chunk := answer.read(2**20):
                if listener.is_cancelled():
                    raise Cancelled("Cancelled; the runtime was left as it was.")
                stream.write(chunk)
                hashed.update(chunk)
    except (OSError, ValueError) as error:
        raise RuntimeMissingError(
            "The package index cannot be reached, from which uv would bring a CPython: check the network connection "
            f"and the proxy, or install Python {VERSION} yourself.",
            masked(f"{page}: {error}", secrets_of(environment)),
        ) from error
    if digest and hashed.hexdigest() != digest:
        raise RuntimeMissingError("A download arrived damaged (uv): try again.", f"{name}: {hashed.hexdigest()}")
    return path


def _configured_index() -> str:
    """The index in pip's configuration files, as far as these are where they usually are."""
    home = Path.home()
    places = [Path("/etc/pip.conf"), Path("/etc/xdg/pip/pip.conf"), home / ".pip" / "pip.conf"]
    places += [Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf"]
    if sys.platform == "darwin":
        places = [Path("/Library/Application Support/pip/pip.conf"), *places]
        places.append(home / "Library" / "Application Support" / "pip" / "pip.conf")
    if sys.platform == "win32":
        places = [Path(os.environ.get("PROGRAMDATA", "C:/ProgramData")) / "pip" / "pip.ini", home / "pip" / "pip.ini"]
        places.append(Path(os.environ.get("APPDATA", home)) / "pip" / "pip.ini")
    if os.environ.get("PIP_CONFIG_FILE"):
        places.append(Path(os.environ["PIP_CONFIG_FILE"]))
    config = configparser.RawConfigParser(strict=False)
    try:
        config.read(places, encoding="utf-8")
    except (configparser.ParsingError, UnicodeDecodeError):
        return ""
    return config.get("global", "index-url", fallback="").strip()


def _opener(environment: dict[str, str]) -> urllib.request.OpenerDirector:
    proxies = {
        kind: value for kind in ("http", "https") if (value := environment.get(f"{kind}_proxy") or environment.get(
            f"{kind.upper()}_PROXY"))
    }  # fmt: skip
    trusted = ssl.create_default_context()
    for name in ("PIP_CERT", "SSL_CERT_FILE"):
        if environment.get(name) and Path(environment[name]).is_file():
            trusted.load_verify_locations(environment[name])
    handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=trusted)]
    if proxies:
        handlers.append(urllib.request.ProxyHandler(proxies))
    return urllib.request.build_opener(*handlers)


def _open(opener: urllib.request.OpenerDirector, url: str, accept: str) -> Any:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"{parts.scheme}: is no address of a package index")
    request = urllib.request.Request(url, headers={"Accept": accept, "User-Agent": "thematica"})
    if parts.username:
        import base64

        sign_in = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        request.add_header("Authorization", "Basic " + base64.b64encode(sign_in.encode()).decode())
        request.full_url = urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return opener.open(request, timeout=30)


def _links(text: str, base: str, kind: str) -> list[tuple[str, str, str]]:
    """File name, URL and sha256 (or ``""``) of each file on an index page, JSON (PEP 691) or HTML (PEP 503)."""
    if kind.endswith("json"):
        return [
            (str(file["filename"]), urllib.parse.urljoin(base, file["url"]), file.get("hashes", {}).get("sha256", ""))
            for file in json.loads(text)["files"]
            if not file.get("yanked")
        ]
    links = []
    for tag in re.findall(r"<a\b[^>]*>", text):
        target = re.search(r"href\s*=\s*[\"']([^\"']+)[\"']", tag)
        if target and "data-yanked" not in tag:
            url, _, fragment = urllib.parse.urljoin(base, target[1].replace("&amp;", "&")).partition("#")
            digest = re.search(r"sha256=([0-9a-f]{64})", fragment)
            links.append((urllib.parse.unquote(url.rpartition("/")[2]), url, digest[1] if digest else ""))
    return links


def _newest_fitting(links: list[tuple[str, str, str]]) -> tuple[str, str, str]:
    machine = {"amd64": "x86_64", "aarch64": "(?:aarch64|arm64)", "arm64": "(?:aarch64|arm64)"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    if sys.platform == "win32":
        system = "win_amd64" if machine == "x86_64" else "win_arm64"
    else:
        system = f"{'macosx' if sys.platform == 'darwin' else 'manylinux'}_?[0-9_]*{machine}"
    fitting = []
    for name, url, digest in links:
        release = re.match(r"uv-(\d+(?:\.\d+)*)-py3-none-(.+)\.whl$", name)
        if release and re.search(rf"(?:^|\.){system}(?:\.|$)", release[2]):
            fitting.append((tuple(int(part) for part in release[1].split(".")), name, url, digest))
    if not fitting:
        raise ValueError("the index has no uv for this system")
    return max(fitting)[1:]


def _uv_of(wheel: Path, folder: Path) -> Path:
    """Take the program out of its wheel: nothing needs to be installed for it."""
    name = "uv.exe" if sys.platform == "win32" else "uv"
    try:
        with zipfile.ZipFile(wheel) as packed:
            inside = next(entry for entry in packed.namelist() if entry.endswith(f".data/scripts/{name}"))
            program = folder / name
            program.write_bytes(packed.read(inside))
    except (zipfile.BadZipFile, StopIteration, OSError) as error:
        raise RuntimeMissingError("A download arrived damaged (uv): try again.", f"{wheel}: {error}") from error
    program.chmod(0o755)
    return program
