"""How a request reaches a model: chat completions over HTTP, or a model in this process."""
