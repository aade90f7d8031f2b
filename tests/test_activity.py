"""Seconds of an engine's activities: they add up, whoever reports them and however late."""

import math

import pytest

from rltrain.rollouts.activity import Activity
from rltrain.rollouts.slot import Slot
from rltrain.rollouts.spec import EngineSpec


def test_an_engine_turns_from_one_thing_to_the_next():
    engine = Activity(10)
    engine.turn("idle", 13)
    engine.turn("loading", 14)
    engine.turn("generating", 14.5)
    assert engine.take(15) == {"starting": 3, "idle": 1, "loading": 0.5, "generating": 0.5}
    assert engine.take(15) == {}
    assert engine.take(17) == {"generating": 2}


def test_what_a_report_does_not_account_for_is_what_was_done_before():
    place = Activity(0)
    place.turn("idle", 5, {"starting": 1.0})  # the process took the other four to come up
    assert place.take(5) == {"starting": 5}
    place.turn("idle", 8, {"idle": 1.0, "generating": 1.9})  # a tenth of a second on its way
    assert place.take(8) == pytest.approx({"idle": 1.1, "generating": 1.9})


def test_a_later_report_corrects_what_was_counted_meanwhile():
    place = Activity(0)
    place.turn("idle", 1)
    assert place.take(3) == {"starting": 1, "idle": 2}
    place.turn("generating", 4, {"idle": 0.5, "generating": 2.5})  # it had begun long before the step ended
    first = place.take(4)
    assert first == {"generating": 2.5}  # and not less than nothing of the rest
    second = place.take(10)
    whole = math.fsum([3, *first.values(), *second.values()])
    assert second["generating"] == 6 and whole == 11.5  # 1.5 s of idleness stay too much until it idles again
    place.turn("idle", 10)
    assert place.take(13) == {"idle": 1.5}


def test_a_replaced_engine_goes_on_in_its_place():
    slot = Slot(EngineSpec("twin", "tiny", "float32", 64, name="engine-7"), activity=Activity(0))
    slot.activity.turn("generating", 2, {"starting": 2})
    slot.tokens = 30
    slot.activity.turn("starting", 5)  # lost three seconds after its last report
    slot.activity.turn("idle", 9, {"starting": 1})
    assert slot.spent(10) == {
        "engine/starting_s@engine-7": 6,
        "engine/loading_s@engine-7": 0,
        "engine/generating_s@engine-7": 3,
        "engine/idle_s@engine-7": 1,
        "engine/tokens_per_s@engine-7": 10,
    }
    assert "engine/tokens_per_s@engine-7" not in slot.spent(11)
