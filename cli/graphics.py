"""Which graphics processors this computer has, asked without any library that could crash."""

from __future__ import annotations

import importlib
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

_SYSTEM = platform.system()
# PCI vendors in Linux's sysfs.
_VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}
# Device class of display adapters in Windows's registry.
_DISPLAY = r"SYSTEM\CurrentControlSet\Control\Class\{4d36e968-e325-11ce-bfc1-08002be10318}"


def find_gpus() -> list[dict[str, Any]]:
    """Name, memory in bytes and driver of each GPU, as far as the system tells.

    Returns:
        A list of ``{"name", "memory", "driver"}``; unknown memory and driver are None.
    """
    found = _from_nvidia_smi()
    try:
        if _SYSTEM == "Windows":
            found += _from_registry(skip_nvidia=bool(found))
        elif _SYSTEM == "Darwin":
            found += _from_mac()
        else:
            found += _from_sysfs(Path("/sys/class/drm"), skip_nvidia=bool(found))
    except OSError:
        # A system that does not tell is none of the analyst's problems.
        pass
    return found


def run_quietly(command: list[str], patience: float) -> tuple[int | None, str]:
    """Run a program; returns exit status (None: it took too long or cannot be run) and all that it printed."""
    no_window = 0x08000000 if _SYSTEM == "Windows" else 0
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=patience,
            check=False, creationflags=no_window,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, str(error)
    return done.returncode, done.stdout.decode("utf-8", "replace")


def _from_nvidia_smi() -> list[dict[str, Any]]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    status, text = run_quietly(
        [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"], 10
    )
    if status != 0:
        # "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
        told = " ".join(text.split())[:160]
        return [{"name": f"NVIDIA, but nvidia-smi fails: {told}", "memory": None, "driver": None}]
    return read_nvidia_smi(text)


def read_nvidia_smi(text: str) -> list[dict[str, Any]]:
    """GPUs from lines such as ``NVIDIA A100, 40960, 550.54``."""
    found = []
    for line in text.splitlines():
        name, _, rest = line.rpartition(", ")[0].rpartition(", ")
        driver = line.rpartition(", ")[2].strip()
        if name:
            found.append(
                {"name": name.strip(), "memory": int(rest) * 2**20 if rest.isdigit() else None, "driver": driver}
            )
    return found


def _from_sysfs(folder: Path, skip_nvidia: bool) -> list[dict[str, Any]]:
    found = []
    for card in sorted(folder.glob("card[0-9]*")):
        vendor = card / "device" / "vendor"
        if not card.name[4:].isdigit() or not vendor.is_file():
            continue
        maker = _VENDORS.get(vendor.read_text().strip())
        if maker and not (maker == "NVIDIA" and skip_nvidia):
            name = f"{maker} graphics" if maker != "NVIDIA" else "NVIDIA graphics, without NVIDIA's driver (nvidia-smi)"
            found.append({"name": name, "memory": None, "driver": None})
    return found


def _from_mac() -> list[dict[str, Any]]:
    if platform.machine() != "arm64":
        return []
    _, name = run_quietly(["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"], 2)
    return [{"name": f"{name.strip() or 'Apple'} (CoreML, Metal)", "memory": None, "driver": None}]


def _from_registry(skip_nvidia: bool) -> list[dict[str, Any]]:
    # By name: type checkers know it on Windows alone.
    winreg: Any = importlib.import_module("winreg")
    found = []
    with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, _DISPLAY) as adapters:
        for index in range(winreg.QueryInfoKey(adapters)[0]):
            entry = winreg.EnumKey(adapters, index)
            if not entry.isdigit():
                continue
            with winreg.OpenKey(adapters, entry) as adapter:
                name = str(winreg.QueryValueEx(adapter, "DriverDesc")[0])
                driver = str(winreg.QueryValueEx(adapter, "DriverVersion")[0])
            if not (skip_nvidia and "nvidia" in name.lower()):
                found.append({"name": name, "memory": None, "driver": driver})
    return found
