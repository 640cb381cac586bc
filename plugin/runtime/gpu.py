"""Is there an NVIDIA graphics card, and with which driver?  Asked without loading anything into this process."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .process import clean_environment, process_options

_PROC = Path("/proc/driver/nvidia")
_LINUX_LIBRARIES = ("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/lib/wsl/lib")


@dataclass(frozen=True)
class Gpu:
    """A graphics card, or only signs of one.

    Args:
        name: as the driver calls it; empty where only the driver was found.
        driver: the driver's version, numbers; empty where unknown.
        capability: CUDA's compute capability (8.6 → (8, 6)); empty where unknown.
        found_by: what told us.
    """

    name: str
    driver: tuple[int, ...]
    capability: tuple[int, ...]
    found_by: str

    @property
    def label(self) -> str:
        """``"NVIDIA RTX 3060, driver 570.86"``."""
        driver = f", driver {'.'.join(map(str, self.driver))}" if self.driver else ""
        return f"{self.name or 'an NVIDIA driver'}{driver}"


def find_nvidia_gpu() -> Gpu | None:
    """The first NVIDIA card, or None: ``nvidia-smi``, then the kernel's own word, then the driver's library."""
    return _ask_nvidia_smi() or _read_proc() or _find_library()


def _ask_nvidia_smi() -> Gpu | None:
    program = shutil.which("nvidia-smi", path=clean_environment().get("PATH")) or next(
        (str(path) for path in _smi_places() if path.is_file()), None
    )
    if program is None:
        return None
    for fields in ("name,driver_version,compute_cap", "name,driver_version"):  # drivers before 2021 lack the third
        try:
            done = subprocess.run(
                [program, f"--query-gpu={fields}", "--format=csv,noheader"],
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=15,
                check=False,
                **process_options(),
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        first = done.stdout.strip().splitlines()[:1]
        if done.returncode == 0 and first:
            name, driver, capability = (*(part.strip() for part in first[0].split(",")), "")[:3]
            return Gpu(name, _numbers(driver), _numbers(capability), "nvidia-smi")
    return None


def _smi_places() -> list[Path]:
    if sys.platform == "win32":
        windows = Path(os.environ.get("SYSTEMROOT", r"C:\Windows"))
        programs = Path(os.environ.get("PROGRAMFILES", r"C:\Program Files"))
        return [windows / "System32" / "nvidia-smi.exe", programs / "NVIDIA Corporation" / "NVSMI" / "nvidia-smi.exe"]
    return [Path("/usr/bin/nvidia-smi"), Path("/usr/lib/wsl/lib/nvidia-smi")]


def _read_proc() -> Gpu | None:
    cards = sorted((_PROC / "gpus").glob("*/information")) if _PROC.is_dir() else []
    if not cards:
        return None
    name = re.search(r"(?m)^Model:\s*(.+)$", _read(cards[0]))
    driver = re.search(r"\s(\d+\.\d+(?:\.\d+)?)\s", _read(_PROC / "version"))
    return Gpu(name[1].strip() if name else "", _numbers(driver[1] if driver else ""), (), str(_PROC))


def _find_library() -> Gpu | None:
    if sys.platform == "win32":
        places = [Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "nvcuda.dll"]
    elif sys.platform == "darwin":
        places = []
    else:
        # The library alone is no card on a machine where containers or packages bring it: the device must be there.
        devices = any(Path(device).exists() for device in ("/dev/nvidia0", "/dev/dxg"))
        places = [Path(folder) / "libcuda.so.1" for folder in _LINUX_LIBRARIES] if devices else []
    found = next((path for path in places if path.exists()), None)
    return Gpu("", (), (), str(found)) if found else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
