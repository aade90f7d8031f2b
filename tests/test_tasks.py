"""Sources and the tables made of them."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from rltrain import tasks
from rltrain.config import TaskSource

DATA = Path(__file__).parent / "data"


def source(use, *, kind="structured", name=None, held_out=0.1, **args):
    return TaskSource(use=use, kind=kind, name=name, held_out=held_out, args=args)


def build(*sources, **options):
    return tasks.build(sources, seed=0, **options)


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def rows_of(n, start=0):
    return [{"prompt": f"What is {i} + 1?", "answer": str(i + 1)} for i in range(start, start + n)]


def prompts(table):
    return {table[i].prompt[-1]["content"] for i in range(len(table))}


# --- the sources ---


def test_reasoning_gym_keeps_what_its_scorer_needs():
    sums = source("reasoning_gym", generator="chain_sum", size=50, min_digits=2, max_digits=2, suffix="\nAnswer:")
    sets = build(sums)
    task = sets.train[0]
    assert task.source == "chain_sum"
    assert task.prompt[0]["content"] == task.meta["entry"]["question"] + "\nAnswer:"
    assert task.answer == task.meta["entry"]["answer"]
    assert task.meta["generator"] == "chain_sum"
    assert task.meta["parameters"] == {"min_digits": 2, "max_digits": 2}
    assert task.level == task.meta["entry"]["metadata"]["num_terms"]  # the one parameter that varies
    assert sets.train.levels[0] == task.level


def test_reasoning_gym_follows_the_seed_and_two_varying_parameters_are_no_level():
    sums = source("reasoning_gym", generator="chain_sum", size=5)
    one, same, other = (tasks.build([sums], seed=seed).train.keys for seed in (0, 0, 1))
    assert one == same
    assert one != other
    assert tasks.sample(sums).level is None
    assert tasks.build([source("reasoning_gym", generator="chain_sum", size=5, seed=0)], seed=1).train.keys == one


def test_a_generator_that_draws_from_the_global_random_state_repeats():
    functions = source("reasoning_gym", generator="list_functions", size=8)
    assert build(functions).train.keys == build(functions).train.keys


@pytest.mark.parametrize(
    ("use", "given", "error"),
    [
        ("file", {"path": 5}, "file: path: expected text, got 5"),
        ("file", {"path": "rows.jsonl", "prompt": 5}, "file: prompt: expected text, got 5"),
        ("hub", {"dataset": 5}, "hub: dataset: expected text, got 5"),
        ("python", {"function": 5}, "python: function: expected text, got 5"),
        ("reasoning_gym", {"generator": ["chain_sum"]}, "reasoning_gym: generator: expected text"),
    ],
)
def test_an_argument_that_is_no_text(use, given, error):
    with pytest.raises(ValueError, match=error):
        tasks.sample(source(use, **given))


def test_a_ready_dataset_takes_other_columns():
    assert tasks.sample(source("hub", dataset="gsm8k", answer=None)).answer is None
    assert tasks.sample(source("hub", dataset="math", id="unique_id")).key == "math/train/algebra/0.json"
    with pytest.raises(ValueError, match="hub: dataset gsm8k: no level column 'grade'"):
        tasks.sample(source("hub", dataset="gsm8k", level="grade"))
    copy = tasks.sample(source("hub", dataset="copies/gsm8k", mapping="gsm8k", level="grade"))
    assert (copy.answer, copy.level) == ("0", 0.0)


def test_half_a_character_names_its_row(tmp_path):
    path = write(tmp_path / "rows.jsonl", [*rows_of(2), {"prompt": "What is \ud800?", "answer": "1"}])
    with pytest.raises(ValueError, match=r"source rows, row 2: the prompt holds half a character \('\\ud800' at"):
        build(source("file", path=path))


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_files_map_their_columns(tmp_path, kind):
    path = DATA / "small.jsonl"
    if kind == "parquet":
        path = tmp_path / "small.parquet"
        chat = [[{"role": "user", "content": f"{q}?"}] for q in "abc"]
        parquet.write_table(
            pa.table({"prompt": chat, "answer": ["4", "8", "5"], "topic": ["sums"] * 3, "grade": [1, 2, 3]}), path
        )
    unmapped = tasks.sample(source("file", path=str(path), answer=None))
    assert (unmapped.answer, str(unmapped.meta["answer"]), unmapped.level) == (None, "4", None)
    sets = build(source("file", path=str(path), level="grade", held_out=0))
    table = sets.train
    assert len(table) == 3
    assert [table[i].answer for i in range(3)] == ["4", "8", "5"]
    assert table.levels.tolist() == [1.0, 2.0, 3.0]
    assert table[0].meta["topic"] == "sums"
    assert "grade" not in table[0].meta
    assert table[2].prompt[-1]["role"] == "user"
    assert set(table.sources) == {"small"}


def test_a_hub_data_set_is_read_by_its_mapping(tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    rows = [{"question": f"How many are {i}?", "answer": f"Count.\n#### 1,{i:03}"} for i in range(20)]
    write(folder / "train.jsonl", rows)
    table = build(source("hub", dataset=str(folder), mapping="gsm8k", suffix=" Think.", held_out=0)).train
    assert table[3].answer == "1003" and table[3].meta == {"rationale": "Count."}
    assert table[3].prompt[0]["content"] == "How many are 3? Think."


@pytest.mark.parametrize(("name", "answer"), [("gsm8k", "72"), ("math", "6")])
def test_ready_data_sets_have_a_sample_and_a_twin_without_a_download(name, answer):
    spec = source("hub", dataset=name)
    assert tasks.sample(spec).answer == answer
    sets = build(spec, twin=True)
    assert len(sets.train) + len(sets.held_out) == tasks.DECLARED_ROWS
    assert sets.train[0].answer == answer
    assert len(prompts(sets.train)) == len(sets.train)
    assert "replaced by 64 rows of its declared columns" in sets.notes[0]


def test_a_callable_gives_rows(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "def rows(count, seed=7):\n    return ({'prompt': f'{seed}:{i}', 'id': i, 'x': i} for i in range(count))\n"
        "def plain():\n    return [{'prompt': 'one'}, {'prompt': 'two'}]\n"
    )
    table = tasks.build([source("python", function=f"{file}:rows", count=4, held_out=0)], seed=3).train
    assert table.keys == ["rows/0", "rows/1", "rows/2", "rows/3"]
    assert (table[1].prompt[0]["content"], table[1].meta, table[1].answer) == ("3:1", {"x": 1}, None)
    assert len(build(source(f"{file}:plain", held_out=0)).train) == 2  # a list of rows is a source


def test_word_constraints_say_their_rules():
    task = tasks.sample(source("word_constraints", kind="creative", fewest=3, most=3))
    assert task.kind == "creative"
    assert len(task.meta["words"]) == task.level == 3
    for word in task.meta["words"]:
        assert word in task.prompt[0]["content"]
        assert word in task.answer
    with pytest.raises(ValueError, match="min_words <= max_words"):
        tasks.sample(source("word_constraints", min_words=30, max_words=20))


# --- the tables ---


def test_the_split_follows_the_key_whatever_the_order_or_the_length(tmp_path):
    rows = rows_of(300)
    first = build(source("file", path=write(tmp_path / "a.jsonl", rows), held_out=0.2))
    assert not set(first.train.keys) & set(first.held_out.keys)
    assert 30 < len(first.held_out) < 90
    more = rows_of(100, start=300) + rows[::-1]
    second = build(source("file", path=write(tmp_path / "b.jsonl", more), name="a", held_out=0.2))
    assert set(first.held_out.keys) <= set(second.held_out.keys)
    assert set(first.train.keys) <= set(second.train.keys)


def test_several_sources_are_one_table():
    sets = build(
        source("reasoning_gym", generator="chain_sum", size=40), source("word_constraints", kind="creative", size=30)
    )
    table = sets.train
    assert sets.kinds == {"chain_sum": "structured", "word_constraints": "creative"}
    for i in (0, len(table) - 1):
        assert (table[i].key, table[i].source, table[i].kind) == (table.keys[i], table.sources[i], table.kinds[i])
    assert np.isnan(table.levels).any()
    assert len(table.keys) == len(table) == len(set(table.keys))


def test_repeated_prompts_are_kept_once_and_reported(tmp_path):
    path = write(tmp_path / "a.jsonl", rows_of(10) + rows_of(5))
    sets = build(source("file", path=path, held_out=0))
    assert len(sets.train) == 10
    assert sets.notes == ["source 'a': 5 of 15 rows repeat a prompt and are left out"]


def test_rows_without_an_answer_are_counted(tmp_path):
    rows = [*rows_of(10), {"prompt": "a?", "answer": None}, {"prompt": "b?", "answer": " "}]
    sets = build(source("file", path=write(tmp_path / "a.jsonl", rows), held_out=0))
    assert sets.notes == ["source 'a': 2 of 12 prompts have no answer to compare with"]
    assert build(source("file", path=write(tmp_path / "b.jsonl", rows[10:]), held_out=0)).notes == []


def test_a_prompt_that_another_source_holds_out_is_not_trained_on(tmp_path):
    one = source("file", path=write(tmp_path / "a.jsonl", rows_of(200)), held_out=0.3)
    other = source("file", path=write(tmp_path / "b.jsonl", rows_of(200, start=100)), held_out=0)
    sets = build(one, other)
    assert not prompts(sets.train) & prompts(sets.held_out)
    assert "sources 'a' and 'b' share 100 prompts" in sets.notes
    assert any("held out in one source and left out of training in another" in note for note in sets.notes)


def test_a_twin_takes_the_first_rows_and_replaces_a_missing_file(tmp_path):
    big = source("file", path=write(tmp_path / "big.jsonl", rows_of(tasks.TWIN_ROWS + 50)))
    gone = source("file", path="nowhere/gone.jsonl", prompt="question", level="grade")
    sets = build(big, gone, twin=True)
    assert len(sets.train) + len(sets.held_out) == tasks.TWIN_ROWS + tasks.DECLARED_ROWS
    assert "the twin takes the first 256 of 306 rows" in sets.notes[0]
    assert "replaced by 64 rows" in sets.notes[1]


# --- bad input ---


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (source("fil", path="x"), "did you mean 'file'"),
        (source("file", pth="x"), "no argument 'pth'; did you mean 'path'"),
        (source("file", path=f"{DATA}/smal.jsonl"), "no such file; did you mean 'small.jsonl'"),
        (source("file", path=f"{DATA}/small.txt"), r"expected one of .jsonl.*got '.txt'"),
        (source("file", path=f"{DATA}/small.jsonl", answer="anser"), "no answer column 'anser'; did you mean 'answer'"),
        (source("file", path=f"{DATA}/small.jsonl", prompt="question"), "no prompt column 'question'; columns: answer"),
        (source("file", path=f"{DATA}/small.jsonl", level="topic"), "expected a number as level, got 'sums'"),
        (source("hub", dataset="x/y", mapping="gsm"), "did you mean 'gsm8k'"),
        (source("reasoning_gym", generator="chain_sums"), "did you mean 'chain_sum'"),
        (source("reasoning_gym", generator="chain_sum", min_term=1), "did you mean 'min_terms'"),
        (source("reasoning_gym", generator="chain_sum", min_terms=9), "max_terms must be"),
        (source("python", function="builtins:int"), "sequence|iterable|required|callable|signature"),
    ],
)
def test_bad_sources(spec, told):
    with pytest.raises(ValueError, match=told):
        tasks.sample(spec)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("", "source 'bad' is empty"),
        ('{"prompt": "a", "answer": 1}\n{"prompt":', "record 2: not JSON"),
        ('{"prompt": "a", "answer": 1}\n[1]', "record 2: expected an object, got list"),
        ('{"prompt": "a", "answer": 1}\n{"answer": 1}', "row 1: .*no prompt column 'prompt'"),
        ('{"prompt": " ", "answer": 1}', "row 0: the prompt is empty"),
        ('{"prompt": [{"role": "user"}], "answer": 1}', "row 0: expected messages with `role` and `content`"),
        ('{"prompt": null, "answer": 1}', "row 0: expected a mapping with `prompt`, got nothing in it"),
        ('{"prompt": 3, "answer": 1}', "row 0: expected a string or a list of messages"),
    ],
)
def test_bad_rows_are_located(tmp_path, lines, told):
    path = tmp_path / "bad.jsonl"
    path.write_text(lines)
    with pytest.raises(ValueError, match=told):
        build(source("file", path=str(path), held_out=0))


def test_names_and_ids_are_unique(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"prompt": p, "answer": "1", "id": 1} for p in "ab"])
    with pytest.raises(ValueError, match="id 1 is that of two different prompts"):
        build(source("file", path=path, id="id"))
    with pytest.raises(ValueError, match="two sources are called 'a'"):
        build(source("file", path=path), source("file", path=path))


def test_nothing_left_to_train_on_is_an_error(tmp_path):
    path = write(tmp_path / "a.jsonl", rows_of(3))
    with pytest.raises(ValueError, match="none of its 3 prompts is left to train on"):
        build(source("file", path=path, held_out=0.999))
