"""Labels on a raster: polygons and points of classes, as the pixels that they cover, and what those pixels say."""
