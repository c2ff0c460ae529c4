"""Scorers that ask nobody: reference metrics, heuristics, encoders, reward models, tone, people's labels."""
