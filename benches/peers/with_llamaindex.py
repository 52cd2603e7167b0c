"""LlamaIndex: an IngestionPipeline with a document store and a vector store, upserts and deletes, persisted to a folder.

Its readers do not watch, so that watchdog calls the pipeline.
"""

from pathlib import Path

from llama_index.core import SimpleDirectoryReader
from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import VectorStoreQuery
from pydantic import PrivateAttr

import common


class Local(BaseEmbedding):
    _embedder = PrivateAttr()

    def __init__(self, embedder):
        super().__init__(model_name="local", embed_batch_size=256)
        self._embedder = embedder

    def _get_text_embeddings(self, texts):
        return self._embedder(texts).tolist()

    def _get_text_embedding(self, text):
        return self._embedder([text])[0].tolist()

    def _get_query_embedding(self, query):
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query):
        return self._get_text_embedding(query)


class LlamaIndex:
    def __init__(self, given, embedder):
        self.input, self.folder = given.input, given.state / "pipeline"
        self.embed = Local(embedder)
        vectors = given.state / "vectors.json"
        self.vectors_file = str(vectors)
        self.vectors = SimpleVectorStore.from_persist_path(str(vectors)) if vectors.exists() else SimpleVectorStore()
        self.pipeline = self.make(DocstoreStrategy.UPSERTS_AND_DELETE, SimpleDocumentStore())
        if self.folder.exists():
            self.pipeline.load(str(self.folder))
        # What one file changed must not delete the others.
        self.one = self.make(DocstoreStrategy.UPSERTS, self.pipeline.docstore)
        self.one.cache = self.pipeline.cache

    def make(self, strategy, docstore):
        return IngestionPipeline(
            transformations=[SentenceSplitter(chunk_size=1024, chunk_overlap=0), self.embed],
            vector_store=self.vectors,
            docstore=docstore,
            docstore_strategy=strategy,
        )

    def sync(self):
        documents = SimpleDirectoryReader(str(self.input), recursive=True, filename_as_id=True).load_data()
        self.pipeline.run(documents=documents)
        self.save()

    def touch(self, path):
        if Path(path).exists():
            documents = SimpleDirectoryReader(input_files=[path], filename_as_id=True).load_data()
            self.one.run(documents=documents)
        else:
            self.vectors.delete(path)
            self.pipeline.docstore.delete_document(path, raise_error=False)
        self.save()

    def save(self):
        self.pipeline.persist(str(self.folder))
        self.vectors.persist(self.vectors_file)

    def search(self, text):
        query = VectorStoreQuery(query_embedding=self.embed.get_query_embedding(text), similarity_top_k=10)
        found = self.vectors.query(query)
        return [self.vectors.data.text_id_to_ref_doc_id[node] for node in found.ids]

    def documents(self):
        return len(set(self.vectors.data.text_id_to_ref_doc_id.values()))


common.run(LlamaIndex)
