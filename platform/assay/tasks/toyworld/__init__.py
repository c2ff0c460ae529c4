"""The toy world: instructions, tasks and preferences whose truth is known."""
