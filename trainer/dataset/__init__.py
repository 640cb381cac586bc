"""Training sets: a folder with a description and shards of samples, made from labelled rasters or from patches."""
