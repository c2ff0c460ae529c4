"""Estimates, intervals and tests over arrays. Nothing here knows a table or a study."""
