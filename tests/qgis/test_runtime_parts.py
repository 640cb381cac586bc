"""The installer's parts: which build fits, graphics cards, versions, proxies, secrets, pip's complaints, CPythons."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest
from qgis.core import QgsSettings

from thematica.errors import Cancelled, InputError, RuntimeMissingError
from thematica.plugin.runtime import build, gpu, install, own_python, process
from thematica.plugin.runtime.build import (
    BUILDS,
    builds_here,
    bytes_free,
    bytes_needed,
    propose_build,
    requirements,
    size_label,
    torch_index,
    unmet,
)
from thematica.plugin.runtime.gpu import Gpu, find_nvidia_gpu
from thematica.plugin.runtime.installed import examine, installed_packages
from thematica.plugin.runtime.lock import InstallationLock
from thematica.plugin.runtime.network import Network, proxy_url
from thematica.plugin.runtime.pip import Pip, explained
from thematica.plugin.runtime.process import CommandFailed, masked, run_command, secrets_of

from .runtime_parts import Watching, make_wheel


def card(driver="580.65", capability="8.6"):
    return Gpu("RTX", gpu._numbers(driver), gpu._numbers(capability), "test")


@pytest.fixture
def machine(monkeypatch):
    """``machine(system, processor)``: pretend to be on it."""

    def be(system, processor):
        monkeypatch.setattr(sys, "platform", system)
        monkeypatch.setattr("platform.machine", lambda: processor)

    return be


# -- builds -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "processor", "found", "proposed", "why"),
    [
        ("linux", "x86_64", None, "cpu", "No NVIDIA"),
        ("linux", "x86_64", card(), "cuda", "RTX, driver 580.65"),
        ("linux", "x86_64", card("570.86"), "cuda12", "driver 570.86"),
        ("linux", "x86_64", card(capability="6.1"), "cuda12", "RTX"),
        ("linux", "x86_64", card("470.1"), "cpu", "too old"),
        ("linux", "x86_64", Gpu("", (), (), "libcuda"), "cuda", "an NVIDIA driver"),
        ("linux", "aarch64", card(), "cpu", "only the build for the processor"),
        ("win32", "AMD64", None, "directml", "DirectML"),
        ("win32", "AMD64", card(), "cuda", "RTX"),
        ("win32", "ARM64", None, "cpu", "only the build for the processor"),
        ("darwin", "arm64", None, "cpu", "one build"),
    ],
)
def test_the_build_that_fits_is_proposed_with_a_reason(machine, system, processor, found, proposed, why):
    machine(system, processor)
    name, sentence = propose_build(lambda: found)
    assert name == proposed
    assert why in sentence
    assert name in [entry.name for entry in builds_here()]


@pytest.mark.parametrize("name", list(BUILDS))
def test_a_build_has_exactly_one_onnx_runtime(name):
    listed = requirements(name)
    assert len([line for line in listed if build.package_name(line) in build.RIVALS]) == 1
    assert len(listed) == len(requirements())
    assert requirements(name, torch=True)[-1].startswith("torch")


def test_an_unknown_build_is_refused():
    with pytest.raises(InputError, match="cuda12"):
        requirements("rocm")


@pytest.mark.parametrize(
    ("system", "name", "index"),
    [
        ("linux", "cpu", "https://download.pytorch.org/whl/cpu"),
        ("linux", "cuda", ""),
        ("linux", "cuda12", "https://download.pytorch.org/whl/cu126"),
        ("win32", "cpu", ""),
        ("win32", "directml", ""),
        ("win32", "cuda", "https://download.pytorch.org/whl/cu130"),
        ("darwin", "cpu", ""),
    ],
)
def test_pytorch_comes_from_the_index_that_has_the_right_build(machine, monkeypatch, system, name, index):
    monkeypatch.delenv("THEMATICA_TORCH_INDEX", raising=False)
    machine(system, "x86_64")
    assert torch_index(name) == index
    assert torch_index(name, "https://mirror/torch") == "https://mirror/torch"
    monkeypatch.setenv("THEMATICA_TORCH_INDEX", "https://variable/torch")
    assert torch_index(name) == "https://variable/torch"


@pytest.mark.parametrize(
    ("requirement", "version", "met"),
    [
        ("numpy>=1.26", "1.26", True),
        ("numpy>=1.26", "1.26.0", True),
        ("numpy>=1.26", "1.9", False),
        ("numpy>=1.26", "2.0rc1", True),
        ("onnxruntime-gpu[cuda,cudnn]>=1.21,<1.27", "1.26.0", True),
        ("onnxruntime-gpu[cuda,cudnn]>=1.21,<1.27", "1.27.0", False),
        ("torch==2.13.0", "2.13.0+cpu", True),
        ("torch==2.13.0", "2.13.1", False),
        ("numpy", "0.1", True),
        ("numpy!=2.0", "2.0", False),
    ],
)
def test_requirements_are_compared_with_what_is_there(requirement, version, met):
    name = build.package_name(requirement)
    assert unmet([requirement], {name: version}) == ([] if met else [requirement])
    assert unmet([requirement], {}) == [requirement]


def test_space(tmp_path):
    assert bytes_needed("cuda", True, True, True) > bytes_needed("cuda", True, False, False) > bytes_needed(
        "cuda", False, False, False
    ) > bytes_needed("cpu", False, False, False)  # fmt: skip
    assert bytes_free(tmp_path / "not" / "there" / "yet") == bytes_free(tmp_path)
    assert [size_label(size) for size in (1, 440_000_000, 2_830_000_000)] == ["1 MB", "440 MB", "2.8 GB"]


# -- graphics cards -----------------------------------------------------------------------------------


def program(folder, name, text):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def _nothing_nvidia(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(gpu, "_smi_places", list)
    monkeypatch.setattr(gpu, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(gpu, "_LINUX_LIBRARIES", (str(tmp_path),))


@pytest.mark.usefixtures("_nothing_nvidia")
class TestFindingACard:
    def test_none(self):
        assert find_nvidia_gpu() is None

    def test_nvidia_smi(self, tmp_path):
        program(tmp_path, "nvidia-smi", 'echo "NVIDIA H100, 570.86.15, 9.0"; echo "NVIDIA H100, 570.86.15, 9.0"')
        assert find_nvidia_gpu() == Gpu("NVIDIA H100", (570, 86, 15), (9, 0), "nvidia-smi")

    def test_an_old_nvidia_smi_does_not_know_the_capability(self, tmp_path):
        text = 'case "$1" in *compute_cap*) echo bad; exit 2;; esac\necho "Quadro K600, 390.157"'
        program(tmp_path, "nvidia-smi", text)
        assert find_nvidia_gpu() == Gpu("Quadro K600", (390, 157), (), "nvidia-smi")

    def test_nvidia_smi_without_a_card(self, tmp_path):
        program(tmp_path, "nvidia-smi", "echo 'NVIDIA-SMI has failed'; exit 9")
        assert find_nvidia_gpu() is None

    def test_the_kernel(self, tmp_path):
        information = tmp_path / "proc" / "gpus" / "0000:01:00.0" / "information"
        information.parent.mkdir(parents=True)
        information.write_text("Model: \t NVIDIA RTX A2000\nIRQ: 5\n")
        version = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12\nGCC version: 12.2.0\n"
        (tmp_path / "proc" / "version").write_text(version)
        found = find_nvidia_gpu()
        assert (found.name, found.driver) == ("NVIDIA RTX A2000", (535, 183, 1))

    def test_the_library_on_windows(self, tmp_path, machine, monkeypatch):
        machine("win32", "AMD64")
        monkeypatch.setenv("SYSTEMROOT", str(tmp_path))
        assert find_nvidia_gpu() is None
        (tmp_path / "System32").mkdir()
        (tmp_path / "System32" / "nvcuda.dll").touch()
        assert find_nvidia_gpu().found_by.endswith("nvcuda.dll")


# -- network and secrets ------------------------------------------------------------------------------


def test_a_proxy_reaches_pip_and_its_password_no_log():
    url = proxy_url("http", "proxy.example", 8080, "user", "p@ss/w:rd")
    environment = Network(proxy=url, no_proxy=("localhost", "intra")).environment()
    assert environment["HTTPS_PROXY"] == environment["https_proxy"] == url
    assert environment["NO_PROXY"] == "localhost,intra"
    listener = Watching()
    command = [
        sys.executable,
        "-c",
        "import os; print('via', os.environ['HTTPS_PROXY'], 'p@ss/w:rd', 'p%40ss%2Fw%3Ard')",
    ]
    command[0] = "/usr/bin/python3"
    run_command(command, listener, environment)
    assert listener.lines == ["via http://***@proxy.example:8080 *** ***"]
    assert "p@ss" not in repr(Network(proxy=url))


def test_details_of_a_failure_have_no_secrets():
    environment = {**process.clean_environment(), "PIP_INDEX_URL": "https://token-1234@index.example/simple"}
    with pytest.raises(CommandFailed) as caught:
        run_command(["/bin/sh", "-c", "echo $PIP_INDEX_URL token-1234; exit 1"], Watching(), environment)
    assert caught.value.lines == ["https://***@index.example/simple ***"]


def test_masking_leaves_ordinary_addresses_alone():
    assert masked("see https://mirror.example/simple/a@b and me@example.org") == (
        "see https://mirror.example/simple/a@b and me@example.org"
    )
    assert secrets_of({"PATH": "http://u:secret@x", "PIP_PROXY": "http://u:secret@x"}) == ["secret"]


def test_ipv6_proxies():
    assert proxy_url("http", "::1", 3128) == "http://[::1]:3128"


def test_certificates_are_named_to_everybody_or_refused(tmp_path):
    pem = tmp_path / "own.pem"
    pem.write_text("# own\n-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----\n")
    environment = Network(certificates=str(pem)).environment()
    assert {environment[name] for name in ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")} == {str(pem)}
    for wrong in (tmp_path / "none.pem", tmp_path):
        with pytest.raises(InputError, match="no certificates"):
            Network(certificates=str(wrong)).environment()


def test_pip_settings_of_the_machine_stay_but_those_that_divert_packages(monkeypatch):
    for name in ("PIP_INDEX_URL", "PIP_TARGET", "PIP_USER", "PIP_PREFIX"):
        monkeypatch.setenv(name, "x")
    environment = Network().environment()
    assert environment["PIP_INDEX_URL"] == "x"
    assert not {"PIP_TARGET", "PIP_USER", "PIP_PREFIX"} & environment.keys()


def test_qgis_proxy_is_taken():
    from qgis.core import QgsNetworkAccessManager
    from qgis.PyQt.QtNetwork import QNetworkProxy

    from thematica.plugin.runtime.qgis_settings import network_of_qgis

    manager = QgsNetworkAccessManager.instance()
    before = manager.fallbackProxy(), manager.excludeList(), manager.noProxyList()
    assert network_of_qgis().proxy == ""
    QgsSettings().setValue("proxy/proxyEnabled", True)
    try:
        proxy = QNetworkProxy(QNetworkProxy.ProxyType.HttpProxy, "proxy.example", 3128, "me", "s:cret")
        manager.setFallbackProxyAndExcludes(proxy, ["http://intra.example/x"], [])
        found = network_of_qgis()
        assert found.proxy == "http://me:s%3Acret@proxy.example:3128"
        assert found.no_proxy == ("intra.example",)
        proxy.setType(QNetworkProxy.ProxyType.Socks5Proxy)
        manager.setFallbackProxyAndExcludes(proxy, [], [])
        assert network_of_qgis().proxy.startswith("socks5h://")
    finally:
        QgsSettings().remove("proxy")
        manager.setFallbackProxyAndExcludes(*before)


# -- pip ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]", "certificate is not trusted"),
        ("ProxyError('Unable to connect to proxy', OSError('Tunnel connection failed: 407 Proxy", "wants a user"),
        ("ProxyError('Cannot connect to proxy.', NewConnectionError(", "proxy cannot be reached"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "arrived damaged"),
        ("NewConnectionError: [Errno -3] Temporary failure in name resolution", "cannot be reached"),
        ("ERROR: 401 Client Error: Unauthorized for url", "password (401)"),
        ("ERROR: No matching distribution found for numpy>=9 (from x)", "no wheel of numpy>=9"),
        ("urllib3.exceptions.ReadTimeoutError: Read timed out.", "broke off"),
        ("ERROR: something new", "(something new)"),
    ],
)
def test_what_pip_complains_about_is_one_sentence(said, sentence):
    error = explained(["Collecting numpy", said])
    assert sentence in error.message
    assert said in error.details


def test_without_network_nothing_is_said_of_a_missing_wheel():
    lines = ["Retrying: NewConnectionError(…)", "ERROR: No matching distribution found for numpy>=1.26"]
    assert "cannot be reached" in explained(lines).message
    assert "folder" in explained(lines[1:], Path("/wheels")).message


@pytest.mark.parametrize(
    ("version", "cert", "has", "has_not"),
    [
        ("23.0.1", "", ["off", "--cert"], ["truststore"]),
        ("24.0", "", ["off", "truststore"], ["--cert"]),
        ("26.3", "", ["raw"], ["truststore", "--cert"]),
        ("24.0", "/own.pem", ["off"], ["truststore", "--cert"]),
    ],
)
def test_pip_options_fit_its_version(tmp_path, monkeypatch, version, cert, has, has_not):
    python = program(tmp_path, "python", f"echo pip {version} from here")
    (tmp_path / "bundle").touch()
    monkeypatch.setattr("thematica.plugin.runtime.pip._SYSTEM_CERTIFICATES", (str(tmp_path / "bundle"),))
    options = Pip(python, {"PIP_CERT": cert} if cert else {}, Watching())._options()
    assert all(option in options for option in has)
    assert not any(option in options for option in has_not)


def test_progress_of_a_download(tmp_path):
    text = "case $* in *--version*) echo pip 26.3 from x; exit;; esac\n" + "\n".join(
        f"echo '{line}'"
        for line in (
            "Collecting numpy>=1.26",
            "  Downloading numpy-2.4.6-cp311-x.whl (20 MB)",
            "Progress 0 of 20000000",
            "Progress 10000000 of 20000000",
            "Installing collected packages: numpy",
        )
    )
    listener = Watching()
    Pip(program(tmp_path, "python", text), {"PATH": os.environ["PATH"]}, listener).install(["numpy"], (0.1, 0.9))
    steps = dict(listener.steps)
    assert "Downloading numpy-2.4.6 (10 MB of 20 MB)" in steps
    fractions = [fraction for _, fraction in listener.steps if fraction is not None]
    assert fractions == sorted(fractions)
    assert 0.1 <= fractions[0] <= fractions[-1] <= 0.9
    assert not any("Progress" in line for line in listener.lines)


# -- what is installed --------------------------------------------------------------------------------


@pytest.fixture
def environment(tmp_path):
    """A virtual environment's folder with two packages, unpacked by hand."""
    site = tmp_path / "env" / "lib" / "python3.11" / "site-packages"
    for name in ("alpha", "beta-b"):
        with zipfile.ZipFile(make_wheel(tmp_path / "wheels", name, "1.0")) as packed:
            packed.extractall(site)
    return tmp_path / "env", site


