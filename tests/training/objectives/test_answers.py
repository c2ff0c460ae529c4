from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import DataError
from assay.preference.rows import PreferenceRow, Prompt
from assay.tasks.templates import PromptSpec
from assay.training.batching import RowGroup
from assay.training.encoding import EncodedRows, encode, encoding_key, left_out, row_groups
from assay.training.objectives.conditional import Conditional
from assay.training.objectives.dpo import Dpo
from assay.training.objectives.kto import Kto
from assay.training.objectives.rrhf import Rrhf
from assay.training.objectives.sft_chosen import SftChosen
from assay.training.objectives.shipped import SHIPPED, read_objective
from assay.training.spec import TrainSpec
from support.char_tokenizer import CharTokenizer, text_of

PROMPT = "^### Instruction:\nAdd.\n\n### Response:\n"


def row(
    number: int, *answers: str, scores: tuple[float, ...] | None = None, question: str = "Add.", given_text: str = ""
) -> PreferenceRow:
    return PreferenceRow(f"p{number}", Prompt(question, given_text), answers, scores)


def groups_of(table: EncodedRows) -> list[RowGroup]:
    return row_groups([table], np.zeros(len(table), np.int64), np.arange(len(table)))


def texts(group: RowGroup) -> list[tuple[str, str]]:
    return [(text_of(one.tokens[: one.answer_start]), text_of(one.tokens[one.answer_start :])) for one in group]


def reasons(table: EncodedRows) -> dict[str, int]:
    return left_out([table], np.zeros(len(table), np.int64), np.arange(len(table)))


def test_a_pair_is_both_answers_after_one_masked_prompt() -> None:
    spec = TrainSpec(objective="dpo")
    rows = [row(0, "seven", "8"), row(1, "a", "b", "c")]
    first, second = groups_of(Dpo().encode(rows, CharTokenizer(), spec))
    assert texts(first) == [(PROMPT, "seven$"), (PROMPT, "8$")]
    assert texts(second) == [(PROMPT, "a$"), (PROMPT, "c$")]  # the ends of a list
    assert [one.num_answer_tokens for one in first] == [6, 2]
    alone = encode([rows[0].example()], CharTokenizer(), TrainSpec())
    assert first[0].tokens.tolist() == alone.tokens.tolist()  # as supervised training reads the row


def test_lists_are_whole_and_ranked_with_ties() -> None:
    spec = TrainSpec(objective="rrhf")
    table = Rrhf().encode([row(0, "a", "b", "c", scores=(3.0, 1.0, 1.0)), row(1, "a", "b", "c")], CharTokenizer(), spec)
    scored, ordered = groups_of(table)
    assert [one.label for one in scored] == [0, 1, 1]
    assert [one.label for one in ordered] == [0, 1, 2]


def test_what_is_no_preference_is_left_out_and_counted() -> None:
    limited = TrainSpec(objective="dpo", max_length=80, too_long="cut")
    alike = "x" * 100
    rows = [
        row(0, "yes", "no"),
        row(1, f"{alike}1", f"{alike}2"),
        row(2, "a", "b", scores=(1.0, 1.0)),
        row(3, "a", scores=(1.0,)),
        row(4, "$", "b"),  # nothing but an end mark, to this tokenizer
        row(5, "a$", "a"),  # the end mark that the other one gets
    ]
    table = Dpo().encode(rows, CharTokenizer(), limited)
    assert reasons(table) == {
        "cut alike": 1, "empty answer": 1, "equal answers": 1, "one answer": 1, "tied": 1,
    }  # fmt: skip
    assert len(groups_of(table)) == 1
    dropped = Dpo().encode(rows[:2], CharTokenizer(), TrainSpec(objective="dpo", max_length=80))
    assert (reasons(dropped), dropped.num_dropped) == ({"too long": 1}, 1)


def test_every_method_leaves_the_same_pairs_out() -> None:
    rows = [row(0, "yes", "no"), row(1, "a$", "a"), row(2, "$", "b"), row(3, "left", "right")]
    for method in sorted({*SHIPPED} - {"sft"}):
        objective = read_objective(method)
        table = objective.encode(rows, CharTokenizer(), TrainSpec(objective=objective))
        assert reasons(table) == {"empty answer": 1, "equal answers": 1}, method
        assert len(groups_of(table)) == 2, method


long_texts = st.text("abcdefgh ", min_size=1, max_size=200).filter(str.strip)


