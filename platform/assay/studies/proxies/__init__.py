"""Mixtures that nobody trained, answered by the adapters of single components added up: a free proxy of training."""
