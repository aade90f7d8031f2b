"""The tagger that is a small network: what it computes, what it marks, what a file may hold."""

import numpy as np
import pytest
import torch

from benchmarks import tagger_ceiling, tagger_training
from diagnostics.taggers import network
from diagnostics.taggers.casing import as_prose
from diagnostics.taggers.network import LARGEST, NETWORK, NetworkTagger
from diagnostics.taggers.pieces import (
    CLASSES,
    NOTHING,
    SIGN,
    STOP,
    TRAITS,
    WORD,
    class_of,
    kind,
    normal,
    pieces,
    traits,
)
from diagnostics.taggers.weights import Weights, load

WORDS = ("let", "me", "see", ".", *CLASSES)


def weights(**changed):
    """Two channels: how strong a word is by itself, and how strong the strongest of its sentence."""
    vectors = np.zeros((len(WORDS), 2), np.int8)
    vectors[:3, 0] = 4, 3, -4  # let, me, see
    kernel = np.zeros((5, 2, 2), np.float32)
    kernel[2] = np.eye(2)
    first = np.zeros((3, 2, 2), np.float32)
    first[1, 0] = 1, 0
    made = {
        "words": np.array(WORDS), "vectors": vectors, "unit": np.ones(2, np.float32), "traits": np.zeros((TRAITS, 2)),
        "first": first, "first_bias": np.zeros(2), "sentence": np.array([[0.0, 1.0], [0.0, 0.0]]),
        "second": kernel, "second_bias": np.zeros(2), "third": kernel, "third_bias": np.zeros(2),
        "last": np.array([1.0, 0.0]), "last_bias": np.float32(-2), "threshold": np.float32(0),
        "certain": np.float32(1.5), "version": np.array("7"),
    }  # fmt: skip
    return Weights(**(made | changed))


def tagger(tmp_path, **changed):
    np.savez(tmp_path / "network.npz", **weights(**changed)._asdict())
    return NetworkTagger(tmp_path / "network.npz")


def found(of, text):
    return [text[start:end] for start, end in of.spans(text)]


def test_a_run_of_words_above_the_threshold_is_marked_where_one_is_certain(tmp_path):
    of = tagger(tmp_path)
    assert found(of, "Hm: LET me see, let me. me me; let\nme let") == ["LET me", "let me", "me let"]
    assert found(of, "let, me") == []  # the sign parts two words, each too short to be a phrase
    assert found(tagger(tmp_path, certain=np.float32(1), threshold=np.float32(1)), "me me") == ["me me"]
    assert found(tagger(tmp_path, last_bias=np.float32(3)), "(see let me)") == ["see let me"]  # signs are no ends


def test_neighbours_speak_to_each_other_by_place(tmp_path):
    first = np.zeros((3, 2, 2), np.float32)
    first[0, 0] = 1, 0  # of the piece behind it alone: a word's strength is its left neighbour's
    of = tagger(tmp_path, first=first)
    assert of.logits(["see let see see me see"])[0].tolist() == [-2, -2, 2, -2, -2, 1]
    third = np.zeros((5, 2, 2), np.float32)
    third[4] = np.eye(2)  # of the second piece before it
    assert tagger(tmp_path, third=third).logits(["see let me see"])[0].tolist() == [1, -2, -2, -2]


def test_the_strongest_of_a_sentence_is_told_to_its_pieces_and_to_no_other(tmp_path):
    of = tagger(tmp_path, last=np.array([0.0, 1.0]), last_bias=np.float32(0))
    logits = of.logits(["see let see. me 3.5 see", "see", "me\nsee"])
    assert [of.tolist() for of in logits] == [[4, 4, 4, 4, 3, 3, 3, 3, 3], [0], [3, 3, 0]]


def test_spans_are_places_in_the_text_whatever_stands_before_and_beside_it(tmp_path):
    of = tagger(tmp_path)
    assert of.batch(["  \t LET me see", "", "\n \nlet me\nlet me "]) == [[(4, 10)], [], [(3, 9), (10, 16)]]


