"""What a model is: bands, the model card, the store, and whether a model fits a raster.

Everything here is pure standard library and compatible with Python 3.9, because QGIS loads it.
"""
