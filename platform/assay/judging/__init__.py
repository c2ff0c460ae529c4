"""Judges under test: accuracy, biases, ranks and replies of a judge on data whose answers are known."""
