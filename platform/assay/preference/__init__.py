"""Preference data: which of several answers to one prompt is better, and what follows from that without an engine."""
