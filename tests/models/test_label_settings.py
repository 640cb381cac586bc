"""What a GeoPackage keeps of a label layer besides its classes."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from thematica.errors import OutputError
from thematica.models import geopackage, label_settings
from thematica.models.label_settings import FIELD, ROLE, read_label_settings, write_label_settings


@pytest.fixture
def package(tmp_path):
    """As much of a GeoPackage as is needed."""
    path = tmp_path / "ö labels.gpkg"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE gpkg_contents (table_name TEXT PRIMARY KEY, data_type TEXT, identifier TEXT)")
    return path


def test_settings_of_each_layer_are_kept_apart(package):
    write_label_settings(package, "a", {FIELD: "class", ROLE: "training"})
    write_label_settings(package, "b's", {FIELD: "kind", ROLE: "test"})
    write_label_settings(package, "a", {ROLE: "validation"})
    assert read_label_settings(package, "a") == {FIELD: "class", ROLE: "validation"}
    assert read_label_settings(package, "b's") == {FIELD: "kind", ROLE: "test"}
    assert read_label_settings(package, "c") == {}


def test_the_table_is_listed_for_qgis_and_gdal(package):
    write_label_settings(package, "a", {ROLE: "test"})
    with closing(sqlite3.connect(package)) as database:
        rows = database.execute("SELECT table_name, data_type FROM gpkg_contents").fetchall()
    assert rows == [(label_settings.TABLE, "attributes")]


def test_other_files_have_none(tmp_path):
    text = tmp_path / "a.gpkg"
    text.write_text("no database")
    assert read_label_settings(text, "a") == {}
    assert read_label_settings(tmp_path / "missing.gpkg", "a") == {}
    assert read_label_settings(tmp_path, "a") == {}


def test_what_cannot_be_written_is_told_and_makes_no_file(tmp_path):
    with pytest.raises(OutputError, match="could not be written"):
        write_label_settings(tmp_path / "missing.gpkg", "a", {ROLE: "test"})
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a.gpkg").write_text("no database")
    with pytest.raises(OutputError, match="could not be written"):
        write_label_settings(tmp_path / "a.gpkg", "a", {ROLE: "test"})
    assert (tmp_path / "a.gpkg").read_text() == "no database"


def test_a_file_that_another_program_writes_is_left_as_it_is(package, monkeypatch):
    monkeypatch.setattr(geopackage, "SECONDS_TO_WAIT", 0.05)
    write_label_settings(package, "a", {ROLE: "test"})
    with closing(sqlite3.connect(package, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OutputError, match="in use"):
            write_label_settings(package, "a", {ROLE: "training"})
        other.rollback()
    assert read_label_settings(package, "a") == {ROLE: "test"}