def test_a_long_text_is_read_in_parts_that_end_with_a_sentence(tmp_path):
    of = tagger(tmp_path)
    sentence = "So let me. "
    text = sentence * (3 * LARGEST // len(sentence))
    assert of.spans(text) == [(at + 3, at + 9) for at in range(0, len(text), len(sentence))]
    for before, expected in ((7, [(LARGEST - 6, LARGEST)]), (4, [])):  # no sentence ends: cut where a part is full
        assert of.spans("x" * (LARGEST - before) + " let me " + "x" * LARGEST) == expected
    whole = max(len(part) for group in network._gathered([text, "", "me"] * 3) for _, _, part in group)
    assert LARGEST - len(sentence) < whole <= LARGEST
    assert [len(group) for group in network._gathered(["me"] * 2000)] == [727, 727, 546]


def test_words_stand_for_their_class_where_they_are_not_known():
    known = {"let's", "0"}
    assert [normal(word, known) for word in ("Let\u2019s", "7th", "x", "Trying", "quickly", "used", "apple", "+")] == [
        "let's", "0", "<a>", "<ing>", "<ly>", "<ed>", "<word>", "<sign>",
    ]  # fmt: skip
    assert [class_of(name) for name in CLASSES] == list(CLASSES)


def test_pieces_have_a_kind_and_traits():
    kinds = {"": NOTHING, "let ": WORD, "7": WORD, ".": SIGN, ". ": STOP, "? ": STOP, ", ": SIGN, "\n": STOP, "_": SIGN}
    assert {piece: kind(piece) for piece in kinds} == kinds
    written = {
        "Let ": "10000001", "LET": "11000000", "A": "10000000", "x7": "00100000", "= ": "00010011", ",": "00010000",
        "\n": "00011001", "\n\n ": "00011101",
    }  # fmt: skip
    assert {piece: "".join(str(int(of)) for of in traits(piece)) for piece in written} == written


def test_how_a_piece_is_written_counts(tmp_path):
    traits = np.zeros((TRAITS, 2))
    traits[0, 0] = 2  # begins with a capital
    assert tagger(tmp_path, traits=traits).logits(["let Let me Me"])[0].tolist() == [2, 4, 1, 3]


@pytest.mark.parametrize("text", ["", " ", "a", "...", "\n\n", "\ud83d", "x" * 100_000, "\u0130 \u0130 \u0130"])
def test_odd_texts_are_no_trouble(tmp_path, text):
    assert tagger(tmp_path).spans(text) == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"last": np.zeros(3)}, r"expected 'last' of shape \(2,\), found \(3,\)"),
        ({"first": np.zeros(2)}, r"expected 'first' of shape \(3, 2, 2\), found \(2,\)"),
        ({"words": np.array(WORDS[:-1])}, r"expected 'words' of shape \(11,\), found \(10,\)"),
        ({"words": np.array([*WORDS[:-1], "more"])}, "expected the word class '<word>' among the words"),
        ({"unit": np.array([1.0, np.nan])}, "expected finite numbers in 'unit'"),
        ({"vectors": np.full((len(WORDS), 2), np.nan)}, "of another kind in 'vectors', found float64"),
        ({"traits": np.array(["a"] * 16).reshape(8, 2)}, "of another kind in 'traits', found <U1"),
        ({"words": np.array(["let", *WORDS[1:-1], "let"])}, "expected the word class '<word>'"),
        ({"words": np.array(["me", *WORDS[1:]])}, "expected each word once"),
        ({"first": np.zeros((3, 2, 0)), "first_bias": np.zeros(0)}, "expected numbers in 'first', found none"),
        ({"words": np.array(list(WORDS), object)}, "allow_pickle"),
    ],
)
def test_a_bad_file_is_named(tmp_path, changed, message):
    with pytest.raises(ValueError, match=rf"network\.npz.*{message}"):
        tagger(tmp_path, **changed)


def test_a_file_that_is_none_is_named(tmp_path):
    path = tmp_path / "network.npz"
    with pytest.raises(ValueError, match=r"network\.npz.*cannot be read \(No such file"):
        load(path)
    np.savez_compressed(path, **weights()._asdict())
    whole = path.read_bytes()
    broken = whole[:60] + bytes(255 - byte for byte in whole[60:90]) + whole[90:]
    np.save(tmp_path / "one.npy", np.zeros(3))
    for content in (b"", b"text", b"PK\x03\x04", whole[:-40], broken, (tmp_path / "one.npy").read_bytes()):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"network\.npz.*benchmarks/tagger_training\.py"):
            load(path)
    np.savez(path, words=np.array(WORDS))
    with pytest.raises(ValueError, match="expected the array 'certain', found none"):
        load(path)


def test_the_hash_is_of_what_is_marked_and_the_version_what_the_file_says(tmp_path):
    one, other = tagger(tmp_path), tagger(tmp_path, version=np.array("8"))
    assert one.hash == other.hash != tagger(tmp_path, last=np.array([1.0, 0.5])).hash
    assert (one.version, other.version) == ("7", "8")


def test_the_shipped_network_finds_what_nobody_listed_and_leaves_execution_alone():
    of = NetworkTagger()
    assert of.version and NETWORK.stat().st_size < 2_000_000
    for text in ("Hmm, wait, let me reconsider the second case.", "To solve this problem, we need to find the price."):
        assert found(of, text), text
    assert found(of, "3 * 4 = 12, so x = 12. The final answer is 12.") == []


TEXTS = (
    "  \t So let me check this again, step by step.\n \n  Then we need to find x_1 (or 4.5).",
    "",
    "3 * 4 = 12\n",
    "Hmm, wait \u2026 \u0130 let me reconsider; the second case, however, is * odd *. " * 300,
    "\n\n   ",
    "To solve this problem, we need to find the price. Let me check \u00bd. What if we try it backwards",
)


