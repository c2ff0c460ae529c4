"""Replay: every recorded prompt gives its recorded reply back, by its texts as well as by its wording."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from assay.errors import ConfigError, DataError
from assay.judge_server.replay.recordings import RecordedCall, instances_of, read_exchanges
from assay.judge_server.replay.replay import Replay, plain_name
from assay.judge_server.server.exchange import JudgeRequest, NoReplyError, content_key

REWORDED = """Which of two answers is the better one?

Task given:
<<<BEGIN 0f>>>
{instruction}
<<<END 0f>>>

First: Output (a)
<<<BEGIN 0f>>>
{first}
<<<END 0f>>>

Second: Output (b)
<<<BEGIN 0f>>>
{second}
<<<END 0f>>>

{rest}Answer "Output (a)" or "Output (b)". Output 1 of 2 is as likely."""


def request(messages, protocol="", step="", model="gpt-4", judge=""):
    turns = tuple(messages)
    return JudgeRequest(model, turns, content_key(model, turns), protocol=protocol, step=step, judge=judge)


@pytest.fixture(scope="module")
def exchanges(shared_data: Path) -> list[RecordedCall]:
    files = sorted((shared_data / "llmbar" / "exchanges").glob("*.jsonl.gz"))
    assert len(files) == 16
    return [row for path in files for row in read_exchanges(path)]


@pytest.fixture(scope="module")
def replay(exchanges: list[RecordedCall]) -> Replay:
    return Replay(exchanges)


def test_every_recorded_prompt_gives_its_recorded_reply(exchanges, replay) -> None:
    for row in exchanges:
        [reply] = replay.replies(request(row.messages, row.strategy, row.stage, row.model), 1)
        assert reply.text == row.completion


def test_the_recorded_judges_are_the_models(exchanges, replay) -> None:
    judges = sorted({row.judge for row in exchanges})
    assert sorted(replay.models) == judges
    assert Replay(exchanges, judge=judges[0]).models == (judges[0],)


def test_every_recorded_prompt_is_found_by_its_texts_alone(exchanges, replay, monkeypatch) -> None:
    for recorded in replay._recorded.values():
        monkeypatch.setattr(recorded, "by_prompt", {})
    for row in exchanges:
        [reply] = replay.replies(request(row.messages, row.strategy.lower(), row.stage, row.judge), 1)
        assert reply.text == row.completion, (row.subset, row.index, row.strategy, row.stage, row.swap)


def test_steps_are_told_from_the_prompt_without_a_step_header(exchanges, replay, monkeypatch) -> None:
    for recorded in replay._recorded.values():
        monkeypatch.setattr(recorded, "by_prompt", {})
    for row in exchanges:
        [reply] = replay.replies(request(row.messages, row.strategy, "", row.judge), 1)
        assert reply.text == row.completion, (row.subset, row.index, row.strategy, row.stage, row.swap)


def test_texts_recovered_from_exchanges_equal_the_dataset(exchanges, shared_data) -> None:
    instances = instances_of(exchanges)
    for subset in ("Natural", "GPTInst"):
        with gzip.open(shared_data / "llmbar" / "datasets" / f"{subset}.json.gz", "rt") as file:
            for index, item in enumerate(json.load(file)):
                found = instances[(subset, index)]
                texts = (found.instruction, *found.outputs)
                wanted = (item["input"], item["output_1"], item["output_2"])
                assert [text.strip() for text in texts] == [text.strip() for text in wanted]


def test_another_wording_is_answered_from_each_file_alone(exchanges) -> None:
    instances = instances_of(exchanges)
    for subset, judge in (("Natural", "GPT-4"), ("GPTInst", "ChatGPT")):
        rows = [row for row in exchanges if (row.subset, row.judge, row.strategy) == (subset, judge, "Vanilla")]
        alone = Replay(rows, strategy="vanilla")
        for row in rows:
            instance = instances[(row.subset, row.index)]
            first, second = instance.outputs[::-1] if row.swap else instance.outputs
            text = REWORDED.format(instruction=instance.instruction, first=first, second=second, rest="")
            messages = [("system", "You judge answers. Take no side."), ("user", text)]
            [reply] = alone.replies(request(messages, model="anything"), 1)
            assert reply.text == row.completion, (row.subset, row.index, row.swap)


@pytest.mark.parametrize(
    ("protocol", "step", "model", "missing"),
    [
        ("chateval", "compare", "gpt-4", "no recorded strategy 'chateval'"),
        ("vanilla", "compare", "palm2", "no recorded judge 'palm2'"),
        ("vanilla", "auxiliary_0", "gpt-4", "no recorded step 'auxiliary_0'"),
        ("", "", "gpt-4", "several recordings fit"),
    ],
)
def test_what_is_not_recorded_is_said(exchanges, replay, protocol, step, model, missing) -> None:
    row = next(row for row in exchanges if row.strategy == "CoT" and row.judge == "GPT-4")
    messages = [("user", row.text.replace("brief", "short") + " ")]
    with pytest.raises(NoReplyError, match=missing):
        replay.replies(request(messages, protocol, step, model), 1)


def test_a_prompt_of_no_instance_is_said(replay) -> None:
    with pytest.raises(NoReplyError, match="no recorded instance"):
        replay.replies(request([("user", "Which is better, Output (a) or Output (b)?")], "vanilla", "compare"), 1)


def rating_row(index: int, output: str, completion: str, **more: object) -> dict[str, object]:
    text = (
        "Score the output for the given instruction.\n\n# Instruction:\nName a colour.\n\n# Output:\n"
        f"{output}\n\n# Score of the Output (Your response should be ONLY the score, an integer between 0 and 9):"
    )
    row = {"judge": "J", "strategy": "Rating", "subset": "S", "index": index, "stage": "rate", "swap": None}
    return row | {"model": "j", "messages": [{"role": "user", "content": text}], "completion": completion} | more


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz", ".jsonl.xz"])
def test_ratings_are_found_by_the_one_output_shown(tmp_path, ending) -> None:
    import lzma

    path = tmp_path / f"ratings{ending}"
    opened = {".jsonl": open, ".jsonl.gz": gzip.open, ".jsonl.xz": lzma.open}[ending](path, "wt")
    with opened as file:
        for row in (rating_row(0, "Blue, as the sky.", "8"), rating_row(0, "A colour is what it is.", "2")):
            file.write(json.dumps(row) + "\n")
    replay = Replay.from_files([path], [])
    for output, completion in (("Blue, as the sky.", "8"), ("A colour is what it is.", "2")):
        text = f"Rate this.\nInstruction: Name a colour.\nOutput: {output}\nScore 0 to 9:"
        [reply] = replay.replies(request([("user", text)], "rating", "output_1", "J"), 1)
        assert reply.text == completion


def test_nested_and_tiny_outputs_keep_their_order() -> None:
    def row(swap: bool, completion: str) -> RecordedCall:
        outputs = ["1", "1 is the answer, and (1) is not."]
        first, second = outputs[::-1] if swap else outputs
        head = "(1) Be fair.\n\n# Instruction:\nHow many 1s?"
        text = f"{head}\n\n# Output (a):\n{first}\n\n# Output (b):\n{second}\n\n# Which is better?"
        return RecordedCall("J", "Vanilla", "S", 0, "compare", swap, "", "j", (("user", text),), completion, "stop")

    replay = Replay([row(False, "Output (b)"), row(True, "Output (a)")])
    for swap, completion in ((False, "Output (b)"), (True, "Output (a)")):
        outputs = ["1", "1 is the answer, and (1) is not."]
        first, second = outputs[::-1] if swap else outputs
        text = REWORDED.format(instruction="How many 1s?", first=first, second=second, rest="(1) No side.\n")
        assert replay.replies(request([("user", text)]), 1)[0].text == completion


def test_names_are_read_in_both_spellings() -> None:
    assert plain_name("Metrics_Reference") == plain_name("metrics_reference")
    assert plain_name("Vanilla_1shot") == plain_name("vanilla1shot") == "oneshot" or plain_name("one_shot") == "oneshot"


def test_a_line_that_is_no_exchange_is_named(tmp_path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps(rating_row(0, "x", "1")) + '\n{"judge": "J"}\n')
    with pytest.raises(DataError, match=r"bad\.jsonl:2: saw no exchange"):
        list(read_exchanges(path))


def test_an_unknown_judge_or_strategy_is_refused_at_start() -> None:
    row = RecordedCall("J", "Vanilla", "S", 0, "compare", None, "", "j", (("user", "x"),), "y", "stop")
    with pytest.raises(ConfigError, match="no exchange of judge 'K'"):
        Replay([row], judge="K")
    with pytest.raises(ConfigError, match="recorded are Vanilla"):
        Replay([row], strategy="cot")


def exchange_row(stage: str, user: str, completion: str, **fields) -> dict:
    return {
        "judge": "GPT-4", "strategy": "Metrics", "subset": "Manual", "index": 0, "stage": stage, "swap": None,
        "template": "x.txt", "model": "gpt-4", "max_tokens": 10, "temperature": 0,
        "messages": [{"role": "user", "content": user}], "completion": completion, "finish_reason": "stop",
        "winner": None, "label": 1, **fields,
    }  # fmt: skip


def replay_of(tmp_path: Path, rows: list[dict], data: list[dict]) -> Replay:
    exchanges, items = tmp_path / "e.jsonl", tmp_path / "Manual.json"
    exchanges.write_text("".join(json.dumps(row) + "\n" for row in rows))
    items.write_text(json.dumps(data))
    return Replay.from_files([exchanges], [items])


def test_an_instruction_of_two_words_is_found_by_itself(tmp_path: Path) -> None:
    item = {"input": "the computer", "output_1": "An old machine hums at night.", "output_2": "Beep.", "label": 1}
    replay = replay_of(tmp_path, [exchange_row("auxiliary_0", "Ask about:\nthe computer", "1. Does it?")], [item])
    [reply] = replay.replies(
        request([("user", "Questions for this task, please:\nthe computer\n")], "Metrics", "auxiliary_0"), 1
    )
    assert reply.text == "1. Does it?"


def test_ratings_recorded_as_two_steps_are_told_apart_by_the_output_shown(tmp_path: Path) -> None:
    item = {
        "input": "Name a big animal that swims.",
        "output_1": "A whale is a big animal that swims.",
        "output_2": "Sharks are big and swim as well.",
        "label": 1,
    }
    prompt = "Rate this.\n# Instruction:\n{input}\n# Output:\n{output}"
    rows = [
        exchange_row(f"score_{place}", prompt.format(input=item["input"], output=item[f"output_{place}"]), str(place))
        for place in (1, 2)
    ]
    replay = replay_of(tmp_path, [{**row, "strategy": "Rating"} for row in rows], [item])
    for place in (1, 2):
        text = f"How good is it?\n{item['input']}\n---\n{item[f'output_{place}']}\n---\n0 to 9:"
        [reply] = replay.replies(request([("user", text)], "Rating", f"rate_{place}"), 1)
        assert reply.text == str(place)
