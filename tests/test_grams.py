"""Mining grams: n-grams, clusters, what is read, the same under the same seed, and the two commands."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from synthetic import completion, group, record

from benchmarks.gram_mining import growing_run
from benchmarks.made_solutions import solutions as made_solutions
from benchmarks.tagger import agreement
from diagnostics.grams import clusters, robust
from diagnostics.grams import solutions as reading
from diagnostics.grams.candidates import candidates
from diagnostics.grams.mine import draw, mine
from diagnostics.grams.ngrams import items, matches, spans
from diagnostics.grams.solutions import Solution
from diagnostics.taggers import LexiconTagger
from rltrain import cli
from rltrain.records import RunDir
from rltrain.records.rows import tables
from rltrain.records.trl_table import completion_text
from rltrain.tag import texts

MADE = made_solutions(120)
SOLVED = [Solution(0, one.problem, one.text, True) for one in MADE]


# --- n-grams -------------------------------------------------------------------------------------


def test_items_are_words_numbers_and_what_parts_clauses():
    assert items("Let\u2019s see, 3.5 + x:\n\n We **double-check**") == (
        ["let's", "see", "0", "+", "x", ":", "\n", "we", "double-check"]
    )


def test_no_number_or_sign_is_inside_an_n_gram():
    sequence = items("we need to find 3 more. so we go on now")
    found = {" ".join(sequence[start:end]) for start, end in spans(sequence)}
    assert found == {
        *("we need to", "need to find", "we need to find"),
        *("so we go", "we go on", "go on now", "so we go on", "we go on now", "so we go on now"),
    }


def test_candidates_are_whole_and_in_several_problems():
    texts = [f"now we need to find the {thing}" for thing in ("cost", "speed", "age", "sum", "area")]
    found = candidates([items(t) for t in texts] * 2, [0, 1, 2, 3, 4] * 2, fewest=3)
    phrases = {" ".join(c.words) for c in found}
    assert "we need to find" in phrases and all(len(c.problems) == 5 for c in found)
    assert not any(word in phrase for phrase in phrases for word in ("cost", "speed"))
    [need] = [c for c in found if c.words == ("we", "need", "to")]
    assert need.context == {"<now": 10, ">find": 10, ">the": 10} | {
        f">{w}": 2 for w in ("cost", "speed", "age", "sum", "area")
    }
    assert candidates([items(texts[0])] * 9, [0] * 9, fewest=2) == []  # one problem, however often


def test_a_word_that_varies_is_no_part_of_the_phrase():
    texts = ["we can use the", "we can use a", "we can use my", "we can use our", "we can use it"] * 2
    phrases = {c.words for c in candidates([items(t) for t in texts], list(range(10)), fewest=2)}
    assert phrases == {("we", "can", "use")}


# --- clusters ------------------------------------------------------------------------------------


def test_rows_with_like_features_come_together():
    features = [{"a": 3, "b": 2}, {"a": 2, "b": 3, "x": 1}, {"c": 4, "d": 1}, {"c": 3, "d": 2, "y": 1}] * 5
    rows = clusters.vectors(features, np.random.default_rng(0))
    assert np.allclose(np.linalg.norm(rows, axis=1), 1)
    labels = clusters.kmeans(rows, 2, np.random.default_rng(1))
    assert len({*labels[0::4], *labels[1::4]}) == len({*labels[2::4], *labels[3::4]}) == 1
    assert labels[0] != labels[2]
    assert (labels == clusters.kmeans(rows, 2, np.random.default_rng(1))).all()


def test_more_clusters_than_different_rows_is_no_harm():
    rows = clusters.vectors([{"a": 1}] * 4 + [{"b": 1}] * 4, np.random.default_rng(0))
    labels = clusters.kmeans(rows, 6, np.random.default_rng(0))
    assert len(labels) == 8 and set(labels[:4]).isdisjoint(labels[4:])


# --- mining --------------------------------------------------------------------------------------


def test_plans_are_found_among_executions(tmp_path):
    grams = [gram for cluster in mine(SOLVED, seed=0) for gram in cluster.grams]
    assert all(3 <= len(gram.split()) <= 5 for gram in grams)
    path = tmp_path / "mined.txt"
    path.write_text("\n".join(grams))
    fresh = [(one.text, one.spans) for one in made_solutions(60, seed=9)]
    assert agreement(LexiconTagger(path), fresh)["recall"] > 0.7
    assert agreement(LexiconTagger(path), fresh)["precision"] > 0.4


def test_the_same_seed_gives_the_same_grams():
    assert mine(SOLVED, seed=3) == mine(SOLVED, seed=3)
    frequencies = [cluster.frequency for cluster in mine(SOLVED, seed=3)]
    assert frequencies == sorted(frequencies, reverse=True) and 0 < frequencies[-1] <= frequencies[0] <= 1


def test_only_correct_completions_are_drawn_and_no_more_than_asked():
    every = [Solution(0, "p", f"text {i}", i % 2 == 0) for i in range(1000)] + [Solution(0, "p", " ", True)]
    drawn = draw(every, seed=0, most=50)
    assert len(drawn) == 50 and all(one.correct for one in drawn)
    assert drawn == draw(every, seed=0, most=50) != draw(every, seed=1, most=50)
    assert np.mean([int(one.text[5:]) for one in drawn]) == pytest.approx(500, abs=130)  # from all over the file


def test_too_little_is_refused_in_words():
    with pytest.raises(ValueError, match="3 correct completions; expected at least 20"):
        mine(SOLVED[:3])
    with pytest.raises(ValueError, match="no phrase of 3 to 5 words is in 3 of 1 problems"):
        mine([Solution(0, "p", "we need to find it", True)] * 30)


# --- robustness ----------------------------------------------------------------------------------


def test_dropping_grams_keeps_the_shape_of_a_rising_curve():
    run = growing_run(seed=0, steps=20, per_step=20)
    grams = sorted({gram for cluster in mine(run, seed=0) for gram in cluster.grams})
    found = robust.check(run, range(20), grams, seed=0)
    assert found.steps == 20 and found.rise > 0 and found.mean > 0.5
    assert found == robust.check(run, range(20), grams, seed=0)
    assert robust.check(run[:60], range(3), grams, seed=0) is None


def test_overlapping_grams_are_one_phrase():
    sequence = items("now we need to find it")
    places = matches(sequence, {("we", "need", "to"), ("need", "to", "find")})
    assert robust.joined(sequence, places) == ["we need to find"]
    assert len(robust.spaced(range(10_000))) == robust.STEPS and robust.spaced([4, 2]) == {2, 4}


def test_of_a_completion_the_words_under_grams_are_kept():
    grams = {("we", "need", "to"): 0, ("need", "to", "find"): 1, ("so", "it", "is"): 2, ("it", "is", "so"): 3}
    [kept] = robust.locate([Solution(3, "p", "Now we need to find it: so it is so. so it is", True)], {3}, grams)[3]
    assert kept.words == ("", "we", "need", "to", "find", "", "so", "it", "is", "so", "", "so", "it", "is")
    assert kept.places.tolist() == [[1, 4, 0], [2, 5, 1], [6, 9, 2], [7, 10, 3], [11, 14, 2]]
    assert robust.joined(kept.words, kept.places[:, :2].tolist()) == ["we need to find", "so it is so", "so it is"]
    assert robust.joined(kept.words, kept.places[[0, 3], :2].tolist()) == ["we need to", "it is so"]
    [none] = robust.locate([Solution(3, "p", "nothing here", True)], {3}, grams)[3]
    assert none.words == () and none.places.shape == (0, 3) and robust.variety([none, kept], np.ones(4, bool), 1) > 0


# --- reading -------------------------------------------------------------------------------------


def test_a_run_s_completions_are_read_with_their_outcomes(tmp_path):
    run = RunDir.create(tmp_path / "run", "", {})
    texts = (completion("so we need to add"), completion("4"), completion("hm"))
    run.write_rollouts(record(7, group(1, (1.0, 0.0, None), completions=texts)))
    run.close()
    found = list(reading.read(tables(tmp_path / "run")))
    assert found == [
        Solution(7, "sums/1", "so we need to add", True),
        Solution(7, "sums/1", "4", False),
        Solution(7, "sums/1", "hm", False),
    ]


def test_trl_s_parquet_is_read_by_advantage(tmp_path):
    chat = [{"role": "assistant", "content": "we can use it"}]
    rows = {
        "step": [1, 1],
        "prompt": ["a", "a"],
        "completion": [chat, chat],
        "advantage": [0.5, -0.5],
        "odd": [b"", b""],
    }
    (tmp_path / "completions").mkdir()
    parquet.write_table(pa.table(rows), tmp_path / "completions" / "completions_00001.parquet")
    found = list(reading.read(tables(tmp_path)))
    assert found == [Solution(1, "a", "we can use it", True), Solution(1, "a", "we can use it", False)]


TALK = [
    {"role": "assistant", "content": "We need to look it up."},
    {"role": "tool", "content": "Let's check: 4"},
    {"role": "assistant", "content": [{"type": "text", "text": "So we can "}, {"type": "text", "text": "use 4."}]},
]


@pytest.mark.parametrize(
    ("completion", "text"),
    [
        ("as it is", "as it is"),
        (TALK, "We need to look it up.\nSo we can use 4."),
        ([{"role": "assistant", "content": None}, TALK[0]], "We need to look it up."),
        ([{"role": "user", "content": "?"}, TALK[0]], "We need to look it up."),
        ([{"role": "model", "content": "hm"}], "hm"),
    ],
)
def test_mining_tagging_and_diagnosing_read_one_text(tmp_path, completion, text):
    row = {"step": 1, "prompt": "a", "completion": completion, "advantage": 0.5}
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(row))
    assert [one.text for one in reading.read([path])] == list(texts(path)) == [text]
    assert completion_text(completion) == text
    if not isinstance(completion, str) and all(isinstance(m["content"], str) for m in completion):
        parquet.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
        assert [one.text for one in reading.read([tmp_path / "a.parquet"])] == [text]


@pytest.mark.parametrize("none", [None, float("nan")])
def test_a_column_of_no_outcomes_does_not_hide_the_advantage(tmp_path, none):
    rows = [{"text": text, "outcome": none, "advantage": a} for text, a in (("good", 1.0), ("bad", -1.0))]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.parquet"):
        assert [(one.text, one.correct) for one in reading.read([tmp_path / name])] == [("good", True), ("bad", False)]


def test_where_any_row_has_an_outcome_one_without_is_not_correct(tmp_path):
    """Its scoring failed: it stays so in a file in which all of them did."""
    for name, outcomes in (("a", [None, None]), ("b", [1.0, None])):
        rows = {"text": ["x", "y"], "outcome": pa.array(outcomes, pa.float64()), "advantage": [1.0, 1.0]}
        parquet.write_table(pa.table(rows), tmp_path / f"{name}.parquet")
    assert [one.correct for one in reading.read(tables(tmp_path))] == [False, False, True, False]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"text": "a", "score": 1}', "expected a column 'outcome'"),
        ('{"answer": "a", "outcome": 1}', "expected a column 'completion' or 'text', got answer, outcome"),
        ('{"text": "a", "outcome": 1}\n{"te', "line 2: no JSON"),
        ("[1]", "line 1: expected an object, got list"),
        ('{"text": "a", "outcome": "yes"}', "column 'outcome' holds texts ('yes'); expected numbers, 1 is correct"),
    ],
)
def test_a_file_of_no_use_is_refused_in_words(tmp_path, line, said):
    path = tmp_path / "x.jsonl"
    path.write_text(line)
    with pytest.raises(ValueError, match=re.escape(said)):
        list(reading.read(tables(path, reading.SINGLE)))
    with pytest.raises(ValueError, match="no completions there"):
        tables(tmp_path, reading.SINGLE)


def test_rows_without_a_text_or_an_outcome_are_left_out_or_wrong(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text(
        '{"text": null, "outcome": 1}\n\n{"text": "a", "outcome": null}\n{"text": "b", "outcome": 1, "step": NaN}\n'
    )
    assert [(one.text, one.correct) for one in reading.read([path])] == [("a", False), ("b", True)]


def test_half_a_file_is_left_out_with_a_word(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    parquet.write_table(pa.table({"text": ["x"], "outcome": [1.0]}), tmp_path / "b.parquet")
    with pytest.warns(UserWarning, match="left out, it cannot be read"):
        assert [one.text for one in reading.read(tables(tmp_path))] == ["x"]


# --- commands ------------------------------------------------------------------------------------


def test_mine_writes_a_lexicon_that_the_tagger_takes_and_any_process_gives_the_same(tmp_path, capsys):
    path = tmp_path / "made.jsonl"
    rows = [
        {"completion": one.text, "prompt": one.problem, "outcome": 1, "step": i // 12} for i, one in enumerate(MADE)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert cli.main(["grams", "mine", str(path), "--out", str(tmp_path / "a.txt"), "--seed", "2"]) == 0
    said = capsys.readouterr().err
    assert "from 120 correct completions of 30 problems" in said and "without 30% of the grams" in said
    assert LexiconTagger(tmp_path / "a.txt").version == "mined from 120 correct completions with seed 2"
    code = "from rltrain import cli; import sys; sys.exit(cli.main(sys.argv[1:]))"
    ran = subprocess.run(
        [sys.executable, "-c", code, "grams", "mine", str(path), "--seed", "2"],
        env={"PYTHONHASHSEED": "7", "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stdout == (tmp_path / "a.txt").read_text()


def test_mine_refuses_what_it_cannot_read_or_write(tmp_path, capsys):
    assert cli.main(["grams", "mine", str(tmp_path / "nowhere")]) == 2
    assert cli.main(["grams", "mine", str(tmp_path), "--out", str(tmp_path / "no" / "x.txt")]) == 2
    assert "no such directory" in capsys.readouterr().err
    assert cli.main(["grams", "mine", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "is a directory; give the file to write" in capsys.readouterr().err


def test_phrases_that_touch_are_one(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("we need\nto find\n")
    tagger = LexiconTagger(path)
    assert tagger.spans("We need  to find x") == [(0, 16)]
    assert tagger.spans("We need, to find x") == [(0, 7), (9, 16)]


def test_tag_says_what_the_instruments_say(tmp_path, capsys):
    path = tmp_path / "x.jsonl"
    chat = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "We need to find 4."}]
    path.write_text(
        json.dumps({"text": "Let\u2019s check: 4"}) + "\n\n" + json.dumps({"completion": chat}) + '\n{"text": ""}\n'
    )
    assert cli.main(["tag", str(path)]) == 0
    first, second, third = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["spans"] == [[0, 11]] and second["spans"] == [[0, 15]]
    assert third == {"spans": [], "format": "other"}
    (tmp_path / "mine.txt").write_text("find 4\n")
    assert cli.main(["tag", str(path), "--lexicon", str(tmp_path / "mine.txt")]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[1])["spans"] == [[11, 17]]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nope", "line 1: no JSON"),
        ("[" * 200_000, "line 1: no JSON"),
        ('{"prompt": "x"}', "line 1: expected an object with 'text' or 'completion', got prompt"),
        ('{"text": 3}', "line 1: expected a text or a list of chat messages, got int"),
        ("\xff", "expected UTF-8 text"),
    ],
)
def test_tag_names_a_bad_line(tmp_path, capsys, line, said):
    path = tmp_path / "x.jsonl"
    path.write_bytes(line.encode("latin-1"))
    assert cli.main(["tag", str(path)]) == 2
    assert said in capsys.readouterr().err
    assert cli.main(["tag", str(tmp_path / "none.jsonl")]) == 2
    assert cli.main(["tag", str(path), "--tagger", "lexicn"]) == 2
    assert "did you mean 'lexicon'?" in capsys.readouterr().err
