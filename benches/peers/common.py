"""What every peer has in common: its command line, its clock, and how it talks to the driver.

A peer is a program `PEER.py once|watch --input DIR --state DIR --model DIR`. It writes one JSON object a line:

    {"ready": 3.1}                           seconds from the start of the process until it can begin to work
    {"synced": 7.9, "embedded": 1000, "documents": 1000}     seconds of the work, texts embedded, files in the index

`once` ends there. `watch` goes on: it follows the folder, says {"indexed": PATH} when a search would find the file as
it is now (or would no longer find it), and answers {"search": TEXT} on its standard input by {"found": [PATH, …]}.
"""

import argparse
import hashlib
import json
import os
import queue
import sys
import threading
import time
from pathlib import Path

import embedders


def say(**line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def since_start():
    """Seconds since the kernel made this process."""
    with open("/proc/self/stat") as stat:
        started = int(stat.read().rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=["once", "watch"])
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--embedder", choices=["onnx", "torch"], default="onnx")
    return parser.parse_args()


def files(folder):
    """Every file below the folder, as strings, sorted."""
    return sorted(str(path) for path in Path(folder).rglob("*") if path.is_file())


def read(path):
    return Path(path).read_text(encoding="utf-8")


def digest(text):
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class Manifest:
    """Which text each file had when it was indexed: what a practitioner keeps beside an index that does not know."""

    def __init__(self, path):
        self.path = Path(path)
        self.of = json.loads(self.path.read_text()) if self.path.exists() else {}

    def difference(self, folder):
        """Files that are new or other (with their text), and files that are gone."""
        now = {path: read(path) for path in files(folder)}
        changed = {path: text for path, text in now.items() if self.of.get(path) != digest(text)}
        return changed, [path for path in self.of if path not in now]

    def save(self):
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self.of))
        os.replace(new, self.path)


def run(peer_class):
    """The main program of a peer that has `sync()`, `touch(path)`, `search(text)`, `documents()`."""
    given = arguments()
    given.state.mkdir(parents=True, exist_ok=True)
    embedder = embedders.make(given.embedder, given.model)
    peer = peer_class(given, embedder)
    say(ready=since_start())
    started = time.monotonic()
    peer.sync()
    say(synced=time.monotonic() - started, embedded=embedder.embedded, documents=peer.documents())
    if given.mode == "watch":
        watch(given.input, peer)


def watch(folder, peer):
    """Follows the folder with watchdog, and answers questions, in one thread."""
    from watchdog.events import FileSystemEventHandler
    from watchdog.observers import Observer

    work = queue.Queue()

    class Handler(FileSystemEventHandler):
        def on_closed(self, event):
            work.put(("touch", event.src_path))

        def on_deleted(self, event):
            work.put(("touch", event.src_path))

        def on_moved(self, event):
            work.put(("touch", event.src_path))
            work.put(("touch", event.dest_path))

    def listen():
        for line in sys.stdin:
            work.put(("search", json.loads(line)["search"]))
        work.put(("end", None))

    observer = Observer()
    observer.schedule(Handler(), str(folder), recursive=True)
    observer.start()
    threading.Thread(target=listen, daemon=True).start()
    say(watching=True)
    while True:
        what, of = work.get()
        if what == "touch" and not os.path.isdir(of):
            peer.touch(os.fsdecode(of))
            say(indexed=os.fsdecode(of))
        elif what == "search":
            say(found=peer.search(of))
        elif what == "end":
            break
    observer.stop()
    observer.join()
