"""Every shipped config: what its first line promises, through `check`, and its page of keys."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from rltrain import check, config
from rltrain.check.verdicts import errors
from rltrain.config import page
from rltrain.twin import twin

ROOT = Path(__file__).parent.parent
SHIPPED = sorted((ROOT / "configs").glob("*.yaml"))
LAUNCH = ROOT / "configs" / "launch"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_config_passes_its_check(path):
    assert errors(check.look(config.load(path))) == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_first_line_says_hardware_duration_and_result(path):
    first = path.read_text().splitlines()[0]
    assert first.startswith("# ")
    assert re.search(r"CPU|GPU", first)
    assert re.search(r"minutes|duration not measured", first)
    assert re.search(r"Not run here|interval above zero", first)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_config_has_a_twin_and_survives_a_round_trip(path, tmp_path):
    loaded = config.load(path)
    small = twin(loaded)
    assert (small.rollouts.engine, small.model.path, small.distributed.gpus) == ("twin", "tiny", 0)
    (tmp_path / "resolved.yaml").write_text(config.dump(loaded))
    assert config.load(tmp_path / "resolved.yaml") == loaded


def test_a_twin_has_completions_enough_for_the_guard():
    assert twin(config.load("quickstart", ["advantages.guard={min_successes: 5}"])).sampling.num_generations == 6


def test_the_placements_are_what_the_comments_say():
    one, node, cluster = (config.load(name) for name in ("one_gpu", "one_node", "cluster"))
    assert one.shared_gpu and one.rollouts.gpus + one.distributed.gpus == 1
    assert not node.shared_gpu and node.rollouts.engines + node.distributed.processes == 8
    assert cluster.rollouts.engines * cluster.rollouts.gpus + cluster.distributed.processes == 8 * 4
    assert cluster.distributed.ray_address == "auto"


def test_the_launch_files_start_a_cluster_of_the_config_s_size():
    cluster = config.load("cluster")
    batch = (LAUNCH / "slurm.sh").read_text()
    subprocess.run(["bash", "-n", LAUNCH / "slurm.sh"], check=True)
    assert re.search(r"#SBATCH --nodes=(\d+)", batch)[1] == str(cluster.distributed.nodes)
    assert re.search(r"#SBATCH --gpus-per-node=(\d+)", batch)[1] == "8"
    [job] = list(yaml.safe_load_all((LAUNCH / "kuberay.yaml").read_text()))
    groups = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert 1 + sum(group["replicas"] for group in groups) == cluster.distributed.nodes
    pods = [job["spec"]["rayClusterSpec"]["headGroupSpec"], *groups]
    for pod in pods:
        [container] = pod["template"]["spec"]["containers"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == 8


def test_the_page_of_keys_is_current():
    assert (ROOT / "docs" / "config.md").read_text(encoding="utf-8") == page.markdown(), "run `make docs`"


def test_every_key_has_a_line_on_the_page():
    text = page.markdown()
    for section in page.SECTIONS.values():
        for name, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{name} has no docstring"
            assert f"| `{name}` |" in text
