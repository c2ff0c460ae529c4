"""From text to token ids: control tokens, chat templates, shortening. The tokenizer is always an argument."""
