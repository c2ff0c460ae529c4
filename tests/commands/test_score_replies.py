"""`assay score --keep-replies`: what the judge said stands beside its score, read or not."""

from __future__ import annotations

from assay.commands.score import _fields
from assay.records import Rating, Unscored


def test_raw_replies_stand_beside_scores_where_they_are_asked_for() -> None:
    outcomes = {
        "judge": [Rating(0.5, "Score: 5"), Unscored("unparsable", "<p>?</p>")],
        "bleu": [Rating(1.0), Rating(0.0)],
    }
    assert _fields(0, outcomes, ["judge"]) == {"judge": 0.5, "judge_reply": "Score: 5", "bleu": 1.0}
    assert _fields(1, outcomes, ["judge"])["judge_reply"] == "<p>?</p>"
    assert "judge_reply" not in _fields(1, outcomes)
