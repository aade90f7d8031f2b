"""Code that tries to get out, to exhaust or to see what it should not; and the reward that runs it."""

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from rewards.code import code, program
from rewards.sandbox import pool
from rewards.sandbox.cases import Call, Check, Program, alike, read
from rewards.sandbox.pool import Limits, Sandbox, SandboxUnavailable
from rltrain.types import Completion, Task

QUICK = Limits(seconds=20, memory_mb=128)
MODES = ("namespaces", "landlock")


@pytest.fixture(scope="module", params=MODES)
def sandbox(request):
    """One warm server for each way of shutting it in; where this machine has only one, the other is skipped."""
    some = Sandbox((request.param,))
    try:
        some.run({"code": "", "stdin": ""}, QUICK)
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    yield some
    some.close()


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """What there is to reach: a secret file, a secret in the environment, a listener, a process."""
    folder = tmp_path_factory.mktemp("host")
    (folder / "secret.txt").write_text("SECRET")
    os.environ["RLTRAIN_TEST_SECRET"] = "SECRET"
    listener = socket.create_server(("127.0.0.1", 0))
    local = socket.socket(socket.AF_UNIX)
    local.bind(str(folder / "socket"))
    local.listen()
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind("\0rltrain-sandbox-test")
    abstract.listen()
    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    log.bind(str(folder / "log"))
    yield {"folder": folder, "port": listener.getsockname()[1], "pid": victim.pid, "victim": victim}
    victim.kill()
    victim.wait()
    for some in (listener, local, abstract, log):
        some.close()
    del os.environ["RLTRAIN_TEST_SECRET"]


