"""What a step says when a curriculum, a gate or the rewards are at fault."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from synthetic import group
from tiny import config

from rltrain import admission, blame, collect, steps
from rltrain.blame import CurriculumFailed, PluginFailed
from rltrain.config import CurriculumSpec
from rltrain.run import Progress
from rltrain.types import Score

PLUGIN = """class Odd:
    def __init__(self, many=2):
        self.many = many

    def sample(self, n):
        return None if self.many is None else ["task"] * self.many

    def admit(self, group):
        raise KeyError("oops")
"""


@pytest.fixture
def run(tmp_path):
    """As much of a run as these stages look at, with a curriculum of the person's own file."""
    (tmp_path / "odd.py").write_text(PLUGIN)
    use = f"{tmp_path / 'odd.py'}:Odd"
    events = []
    return SimpleNamespace(
        config=config(curriculum={"use": use}, admission={"max_errors": 0.1}),
        curriculum=steps.blame.plugins.resolve(use, "rltrain.curricula")(),
        gates=[],
        progress=Progress(),
        events=events,
        event=events.append,
    )


@pytest.mark.parametrize(("many", "got"), [(3, "3 tasks"), (0, "0 tasks"), (None, "NoneType")])
def test_a_curriculum_that_gives_another_number_of_tasks_is_named(run, many, got):
    run.curriculum.many = many
    with pytest.raises(CurriculumFailed, match=rf"curriculum '.*odd.py:Odd': sample\(2\) returned {got}; expected 2"):
        steps.request(run, 2, 0)


def test_an_exception_in_a_curriculum_names_plugin_method_and_line(run):
    with pytest.raises(CurriculumFailed, match=r"odd.py:Odd': admit raised KeyError: 'oops' at .*odd.py:9$"):
        admission.admitted(run, group(0, (0.0, 1.0)))


def test_a_curriculum_that_calls_exit_is_named(run):
    run.curriculum.sample = lambda n: sys.exit()
    with pytest.raises(CurriculumFailed, match=r"odd.py:Odd': sample raised SystemExit"):
        steps.request(run, 2, 0)


def test_an_exception_in_a_gate_is_the_gates(run):
    gate = CurriculumSpec(use=run.config.curriculum.use)
    outer = CurriculumSpec(use="uniform", gates=[gate])
    run.config = run.config.model_copy(update={"curriculum": outer})
    run.gates, run.curriculum = [run.curriculum], SimpleNamespace(admit=lambda group: None)
    with pytest.raises(CurriculumFailed, match=r"odd\.py:Odd': admit raised"):
        admission.admitted(run, group(0, (0.0, 1.0)))


READERS = """class Tagger:
    def spans(self, text):
        return [][0]

class Formats:
    def format(self, text):
        return {}[text]
"""


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("tagger", r"tagger 'Tagger': spans raised IndexError: list index out of range at .*readers\.py:3$"),
        ("formats", r"formats 'Formats': format raised KeyError: '.*' at .*readers\.py:7$"),
    ],
)
def test_a_reader_of_texts_is_named_with_its_line(tmp_path, broken, said):
    (tmp_path / "readers.py").write_text(READERS)
    sound = {"tagger": SimpleNamespace(spans=lambda text: []), "formats": SimpleNamespace(format=lambda text: "prose")}
    made = blame.plugins.resolve(f"{tmp_path / 'readers.py'}:{broken.title()}", f"rltrain.{broken}")()
    made_of = group(0)
    ticket = SimpleNamespace(id=0, task=made_of.task, prompt_ids=made_of.prompt_ids)
    with pytest.raises(PluginFailed, match=said):
        collect.tag(ticket, made_of.completions, **sound | {broken: made})


def refused(reason):
    return [replace(group(i, admitted=False), reject_reason=reason) for i in range(2)]


def test_nothing_admitted_names_the_reasons_and_advises_on_them(run):
    kept = admission.enough(run, refused("too hard"), 0)
    (event,) = run.events
    assert [g.admitted for g in kept] == [True, False]
    assert (event.name, event.evidence) == (
        "nothing_admitted",
        {"sampled": 2, "admitted": 0, "reasons": {"too hard": 2}},
    )
    assert "odd.py:Odd" in event.advice and "zero_variance" not in event.advice
    admission.enough(run, refused(admission.EQUAL), 0)
    assert "admission.zero_variance: keep" in run.events[1].advice and "loosen" not in run.events[1].advice


def test_too_many_errors_are_told_by_kind_with_the_first_traceback(run):
    failed = Score(error="Raised RuntimeError: reward 'boom': no\nTraceback (most recent call last):\n  in boom")
    with pytest.raises(steps.TooManyErrors) as caught:
        steps.check_errors(run, [replace(group(0), scores=(failed, Score(total=1.0)))])
    assert str(caught.value) == (
        "50% of the scores of step 1 failed (admission.max_errors 10%): 1 Raised; the first: "
        "Raised RuntimeError: reward 'boom': no\nTraceback (most recent call last):\n  in boom"
    )
    [event] = run.events
    assert (event.name, event.evidence["kinds"]) == ("scores_failed", {"Raised": 1})