@pytest.mark.parametrize(
    ("breaking", "reason"),
    [
        (lambda site: (site / "alpha" / "data.txt").unlink(), "lacks a file (data.txt)"),
        (lambda site: (site / "alpha" / "data.txt").write_text("data\n"), "has a damaged file (data.txt)"),
        (lambda site: (site / "alpha" / "data.txt").write_text("atad\n" * 100), "has a damaged file (data.txt)"),
        (lambda site: (site / "alpha-1.0.dist-info" / "RECORD").unlink(), "was not installed completely"),
        (lambda site: (site / "alpha-1.0.dist-info" / "RECORD").write_bytes(b"\xff\xfe"), "unreadable list"),
        (lambda site: (site / "alpha-1.0.dist-info").rename(site / "alpha-0.9.dist-info"), "is 0.9 instead of 1.0"),
        (lambda site: (site / "alpha-1.0.dist-info").rename(site / "~lpha-1.0.dist-info"), "is missing"),
    ],
)
def test_damage_is_found(environment, breaking, reason):
    folder, site = environment
    expected = {"alpha": "1.0", "beta-b": "1.0"}
    assert {name: entry.version for name, entry in installed_packages(folder).items()} == expected
    assert examine(folder, expected, Watching()) == []
    breaking(site)
    (damage,) = examine(folder, expected, Watching())
    assert (damage.name, damage.version) == ("alpha", "1.0")
    assert reason in damage.reason


