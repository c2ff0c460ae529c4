"""Datasets: files and hub sets as rows with a split and an identity."""
