"""What hostile people write: texts for judges' replies, rows and names."""

from __future__ import annotations

from hypothesis import strategies as st

ESCAPES = "\x1b[31m\x1b]0;title\x07\x1b[2J\x9b1m\r\x08\u202e"
TEXTS = (
    "",
    "\x00",
    ESCAPES,
    "9" * 5_000,  # beyond what int() reads
    "-" + "9" * 400 + ".0",
    "1e999",
    "NaN",
    "Infinity",
    '{"score": NaN}',
    '{"score": 1e999}',
    '{"score": ' + "9" * 5_000 + "}",
    "[" * 10_000 + "]" * 10_000,
    '{"a":' * 10_000 + "1" + "}" * 10_000,
    "(" * 10_000 + ")" * 10_000,
    "Score: " + "10/" * 5_000 + "10",
    "[[" * 5_000 + "7" + "]]" * 5_000,
    "```" * 5_000,
    "Rating: \u0667",  # a digit that is no ASCII digit
    "Output (a)" * 5_000,
    "</script><script>alert(1)</script>",
    "{{ 7*7 }} {% raw %} %s {0} ${HOME} $(id) `id`",
    "__import__('os').system('id')",
    "a" * 200_000,
    "1 " * 100_000,
    "\ud800",
)

WORDS = (
    "Output (a)", "Output (b)", "Score:", "Rating:", "/10", "tie", "A", "B", "[[", "]]", "```json\n", "NaN", "1e999",
    "true", "null", "**", "Explanation:", '"score"', "\x1b[31m", "\x00", "½",
)  # fmt: skip
FRAGMENTS = st.sampled_from([*"0123456789.,:/|-+*#()[]{}\"'`\n\t ", *WORDS])
REPLIES = st.one_of(st.text(max_size=200), st.lists(FRAGMENTS, max_size=60).map("".join), st.sampled_from(TEXTS))
"""A judge's reply: any text, text made of what parsers look for, or an attack."""
