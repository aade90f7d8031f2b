"""Variety of plans: grams from masks, entropies by hand, what is absent, and sums over parts of a step."""

import dataclasses
import math
from collections import Counter

import numpy as np
import pytest
from synthetic import completion, group, record

from diagnostics.entropy import EntropyDiagnostic
from diagnostics.grams.entropies import conditional_entropy, coverage, entropy, variety
from diagnostics.grams.plan import Counts, PlanDiagnostic, gram_counts, grams, runs
from diagnostics.perplexity import logprob_sums
from diagnostics.taggers import LexiconTagger
from diagnostics.token_sums import entropies, token_sums
from rltrain.collect import planning_mask
from rltrain.metrics import undeclared
from rltrain.types import Completion, Diagnostic, StepRecord


def pieces(*parts: str) -> Completion:
    """A completion of these tokens."""
    ends = np.cumsum([len(part) for part in parts]).astype(np.int32)
    made = completion("".join(parts), len(parts))
    return Completion(made.token_ids, made.logprobs, ends, made.text, "stop", 1, "d1", "engine-0")


def tagged(text: str, pieces_: int = 40) -> tuple[Completion, np.ndarray]:
    made = completion(text, min(pieces_, len(text)))
    return made, planning_mask(made, LexiconTagger().spans(text))


def written(number: int, *texts: str, source: str = "sums", ticket: int = 0) -> StepRecord:
    """A step whose completions are these texts, tagged."""
    both = [tagged(text, len(text)) for text in texts]
    made = group(
        ticket, (0.0,) * len(texts), source, completions=tuple(c for c, _ in both), planning=tuple(m for _, m in both)
    )
    return record(number, made)


# --- estimators ----------------------------------------------------------------------------------


def test_entropy_of_what_was_seen_often_is_the_plain_one():
    assert entropy([5000, 5000]) == pytest.approx(math.log(2), abs=1e-4)
    assert entropy([7]) == 0.0 and entropy([1]) == 0.0 and math.isnan(entropy([]))


def test_entropy_against_the_paper_s_formula_written_out():
    counts = [1, 1, 1, 2, 2, 5, 9]
    n, f1, f2 = sum(counts), 3, 2
    a = 2 * f2 / ((n - 1) * f1 + 2 * f2)
    seen = sum(k / n * sum(1 / j for j in range(k, n)) for k in counts)
    tail = -math.log(a) - sum((1 - a) ** r / r for r in range(1, n))
    assert entropy(counts) == pytest.approx(seen + f1 / n * (1 - a) ** (1 - n) * tail, abs=1e-9)


@pytest.mark.parametrize(
    "counts", [[5, 1], [1, 1], [2, 1], [1] * 500, [1] + [2] * 3000, [1, 2] + [10**5] * 40, [1] * 9 + [10**6]]
)
def test_entropy_is_finite_where_powers_vanish(counts):
    assert 0 <= entropy(counts) < 40


def test_entropy_sees_the_unseen():
    rng, truth = np.random.default_rng(0), math.log(100)
    draws = [rng.multinomial(100, np.full(100, 0.01)) for _ in range(200)]
    assert abs(np.mean([entropy(d[d > 0]) for d in draws]) - truth) < 0.1  # the plain entropy is 0.48 too low


def test_conditional_entropy_and_coverage():
    following = {"a": Counter(x=500, y=500), "b": Counter(x=1000)}
    assert conditional_entropy(following) == pytest.approx(math.log(2) / 2, abs=1e-3)
    assert coverage([1, 1, 2]) == 0.5 and math.isnan(coverage([])) and math.isnan(conditional_entropy({}))


# --- grams ---------------------------------------------------------------------------------------


def test_runs_of_marked_tokens_are_characters():
    ends = np.array([2, 5, 5, 9, 12])  # the third token is half a character
    assert runs(ends, np.array([True, True, False, True, False])) == [(0, 9)]
    assert runs(ends, np.array([True, False, False, True, True])) == [(0, 2), (5, 12)]
    assert runs(ends, np.zeros(5, bool)) == [] and runs(np.array([], int), np.zeros(0, bool)) == []


