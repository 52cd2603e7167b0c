"""floodmark and its peers, each as something that can be run once, killed, and followed."""

import json
import os
import queue
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import threading
import time
from pathlib import Path

import environments

HERE = Path(__file__).parent
STUCK_S = 300
TRIAL_S = 30
QUIET = {
    "ORT_DISABLE_TELEMETRY": "1",
    "COCOINDEX_DISABLE_USAGE_TRACKING": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "LANGSMITH_TRACING": "false",
    "ANONYMIZED_TELEMETRY": "False",
    "PYTHONDONTWRITEBYTECODE": "1",
}


class Failed(Exception):
    """What did not work, in words for the table."""


class Process:
    """A child whose lines of JSON are read as they come."""

    started = []

    def __init__(self, command, log, environment=()):
        self.log = Path(log)
        self.began = time.monotonic()
        self.child = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=open(log, "wb"),
            text=True,
            env={**os.environ, **QUIET, **dict(environment)},
        )
        Process.started.append(self.child)
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.child.stdout:
            if line.startswith("{"):
                self.lines.put(json.loads(line))
        self.lines.put(None)

    def line(self, name, within=STUCK_S):
        """The next line that has `name`; others before it are passed over."""
        deadline = time.monotonic() + within
        while True:
            try:
                line = self.lines.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise Failed(f"no answer within {within:.0f} s") from None
            if line is None:
                raise Failed(f"ended before it had {name}: {self.last_words()}")
            if name in line:
                return line

    def ask(self, **question):
        self.child.stdin.write(json.dumps(question) + "\n")
        self.child.stdin.flush()

    def end(self):
        """Waits for the end: (seconds, peak MB)."""
        self.child.stdin.close()
        deadline = time.monotonic() + STUCK_S
        while True:
            pid, status, usage = os.wait4(self.child.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > deadline:
                self.child.kill()
                os.wait4(self.child.pid, 0)
                raise Failed(f"still running after {STUCK_S} s")
            time.sleep(0.002)
        self.child.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - self.began
        if self.child.returncode:
            raise Failed(f"exit status {self.child.returncode}: {self.last_words()}")
        return seconds, usage.ru_maxrss / 1024

    def kill(self):
        self.child.send_signal(signal.SIGKILL)
        self.child.wait()

    def last_words(self):
        lines = self.log.read_text(errors="replace").strip().splitlines() or ["nothing on standard error"]
        return lines[-1][:200]


def end_all():
    """Ends what an interrupted measurement has left."""
    for child in Process.started:
        if child.returncode is None and child.poll() is None:
            child.kill()
            child.wait()


class Peer:
    """A program of this folder in its own environment."""

    def __init__(self, name, script, environment, embedder, given):
        self.name, self.script, self.given = name, script, given
        self.embedder = embedder
        self.python, self.missing = environments.python_of(environment, given.environments, given.torch)

    def start(self, mode, folder, state):
        state.parent.mkdir(parents=True, exist_ok=True)
        command = [self.python, HERE / self.script, mode, "--input", folder, "--state", state, "--model", self.given.model]
        command += ["--embedder", self.embedder]
        log = self.given.logs / f"{self.name.replace(' ', '-').replace('/', '-')}-{mode}.log"
        return Process(command, log, {"BENCH_CACHE": str(self.given.environments)}.items())

    def once(self, folder, state):
        process = self.start("once", folder, state)
        ready = process.line("ready")["ready"]
        synced = process.line("synced")
        seconds, peak = process.end()
        return {
            "process_s": seconds,
            "start_s": ready,
            "work_s": synced["synced"],
            "peak_mb": peak,
            "embedded": synced["embedded"],
            "documents": synced["documents"],
        }

    def killed(self, folder, state, full):
        """Kills a first run when it has done half of its work."""
        process = self.start("once", folder, state)
        process.line("ready")
        time.sleep(full["work_s"] / 2)
        process.kill()

    def live(self, folder, state, trials):
        """`trials` gives (path, text) and takes the milliseconds to the answer of a search."""
        process = self.start("watch", folder, state)
        process.line("watching")
        try:
            for path, text, done in trials:
                closed = write(path, text)
                while process.line("indexed", TRIAL_S)["indexed"] != str(path):
                    pass
                process.ask(search=text)
                found = process.line("found", TRIAL_S)["found"]
                done((time.monotonic() - closed) * 1000, found[:1] == [str(path)])
        finally:
            process.kill()


class Floodmark:
    """The program itself, with its own model or another."""

    missing = None

    def __init__(self, name, flags, given):
        self.name, self.flags, self.given = name, flags, given
        self.start_s = None

    def start_up(self, scratch):
        """What every run costs before its work begins: the same command over an empty folder, the median of three."""
        folder = scratch / "empty"
        folder.mkdir(exist_ok=True)
        times = []
        for number in range(3):
            state = scratch / f"empty-state-{number}"
            times.append(self.start(["run", "--once"], folder, state).end()[0])
            shutil.rmtree(state)
        self.start_s = statistics.median(times)

    def start(self, command, folder, state):
        log = self.given.logs / f"{self.name.replace(' ', '-')}-{len(command)}.log"
        flags = ["--input", folder, "--state", state, "--log", "error", *self.flags]
        return Process([self.given.floodmark, *command, *flags], log)

    def once(self, folder, state):
        before = self.embeddings(state)
        seconds, peak = self.start(["run", "--once"], folder, state).end()
        status = json.loads(
            subprocess.run(
                [str(self.given.floodmark), "status", "--json", "--state", str(state)],
                capture_output=True,
                text=True,
                check=True,
                env={**os.environ, **QUIET},
            ).stdout
        )
        after = self.embeddings(state)
        return {
            "process_s": seconds,
            "start_s": self.start_s,
            "work_s": max(0.0, seconds - self.start_s),
            "peak_mb": peak,
            "embedded": None if after is None else after - (before or 0),
            "documents": status["files"]["indexed"],
        }

    @staticmethod
    def embeddings(state):
        """Vectors that were ever made, as the store has them; None where it does not say."""
        store = Path(state) / "store.sqlite"
        if not store.exists():
            return 0
        connection = sqlite3.connect(f"file:{store}?mode=ro", uri=True)
        try:
            return connection.execute("SELECT count(*) FROM embeddings").fetchone()[0]
        except sqlite3.Error:
            return None
        finally:
            connection.close()

    def killed(self, folder, state, full):
        process = self.start(["run", "--once"], folder, state)
        time.sleep(full["process_s"] / 2)
        process.kill()

    def live(self, folder, state, trials):
        process = self.start(["run"], folder, state)
        try:
            control = self.connect(state)
            self.ask(control, {"wait": {"path": str(next(folder.rglob("*.txt"))), "timeout_ms": STUCK_S * 1000}})
            for path, text, done in trials:
                closed = write(path, text)
                self.ask(control, {"wait": {"path": str(path), "timeout_ms": TRIAL_S * 1000}})
                found = self.ask(control, {"search": {"query": text, "hits": 10}})["found"]["hits"]
                done((time.monotonic() - closed) * 1000, [hit["path"] for hit in found[:1]] == [str(path)])
        finally:
            process.kill()

    @staticmethod
    def connect(state):
        deadline = time.monotonic() + TRIAL_S
        while True:
            try:
                connection = socket.socket(socket.AF_UNIX)
                connection.connect(str(state / "control.sock"))
                return connection.makefile("rw")
            except OSError as error:
                if time.monotonic() > deadline:
                    raise Failed(f"the run does not answer: {error}") from error
                time.sleep(0.01)

    @staticmethod
    def ask(control, question):
        control.write(json.dumps({"floodmark": 1, "ask": question}) + "\n")
        control.flush()
        reply = json.loads(control.readline())["reply"]
        if "refused" in reply:
            raise Failed(f"refused: {reply['refused']}")
        return reply


def write(path, text):
    """Writes and closes a file; when it was closed."""
    path.write_text(text)
    return time.monotonic()
