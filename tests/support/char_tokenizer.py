"""A tokenizer whose tokens are characters, so that tests can read what was encoded."""

from __future__ import annotations

from typing import Any

EOS = 1


class CharTokenizer:
    """One token per character; 0 begins a text that asks for special tokens, 1 ends an answer."""

    eos_token_id = EOS
    chat_template: str | None = None

    def __call__(self, texts: list[str], *, add_special_tokens: bool, verbose: bool) -> dict[str, list[list[int]]]:
        begin = [0] if add_special_tokens else []
        return {"input_ids": [begin + [EOS if char == "$" else ord(char) for char in text] for text in texts]}

    def apply_chat_template(
        self, turns: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool = False
    ) -> str:
        text = "".join(f"<{turn['role']}>{turn['content']}$\n" for turn in turns)
        return text + ("<assistant>" if add_generation_prompt else "")


def text_of(tokens: Any) -> str:
    return "".join({0: "^", EOS: "$"}.get(token, chr(token)) for token in tokens)