# -- one at a time ------------------------------------------------------------------------------------


def test_a_second_installation_waits_for_the_first(tmp_path, monkeypatch):
    monkeypatch.setattr("thematica.plugin.runtime.lock.SECONDS_TO_WAIT", 0.3)
    with InstallationLock(tmp_path / "lock", Watching()):
        listener = Watching()
        with pytest.raises(RuntimeMissingError, match="Another installation"), InstallationLock(
            tmp_path / "lock", listener
        ):  # fmt: skip
            pytest.fail("two at a time")
        assert "Waiting" in listener.steps[0][0]
    with InstallationLock(tmp_path / "lock", Watching()):
        pass


def test_the_lock_lives_as_long_as_a_process_that_we_started(tmp_path, monkeypatch):
    monkeypatch.setattr("thematica.plugin.runtime.lock.SECONDS_TO_WAIT", 0.3)
    with InstallationLock(tmp_path / "lock", Watching()) as lock:
        orphan = subprocess.Popen(["sleep", "30"], pass_fds=lock.inherited)
    try:
        with pytest.raises(RuntimeMissingError), InstallationLock(tmp_path / "lock", Watching()):
            pytest.fail("the orphan may still write")
    finally:
        orphan.kill()
        orphan.wait()
    with InstallationLock(tmp_path / "lock", Watching()):
        pass


