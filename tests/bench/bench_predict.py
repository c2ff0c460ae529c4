"""`assay predict` on RegMix's public runs: losses of held-out mixtures from a part of the trained ones.

    python tests/bench/bench_predict.py --data DIR [--runs 51] [--seeds 5] [--losses pile_cc|all]

DIR holds `train_mixture_1m.csv`, `train_pile_loss_1m.csv`, `test_mixture_1m.csv` and `test_pile_loss_1m.csv` of
sail-sg/regmix. A seed draws which training runs are seen; the held-out rows choose nothing.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from assay.commands.deciding.mixture_tables import Runs, read_runs
from assay.metaeval.predict.account import Account, account
from assay.metaeval.predict.stacking import fit_predictor

LOSSES = ("arxiv", "freelaw", "pubmed_central", "wikipedia_en", "dm_mathematics", "github", "stackexchange")
LOSSES += ("gutenberg_pg_19", "pile_cc", "ubuntu_irc", "hackernews", "pubmed_abstracts", "uspto_backgrounds")


def main() -> None:
    """Print a line per seed and loss, and the means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=51)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--losses", default="pile_cc")
    options = parser.parse_args()
    losses = LOSSES if options.losses == "all" else options.losses.split(",")
    columns = [f"metric/the_pile_{name}_val_loss" for name in losses]
    train, test = (
        read_runs(options.data / f"{part}_mixture_1m.csv", options.data / f"{part}_pile_loss_1m.csv", "index", columns)
        for part in ("train", "test")
    )
    found = []
    for seed in range(options.seeds):
        for name, column in zip(losses, columns, strict=True):
            began = time.perf_counter()
            figures = of_part(train, test, column, options.runs, seed)
            found.append(figures)
            print(
                f"seed {seed} {name:<18} rank {figures.rank_correlation:.4f}  pairs {figures.pair_accuracy:.4f}  "
                f"intervals hold {figures.coverage:.3f}  ({time.perf_counter() - began:.0f} s)",
                flush=True,
            )
    print(
        f"{options.runs} runs, {options.seeds} seeds, {len(losses)} losses: "
        f"rank {np.mean([one.rank_correlation for one in found]):.4f}, "
        f"pairs {np.mean([one.pair_accuracy for one in found]):.4f}, "
        f"intervals hold {np.mean([one.coverage for one in found]):.4f}"
    )


def of_part(train: Runs, test: Runs, column: str, runs: int, seed: int) -> Account:
    """Figures on the held-out rows of a predictor that saw some training runs."""
    seen = np.random.default_rng(seed).permutation(len(train.keys))[:runs]
    model = fit_predictor(train.shares[seen], train.scores[column][seen])
    return account(model.predict(test.shares), test.scores[column])


if __name__ == "__main__":
    main()
