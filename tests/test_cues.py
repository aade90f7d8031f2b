"""The tagger of weighed cues: what a cue says, how words add up, what a file may hold."""

import numpy as np
import pytest
import torch

from benchmarks import tagger_ceiling, tagger_training
from diagnostics.taggers.cues import CUES, CueTagger, normal, parse, pieces
from diagnostics.taggers.lexicon import read_lines

HEAD = "# version: 7\n# bias: -10\n# threshold: 0\n# certain: 15\n"


def tagger(tmp_path, *cues, head=HEAD):
    path = tmp_path / "cues.txt"
    path.write_text(head + "\n".join(cues) + "\n", encoding="utf-8")
    return CueTagger(path)


def found(of, text):
    return [text[start:end] for start, end in of.spans(text)]


def test_a_cue_speaks_of_its_own_words_and_of_those_beside_it(tmp_path):
    of = tagger(tmp_path, "let me\t-1:10 0:30 1:30 2:10", "so\t0:5")
    assert found(of, "Hm. And let me check the sum.") == ["And let me check"]
    assert found(of, "LET ME.") == ["LET ME"]
    assert found(of, "me let, let you") == []


def test_cues_add_up_and_the_longest_counts_with_the_shorter(tmp_path):
    of = tagger(tmp_path, "we\t0:10", "we can\t0:5 1:10", "we can use the\t0:15 1:15 2:10 3:10", "x we\t1:-99")
    assert found(of, "Now we can use the rule; we use it; we can go.") == ["we can use the"]
    assert found(of, "x we can use the rule") == ["can use the"]


def test_a_run_needs_two_words_and_one_that_is_certain(tmp_path):
    of = tagger(tmp_path, "wait\t0:40", "maybe so\t0:12 1:12", "oh no\t0:12 1:25")
    assert found(of, "Wait. Maybe so. Oh no.") == ["Oh no"]


def test_signs_at_the_ends_are_no_part_of_a_phrase_and_line_breaks_part_two(tmp_path):
    of = tagger(tmp_path, "let me\t0:40 1:40 2:40", "<sign>\t0:40")
    assert found(of, "**let me see**, let me") == ["let me see**, let me"]
    of = tagger(tmp_path, "let me\t-1:40 0:40 1:40 2:40")
    assert found(of, "(let me)\nlet me.") == ["let me)\nlet me"]
    assert found(tagger(tmp_path, "let me\t0:40 1:40"), "let me\nlet me") == ["let me", "let me"]


def test_words_stand_for_their_class_where_no_cue_names_them(tmp_path):
    known = {"let's", "0"}
    assert [normal(word, known) for word in ("Let\u2019s", "7th", "x", "Trying", "quickly", "used", "apple", "+")] == [
        "let's", "0", "<a>", "<ing>", "<ly>", "<ed>", "<word>", "<sign>",
    ]  # fmt: skip
    of = tagger(tmp_path, "try <ing>\t0:40 1:40", "<^> first\t1:40 2:40", "last <$>\t-1:40 0:40")
    assert found(of, "First find 3. Try halving. At last") == ["First find", "Try halving", "At last"]


@pytest.mark.parametrize("text", ["", " ", "a", "...", "\n\n", "\ud83d", "x" * 100_000, "\u0130 \u0130 \u0130"])
def test_texts_with_nothing_to_find(tmp_path, text):
    assert tagger(tmp_path, "let me\t0:40").spans(text) == []


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("let me\t0:4", "expected '# bias: NUMBER', '# certain: NUMBER', '# threshold: NUMBER'"),
        (HEAD, "expected a cue, found none"),
        (HEAD + "let me 0:4", "line 5: expected 1 to 4 words, a tab and weights"),
        (HEAD + "a b c d e\t0:4", "line 5: expected 1 to 4 words"),
        (HEAD + "let me\t0:x", "line 5: expected 1 to 4 words"),
        (HEAD + "let me\t4:1", "line 5: expected places from -2 to 3"),
    ],
)
def test_a_bad_file_is_named(tmp_path, lines, message):
    path = tmp_path / "cues.txt"
    path.write_text(lines, encoding="utf-8")
    with pytest.raises(ValueError, match=r"cues\.txt") as failure:
        CueTagger(path)
    assert message in str(failure.value)


def test_the_hash_is_of_what_is_marked_and_the_version_what_the_file_says(tmp_path):
    one = tagger(tmp_path, "let me\t0:40 1:40", "so we\t0:40")
    other = tagger(tmp_path, "so we\t0:40", "let me\t0:40 1:40", head=HEAD.replace("7", "8"))
    third = tagger(tmp_path, "so we\t0:40", "let me\t0:40 1:39")
    assert one.hash == other.hash != third.hash
    assert (one.version, other.version) == ("7", "8")


