"""A real HTTP server on loopback that speaks the protocol of chat completions; the model's name says how it behaves."""

from __future__ import annotations

import html
import json
import re
import threading
import time
import zlib
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BLOCK = re.compile(r"^<(\w+) ([0-9a-f]{32})>\n(.*?)\n</\1 \2>$", re.DOTALL | re.MULTILINE)


def blocks(prompt):
    """Name -> text of what stands between delimiters, read back."""
    return {name: html.unescape(text) for name, _, text in BLOCK.findall(prompt)}


def outside(prompt):
    """What the prompt says itself; the boundary, which every request has another one of, left out."""
    return re.sub(r"[0-9a-f]{32}", "-", BLOCK.sub("", prompt))


def better(prompt):
    """The verdict of a judge who likes the word `good`: the more often, the better."""
    if not prompt.splitlines()[-1].startswith("{"):  # no schema: the question that `check` asks
        return {"ready": True}
    texts, schema = blocks(prompt), json.loads(prompt.splitlines()[-1])
    if "winner" in schema["properties"]:
        first, second = texts["first"].count("good"), texts["second"].count("good")
        return {"winner": "first" if first > second else "second" if second > first else "tie"}
    point = min(5, 1 + texts["response"].count("good"))
    return {name: "N/A" if name == "harmlessness" else point for name in schema["properties"]}


class Server(ThreadingHTTPServer):
    """Counts what it is asked, by model."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked, self.nonsense, self.prompts, self.keys, self.at_once = Counter(), 0, [], [], [0, 0]
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_POST(self):
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        model, prompt = given["model"], given["messages"][-1]["content"]
        with self.server.lock:
            self.server.asked[model] += 1
            self.server.prompts.append(prompt)
            self.server.keys.append(self.headers["Authorization"])
            self.server.at_once[0] += 1
            self.server.at_once[1] = max(self.server.at_once)
            number = self.server.asked[model]
            self.at_work = True
        try:
            getattr(self, f"as_{model}")(prompt, number)
        except (BrokenPipeError, ConnectionResetError):  # whoever asked has gone
            pass
        finally:
            self.done()

    def done(self):
        """Before the answer goes out: whoever has it may ask again at once."""
        with self.server.lock:
            self.server.at_once[0] -= self.at_work
            self.at_work = False

    def say(self, text, status=200, kind="application/json", **choice):
        message = {"role": "assistant", "content": text}
        reply = {"id": "x", "object": "chat.completion", "created": 0, "model": "m"}
        reply |= {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]} | choice
        body = (text if kind != "application/json" else json.dumps(reply)).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.done()
        self.wfile.write(body)

    def as_good(self, prompt, number):
        time.sleep(0.02)
        self.say("I thought about it.\n```json\n" + json.dumps(better(prompt)) + "\n```")

    def as_first(self, prompt, number):
        self.say('{"winner": "first"}')

    def as_ready(self, prompt, number):
        self.say('{"ready": true}')

    def as_moody(self, prompt, number):
        """Nonsense about some texts, always the same ones."""
        if zlib.crc32(prompt.encode()) % 4 == 0:
            with self.server.lock:
                self.server.nonsense += 1
            self.say("What a lovely day.")
        else:
            self.as_good(prompt, number)

    def as_nonsense(self, prompt, number):
        self.say("What a lovely day.")

    def as_busy(self, prompt, number):
        self.say('{"winner": "tie"}') if number % 3 == 0 else self.say("{}", status=503)

    def as_broken(self, prompt, number):
        self.say("{}", status=500)

    def as_locked(self, prompt, number):
        self.say("no", status=401)

    def as_slow(self, prompt, number):
        time.sleep(1.0)
        self.say('{"winner": "first"}')

    def as_page(self, prompt, number):
        self.say("<html>welcome</html>", kind="text/html")

    def as_deep(self, prompt, number):
        self.as_torn(prompt, number, b"[" * 100_000)

    def as_torn(self, prompt, number, body=b'{"choices": [{"mess'):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def as_empty(self, prompt, number):
        self.say("", choices=[])

    def as_silent(self, prompt, number):
        self.say(None)

    def as_author(self, prompt, number):
        """Takes its time."""
        time.sleep(0.2)
        self.as_writer(prompt, number)

    def as_writer(self, prompt, number):
        """A trace: longer for larger numbers, wrong for some."""
        one, other = (int(found) for found in re.findall(r"\d+", prompt)[:2])
        wrong = (one + other) % 5 == 0
        self.say(" ".join(["step"] * (one + other)) + f"\nAnswer: {one + other + wrong}")
