"""Specs, arguments, messages."""

import importlib.util
import sys
from pathlib import Path

import pytest

from rltrain import plugins

DATA = Path(__file__).parent / "data"
REWARDS = "rltrain.rewards"


def message(call, *args, **kwargs):
    with pytest.raises(ValueError) as caught:
        call(*args, **kwargs)
    return str(caught.value)


def test_the_three_kinds_of_spec_resolve():
    by_name = plugins.resolve("exact", REWARDS)
    assert by_name is plugins.resolve("rewards.exact:exact", REWARDS)
    from_file = plugins.resolve(f"{DATA}/trial_rewards.py:length", REWARDS)
    assert from_file.__name__ == "length"
    assert plugins.resolve("rltrain.types:Task.__init__", REWARDS).__name__ == "__init__"


def test_a_file_is_imported_once_and_relative_to_the_current_directory(monkeypatch):
    monkeypatch.chdir(DATA)
    relative = "trial_rewards.py:length"
    assert plugins.absolute(relative) == f"{(DATA / 'trial_rewards.py').resolve()}:length"
    found = plugins.resolve(relative, REWARDS)
    assert found is plugins.resolve(plugins.absolute(relative), REWARDS)
    assert found.__module__ in sys.modules
    assert plugins.absolute("exact") == "exact"
    assert plugins.absolute("rewards.exact:exact") == "rewards.exact:exact"


def test_an_unknown_name_tells_what_there_is():
    told = message(plugins.resolve, "exat", REWARDS)
    for part in ("'exat'", REWARDS, "did you mean 'exact'?", "numeric", "module:attr"):
        assert part in told


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("rewards.nothing:exact", ["no module 'rewards.nothing'"]),
        ("rewards.exact:exat", ["has no 'exat'", "did you mean 'exact'?"]),
        ("nowhere/file.py:x", ["no file", "nowhere/file.py"]),
        (f"{DATA}/trial_reward.py:x", ["no file", "did you mean 'trial_rewards.py'?"]),
        (":x", ["expected a name"]),
        (f"{DATA}/broken_plugin.py:reward", ["broken_plugin.py, line 5", "AttributeError"]),
    ],
)
def test_what_cannot_be_resolved_says_why(spec, parts):
    told = message(plugins.resolve, spec, REWARDS)
    for part in parts:
        assert part in told


def test_a_failed_import_names_file_and_line_of_a_module_and_of_a_syntax_error(tmp_path, monkeypatch):
    (tmp_path / "wants_more.py").write_text("x = 1\nimport not_installed_anywhere\n")
    (tmp_path / "typo.py").write_text("x = 1\ndef f(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    told = message(plugins.resolve, "wants_more:x", REWARDS)
    assert "wants_more.py, line 2" in told
    assert "not_installed_anywhere" in told
    assert "typo.py, line 2" in message(plugins.resolve, f"{tmp_path}/typo.py:f", REWARDS)


def test_a_module_that_is_a_file_here_is_pointed_out(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("def f(task, completion): return 1.0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(tmp_path))])
    assert "use mine.py:f" in message(plugins.resolve, "mine:f", REWARDS)


def test_arguments_are_bound_against_the_signature():
    def target(task, completion, *, size, tolerance=0.1, judge=None): ...

    given = {"task", "completion", "judge", "scorer"}
    assert plugins.bind(target, {"size": 1}, given=given) == {"task", "completion", "judge"}
    told = message(plugins.bind, target, {"size": 1, "tolerence": 1}, given=given)
    assert "no argument 'tolerence'; did you mean 'tolerance'? it takes: size, tolerance" in told
    assert "'size' is required" in message(plugins.bind, target, {}, given=given)
    assert "'judge' is supplied by rltrain" in message(plugins.bind, target, {"size": 1, "judge": 2}, given=given)
    assert "can be called" in message(plugins.bind, 3, {})


def test_keyword_arguments_may_be_anything_where_the_target_says_so():
    def target(size, **others): ...

    assert plugins.bind(target, {"size": 1, "colour": 2}, given={"seed"}) == frozenset()


def test_installed_plugins_say_where_they_are():
    rows = {row.name: row for row in plugins.installed(REWARDS)}
    assert {"exact", "numeric", "format", "reasoning_gym", "constraints"} <= rows.keys()
    assert rows["exact"].target == "rewards.exact:exact"
    assert rows["exact"].file.name == "exact.py"


def test_a_shadowed_package_is_named(monkeypatch, tmp_path):
    plugins.check_shadowing()
    other = tmp_path / "rewards" / "__init__.py"
    other.parent.mkdir()
    other.write_text("")
    find = importlib.util.find_spec

    def find_other(name, package=None):
        return importlib.util.spec_from_file_location(name, other) if name == "rewards" else find(name, package)

    monkeypatch.setattr(plugins.importlib.util, "find_spec", find_other)
    told = message(plugins.check_shadowing)
    assert f"package 'rewards' resolves to {other.parent}, expected beside rltrain" in told
    assert "another distribution installs the same name" in told


def test_a_file_that_ends_the_program_when_imported_is_an_error_in_words(tmp_path):
    (tmp_path / "script.py").write_text("import sys\n\nsys.exit(3)\n")
    assert "SystemExit" in message(plugins.resolve, f"{tmp_path}/script.py:score", REWARDS)
