"""A referee over HTTP: both orders, equal answers are ties that nobody is asked about, and nothing is asked twice."""

from __future__ import annotations

from pathlib import Path

from assay.hooks import SilentProgress
from assay.judge_server.launch import start_judge_server
from assay.judging.asking import JudgeConnection
from assay.llm.endpoint import EndpointSpec
from assay.records import Example
from assay.store import Store
from assay.studies.preferences.refereed import (
    KIND,
    Match,
    Texts,
    play,
    read_verdicts,
    referee_protocol,
    referee_spec,
)

GOOD = "The capital of France is Paris."
EXAMPLES = [Example(name, "instructions", "test", "What is the capital of France?", "", GOOD) for name in "abc"]


def test_matches_are_played_once_and_stored(tmp_path: Path) -> None:
    store, match = Store(str(tmp_path)), Match("answers", "start", 0)
    texts = Texts({"a": GOOD, "b": "same", "c": "x"}, {"a": "x x x x x x x x x", "b": "same "})
    with start_judge_server() as server:
        endpoint = EndpointSpec(name="judge", model="rubric", base_url=server.base_url)
        referee = referee_spec("vanilla", "strict", endpoint)
        connection = JudgeConnection(endpoint, f"sqlite:///{tmp_path}/ledger.db")
        key = match.key(referee)
        asked = play(store, {key: texts}, EXAMPLES, referee_protocol("vanilla", "strict"), connection, SilentProgress())
    assert asked == 1  # equal answers are a tie, and the start has none to the last prompt
    found = read_verdicts(store, key)
    assert set(found) == {"a", "b"}
    assert (found["a"].first_share, found["b"].first_share) == (1.0, 0.5)
    assert store.exists(KIND, key) and read_verdicts(store, "0" * 32) == {}
    assert key != Match("answers", "start", 1).key(referee) != Match("other", "start", 1).key(referee)
