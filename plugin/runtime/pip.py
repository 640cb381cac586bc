"""pip in a virtual environment: its options by version, its progress, and what it complains about in one sentence.

pip and not uv installs the packages: it reads the machine's own configuration (pip.conf, ``PIP_…``: indexes, proxies,
certificates, constraints), which organisations set up for exactly this, and uv does not.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

from ...errors import RuntimeMissingError
from .build import numbers, size_label
from .downloads import Downloads
from .process import CommandFailed, Listener, process_options, run_command

_PROGRESS = re.compile(r"Progress (\d+) of (\d+)$")
_DOWNLOADING = re.compile(r"\s*Downloading (\S+)")
_COLLECTING = re.compile(r"\s*(?:Collecting|Processing|Using cached|Requirement already satisfied:) (\S+)")
#: Where Linux distributions keep the certificates that they trust.
_SYSTEM_CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)

_OFFLINE_HINT = "make the folder of wheels anew with the command shown under “Offline”"


class Pip:
    """pip of one virtual environment.

    Args:
        python: the environment's interpreter.
        environment: of its processes.
        listener: gets log and progress.
        inherited: file descriptors that pip keeps open (see :class:`.lock.InstallationLock`).
        wheels: install from this folder only, and never from the network.
        extra_index: a further package index, or empty; only for what is said to come from there, since pip asks it for
            every package.
        downloads: keeps complete wheels; None: nobody does.
    """

    def __init__(
        self,
        python: Path,
        environment: Mapping[str, str],
        listener: Listener,
        inherited: Sequence[int] = (),
        wheels: Path | None = None,
        extra_index: str = "",
        downloads: Downloads | None = None,
    ) -> None:
        self.python = python
        self.environment = dict(environment) if downloads is None else downloads.environment(environment)
        self.downloads = downloads
        self.listener = listener
        self.inherited = tuple(inherited)
        self.wheels = wheels
        self.extra_index = extra_index
        self.version = self._ask_version()

    @property
    def _command(self) -> list[str]:
        # UTF-8 whatever the code page, and none of the Python settings of the caller.
        return [str(self.python), "-X", "utf8", "-I", "-m", "pip"]

    def _ask_version(self) -> tuple[int, ...]:
        """The version; (0,) where pip does not run."""
        try:
            done = subprocess.run(
                [*self._command, "--version"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=60,
                check=False,
                **process_options(),
            )
        except (OSError, subprocess.TimeoutExpired):
            return (0,)
        said = re.match(r"pip (\S+)", done.stdout)
        return numbers(said[1]) if said and done.returncode == 0 else (0,)

    def upgrade(self) -> None:
        """The newest pip there is: it trusts the system's certificates (24.2) and resumes downloads (25.1).

        Where that fails, the pip that is there will do or will say why not.
        """
        if self.wheels is not None and not any(self.wheels.glob("pip-*.whl")):
            return
        try:
            self._run(["install", "--upgrade", *self._options(), "pip"], (0.0, 0.0))
        except CommandFailed:
            self.listener.line("pip stays as it is.")
            return
        self.version = self._ask_version()

    def install(
        self, listed: Sequence[str], span: tuple[float, float], more: Sequence[str] = (), extra: bool = False
    ) -> None:
        """Install packages.

        Args:
            listed: requirements.
            span: the part of the whole progress that this is.
            more: further options.
            extra: ask the further index, too.

        Raises:
            RuntimeMissingError: it could not.
            Cancelled: the listener said so.
        """
        try:
            self._run(["install", *self._options(extra), *more, *listed], span)
        except CommandFailed as failure:
            raise explained(failure.lines, self.wheels) from failure

    def uninstall(self, name: str) -> None:
        """Remove a package as far as pip can."""
        try:
            self._run(["uninstall", "--yes", "--disable-pip-version-check", name], (0.0, 0.0))
        except CommandFailed:
            self.listener.line(f"pip could not remove {name}; its files are written over.")

    def _options(self, extra: bool = False) -> list[str]:
        # Wheels only: a source package would need compilers and GDAL's headers, and fail after minutes.
        options = ["--no-input", "--disable-pip-version-check", "--only-binary", ":all:", "--no-user"]
        options += ["--progress-bar", "raw" if self.version >= (24, 1) else "off"]
        if self.wheels is not None:
            # An index or proxy that pip's configuration names is not asked.
            options += ["--no-index", "--find-links", str(self.wheels)]
        elif self.extra_index and extra:
            options += ["--extra-index-url", self.extra_index]
        if self.wheels is None and self.downloads is not None:
            options += ["--find-links", str(self.downloads.wheels)]
        if self.wheels is None and not self.environment.get("PIP_CERT"):
            if (23, 3) <= self.version < (24, 2):
                options += ["--use-feature", "truststore"]
            elif self.version < (23, 3):
                bundle = next((path for path in _SYSTEM_CERTIFICATES if Path(path).is_file()), "")
                options += ["--cert", bundle] if bundle else []
        return options

    def _run(self, arguments: Sequence[str], span: tuple[float, float]) -> None:
        start, end = span
        seen = 0
        last = -1

        def take(line: str) -> bool:
            nonlocal seen, last
            progress = _PROGRESS.match(line)
            if progress:
                done, size = int(progress[1]), int(progress[2])
                percent = 100 * done // max(1, size)
                if percent != last:
                    last = percent
                    self.listener.step(f"{take.what} ({size_label(done)} of {size_label(size)})")
                return True
            downloading, collecting = _DOWNLOADING.match(line), _COLLECTING.match(line)
            if downloading or collecting:
                if self.downloads is not None:
                    self.downloads.gather()
                seen += 1
                take.what = _doing(downloading, collecting)
                # How many there will be is not known before: each one takes its part of what is left.
                self.listener.step(take.what, start + (end - start) * 0.8 * (1 - 0.97**seen))
            elif line.startswith("Installing collected packages"):
                self.listener.step("Installing the packages", start + (end - start) * 0.85)
            return False

        take.what = "Downloading"
        run_command([*self._command, *arguments], self.listener, self.environment, self.inherited, take)
        if self.downloads is not None:
            self.downloads.gather()


def _doing(downloading: re.Match[str] | None, collecting: re.Match[str] | None) -> str:
    """What a line of pip's says that it does: ``Downloading numpy-2.4.6``, ``Looking for numpy``."""
    if downloading:
        return f"Downloading {'-'.join(unquote(downloading[1].rpartition('/')[2]).split('-')[:2])}"
    assert collecting is not None
    return f"Looking for {re.split(r'[=<>!~(]', unquote(collecting[1].rpartition('/')[2]))[0]}"


