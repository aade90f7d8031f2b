"""Fails while it is imported, on line 5."""

SIZE = 3

SIZE.append(4)


def reward(task, completion):
    return 1.0
