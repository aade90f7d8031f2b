"""Engine and trainer on real vLLM: they agree after any push of weights, and a planted mismatch is named."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from rltrain import config, tickets
from rltrain.batch import Row
from rltrain.models import load_model, load_tokenizer, locate, render
from rltrain.rollouts import parity
from rltrain.rollouts.spec import EngineSpec
from rltrain.rollouts.weights import named_weights, pack, unpack
from rltrain.types import Group, Sampling, Task

TASKS = [
    Task(f"t/{i}", "t", "structured", ({"role": "user", "content": f"Say the number {i} and why."},)) for i in range(6)
]


def host_class():
    """Made in a function: Ray then sends the class itself; its workers cannot import a test file."""

    class Host:
        """An engine in an actor of its own."""

        def __init__(self, spec: EngineSpec) -> None:
            self.engine = spec.build()

        def load(self, version, packed):
            return self.engine.load(version, unpack(packed))

        def sample(self, batch):
            for ticket in batch:
                self.engine.submit(ticket)
            found = {}
            while self.engine.unfinished():
                found |= {f.ticket_id: f.completions for f in self.engine.poll()}
            return [found[ticket.id] for ticket in batch]

    return Host


@pytest.fixture(scope="module")
def engines(ray_session):
    """Real vLLM engines by (model, dtype), each started once."""
    actors = {}

    def get(model: str = "tiny", dtype: str = "float32"):
        if (model, dtype) not in actors:
            spec = EngineSpec("vllm", str(locate(model)), dtype, max_model_len=256, slots=16, threads=1)
            options = {"num_cpus": 0, "runtime_env": {"env_vars": spec.environment()}}
            actors[model, dtype] = ray_session.remote(host_class()).options(**options).remote(spec)
        return actors[model, dtype]

    yield get
    for actor in actors.values():
        ray_session.kill(actor)


def trainer(model: str = "tiny", dtype: str = "float32", tmp=None):
    from rltrain.trainer import RLTrainer

    loaded = config.load(
        "quickstart", [f"model.path={model}", f"model.dtype={dtype}", "distributed.threads=1", "training.steps=1"]
    )
    return RLTrainer(loaded, load_model(model, "float32"), load_tokenizer(model), tmp)


def move(model: torch.nn.Module, by: float, seed: int = 0) -> None:
    """Add noise of `by` standard deviations to every weight."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            spread = parameter.std() if parameter.numel() > 1 else 0.0
            parameter.add_(torch.randn(parameter.shape, generator=generator) * spread * by)


def issue(model: str, sampling: Sampling, render_with=None):
    tokenizer = load_tokenizer(model)
    office = tickets.TicketOffice(
        render_with or (lambda messages: render(tokenizer, messages)), seed=3, max_prompt=200, long_prompts="error"
    )
    return office.issue(TASKS, num_samples=2, sampling=sampling, version=1)


def sampled(ray, engine, batch) -> list[Group]:
    return [
        Group(ticket.id, ticket.task, ticket.prompt_ids, completions)
        for ticket, completions in zip(batch, ray.get(engine.sample.remote(batch)), strict=True)
    ]


def push(ray, engine, model: torch.nn.Module, dtype=torch.float32) -> None:
    packed, digest = pack(named_weights(model, dtype))
    assert ray.get(engine.load.remote(1, packed)) == digest


def views(side) -> parity.Views:
    return parity.Views(
        side.logprobs,
        lambda rows: side.logprobs(rows, "bfloat16"),
        lambda rows: side.logprobs(rows, "float32"),
        side.logits,
    )


RUN = Sampling(temperature=1.0, max_tokens=48)


@pytest.mark.parametrize("model", ["tiny", "tiny-untied"])
@pytest.mark.parametrize("sampling", [RUN, Sampling(0.7, top_p=0.9, max_tokens=32)], ids=["plain", "t=0.7, top-p 0.9"])
def test_log_probs_agree_after_a_large_push(engines, ray_session, tmp_path, model, sampling):
    side = trainer(model, tmp=tmp_path)
    side.temperature = sampling.temperature
    move(side.model, 0.5)
    push(ray_session, engines(model), side.model)
    rows = parity.rows(sampled(ray_session, engines(model), issue(model, sampling)))
    seen = side.logprobs(rows)
    if sampling.top_p < 1:
        seen = parity.under(side.logits(rows), rows, sampling.temperature, sampling.top_p)
    gap = max(np.abs(row.logprobs - logp).max() for row, logp in zip(rows, seen, strict=True))
    assert gap < 1e-5
    assert parity.check(rows, views(side), parity.FLOOR, sampling.temperature, sampling.top_p).gap < 1e-5


PLANTED = {
    "another temperature": (dataclasses.replace(RUN, temperature=0.7), "another temperature: 0.707 fits"),
    "top-p unaccounted": (dataclasses.replace(RUN, top_p=0.8), "truncates its support: top-p 0.8 fits"),
}


