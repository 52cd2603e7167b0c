"""FAISS from PyPI on the vectors that floodmark wrote, at no less recall than floodmark has.

    faiss_search.py DIR FACTORY RECALL

DIR holds vectors.f32 and queries.f32, `[n, 384]` little-endian, and truth.u32, `[queries, 10]`. One word a line comes
in, one JSON object a line goes out: `one` times each query on one thread, `many` all of them, ten times, on all threads.
"""

import json
import os
import sys
import time
from pathlib import Path

import faiss
import numpy as np

K = 10
TIMES = 10


def main():
    folder, factory, wanted = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    vectors = np.fromfile(folder / "vectors.f32", dtype="<f4").reshape(-1, 384)
    queries = np.fromfile(folder / "queries.f32", dtype="<f4").reshape(-1, 384)
    truth = np.fromfile(folder / "truth.u32", dtype="<u4").reshape(-1, K)
    threads = len(os.sched_getaffinity(0))
    faiss.omp_set_num_threads(threads)
    index = faiss.index_factory(384, factory, faiss.METRIC_INNER_PRODUCT)
    started = time.monotonic()
    if not index.is_trained:
        index.train(vectors)
    index.add(vectors)
    built = time.monotonic() - started
    recall, effort = tune(index, queries, truth, wanted)
    say(built=built, recall=recall, effort=effort, version=faiss.__version__)
    for line in sys.stdin:
        if line.strip() == "one":
            faiss.omp_set_num_threads(1)
            times = []
            for query in queries:
                started = time.perf_counter()
                index.search(query[None], K)
                times.append((time.perf_counter() - started) * 1000)
            say(p50=float(np.percentile(times, 50)), p99=float(np.percentile(times, 99)))
        else:
            faiss.omp_set_num_threads(threads)
            batch = np.tile(queries, (TIMES, 1))
            started = time.perf_counter()
            index.search(batch, K)
            say(per_second=len(batch) / (time.perf_counter() - started))


def tune(index, queries, truth, wanted):
    """The least effort that reaches the recall."""
    name = "efSearch" if hasattr(index, "hnsw") else "nprobe" if hasattr(index, "nprobe") else None
    effort = 1
    while True:
        if name == "efSearch":
            index.hnsw.efSearch = effort
        elif name:
            index.nprobe = effort
        found = index.search(queries, K)[1]
        recall = np.mean([len(set(a) & set(b)) / K for a, b in zip(found.tolist(), truth.tolist())])
        if name is None or recall >= wanted or effort >= 4096:
            return float(recall), {name: effort} if name else {}
        effort += max(1, effort // 8)


def say(**line):
    print(json.dumps(line), flush=True)


main()
