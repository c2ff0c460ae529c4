"""The server itself: endpoints, batches, limits, faults and bills."""
