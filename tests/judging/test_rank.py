"""Models in the order of a judge: simulated judges with a mood per call, a liking for places, and identical answers."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest

from assay.errors import ConfigError, DataError
from assay.judging.asking import Asked, JudgeConnection, Unanswered, Work
from assay.judging.audit import ModelAnswer
from assay.judging.rank import (
    RankItem,
    group_answers,
    joint_report,
    rank_jointly,
    read_losses,
)
from assay.judging.win_rates import rank_by_wins, win_row
from assay.llm.endpoint import EndpointSpec
from assay.llm.figures import Figures
from assay.scoring.judges.calls import JudgeCall
from assay.scoring.judges.judgements import Choice, JointJudgement, PairVerdict
from assay.scoring.judges.protocols.joint import JointInstance, JointJudge
from support.replayed import replay_protocol

QUALITY = {"a": 10.0, "b": 6.0, "c": 3.0, "d": 0.0, "e": -4.0, "f": -8.0}


def items(count: int) -> list[RankItem]:
    return [RankItem(f"Question {i}?", {m: f"answer {i} of model <{m}>" for m in QUALITY}) for i in range(count)]


def judged(
    count: int, judge: JointJudge, *, place: float = 0.0, mood: float = 10.0, seed: int = 0
) -> list[JointJudgement]:
    """Scores are 50 + quality + the call's mood + `place` points for every place nearer to the front + noise."""

    def answer(call: JudgeCall) -> str:
        rng = random.Random(call.messages[-1].content)
        shown = re.findall(r"of model <(\w)>", call.messages[-1].content)
        shift = rng.gauss(0, mood)
        scores = {}
        for number, model in enumerate(shown):
            value = 50 + QUALITY[model] + shift + place * (len(shown) - 1 - number) + rng.gauss(0, 1)
            scores["ABCDEFGH"[number]] = {"reason": "so", "score": min(100.0, max(0.0, value))}
        return json.dumps(scores)

    return [replay_protocol(judge, JointInstance(i.prompt, i.responses), answer) for i in items(count)]


def test_models_are_ordered_through_the_judges_moods_and_places() -> None:
    report = joint_report(items(40), judged(40, JointJudge(), place=3.0), "simulated").as_json()
    assert [row["model"] for row in report["models"]] == list(QUALITY)
    assert [row["model"] for row in report["bradley_terry"]] == list(QUALITY)
    mean = sum(QUALITY.values()) / len(QUALITY)
    for row in report["models"]:
        assert row["effect"]["value"] == pytest.approx(QUALITY[row["model"]] - mean, abs=0.8)
        assert row["coverage"] == {"asked": 40, "scored": 40, "unscored": {}}
        assert row["rank_low"] <= row["rank"] <= row["rank_high"]
    # 3 points a place over 6 places: 7.5 above the middle in front, 7.5 below it at the end
    places = [report["positions"][str(number)]["value"] for number in range(1, 7)]
    assert places == pytest.approx([7.5, 4.5, 1.5, -1.5, -4.5, -7.5], abs=0.8)


def test_blocks_that_share_models_come_onto_one_scale() -> None:
    report = joint_report(items(60), judged(60, JointJudge(max_models=4)), "simulated").as_json()
    assert [row["model"] for row in report["models"]] == list(QUALITY)
    assert max(len(r) for r in report["model_by_position"].values()) == 4


def test_identical_answers_get_one_score() -> None:
    same = [RankItem("Q?", {"x": "of model <a>", "y": "of model <a>", "z": "of model <f>"})]
    judgement = replay_protocol(
        JointJudge(), JointInstance(same[0].prompt, same[0].responses),
        lambda call: json.dumps({"A": {"score": 10}, "B": {"score": 30}}),
    )  # fmt: skip
    report = joint_report(same, [judgement], "simulated").as_json()
    effects = {row["model"]: row["raw_mean"]["value"] for row in report["models"]}
    assert effects["x"] == effects["y"] == 20.0


