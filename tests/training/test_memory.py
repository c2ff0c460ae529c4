from __future__ import annotations

import pytest

from assay.training.memory import ModelMemory, PassSize, choose_pass_size, smaller, training_bytes

GIB = 2**30
SEVEN_B = ModelMemory(
    weight_bytes=int(12.55 * GIB),
    trained_parameters=8_000_000,
    bytes_per_token=6_700 * 1024,
    checkpointed_bytes_per_token=450 * 1024,
    vocabulary=32_000,
)


def choose(gib: float, tokens: int | None = None, checkpointing: bool | None = None) -> PassSize:
    return choose_pass_size(SEVEN_B, gib * GIB, longest=512, tokens=tokens, checkpointing=checkpointing)


def test_the_estimate_adds_weights_optimizer_and_what_tokens_leave() -> None:
    # 12.55 GiB + 8M x 16 bytes = .12 GiB + 4096 x (6,700 KiB + 3 x 4 x 32,000 x .5 bytes = 187.5 KiB) = 26.90 GiB
    assert training_bytes(SEVEN_B, PassSize(4096, False)) / GIB == pytest.approx(12.55 + 0.119 + 26.904, abs=0.01)


@pytest.mark.parametrize(
    ("gib", "expected"),
    [
        (80, PassSize(4096, False)),
        (40, PassSize(2048, False)),  # 34 GiB of room: 12.7 + 26.9 is too much, 12.7 + 13.5 is not
        (20, PassSize(512, False)),  # 17 GiB: 12.7 + 3.4
        (18, PassSize(1024, True)),  # 15.3 GiB: 12.7 + 3.4 is too much; recomputing 12.7 + 1024 x 638 KiB = .62
    ],
)
def test_passes_follow_the_memory(gib: float, expected: PassSize) -> None:
    chosen = choose(gib)
    assert chosen.gradient_checkpointing == expected.gradient_checkpointing
    assert training_bytes(SEVEN_B, chosen) <= 0.85 * gib * GIB
    assert chosen.micro_batch_tokens >= expected.micro_batch_tokens


def test_what_was_asked_for_by_name_stays() -> None:
    assert choose(20, tokens=1024, checkpointing=False) == PassSize(1024, False)
    assert choose(80, checkpointing=True).gradient_checkpointing
    assert choose(20, tokens=4096) == PassSize(4096, True)


def test_the_ladder_halves_then_recomputes_then_ends() -> None:
    size: PassSize | None = PassSize(4096, False)
    seen = []
    while size is not None:
        seen.append(size)
        size = smaller(size, longest=900)
    assert seen == [PassSize(4096, False), PassSize(2048, False), PassSize(1024, False), PassSize(1024, True)]
