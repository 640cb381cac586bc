"""Options outside their range, or against each other."""

from __future__ import annotations

from ..networks import Net, image, make_card, noise, save
from . import row, rows
from .models import _class_numbers

for _option, _values in {
    "--tile": (0, -1, 16385, 10**30),
    "--overlap": (-1, 4097, 10**30),
    "--batch": (0, -1, 10**9, 10**30),
    "--threads": (0, -1, 10**7, 10**30),
    "--scale": (0, "nan", "inf", "-inf", "1e999"),
    "--offset": ("nan", "-inf", "1e999"),
    "--nodata": ("inf", "-inf", "1e999"),
}.items():
    rows(
        _option,
        f"option_{_option.strip('-')}",
        {
            str(value): lambda w, option=_option, value=value: w.command(f"{option}={value}")
            for value in _values
        },
    )  # fmt: skip


@row("check scale")
def _scale_that_makes_all_values_infinite(w):
    return w.command("--scale", "1e300", "--offset", "1e300")


@row("only 3|band assignment")
def _band_beyond_all_numbers(w):
    return w.command("--bands", f"B1={10**30}")


@row("band assignment")
def _band_below_zero(w):
    return w.command("--bands", "B1=-1")


@row("band assignment|assigned twice|twice")
def _band_assigned_twice(w):
    return w.command("--bands", "B1=1,B1=2")


@row("band assignment")
def _empty_band_assignment(w):
    return w.command("--bands", "B1=,B2=")


@row("minimum|four numbers|empty")
def _extent_of_no_width(w):
    return w.command("--area", "500000,5499900,500000,5499950")


@row("four numbers")
def _infinite_extent(w):
    return w.command("--area=-inf,-inf,inf,inf")


@row("overlap")
def _extent_beyond_all_numbers(w):
    return w.command("--area", "1e300,1e300,1e301,1e301")


@row("cannot show|overlap|reaches beyond")
def _extent_in_degrees_beyond_the_earth(w):
    return w.command("--area", "500,500,501,501", "--area-crs", "EPSG:4326")


@row("coordinate reference system|name")
def _area_crs_of_nul(w):
    return w.command("--area", "0,0,1,1", "--area-crs", "EPSG:\0")


@row("coordinate reference system")
def _raster_crs_without_end(w):
    return w.command("--raster-crs", "EPSG:" + "9" * 5000)


@row("no file|name")
def _raster_name_with_nul(w):
    return w.command(raster="scene\0.tif")


@row("no file")
def _raster_name_too_long(w):
    return w.command(raster=w / ("x" * 300 + ".tif"))


@row("no file")
def _mask_name_too_long(w):
    return w.command("--mask", w / ("x" * 300 + ".tif"))


@row("not a raster that can be read")
def _damaged_vrt_as_text(w):
    return w.command(raster="<VRTDataset rasterXSize='3'>" + "x" * 1000)


@row("no model|name")
def _model_name_with_nul(w):
    return w.command(model="net\0.onnx")


@row("name")
def _output_name_with_nul(w):
    return w.command(output=f"{w.folder}/map\0.tif")


@row("no file|name|four numbers")
def _area_name_with_nul(w):
    return w.command("--area", "fields\0.gpkg")


@row("model card|name")
def _card_name_with_nul(w):
    return w.command("--card", "card\0.json")


@row("name")
def _report_name_with_nul(w):
    return w.command("--report", f"{w.folder}/r\0.json")


@row("no file|UTF-8|name")
def _raster_name_that_is_no_text(w):
    return w.command(raster="sc\udcffene.tif")


@row("class numbers and no scores")
def _smooth_with_confidence_of_class_numbers(w):
    return w.command("--mode", "smooth", "--confidence", w / "c.tif", model=_class_numbers(w))


@row("holds several|no image bands|not a raster")
def _several_rasters_in_one_file(w):
    """A GeoPackage-like container: GDAL opens it, but which of its rasters is meant must be said."""
    first = image(w / "a.tif", noise((1, 8, 8)))
    return w.command(raster=f"GTIFF_DIR:9:{first}")


@row("uint16.*float32|float32.*uint16")
def _fractions_into_a_network_of_16_bits(w):
    net = Net(3, data_type="uint16")
    model = save(w / "shorts.onnx", net.model(net.conv(net.input, 2)), make_card(3, 2))
    return w.command(raster=image(w / "real.tif", noise((3, 40, 50), "float32")), model=model)
