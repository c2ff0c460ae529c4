"""The columns of the tables of preference studies: name, Arrow type, meaning."""

from __future__ import annotations

from collections.abc import Mapping

from assay.metaeval.study_tables.columns import FAMILY, Column, count, key, number, text

_BASE = key("base_model", "base model")
_PAIRS = key("pairs", "source of the pairs, as the study names it")
_METHOD = key("method", "the objective, or best_of_n")
_LOW = number("low", "lower end of the 95 % interval")
_HIGH = number("high", "upper end of it")

COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "preference_arms": (
        _BASE,
        _PAIRS,
        _METHOD,
        text("arm", "the arm that is reported, with its tuning point"),
        text("point", "its tuning point"),
        number("tuning_score", "mean score by the label on the tuning prompts, by which the point was chosen"),
        count("num_points", "tuning points that the method had"),
        count("num_runs", "trainings that are reported"),
        count("trained_tokens", "answer tokens trained, over all points and seeds"),
        count(
            "sampled_answers",
            "answers sampled for the pairs, shared by all methods; later rounds of expert iteration are its own",
        ),
        count(
            "judge_verdicts", "asked of the study's judge to label them, at most: a rating each, or both orders of two"
        ),
        count("start_verdicts", "asked of the start itself, at most: both orders of every two answers"),
    ),
    "preference_points": (
        _BASE,
        _PAIRS,
        _METHOD,
        key("point", "tuning point"),
        number("tuning_score", "mean score by the label on the tuning prompts"),
        Column("is_reported", "bool", "whether this point is reported"),
    ),
    "preference_measures": (
        _BASE,
        _PAIRS,
        _METHOD,
        key("measure", "what is measured on the reported prompts"),
        number("value", "mean over prompts and seeds"),
        _LOW,
        _HIGH,
        number("start", "the same of the start; of best of n at equal divergence: of best of n"),
        number("difference", "value less that"),
        number("difference_low", "lower end of its 95 % interval"),
        number("difference_high", "upper end of it"),
        number("p", "two-sided"),
        number("p_holm", "over the methods of one source of pairs and measure"),
        count("family_size", "comparisons of the family"),
        *FAMILY,
        count("num_runs", "trainings"),
        count("num_items", "prompts that the value rests on"),
        count("num_missing", "prompts left out: a run has no answer or no score there"),
        text("unit", "what the interval speaks about"),
        text("reason", "why a number is missing"),
    ),
    "preference_frontier": (
        _BASE,
        key("pairs", "source of the pairs, whose label picks the best"),
        key("n", "answers that the best is picked of", "int64"),
        key("measure", "what is measured"),
        number("kl", "largest divergence from the start that the best of n can have, nats"),
        number("value", "mean over prompts"),
        _LOW,
        _HIGH,
        count("num_items", "prompts"),
    ),
    "preference_equal_cost": (
        _BASE,
        _PAIRS,
        _METHOD,
        count("prompts", "that the pairs of one training were made of"),
        count("answers", "sampled to each of them, over all rounds"),
        count("verdicts", "asked for about these, of the judge or the start"),
        count("n", "best of so many costs as much for as many prompts"),
        number("value", "mean of the human column over prompts and seeds"),
        number("best_of_n", "the same of the best of n"),
        number("difference", "value less that"),
        number("difference_low", "lower end of its 95 % interval"),
        number("difference_high", "upper end of it"),
        number("p", "two-sided"),
        number("p_holm", "over the methods of one source of pairs"),
        count("family_size", "comparisons of the family"),
        *FAMILY,
        count("equal_n", "smallest n whose best is as good as the method; null: none of the frontier's"),
        count(
            "break_even_prompts",
            "answered prompts from which the method costs fewer answers and verdicts than that; null: never",
        ),
        count("num_runs", "trainings"),
        count("num_items", "prompts that the difference rests on"),
        text("unit", "what the interval speaks about"),
        text("reason", "why a number is missing"),
    ),
    "preference_wins": (
        _BASE,
        _PAIRS,
        _METHOD,
        key("other", "the method that it is held against, or start"),
        text("by", "who compares the two answers"),
        number("rate", "share of prompts won, ties half"),
        _LOW,
        _HIGH,
        count("num_items", "prompts with a verdict"),
        count("num_missing", "prompts without one"),
    ),
    "preference_training": (
        _BASE,
        _PAIRS,
        _METHOD,
        key("step", "optimizer step", "int64"),
        number("loss", "mean over seeds of the objective's loss"),
        number("chosen_log_p", "mean log-probability of chosen answers, nats; null where it is not watched"),
        number("rejected_log_p", "the same of rejected answers"),
        count("num_runs", "trainings"),
    ),
    "preference_labels": (
        _BASE,
        _PAIRS,
        key("line", "principle that these rows were made by; empty: all rows of the source"),
        text("kind", "of the source: given, sampled, rso, stronger, principles"),
        text("label", "who labelled: a scorer, who compared, or the kind where nobody did"),
        number("length_bias", "planted, for each word"),
        count("num_rows", "rows of preferences"),
        text("left_out", "JSON object: reason to count of prompts that have no row"),
        number("longer_share", "rows whose chosen answer is longer than the rejected one, ties half"),
        _LOW,
        _HIGH,
        number("length_correlation", "Spearman's, of differences in score and in length over rows with scores"),
        count("num_scored", "rows that the correlation rests on"),
    ),
}
