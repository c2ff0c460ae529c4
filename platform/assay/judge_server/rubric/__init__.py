"""The judge by rules: what it reads in a prompt, and how it rates it."""
