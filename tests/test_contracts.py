"""Plugins of every kind that are not what the loop asks for: what was expected, what came, what to do."""

import numpy as np
import pytest

from rltrain import build, contracts, plugins
from rltrain.check import sources, trials
from rltrain.check.verdicts import errors
from rltrain.config import CurriculumSpec
from rltrain.types import Curriculum, Diagnostic
from tests.test_check import settings

PLUGINS = '''
class Draws:
    """A curriculum that is one."""
    def __init__(self, tasks, *, seed, inner=None): self.tasks = tasks
    def sample(self, n): return [self.tasks[0]] * n
    def observe(self, groups): pass
    def admit(self, group): return None
    def state_dict(self): return {}
    def load_state_dict(self, state): pass
    def metrics(self): return {}
class Seedless(Draws):
    def __init__(self, tasks): self.tasks = tasks
class Table(Draws):
    def __init__(self, table, seed, inner=None): self.tasks = table
class Unwilling(Draws):
    admit = None
class Curious(Draws):
    def admit(self, group, step): return None
class Later(Draws):
    def admit(self, group, step=0): return None
class Breaks(Draws):
    def __init__(self, tasks, *, seed, inner=None): self.tasks = tasks.rows
class Nothing(Draws):
    def sample(self, n): return None
class Keys(Draws):
    def sample(self, n): return list(self.tasks.keys[:n])

class Reads:
    """A diagnostic that is one."""
    panels = ()
    def observe(self, record): return {}
    def events(self): return []
    def state_dict(self): return {}
    def load_state_dict(self, state): pass
class Blind(Reads):
    observe = None
    load_state_dict = None
class Bare:
    observe, events, state_dict, load_state_dict = Reads.observe, Reads.events, Reads.state_dict, Reads.load_state_dict
class Two(Reads):
    def observe(self, record, groups): return {}
class Opens(Reads):
    def __init__(self): self.text = open("nowhere.txt").read()
class Silent(Reads):
    def events(self): return None
class Words(Reads):
    def events(self): return ["too long"]
class Pictures(Reads):
    panels = ["reward/mean"]

def spans(text): return []
class Whole:
    def spans(self, text): return (0, len(text))
class Typed:
    def spans(self, text, tokens): return []
class Form:
    def classify(self, text): return "prose"
def nothing(): return None
'''


@pytest.fixture
def plugin(tmp_path):
    path = tmp_path / "plug.py"
    path.write_text(PLUGINS)
    return path


@pytest.fixture(scope="module")
def tasks():
    return sources.check_tasks(settings())[1]


def refused(call, *args) -> str:
    with pytest.raises(ValueError) as caught:
        call(*args)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("Seedless", ["expected Factory(tasks, *, seed, inner=None, ...), got Seedless(tasks)", "'seed'"]),
        ("Unwilling", ["Unwilling has no admit(group)", "sample(n), observe(groups), admit(group)", "rltrain new"]),
        ("Curious", ["expected admit(group), got admit(group, step)", "give others a default"]),
        ("Breaks", ["Breaks(tasks, *, seed, inner=None) raised AttributeError", "plug.py, line"]),
        ("nothing", ["got nothing()", "take these too"]),
    ],
)
def test_a_curriculum_that_is_none(plugin, tasks, name, parts):
    said = refused(build.build_curriculum, CurriculumSpec(use=f"{plugin}:{name}"), tasks.sets.train, 0)
    for part in (*parts, f"plug.py:{name}"):
        assert part in said


@pytest.mark.parametrize("name", ["Draws", "Table", "Later"])
def test_a_curriculum_with_other_names_and_further_defaults(plugin, tasks, name):
    made, _ = build.build_curriculum(CurriculumSpec(use=f"{plugin}:{name}"), tasks.sets.train, 0)
    assert isinstance(made, Curriculum)


@pytest.mark.parametrize(
    ("group", "name", "parts"),
    [
        (
            "diagnostics",
            "Blind",
            ["Blind has no observe(record), no load_state_dict(state)", "panels, observe(record)"],
        ),
        ("diagnostics", "Bare", ["Bare has no panels", "`rltrain new diagnostic NAME`"]),
        ("diagnostics", "Two", ["expected observe(record), got observe(record, groups)"]),
        ("diagnostics", "Opens", ["Opens() raised FileNotFoundError", "nowhere.txt", "plug.py, line"]),
        ("taggers", "spans", ["'text' is required", "an object, with spans(text)"]),
        ("taggers", "Typed", ["expected spans(text), got spans(text, tokens)"]),
        ("taggers", "nothing", ["NoneType has no spans(text)", "docs/plugins.md"]),
        ("formats", "Form", ["format classifier", "Form has no format(text)"]),
        ("formats", "__doc__", ["expected something that can be called", "format(text)"]),
    ],
)
def test_a_reader_that_is_none(plugin, group, name, parts):
    said = refused(plugins.built, f"{plugin}:{name}", f"rltrain.{group}", {})
    for part in parts:
        assert part in said


def test_a_factory_written_in_c_is_judged_by_what_it_makes():
    assert "dict has no spans(text)" in refused(plugins.built, "builtins:dict", "rltrain.taggers", {})


def test_a_source_whose_constructor_raises(plugin):
    plugin.write_text("class Rows:\n    def __init__(self): self.rows = {}['rows']\n")
    [said] = errors([sources.check_tasks(settings(tasks=[{"use": f"{plugin}:Rows"}]))[0]])
    assert "Rows() raised KeyError: 'rows'" in said and "plug.py, line 2" in said


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"curriculum": {"use": "PLUG:Nothing"}}, "sample(2): expected a list of tasks, got NoneType None"),
        ({"curriculum": {"use": "PLUG:Keys"}}, "sample(2): expected a list of tasks, got str in it"),
        ({"diagnostics": [{"use": "PLUG:Silent"}]}, "events(): expected a list of events, got NoneType None"),
        ({"diagnostics": [{"use": "PLUG:Words"}]}, "events(): expected a list of events, got str in it"),
        ({"diagnostics": [{"use": "PLUG:Pictures"}]}, "panels: expected a list of panels (rltrain.types.Panel)"),
        ({"tagger": {"use": "PLUG:Whole"}}, "spans: expected a list of (start, end) inside a text"),
    ],
)
def test_an_answer_that_the_loop_could_not_use(plugin, tasks, sections, said):
    [(section, value)] = sections.items()
    given = value[0] if isinstance(value, list) else value
    given = {"use": given["use"].replace("PLUG", str(plugin))}
    config = settings(**{section: [given] if isinstance(value, list) else given})
    judge = trials.check_curriculum if section == "curriculum" else trials.check_readers
    [error] = errors([judge(config, tasks, {})])
    assert said in error


def test_what_is_expected_is_what_the_protocols_say():
    assert contracts.expected("rltrain.diagnostics").startswith("panels, observe(record), events(), state_dict()")
    for group, protocol in (("curricula", Curriculum), ("diagnostics", Diagnostic)):
        assert contracts.CONTRACTS[f"rltrain.{group}"].protocol is protocol


@pytest.mark.parametrize("given", [{"reward": "abc"}, {"reward": None}, [("reward", 1.0)], None])
def test_metrics_that_are_no_numbers_are_refused(given):
    with pytest.raises(ValueError, match=r"^diagnostic 'D': observe\(\): expected a dict of numbers by name, got "):
        contracts.numbers("diagnostic 'D': observe()", given)
    assert contracts.numbers("", {"a": np.float32(1), "b": 2}) == {"a": 1, "b": 2}
