"""Data is text: ids of a text out of which no control token comes, whatever the text spells.

A tokenizer finds its added tokens in any text, so `</s>` in an answer would train an end mark and `<|im_end|>` in a
question would end the user's turn. Here a text that spells such a mark is read by a copy of the tokenizer whose marks
have other names: each stands between two Unicode noncharacters. What a template writes is renamed before, what data
says is not, and so the same pass reads the one as control tokens and the other letter by letter.

Marks are all special tokens, and added tokens that are neither white space (Pythia, Phi and Gemma have runs of
spaces and line ends among them) nor plain words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

NONCHARACTERS = tuple(chr(point) for point in range(0xFDD0, 0xFDF0))
"""Code points that no text interchange may use; the first that a row does not hold renames the marks for it."""


@dataclass(frozen=True)
class Guard:
    """How the marks of one row's data are hidden from its template."""

    sign: str
    """A noncharacter that none of the row's texts holds."""


class ControlTokens:
    """The marks of a tokenizer, and ids of texts that keep them apart from data that spells them."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._copies: dict[str, Any] = {}

    @cached_property
    def ids_by_mark(self) -> dict[str, int]:
        """Id of each mark by how it is spelled."""
        decoder = getattr(self._tokenizer, "added_tokens_decoder", {})
        found = {token.content: place for place, token in decoder.items() if _is_mark(token.content, token.special)}
        special = getattr(self._tokenizer, "all_special_tokens", ())
        places = getattr(self._tokenizer, "all_special_ids", ())
        found |= {text: place for text, place in zip(special, places, strict=True) if text.strip()}
        return {text: int(place) for text, place in found.items()}

    @cached_property
    def ids(self) -> frozenset[int]:
        """Ids of control tokens. The one for unknown text is none, unless it is an end or begin mark as well."""
        named = ("bos_token", "eos_token", "pad_token", "cls_token", "sep_token", "mask_token")
        roles = {getattr(self._tokenizer, name, None) for name in named}
        unknown = getattr(self._tokenizer, "unk_token", None)
        return frozenset(
            place for text, place in self.ids_by_mark.items() if text != unknown or (unknown in roles and unknown)
        )

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        marks = sorted(self.ids_by_mark, key=lambda mark: (-len(mark), mark))
        return re.compile("|".join(map(re.escape, marks))) if marks else None

    @cached_property
    def prefix(self) -> list[int]:
        """What the tokenizer puts before a text; an end mark that some put behind it is none of a prompt's."""
        return self._without_end(list(self._tokenizer("", add_special_tokens=True, verbose=False)["input_ids"]))

    def spelled_in(self, texts: Iterable[str]) -> list[str]:
        """The distinct marks that these texts spell, in order of their first appearance."""
        if self._pattern is None:
            return []
        return list(dict.fromkeys(mark for text in texts for mark in self._pattern.findall(text)))

    def guard(self, texts: Sequence[str]) -> Guard:
        """A guard for a row with these texts.

        Raises:
            ValueError: the texts hold all 32 noncharacters.
        """
        sign = next((sign for sign in NONCHARACTERS if not any(sign in text for text in texts)), None)
        if sign is None:
            raise ValueError("the text holds all of U+FDD0 to U+FDEF; expected text of Unicode characters")
        return Guard(sign)

    def hide(self, text: str, guard: Guard) -> str:
        """Data as a template may see it: each mark is a number between two signs."""
        if self._pattern is None:
            return text
        order = {mark: number for number, mark in enumerate(self.ids_by_mark)}
        return self._pattern.sub(lambda found: f"{guard.sign}{order[found.group()]}{guard.sign}", text)

    def reveal(self, rendered: str, guard: Guard) -> str:
        """A rendered text with the template's own marks renamed and the data's as the data spells them."""
        marks, sign = list(self.ids_by_mark), guard.sign
        return re.sub(f"{sign}([0-9]+){sign}", lambda found: marks[int(found.group(1))], self.rename(rendered, guard))

    def rename(self, written: str, guard: Guard) -> str:
        """A template's text with its marks renamed."""
        if self._pattern is None:
            return written
        return self._pattern.sub(lambda found: f"{guard.sign}{found.group()}{guard.sign}", written)

    def read(self, text: str, guard: Guard, *, special: bool) -> list[int]:
        """Ids of a text in which only renamed marks are control tokens.

        Args:
            text: of `reveal`, or data alone.
            guard: whose sign renames.
            special: put the tokenizer's own begin mark in front.
        """
        if guard.sign not in self._copies:
            self._copies[guard.sign] = self._copy(guard.sign)
        copy = self._copies[guard.sign]
        if copy is None:
            return self._in_pieces(text, guard, special=special)
        ids = list(copy.encode(text, add_special_tokens=special).ids)
        return self._without_end(ids) if special else ids

    def of_data(self, texts: Sequence[str], *, special: bool) -> list[list[int]]:
        """Ids of texts that are data from end to end.

        Args:
            texts: prompts without a template, or parts of them.
            special: put the tokenizer's own begin mark in front.

        Raises:
            ValueError: see `guard`.
        """
        rows = self.batch(texts, special=special)
        for place, (text, ids) in enumerate(zip(texts, rows, strict=True)):
            if not self.is_plain(text, (text,), ids, special=special):
                rows[place] = self.read(text, self.guard((text,)), special=special)
        return rows

    def batch(self, texts: Sequence[str], *, special: bool) -> list[list[int]]:
        """Ids of texts by the tokenizer itself, marks read as such; no end mark behind a prompt."""
        if not texts:
            return []
        rows = self._tokenizer(list(texts), add_special_tokens=special, verbose=False)["input_ids"]
        return [self._without_end(list(ids)) if special else list(ids) for ids in rows]

    def is_plain(self, text: str, data: Iterable[str], ids: Sequence[int], *, special: bool) -> bool:
        """Whether `ids` of a whole text are those of its data as text.

        So it is where the data spells no mark, and no normaliser made one: the control tokens are those that the rest
        of the text spells.
        """
        if self.spelled_in(data):
            return False
        return self._count(ids) == self._count_spelled(text) + (self._count(self.prefix) if special else 0)

    def _count_spelled(self, text: str) -> int:
        found = self._pattern.findall(text) if self._pattern is not None else []
        return sum(self.ids_by_mark[mark] in self.ids for mark in found)

    def _count(self, ids: Sequence[int]) -> int:
        return sum(map(self.ids.__contains__, ids))

    def _without_end(self, ids: list[int]) -> list[int]:
        return ids[:-1] if ids and ids[-1] == self._tokenizer.eos_token_id else ids

    def _copy(self, sign: str) -> Any:
        """The tokenizer with renamed marks; None where it has no form that can be copied, or ids would move."""
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        if backend is None or not hasattr(backend, "to_str"):
            return None
        marks = self.ids_by_mark
        try:
            copy = type(backend).from_str(json.dumps(_renamed(json.loads(backend.to_str()), marks.keys(), sign)))
        except Exception:  # the library raises Exception itself for whatever it cannot read
            return None
        copy.no_truncation()
        copy.no_padding()
        return copy if all(copy.token_to_id(f"{sign}{mark}{sign}") == place for mark, place in marks.items()) else None

    def _in_pieces(self, text: str, guard: Guard, *, special: bool) -> list[int]:
        """For tokenizers without a copy: marks that data spells are cut behind their first character."""
        sign = re.escape(guard.sign)
        ids = list(self.prefix) if special else []
        for piece in re.split(f"({sign}[^{sign}]+{sign})", text):
            mark = piece.strip(guard.sign)
            if piece.startswith(guard.sign) and mark in self.ids_by_mark:
                ids.append(self.ids_by_mark[mark])
            else:
                ids += self._data_ids(piece)
        return ids

    def _data_ids(self, text: str) -> list[int]:
        if not text:
            return []
        found = self._pattern.search(text) if self._pattern is not None else None
        if found is None:
            return list(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
        place = found.start() + 1
        if found.end() - found.start() == 1:  # a mark of one character cannot be cut
            return self._data_ids(text[: found.start()]) + self._data_ids(text[found.end() :])
        return self._data_ids(text[:place]) + self._data_ids(text[place:])


def _is_mark(text: str, is_special: bool) -> bool:
    visible = text.replace("▁", "").strip()
    return bool(visible) and (is_special or not visible.replace(" ", "").isalnum())


def _renamed(data: dict[str, Any], marks: Iterable[str], sign: str) -> dict[str, Any]:
    """A tokenizer.json whose marks have other names and the same ids."""
    names = {mark: f"{sign}{mark}{sign}" for mark in marks}
    for token in data["added_tokens"]:
        if token["content"] in names:
            token |= {"content": names[token["content"]], "normalized": False}
    model = data["model"]
    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        model["vocab"] = {names.get(piece, piece): place for piece, place in vocabulary.items()}
    else:  # Unigram: pieces in order, with their scores
        model["vocab"] = [[names.get(piece, piece), score] for piece, score in vocabulary]
    if model.get("unk_token") in names:
        model["unk_token"] = names[model["unk_token"]]
    if "merges" in model:
        model["merges"] = [pair for pair in model["merges"] if not names.keys() & _made_by(pair)]
    return data


def _made_by(pair: Sequence[str] | str) -> set[str]:
    """What a merge reads and makes."""
    first, second = pair.split(" ", 1) if isinstance(pair, str) else pair
    return {first, second, first + second}
