"""metadata.txt says what the QGIS plugin repository wants to know, and agrees with the package."""

from __future__ import annotations

import configparser
import re

import pytest

import thematica

from ..conftest import ROOT

# What plugins.qgis.org refuses to be without.
REQUIRED = (
    "name",
    "qgisMinimumVersion",
    "description",
    "about",
    "version",
    "author",
    "email",
    "tracker",
    "repository",
)


@pytest.fixture(scope="module")
def metadata():
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str
    parser.read(ROOT / "metadata.txt", encoding="utf-8")
    return parser["general"]


@pytest.mark.parametrize("key", REQUIRED)
def test_required_keys_are_there(metadata, key):
    assert metadata.get(key, "").strip()


def test_version_is_the_package_version(metadata):
    assert metadata["version"] == thematica.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", metadata["version"])


def test_changelog_knows_the_version(metadata):
    assert re.search(rf"^## {re.escape(metadata['version'])}\b", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)


def test_name_and_texts_follow_the_rules(metadata):
    assert "plugin" not in metadata["name"].lower()
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9 _-]*", metadata["name"])
    assert "<" not in metadata["description"] + metadata["about"]
    assert "\n" not in metadata["description"]
    assert metadata["description"] != metadata["about"]
    assert re.fullmatch(r"[^@\s]+@[^@\s]+\.[a-z]+", metadata["email"])


@pytest.mark.parametrize("key", ["tracker", "repository", "homepage"])
def test_addresses_are_addresses(metadata, key):
    assert re.fullmatch(r"https://\S+\.\S+", metadata[key])


@pytest.mark.parametrize("key", ["experimental", "deprecated", "supportsQt6"])
def test_flags_are_booleans(metadata, key):
    assert metadata.getboolean(key) in (True, False)


def test_range_of_qgis_versions(metadata):
    assert metadata["qgisMinimumVersion"] == "3.22"
    assert metadata["qgisMaximumVersion"] == "4.99"
    assert metadata.getboolean("supportsQt6")
    assert metadata.getboolean("hasProcessingProvider"), "qgis_process loads the plugin only where this says yes"


def test_the_icon_exists(metadata):
    assert (ROOT / metadata["icon"]).is_file()
