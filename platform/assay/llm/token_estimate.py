"""What a request will cost in tokens, estimated offline: characters per token and reply lengths, learned from usage.

tiktoken would fetch its vocabulary over the network at first use, and other endpoints' tokenizers are unknown; the
limiter is corrected by the reported usage anyway, so a learned ratio within a few percent is enough.
"""

from __future__ import annotations

from assay.llm.prices import Price
from assay.llm.requests import ChatRequest
from assay.llm.transports.chat import Attempted

CHARS_PER_TOKEN = 4.0
"""English prose in the usual vocabularies, until usage says better."""
TOKENS_PER_MESSAGE = 4
REPLY_TOKENS = 64.0
WEIGHT = 0.05
"""Of the newest call in the running means."""


class TokenEstimate:
    """Running means per step of a protocol, since steps differ in what they ask for."""

    def __init__(self) -> None:
        self._chars_per_token = CHARS_PER_TOKEN
        self._reply_tokens: dict[tuple[str, str], float] = {}

    def tokens(self, request: ChatRequest) -> int:
        """Prompt and reply together, at least 1."""
        prompt, reply = self._parts(request)
        return max(1, round(prompt + reply))

    def prompt_tokens(self, request: ChatRequest) -> int:
        """The prompt alone, at least 1."""
        return max(1, round(self._parts(request)[0]))

    def usd(self, request: ChatRequest, price: Price) -> float:
        """Dollars for prompt and reply."""
        prompt, reply = self._parts(request)
        return price.usd(round(prompt), round(reply))

    def _parts(self, request: ChatRequest) -> tuple[float, float]:
        prompt = request.num_chars / self._chars_per_token + TOKENS_PER_MESSAGE * len(request.messages)
        reply = self._reply_tokens.get((request.protocol, request.step))
        if reply is None:
            reply = (
                REPLY_TOKENS if request.sampling.max_tokens is None else min(REPLY_TOKENS, request.sampling.max_tokens)
            )
        return prompt, reply

    def learn(self, request: ChatRequest, exchange: Attempted) -> None:
        """Move the means towards the usage that the endpoint reported."""
        if not exchange.prompt_tokens or exchange.completion_tokens is None:
            return
        text_tokens = max(1.0, exchange.prompt_tokens - TOKENS_PER_MESSAGE * len(request.messages))
        ratio = min(20.0, max(0.2, request.num_chars / text_tokens))
        self._chars_per_token += WEIGHT * (ratio - self._chars_per_token)
        step = (request.protocol, request.step)
        known = self._reply_tokens.get(step, float(exchange.completion_tokens))
        self._reply_tokens[step] = known + WEIGHT * (exchange.completion_tokens - known)
