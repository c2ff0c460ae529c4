"""What the design `preference` makes beside trainings: pairs, best of n, divergences, and its tables."""
