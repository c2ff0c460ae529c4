"""Builtin studies: Python values of the same type that a YAML file gives."""