@pytest.mark.parametrize("actual, cause", PLANTED.values(), ids=PLANTED)
def test_other_sampling_is_named(engines, ray_session, tmp_path, actual, cause):
    side = trainer(tmp=tmp_path)
    move(side.model, 0.5, seed=1)  # a random model of small weights is flat: every temperature looks alike
    push(ray_session, engines(), side.model)
    rows = parity.rows(sampled(ray_session, engines(), issue("tiny", actual)))
    with pytest.raises(parity.ParityError, match=cause):
        parity.check(rows, views(side), parity.FLOOR, RUN.temperature, RUN.top_p)


def test_another_dtype_is_named(engines, ray_session, tmp_path):
    side = trainer(tmp=tmp_path)
    move(side.model, 0.5, seed=1)
    engine = engines("tiny", "bfloat16")
    push(ray_session, engine, side.model, torch.bfloat16)
    rows = parity.rows(sampled(ray_session, engine, issue("tiny", RUN)))
    with pytest.raises(parity.ParityError, match="another dtype"):
        parity.check(rows, views(side), parity.measure_bound(rows, views(side), rounded=False), 1.0)
    # where bfloat16 is what the config says, the same gap is within the measured bound
    bound = parity.measure_bound(rows, views(side), rounded=True)
    assert parity.check(rows, views(side), bound, 1.0).gap < bound


def test_weights_of_another_checkpoint_are_named(engines, ray_session, tmp_path):
    side, other = trainer(tmp=tmp_path), load_model("tiny", "float32")
    move(side.model, 0.5, seed=1)
    move(other, 0.5, seed=2)
    push(ray_session, engines(), other)
    rows = parity.rows(sampled(ray_session, engines(), issue("tiny", RUN)))
    for rounded in (False, True):
        bound = parity.measure_bound(rows, views(side), rounded=rounded)
        with pytest.raises(parity.ParityError, match="other weights"):
            parity.check(rows, views(side), bound, 1.0)


def test_another_chat_template_is_named(engines, ray_session, tmp_path):
    side = trainer(tmp=tmp_path)
    push(ray_session, engines(), side.model)
    tokenizer = load_tokenizer("tiny")
    other = load_tokenizer("tiny")
    other.chat_template = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}"
    groups = sampled(ray_session, engines(), issue("tiny", RUN, lambda messages: render(other, messages)))
    with pytest.raises(parity.ParityError, match="another chat template"):
        parity.prompts_agree(groups, lambda messages: render(tokenizer, messages))
    parity.prompts_agree(sampled(ray_session, engines(), issue("tiny", RUN)), lambda m: render(tokenizer, m))


def test_a_stale_output_head_does_not_slip_through(engines, ray_session, tmp_path):
    """vLLM's CPU loader keeps the old head of a tied model when it is not sent under its own name."""
    side = trainer(tmp=tmp_path)
    move(side.model, 0.5, seed=4)
    engine = engines()
    packed, _ = pack(pair for pair in named_weights(side.model) if pair[0] != "lm_head.weight")
    ray_session.get(engine.load.remote(1, packed))
    rows = parity.rows(sampled(ray_session, engine, issue("tiny", RUN)))
    with pytest.raises(parity.ParityError, match="other weights"):
        parity.check(rows, views(side), parity.FLOOR, 1.0)


def test_the_same_seed_gives_the_same_samples(engines, ray_session, tmp_path):
    push(ray_session, engines(), trainer(tmp=tmp_path).model)
    first, second = (sampled(ray_session, engines(), issue("tiny", RUN)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        for a, b in zip(one.completions, other.completions, strict=True):
            assert a.text == b.text
            assert np.array_equal(a.logprobs, b.logprobs)
    texts = {c.text for group in first for c in group.completions}
    assert len(texts) == 12  # and different samples within


def test_stop_strings_end_a_completion(engines, ray_session, tmp_path):
    push(ray_session, engines(), trainer(tmp=tmp_path).model)
    long = sampled(ray_session, engines(), issue("tiny", RUN))
    said = "".join(c.text for g in long for c in g.completions)
    character = next(c for c in said if c.isascii() and c.isalnum())
    groups = sampled(ray_session, engines(), issue("tiny", dataclasses.replace(RUN, stop=(character,))))
    ended = [c for g in groups for c in g.completions if character in c.text]
    assert ended
    assert all(c.text.index(character) == len(c.text) - 1 and c.finish_reason == "stop" for c in ended)


def test_top_k_and_then_top_p_among_the_kept():
    p = np.array([0.4, 0.3, 0.2, 0.1])
    row = Row((0, 0), np.zeros(1, np.int32), np.array([1], np.int32), np.zeros(1), np.zeros(1))
    logits = [np.log(p)[None] * 2]  # at temperature 2 they are p again

    def prob(top_p, top_k):
        return float(np.exp(parity.under(logits, [row], 2.0, top_p, top_k)[0][0]))

    assert prob(1.0, 0) == pytest.approx(0.3)
    assert prob(1.0, 3) == pytest.approx(0.3 / 0.9)
    assert prob(0.75, 0) == pytest.approx(0.3 / 0.9)  # 0.4 + 0.3 do not reach 0.75
    assert prob(0.75, 3) == pytest.approx(0.3 / 0.7)  # of the three that are left they do