def test_a_gram_is_words_with_what_follows():
    made = pieces("So", ",", " WE", "  need", " to", "\n", "12", " more")
    assert list(grams(made, np.arange(8) < 5)) == [("so we need to", "0")]
    assert list(grams(made, np.arange(8) > 5)) == [("12 more", "</s>")]
    curly, straight = pieces("Let\u2019s", " see", "."), pieces("let's", " see", ".")
    mask = np.array([True, True, False])
    assert list(grams(curly, mask)) == list(grams(straight, mask)) == [("lets see", ".")]


def test_a_long_run_is_several_grams():
    made = pieces(*(f" w{i}" for i in range(19)))
    assert [g.words.count(" ") + 1 for g in grams(made, np.ones(19, bool))] == [8, 8, 3]
    assert [g.follower for g in grams(made, np.ones(19, bool))] == ["w8", "w16", "</s>"]


def test_case_space_and_punctuation_do_not_make_another_gram():
    step = written(1, "We need to find it", "so WE  NEED to,  find x", "**We need** to\nfind 5")
    [counts] = gram_counts(step).values()
    assert counts.grams == {"we need to find": 2, "so we need to find": 1}
    assert counts.following["we need to find"] == {"it": 1, "0": 1}


# --- the diagnostic ------------------------------------------------------------------------------

PLANS = ("Let's check it. We need to find x. Let's check", "Let's check. Alternatively, we could add", "3 + 4 = 7")


def test_a_token_is_marked_by_a_shared_character_alone():
    """A tagger of one's own may give empty spans, turned ones and ones past the end."""
    made = completion("abcdefghij", pieces=5)
    for spans, marked in [
        ([(2, 4)], [1]),
        ([(3, 5)], [1, 2]),
        ([(-3, 1)], [0]),
        ([(9, 99)], [4]),
        ([(3, 3), (7, 5), (20, 30)], []),
    ]:
        assert np.flatnonzero(planning_mask(made, spans)).tolist() == marked, spans


def test_counts_and_entropies_of_a_step():
    metrics = PlanDiagnostic(min_planning_tokens=5).observe(written(1, *PLANS))
    assert (metrics["plan/grams"], metrics["plan/distinct_grams"]) == (4, 3)  # a gram counts once a completion
    assert metrics["plan/semantic_entropy"] == pytest.approx(entropy([2, 1, 1]))
    assert metrics["plan/coverage"] == 0.5 and metrics["plan/completions"] == 2 / 3
    assert metrics["plan/next_pairs"] == 0 and "plan/next_entropy" not in metrics
    assert metrics["plan/grams@sums"] == 4


def hidden(step: StepRecord, start: int, end: int, of: int = 0) -> StepRecord:
    """The same step with tokens from `start` to `end` of a completion that are not the policy's."""
    kept = np.ones(len(step.groups[0].completions[of].token_ids), bool)
    kept[start:end] = False
    tokens = dict(step.tokens) | {(0, of): dataclasses.replace(step.tokens[0, of], loss_mask=kept)}
    return StepRecord(step.step, step.groups, tokens, {})


def test_what_a_tool_answered_does_not_plan():
    said, answered, went_on = "3 + 4. ", "We need to find x. ", "Let's check it"
    asked = written(1, said + answered + went_on, "Let's check it. We need to find x")
    step = hidden(asked, len(said), len(said + answered))
    metrics = PlanDiagnostic(min_planning_tokens=5).observe(step)
    assert metrics["plan/grams"] == 3 and metrics["plan/coverage"] == pytest.approx(2 / 3)
    assert gram_counts(step)["sums"].following["lets check"] == {"it": 2}
    told = entropies(token_sums(step).sums.sum(axis=0), 1)
    assert gram_counts(step)["sums"].planning_tokens == told["entropy/planning_tokens"]
    assert gram_counts(asked)["sums"].grams["we need to find"] == 2


def test_a_completion_of_which_no_token_is_trained_is_not_looked_at():
    step = hidden(written(1, *PLANS), 0, 999)
    metrics = PlanDiagnostic(min_planning_tokens=5).observe(step)
    assert metrics["plan/looked_at"] == 2 and metrics["plan/with_phrases"] == 1


