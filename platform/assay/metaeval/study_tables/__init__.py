"""The result tables of a study, from its runs and score rows."""
