"""The format classifier on forms that its rules could take for each other, and its score on labelled files."""

import pytest

from benchmarks.formats import LABELS, read, score, wilson
from diagnostics.formats import FORMATS, RuleFormats

EXAMPLES = {
    "code": [
        "sorted(d.items(), key=lambda x: x[1])[:3]",
        "[x**2 for x in range(10)]",
        "df = pd.read_csv('x.csv')\ndf.groupby('a')['b'].mean()",
        "x <- c(1, 2, 3)\ny <- mean(x)",
        "body {\n  color: red;\n  margin: 0 auto;\n}",
        '#!/bin/bash\nfor f in *.txt; do\n  echo "$f"\ndone',
        "try:\n    x = 1\nexcept ValueError:\n    x = 2\nfinally:\n    y = x",
        "select name from users where age > 30",
        "def f(x):\n    # double it\n    return 2 * x\n\nThis function doubles its input.",
        "add :: Int -> Int -> Int\nadd x y = x + y",
        'package main\n\nimport "fmt"\n\nfunc main() {\n\tfmt.Println("hi")\n}',
        'fn main() {\n    let x = 5;\n    println!("{}", x);\n}',
        "```\nls -la\n```",
        "const f = (a) => {\n  return a * 2\n}",
        "def greet\n  puts 'hi'\nend",
    ],
    "prose": [
        "Use a comprehension to build a list from another one. It is short and reads well. To square them, write:\n\n"
        "```python\n[x**2 for x in y]\n```\n\nThe loop does the same in three lines.\nIt is easier to step through.",
        "If you want to do this, you need: a pen, a sheet of paper and some time. Then you can start.",
        "I came, I saw, I conquered. That is what he said when he returned to the city after the war.",
        "@john thanks for the invitation, I would love to come to the party next week.",
        "\u8fd9\u4e2a\u95ee\u9898\u5f88\u6709\u610f\u601d\u3002\u6211\u8ba4\u4e3a\u57ce\u5e02\u7684\u53d1\u5c55\u53d6\u51b3\u4e8e\u4ea4\u901a\uff0c\u800c\u4e0d\u662f\u5e02\u573a\u3002\u56e0\u6b64\u6211\u4eec\u5e94\u8be5\u5148\u770b\u770b\u9053\u8def\u3002",
    ],
    "answer_only": [
        "3:45 PM",
        "Total: 45 dollars",
        "Mercury, Venus, Earth, Mars, Jupiter, Saturn",
        "$$\n42\n$$",
        "\\[\n\\frac{3}{4}\n\\]",
        "<",
        "The capital of France is Paris.",
        "x = 3, y = 4",
        "Answer:\n\n42",
        "C) 12 meters",
        "Gone with the Wind by Margaret Mitchell",
        "**42**",
        "1/2",
        "No, it is not.",
        "(3, 4)",
    ],
    "other": [
        "An old silent pond.\nA frog jumps in.\nSplash! Silence.",
        "\u2014 Bonjour, dit-il.\n\u2014 Bonjour, r\xe9pondit-elle.\n\u2014 \xc7a va ?",
        "I must check this again. I must check this again. I must check this again. I must check this again. I must",
        "[Verse 1]\nI walk alone at night\nbeneath the silver light\n[Chorus]\nOh my love\ncome back to me",
        "3x + 5 = 20\n3x = 15\nx = 5",
        "hahahahahaha hahahaha hahaha",
        "\u5c0f\u660e\uff1a\u4f60\u597d\u3002\n\u5c0f\u7ea2\uff1a\u4f60\u597d\uff0c\u4f60\u53bb\u54ea\u91cc\uff1f\n\u5c0f\u660e\uff1a\u6211\u53bb\u5b66\u6821\u3002",
        "services:\n  web:\n    image: nginx\n    ports:\n      - 80:80",
    ],
    "json": [
        'Here is the object you asked for. It has two keys:\n\n{"a": 1, "b": 2}',
        '{answer: 42, unit: "m"}',
        '{"ans',
        '"a": 1, "b": 2',
        "[1, 2, 3",
        '```json\n{"a": 1\n```\nLet me know!',
    ],
    "tags": [
        "So I add 3 and 4 and get 7.\n</think>\n\nThe answer is 7.",
        "[THOUGHT]\nI add them.\n[ANSWER]\n7",
        "<|begin_of_thought|>hm<|end_of_thought|>",
        "<reasoning>\n3+4",
        "<step>1</step><step>2</step>",
        "Sure!\n<think>a b c d e f g h</think>\n<answer>3</answer>",
    ],
    "table": [
        "Name | Age\n-----|----\nAnn | 3\nBob | 4",
        "+-----+-----+\n| a   | b   |\n+-----+-----+\n| 1   | 2   |\n+-----+-----+",
        "name, age\nAnn, 3\nBob, 4",
        "name;age\nAnn;3\nBob;4",
        "\\begin{tabular}{ll}\na & b \\\\\n1 & 2 \\\\\n\\end{tabular}",
        "| a | b |\n|---|---|\n| 1 | 2 |\n| 3",
        'id,name,quote\n1,Ann,"Hi, there"\n2,Bob,"No, thanks"',
        "| - | a | b |\n| - | - | - |\n| x | 1 | 2 |",
    ],
    "numbered_steps": [
        "1.  Add the numbers.\n2.  Halve them.\n3.  Done.",
        "Schritt 1: a b c\nSchritt 2: d e f",
        "1\ufe0f\u20e3 Add\n2\ufe0f\u20e3 Halve",
        "\u2460 \u52a0\n\u2461 \u51cf",
        "a) first\nb) second\nc) third",
        "### Step 1: Add\nWe add 3 and 4.\n### Step 2: Halve\nWe halve 7.",
        "**Step 1:** x | y\n**Step 2:** z | w",
        "1. a, b\n2. c, d",
    ],
    "bullets": [
        "\u2705 one\n\u2705 two\n\u274c three",
        "\u2022 a, b, c\n\u2022 d, e, f",
        "- **A**: x\n- **B**: y",
        "* one  two\n* three  four",
        "- a\n- b\n\nHope this helps!",
    ],
    "boxed_latex": [
        "$\\boxed{5}$",
        "We have $x = 5$ and so\n$$\\boxed{x = 5}$$",
        "\\[\n\\boxed{12}\n\\]",
    ],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in EXAMPLES.items() for text in texts])
def test_forms_are_told_apart(name, text):
    assert RuleFormats().format(text) == name


def test_every_form_is_in_the_labelled_files():
    for half in ("formats_build", "formats_heldout"):
        rows = read(LABELS / f"{half}.jsonl")
        assert len(rows) == 160 and {label for _, label in rows} == set(FORMATS)


def test_the_rules_agree_with_the_labels_held_out():
    assert score(read(LABELS / "formats_heldout.jsonl"), RuleFormats())["accuracy"] >= 0.95


def test_the_score_is_counted_by_hand():
    found = score([("42", "answer_only"), ("17", "json")], RuleFormats())
    assert found["accuracy"] == 0.5 and found["mistaken"] == {"json -> answer_only": 1}
    assert found["right_of"]["answer_only"] == [1, 1]
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)


def test_a_label_of_another_guide_is_named(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"completion": "42", "format": "number"}')
    with pytest.raises(ValueError, match="number"):
        read(path)


HOSTILE = ["a b; " * 5_000, "\u2014 x\n" * 5_000, '"a": ' * 6_000, "[A" * 9_000, "1. a, b\n" * 4_000, "ab" * 10_000]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_judged_in_time(text):
    """Patterns that backtrack would not end here."""
    assert RuleFormats().format(text) in FORMATS