def test_what_follows_is_judged_where_it_was_seen_often():
    step = written(1, *(["Let's check the sum. We need to find x"] * 5 + ["Let's check it"] * 5))
    metrics = PlanDiagnostic(min_planning_tokens=5).observe(step)
    assert metrics["plan/next_pairs"] == 15
    expected = (10 * entropy([5, 5]) + 5 * entropy([5])) / 15
    assert metrics["plan/next_entropy"] == pytest.approx(expected)


def test_one_completion_in_a_loop_does_not_decide():
    looping = "Let's check. " * 40
    metrics = PlanDiagnostic().observe(written(1, looping, "We need to find x"))
    assert metrics["plan/grams"] == 2 and metrics["plan/next_pairs"] == 40
    assert metrics["plan/variety"] == 1.0
    metrics = PlanDiagnostic().observe(written(1, looping, "We need to find x", "Let's check. We need to find y"))
    assert metrics["plan/variety"] == pytest.approx(1 - (0.0 + 0.5 + 0.5) / 3)  # of three pairs, by hand


def test_variety_is_the_chance_of_unlike_phrases_whatever_the_counts():
    rng, shares = np.random.default_rng(0), 0.5 ** np.arange(1, 9)
    shares /= shares.sum()

    def drawn(completions: int, mean: float) -> float:
        rows = [np.bincount(rng.choice(8, n, p=shares), minlength=8) / n for n in rng.poisson(mean, completions) if n]
        return variety(np.sum(rows, axis=0), float(np.sum(np.square(rows))), len(rows))

    truth = 1 - float((shares**2).sum())
    for completions, mean in ((4, 1), (4, 12), (60, 1), (60, 12)):
        found = [drawn(completions, mean) for _ in range(400)]
        assert np.nanmean(found) == pytest.approx(truth, abs=4 * np.nanstd(found) / 20)
    assert math.isnan(variety([1.0], 1.0, 1)) and variety([2.0], 2.0, 2) == 0.0 and variety([1.0, 1.0], 2.0, 2) == 1.0


def test_too_few_planning_tokens_and_counts_only():
    metrics = PlanDiagnostic(min_planning_tokens=10_000).observe(written(1, *PLANS))
    assert metrics["plan/grams"] == 4 and "plan/semantic_entropy" not in metrics


def test_nothing_tagged_is_nothing_said():
    untagged = record(1, group(1, admitted=False))
    assert PlanDiagnostic().observe(untagged) == PlanDiagnostic().observe(StepRecord(1, (), {}, {})) == {}
    empty = PlanDiagnostic().observe(record(1, group(1, (0.0,), completions=(completion("", 0),))))
    assert empty["plan/grams"] == 0 and empty["plan/completions"] == 0