# -- a CPython of our own -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "processor", "name"),
    [
        ("linux", "x86_64", "x86_64-unknown-linux-gnu"),
        ("linux", "aarch64", "aarch64-unknown-linux-gnu"),
        ("win32", "AMD64", "x86_64-pc-windows-msvc"),
        ("darwin", "arm64", "aarch64-apple-darwin"),
    ],
)
def test_the_newest_archive_for_this_system_is_taken(tmp_path, machine, system, processor, name):
    machine(system, processor)
    for version, platform_name in (
        ("3.9.20", name),
        ("3.11.9", name),
        ("3.12.8", name),
        ("3.13.1", "riscv64-unknown-linux-gnu"),
        ("3.15.0", name),
    ):
        (tmp_path / f"cpython-{version}+20260101-{platform_name}-install_only_stripped.tar.gz").touch()
    assert own_python.archive_in(tmp_path).name.startswith("cpython-3.12.8")


@pytest.mark.parametrize(
    ("name", "link"),
    [
        ("python/../../evil", None),
        ("/evil", None),
        ("other/file", None),
        ("python/a", "../../evil"),
        ("python/a", "/etc"),
    ],
)
def test_an_archive_writes_nothing_outside(tmp_path, monkeypatch, name, link):
    monkeypatch.setenv("THEMATICA_HOME", str(tmp_path / "home"))
    archive = tmp_path / f"cpython-3.12.1+1-{own_python.platform_name()}-install_only.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        entry = tarfile.TarInfo(name)
        if link:
            entry.type, entry.linkname = tarfile.SYMTYPE, link
            packed.addfile(entry)
        else:
            entry.size = 4
            packed.addfile(entry, io.BytesIO(b"evil"))
    with pytest.raises(RuntimeMissingError, match="no complete archive"):
        own_python.unpack(archive, Watching())
    assert not list(tmp_path.rglob("evil*"))
    assert list((tmp_path / "home" / "python").iterdir()) == []