def test_many_texts_at_once_are_marked_as_one_by_one():
    of = NetworkTagger()
    together = of.batch(TEXTS)
    assert together == [of.spans(text) for text in TEXTS] and together[0] and together[-1]
    assert of.batch(TEXTS[::-1]) == together[::-1] and of.batch([]) == []


def test_spellings_beyond_those_kept_at_hand_are_worked_out_anew(monkeypatch):
    of, text = NetworkTagger(), " ".join(f"So let us try {n} and x{n}." for n in range(2000))
    whole = of.spans(text)
    monkeypatch.setattr(network, "REMEMBERED", 100)
    assert of.spans(text) == whole and of.spans(TEXTS[0]) == NetworkTagger().spans(TEXTS[0])
    assert len(of._rows) < 100
    monkeypatch.setattr(network, "LETTERS", 10)
    assert of.spans(TEXTS[-1]) == NetworkTagger().spans(TEXTS[-1])
    assert len(of._rows) < 40


def test_an_interrupted_call_leaves_nothing_half_done(tmp_path, monkeypatch):
    of, calls = tagger(tmp_path), []

    def interrupted(piece):
        calls.append(piece)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return traits(piece)

    monkeypatch.setattr(network, "traits", interrupted)
    with pytest.raises(KeyboardInterrupt):
        of.spans("So let me see")
    assert found(of, "So let me see") == ["let me"]


def test_what_is_learned_is_what_is_marked(tmp_path, monkeypatch):
    """The network of PyTorch that learns, and the file that it is written to."""
    monkeypatch.setattr(tagger_training, "MODEL", "tiny")
    monkeypatch.setattr(tagger_training, "WIDTH", 32)
    monkeypatch.setattr(tagger_training, "EPOCHS", 6)
    monkeypatch.setattr(tagger_training, "BATCH", 4)
    passages = [
        (f"Now let us try {word}. It has {n} sides, so x = {n}.", [[0, 14]])
        for n, word in enumerate(["this", "that", "another", "cubes", "squares", "halves", "thirds", "both"] * 8)
    ]
    net = tagger_training.fit(passages, "test")
    texts = [*TEXTS, "Now let us try circles. It has 9 sides, so x = 9."]
    assert tagger_training.labels("try it now", [[0, 5]]).tolist() == [1, 0, 0]  # a word half inside is outside
    pair, reached = tagger_training.best(passages, [net.judged(text) for text, _ in passages])
    tagger_training.write(net, pair, "test", tmp_path / "learned.npz")
    of = NetworkTagger(tmp_path / "learned.npz")
    assert reached > 0.9 and found(of, texts[-1]) == ["Now let us try"] and of.version == "test"
    for text, logits in zip(texts, of.logits(texts), strict=True):
        assert np.abs(logits - net.judged(text)).max(initial=0) < 0.1  # whole numbers and halves against floats
        assert of.spans(text) == tagger_training.phrases(text, logits, *(np.float16(value) for value in pair))


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
    pair, _ = tagger_training.best(passages, logits)
    text, spans = passages[0]
    assert [list(span) for span in tagger_training.phrases(text, logits[0], *pair)] == spans
    sure = np.array([1, 1, -1, 1, 1, 2, 2, 2, 2])
    assert tagger_training.phrases("(let me. go ! on no)", sure, 0.0, 1.5) == [(9, 19)]
    assert tagger_training.phrases("(let me. go ! on no)", sure, -1.0, 1.5) == [(1, 19)]


PLANS = (
    "First, we need to find the total cost.",
    "Wait, that doesn't seem right.",
    "This means that we have to check both cases.",
    "Now let me verify this by plugging in.",
    "The next step is to subtract 5 from 9.",
)


@pytest.mark.parametrize("text", PLANS)
def test_case_does_not_matter(text):
    """Of a sentence, and of one in capitals within prose."""
    tagger = NetworkTagger()
    (spans,) = [tagger.spans(text)]
    assert spans
    assert tagger.spans(text.lower()) == tagger.spans(text.upper()) == spans
    before = "It is 4 + 5 = 9.\n"
    assert tagger.spans(before + text.upper()) == tagger.spans(before + text)


def test_prose_keeps_its_case_and_every_text_its_length():
    for text in (
        "Let \u0130 be GCD(a, b) of A and B. the NASA says so",
        "f(x) = x, SO THERE",
        "\u0130 WE DO IT NOW, I SAY. OK",
        "i do. so i say",
    ):
        assert len(as_prose(text)) == len(text)
    assert as_prose("Let A be the LCM. then we go") == "Let A be the LCM. then we go"
    assert as_prose("so. WAIT, I'M NOT SURE. YES") == "so. Wait, I'm not sure. Yes"
    assert as_prose("first, i'd look.\n- then go") == "First, I'd look.\n- then go"
