"""The bare loop: the texts of a folder through the embedder, and nothing else. A limit, not a peer."""

import time

import common
import embedders

given = common.arguments()
embedder = embedders.make(given.embedder, given.model)
texts = [common.read(path) for path in common.files(given.input)]
common.say(ready=common.since_start())
started = time.monotonic()
embedder(texts)
common.say(synced=time.monotonic() - started, embedded=embedder.embedded, documents=len(texts))