def test_half_an_archive_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("THEMATICA_HOME", str(tmp_path / "home"))
    archive = tmp_path / f"cpython-3.12.1+1-{own_python.platform_name()}-install_only.tar.gz"
    archive.write_bytes(b"\x1f\x8b\x08\x00half")
    with pytest.raises(RuntimeMissingError, match="copy it again"):
        own_python.unpack(archive, Watching())


class _Index(http.server.BaseHTTPRequestHandler):
    """A package index with three releases of uv."""

    pages: dict[str, tuple[str, bytes]] = {}  # noqa: RUF012 - filled by the test
    asked: list[tuple[str, str | None]] = []  # noqa: RUF012

    def do_GET(self):
        type(self).asked.append((self.path, self.headers.get("Authorization")))
        kind, content = self.pages.get(self.path, ("", b""))
        self.send_response(200 if kind else 404)
        self.send_header("Content-Type", kind or "text/plain")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def index():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Index)
    _Index.pages, _Index.asked = {}, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def uv_names(system):
    return [f"uv-{version}-py3-none-{system}.whl" for version in ("0.9.1", "0.13.9", "0.13.10")]


@pytest.mark.parametrize("kind", ["json", "html"])
def test_without_pip_uv_comes_from_the_index_itself(index, tmp_path, kind):
    names = [
        *uv_names("manylinux_2_17_x86_64.manylinux2014_x86_64"),
        *uv_names("win_amd64"),
        *uv_names("macosx_11_0_arm64"),
    ]
    content = b"the newest"
    digest = hashlib.sha256(content).hexdigest()
    if kind == "json":
        files = [{"filename": name, "url": f"../../files/{name}", "hashes": {"sha256": digest}} for name in names]
        page = ("application/vnd.pypi.simple.v1+json", json.dumps({"files": files}).encode())
    else:
        links = "".join(f'<a href="../../files/{name}#sha256={digest}">{name}</a>' for name in names)
        page = ("text/html", links.encode())
    newest = "uv-0.13.10-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
    _Index.pages = {"/simple/uv/": page, f"/files/{newest}": ("application/zip", content)}
    listener = Watching()
    environment = {"PIP_INDEX_URL": f"http://me:secret-1@{index}/simple"}
    wheel = own_python.fetch_uv_from_index(tmp_path, environment, listener)
    assert wheel.name == newest
    assert wheel.read_bytes() == content
    assert _Index.asked[0][1].startswith("Basic ")
    assert "secret-1" not in listener.text

    _Index.pages[f"/files/{newest}"] = ("application/zip", b"altered")
    with pytest.raises(RuntimeMissingError, match="damaged"):
        own_python.fetch_uv_from_index(tmp_path, environment, listener)