# Each tries one thing and says OUT where it worked. {folder}, {port} and {pid} are the host's.
ATTEMPTS = {
    # files
    "read a file": "print('OUT' if open('{folder}/secret.txt').read() else '')",
    "read passwords": "print('OUT' if open('/etc/passwd').read() else '')",
    "read by descriptor": "import os; print('OUT' if os.read(os.open('{folder}/secret.txt', 0), 9) else '')",
    "climb out of the folder": "print('OUT' if open('../../../../../../etc/hostname').read() else '')",
    "list a folder": "import os; print('OUT' if os.listdir('{folder}') else '')",
    "list the root's home": "import os; print('OUT' if os.listdir('/root') else '')",
    "write a file": "open('{folder}/new', 'w').write('x'); print('OUT')",
    "append to a file": "open('{folder}/secret.txt', 'a').write('x'); print('OUT')",
    "truncate a file": "import os; os.truncate('{folder}/secret.txt', 0); print('OUT')",
    "remove a file": "import os; os.remove('{folder}/secret.txt'); print('OUT')",
    "rename a file": "import os; os.rename('{folder}/secret.txt', '{folder}/x'); print('OUT')",
    "link a file": "import os; os.link('{folder}/secret.txt', '/tmp/x'); print('OUT')",
    "follow a link": "import os; os.symlink('{folder}/secret.txt', '/tmp/x'); open('/tmp/x').read(); print('OUT')",
    "change the library": "import os; open(os.__file__, 'a').write(''); print('OUT')",
    "make a device": "import os, stat; os.mknod('/tmp/sda', stat.S_IFBLK | 0o666, os.makedev(8, 0)); print('OUT')",
    "open a disk": "open('/dev/vda', 'rb').read(1); print('OUT')",
    "open a terminal": "open('/dev/tty', 'w').write('x'); print('OUT')",
    "read the kernel's memory": "open('/dev/mem', 'rb').read(1); print('OUT')",
    "write to /proc": "open('/proc/sys/kernel/hostname', 'w').write('x'); print('OUT')",
    "sysfs": "import os; os.listdir('/sys/kernel'); print('OUT')",
    "chroot": "import os; os.chroot('/tmp'); print('OUT')",
    # secrets
    "environment": "import os; print('OUT' if 'SECRET' in str(os.environ) else '')",
    "parent's environment": "print('OUT' if b'SECRET' in open('/proc/{pid}/environ', 'rb').read() else '')",
    "own environment": "print('OUT' if open('/proc/self/environ').read() else '')",
    "environment by C": (
        "import ctypes; f = ctypes.CDLL(None).getenv; f.restype = ctypes.c_char_p; "
        "print('OUT' if f(b'RLTRAIN_TEST_SECRET') else '')"
    ),
    "server's memory": "import os; open('/proc/%d/mem' % os.getppid(), 'rb').read(1); print('OUT')",
    "open descriptors": (
        "import os\nfor fd in range(4, 1024):\n    try:\n        os.fstat(fd); print('OUT')\n"
        "    except OSError:\n        pass"
    ),
    "command line of processes": "import os; print('OUT' if os.listdir('/proc') else '')",
    "memory of a process": (
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        "print('OUT' if libc.process_vm_readv({pid}, None, 0, None, 0, 0) >= 0 else '')"
    ),
    "trace a process": "import ctypes; print('OUT' if ctypes.CDLL(None).ptrace(16, {pid}, 0, 0) == 0 else '')",
    # network
    "loopback": "import socket; socket.create_connection(('127.0.0.1', {port}), 1); print('OUT')",
    "listen": "import socket; socket.create_server(('127.0.0.1', 0)); print('OUT')",
    "datagram": (
        "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9)); print('OUT')"
    ),
    "unix socket": "import socket; socket.socket(socket.AF_UNIX).connect('{folder}/socket'); print('OUT')",
    "abstract socket": "import socket; socket.socket(socket.AF_UNIX).connect('\\0rltrain-sandbox-test'); print('OUT')",
    "raw socket": "import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1); print('OUT')",
    "datagram from a pair": (
        "import socket\npair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "pair[0].sendto(b'x', '{folder}/log'); print('OUT')"
    ),
    "netlink": "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); print('OUT')",
    "web": "import urllib.request as u; u.urlopen('http://127.0.0.1:{port}', timeout=1); print('OUT')",
    # processes
    "signal a process": "import os; os.kill({pid}, 9); print('OUT')",
    "signal the server": "import os; os.kill(os.getppid(), 9); print('OUT')",
    "signal everything": "import os; os.kill(-1, 9); print('OUT')",
    "signal by a thread's id": "import ctypes; print('OUT' if ctypes.CDLL(None).syscall(200, {pid}, 9) == 0 else '')",
    "signal by a file's owner": (
        "import fcntl, os\nr, w = os.pipe()\nfcntl.fcntl(r, fcntl.F_SETOWN, {pid})\n"
        "fcntl.fcntl(r, fcntl.F_SETFL, os.O_ASYNC)\nos.write(w, b'x'); print('OUT')"
    ),
    "fork": "import os; pid = os.fork(); print('OUT')",
    "fork by C": "import ctypes; print('OUT' if ctypes.CDLL(None).fork() >= 0 else '')",
    "vfork by number": "import ctypes; print('OUT' if ctypes.CDLL(None).syscall(58) >= 0 else '')",
    "32-bit calls": "import ctypes; print('OUT' if ctypes.CDLL(None).syscall(0x40000000 + 57) >= 0 else '')",
    "run a program": "import os; os.execv('/bin/sh', ['sh', '-c', 'echo OUT'])",
    "run a shell": "import subprocess; print(subprocess.run(['echo', 'OUT'], capture_output=True, text=True).stdout)",
    "spawn": "import os; os.posix_spawn('/bin/echo', ['echo', 'OUT'], {{}}); print('OUT')",
    "thread": "import threading; threading.Thread(target=print, args=('OUT',)).start()",
    "lower priorities": "import os; os.setpriority(os.PRIO_PROCESS, {pid}, 19); print('OUT')",
    # privileges
    "become root": "import os; os.setuid(0); print('OUT')",
    "raise limits": "import resource as r; r.setrlimit(r.RLIMIT_AS, (-1, -1)); print('OUT')",
    "new namespaces": "import ctypes; print('OUT' if ctypes.CDLL(None).unshare(0x10000000) == 0 else '')",
    "mount": "import ctypes; print('OUT' if ctypes.CDLL(None).mount(b'x', b'/tmp', b'tmpfs', 0, None) == 0 else '')",
    "load bpf": "import ctypes; print('OUT' if ctypes.CDLL(None).syscall(321, 0, 0, 0) >= 0 else '')",
    "io_uring": "import ctypes; print('OUT' if ctypes.CDLL(None).syscall(425, 1, 0) >= 0 else '')",
    "anonymous program": "import os; os.memfd_create('x'); print('OUT')",
    "shared memory": "import ctypes; print('OUT' if ctypes.CDLL(None).shmget(77, 4096, 0o1666) >= 0 else '')",
    "keyring": "import ctypes; print('OUT' if ctypes.CDLL(None).syscall(250, 0, -3, 0) >= 0 else '')",
    "set the clock": "import time; time.clock_settime(time.CLOCK_REALTIME, 0); print('OUT')",
}
EXHAUSTING = {
    "time": "while True: pass",
    "sleep": "import time; time.sleep(600)",
    "deaf": (
        "import signal\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n"
        "    except Exception: pass\nwhile True: pass"
    ),
    "the interpreter's lock": "import re; re.match('(a+)+$', 'a' * 40 + 'b')",
    "memory": "x = [bytearray(1 << 20) for _ in range(4096)]",
    "one block of memory": "x = bytearray(1 << 34)",
    "mapped memory": "import mmap; x = [mmap.mmap(-1, 1 << 26) for _ in range(100)]",
    "output": "while True: print('x' * 100_000)",
    "errors": "import sys\nwhile True: sys.stderr.write('x' * 100_000)",
    "results": "import os\nwhile True: os.write(3, b'x' * 100_000)",
    "a large file": "f = open('/tmp/x', 'wb')\nfor _ in range(1000): f.write(bytes(1 << 20)); f.flush()",
    "many files": "for i in range(10**6): open('/tmp/%d' % i, 'w').write('x')",
    "deep folders": ("import os\nname = 'd' * 200\nfor _ in range(10**5): os.mkdir(name); os.chdir(name)"),
    "closed folders": "import os\nfor i in range(10**5): os.mkdir(str(i), 0)",
    "descriptors": "import os\nx = [os.dup(1) for _ in range(10**6)]",
    "recursion": "import sys; sys.setrecursionlimit(10**9)\ndef f(): f()\nf()",
    "a segmentation fault": "import ctypes; ctypes.string_at(0)",
    "an abort": "import os; os.abort()",
    "a long number": "x = 10 ** (10 ** 8); print(len(str(x)))",
}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_nothing_gets_out(sandbox, outside, name):
    server = sandbox._started().pid
    told = sandbox.run({"code": ATTEMPTS[name].format(**outside), "stdin": ""}, QUICK)
    assert told.ended == "done" or told.ended.startswith("signal")
    assert "OUT" not in told.output, told
    assert "SECRET" not in told.output
    assert sandbox._started().pid == server
    assert (outside["folder"] / "secret.txt").read_text() == "SECRET"
    assert sorted(path.name for path in outside["folder"].iterdir()) == ["log", "secret.txt", "socket"]
    assert outside["victim"].poll() is None


