"""Ray itself: joining or starting it, what its nodes have, named actors, streams and metrics."""
