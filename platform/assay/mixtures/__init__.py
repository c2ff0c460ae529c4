"""Mixtures: which training rows a model sees, named by identity and drawn by seed."""
