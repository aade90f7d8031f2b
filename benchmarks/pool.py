"""The rollout pool against the same vLLM engine called directly: tokens per second on the same tickets.

One engine in one actor serves both, in turn: through the pool (tickets from the driver, groups back to
it, versions checked, text and offsets made), and by vLLM's own `generate` on all tickets at once. Same
seeds, so both sample the same tokens.
"""

from __future__ import annotations

import time

from ray.util.queue import Queue

from benchmarks.engines import START_S, one_engine, policy
from benchmarks.measure import MODEL, Result, Series, Tick, config, in_turn
from rltrain import tasks
from rltrain.build import spread
from rltrain.models import load_tokenizer, render
from rltrain.rollouts.pool import RolloutPool
from rltrain.tickets import TicketOffice
from rltrain.types import Sampling, Ticket

REPEATS = 9
GROUPS = 16  # of 8 samples each: twice the engine's slots
WARMUP = 1


def ticks(repeats: int) -> int:
    """Notches of the progress bar."""
    return 2 * (WARMUP + repeats)


def measure(repeats: int, tick: Tick) -> Result:
    """Tokens per second, both ways."""
    tickets = make_tickets()
    with one_engine(policy()) as pool:
        answers = Queue(actor_options={"num_cpus": 0})
        ways = {
            "rltrain pool": lambda: pooled(pool, tickets, answers),
            "vLLM generate": lambda: direct(pool, tickets, answers),
        }
        found = in_turn(ways, repeats, tick, warmup=WARMUP)
    series = {name: Series("tokens/s", values) for name, values in found.items()}
    ratio = series["rltrain pool"].median / series["vLLM generate"].median
    return Result({"pool_ratio": ratio}, series, {"completions": GROUPS * tickets[0].num_samples})


def make_tickets() -> list[Ticket]:
    """Requests as a run makes them."""
    settings, tokenizer = config(), load_tokenizer(MODEL)
    office = TicketOffice(lambda prompt: render(tokenizer, prompt), seed=0, max_prompt=256, long_prompts="error")
    prompts = spread(tasks.build(settings.tasks, seed=0, twin=False).train, GROUPS)
    sampling = Sampling(max_tokens=settings.sampling.max_completion_length)
    return office.issue(prompts, num_samples=settings.sampling.num_generations, sampling=sampling, version=0)


def pooled(pool: RolloutPool, tickets: list[Ticket], answers: Queue) -> float:
    """Tokens per second through the pool, from request to the last group in the driver."""
    forget(pool, answers)
    begun = time.perf_counter()
    pool.submit(tickets)
    groups = []
    while len(groups) < len(tickets):
        groups += pool.wait(1.0)
    taken = time.perf_counter() - begun
    return sum(len(completion.token_ids) for _, completions in groups for completion in completions) / taken


def direct(pool: RolloutPool, tickets: list[Ticket], answers: Queue) -> float:
    """Tokens per second of vLLM's own `generate` in the engine's process, measured there."""
    forget(pool, answers)
    pool.call("direct", tickets, answers)
    taken, tokens = answers.get(timeout=START_S)
    return tokens / taken


def forget(pool: RolloutPool, answers: Queue) -> None:
    """An engine without cached prompts."""
    pool.call("forget", answers)
    answers.get(timeout=START_S)