@pytest.mark.parametrize("name", EXHAUSTING)
def test_nothing_is_exhausted(sandbox, name):
    limits = Limits(seconds=0.6, memory_mb=128, output_bytes=1 << 18)
    begun = time.monotonic()
    told = sandbox.run({"code": EXHAUSTING[name], "stdin": ""}, limits)
    assert told.ended != "lost"
    assert told.ended != "done" or not told.results or "raised" in told.results[0] or name == "errors", told
    assert len(told.output) <= 1 << 18
    assert time.monotonic() - begun < 60
    assert told.peak_mb < 160
    after = sandbox.run({"code": "def f(): return 7", "calls": [{"call": "f"}]}, QUICK)
    assert after.results[1:] == [{"value": 7}]


def test_folders_deeper_than_there_are_descriptors_are_removed():
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, limits[1]))
    try:
        some = Sandbox(unsafe=True)
        told = some.run({"code": EXHAUSTING["deep folders"], "stdin": ""}, QUICK)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert told.ended == "done"
    listed = some.run({"code": "import os\nprint(os.listdir('/tmp'))", "stdin": ""}, QUICK).output
    assert listed == "[]\n" or "namespaces" not in some.barriers
    some.close()


def test_what_computing_needs_is_there(sandbox):
    source = (
        "import asyncio, math, json, re, collections, heapq, bisect, random, datetime, decimal, fractions, sys\n"
        "async def two(): await asyncio.sleep(0); return 2\n"
        "print(asyncio.run(two()), math.pi > 3, sys.stdin.readline().strip(), random.random() < 1)\n"
    )
    told = sandbox.run({"code": source, "stdin": "first\nsecond\n"}, Limits())
    assert told.results == [{"value": None}]
    assert told.output == "2 True first True\n"


def test_runs_are_the_same_and_leave_nothing_to_each_other(sandbox):
    source = (
        "import random, os\nprint(random.random(), {'a', 'b', 'c'}, sorted(os.listdir('/tmp')))\nopen('/tmp/left', 'w')"
    )
    first, second = (sandbox.run({"code": source, "stdin": ""}, QUICK).output for _ in range(2))
    assert first == second
    sandbox.run({"code": "import builtins; builtins.print = None", "stdin": ""}, QUICK)
    assert sandbox.run({"code": "print(1)", "stdin": ""}, QUICK).output == "1\n"


