"""How a lexicon is written, and that the automaton finds what each line says and nothing else."""

import itertools
import random
import re

import pytest

from diagnostics.taggers import LEXICON, LexiconTagger, read_lexicon
from diagnostics.taggers.automaton import GAP


@pytest.fixture
def tagger(tmp_path):
    """A tagger with these lines."""

    def made(*lines: str) -> LexiconTagger:
        path = tmp_path / "lexicon.txt"
        path.write_text("\n".join(lines), encoding="utf-8")
        return LexiconTagger(path)

    return made


def marked(tagger: LexiconTagger, text: str) -> list[str]:
    return [text[start:end] for start, end in tagger.spans(text)]


@pytest.mark.parametrize(
    ("line", "text", "found"),
    [
        ("we (need|have) to", "we need to; we have to; we want to", ["we need to", "we have to"]),
        (
            "(so|now then|) we can",
            "so we can. now then, we can. then we can",
            ["so we can", "now then, we can", "we can"],
        ),
        ("let me * (again|)", "let me check 4; let me look again", ["let me check", "let me look again"]),
        ("need to *", "need to 4, need to x4, need to be", ["need to x4", "need to be"]),
        (
            "let's (re-read|double check)",
            "lets re read; Let\u2019s double-check",
            ["lets re read", "Let\u2019s double-check"],
        ),
        ("(wait|hold on) (that|it) (is|isn't) right", "Hold on. It isn't right", ["Hold on. It isn't right"]),
    ],
)
def test_a_line_marks_what_it_says(tagger, line, text, found):
    assert marked(tagger(line), text) == found


def test_the_longest_wins_whatever_the_order(tagger):
    for lines in itertools.permutations(["we can", "we can use the fact", "we can (use|try)"]):
        assert marked(tagger(*lines), "We can use the fact that; we can try") == ["We can use the fact", "we can try"]


def test_names_stand_for_alternatives(tagger):
    made = tagger("@doubt = wait|hold on", "@all = @doubt|hmm", "(@all|) let me see", "(@doubt) no")
    assert marked(made, "hmm, let me see. Hold on, no!") == ["hmm, let me see", "Hold on, no"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("alone", "expected 2 to 8 words"),
        ("(a|b)", "expected 2 to 8 words"),
        ("a b c d e f g h i", "expected 2 to 8 words"),
        ("one (two", "every bracket to be closed"),
        ("one two) three", "every bracket to be closed"),
        ("(@nobody|) one two", "a name that is defined above"),
        ("* one two", r"begins with a word and not with \*"),
        ("(so|) (*|we) go", r"begins with a word and not with \*"),
        ("one ++ two", r"expected words, brackets and \*"),
    ],
)
def test_a_bad_line_is_named(tagger, line, said):
    with pytest.raises(ValueError, match=rf"line 2: .*{said}.*, got "):
        tagger("we can go", line)


def test_a_phrase_has_2_to_8_words_and_no_gap(tagger):
    made = tagger("one (a|) (b c d|) (e f g|) (h|)", "to (x|)")
    assert marked(made, "one a b c d e f g h") == ["one a b c d e f g"]
    assert marked(made, "to, to x") == ["to x"]
    assert marked(made, f"one{' ' * GAP}a") == [f"one{' ' * GAP}a"] and marked(made, f"one{' ' * (GAP + 1)}a") == []


def test_hash_and_version(tagger):
    plain = tagger("# version: 4 of mine", "we can go", "we need it")
    assert plain.version == "4 of mine" and tagger("we can").version is None
    assert plain.hash == tagger("we  NEED it  # why", "we can go").hash
    assert plain.hash != tagger("we can go", "we need that").hash
    named, spelt = tagger("@we = we|i", "(@we) can go"), tagger("(we|i) can go")
    assert named.hash == spelt.hash


def test_the_shipped_lexicon_is_named():
    assert LexiconTagger().version and read_lexicon(LEXICON)


def test_the_automaton_agrees_with_a_regular_expression(tagger):
    """Plain phrases against one expression with a look-ahead, on random runs of their words."""
    rng, vocabulary = random.Random(0), ["we", "can", "go", "now", "let's", "see", "if", "on", "4", "_", "\u00e4"]
    phrases = {" ".join(rng.choices(vocabulary[:8], k=rng.randint(2, 5))) for _ in range(60)}
    made = tagger(*phrases)
    longest_first = sorted(phrases, key=lambda phrase: -len(phrase.split()))
    gap = r"[\W_]{1,4}"
    words = ("|".join(gap.join(map(re.escape, phrase.split())) for phrase in longest_first)).replace("'", "['\u2019]?")
    pattern = re.compile(rf"(?<![^\W_])(?=({words})(?![^\W_]))")
    for _ in range(300):
        parts = rng.choices([*vocabulary, "let\u2019s", "lets"], k=30)
        text = "".join(part + rng.choice([" ", ", ", "\n", "  -  ", "_", ". "]) for part in parts)
        merged: list[tuple[int, int]] = []
        for start, end in (match.span(1) for match in pattern.finditer(text)):
            if merged and (start <= merged[-1][1] or text[merged[-1][1] : start].isspace()):
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        assert made.spans(text) == merged, text
