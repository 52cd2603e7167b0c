"""What a practitioner writes: walk, hash, embed what is new, FAISS with ids, a manifest, watchdog for the rest."""

import faiss
import numpy as np

import common


class Script:
    def __init__(self, given, embedder):
        self.input, self.embed = given.input, embedder
        self.manifest = common.Manifest(given.state / "manifest.json")
        self.file = str(given.state / "index.faiss")
        self.ids = common.Manifest(given.state / "ids.json")
        if self.manifest.of:
            self.index = faiss.read_index(self.file)
        else:
            self.index = faiss.IndexIDMap2(faiss.IndexFlatIP(384))
        self.next = max(self.ids.of.values(), default=-1) + 1
        self.paths = {number: path for path, number in self.ids.of.items()}

    def sync(self):
        self.change(*self.manifest.difference(self.input))

    def touch(self, path):
        try:
            changed, gone = {path: common.read(path)}, []
        except FileNotFoundError:
            changed, gone = {}, [path]
        self.change(changed, gone)

    def change(self, changed, gone):
        old = [self.ids.of[path] for path in [*changed, *gone] if path in self.ids.of]
        if old:
            self.index.remove_ids(np.array(old, dtype=np.int64))
        for path in gone:
            self.ids.of.pop(path, None)
            self.manifest.of.pop(path, None)
        if changed:
            vectors = self.embed(list(changed.values()))
            numbers = np.arange(self.next, self.next + len(changed), dtype=np.int64)
            self.next += len(changed)
            self.index.add_with_ids(vectors, numbers)
            for (path, text), number in zip(changed.items(), numbers.tolist()):
                self.ids.of[path], self.paths[number] = number, path
                self.manifest.of[path] = common.digest(text)
        if changed or gone:
            faiss.write_index(self.index, self.file)
            self.ids.save()
            self.manifest.save()

    def search(self, text):
        _, found = self.index.search(self.embed([text]), 10)
        return [self.paths[number] for number in found[0].tolist() if number >= 0]

    def documents(self):
        return self.index.ntotal


common.run(Script)
