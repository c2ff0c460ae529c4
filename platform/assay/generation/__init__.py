"""Predictions of trained models: every adapter of a base model served by one engine, streamed by Ray Data."""
