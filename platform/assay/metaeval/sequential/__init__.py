"""Statistics that may be looked at as often as one likes: sequences, e-values, planned looks, intervals of winners."""
