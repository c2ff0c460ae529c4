"""The base that a study trains itself: a small Llama on text that is at hand."""
