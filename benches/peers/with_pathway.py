"""Pathway: a folder read as whole files, an embedder UDF with a disk cache, a KNN index, persistence; its own streaming mode."""

import json
import os
import sys
import time

import pathway as pw
from pathway.stdlib.indexing import BruteForceKnnFactory

import common
import embedders

given = common.arguments()
given.state.mkdir(parents=True, exist_ok=True)
embedder = embedders.make(given.embedder, given.model)


@pw.udf(deterministic=True, max_batch_size=256, cache_strategy=pw.udfs.DiskCache())
def embed(texts: list[str]) -> list[list[float]]:
    return [vector.tolist() for vector in embedder(texts)]


class Questions(pw.io.python.ConnectorSubject):
    """Questions from standard input; ends when it does."""

    def run(self):
        for number, line in enumerate(sys.stdin):
            self.next(number=number, text=json.loads(line)["search"])
        os._exit(0)


class Question(pw.Schema):
    number: int
    text: str


found = pw.io.fs.read(
    str(given.input),
    format="plaintext_by_file",
    mode="streaming" if given.mode == "watch" else "static",
    with_metadata=True,
    autocommit_duration_ms=50,
    name="files",
)
documents = found.select(path=pw.this._metadata["path"].as_str(), text=pw.this.data, vector=embed(pw.this.data))
# The sink: what is live, kept in a file. A run that resumes is told of what has changed since, and of nothing else.
watching = given.mode == "watch"
sink = given.state / "live.json"
live = set(json.loads(sink.read_text())) if sink.exists() and not watching else set()
started = time.monotonic()
expected = len(common.files(given.input))
synced = False


def changed(key, row, time, is_addition):
    (live.add if is_addition else live.discard)(row["path"])
    pending.add(row["path"])


def settled(at):
    global synced
    if watching:
        for path in pending if synced else ():
            common.say(indexed=path)
        if not synced and len(live) >= expected:
            synced = True
            common.say(synced=time.monotonic() - started, embedded=embedder.embedded, documents=len(live))
            common.say(watching=True)
    if pending:
        sink.write_text(json.dumps(sorted(live)))
    pending.clear()


pending = set()
pw.io.subscribe(documents, on_change=changed, on_time_end=settled)
if watching:
    index = BruteForceKnnFactory(dimensions=embedders.DIMENSION).build_index(documents.vector, documents)
    asked = pw.io.python.read(Questions(), schema=Question, autocommit_duration_ms=10)
    asked = asked.select(pw.this.number, vector=embed(pw.this.text))
    answers = index.query_as_of_now(asked.vector, number_of_matches=10).select(
        number=pw.left.number, paths=pw.right.path
    )
    pw.io.subscribe(
        answers,
        on_change=lambda key, row, time, is_addition: is_addition and common.say(found=list(row["paths"])),
    )
common.say(ready=common.since_start())
started = time.monotonic()
pw.run(
    monitoring_level=pw.MonitoringLevel.NONE,
    persistence_config=pw.persistence.Config(pw.persistence.Backend.filesystem(str(given.state / ("watched" if watching else "persisted")))),
)
common.say(synced=time.monotonic() - started, embedded=embedder.embedded, documents=len(live))
