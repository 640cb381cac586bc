"""Load the plugin from a folder as QGIS does, without a window; run by QGIS's own Python.

Usage: load_in_qgis.py PLUGINS_FOLDER NAME.  Prints the algorithm's id; fails where anything does.
"""

from __future__ import annotations

import sys

from qgis.core import QgsApplication

plugins, name = sys.argv[1:]
application = QgsApplication([], False)
application.initQgis()

import qgis.utils  # noqa: E402 - wants an application

# QGIS's own Processing plugin brings NumPy and others; what Thematica adds comes after it.
sys.path.append(QgsApplication.pkgDataPath() + "/python/plugins")
import processing  # noqa: E402, F401

qgis.utils.plugin_paths = [plugins]
sys.path.insert(0, plugins)
qgis.utils.updateAvailablePlugins()
before = set(sys.modules)
assert qgis.utils.loadPlugin(name), f"QGIS cannot load {name}"
assert qgis.utils.startProcessingPlugin(name), f"QGIS cannot start {name}"

allowed = set(sys.stdlib_module_names) | {name, "qgis", "PyQt5", "PyQt6", "processing"}
foreign = {module.split(".")[0] for module in set(sys.modules) - before} - allowed
assert not foreign, f"loading the plugin imported {sorted(foreign)}"

provider = QgsApplication.processingRegistry().providerById("thematica")
assert provider is not None, "there is no provider"
print(provider.algorithm("classifypixels").id())
assert qgis.utils.unloadPlugin(name), "QGIS cannot unload it"
application.exitQgis()
