"""A first study file for a folder of data: what its files look like, and a study that fits them."""
