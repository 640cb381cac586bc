"""Vector files as they are named, and the sentences for those that cannot be read."""

from __future__ import annotations

import os

from rasterio.crs import CRS


def split_source(source: str) -> tuple[str, dict[str, str]]:
    """File and options of a source as QGIS writes it: ``file.gpkg|layername=fields|subset=…``."""
    # A bar may also stand in a file's name, or in the filter, which QGIS writes last.
    path, *options = source.split("|") if not os.path.exists(source) else [source]
    chosen: dict[str, str] = {}
    for place, option in enumerate(options):
        key, _, value = option.partition("=")
        if key.lower() == "subset":
            chosen["subset"] = "|".join(options[place:]).partition("=")[2]
            break
        chosen[key.lower()] = value
    return path, chosen


def declared_crs(text: str | None) -> CRS | None:
    """The CRS that a layer declares, as WKT or a code; None where it declares none.

    Raises:
        CRSError: it cannot be understood.
    """
    # What a GeoPackage calls a CRS that nobody knows (srs_id 0 and -1).
    if not text or "Undefined geographic SRS" in text or "Undefined Cartesian SRS" in text:
        return None
    return CRS.from_user_input(text)


def is_local(path: str) -> bool:
    """False for what GDAL reads from elsewhere: databases, addresses, archives."""
    return "://" not in path and not path.startswith(("/vsi", "PG:", "MYSQL:", "MSSQL:"))
