"""Training: for now the simulated spectra from which the models that ship are trained."""