def test_the_shipped_cues_find_what_nobody_listed_and_leave_execution_alone():
    of = CueTagger()
    assert of.version and len(CUES.read_text(encoding="utf-8")) < 1_000_000
    for text in ("Hmm, wait, let me reconsider the second case.", "To solve this problem, we need to find the price."):
        assert found(of, text), text
    assert found(of, "3 * 4 = 12, so x = 12. The final answer is 12.") == []


TEXTS = (
    "  \t So let me check this again, step by step.\n \n  Then we need to find x_1 (or 4.5).",
    "",
    "3 * 4 = 12\n",
    "Hmm, wait \u2026 \u0130 let me reconsider; the second case, however, is * odd *. " * 30,
    "\n\n   ",
    "To solve this problem, we need to find the price. Let me check \u00bd. What if we try it backwards",
)


def test_many_texts_at_once_are_marked_as_one_by_one():
    of = CueTagger()
    together = of.batch(TEXTS)
    assert together == [of.spans(text) for text in TEXTS] and together[0] and together[-1]
    assert of.batch(TEXTS[::-1]) == together[::-1] and of.batch([]) == []


def test_what_is_marked_is_the_sum_of_the_cues():
    """The shipped file added up cue by cue, without numbers and tables."""
    of, cues = CueTagger(), parse(read_lines(CUES), CUES)
    known = {word for gram in cues.weights for word in gram}
    for text in TEXTS:
        held = list(pieces(text))
        words = ["<^>", *(normal(piece, known) for piece, _, _ in held), "<$>"]
        scores = dict.fromkeys(range(-4, len(words) + 8), cues.bias)
        for start in range(len(words)):
            for length in range(1, 5):
                for place, weight in cues.weights.get(tuple(words[start : start + length]), {}).items():
                    scores[start + place] += weight if start + length <= len(words) else 0
        spans, run = [], []
        for at, piece in enumerate([*held, None], 1):
            if piece and scores[at] >= cues.threshold:
                run.append((scores[at], *piece))
                continue
            spoken = [one for one in run if one[1][0].isalnum()]
            if len(spoken) > 1 and max(run)[0] >= cues.certain:
                spans.append((spoken[0][2], spoken[-1][3]))
            run = []
        assert of.spans(text) == spans


def test_learned_cues_are_those_of_the_labels_and_fit_the_file(tmp_path):
    passages = [
        (f"Now let us try {word}. It has {n} sides, so x = {n}.", [[0, 14]])
        for n, word in enumerate(["this", "that", "another", "cubes", "squares", "halves", "thirds", "both"] * 4)
    ]
    fitted = tagger_training.fit(passages, "test")
    path = tmp_path / "learned.txt"
    path.write_text(tagger_training.written(fitted, (0.0, 0.4), "test"), encoding="utf-8")
    assert found(CueTagger(path), "Now let us try circles. It has 9 sides, so x = 9.") == ["Now let us try"]
    rows = list(tagger_training.features("so we go", {"so", "we", "go"}))
    assert (("so", "we"), 2) in rows[2] and (("<^>", "so"), 1) in rows[0] and (("go", "<$>"), -1) in rows[1]
    assert len(list(pieces("so we go"))) == len(rows) == 3


def test_a_head_learns_labels_from_states_and_marks_as_the_tagger_does(monkeypatch):
    """The ceiling's parts, on the tiny model."""
    monkeypatch.setattr(tagger_ceiling, "MODEL", "tiny")
    monkeypatch.setattr(tagger_ceiling, "LAYERS", (1, 2))
    monkeypatch.setattr(tagger_ceiling, "KEPT", 16)
    monkeypatch.setattr(tagger_ceiling, "HEAD_BATCH", 4)
    passages = [(f"Now let us try {n}. It has {n} sides, so x = {n}.", [[0, 14]]) for n in range(24)]
    states = tagger_ceiling.model_states([text for text, _ in passages])
    assert [of.shape for of in states] == [(len(list(pieces(text))), 128) for text, _ in passages]
    held = list(tagger_ceiling.reduced([torch.from_numpy(of) for of in states], 20))
    head = tagger_ceiling.fitted(held, [tagger_training.labels(*one) for one in passages], 0, "test")
    logits = [tagger_ceiling.judged(head, of) for of in held]
    pair = tagger_ceiling.best(passages, logits)
    text, spans = passages[0]
    assert [list(span) for span in tagger_ceiling.phrases(text, logits[0], *pair)] == spans
    sure = np.array([1, 1, -1, 1, 1, 2, 2, 2, 2])
    assert tagger_ceiling.phrases("(let me. go ! on no)", sure, 0.0, 1.5) == [(9, 19)]
    assert tagger_ceiling.phrases("(let me. go ! on no)", sure, -1.0, 1.5) == [(1, 19)]
