"""Scorers: what gives a number to a prediction, from exact match to a prompted judge."""
