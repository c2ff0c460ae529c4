"""The commands around judges."""
