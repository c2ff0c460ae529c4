"""Trainings that end early in a study with `exits`, since their validation loss cannot come near the leader's."""
