"""The report: opens offline, says what is missing, and shows judged text as text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from assay.metaeval.study_tables.build import RunRow, ScorerInfo, TableOptions, build_study_tables
from assay.records import ScoreRow
from assay.reports.drawing import finish, grid, tip, whiskers
from assay.reports.page import ReportInput, agreement, render_report, script_json, shared_reason
from assay.reports.wording import headlines, number, percent, plural, rate, reasons, seconds, signed
from assay.studies.designs import HoldOutGrid, TargetGrid

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> \x1b[31m {{ 7*7 }} {% raw %}"


def run(task: str, size: int, draw: int, seed: int, evaluation: str) -> RunRow:
    name = f"{task}{size}{draw}{seed}{evaluation}"
    return RunRow(
        predictions_key=name.ljust(32, "0"),
        adapter_key=f"{task}{size}{draw}{seed}".ljust(32, "0"),
        mixture_key=f"{task}{size}{draw}".ljust(32, "0"),
        base_model="tiny",
        trained_task=task if size else "",
        evaluation_set=evaluation,
        num_target=size,
        draw=draw if size else -1,
        training_seed=seed,
        arm=f"{task} N={size}" if size else "instructions only",
    )


@pytest.fixture(scope="module")
def report_input() -> ReportInput:
    runs = [run("", 0, -1, seed, where) for seed in range(3) for where in ("a", "b", "instructions")]
    runs += [
        run(task, size, draw, 0, where)
        for task in "ab"
        for size in (10, 100)
        for draw in range(3)
        for where in (task, "instructions")
    ]
    scores = []
    for row in runs:
        for item in range(12):
            right = (item * 7 + row.num_target + row.draw + row.training_seed) % 10 < 2 + row.num_target / 15
            for scorer in ("truth", "exact_match", "judge"):
                missing = scorer == "judge" and item == 3
                value = None if missing else float(right if scorer != "judge" else 0.2 + 0.6 * right)
                reason = "refused" if missing else None
                scores.append(ScoreRow(row.predictions_key, f"{row.evaluation_set}-{item}", scorer, value, reason))
    infos = [
        ScorerInfo("truth", 1, "higher", 0.0, 1.0, "human"),
        ScorerInfo("exact_match", 1, "higher", 0.0, 1.0, "reference"),
        ScorerInfo("judge", 1, "higher", 0.0, 1.0, "judge"),
    ]
    categories = {f"instructions-{item}": ("Code", "Write")[item % 2] for item in range(12)}
    tables = build_study_tables(
        runs, scores, infos, TableOptions(human="truth", seed_key="k", resamples=200), categories=categories
    )
    row = {
        "id": HOSTILE,
        "instruction": HOSTILE,
        "input": HOSTILE,
        "prompt": HOSTILE,
        "reference": HOSTILE,
        "disagreement": 0.5,
        "answers": [
            {
                "arm": "a N=10",
                "run": "tiny",
                "prediction": HOSTILE,
                "error": None,
                "scores": {"judge": 0.5, "truth": "refused"},
                "judge": HOSTILE,
            }
        ],
    }
    return ReportInput(
        title="demo",
        description=HOSTILE,
        mode="strict",
        key="k" * 32,
        facts=[["cells", "12"]],
        notes=["A note."],
        human="truth",
        curve_scorers=["exact_match", "judge", "truth"],
        tables=dict(tables),
        costs=[{"stage": "train", "seconds": 61.0, "what": "9 trainings"}],
        browser={"note": "All rows.", "sets": {"a": [row]}},
    )


def test_report_is_self_contained_and_has_every_section(report_input: ReportInput) -> None:
    html = render_report(report_input).html.decode()
    assert not re.search(r"(?:src|href)=[\"'](?:https?:)?//", html)
    for section in ("leaderboard", "curves", "forgetting", "scorers", "coverage", "costs", "rows", "methods"):
        assert f'<section id="{section}">' in html
    assert html.count("<svg ") == 8
    assert "refused" in html  # the reason of the unscored rows


def test_points_of_a_figure_say_their_values(report_input: ReportInput) -> None:
    html = render_report(report_input).html.decode()
    row = next(row for row in report_input.tables["curves"].to_pylist() if row["scorer"] == "exact_match")
    said = f"exact_match, N = {row['num_target']}: {row['mean']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
    assert f"<title>{said}, {row['num_items']} items, {row['num_runs']} runs</title>" in html
    assert 'id="tip: ' not in html


def test_a_tip_holds_no_markup() -> None:
    figure, (ax,) = grid(1, width=2, height=2)
    tip(ax, 0.0, 0.0, '<b>"x" & </title>')
    svg = finish("hostile", "", figure).svg
    assert ElementTree.fromstring(svg).findtext(".//{*}g/{*}title") == '<b>"x" & </title>'


NOTHING = ("leaderboard", "metaeval", "scorer_pairs", "forgetting")


def test_an_end_that_rounding_put_past_its_value_is_drawn() -> None:
    ends = whiskers(0.1 + 0.2, 0.25, 0.3)  # 0.30000000000000004
    assert ends == [[pytest.approx(0.05)], [0.0]]
    assert whiskers(0.5, None, 0.6) is None
    figure, axes = grid(1, width=2, height=2)
    axes[0].errorbar([0], [0.1 + 0.2], ends)
    assert finish("one", "", figure).svg


def test_what_has_nothing_to_show_says_so(report_input: ReportInput) -> None:
    nothing = {name: report_input.tables[name].slice(0, 0) for name in NOTHING}
    html = render_report(replace(report_input, tables={**report_input.tables, **nothing})).html.decode()
    assert "The human column (truth) orders nothing here" in html and '<div class="findings">' not in html
    assert "Not asked: no curve of this study has a mean on the instruction set" in html


def test_equal_input_is_equal_bytes(report_input: ReportInput) -> None:
    first, second = render_report(report_input), render_report(report_input)
    assert first.html == second.html
    assert [plot.png for plot in first.plots] == [plot.png for plot in second.plots]


def test_hostile_text_stays_text(report_input: ReportInput) -> None:
    html = render_report(report_input).html.decode()
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    assert html.count("<script") == 2  # the browser's data and its code
    assert "49" not in re.findall(r"lead\">(.*?)</p>", html, re.S)[0]


def test_script_json_holds_no_markup() -> None:
    text = script_json({"a": "</script>&\u2028"})
    assert "<" not in text
    assert "&" not in text
    assert "\u2028" not in text


def test_headlines_name_the_best_mixture_and_its_interval(report_input: ReportInput) -> None:
    tables = {name: table.to_pylist() for name, table in report_input.tables.items()}
    lines = headlines(tables, "truth")
    assert any(line.startswith("a on tiny: a N=100") for line in lines)
    assert all("[" in line or "no interval" in line for line in lines)


def arm(name: str, mean: float, rank: int, p_holm: float | None, *, is_baseline: bool = False) -> dict[str, object]:
    return {
        "base_model": "tiny", "evaluation_set": "a", "scorer": "truth", "arm": name, "rank": rank, "mean": mean,
        "is_baseline": is_baseline, "baseline": "instructions only", "difference": mean - 0.3, "low": mean - 0.4,
        "high": mean - 0.2, "p_holm": p_holm, "num_items": 100, "num_runs": 3, "forgetting": None,
        "num_baseline_runs": 3, "unit": "items and runs", "margin": 0.02,
        "verdict": "better" if (p_holm or 1) < 0.05 else "undecided",
        "needs": "" if (p_holm or 1) < 0.05 else "could find 0.150; 9 draws a side would find the margin of 0.02",
    }  # fmt: skip


def test_a_change_on_the_instruction_set_says_what_it_is_over() -> None:
    row = arm("N=64", 0.5, 1, 0.01) | {"forgetting": -0.02, "forgetting_low": -0.05, "forgetting_high": 0.01}
    kept = row | {"forgetting_items": 40, "forgetting_unit": "items and runs"}
    (line,) = headlines({"leaderboard": [kept], "metaeval": []}, "truth")
    assert "on the instruction set −0.020 [−0.050, 0.010] (40 items; over items and runs)" in line
    before = row | {"forgetting_items": None, "forgetting_unit": None}
    assert "was not kept" in headlines({"leaderboard": [before], "metaeval": []}, "truth")[0]


def test_the_page_shows_simultaneous_intervals_and_what_they_are_over(report_input: ReportInput) -> None:
    page = render_report(report_input).html.decode()
    assert "interval at Holm&#39;s step" in page or "interval at Holm's step" in page
    assert "clusters, items fixed" in page and "where the variance of a score comes from" in page
    assert re.search(r"over items (and (runs|draws)|only)[^<]*: \d+ runs, \d+ answers", page)


def test_a_noisy_winner_does_not_hide_the_mixture_that_is_told_apart() -> None:
    rows = [
        arm("N=256", 0.6, 1, 0.2),
        arm("N=64", 0.5, 2, 0.01),
        arm("instructions only", 0.3, 3, None, is_baseline=True),
    ]
    (line,) = headlines({"leaderboard": rows, "metaeval": []}, "truth")
    assert "N=256 has the highest mean, but is not told apart from the baseline: undecided (could find 0.150" in line
    assert "The highest that is better: N=64, 0.500 by truth, +0.200" in line
    assert "100 items, 3 runs against 3; over items and runs" in line
    rows[0] |= {"p_holm": 0.001, "verdict": "better", "needs": ""}
    (line,) = headlines({"leaderboard": rows, "metaeval": []}, "truth")
    assert "N=256 has the highest mean and is better than the baseline" in line
    assert "The highest that is" not in line
    rows[0] |= {"verdict": "equivalent", "needs": ""}
    (line,) = headlines({"leaderboard": rows, "metaeval": []}, "truth")
    assert "is equivalent (within 0.02) to the baseline" in line


def test_mixtures_that_are_worse_are_named_with_what_the_lowest_rests_on() -> None:
    baseline, better = arm("none", 0.5, 2, None, is_baseline=True), arm("a", 0.8, 1, 0.01)
    worse = [{**arm(name, mean, rank, 0.01), "verdict": "worse"} for name, mean, rank in (("b", 0.3, 3), ("c", 0.1, 4))]
    (line,) = headlines({"leaderboard": [baseline, better, *worse], "metaeval": []}, "truth")
    assert line.startswith("a on tiny: a has the highest mean and is better than the baseline: 0.800 by truth")
    assert " Worse than the baseline: c, 0.100 by truth, " in line
    assert line.endswith("; also b.")
    (line,) = headlines({"leaderboard": [{**baseline, "rank": 1}, worse[0]], "metaeval": []}, "truth")
    assert "no mixture scores above the baseline (none, 0.500 by truth). Worse than the baseline: b, 0.300" in line


def test_reasons_of_missing_rows_are_words() -> None:
    assert reasons("{}") == ""
    assert reasons('{"refused": 2, "error: timeout": 1200}') == "error: timeout: 1,200, refused: 2"


def test_figures_exist_in_both_forms(report_input: ReportInput) -> None:
    plots = {plot.name: plot for plot in render_report(report_input).plots}
    assert set(plots) == {
        "learning_curves",
        "forgetting",
        "gain_against_forgetting",
        "set_means",
        "scorer_similarity",
        "scorer_similarity_runs",
        "scorer_similarity_in_tasks",
        "comparability",
    }
    for plot in plots.values():
        assert plot.svg.startswith("<svg")
        assert plot.png.startswith(b"\x89PNG")


def similarity_captions(report_input: ReportInput, places: Mapping[str, str]) -> list[str]:
    plots = render_report(replace(report_input, paper_places=places)).plots
    return [plot.caption for plot in plots if plot.name.startswith("scorer_similarity")]


def test_a_matrix_is_called_the_papers_only_in_the_design_that_the_paper_used(report_input: ReportInput) -> None:
    answers, runs, inside = similarity_captions(report_input, TargetGrid.paper_places)
    assert "figure 1" not in answers
    assert "the instruction set apart (the paper's table 3, the CAT setting)" in runs
    assert "(the paper's table 4, the CIT setting)" in inside
    answers, runs, inside = similarity_captions(report_input, HoldOutGrid.paper_places)
    assert "(the paper's figure 1)" in answers
    assert "table" not in runs + inside
    assert not any("paper" in caption for caption in similarity_captions(report_input, {}))


def test_tables_from_before_the_tasks_were_pooled_apart_are_not_called_table_3(report_input: ReportInput) -> None:
    table = report_input.tables["similarity"]
    kept = [name != "tasks" for name in table["evaluation_set"].to_pylist()]
    old = replace(report_input, tables={**report_input.tables, "similarity": table.filter(kept)})
    _, runs, _ = similarity_captions(old, TargetGrid.paper_places)
    assert "the instruction set too." in runs
    assert "table 3" not in runs


def test_instruction_categories_have_a_table_where_there_are_any(report_input: ReportInput) -> None:
    html = render_report(report_input).html.decode()
    part = html[html.index("Mean score on the instruction set by category") :]
    assert "<tr><td>Code</td><td>" in part
    tables = {name: table for name, table in report_input.tables.items() if name != "category_means"}
    assert "by category" not in render_report(replace(report_input, tables=tables)).html.decode()  # an older study


def test_what_no_curve_can_show_is_one_sentence(report_input: ReportInput) -> None:
    assert set(report_input.tables["phases"]["reason"].to_pylist()) == {"3 values of N, at least 4 are needed"}
    html = render_report(report_input).html.decode()
    assert html.count("3 values of N, at least 4 are needed") == 1
    assert "bends at N" not in html


def test_a_table_of_bends_stays_where_one_curve_has_one() -> None:
    rows = [{"change_point": None, "reason": "3 values of N"}, {"change_point": 8.0, "reason": ""}]
    assert shared_reason(rows, "change_point") == ""
    assert shared_reason(rows[:1], "change_point") == "3 values of N"
    assert shared_reason([], "change_point") == ""


def statistic(scorer: str, name: str, value: float | None, reason: str = "") -> dict[str, object]:
    return {"level": "run", "scorer": scorer, "statistic": name, "value": value, "reason": reason}


def test_each_reason_of_an_undefined_cell_stands_once_below_the_table() -> None:
    constant = "conll: constant human column"
    rows = [
        *(statistic(scorer, name, None, constant) for scorer in ("judge", "rouge1") for name in ("CIT", "CAT")),
        statistic("judge", "TFA_absolute", 0.2),
        statistic("rouge1", "TFA_absolute", None, "no N = 0"),
    ]
    ((_, statistics, lines, undefined),) = agreement(rows)
    assert statistics == ["CIT", "CAT", "TFA_absolute"]
    assert [scorer for scorer, _ in lines] == ["judge", "rouge1"]
    assert undefined == f"{constant} (CIT, CAT of every scorer). no N = 0 (TFA absolute of rouge1)"


def audit_test(value: float | None, *, found: bool = False) -> dict[str, object]:
    effect = {"value": value, "low": value, "high": value, "n": 40}
    return {"effect": effect, "p": 0.01, "p_holm": 0.02, "found": found, "meaning": HOSTILE}


def test_an_audit_of_the_judge_has_its_section_and_its_texts_stay_text(report_input: ReportInput) -> None:
    assert "#audit" not in render_report(report_input).html.decode()
    attack = {"text": HOSTILE, "n": 3, "moved_up": 2, "mean_points": 1.5}
    audit = {
        "judge": HOSTILE, "mode": "strict", "alpha": 0.05, "unit": "points of a scale of 1 to 10",
        "position": {**audit_test(0.25, found=True), "strata": {}}, "length": audit_test(0.0),
        "format": {"bullets": audit_test(None)}, "self_preference": audit_test(-0.5),
        "injection": {**audit_test(0.6), "by_attack": {"orders": attack}},
        "master_keys": {**audit_test(0.0), "by_attack": {":": {**attack, "moved_up": 0}}},
        "coverage": {"asked": 9, "scored": 9, "unscored": {}}, "study_protocol": "ifteval",
        "protocols": {"pairwise": {"name": "vanilla"}, "pointwise": {"name": "mt_bench_single"}},
    }  # fmt: skip
    html = render_report(replace(report_input, audit=audit)).html.decode()
    part = html[html.index('<section id="audit">') : html.index('<section id="coverage">')]
    assert "this study asks by ifteval, which may move it less or more" in part
    assert part.count('<span class="sure">found</span>') == 1
    assert "<td>injection</td><td>orders</td>" in part
    assert "<script" not in part
    assert "<img" not in part


def test_numbers_in_words() -> None:
    assert number(None) == "–"
    assert number(1234) == "1,234"
    assert number(0.12345) == "0.123"
    assert signed(-0.5) == "−0.500"
    assert percent(0.256) == "25.6 %"
    assert rate(None, 1.0) == "no interval"
    assert rate(-0.1, 0.2, 1) == "[−0.1, 0.2]"
    assert seconds(30.0) == "30.0 s"
    assert seconds(600.0) == "10.0 min"
    assert plural(1, "run") == "1 run"
    assert plural(2, "run") == "2 runs"


def test_tables_of_a_study_finished_before_lack_later_columns_and_open(report_input: ReportInput) -> None:
    later = ("verdict", "needs", "margin", "unit", "num_baseline_runs")
    before = report_input.tables["leaderboard"].drop_columns(list(later))
    html = render_report(replace(report_input, tables={**report_input.tables, "leaderboard": before})).html.decode()
    assert "not decided when this study ran" in html
