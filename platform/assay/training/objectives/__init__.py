"""What a training minimises: one file per objective, which says its formula and where it comes from."""
