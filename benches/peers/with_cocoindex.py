"""CocoIndex: a memoised component a file, batched and memoised embedding, rows in SQLite; its own live mode.

Rows are what CocoIndex keeps; a search is left to the target. Here it is a product with all vectors, read from the rows.
"""

import asyncio
import json
import os
import sqlite3
import sys
import threading
import time
from dataclasses import dataclass

os.environ["COCOINDEX_DISABLE_USAGE_TRACKING"] = "1"

import cocoindex as coco  # noqa: E402
import numpy as np  # noqa: E402
from cocoindex.connectors import localfs, sqlite  # noqa: E402
from cocoindex.resources.file import FileLike  # noqa: E402

import common  # noqa: E402
import embedders  # noqa: E402

given = common.arguments()
given.state.mkdir(parents=True, exist_ok=True)
embedder = embedders.make(given.embedder, given.model)
ROWS = given.state / "rows.sqlite"
DATABASE = coco.ContextKey[sqlite.ManagedConnection]("rows")


@dataclass
class Row:
    path: str
    text: str
    vector: bytes


@coco.lifespan
def lifespan(builder: coco.EnvironmentBuilder):
    builder.settings.db_path = given.state / "cocoindex.db"
    with sqlite.managed_connection(str(ROWS), load_vec=False) as connection:
        builder.provide(DATABASE, connection)
        yield


@coco.fn.as_async(batching=True, max_batch_size=256)
def embed_batch(texts: list[str]) -> list[bytes]:
    return [vector.tobytes() for vector in embedder(texts)]


@coco.fn(memo=True)
async def embed(text: str) -> bytes:
    return await embed_batch(text)


@coco.fn(memo=True)
async def process(file: FileLike, table: sqlite.TableTarget[Row]) -> None:
    text = await file.read_text()
    path = str(file.file_path.resolve())
    table.declare_row(row=Row(path=path, text=text, vector=await embed(text)))


@coco.fn
async def main() -> None:
    schema = await sqlite.TableSchema.from_class(Row, primary_key=["path"])
    table = await sqlite.mount_table_target(DATABASE, "rows", schema)
    found = localfs.walk_dir(given.input, recursive=True, live=True)
    await coco.mount_each(process, found.items(), table)


app = coco.App(coco.AppConfig(name="bench"), main)


class Reader:
    def __init__(self):
        self.connection = sqlite3.connect(ROWS, check_same_thread=False)

    def ask(self, query, *values):
        try:
            return self.connection.execute(query, values).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return []
            raise

    def documents(self):
        return len(self.ask("SELECT path FROM rows"))

    def search(self, text):
        rows = self.ask("SELECT path, vector FROM rows")
        vectors = np.frombuffer(b"".join(row[1] for row in rows), dtype=np.float32).reshape(len(rows), -1)
        scores = vectors @ embedder([text])[0]
        return [rows[at][0] for at in np.argsort(-scores)[:10]]


def follow(reader):
    """Says when a row has changed: the table is all that can be looked at from outside."""
    version, known = None, dict(reader.ask("SELECT path, text FROM rows"))
    while True:
        now = reader.ask("PRAGMA data_version")
        if now != version:
            version = now
            rows = dict(reader.ask("SELECT path, text FROM rows"))
            for path in {*rows, *known}:
                if rows.get(path) != known.get(path):
                    common.say(indexed=path)
            known = rows
        time.sleep(0.001)


async def live(reader):
    handle = app.update(live=True)
    started = time.monotonic()
    expected = len(common.files(given.input))
    while reader.documents() < expected:
        await asyncio.sleep(0.05)
    common.say(synced=time.monotonic() - started, embedded=embedder.embedded, documents=reader.documents())
    threading.Thread(target=follow, args=(Reader(),), daemon=True).start()
    common.say(watching=True)

    def answer():
        for line in sys.stdin:
            common.say(found=reader.search(json.loads(line)["search"]))
        os._exit(0)

    threading.Thread(target=answer, daemon=True).start()
    await handle.result()


common.say(ready=common.since_start())
if given.mode == "watch":
    asyncio.run(live(Reader()))
else:
    begun = time.monotonic()
    app.update_blocking()
    common.say(synced=time.monotonic() - begun, embedded=embedder.embedded, documents=Reader().documents())
