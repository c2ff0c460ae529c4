"""Datasets that a study makes of its others, through a real server on loopback."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from assay.errors import ConfigError, InputError, StageError
from assay.hooks import SilentProgress
from assay.judge_server.config import JudgeServerConfig
from assay.judge_server.launch import start_judge_server
from assay.llm.endpoint import EndpointSpec
from assay.llm.figures import GatewayStats
from assay.llm.opening import Asker, open_gateway
from assay.llm.requests import Answer, ChatRequest
from assay.mixtures.synthesis import RandomLabels, SyntheticRows
from assay.records import Example
from assay.scoring.scorers.models import MINILM, MINILM_PACKAGE
from assay.store import Store
from assay.studies.derived import derived_keys, in_order, make_derived, write_rows
from assay.studies.writer import Writer
from assay.tasks.catalog import SHIPPED_TASKS
from assay.tasks.datasets.loaders import read_dataset
from assay.tasks.tagging import JudgeTags
from support.shipped import get_task
from support.tiny_encoders import save_tiny_encoder

TASK = get_task("sst2")
WORDS = (
    *("warm", "dull", "bright", "slow", "sharp", "gentle", "loud", "quiet"),
    *("odd", "plain", "rich", "thin", "bold", "grey", "quick"),
)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with start_judge_server(JudgeServerConfig()) as server:
        yield server.base_url


def writer(url: str, folder: Path) -> Writer:
    endpoint = EndpointSpec(base_url=url, model="rubric", name="rubric-server", step_headers=True)

    @asynccontextmanager
    async def asker() -> AsyncIterator[Asker]:
        async with open_gateway(endpoint, ledger_url=f"sqlite:///{folder}/ledger.db", limiter="process") as gateway:
            yield gateway

    return Writer(endpoint, asker)


def saying(text: str) -> Any:
    """What opens a gateway to a model that says this to everything."""

    class Model:
        async def ask_many(self, requests: Iterable[ChatRequest]) -> AsyncIterator[tuple[int, Answer]]:
            for number, _ in enumerate(requests):
                yield number, Answer(text, "stop", 1, 1, None, False, str(number))

        def stats(self) -> GatewayStats:
            return GatewayStats(1, 1, 0, 1, {}, 1, 0, 1, 1, 0.0, 0, 1.0, None, 0)

    @asynccontextmanager
    async def asker() -> AsyncIterator[Model]:
        yield Model()

    return asker


class Figures(SilentProgress):
    """The last figure of each name that was told."""

    def __init__(self) -> None:
        self.seen: dict[str, object] = {}

    def advance(self, stage: str, count: int = 1, **info: object) -> None:
        self.seen |= info


def human(count: int = 60) -> list[Example]:
    made = []
    for n in range(count):
        words = [WORDS[(n * step + step) % len(WORDS)] for step in (1, 2, 4, 7, 8, 11)]
        made.append(Example(f"h{n}", "sst2", "train", TASK.instruction, f"{' '.join(words)} {n}", TASK.labels[n % 2]))
    return made


def test_rows_are_written_labelled_at_random_and_kept(url: str, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    derived = {"s": SyntheticRows(of="sst2", rows=20, shown=10), "r": RandomLabels(of="s")}
    made_by = writer(url, tmp_path)
    keys = derived_keys(derived, {"sst2": "k"}, made_by.endpoint)
    rows = {"sst2": human()}

    def rows_of(name: str) -> list[Example]:
        return rows.get(name) or read_dataset(store, keys[name])

    said = make_derived(store, derived, keys, rows_of, made_by, SilentProgress(), SHIPPED_TASKS)
    assert [sentence.split(":")[0] for sentence in said] == ["s", "r"]
    synthetic, random_rows = read_dataset(store, keys["s"]), read_dataset(store, keys["r"])
    assert len(synthetic) == len(random_rows) == 20
    assert Counter(row.reference for row in synthetic).keys() == set(TASK.labels)
    assert not {row.input for row in synthetic} & {row.input for row in rows["sst2"]}
    assert make_derived(store, derived, keys, rows_of, made_by, SilentProgress(), SHIPPED_TASKS) == []

    again = Store(str(tmp_path / "other"))  # another store, the same ledger: nothing is asked twice
    make_derived(again, {"s": derived["s"]}, keys, rows_of, made_by, SilentProgress(), SHIPPED_TASKS)
    assert read_dataset(again, keys["s"]) == synthetic

    async def calls() -> int:
        async with made_by.open() as gateway:
            return int(gateway.stats().done)

    assert asyncio.run(calls()) == 0


def test_a_writer_that_repeats_itself_is_an_error_with_its_reasons(url: str, tmp_path: Path) -> None:
    derived = {"s": SyntheticRows(of="sst2", rows=50, pool=2, shown=2)}
    made_by = writer(url, tmp_path)
    keys = derived_keys(derived, {"sst2": "k"}, made_by.endpoint)
    with pytest.raises(
        StageError, match=r"of 50 that can be used after \d+ calls .*repeats another row.* raise max_overlap"
    ):
        make_derived(
            Store(str(tmp_path)), derived, keys, lambda name: human(), made_by, SilentProgress(), SHIPPED_TASKS
        )


def test_a_writer_whose_replies_are_no_rows_is_told_from_one_that_repeats_itself() -> None:
    progress = Figures()
    spec = SyntheticRows(of="sst2", rows=4)
    with pytest.raises(StageError, match=r'0 of 4 .* \{"no JSON list": 8\}.* hold it to the form \(structured\)'):
        asyncio.run(write_rows(spec, human(), TASK, Writer(EndpointSpec(), saying("Certainly!")), progress))
    assert progress.seen["left_out"] == 8  # nothing but "0 of 4 rows" was told before, however long it took
    assert progress.seen["calls"] == "1/1"


def test_a_writer_that_is_held_to_a_schema_writes_rows_of_the_wanted_label(url: str, tmp_path: Path) -> None:
    derived = {"s": SyntheticRows(of="sst2", rows=6, structured=True)}
    made_by = writer(url, tmp_path)
    keys = derived_keys(derived, {"sst2": "k"}, made_by.endpoint)
    store = Store(str(tmp_path))
    make_derived(store, derived, keys, lambda name: human(), made_by, SilentProgress(), SHIPPED_TASKS)
    rows = read_dataset(store, keys["s"])
    assert len(rows) == 6
    assert {row.reference for row in rows} == set(TASK.labels)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as ledger:
        replies = [json.loads(reply) for (reply,) in ledger.execute("SELECT reply FROM calls")]
    assert replies and {tuple(reply) for reply in replies} == {("rows",)}
    plain = derived_keys({"s": SyntheticRows(of="sst2", rows=6)}, {"sst2": "k"}, made_by.endpoint)
    assert plain["s"] != keys["s"]


def test_what_a_writer_thinks_is_no_row() -> None:
    row = {"input": "a wholly warm film", "output": TASK.labels[0]}
    thinking = saying(f"<think>first [a draft], then</think>{json.dumps([row])}")
    spec = SyntheticRows(of="sst2", rows=1, per_call=1)
    made = asyncio.run(write_rows(spec, human(), TASK, Writer(EndpointSpec(), thinking), SilentProgress()))
    assert [row.input for row in made.rows] == ["a wholly warm film"]


@pytest.mark.parametrize("encoder", ["", MINILM])
def test_the_judge_tags_some_rows_and_the_classifier_the_rest(url: str, tmp_path: Path, encoder: str) -> None:
    if encoder:
        pytest.importorskip(MINILM_PACKAGE)
    asks = ("Translate this into French:", "Summarize the text about", "Calculate how many", "Rewrite the sentence:")
    rows = [
        Example(f"{n}", "instructions", ("train", "test")[n % 3 == 0], f"{asks[n % 4]} {WORDS[n % 15]} {n}", "", "")
        for n in range(240)
    ]
    store, made_by = Store(str(tmp_path)), writer(url, tmp_path)
    derived = {"tagged": JudgeTags(of="plain", judge_rows=120, encoder=encoder)}
    keys = derived_keys(derived, {"plain": "k"}, made_by.endpoint)
    (said,) = make_derived(store, derived, keys, lambda name: rows, made_by, SilentProgress(), SHIPPED_TASKS)
    assert "120 rows tagged by rubric, 120 by a classifier" in said
    tagged = read_dataset(store, keys["tagged"])
    assert [row.example_id for row in tagged] == [row.example_id for row in rows]
    by_ask = {asks[n % 4]: Counter() for n in range(4)}
    for n, row in enumerate(tagged):
        by_ask[asks[n % 4]][row.category] += 1
    assert by_ask[asks[0]]["Translate"] > 55
    assert by_ask[asks[1]]["Summarize"] > 55


def test_keys_follow_what_is_written_and_by_whom() -> None:
    endpoint = EndpointSpec(base_url="http://x/v1", model="a", name="e")
    other = endpoint.replace(model="b")
    derived = {"s": SyntheticRows(of="sst2", rows=20), "r": RandomLabels(of="s")}
    keys = derived_keys(derived, {"sst2": "k"}, endpoint)
    assert derived_keys(derived, {"sst2": "k2"}, endpoint)["r"] != keys["r"]
    assert derived_keys(derived, {"sst2": "k"}, other)["s"] != keys["s"]
    assert derived_keys(derived, {"sst2": "k"}, other)["sst2"] == keys["sst2"]


def test_a_taggers_encoder_is_known_by_its_content(tmp_path: Path) -> None:
    endpoint = EndpointSpec(base_url="http://x/v1", model="a", name="e")
    folders = [save_tiny_encoder(tmp_path / name, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    tags = [JudgeTags(of="x", judge_rows=60, encoder=folder) for folder in ("", *map(str, folders))]
    keys = [derived_keys({"t": spec}, {"x": "k"}, endpoint)["t"] for spec in tags]
    assert keys[1] == keys[2] and len(set(keys)) == 3
    with pytest.raises(InputError, match="encoder of judge_tags"):
        derived_keys({"t": JudgeTags(of="x", encoder=str(tmp_path / "none"))}, {"x": "k"}, endpoint)


def test_what_leads_back_to_itself_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"data.derived.a.of: saw 'b'"):
        in_order({"a": RandomLabels(of="b"), "b": RandomLabels(of="a")}, {"sst2": "k"})
