"""Searching mixtures: weights proposed by Optuna, trained as trials of Ray Tune."""
