"""MLflow: what people compare studies in. Only the driver of a study talks to it."""
