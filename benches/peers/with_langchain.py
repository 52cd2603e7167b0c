"""LangChain: index() with an SQL record manager, and FAISS saved to a folder.

index() deletes what is no longer loaded when it is given everything (cleanup="full"), and what a source no longer has
when it is given that source (cleanup="incremental"). LangChain has no watcher, so that watchdog calls it.
"""

from pathlib import Path

import faiss
from langchain_classic.indexes import SQLRecordManager
from langchain_community.docstore.in_memory import InMemoryDocstore
from langchain_community.vectorstores import FAISS
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.indexing import index

import common


class Local(Embeddings):
    def __init__(self, embedder):
        self.embedder = embedder

    def embed_documents(self, texts):
        return self.embedder(texts).tolist()

    def embed_query(self, text):
        return self.embedder([text])[0].tolist()


class LangChain:
    def __init__(self, given, embedder):
        self.input, self.folder = given.input, given.state / "faiss"
        embeddings = Local(embedder)
        if self.folder.exists():
            self.store = FAISS.load_local(str(self.folder), embeddings, allow_dangerous_deserialization=True)
        else:
            self.store = FAISS(
                embedding_function=embeddings,
                index=faiss.IndexFlatL2(384),
                docstore=InMemoryDocstore(),
                index_to_docstore_id={},
            )
        self.records = SQLRecordManager("faiss/bench", db_url=f"sqlite:///{given.state}/records.sqlite")
        self.records.create_schema()

    def sync(self):
        documents = [Document(common.read(path), metadata={"source": path}) for path in common.files(self.input)]
        self.index(documents, "full")

    def touch(self, path):
        if Path(path).exists():
            self.index([Document(common.read(path), metadata={"source": path})], "incremental")
        else:
            gone = self.records.list_keys(group_ids=[path])
            self.store.delete(gone)
            self.records.delete_keys(gone)
            self.store.save_local(str(self.folder))

    def index(self, documents, cleanup):
        index(
            documents,
            self.records,
            self.store,
            batch_size=256,
            cleanup=cleanup,
            source_id_key="source",
            key_encoder="blake2b",
        )
        self.store.save_local(str(self.folder))

    def search(self, text):
        return [document.metadata["source"] for document in self.store.similarity_search(text, k=10)]

    def documents(self):
        return len(self.store.index_to_docstore_id)


common.run(LangChain)
