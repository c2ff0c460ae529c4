"""BERTScore, SBERT and reward models: equal to the packages they come from, and clear about what is missing."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest

from assay.errors import ConfigError, InputError
from assay.records import Example, Outcome, Rating, Unscored
from assay.scoring.jobs import CUT, make_batches, score_row, scores_key, summarise
from assay.scoring.protocol import ScoreRequest
from assay.scoring.scorers import models
from assay.scoring.scorers.models import MINILM, on_this_machine, packaged_minilm, resolve
from support.shipped import get_task, make_scorer, scorer_spec
from support.tiny_encoders import WORDS, save_tiny_encoder

BATCH = make_batches([("p", "e")])[0]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_encoder(tmp_path_factory.mktemp("models") / "tiny-encoder")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_encoder(tmp_path_factory.mktemp("models") / "tiny-reward", labels=1)


def request(prediction: str, *references: str, instruction: str = "what is it ?") -> ScoreRequest:
    meta = json.dumps({"references": list(references)}) if len(references) > 1 else ""
    example = Example("x", "xsum", "test", instruction, "the film", references[0], meta_json=meta)
    return ScoreRequest(example, get_task("xsum"), prediction)


def sentence(start: int, size: int) -> str:
    return " ".join(WORDS[(start * 7 + place * (start % 5 + 1)) % len(WORDS)] for place in range(size))


PAIRS = [(sentence(n, 1 + n * 3 % 17), [sentence(n + 1 + r, 2 + (n + r) % 9) for r in range(3)]) for n in range(40)]


def values(outcomes: list[Outcome]) -> list[float]:
    return [outcome.value for outcome in outcomes if isinstance(outcome, Rating)]


@pytest.mark.parametrize("layer", [1, 2, None])
def test_bertscore_equals_the_package(encoder: Path, layer: int | None) -> None:
    package = pytest.importorskip("bert_score")
    theirs = package.BERTScorer(model_type=str(encoder), num_layers=layer or 3, device="cpu")
    ours = make_scorer(scorer_spec("bertscore", model=str(encoder), layer=layer))
    _, _, f1 = theirs.score([text for text, _ in PAIRS], [references for _, references in PAIRS])
    found = values(ours.score([request(text, *references) for text, references in PAIRS]))
    assert found == pytest.approx(f1.tolist(), abs=1e-5)
    assert len({round(value, 3) for value in found}) > 10


def test_bertscore_equals_the_package_on_a_trained_encoder() -> None:
    package = pytest.importorskip("bert_score")
    pytest.importorskip(models.MINILM_PACKAGE)
    texts = ["The cat sat on the mat.", "It rained all day in Paris, said the mayor.", "No.", "cats sat on mats"]
    golds = ["A cat was sitting on a mat.", "Rain fell on Paris the whole day.", "Yes, of course.", "A cat sat."]
    theirs = package.BERTScorer(model_type=packaged_minilm(), num_layers=4, device="cpu")
    ours = make_scorer(scorer_spec("bertscore", model=MINILM, layer=4))
    _, _, f1 = theirs.score(texts, golds)
    found = values(ours.score([request(text, gold) for text, gold in zip(texts, golds, strict=True)]))
    assert found == pytest.approx(f1.tolist(), abs=1e-4)
    assert found[0] > found[2]


def test_compat_knows_one_reference(encoder: Path) -> None:
    row = request("a very good film", "the book is bad", "a very good film")
    strict = make_scorer(scorer_spec("bertscore", model=str(encoder)))
    compat = make_scorer(scorer_spec("bertscore", "compat", model=str(encoder)))
    assert values(strict.score([row])) == pytest.approx([1.0], abs=1e-6)
    assert values(compat.score([row]))[0] < 0.999


@pytest.mark.parametrize("name", ["bertscore", "sbert"])
def test_empty_missing_and_huge_rows(encoder: Path, name: str) -> None:
    scorer = make_scorer(scorer_spec(name, model=str(encoder)))
    rows = [
        request("", "a film"),
        request("a film", " "),
        request("x" * 300_000, "a film"),
        request("a film", "a film"),
    ]
    empty, without, huge, same = scorer.score(rows)
    assert isinstance(empty, Rating)
    assert empty.value == 0 or name == "sbert"
    assert (without, huge) == (Unscored("no reference"), Unscored("too long"))
    assert isinstance(same, Rating)
    assert same.value == pytest.approx(1.0, abs=1e-5)
    assert scorer.score([]) == []


@pytest.mark.parametrize("name", ["bertscore", "sbert"])
def test_a_row_has_its_score_whatever_stands_beside_it(encoder: Path, name: str) -> None:
    scorer = make_scorer(scorer_spec(name, model=str(encoder)))
    rows = [request(text, *references) for text, references in PAIRS]
    together, apart = values(scorer.score(rows)), [values(scorer.score([row]))[0] for row in rows]
    assert together == pytest.approx(apart, abs=1e-5)
    assert values(scorer.score(rows)) == together  # references come from memory now, and nothing moves
    assert values(scorer.score(rows[::-1]))[::-1] == pytest.approx(together, abs=1e-5)


@pytest.mark.parametrize("name", ["bertscore", "sbert"])
def test_rows_whose_texts_were_cut_say_so_and_are_counted(encoder: Path, name: str) -> None:
    scorer = make_scorer(scorer_spec(name, model=str(encoder)))
    long = sentence(1, 3000)
    outcomes = scorer.score([request("the cat", "the cat"), request(long, "the cat"), request(long, long)])
    details = [outcome.detail for outcome in outcomes]
    assert details[0] == ""
    assert details[1].startswith(CUT) and details[1].endswith("tokens: prediction")
    assert details[2].endswith("tokens: prediction and reference")
    rows = [score_row(name, "p", str(n), outcome) for n, outcome in enumerate(outcomes)]
    assert summarise(scorer.spec, rows)["num_cut"] == 2
    assert "num_cut" not in summarise(scorer.spec, rows[:1])


def test_sbert_is_the_cosine_of_sentence_vectors() -> None:
    transformers = pytest.importorskip("sentence_transformers")
    pytest.importorskip(models.MINILM_PACKAGE)
    model = transformers.SentenceTransformer(packaged_minilm(), device="cpu")
    first, second = model.encode(["The cat sat on the mat.", "A dog barks."])
    cosine = float(first @ second / math.sqrt(float(first @ first) * float(second @ second)))
    scorer = make_scorer("sbert")
    assert scorer.spec.params["model"] == models.MINILM
    assert values(scorer.score([request("The cat sat on the mat.", "A dog barks.")])) == pytest.approx(
        [cosine], abs=1e-5
    )


def test_reward_is_the_classifiers_logit_and_soft_compares_with_the_reference(classifier: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(classifier)
    model = AutoModelForSequenceClassification.from_pretrained(classifier).eval()

    def by_hand(answer: str) -> float:
        with torch.no_grad():
            return float(model(**tokenizer("what is it ?\n\nthe film", answer, return_tensors="pt")).logits[0, 0])

    rows = [request(text, *references) for text, references in PAIRS[:9]]
    raw = values(make_scorer(scorer_spec("reward", model=str(classifier))).score(rows))
    assert raw == pytest.approx([by_hand(text) for text, _ in PAIRS[:9]], abs=1e-5)
    soft = values(make_scorer(scorer_spec("reward_soft", model=str(classifier))).score(rows))
    expected = [1 / (1 + math.exp(sum(map(by_hand, references)) / 3 - by_hand(text))) for text, references in PAIRS[:9]]
    assert soft == pytest.approx(expected, abs=1e-5)
    same = make_scorer(scorer_spec("reward_soft", model=str(classifier))).score([request("a film", "a film")])
    assert values(same) == [0.5]


def test_two_outputs_give_their_difference_and_three_are_refused(tmp_path: Path) -> None:
    two = make_scorer(scorer_spec("reward", model=str(save_tiny_encoder(tmp_path / "two", labels=2))))
    assert len(set(values(two.score([request(text, "a") for text, _ in PAIRS[:5]])))) == 5
    three = make_scorer(scorer_spec("reward", model=str(save_tiny_encoder(tmp_path / "three", labels=3))))
    with pytest.raises(InputError, match="saw 3 outputs; expected 1"):
        three.score([request("a film", "a")])


def test_a_base_model_is_no_reward_model(encoder: Path) -> None:
    scorer = make_scorer(scorer_spec("reward", model=str(encoder)))
    with pytest.raises(
        InputError, match=r"saw no weights for classifier\.bias; expected a trained sequence classifier"
    ):
        scorer.score([request("a film", "a")])


def test_missing_models_are_one_line_that_says_what_to_do(encoder: Path) -> None:
    for spec, said in (
        (scorer_spec("reward"), r"saw no model; expected a folder or hub id .* set scorer_params\.reward\.model"),
        (scorer_spec("bertscore", model="/no/such"), "model of scorer 'bertscore' '/no/such': saw no such folder"),
        (scorer_spec("bertscore"), "deberta-base-mnli.* saw no copy on this machine and no hub"),
    ):
        with pytest.raises(InputError, match=said) as caught:
            make_scorer(spec)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="saw layer 9; expected 1 to 3"):
        make_scorer(scorer_spec("bertscore", model=str(encoder), layer=9)).score([request("a film", "a")])
    with pytest.raises(ConfigError, match="template"):
        make_scorer(scorer_spec("reward", model=str(encoder), template="odd"))


def test_without_the_package_sbert_asks_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "packaged_minilm", lambda: None)
    models.find_encoder.cache_clear()
    with pytest.raises(InputError, match=r"'sentence-transformers/all-MiniLM-L6-v2' at .* no copy on this machine"):
        resolve(scorer_spec("sbert"))
    models.find_encoder.cache_clear()


def test_scores_are_known_by_the_models_content(encoder: Path, tmp_path: Path) -> None:
    spec = resolve(scorer_spec("bertscore", model=str(encoder)))
    moved = tmp_path / "elsewhere" / encoder.name
    shutil.copytree(encoder, moved)
    same = resolve(scorer_spec("bertscore", model=str(moved)))
    assert same.path != spec.path
    assert scores_key(same, BATCH) == scores_key(spec, BATCH)
    assert scores_key(resolve(scorer_spec("bertscore", model=str(encoder), layer=2)), BATCH) != scores_key(spec, BATCH)
    other = resolve(scorer_spec("bertscore", model=str(save_tiny_encoder(tmp_path / encoder.name, seed=8))))
    assert scores_key(other, BATCH) != scores_key(spec, BATCH)
    assert resolve(scorer_spec("rouge1")) == scorer_spec("rouge1")


def test_every_scorer_states_direction_range_and_cost(encoder: Path) -> None:
    reward, soft = scorer_spec("reward"), scorer_spec("reward_soft")
    assert (reward.low, reward.high, soft.low, soft.high) == (None, None, 0.0, 1.0)
    assert {scorer_spec(name).cost for name in ("bertscore", "sbert", "reward")} == {"model"}
    assert scorer_spec("rouge1").cost == "cpu"


def test_a_node_without_the_encoders_folder_finds_the_same_model_by_its_source(encoder: Path, tmp_path: Path) -> None:
    asked: list[tuple[object, ...]] = []

    def model_here(path: str, key: str, source: str, *, what: str) -> str:
        asked.append((path, key, source, what))
        return str(encoder)

    spec = resolve(scorer_spec("bertscore", model=str(encoder))).replace(path="/head/only", source="owner/model@c0ffee")
    assert scores_key(spec, BATCH) == scores_key(resolve(scorer_spec("bertscore", model=str(encoder))), BATCH)
    assert on_this_machine(spec, model_here).path == str(encoder)
    assert asked == [("/head/only", "", "owner/model@c0ffee", "model of scorer 'bertscore'")]
    heuristic = scorer_spec("rouge1")
    assert on_this_machine(heuristic, model_here) is heuristic


def test_a_node_reads_the_packaged_encoder_from_its_own_package(tmp_path: Path) -> None:
    if (packaged := packaged_minilm()) is None:
        pytest.skip("all-MiniLM-L6-v2 is not installed as a package")
    spec = resolve(scorer_spec("sbert")).replace(path="/head/site-packages/model")
    assert on_this_machine(spec, pytest.fail).path == packaged
