"""What the tests of the runtime's installer are made of: small wheels, a small plugin, a watching listener."""

from __future__ import annotations

import base64
import hashlib
import http.server
import shutil
import tarfile
import threading
import zipfile
from pathlib import Path

from thematica.plugin.runtime.process import Listener

ROOT = Path(__file__).resolve().parents[2]
QUIET_PIP = {"PIP_CONFIG_FILE": "/dev/null", "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}


class WheelIndex:
    """A package index on this machine with the wheels of a folder, which allows no caching.

    Args:
        wheels: the folder.

    Attributes:
        asked: names of the wheels that were downloaded, in order.
        breaks: the wheel whose download breaks off in the middle, or empty.
        hangs: the wheel whose download stops in the middle until the server is closed, or empty.
    """

    def __init__(self, wheels: Path) -> None:
        self.asked: list[str] = []
        self.breaks = self.hangs = ""
        self.closed = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.rstrip("/").rpartition("/")[2]
                found = sorted(wheels.glob(f"{name.replace('-', '_')}-*.whl"))
                if self.path.startswith("/simple/") and found:
                    content = "".join(f'<a href="/files/{wheel.name}">{wheel.name}</a>' for wheel in found).encode()
                elif self.path.startswith("/files/"):
                    outer.asked.append(name)
                    content = (wheels / name).read_bytes()
                else:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Content-Type", "text/html" if self.path.startswith("/simple/") else "application/zip")
                self.end_headers()
                project = name.partition("-")[0]
                if project in (outer.breaks, outer.hangs) and self.path.startswith("/files/"):
                    self.wfile.write(content[: len(content) // 2])
                    self.wfile.flush()
                    if project == outer.hangs:
                        outer.closed.wait(60)
                    self.connection.close()
                    return
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None
        self.url = f"http://127.0.0.1:{self.server.server_port}/simple"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.closed.set()
        self.server.shutdown()
        self.server.server_close()


class Watching(Listener):
    """Keeps what it is told; cancels when ``cancel_at`` is in a line."""

    def __init__(self, cancel_at: str = "") -> None:
        self.lines: list[str] = []
        self.steps: list[tuple[str, float | None]] = []
        self.cancel_at = cancel_at
        self.cancelled = False

    def line(self, text: str) -> None:
        self.lines.append(text)
        if self.cancel_at and self.cancel_at in text:
            self.cancelled = True

    def step(self, text: str, fraction: float | None = None) -> None:
        self.steps.append((text, fraction))

    def is_cancelled(self) -> bool:
        return self.cancelled

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def make_wheel(folder: Path, name: str, version: str, files: dict[str, str] | None = None) -> Path:
    """A wheel of pure Python with one module (or these files), as pip takes it."""
    module = name.replace("-", "_")
    files = files or {f"{module}/__init__.py": f"__version__ = {version!r}\n", f"{module}/data.txt": "data\n" * 100}
    metadata = f"{module}-{version}.dist-info"
    content = {
        **files,
        f"{metadata}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{metadata}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, text in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(text.encode())}\n"
    content[f"{metadata}/RECORD"] = f"{record}{metadata}/RECORD,,\n"
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as packed:
        for path, text in content.items():
            packed.writestr(path, text)
    return wheel


_DOCTOR = """
import importlib, json, sys
problems = []
for name in {modules!r}:
    try:
        importlib.import_module(name)
    except Exception as error:
        problems.append(f"{{name}} cannot be imported ({{error}}).")
print(json.dumps({{"ok": not problems, "version": {version!r}, "python": sys.version.split()[0],
                  "packages": {{}}, "providers": ["CPUExecutionProvider"], "problems": problems}}))
"""


def make_plugin(folder: Path, requirements: list[str], modules: list[str], version: str = "0.1.0") -> Path:
    """A plugin's folder with the real installer, these requirements, and a doctor that imports these modules."""
    ignored = shutil.ignore_patterns("__pycache__", "*.onnx", "bundled")
    for package in ("plugin", "models"):
        shutil.copytree(ROOT / package, folder / package, ignore=ignored)
    shutil.copy(ROOT / "errors.py", folder)
    (folder / "__init__.py").write_text(f'__version__ = "{version}"\n', encoding="utf-8")
    (folder / "requirements.txt").write_text("\n".join(requirements) + "\n", encoding="utf-8")
    (folder / "requirements-torch.txt").write_text("torch==2.0\n", encoding="utf-8")
    (folder / "requirements-training.txt").write_text("skl2onnx>=1.17\n", encoding="utf-8")
    (folder / "__main__.py").write_text(_DOCTOR.format(modules=modules, version=version), encoding="utf-8")
    return folder


def make_python_archive(folder: Path, base: Path, platform_name: str) -> Path:
    """An archive in python-build-standalone's layout, made from a CPython of this machine."""
    import json
    import subprocess

    told = subprocess.run(
        [base, "-I", "-c", "import json,sys,sysconfig; print(json.dumps([sys.version_info[:3], sys.executable, "
         "sysconfig.get_path('stdlib')]))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    version, executable, library = json.loads(told.stdout)
    short = f"python{version[0]}.{version[1]}"
    archive = folder / f"cpython-{'.'.join(map(str, version))}+20260101-{platform_name}-install_only.tar.gz"
    left_out = {"site-packages", "dist-packages", "test", "idlelib", "tkinter", "turtledemo", "__pycache__", "lib2to3"}

    def wanted(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        parts = entry.name.split("/")
        skipped = left_out.intersection(parts) or any(part.startswith("config-3.") for part in parts)
        return None if skipped or not (entry.isfile() or entry.isdir()) else entry

    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz", compresslevel=1, dereference=True) as packed:
        packed.add(Path(executable).resolve(), f"python/bin/{short}")
        packed.add(library, f"python/lib/{short}", filter=wanted)
        link = tarfile.TarInfo("python/bin/python3")
        link.type, link.linkname, link.mode = tarfile.SYMTYPE, short, 0o777
        packed.addfile(link)
    return archive
