"""Meta-evaluation of any table of scores beside human ones."""
