"""Assay: which data mixture makes the better instruction-tuned model, and which scorer deserves belief."""

__version__ = "0.1.0"
