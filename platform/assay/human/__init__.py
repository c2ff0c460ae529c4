"""Scores and labels by people: public sets with human scores, and blind sheets that a study's own people fill in."""
