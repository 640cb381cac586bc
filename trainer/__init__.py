"""Training: the models that ship, and what they are trained from."""
