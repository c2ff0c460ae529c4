"""Modules of a user's own that add scorers, heuristics, judge protocols and tasks to what a study may name."""