def test_a_checkpoint_keeps_the_lexicon_and_tells_of_another(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("# version: mine-7\nwir suchen\n")
    before, after = PlanDiagnostic(tagger=LexiconTagger()), PlanDiagnostic(tagger=LexiconTagger(path))
    kept = before.state_dict()["lexicon"]
    assert kept == {"tagger": "LexiconTagger", "version": LexiconTagger().version, "hash": LexiconTagger().hash}
    assert kept["version"]
    after.load_state_dict(before.state_dict())
    after.observe(written(9, *PLANS))
    [event] = after.events()
    assert (event.step, event.name, event.severity) == (9, "lexicon_changed", "warning")
    assert event.evidence["before"] == kept and event.evidence["now"]["version"] == "mine-7"
    after.observe(written(10, *PLANS))
    assert after.events() == []
    same = PlanDiagnostic(tagger=LexiconTagger())
    same.load_state_dict(before.state_dict())
    same.observe(written(9, *PLANS))
    assert same.events() == []


def test_everything_said_is_declared_and_shown():
    plan = PlanDiagnostic(min_planning_tokens=5)
    assert isinstance(plan, Diagnostic)
    step = written(1, *(["Let's check the sum. We need to find x"] * 5))
    assert "plan/next_entropy" in (metrics := plan.observe(step)) and not undeclared(metrics)
    assert not undeclared(stem for panel in plan.panels for stem in panel.metrics)
    with pytest.raises(ValueError, match="min_planning_tokens 0"):
        PlanDiagnostic(min_planning_tokens=0)


# --- planning against execution ------------------------------------------------------------------


def test_the_ratio_has_an_interval_too():
    step = record(1, *map(group, range(4)), planning=2.0, execution=0.5)
    metrics = EntropyDiagnostic(min_planning_tokens=4).observe(step)
    assert metrics["entropy/gap_low"] == metrics["entropy/gap"] == metrics["entropy/gap_high"] == 1.5
    assert metrics["entropy/ratio_low"] == metrics["entropy/ratio"] == metrics["entropy/ratio_high"] == 4.0


def test_an_entropy_that_is_none_does_not_count():
    broken = record(1)
    broken.tokens[0, 0].entropy[:] = [np.nan, 2.0, np.inf, 1.0, 1.0]
    metrics = EntropyDiagnostic(min_planning_tokens=3).observe(broken)
    assert (metrics["entropy/planning"], metrics["entropy/execution"]) == (2.0, 1.0)
    assert (metrics["entropy/planning_tokens"], metrics["entropy/nonfinite_tokens"]) == (3, 2)


def test_too_few_planning_tokens_are_told_once():
    first, resumed = EntropyDiagnostic(min_planning_tokens=5), EntropyDiagnostic(min_planning_tokens=5)
    first.observe(record(3)), first.observe(record(4))
    [event] = first.events()
    assert (event.step, event.name) == (3, "too_few_planning_tokens")
    assert event.evidence == {"planning_tokens": 4, "min_planning_tokens": 5}
    resumed.load_state_dict(first.state_dict())
    resumed.observe(record(5))
    assert first.events() == resumed.events() == []


# --- one process against two ---------------------------------------------------------------------


def spread(rng, number=1):
    """A step of six groups of two sources with arrays that differ everywhere."""
    texts = [" ".join(rng.choice([*PLANS, "4 + 4 = 8", "So we can use it"], 4)) for _ in range(18)]
    groups = [written(number, *texts[i : i + 3], source=("sums", "haiku")[i % 2], ticket=i).groups[0] for i in range(6)]
    made = record(number, *groups)
    for arrays in made.tokens.values():
        arrays.train_logprob[:] = -rng.exponential(1.0, len(arrays.entropy))
        arrays.entropy[:] = rng.exponential(1.0, len(arrays.entropy))
        arrays.loss_mask[rng.random(len(arrays.entropy)) < 0.1] = False
    return made


def halves(step):
    """The step's rows as two processes hold them: every other completion."""
    return [
        StepRecord(step.step, step.groups, {k: v for n, (k, v) in enumerate(step.tokens.items()) if n % 2 == rank}, {})
        for rank in (0, 1)
    ]


def test_entropies_of_two_processes_are_those_of_one():
    step = spread(np.random.default_rng(1))
    alone = entropies(token_sums(step).sums.sum(axis=0), 4)
    together = entropies(sum(token_sums(half).sums.sum(axis=0) for half in halves(step)), 4)
    assert alone == pytest.approx(together, abs=1e-6) and len(alone) == 8


def test_log_probabilities_of_two_processes_are_those_of_one():
    step = spread(np.random.default_rng(2))
    alone, parts = logprob_sums(step), [logprob_sums(half) for half in halves(step)]
    for source in ("sums", "haiku"):
        assert np.allclose(alone[source], sum(part[source] for part in parts), rtol=0, atol=1e-6)


def test_grams_of_two_processes_are_those_of_one():
    step = spread(np.random.default_rng(3))
    alone = gram_counts(step)
    together = {source: Counts() for source in alone}
    for groups in (step.groups[:2], step.groups[2:]):
        for source, counts in gram_counts(StepRecord(1, groups, step.tokens, {})).items():
            together[source].add(counts)
    for source, counts in alone.items():
        ours, theirs = vars(together[source]), vars(counts)
        assert ours["votes"] == pytest.approx(theirs["votes"], abs=1e-12)
        assert ours["squares"] == pytest.approx(theirs["squares"], abs=1e-12)
        assert ours | {"votes": 0, "squares": 0} == theirs | {"votes": 0, "squares": 0}
