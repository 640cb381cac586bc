"""Raster in, map out: reading, tiling, sessions, stitching, writing."""
