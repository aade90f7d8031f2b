"""Rewards that behave and misbehave, for the tests."""

import asyncio
import os
import re
import signal
import sys
import time

from rltrain.types import Score


def length(task, completion, *, scale=1.0):
    return scale * len(completion.text)


def of_group(task, completions):
    longest = max(len(c.text) for c in completions)
    return [{"value": len(c.text) / longest, "longest": longest} for c in completions]


def trl_form(completions, answer, completion_ids, **columns):
    assert len(columns["prompts"]) == len(completions) == len(completion_ids)
    return [float(c[0]["content"] == a) for c, a in zip(completions, answer, strict=True)]


def trl_short(completions, hint):
    return [float(h in c[0]["content"]) for c, h in zip(completions, hint, strict=True)]


async def slow_but_together(task, completion):
    await asyncio.sleep(0.05)
    return float(completion.text == task.answer)


async def trl_async(completions, **columns):
    await asyncio.sleep(0)
    return [1.0 for _ in completions]


async def cancelled(task, completion):
    if completion.text == "cancel":
        raise asyncio.CancelledError
    return 1.0


async def cancelled_group(task, completions):
    raise asyncio.CancelledError


def lazy(task, completions):
    yield 1.0
    raise KeyError("late")


def judged(task, completion, judge):
    return float(judge.generate([completion.text], max_tokens=1, temperature=0.0)[0])


def scored(task, completion):
    return Score(outcome=0.5, parts={"style": 2.0})


class Mute(Exception):
    def __str__(self):
        return self.nothing


def says(task, completion):
    """Does what the completion says."""
    told = completion.text
    if told == "raise":
        raise KeyError("first line\nsecond line")
    if told == "interrupt":
        raise KeyboardInterrupt
    if told == "exit":
        sys.exit(3)
    if told == "nan":
        return float("nan")
    if told == "huge":
        return 10**400
    if told == "mute":
        raise Mute
    if told == "text":
        return "0.5"
    if told == "none":
        return None
    if told == "no value":
        return {"style": 1.0}
    if told == "loop":
        while True:
            pass
    if told == "regex":
        re.match(r"(a+)+$", "a" * 40 + "b")
    if told == "deaf":  # hears no signal, and waits
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        time.sleep(60)
    if told == "die":
        os._exit(3)
    return 1.0


def says_group(task, completions):
    return [1.0] * (len(completions) - 1)


def counts(task, completion, *, path):
    """Leaves a mark for each call."""
    with open(path, "a") as file:
        file.write(f"{task.key}\n")
    return 1.0


def reads_tokens(task, completion):
    return float(sum(completion.token_ids.tolist()))


class NotAFunction:
    pass


HELD = []


def grows(task, completion):
    HELD.append(bytearray(64 << 20))
    return 1.0


def misbehaves(task, completion):
    if completion.text == "block":
        return float(len(bytearray(1 << 40)) > 0)
    if completion.text == "fork":
        os.fork()
    if completion.text.startswith("leave") and os.fork() == 0:
        with open(completion.text.removeprefix("leave "), "w") as file:
            file.write(str(os.getpid()))
        time.sleep(600)
    if completion.text == "print":
        for _ in range(1000):
            print("x" * (1 << 20))
            os.write(2, b"x" * (1 << 20))
    if completion.text == "close":
        os.closerange(0, 3)
    return 1.0
