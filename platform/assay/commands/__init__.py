"""What the commands of `assay` do. `cli.py` and the doors in jobs/ only parse and call; heavy imports stay inside."""
