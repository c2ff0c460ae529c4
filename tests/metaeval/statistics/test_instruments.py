"""Judges as instruments: planted style, severities and people are found again; other packages agree."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from assay.cli import run_app
from assay.metaeval.statistics.graded_response import graded_response
from assay.metaeval.statistics.human_agreement import human_agreement
from assay.metaeval.statistics.ppi import ppi_mean
from assay.metaeval.statistics.ppi_strata import stratified_ppi_mean
from assay.metaeval.statistics.style_control import style_control, style_differences, style_of


def planted_style(strength: float, effects: list[float], n: int, seed: int) -> tuple[list[float], np.ndarray]:
    rng = np.random.default_rng(seed)
    style = np.clip(rng.normal(0.15, 0.3, (n, len(effects))), -1, 1)
    chance = 1 / (1 + np.exp(-(strength + style @ np.array(effects))))
    return [float(win) for win in rng.random(n) < chance], style


def test_features_of_style_are_counted() -> None:
    assert style_of("# A\n- x\n- y\n**b** c") == (19, 1, 2, 1)
    assert style_differences(["aaa"], ["a"])[0].tolist() == [0.5, 0, 0, 0]


def test_a_planted_taste_for_style_is_taken_out() -> None:
    wins, style = planted_style(0.0, [2.0, 1.0, 0.0, 1.5], 6000, 0)
    found = style_control(wins, style)
    assert found.raw > 0.6
    assert found.controlled.low < 0.5 < found.controlled.high
    for name, planted in zip(("length", "headers", "lists", "bold"), (2.0, 1.0, 0.0, 1.5), strict=True):
        assert found.effects[name].value == pytest.approx(planted, abs=0.35)


def test_style_control_is_the_maximum_of_the_likelihood() -> None:
    from scipy.optimize import minimize

    wins, style = planted_style(0.4, [1.0, 0.5, 0.0, 0.0], 400, 0)
    design, y = np.column_stack([np.ones(400), style]), np.array(wins)
    oracle = minimize(lambda w: np.logaddexp(0, design @ w).sum() - y @ design @ w, np.zeros(5)).x
    found = style_control(wins, style)
    assert found.controlled.value == pytest.approx(1 / (1 + math.exp(-oracle[0])), abs=1e-4)
    assert found.effects["length"].value == pytest.approx(oracle[1], abs=1e-3)


def test_style_control_is_the_logistic_regression_of_statsmodels() -> None:
    # statsmodels 0.15.0: Logit(wins, add_constant(style)).fit(cov_type="HC0")
    intercept, effects = 0.69320089, (0.75947012, 0.01781872, 0.07262666, -0.00380318)
    found = style_control(*planted_style(0.4, [1.0, 0.5, 0.0, 0.0], 400, 0))
    assert found.controlled.value == pytest.approx(1 / (1 + math.exp(-intercept)), abs=1e-6)
    assert [effect.value for effect in found.effects.values()] == pytest.approx(effects, abs=1e-6)
    lows, highs = (0.02850213, -0.72643695, -0.61298352, -0.68503460), (1.49043811, 0.76207439, 0.75823684, 0.67742824)
    assert [effect.low for effect in found.effects.values()] == pytest.approx(lows, abs=1e-6)
    assert [effect.high for effect in found.effects.values()] == pytest.approx(highs, abs=1e-6)
    assert found.controlled.low == pytest.approx(1 / (1 + math.exp(-0.40778550)), abs=1e-6)


def test_style_control_covers_the_truth() -> None:
    truth = 1 / (1 + math.exp(-0.4))
    hits = 0
    for seed in range(60):
        wins, style = planted_style(0.4, [1.0, 0.5, 0.0, 0.0], 400, seed)
        found = style_control(wins, style).controlled
        hits += found.low < truth < found.high
    assert hits >= 51


def test_style_that_does_not_overlap_has_no_rate() -> None:
    rng = np.random.default_rng(0)
    style = np.abs(rng.normal(0.3, 0.05, (200, 4)))
    found = style_control([float(win) for win in rng.integers(0, 2, 200)], style)
    assert math.isnan(found.controlled.value) and "overlap" in found.controlled.reason
    assert "needed" in style_control([1.0, 0.0], style[:2]).controlled.reason


def planted_grades(severities: list[float], discriminations: list[float], n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    quality = rng.normal(size=n)
    steps = np.array([-1.5, -0.5, 0.5, 1.5])
    grades = []
    for severity, sharpness in zip(severities, discriminations, strict=True):
        above = 1 / (1 + np.exp(-sharpness * (quality[:, None] - severity - steps)))
        grades.append(1 + (rng.random(n)[:, None] < above).sum(axis=1))
    return np.array(grades, dtype=float)


def test_planted_severities_are_found_within_a_tenth() -> None:
    severities, sharpness = [-0.8, 0.0, 0.3, 0.9], [1.0, 2.0, 3.0, 1.5]
    grades = planted_grades(severities, sharpness, 3000, 0)
    grades[0, ::5] = np.nan  # a judge that did not rate everything
    fit = graded_response(["a", "b", "c", "d"], grades)
    for name, severity, planted in zip("abcd", severities, sharpness, strict=True):
        assert fit.judges[name].severity.value == pytest.approx(severity, abs=0.1)
        assert fit.judges[name].discrimination.value == pytest.approx(planted, rel=0.15)
    assert fit.steps == pytest.approx((-1.5, -0.5, 0.5, 1.5), abs=0.15)


def test_severities_are_those_of_girth() -> None:
    # girth 0.8.0: grm_mml of the grades; a judge's severity is the mean of its four difficulties. Its steps are its own
    # for every judge, ours are common, so the two differ by what each fits to noise.
    severities, sharpness = (-0.79128, 0.03794, 0.33755, 0.95772), (0.95660, 2.13700, 3.00736, 1.49692)
    fit = graded_response(list("abcd"), planted_grades([-0.8, 0.0, 0.3, 0.9], [1.0, 2.0, 3.0, 1.5], 3000, 0))
    for judge, severity, discrimination in zip(fit.judges.values(), severities, sharpness, strict=True):
        assert judge.severity.value == pytest.approx(severity, abs=0.05)
        assert judge.discrimination.value == pytest.approx(discrimination, rel=0.05)


@pytest.mark.slow
def test_severity_intervals_cover_and_little_data_has_none() -> None:
    hits = 0
    for seed in range(12):
        fit = graded_response(["a", "b", "c"], planted_grades([-0.5, 0.0, 0.5], [1.5, 2.0, 1.0], 300, seed))
        hits += sum(
            fit.judges[name].severity.low < truth < fit.judges[name].severity.high
            for name, truth in zip("abc", (-0.5, 0.0, 0.5), strict=True)
        )
    assert hits >= 29  # 34 expected of 36
    assert "needed" in graded_response(["a", "b"], np.ones((2, 5))).reason


def test_a_judge_like_people_stands_among_them_and_a_random_one_far_below() -> None:
    rng = np.random.default_rng(0)
    quality = rng.normal(size=150)
    noise = np.array([0.6, 0.8, 1.0, 0.7, 0.9])
    people = quality + rng.normal(size=(5, 150)) * noise[:, None]
    alike = human_agreement(list(quality + rng.normal(0, 0.8, 150)), people)
    assert abs(alike.z) < 2
    chance = human_agreement(list(rng.normal(size=150)), people)
    assert chance.z < -5 and chance.difference.high < 0
    by_hand = np.mean([np.corrcoef(people[0], other)[0, 1] for other in people[1:]])
    assert alike.people[0] == pytest.approx(by_hand)
    assert "needed" in human_agreement([1.0] * 20, people[:2, :20]).reason


def test_one_stratum_is_plain_ppi_and_more_follow_the_formula() -> None:
    rng = np.random.default_rng(0)
    judge = rng.normal(size=400)
    human = judge + rng.normal(0, 0.5, 400)
    human[rng.random(400) < 0.7] = np.nan
    seen = np.isfinite(human)
    plain = ppi_mean(human[seen], judge[seen], judge[~seen]).estimate
    one = stratified_ppi_mean(human, judge, ["all"] * 400)
    assert (one.value, one.low, one.high) == pytest.approx((plain.value, plain.low, plain.high))
    names = np.where(np.arange(400) < 150, "easy", "hard")
    two = stratified_ppi_mean(human, judge, list(names))
    value = 0.0
    for name in ("easy", "hard"):
        inside = names == name
        part = ppi_mean(human[inside & seen], judge[inside & seen], judge[inside & ~seen])
        corrected = (human - part.judge_weight * judge)[inside & seen].mean()
        value += inside.mean() * (corrected + part.judge_weight * judge[inside & ~seen].mean())
    assert two.value == pytest.approx(value)
    assert "stratum" in stratified_ppi_mean([1.0, math.nan], [1.0, 2.0], ["a", "b"]).reason


def right_or_wrong(
    rates: tuple[float, ...], labels: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Strata of 300 answers each, `labels` of them scored by people; the judge says the same of 85 in 100."""
    truth = np.concatenate([(rng.random(300) < rate).astype(float) for rate in rates])
    judge = np.where(rng.random(truth.size) < 0.85, truth, 1 - truth)
    human = np.full(truth.size, math.nan)
    for place in range(len(rates)):
        seen = place * 300 + rng.permutation(300)[:labels]
        human[seen] = truth[seen]
    return human, judge, [f"s{row // 300}" for row in range(truth.size)]


