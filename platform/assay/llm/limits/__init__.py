"""One limiter per endpoint and account: what headers and 429s say, kept over all workers."""