def test_a_thousand_jobs_leave_nothing_behind():
    some = Sandbox()
    some.run({"code": "", "stdin": ""}, QUICK)
    me = psutil.Process()
    server = psutil.Process(some._started().pid)
    before = len(me.children(recursive=True)), me.num_fds(), _memory(server), set(Path("/tmp").glob("rltrain*"))
    for i in range(1000):
        told = some.run(
            {"code": f"def f(x): return x + {i}", "calls": [{"call": "f", "args": [1]}]}, Limits(seconds=30)
        )
        assert told.results[-1] == {"value": i + 1}, told
    after = len(me.children(recursive=True)), me.num_fds(), _memory(server), set(Path("/tmp").glob("rltrain*"))
    assert after[:2] == before[:2]
    assert after[2] - before[2] < 4 << 20
    assert after[3] == before[3]
    processes = [server, *server.children(recursive=True)]
    some.close()
    assert psutil.wait_procs(processes, timeout=10)[1] == []


def _memory(server):
    return sum(process.memory_info().rss for process in [server, *server.children(recursive=True)])


# --- the server ---


def test_a_killed_server_is_replaced(sandbox):
    server = sandbox._started()
    server.send_signal(signal.SIGKILL)
    server.wait(timeout=10)  # on a busy machine it may answer once more
    assert sandbox.run({"code": "print(1)", "stdin": ""}, QUICK).output == "1\n"
    assert sandbox._started().pid != server.pid


def test_a_caller_s_deadline_does_not_leave_an_answer_for_the_next(sandbox):
    def late(signum, frame):
        raise TimeoutError("the caller's")

    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        sandbox.run({"code": "import time; time.sleep(1)\nprint('late')", "stdin": ""}, Limits(seconds=5))
    except TimeoutError:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    assert sandbox.run({"code": "print('next')", "stdin": ""}, QUICK).output == "next\n"


