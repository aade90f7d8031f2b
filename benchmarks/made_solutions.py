"""Solutions made of known parts: planning phrases of eight moves among the sentences of six kinds of problems.

Ground truth for the gram miner. A planning phrase stands in every kind of problem, with changing lead words and
followed by words of the problem; a sentence that executes belongs to a kind, and some stand in all kinds too
("the final answer is"), which no frequency can tell from a plan.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

MOVES: Mapping[str, Sequence[str]] = {
    "set out": ("we need to find", "the goal is to find", "let's break this down", "we are asked to find"),
    "order": ("first we need to", "the next step is to", "once we know that", "before we can find it we"),
    "method": (
        "we can use the fact that",
        "a good way to do this is",
        "let's try working backwards",
        "one way to do this",
    ),
    "branch": ("alternatively we could try", "let's consider the case where", "there are two possibilities here"),
    "deduce": ("this means that we have to", "so it is enough to", "which tells us that we", "so we need to know"),
    "doubt": ("wait that doesn't seem right", "but the problem says that", "let me read it again", "hold on a minute"),
    "check": ("let's verify this by", "to double check we can", "does this make sense", "let me check that again"),
    "commit": ("that is all we need", "now we can put it together", "putting this all together we"),
}
LEADS = ("", "", "", "So ", "Okay, ", "Hmm, ", "Now ", "Well, ")
OBJECTS: Mapping[str, Sequence[str]] = {
    "shop": (
        "the total cost of the {thing}",
        "how much {name} pays",
        "what the {thing} cost",
        "the money that is left",
    ),
    "road": ("the speed of the train", "how far {name} drives", "the time of the trip", "the distance to the lake"),
    "shape": ("the area of the circle", "the length of each side", "how large the angle is", "the missing perimeter"),
    "letters": ("how often {letter} appears", "the number of vowels", "which letters repeat", "the letter {letter}"),
    "age": ("how old {name} is", "the age of {name} today", "when both are {n}", "the years between them"),
    "work": ("how fast {name} paints", "the work of one day", "when the tank is full", "the liters per hour"),
}
KINDS: Mapping[str, Sequence[str]] = {
    "shop": (
        "{name} buys {n} {thing} for {n} dollars each.", "The total cost is {n} * {n} = {n} dollars.",
        "The price of the {thing} is {n} dollars.", "After the discount {name} pays {n} dollars.",
        "{name} gets {n} dollars back from the shop.",
    ),
    "road": (
        "The train travels {n} miles in {n} hours.", "The speed of the train is {n} miles per hour.",
        "{name} drives {n} miles from the city to the lake.", "The distance is speed times time, {n} * {n} = {n}.",
        "At this speed the trip takes {n} hours.",
    ),
    "shape": (
        "The area of the rectangle is {n} * {n} = {n}.", "The radius of the circle is {n} cm.",
        "The sides of the triangle are {n}, {n} and {n}.", "The perimeter is the sum of all sides, {n} cm.",
        "Each angle of the polygon is {n} degrees.",
    ),
    "letters": (
        "The letter {letter} appears {n} times in the word.", "The word has {n} letters and {n} vowels.",
        "Counting the letters one by one gives {n}.", "The first letter of the word is {letter}.",
        "In the given text there are {n} of them.",
    ),
    "age": (
        "{name} is {n} years older than {name}.", "In {n} years {name} will be {n} years old.",
        "Let x be the age of {name} now.", "The sum of their ages is {n} years.",
        "{name} was {n} years old when {name} was born.",
    ),
    "work": (
        "{name} paints the house in {n} days.", "Together they finish the work in {n} days.",
        "In one day {name} does 1/{n} of the work.", "The pump fills {n} liters per minute.",
        "The tank holds {n} liters of water in all.",
    ),
}  # fmt: skip
COMMON = ("So {n} + {n} = {n}.", "That gives {n} in all.", "The final answer is {n}.", "Therefore the answer is {n}.")
FILLERS = {
    "name": ("Ann", "Bob", "Carla", "Deng", "Eva", "Farid", "Gita", "Hugo"),
    "thing": ("apples", "pens", "books", "shirts", "tickets", "cups", "lamps", "stamps"),
    "letter": ("a", "b", "e", "m", "s", "t"),
}


class Made(NamedTuple):
    """A solution with its truth."""

    problem: str
    text: str
    spans: list[tuple[int, int]]  # characters of the planning phrases
    moves: list[str]  # of each span


def solutions(count: int, per_problem: int = 4, seed: int = 0, moves: Sequence[str] = tuple(MOVES)) -> list[Made]:
    """`count` solutions that use these moves; `per_problem` of them share a problem's names and numbers."""
    rng, made = random.Random(seed), []
    for i in range(count):
        own = random.Random(seed * 100_003 + i // per_problem)
        kind = own.choice(list(KINDS))
        sentences = [_filled(template, own) for template in own.sample(KINDS[kind], 4)]
        objects = [_filled(template, own) for template in OBJECTS[kind]]
        made.append(_written(f"{kind}/{i // per_problem}", sentences, objects, moves, rng))
    return made


def _written(
    problem: str, sentences: Sequence[str], objects: Sequence[str], moves: Sequence[str], rng: random.Random
) -> Made:
    """A solution of sentences with planning phrases, each about an object, before and between them."""
    text, spans, made = "", [], []
    for sentence in [*sentences, _filled(rng.choice(COMMON), rng)]:
        if rng.random() < 0.6:
            move = rng.choice(moves)
            phrase = rng.choice(MOVES[move])
            lead = rng.choice(LEADS)
            said = phrase if lead.strip() else phrase[0].upper() + phrase[1:]
            start = len(text) + len(lead)
            text += f"{lead}{said} {rng.choice(objects)}. "
            spans.append((start, start + len(said)))
            made.append(move)
        text += sentence + rng.choice((" ", " ", "\n"))
    return Made(problem, text.strip(), spans, made)


def _filled(template: str, rng: random.Random) -> str:
    while "{n}" in template:
        template = template.replace("{n}", str(rng.randint(2, 99)), 1)
    for slot, fillers in FILLERS.items():
        while f"{{{slot}}}" in template:
            template = template.replace(f"{{{slot}}}", rng.choice(fillers), 1)
    return template
