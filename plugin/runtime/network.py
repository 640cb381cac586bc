"""How the installation reaches the network: proxy, certificates, mirrors.  pip's own configuration stays in force."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from ...errors import InputError
from .process import clean_environment

#: Options of pip that would put the packages elsewhere, or nowhere.
_DIVERTING = (
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_USER",
    "PIP_PYTHON",
    "PIP_DRY_RUN",
    "PIP_REPORT",
    "PIP_QUIET",
)


@dataclass(frozen=True)
class Network:
    """What the analyst or QGIS set; an empty value leaves to the environment and to pip's configuration.

    Args:
        proxy: URL of the proxy, with user and password where it wants them.
        no_proxy: hosts that are reached directly.
        certificates: PEM file with the certificates to trust, where an organisation's proxy opens TLS.
        torch_index: package index for PyTorch's wheels.
        python_mirror: what stands in for GitHub's releases of python-build-standalone.
    """

    proxy: str = field(default="", repr=False)
    no_proxy: tuple[str, ...] = ()
    certificates: str = ""
    torch_index: str = ""
    python_mirror: str = ""

    def environment(self) -> dict[str, str]:
        """The clean environment with these settings, as pip, uv and Python's own library read them.

        Raises:
            InputError: the certificates' file is none.
        """
        environment = {name: value for name, value in clean_environment().items() if name.upper() not in _DIVERTING}
        if self.proxy:
            for name in ("http_proxy", "https_proxy", "all_proxy"):
                # Both spellings: the lower one wins where both are read.
                environment[name] = environment[name.upper()] = self.proxy
        if self.no_proxy:
            environment["no_proxy"] = environment["NO_PROXY"] = ",".join(self.no_proxy)
        if self.certificates:
            if not has_certificates(Path(self.certificates)):
                raise InputError(
                    f"“{self.certificates}” holds no certificates: name a PEM file (it has lines “BEGIN CERTIFICATE”)."
                )
            for name in ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
                environment[name] = self.certificates
        if self.python_mirror:
            environment["UV_PYTHON_INSTALL_MIRROR"] = self.python_mirror
        return environment


def has_certificates(path: Path) -> bool:
    """True for a PEM file with certificates."""
    try:
        with path.open("rb") as stream:
            return b"-----BEGIN CERTIFICATE-----" in stream.read(4 * 2**20)
    except OSError:
        return False


def proxy_url(kind: str, host: str, port: int, user: str = "", password: str = "") -> str:
    """The URL of a proxy; user and password are escaped, so that any character may be in them.

    Args:
        kind: ``http`` or ``socks5h``.
        host: its name or address.
        port: its port, or 0.
        user: empty for none.
        password: of the user.
    """
    sign_in = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user else ""
    name = f"[{host}]" if ":" in host else host
    return f"{kind}://{sign_in}{name}{f':{port}' if port else ''}"