def test_the_server_ends_with_its_owner():
    source = (
        "import os, sys, signal\nfrom rewards.sandbox.pool import *\n"
        "s = Sandbox()\ns.run({'code': '', 'stdin': ''}, Limits())\nprint(s._server.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    root = str(Path(__file__).parent.parent)
    done = subprocess.run([sys.executable, "-c", source], cwd=root, capture_output=True, text=True)
    pid = int(done.stdout)
    for _ in range(100):
        if not psutil.pid_exists(pid):
            return
        time.sleep(0.1)
    pytest.fail(f"server {pid} is still there")


def test_too_little_is_refused_by_name_unless_told_otherwise(monkeypatch):
    monkeypatch.setattr(pool.kernel, "supported", lambda: False)
    with pytest.raises(SandboxUnavailable, match=r"namespaces: neither Linux nor x86-64; landlock: .*`unsafe: true`"):
        Sandbox().run({"code": "", "stdin": ""}, QUICK)
    some = Sandbox(unsafe=True)
    assert some.run({"code": "print(1)", "stdin": ""}, QUICK).output == "1\n"
    assert some.barriers[0] == "limits"
    some.close()


# --- the tests of a task ---


def test_rows_become_cases_and_what_is_expected_stays_outside():
    rows = [
        {"call": "f", "args": [(1, 2)], "expected": {3}},
        {"args": [1], "expected": 2},
        {"stdin": "1", "expected": "2"},
        "assert f(1, k=[2]) == {'a': (1, 2)}",
        "assert Solution().g(1) is True",
        "assert f((1, 2)) == 3",
        "assert abs(f(1) - 2) < 1e-3",
    ]
    kinds = [type(case) for case in read(rows, "h")]
    assert kinds == [Call, Call, Program, Call, Call, Check, Check]
    call, named, _, with_word, method, *_ = read(rows, "h")
    assert call.inside == {"call": "f", "args": [[1, 2]], "kwargs": {}}
    assert (named.inside["call"], method.inside["call"]) == ("h", "Solution.g")
    assert with_word.inside == {"call": "f", "args": [1], "kwargs": {"k": [2]}}
    assert with_word.expected == {"a": [1, 2]}
    assert not any("expected" in case.inside for case in read(rows[:2], "h"))


@pytest.mark.parametrize("row", [3, {"args": [1], "expected": 2}, {"call": "f"}, "assert f( == 1"])
def test_a_row_that_is_no_test_is_named(row):
    with pytest.raises(ValueError, match=r"^test "):
        read([row])


@pytest.mark.parametrize(
    ("given", "expected", "same"),
    [
        (3, 3, True),
        (3.0000000001, 3, True),
        (0.1 + 0.2, 0.3, True),
        (3, 4, False),
        (True, 1, True),
        ("3", 3, False),
        ([1, [2]], [1, [2]], True),
        ([1, 2], [2, 1], False),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": 1}, {"b": 1}, False),
        (10**18, 10**18 + 1, False),
        (None, 0, False),
    ],
)
def test_results_are_compared_outside(given, expected, same):
    assert alike(given, expected) is same


# --- the reward ---

TESTS = [{"call": "add", "args": [a, b], "expected": a + b} for a, b in ((1, 2), (0, 0), (-1, 1), (5, 5))]
ALL = {"value": 1.0, "share": 1.0, "full": 1.0, "ran": 1.0}


def judged(text, tests=TESTS, **arguments):
    nothing = np.zeros(0, np.int32)
    said = Completion(nothing, nothing.astype(np.float32), nothing, text, "stop", 0, "", "")
    task = Task("s/1", "s", "structured", ({"role": "user", "content": "?"},), None, meta={"tests": tests})
    return code(task, said, **arguments)


def test_code_gives_the_share_of_tests():
    assert judged("Here:\n```python\ndef add(a, b):\n    return a + b\n```\nDone.") == ALL
    assert judged("def add(a, b): return a + b") == ALL
    half = judged("def add(a, b): return a if a != 1 else 0")
    assert half == {"value": 0.25, "share": 0.25, "full": 0.0, "ran": 1.0}
    assert judged("def add(a, b): return a if a != 1 else 0", partial=False)["value"] == 0.0
    assert judged("x", tests=None) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I cannot.",
        "```python\ndef add(a, b)\n```",
        "def sub(a, b): return a + b",
        "raise SystemExit",
        "import os; os._exit(0)",
        "def add(a, b):\n    import os\n    os._exit(0)",
        "class Any:\n    def __eq__(self, other): return True\ndef add(a, b): return Any()",
        "class N(int):\n    def __eq__(self, other): return True\ndef add(a, b): return N(99)",
        "import json\njson.dumps = lambda *a, **k: '{\"value\": true}'\ndef add(a, b): return 99",
        "import os\nos.write(3, b'{\"value\": null}\\n' * 9)\nos._exit(0)",
        "import sys\ndef add(a, b): return sys._getframe(2).f_locals.get('expected')",
        "import gc\nseen = [o for o in gc.get_objects() if isinstance(o, dict) and 'expected' in o]\n"
        "def add(a, b): return seen[0]['expected']",
        "def add(a, b): return __import__('sys').modules['rewards.sandbox.cases']",
    ],
)
def test_code_that_is_wrong_or_cheats_gets_nothing(text):
    scored = judged(text)
    assert scored["value"] == 0.0
    assert scored["full"] == 0.0


def test_a_forged_number_beyond_all_floats_is_wrong():
    forged = "import os\nos.write(3, b'{\"value\": null}\\n{\"value\": ' + b'9' * 400 + b'}\\n')\nos._exit(0)"
    assert judged(forged, [{"call": "half", "args": [3], "expected": 1.5}])["value"] == 0.0


def test_code_that_hangs_keeps_what_it_had():
    scored = judged("def add(a, b):\n    while a == 0: pass\n    return a + b", seconds=0.5)
    assert scored == {"value": 0.25, "share": 0.25, "full": 0.0, "ran": 0.0}


def test_programs_and_asserts():
    tests = [{"stdin": "1 2\n", "expected": "3"}, {"stdin": "0.1 0.2", "expected": "0.3\n"}]
    assert judged("print(sum(map(float, input().split())))", tests[1:]) == ALL
    assert judged("print(sum(map(int, input().split())))", tests)["share"] == 0.5
    asserts = ["assert add(1, 2) == 3", "assert abs(add(0.1, 0.2) - 0.3) < 1e-9", "assert add((1,), (2,)) == (1, 2)"]
    assert judged("def add(a, b): return a + b", asserts) == ALL
    assert judged("def add(a, b): return a - b", asserts)["share"] == 0.0
    assert (
        judged("class Solution:\n    def f(self, x): return x", [{"call": "Solution.f", "args": [1], "expected": 1}])
        == ALL
    )


def test_the_program_of_a_completion():
    assert program("```\na\n```\n```python\nb\n```\n```text\nc\n```") == "b\n"
    assert program("```\na\n```\n```\nb\n```") == "b\n"
    assert program("```python\nnot closed") == "not closed"
    assert program("plain") == "plain"
    assert program("```" + " " * 1_000_000) == "```" + " " * 1_000_000  # one pass, however long
