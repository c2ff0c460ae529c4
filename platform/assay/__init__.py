"""Assay: which data mixture makes the better instruction-tuned model, and which scorer deserves belief."""

import os

# OpenMP's threads spin while they wait for each other: beside any other load torch with two threads then ran 20 to
# 30 times slower (measured). The library reads this when it is loaded, so it is set before anything of ours imports
# torch.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

__version__ = "0.1.0"