@pytest.mark.parametrize("labels", [5, 10, 40])
def test_strata_near_the_end_of_the_scale_are_covered(labels: int) -> None:
    # .37 of 5 and .77 of 40 labels a stratum when a half width was read off an interval that has two
    hits = 0
    for seed in range(200):
        found = stratified_ppi_mean(*right_or_wrong((0.95, 0.90), labels, np.random.default_rng(seed)))
        assert 0 <= found.low < found.high <= 1
        hits += found.low <= 0.925 <= found.high
    assert hits >= 184


def test_one_stratum_of_right_or_wrong_labels_is_plain_ppi() -> None:
    human, judge, names = right_or_wrong((0.95,), 12, np.random.default_rng(3))
    seen = np.isfinite(human)
    plain = ppi_mean(human[seen], judge[seen], judge[~seen]).estimate
    one = stratified_ppi_mean(human, judge, names)
    assert (one.value, one.low, one.high) == pytest.approx((plain.value, plain.low, plain.high))


def test_strata_cover_the_truth_where_a_judge_errs_otherwise_in_each() -> None:
    hits, narrower = 0, 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        hard = np.arange(600) % 2 == 1
        truth = rng.normal(np.where(hard, -1.0, 1.0), 1.0)
        judge = np.where(hard, -truth, truth + 2)
        human = np.where(rng.random(600) < 0.15, truth, np.nan)
        found = stratified_ppi_mean(human, judge, list(np.where(hard, "h", "e")))
        seen = np.isfinite(human)
        plain = ppi_mean(human[seen], judge[seen], judge[~seen]).estimate
        hits += found.low < 0 < found.high
        narrower += found.high - found.low < plain.high - plain.low
    assert 135 <= hits <= 149
    assert narrower > 140


