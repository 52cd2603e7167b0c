"""txtai: an Embeddings with content, upserts and deletes by id, saved to a folder.

txtai keeps no record of files, so that a manifest says what changed; and it has no watcher, so that watchdog calls it.
"""

import os

os.environ["ALLOW_RESOLVE_TRANSFORM"] = "True"

from txtai import Embeddings  # noqa: E402

import common  # noqa: E402
import txtai_transform  # noqa: E402


class Txtai:
    def __init__(self, given, embedder):
        self.input = given.input
        self.manifest = common.Manifest(given.state / "manifest.json")
        self.folder = str(given.state / "index")
        # By its name: an index that is saved can't hold the function itself.
        txtai_transform.embedder = embedder
        self.index = Embeddings(method="external", transform="txtai_transform.transform", content=True)
        if self.manifest.of:
            self.index.load(self.folder)
        self.count = self.index.count() if self.manifest.of else 0

    def sync(self):
        self.change(*self.manifest.difference(self.input))

    def touch(self, path):
        try:
            changed, gone = {path: common.read(path)}, []
        except FileNotFoundError:
            changed, gone = {}, [path]
        self.change(changed, gone)

    def change(self, changed, gone):
        known = [path for path in gone if self.manifest.of.pop(path, None)]
        if known:
            self.index.delete(known)
        if changed:
            self.index.upsert([(path, text, None) for path, text in changed.items()])
            self.manifest.of.update((path, common.digest(text)) for path, text in changed.items())
        if changed or known:
            self.index.save(self.folder)
            self.manifest.save()

    def search(self, text):
        return [hit["id"] for hit in self.index.search(text, 10)]

    def documents(self):
        return self.index.count() if self.manifest.of else 0


common.run(Txtai)
