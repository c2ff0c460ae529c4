"""Critique and revision: what is asked, and that an answer keeps its principle."""

from __future__ import annotations

import json

from assay.preference.principles import ask_critique, ask_revision, principle_for
from assay.records import Example

PROMPT = Example("p1", "instructions", "train", "Add.", "1 + {principle}", "2", history_json='[["system", "Be kind."]]')
PRINCIPLES = ("Be short.", "Be right.", "Be {kind}.")


def test_a_critique_sees_question_and_answer_as_earlier_turns() -> None:
    asked = ask_critique(PROMPT, "It is {principle}.", PRINCIPLES)
    assert json.loads(asked.history_json) == [
        ["system", "Be kind."],
        ["user", "Add.\n\n1 + {principle}"],
        ["assistant", "It is {principle}."],
    ]
    assert asked.instruction.endswith(principle_for("p1", PRINCIPLES))
    assert (asked.example_id, asked.input) == ("p1", "")


def test_a_revision_sees_the_critique_too() -> None:
    asked = ask_revision(PROMPT, "3", "Wrong.", PRINCIPLES)
    turns = json.loads(asked.history_json)
    assert [role for role, _ in turns] == ["system", "user", "assistant", "user", "assistant"]
    assert turns[-1][1] == "Wrong."
    assert "once more" in asked.instruction


def test_every_principle_has_its_turn_and_a_prompt_keeps_its_own() -> None:
    found = [principle_for(f"p{number}", PRINCIPLES) for number in range(60)]
    assert set(found) == set(PRINCIPLES)
    assert found == [principle_for(f"p{number}", PRINCIPLES) for number in range(60)]
