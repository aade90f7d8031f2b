"""Tasks and rewards that do to a run whatever the task says, for half of the completions."""

import os
import signal
import time
import zlib

KINDS = ("fine", "raise", "hang", "deaf", "nan", "type", "length", "grow", "fork", "print", "die", "interrupt")
TOLD = {  # kind -> first word of the error
    **{"raise": "Raised", "hang": "Timeout", "deaf": "Timeout", "nan": "NotFinite", "type": "WrongType"},
    **{"length": "WrongLength", "grow": "Raised", "die": "WorkerDied", "interrupt": "Raised"},
}
DEADLY = ("deaf", "die")  # these end their process; a group whose first three completions do so is given up


def tasks():
    pairs = [(kind, i) for i in range(2) for kind in KINDS if not (i and kind in DEADLY)]
    return [{"prompt": f"{kind} {i}", "answer": str(i), "does": kind} for kind, i in pairs]


def guilty(text):
    """Whether the reward misbehaves over this completion."""
    return zlib.crc32(text.encode()) % 2 == 0


def value(task, completion):
    does = task.meta["does"] if guilty(completion.text) else "fine"
    if does == "raise":
        raise KeyError("no such thing")
    if does == "interrupt":
        raise KeyboardInterrupt
    if does == "hang":
        time.sleep(60)
    if does == "deaf":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        time.sleep(60)
    if does == "nan":
        return float("nan")
    if does == "type":
        return "good"
    if does == "grow":
        return float(len(bytearray(1 << 42)))
    if does == "fork":
        for _ in range(3):
            os.fork()
    if does == "print":
        for _ in range(4):  # over the run these are half a gigabyte and more
            print("x" * (1 << 16))
            os.write(1, b"x" * (1 << 24))
    if does == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return 1.0


def values(task, completions):
    return [0.0] * (len(completions) - (task.meta["does"] == "length"))
