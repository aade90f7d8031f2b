"""What the docs show works, and the house plan they draw is the house."""

import re
from pathlib import Path

import pytest
import yaml

from rltrain import check, cli
from rltrain.check.verdicts import errors
from rltrain.config import Config

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
BASE = {
    "model": {"path": "tiny", "dtype": "float32"},
    "tasks": [{"use": "reasoning_gym", "args": {"generator": "chain_sum", "size": 60}, "held_out": 0.3}],
    "rewards": [{"use": "numeric"}],
    "rollouts": {"engine": "transformers"},
    "training": {"steps": 1, "prompts_per_step": 2},
    "evaluation": {"prompts": 4, "num_generations": 8},
}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)


def test_the_plugins_of_the_readme_pass_their_check_and_go_on_from_their_state(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for code in blocks("../README.md", "python"):
        if file := re.match(r"# (\w+\.py)\n", code):
            (tmp_path / file[1]).write_text(code)
    specs = re.findall(r'"(my_\w+\.py:\w+)"', "".join(blocks("../README.md", "yaml")))
    assert specs == ["my_rewards.py:short_and_right", "my_curricula.py:Unsolved"]
    for spec in specs:
        status, said = cli.main(["plugin", "check", spec]), capsys.readouterr().out
        assert status == 0 and ("false accepts" in said or "goes on from its state" in said), said


@pytest.mark.parametrize("block", blocks("plugins.md", "yaml"), ids=lambda block: block.split(":")[0])
def test_the_plugin_examples_pass_their_check(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for code in blocks("plugins.md", "python"):
        name = re.match(r"# (\w+\.py)\n", code)[1]
        (tmp_path / name).write_text(code)
    sections = check.look(Config.model_validate(BASE | yaml.safe_load(block)))
    assert errors(sections) == []
    warnings = [line.text for section in sections for line in section.lines if line.verdict == "warning"]
    assert not [text for text in warnings if "declared" in text or "no better than nothing" in text]


def test_every_example_file_is_used():
    files = {re.match(r"# (\w+\.py)\n", code)[1] for code in blocks("plugins.md", "python")}
    assert files == set(re.findall(r"(\w+\.py):\w+\"", "".join(blocks("plugins.md", "yaml"))))


def test_the_house_plan_names_every_room():
    text = (DOCS / "design.md").read_text(encoding="utf-8")
    rooms = [path for path in (ROOT / "rltrain").iterdir() if path.name not in ("__init__.py", "__main__.py")]
    names = [f"{path.name}/" if path.is_dir() else path.name for path in rooms if path.name != "__pycache__"]
    assert [name for name in names if name not in text] == []
    for named in re.findall(r"`(?:rltrain/)?(\w+\.py)`", text):
        packages = ("rltrain", "rewards", "curricula", "diagnostics")
        assert any(list((ROOT / package).rglob(named)) for package in packages), f"{named} is not there any more"


def test_the_rollout_columns_are_the_table_s():
    from rltrain.records.table import COLUMNS

    section = (DOCS / "design.md").read_text(encoding="utf-8").partition("### Rollouts")[2].partition("### Metrics")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert sorted(re.findall(r"`(\w+)`", "".join(rows))) == sorted(COLUMNS)


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