@pytest.mark.parametrize(
    ("system", "processor", "taken"),
    [
        ("win32", "AMD64", "win_amd64"),
        ("darwin", "arm64", "macosx_11_0_arm64"),
        ("linux", "aarch64", "manylinux_2_17_aarch64.manylinux2014_aarch64"),
    ],
)
def test_uv_for_other_systems(machine, system, processor, taken):
    machine(system, processor)
    names = [
        f"uv-0.13.9-py3-none-{name}.whl"
        for name in (
            "win_amd64", "win_arm64", "win32", "macosx_10_12_x86_64", "macosx_11_0_arm64", "musllinux_1_1_aarch64",
            "manylinux_2_17_aarch64.manylinux2014_aarch64", "manylinux_2_17_x86_64.manylinux2014_x86_64",
        )
    ]  # fmt: skip
    assert own_python._newest_fitting([(name, name, "") for name in names])[0] == f"uv-0.13.9-py3-none-{taken}.whl"


def test_an_index_without_uv_is_one_sentence(index, tmp_path):
    with pytest.raises(RuntimeMissingError, match="cannot be reached, from which uv"):
        own_python.fetch_uv_from_index(tmp_path, {"PIP_INDEX_URL": f"http://{index}/simple"}, Watching())
    with pytest.raises(RuntimeMissingError, match="cannot be reached, from which uv"):
        own_python.fetch_uv_from_index(tmp_path, {"PIP_INDEX_URL": "file:///etc"}, Watching())


def test_without_pip_and_without_an_index_it_is_said_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(own_python, "_configured_index", lambda: "")
    with pytest.raises(RuntimeMissingError, match="PIP_INDEX_URL"):
        own_python.fetch_uv_from_index(tmp_path, {}, Watching())


# -- the command for a folder of wheels ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "processor", "starts", "tag"),
    [
        ("linux", "x86_64", "python3 -m pip download", "manylinux_2_28_x86_64"),
        ("win32", "AMD64", "py -m pip download", "win_amd64"),
        ("darwin", "arm64", "python3 -m pip download", "macosx_11_0_arm64"),
    ],
)
def test_the_command_for_another_machine_names_this_system(machine, system, processor, starts, tag):
    machine(system, processor)
    command = install.download_command(install.Choice("cpu"), (3, 12))
    assert command.startswith(starts)
    assert f"--platform {tag}" in command
    assert "--python-version 3.12" in command
    assert '"numpy>=1.26"' in command, "sh would take > for a redirection"


def test_cancelling_ends_a_command_and_its_children(tmp_path):
    listener = Watching(cancel_at="started")
    with pytest.raises(Cancelled):
        run_command(["/bin/sh", "-c", "echo started; sleep 60 & wait"], listener)