_CAUSES = (
    (
        r"CERTIFICATE_VERIFY_FAILED|SSLCertVerificationError|certificate verify failed",
        "The server's certificate is not trusted. If your organisation inspects secure connections, name the file with "
        "its certificates under “Network”.",
    ),
    (
        r"407 Proxy|Proxy Authentication Required",
        "The proxy wants a user and a password: set them in Settings ▸ Options ▸ Network.",
    ),
    (
        r"Missing dependencies for SOCKS",
        "pip cannot use a SOCKS proxy; name an HTTP proxy in Settings ▸ Options ▸ Network.",
    ),
    (r"ProxyError|Cannot connect to proxy", "The proxy cannot be reached: check it in Settings ▸ Options ▸ Network."),
    (
        r"No space left on device|\[Errno 28\]|not enough space on the disk",
        "The disk is full: free some space and try again.",
    ),
    (r"\[Errno 122\]|Disk quota exceeded", "Your disk quota is used up: free some space and try again."),
    (
        r"DO NOT MATCH THE HASHES|hash mismatch",
        "A download arrived damaged: try again; if it stays so, the package index or a proxy alters files.",
    ),
    (r"\b401\b.*(Client )?Error|Unauthorized", "The package index wants a password (401): check pip's configuration."),
    (r"\b403\b.*(Client )?Error|Forbidden", "The package index refuses the download (403): ask whoever runs it."),
    (
        r"ReadTimeoutError|IncompleteRead|IncompleteDownload|Wheel '[^']+' located at .* is invalid|"
        r"Connection broken|ConnectionResetError|Connection aborted",
        "The connection broke off: try again; what was downloaded is kept.",
    ),
)
_NO_NETWORK = re.compile(
    r"NewConnectionError|NameResolutionError|Temporary failure in name resolution|getaddrinfo failed|"
    r"Network is unreachable|Max retries exceeded|ConnectTimeoutError|Connection refused"
)


def explained(lines: Sequence[str], wheels: Path | None = None) -> RuntimeMissingError:
    """What pip said, as one sentence for the analyst with the lines as details."""
    text = "\n".join(lines)
    details = "\n".join(lines[-200:])
    for pattern, sentence in _CAUSES:
        if re.search(pattern, text):
            return RuntimeMissingError(sentence, details)
    lacking = re.search(r"No matching distribution found for (.+?)(?: \(from|$)", text, re.MULTILINE)
    if wheels is None and _NO_NETWORK.search(text):
        return RuntimeMissingError(
            "The package index cannot be reached: check the network connection and, in Settings ▸ Options ▸ Network, "
            "the proxy; or install from a folder of wheels.",
            details,
        )
    if lacking and wheels is not None:
        return RuntimeMissingError(
            f"The folder “{wheels}” has no wheel of {lacking[1].strip()} for this Python and system: {_OFFLINE_HINT}.",
            details,
        )
    if lacking:
        return RuntimeMissingError(
            f"The package index has no wheel of {lacking[1].strip()} for this Python and system; the log says more.",
            details,
        )
    errors = [line for line in lines if line.lower().startswith("error")]
    reason = f" ({errors[-1].split(':', 1)[-1].strip()})" if errors else ""
    return RuntimeMissingError(f"Installing the packages failed{reason}; the log says more.", details)
