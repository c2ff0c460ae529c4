"""Models that are compared as they are: where each comes from, how its answers come, and how a judge ranks them."""
