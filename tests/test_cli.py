"""Bad input at the command line: exit status 2, one message, no traceback, nothing written."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rltrain import check, checkpoint, cli, config
from rltrain.check.verdicts import errors
from rltrain.order import fingerprint
from rltrain.twin import twin
from tests import synthetic


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def refused(here, capfd, *arguments: str) -> str:
    """The one message of a command that ends with status 2 and changes nothing."""
    before = contents(here)
    directories = sorted(path for path in here.rglob("*") if path.is_dir())
    assert cli.main(arguments) == 2
    said = capfd.readouterr().err
    assert said.startswith("rltrain: error: ")
    assert "Traceback" not in said
    assert contents(here) == before
    assert sorted(path for path in here.rglob("*") if path.is_dir()) == directories
    return said


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("training.learning_rat=1e-5", ["training.learning_rat", "did you mean 'learning_rate'?"]),
        ("samplign.top_p=0.9", ["samplign", "did you mean 'sampling'?"]),
        ("training.steps=many", ["training.steps", "integer", "'many'"]),
        ("model.dtype=float16", ["model.dtype", "'float32' or 'bfloat16'", "'float16'"]),
        ("training.micro_batch_size=5", ["training.micro_batch_size: 5", "16 sequences", "sizes that do: 1, 2, 4, 8"]),
        ("training.updates_per_rollout=3", ["training.steps: 2 is no multiple", "updates_per_rollout 3"]),
        ("sampling.num_generations=1", ["sampling.num_generations", "use at least 2"]),
        ("distributed.strategy=fsdp2", ["fsdp2 on CPU", "strategy: ddp"]),
        ("distributed.strategy=deepspeed", ["deepspeed", "give DeepSpeed's JSON config"]),
        ("tasks.3.use=file", ["expected an index 0 to 0", "'3'"]),
        ("training.steps", ["expected section.key=value"]),
        ("run.seed.deep=1", ["run.seed", "valid integer", "{'deep': 1}"]),
        ("tasks.0.use=fil", ["did you mean 'file'?"]),
        ("tasks=[{use: file, args: {path: nowhere.jsonl}}]", ["nowhere.jsonl: no such file"]),
        ("tasks=[{use: file, args: {path: rows.jsonl, prompt: question}}]", ["no prompt column 'question'", "text"]),
        ("tasks=[{use: file, args: {path: small.yaml}}]", ["expected one of .jsonl", "'.yaml'"]),
        ("tasks.0.args.generator=chain_sums", ["did you mean 'chain_sum'?"]),
        ("rewards.0.use=numerc", ["did you mean 'numeric'?"]),
        ("rewards.0.use=nowhere.py:right", ["no file", "nowhere.py"]),
        ("rewards.0.args={tolerence: 1}", ["no argument 'tolerence'", "did you mean 'tolerance'?"]),
        ("curriculum.use=unifrom", ["did you mean 'uniform'?"]),
        ("curriculum.weight={}", ["no argument 'weight'", "did you mean 'weights'?"]),
        ("diagnostics.0.use=nobody", ["no such name in rltrain.diagnostics", "entropy"]),
        ("tagger.args={pth: x}", ["no argument 'pth'", "did you mean 'path'?"]),
        ("model.path=./nowhere", ["./nowhere", "no such directory"]),
        ("model.path=smolm2/135m/x", ["not a hub id"]),
        ("training.trl={epsilon_hi: 0.3}", ["training.trl.epsilon_hi", "did you mean 'epsilon_high'?"]),
        ("training.trl={temperature: 1}", ["is set by sampling.temperature"]),
        ("training.optimizer=adamw_torch_fussed", ["adamw_torch_fussed is not a valid OptimizerNames"]),
        ("rewards.0.weight=.nan", ["rewards.0.weight", "finite number, got nan"]),
        ("training.learning_rate=.inf", ["training.learning_rate", "finite number, got inf"]),
        ("rewards.0.timeout_s=.inf", ["rewards.0.timeout_s", "finite number, got inf"]),
        ("rewards.0.args={tolerance: .nan}", ["rewards.0.args.tolerance: expected a finite number, got nan"]),
        ("curriculum={use: difficulty, low: .inf}", ["curriculum.low: expected a finite number, got inf"]),
        ("tasks.0.args={size: [1, .inf]}", ["tasks.0.args.size.1: expected a finite number, got inf"]),
        ("training.steps=true", ["training.steps: input should be a number, got True"]),
        ("run.seed=-1", ["run.seed", "greater than or equal to 0, got -1"]),
        ("run.name=..", ["run.name: expected one name under runs/", "'..'"]),
        ("run.name=.", ["run.name: expected one name under runs/"]),
        ("run.name=a/b", ["run.name: expected one name under runs/", "run.dir takes a path"]),
        ("run.name=/tmp/x", ["run.name: expected one name under runs/"]),
        ("sampling.stop=['']", ["sampling.stop.0", "at least 1 character"]),
        ("tasks.0={[a]: 1}", ["line 1: expected a plain key, got a sequence"]),
        ("model.prompt_template='Answer:'", ["model.prompt_template: expected a text with {prompt}", "'Answer:'"]),
        ("model={path: tiny, system: Be brief., prompt_template: 'Q: {prompt}'}", ["has no {system}", "model.system"]),
        (
            "model.lora={targets: [q_pro]}",
            ["no module of tiny is called 'q_pro'", "did you mean 'q_proj'?", "down_proj"],
        ),
        ("model.lora={targets: [q_proj, nowhere]}", ["is called 'nowhere'", "v_proj"]),
        (
            "model.lora={targets: q_proj}",
            ["'q_proj' is a pattern that fits no whole name", "give a list of ends", "o_proj"],
        ),
        ("model.lora={targets: '(('}", ["'((' is no regular expression"]),
        ("sampling.max_prompt_length=4", ["prompts have up to", "max_prompt_length 4", "are too long; raise it"]),
        ("model.path=smollm2-135", ["did you mean 'smollm2-135m'?", "given as owner/name"]),
        ("model.path=tinny", ["no built-in name and no directory here; did you mean 'tiny'?"]),
        (
            "actions=[{event: phase_changd, do: stop}]",
            ["'phase_changd'", "did you mean 'phase_changed'?", "format_coll"],
        ),
        ("run.seed=4294967296", ["run.seed: input should be less than 4294967296"]),
        ("actions=[{at: 9, do: stop}]", ["stop at step 9", "ends at step 2 (training.steps)"]),
        ("actions=[{at: 1, when: {to: planning}, do: stop}]", ["stop at step 1 takes no `when`"]),
        ("advantages={hicra: {start: -3}}", ["advantages.hicra.start: expected a step, 0 or later, or phase2, got -3"]),
        ("training.correction_cap=0.5", ["training.correction_cap", "greater than or equal to 1, got 0.5"]),
        ("training.covariance={method: clip_cov, bounds: [5, 1]}", ["low < high, got [5.0, 1.0]"]),
        ("training.covariance={method: clip_cov, coef: 5}", ["covariance.coef: has no effect with method clip_cov"]),
        ("run.dir=''", ["run.dir: expected the path of a directory"]),
        (f"run.dir=a/{'x' * 300}/b", ["run.dir: expected a name of at most 255 bytes, it has 300"]),
        (f"run.name={'x' * 300}", ["run.name: expected a name of at most 255 bytes, it has 300"]),
        ("training.trl={warmup_steps: -5}", ["training.trl.warmup_steps: expected 0 or more, got -5"]),
        ("training.trl={router_aux_loss_coef: 0.1}", ["router_aux_loss_coef: 0.1 asks to balance experts, and"]),
        ("training.trl={adam_beta2: 1.5}", ["adam_beta2: expected a number from 0 to below 1, got 1.5"]),
        ("training.trl={torch_empty_cache_steps: 0}", ["training.trl.torch_empty_cache_steps: got 0, and TRL says"]),
        (
            "training.trl={lr_scheduler_type: polynomial, lr_scheduler_kwargs: {power: x, pwer: 1}}",
            ["polynomial", "pwer"],
        ),
    ],
)
def test_a_wrong_key_or_value(here, capfd, override, parts):
    Path("rows.jsonl").write_text('{"text": "What is 1 + 1?", "answer": "2"}\n')
    base = ["diagnostics=[{use: reward}]", "curriculum.use=uniform", "tagger.use=lexicon"]
    said = refused(here, capfd, "train", "small.yaml", *base, override)
    for part in parts:
        assert part in said


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("training: {steps: 1", ["bad.yaml, line", "not valid YAML"]),
        ("- a list", ["expected a mapping of sections, got list"]),
        ("run: {seed: 1}\nrun: {seed: 2}", ["line 2", "'run' is given twice"]),
        ("run: {seed: 1}\n? [a]\n: 3", ["bad.yaml, line 2", "expected a plain key, got a sequence"]),
        ("run: {seed: 1}", ["model: missing", "tasks: missing", "training: missing"]),
    ],
)
def test_a_config_that_cannot_be_read(here, capfd, text, parts):
    Path("bad.yaml").write_text(text)
    said = refused(here, capfd, "train", "bad.yaml")
    for part in parts:
        assert part in said


def test_a_config_that_is_not_utf_8(here, capfd):
    Path("bad.yaml").write_bytes(b"run: {}\n# caf\xe9\n")
    assert "bad.yaml, line 2: byte 0xe9 is not UTF-8" in refused(here, capfd, "train", "bad.yaml")


def test_an_override_enters_a_default(here):
    read = config.load("small.yaml", ["diagnostics.0.use=mine", "formats.args={path: x}"])
    default = config.load("small.yaml")
    assert [spec.use for spec in read.diagnostics] == ["mine", *(spec.use for spec in default.diagnostics[1:])]
    assert (read.formats.use, read.formats.args) == (default.formats.use, {"path": "x"})


def test_a_config_that_is_not_there(here, capfd):
    said = refused(here, capfd, "train", "quickstrat.yaml")
    assert "no such file; did you mean 'quickstart.yaml'?" in said


@pytest.mark.parametrize("override", ["run.name=mine", "run.dir=runs/mine"])
def test_a_run_that_is_taken(here, capfd, override):
    synthetic.run(here / "runs" / "mine", steps=1)
    assert "is taken; give another run.name or run.dir" in refused(here, capfd, "train", "small.yaml", override)
    assert cli.main(["check", "small.yaml", override]) == 2
    assert "is taken" in capfd.readouterr().out


@pytest.mark.parametrize("fault", ["burn@3", "kill", "kill@0", "kill@soon"])
def test_a_fault_of_no_known_kind(here, capfd, fault):
    said = refused(here, capfd, "train", "small.yaml", "--twin", "--fault", fault)
    assert f"--fault {fault!r}: expected kind@step" in said
    assert "hang: an engine stops answering" in said


@pytest.mark.parametrize("twin", [["--twin"], []])
def test_a_fault_that_would_never_happen(here, capfd, twin):
    said = refused(here, capfd, "train", "small.yaml", *twin, "--fault", "kill@99")
    assert "--fault 'kill@99': would never happen, this run has steps 1 to 2" in said


def test_a_directory_is_no_config(here, capfd):
    assert "'.': a directory, expected a YAML file; in it: small.yaml" in refused(here, capfd, "train", ".")
    made = synthetic.run(here / "runs" / "mine", steps=1).path
    assert f"give {made / 'config.yaml'}, with --resume {made}" in refused(here, capfd, "train", str(made))
    (here / "empty").mkdir()
    assert "a directory, expected a YAML file, and there is none in it" in refused(here, capfd, "check", "empty")
    # not the shipped one of that name
    assert "elsewhere/quickstart.yaml': no such file" in refused(here, capfd, "check", "elsewhere/quickstart.yaml")


@pytest.mark.parametrize("was_twin", [True, False])
def test_a_twin_and_its_original_do_not_go_on_with_each_other(here, capfd, was_twin):
    loaded = config.load("small.yaml")
    synthetic.run(here / "runs" / "mine", steps=1, config=config.dump(twin(loaded) if was_twin else loaded))
    (here / "runs" / "mine" / "metrics.jsonl").unlink()  # it was killed before its first step
    said = refused(here, capfd, "train", "small.yaml", "--resume", "mine", *([] if was_twin else ["--twin"]))
    assert ("is the run of a twin" if was_twin else "is no twin's run; leave out --twin") in said


def test_a_run_that_made_no_step_is_not_taken_over_by_another_config(here, capfd):
    synthetic.run(here / "runs" / "mine", steps=1, config=config.dump(config.load("small.yaml")))
    (here / "runs" / "mine" / "metrics.jsonl").unlink()
    said = refused(here, capfd, "train", "small.yaml", "run.seed=3", "--resume", "mine")
    assert "of another config: run.seed was 0, is 3" in said


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("sampling.max_prompt_length=4", "are too long; raise it"),
        ("model.lora={targets: [q_pro]}", "did you mean 'q_proj'?"),
        ("model.path=tinny", "did you mean 'tiny'?"),
        ("model.path=nobody/nothing", None),
        ("model.path=./on-the-cluster", None),
        ("rollouts={engine: vllm}", None),
        ("sampling={max_prompt_length: 5000}", None),
    ],
)
def test_a_twin_does_not_hide_what_is_wrong_with_the_model_it_replaces(here, override, part):
    asked = config.load("small.yaml", [override, "diagnostics=[{use: reward}]"])
    found = "; ".join(errors(check.look(twin(asked), asked=asked, tried=False)))
    assert part in found if part else not found


def test_nothing_to_resume(here, capfd):
    assert "no run of 'small' under runs/" in refused(here, capfd, "train", "small.yaml", "--resume")
    assert "no such directory" in refused(here, capfd, "train", "small.yaml", "--resume", "small-007")
    # an override after --resume is no run's name
    assert "no run of 'small' under runs/" in refused(here, capfd, "train", "small.yaml", "--resume", "run.seed=3")


def test_a_checkpoint_of_another_config(here, capfd):
    made = synthetic.run(here / "runs" / "small-001", steps=4, config=config.dump(config.load("small.yaml")))
    made.checkpoints.mkdir()
    path = checkpoint.path_of(made.checkpoints, 2)
    path.mkdir()
    other = config.load("small.yaml", ["training.learning_rate=1e-3"])
    checkpoint.seal(path, {}, step=2, fingerprint=fingerprint(other))
    said = refused(here, capfd, "train", "small.yaml", "--resume")
    assert "of another config: training.learning_rate was 0.001, is 1e-06" in said
    assert "Resume with the run's own config.yaml" in said


def test_eval_of_what_is_not_there(here, capfd):
    assert "give its tasks and rewards by --config" in refused(here, capfd, "eval", "small-001")
    said = refused(here, capfd, "eval", "tiny", "--config", "small.yaml", "--num-generations", "0")
    assert "expected at least 1" in said


@pytest.mark.parametrize("command", ["status", "report"])
def test_a_run_that_is_not_there(here, capfd, command):
    assert "no such directory" in refused(here, capfd, command, "nobody-001")


def test_an_unknown_kind_of_plugin(here, capfd):
    assert "expected one of rewards, curricula" in refused(here, capfd, "plugins", "rewrads")


def test_check_names_all_errors_and_ends_with_2(here, capfd):
    assert cli.main(["check", "small.yaml", "rewards.0.use=numerc", "tagger.use=lexikon"]) == 2
    out = " ".join(capfd.readouterr().out.split())  # as wide as the terminal, so breaks are anywhere
    assert "did you mean 'numeric'?" in out
    assert "did you mean 'lexicon'?" in out
    assert "2 error(s)" in out
    assert cli.main(["check", "small.yaml"]) == 0


def test_verbose_shows_the_traceback(here, capfd):
    assert cli.main(["train", "nowhere.yaml", "-v"]) == 2
    assert "Traceback" in capfd.readouterr().err


@pytest.mark.parametrize("arguments", [["train"], ["fly"], ["status", "x", "--fast"], ["status", "x", "y"]])
def test_arguments_that_no_command_takes(arguments, capfd):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert "usage: rltrain" in capfd.readouterr().err


def test_overrides_may_stand_on_both_sides_of_an_option(here, capfd):
    said = refused(here, capfd, "train", "small.yaml", "run.seed=1", "--twin", "training.stepps=3")
    assert "did you mean 'steps'?" in said


@pytest.mark.parametrize(("redirected", "status", "said"), [("| true", 0, ""), (">/dev/full", 1, "No space left")])
def test_an_output_that_nobody_reads_ends_a_command_without_a_traceback(here, redirected, status, said):
    command = f"{sys.executable} -m rltrain plugins {redirected}; exit ${{PIPESTATUS[0]}}"
    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert ran.returncode == status
    assert said in ran.stderr and "Traceback" not in ran.stderr and "Exception ignored" not in ran.stderr


def test_a_finished_process_has_the_same_status(here):
    ran = subprocess.run(
        [sys.executable, "-m", "rltrain", "check", "small.yml"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    assert "did you mean" in ran.stderr or "no such file" in ran.stderr
    assert json.dumps(ran.stderr).count("\\n") == 1


def test_a_twin_s_config_is_a_config(here):
    Path("twin.yaml").write_text(config.dump(twin(config.load("small.yaml"))))
    assert cli.main(["check", "twin.yaml"]) == 0