@settings(deadline=None)
@given(long_texts, long_texts, long_texts, st.integers(130, 200))
def test_a_cut_pair_keeps_its_marker_one_prompt_and_some_of_each_answer(
    given_text: str, first: str, second: str, limit: int
) -> None:
    if first == second:
        return
    spec = TrainSpec(objective="dpo", max_length=limit, too_long="cut")
    table = Dpo().encode([row(0, first, second, given_text=given_text)], CharTokenizer(), spec)
    for group in groups_of(table):
        (prompt, better), (other, worse) = texts(group)
        assert prompt == other
        assert prompt.endswith("### Response:\n")
        for answer, whole in ((better, first), (worse, second)):
            assert answer == f"{whole}$" or (answer == whole[: len(answer)] and len(answer) >= limit // 2)
        assert max(len(one.tokens) for one in group) <= limit


def test_kto_takes_answers_one_by_one_and_pairs_each_prompt_with_the_answers_before() -> None:
    spec = TrainSpec(objective="kto")
    rows = [row(0, "a", "b", question="One."), row(1, "c", scores=(0.0,), question="Two."), row(2, "d", "d$")]
    objective = Kto()
    table = objective.encode(rows, CharTokenizer(), spec)
    first, second = groups_of(table)
    assert [(text, one.label) for (_, text), one in zip(texts(first), first, strict=True)] == [
        ("a$", 1), ("b$", 0), ("c$", -1),
    ]  # fmt: skip
    assert [(text, one.label) for (_, text), one in zip(texts(second), second, strict=True)] == [
        ("c$", 0), ("a$", -1), ("b$", -1),
    ]  # fmt: skip
    assert len({prompt for prompt, _ in texts(first)}) == 1  # its own, also before the other row's answer
    assert [one.label for one in objective.trained(first)] == [1, 0]
    assert [one.label for one in objective.drifting(second)] == [-1, -1]
    assert len({one.place for group in (first, second) for one in group}) == 6
    (only,) = groups_of(objective.encode(rows[:1], CharTokenizer(), spec))
    assert objective.drifting(only) == ()  # there is no other prompt


def test_conditions_stand_before_the_question_and_generation_asks_with_the_best() -> None:
    objective = Conditional(good="Well: ", bad="Badly: ")
    (group,) = groups_of(objective.encode([row(0, "a", "b")], CharTokenizer(), TrainSpec(objective=objective)))
    assert texts(group) == [(PROMPT.replace("Add.", "Well: Add."), "a$"), (PROMPT.replace("Add.", "Badly: Add."), "b$")]
    asked = TrainSpec(prompt=PromptSpec(prefix=objective.best_prefix))
    table = encode([row(0, "a", "b").example()], CharTokenizer(), asked)
    assert text_of(table.tokens[: table.answer_starts[0]]) == texts(group)[0][0]
    assert "prefix" not in PromptSpec().identity()


def test_quantiles_are_those_of_training_scores() -> None:
    objective = Conditional(quantiles=4)
    rows = [
        row(0, "a", "b", "c", "d", scores=(4.0, 3.0, 2.0, 1.0)),
        PreferenceRow("v", Prompt("Add."), ("e", "f"), (100.0, -100.0), split="validation"),
    ]
    first, second = groups_of(objective.encode(rows, CharTokenizer(), TrainSpec(objective=objective)))
    levels = [prompt.split("[quality ")[1][0] for prompt, _ in texts(first)]
    assert levels == ["4", "3", "2", "1"]
    assert ["4 of 4" in texts(second)[0][0], "1 of 4" in texts(second)[1][0]] == [True, True]
    assert objective.best_prefix == "[quality 4 of 4] "
    with pytest.raises(DataError, match="preference row p1: saw no scores"):
        objective.encode([row(1, "a", "b")], CharTokenizer(), TrainSpec(objective=objective))


def test_supervised_training_on_the_chosen_trains_one_row_and_measures_both() -> None:
    objective = SftChosen()
    (group,) = groups_of(objective.encode([row(0, "a", "b")], CharTokenizer(), TrainSpec(objective=objective)))
    assert objective.trained(group) == group[:1]
    assert objective.measured(group) == group


def test_methods_that_compare_the_same_answers_share_their_encoding() -> None:
    def key(method: object) -> str:
        return encoding_key(TrainSpec(objective=method))

    assert key("dpo") == key("ipo") == key("simpo") == key({"method": "slic", "delta": 2.0}) == key("sft_chosen")
    assert key("rrhf") == key("pro")
    assert len({key(method) for method in ("sft", "dpo", "rrhf", "kto", "conditional")}) == 5


def test_prompts_are_masked() -> None:
    with pytest.raises(ValueError, match="loss_on: saw 'all' with objective 'dpo'"):
        TrainSpec(objective="dpo", loss_on="all")
