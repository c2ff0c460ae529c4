"""Scores of mixtures that were not trained, from those that were: models, intervals, and how well that went."""
