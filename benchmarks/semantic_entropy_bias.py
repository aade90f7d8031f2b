"""How far entropy estimators are off on known distributions: `python -m benchmarks.semantic_entropy_bias` (20 s).

Grams are drawn from distributions whose entropy is known, as many as a step may have, and each estimator's mean
error (bias) and root mean square error are taken over the draws. The last distribution is drawn as the diagnostic
sees it: completions with several grams each, about a topic of their own, a gram counted once a completion.
What matters for a curve over steps is the spread of the bias over sample sizes: a step with longer completions
has more grams, and the uncorrected entropy rises with them though nothing else changes ("drift" in the table).
The conditional entropy is measured likewise, by the fewest occurrences of a gram that count.

Then entropy and variety (`plan/variety`, what the phase is judged by) beside each other: what four times as many
grams a completion do to them where nothing changes, and how far a rise of diversity stands out of their noise.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.phrases import drawn
from benchmarks.tell import bar, keep
from diagnostics.grams.entropies import conditional_entropy, entropy
from diagnostics.grams.plan import FEWEST

SIZES = (20, 50, 100, 200, 500, 1000)
DRAWS = 300
Estimator = Callable[[np.ndarray], float]


def plain(n_k: np.ndarray) -> float:
    """Of the observed shares: no correction."""
    q = n_k / n_k.sum()
    return float(-(q * np.log(q)).sum())


def miller_madow(n_k: np.ndarray) -> float:
    """Miller (1955): plus (K - 1) / 2n for K classes seen."""
    return plain(n_k) + (len(n_k) - 1) / (2 * n_k.sum())


def grassberger(n_k: np.ndarray) -> float:
    """Grassberger (2003), arXiv physics/0307138, equation 27: log n - sum of n_k G(n_k) / n."""
    table = np.empty(n_k.max() + 2)
    table[1] = -np.euler_gamma - np.log(2)
    table[2] = 2 + table[1]
    for k in range(3, n_k.max() + 1):
        table[k] = table[k - 1] if k % 2 else table[k - 2] + 2 / (k - 1)
    return float(np.log(n_k.sum()) - (n_k * table[n_k]).sum() / n_k.sum())


def chao_shen(n_k: np.ndarray) -> float:
    """Chao and Shen (2003): shares shrunk by the coverage, weighted by the chance of being seen."""
    n, f1 = n_k.sum(), (n_k == 1).sum()
    q = (1 - min(f1, n - 1) / n) * n_k / n
    return float(-(q * np.log(q) / (1 - (1 - q) ** n)).sum())


ESTIMATORS: Mapping[str, Estimator] = {
    "plain": plain,
    "Miller-Madow": miller_madow,
    "Grassberger": grassberger,
    "Chao-Shen": chao_shen,
    "Chao-Wang-Jost (ours)": entropy,
}


def zipf(classes: int, exponent: float) -> np.ndarray:
    """Shares that fall with a power of the rank."""
    weights = np.arange(1.0, classes + 1) ** -exponent
    return weights / weights.sum()


DISTRIBUTIONS: Mapping[str, np.ndarray] = {
    "uniform, 50": zipf(50, 0),
    "uniform, 300": zipf(300, 0),
    "Zipf 1, 30": zipf(30, 1),
    "Zipf 1, 100": zipf(100, 1),
    "Zipf 1, 500": zipf(500, 1),
    "Zipf 1.1, 2000": zipf(2000, 1.1),
    "geometric 0.93": 0.93 ** np.arange(200) / (0.93 ** np.arange(200)).sum(),
}
OPEN = ((60, 1.0), (2000, 1.0), (2000, 1.1), (20_000, 0.9))  # classes and exponents, few to very many
CLUSTERED = "completions, Zipf 1, 100"


def completions(rng: np.random.Generator, wanted: int) -> np.ndarray:
    """(100,) counts of at least `wanted` grams, from completions of 1 to 8 of them that lean to a topic."""
    base, counts = zipf(100, 1), np.zeros(100, np.int64)
    while counts.sum() < wanted:
        own = rng.dirichlet(30 * base)
        counts[np.unique(rng.choice(100, rng.integers(1, 9), p=own))] += 1
    return counts


def draws(name: str, size: int, rng: np.random.Generator) -> Iterable[np.ndarray]:
    """`DRAWS` samples of about `size` grams, as (K,) counts."""
    if name == CLUSTERED:
        return (completions(rng, size) for _ in range(DRAWS))
    return iter(rng.multinomial(size, DISTRIBUTIONS[name], DRAWS))


def errors(name: str, size: int, truth: float, rng: np.random.Generator) -> dict[str, tuple[float, float]]:
    """(bias, root mean square error) of every estimator."""
    samples = [counts[counts > 0] for counts in draws(name, size, rng)]
    found = {}
    for label, estimate in ESTIMATORS.items():
        off = np.array([estimate(sample) for sample in samples]) - truth
        found[label] = (float(off.mean()), float(np.sqrt((off**2).mean())))
    return found


def conditional(rng: np.random.Generator, fewest: int, size: int = 300) -> tuple[float, float, float]:
    """Bias of the corrected and the plain conditional entropy, and the share of pairs used.

    100 grams by Zipf; what follows each is Zipf over 3 to 30 words.
    """
    grams = zipf(100, 1)
    after = [zipf(k, 1) for k in rng.integers(3, 31, 100)]
    truth = np.array([plain(q) for q in after])
    off, off_plain, used = [], [], []
    for _ in range(100):
        n_g = rng.multinomial(size, grams)
        often = [g for g in range(100) if n_g[g] >= fewest]
        seen = {g: Counter(rng.choice(len(after[g]), n_g[g], p=after[g]).tolist()) for g in often}
        weights = n_g[often] / n_g[often].sum()
        off.append(conditional_entropy(seen) - weights @ truth[often])
        off_plain.append(
            sum(w * plain(np.array([*seen[g].values()])) for w, g in zip(weights, often, strict=True))
            - weights @ truth[often]
        )
        used.append(n_g[often].sum() / size)
    return float(np.mean(off)), float(np.mean(off_plain)), float(np.mean(used))


def entropy_and_variety(rng: np.random.Generator, shares: np.ndarray, mean: float) -> np.ndarray:
    """(DRAWS, 2): of steps whose completions have so many grams in the mean."""
    steps = (drawn(rng, shares, mean) for _ in range(DRAWS))
    return np.array([(step.entropy, step.variety) for step in steps])


def longer(rng: np.random.Generator, classes: int, exponent: float) -> dict[str, list[float]]:
    """Of entropy and variety: the change from 2 to 8 grams a completion; and a rise, in deviations of the noise, when
    at 3 grams a completion the exponent falls by 0.3."""
    few, many = (entropy_and_variety(rng, zipf(classes, exponent), mean) for mean in (2, 8))
    before, after = (entropy_and_variety(rng, zipf(classes, power), 3) for power in (exponent + 0.3, exponent))
    noise = (before.std(0) + after.std(0)) / 2
    rise = (after.mean(0) - before.mean(0)) / noise
    return {"change": (many.mean(0) - few.mean(0)).tolist(), "rise_over_noise": rise.tolist()}


def measure() -> dict[str, Any]:
    """Everything, by distribution, sample size and estimator."""
    rng = np.random.default_rng(0)
    long_run = completions(rng, 1_000_000)
    truths = {name: plain(q) for name, q in DISTRIBUTIONS.items()} | {CLUSTERED: plain(long_run[long_run > 0])}
    cases = list(itertools.product(truths, SIZES))
    found: dict[str, dict[int, Any]] = {name: {} for name in truths}
    for name, size in bar(cases, "entropies", len(cases)):
        found[name][size] = errors(name, size, truths[name], rng)
    by_fewest = {k: conditional(np.random.default_rng(1), k) for k in (1, 2, 3, FEWEST, 10, 20)}
    by_length = {f"Zipf {exponent:g}, {k}": longer(np.random.default_rng(2), k, exponent) for k, exponent in OPEN}
    figures = {"truth": truths, "errors": found, "summary": summary(found), "conditional": by_fewest}
    return figures | {"longer": by_length}


def summary(found: Mapping[str, Mapping[int, Mapping[str, tuple[float, float]]]]) -> dict[str, dict[str, float]]:
    """Over all distributions: mean |bias|, mean error, and drift: the bias at 500 grams less that at 50."""
    cells = [cell for sizes in found.values() for cell in sizes.values()]
    return {
        label: {
            "mean |bias|": float(np.mean([abs(cell[label][0]) for cell in cells])),
            "mean error": float(np.mean([cell[label][1] for cell in cells])),
            "drift 50 to 500": float(np.mean([s[500][label][0] - s[50][label][0] for s in found.values()])),
            "worst drift": float(max(s[500][label][0] - s[50][label][0] for s in found.values())),
        }
        for label in ESTIMATORS
    }


def main() -> None:
    """Print the tables and keep the figures."""
    found = measure()
    console = Console()
    table = Table("distribution", "entropy", "grams", *ESTIMATORS, title="bias / root mean square error, nats")
    for name, sizes in found["errors"].items():
        for size, cell in sizes.items():
            row = (f"{bias:+.2f} / {error:.2f}" for bias, error in cell.values())
            table.add_row(name, f"{found['truth'][name]:.2f}", str(size), *row)
        table.add_section()
    console.print(table)
    table = Table("estimator", *next(iter(found["summary"].values())), title="over all of them, nats")
    for label, row in found["summary"].items():
        table.add_row(label, *(f"{value:.3f}" for value in row.values()))
    console.print(table)
    table = Table(
        "fewest occurrences",
        "bias, corrected",
        "bias, plain",
        "pairs used",
        title="what follows a gram, 300 pairs, nats",
    )
    for fewest, (corrected, raw, used) in found["conditional"].items():
        table.add_row(str(fewest), f"{corrected:+.3f}", f"{raw:+.3f}", f"{used:.0%}")
    console.print(table)
    table = Table("distribution", "entropy", "variety", "entropy", "variety")
    table.title = "from 2 to 8 grams a completion: change; a rise of diversity, over the noise"
    for name, row in found["longer"].items():
        (nats, chance), rises = row["change"], row["rise_over_noise"]
        table.add_row(name, f"{nats:+.2f}", f"{chance:+.4f}", *(f"{rise:.1f}" for rise in rises))
    console.print(table)
    keep("semantic_entropy_bias", found)


if __name__ == "__main__":
    main()