def test_each_instrument_has_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    grades = planted_grades([0.0, 0.5, 0.2, 0.1], [2.0, 2.0, 1.0, 2.0], 60, 0)
    rows = [{"item": i, "judge": f"j{j}", "rater": f"j{j}", "score": grades[j, i]} for i in range(60) for j in range(4)]
    pairs = [{"p": float(rng.integers(0, 2)), "a": "x" * int(rng.integers(1, 90)), "b": "x" * 40} for _ in range(80)]
    means = [{"h": float(i) if i % 3 == 0 else None, "j": float(i), "s": "ab"[i % 2]} for i in range(60)]
    files = {}
    for name, content in (("ratings", rows), ("pairs", pairs), ("means", means)):
        files[name] = str(tmp_path / f"{name}.json")
        Path(files[name]).write_text(json.dumps(content))
    commands = (
        ["severity", "--table", files["ratings"]],
        ["agreement", "--table", files["ratings"], "--name", "j0"],
        ["style", "--table", files["pairs"], "--preference", "p", "--model", "a", "--baseline", "b"],
        ["ppi", "--table", files["means"], "--human", "h", "--judge", "j", "--strata", "s"],
    )
    for command in commands:
        assert run_app(["instrument", *command, "--out", str(tmp_path / "out.json")]) == 0
        assert json.loads((tmp_path / "out.json").read_text()) == json.loads(capsys.readouterr().out)