def test_a_label_that_is_missing_leaves_one_model_unscored() -> None:
    item = items(1)[0]
    judgement = replay_protocol(
        JointJudge(repeats=1), JointInstance(item.prompt, item.responses),
        lambda call: json.dumps({label: {"score": 40 + 5 * n} for n, label in enumerate("ABCDE")}),
    )  # fmt: skip
    report = joint_report([item], [judgement], "simulated").as_json()
    assert sum(row["coverage"]["scored"] for row in report["models"]) == len(report["models"]) == 5
    (missing,) = report["unranked"]
    assert missing["coverage"] == {"asked": 1, "scored": 0, "unscored": {"unparsable": 1}}
    assert report["note"].startswith("places are not fitted") and report["positions"] == {}


def test_win_rates_count_halves_and_leave_out_what_has_no_verdict() -> None:
    verdicts = [
        PairVerdict(Choice(2), Choice(2)), PairVerdict(Choice(1), Choice(2)), PairVerdict(Choice(1), Choice(1)),
        PairVerdict(Choice(None, "refused"), Choice(None, "refused")),
    ]  # fmt: skip
    row = win_row("m", "base", [RankItem("q", {"m": "long answer", "base": "short"})] * 4, verdicts).as_json()
    assert row["win_rate"]["value"] == 0.5  # 1, 1/2 and 0
    assert row["coverage"] == {"asked": 4, "scored": 3, "unscored": {"refused": 1}}
    assert row["both_orders_agree"] == 2
    assert row["mean_length"] == {"model": 11.0, "baseline": 5.0}


def test_a_judge_that_likes_length_makes_the_longer_model_win(monkeypatch: pytest.MonkeyPatch) -> None:
    def longer(call: JudgeCall) -> str:
        text = call.messages[-1].content
        first, _, second = text.partition("# Output (a)")[2].partition("# Output (b)")
        return f"Output ({'a' if len(first) > len(second.partition('# Which')[0]) else 'b'})"

    def ask(_: object, works: list[Work], *__: object) -> Asked:
        figures = Figures().stats(priced=False, limit_per_min=None)
        verdicts = [[replay_protocol(w.protocol, i, longer) for i in w.instances] for w in works]
        return Asked(verdicts, "here", figures, [Unanswered(w.label, "compat") for w in works])

    monkeypatch.setattr("assay.judging.win_rates.ask_judge", ask)
    two = [RankItem(f"q{n}", {"base": "of some length", "long": "of some length " * 5, "short": "no"}) for n in (1, 2)]
    report = rank_by_wins(
        two, JudgeConnection(EndpointSpec(model="j"), "sqlite://"), "vanilla", "base", "compat", None
    ).as_json()  # type: ignore[arg-type]
    assert [(row["model"], row["win_rate"]["value"]) for row in report["models"]] == [("long", 1.0), ("short", 0.0)]


def test_answers_that_cannot_be_ranked_are_told() -> None:
    with pytest.raises(DataError, match="two answers of 'm'"):
        group_answers([ModelAnswer("q", "one", "m"), ModelAnswer("q", "two", "m")])
    with pytest.raises(DataError, match="two models or more"):
        group_answers([ModelAnswer("q", "one", "m"), ModelAnswer("r", "two", "m")])
    alone = [RankItem("q", {"a": "x", "b": "y"}), RankItem("r", {"c": "z", "d": "w"})]
    judgements = [
        replay_protocol(JointJudge(), JointInstance(i.prompt, i.responses), lambda call: '{"A": 5, "B": 6}')
        for i in alone
    ]
    with pytest.raises(DataError, match="no shared items connect"):
        joint_report(alone, judgements, "simulated").as_json()


def test_a_loss_of_nobody_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "losses.jsonl"
    path.write_text('{"model": "a", "loss": 1.5}\n{"model": "z", "loss": 2}\n')
    assert read_losses(path) == {"a": 1.5, "z": 2.0}
    with pytest.raises(ConfigError, match="--losses: saw z"):
        rank_jointly(items(1), None, JointJudge(), None, losses=read_losses(path))  # type: ignore[arg-type]
    path.write_text('{"model": "a", "loss": "low"}\n')
    with pytest.raises(DataError, match="saw loss 'low' of 'a'"):
        read_losses(path)
