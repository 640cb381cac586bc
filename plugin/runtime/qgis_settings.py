"""What QGIS's own settings say of the network.  The only file of this package that needs QGIS, besides ``find``."""

from __future__ import annotations

from qgis.core import QgsNetworkAccessManager, QgsSettings
from qgis.PyQt.QtCore import QUrl
from qgis.PyQt.QtNetwork import QNetworkProxy, QNetworkProxyFactory, QNetworkProxyQuery

from .network import Network, proxy_url

CERTIFICATES = "thematica/certificates"
TORCH_INDEX = "thematica/torch_index"
PYTHON_MIRROR = "thematica/python_mirror"


def network_of_qgis() -> Network:
    """Proxy of QGIS (Settings ▸ Options ▸ Network), and Thematica's own settings.  Call it in the main thread."""
    settings = QgsSettings()
    proxy, direct = "", ()
    if settings.value("proxy/proxyEnabled", False, bool):
        manager = QgsNetworkAccessManager.instance()
        proxy = _url_of(manager.fallbackProxy())
        direct = tuple(_host_of(url) for url in [*manager.excludeList(), *manager.noProxyList()] if _host_of(url))
    return Network(
        proxy=proxy,
        no_proxy=direct,
        certificates=str(settings.value(CERTIFICATES, "") or ""),
        torch_index=str(settings.value(TORCH_INDEX, "") or ""),
        python_mirror=str(settings.value(PYTHON_MIRROR, "") or ""),
    )


def _url_of(proxy: QNetworkProxy) -> str:
    if proxy.type() == QNetworkProxy.ProxyType.DefaultProxy or not proxy.hostName():
        # QGIS follows the system's proxy.
        # Any address outside will do; this one belongs to nobody (RFC 2606).
        query = QNetworkProxyQuery(QUrl("https://example.org/"))
        proxy = next(iter(QNetworkProxyFactory.systemProxyForQuery(query)), proxy)
    if not proxy.hostName() or proxy.type() == QNetworkProxy.ProxyType.NoProxy:
        return ""
    kind = "socks5h" if proxy.type() == QNetworkProxy.ProxyType.Socks5Proxy else "http"
    return proxy_url(kind, proxy.hostName(), proxy.port(), proxy.user(), proxy.password())


def _host_of(url: str) -> str:
    return QUrl.fromUserInput(url).host() if url.strip() else ""