def test_a_rater_without_a_correlation_is_named_and_the_others_count() -> None:
    rng = np.random.default_rng(1)
    quality = rng.normal(size=40)
    people = quality + rng.normal(size=(4, 40))
    people[2] = 3.0
    found = human_agreement(list(quality), people)
    assert math.isnan(found.people[2]) and "person 3" in found.reason and "constant" in found.reason
    assert math.isfinite(found.z) and found.difference.low < found.difference.value < found.difference.high
    assert found.difference.method == "jackknife t, 40 clusters"
    assert found.as_json()["people"][2] is None
    silent = human_agreement([1.0] * 40, people)
    assert "the judge and person 3" in silent.reason and silent.difference.reason == silent.reason
    alike = human_agreement(list(quality), np.stack([quality, quality, quality]))
    assert math.isnan(alike.z) and "exactly alike" in alike.reason


def test_judges_that_say_nothing_have_no_traits() -> None:
    grades = planted_grades([0.0, 0.5, 0.0], [1.0, 2.0, 1.0], 80, 0)
    grades[2] = 3.0
    fit = graded_response(["a", "b", "same"], grades)
    assert "one grade" in fit.judges["same"].severity.reason and math.isfinite(fit.judges["a"].severity.low)
    alone = np.vstack([np.hstack([grades[:2], np.full((2, 10), np.nan)]), np.full((1, 90), np.nan)])
    alone[2, 80:] = 2.0
    assert "no item" in graded_response(["a", "b", "c"], alone).judges["c"].discrimination.reason
    assert "graded scale" in graded_response(["a", "b"], np.random.default_rng(0).normal(size=(2, 60))).reason


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"item": "1", "judge": "", "score": 1}, "empty judge"),
        ({"item": None, "judge": "a", "score": 1}, "empty item"),
        ({"item": "1", "judge": "a", "score": 1e400}, "finite number"),
        ({"item": "1", "judge": "a", "score": "4"}, "finite number"),
    ],
)
def test_bad_rows_are_refused_in_one_line(
    row: dict[str, object], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = [{"item": str(i), "judge": "b", "score": i % 3} for i in range(3)]
    table = tmp_path / "ratings.json"
    table.write_text(json.dumps([*good, row]))
    assert run_app(["instrument", "severity", "--table", str(table), "--out", str(tmp_path / "out.json")]) == 2
    said_all = capsys.readouterr().err
    assert said in said_all and "row 4" in said_all and said_all.count("\n") == 1
    assert not (tmp_path / "out.json").exists()


def test_a_rating_that_is_there_twice_counts_by_what_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["item,judge,score"]
    for item in range(40):
        lines += [f"{item},a,{item % 3}", f"{item},a,", f"{item},b,{item % 3 if item % 4 else 1}"]
    table = tmp_path / "ratings.csv"
    table.write_text("\n".join(lines) + "\n")
    assert run_app(["instrument", "severity", "--table", str(table)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["num_items"] == 40 and found["judges"]["a"]["severity"]["n"] == 40
