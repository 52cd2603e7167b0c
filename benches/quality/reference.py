#!/usr/bin/env python3
"""How good a model's vectors are on a collection, computed without floodmark: the independent side of docs/quality.md.

    python -m venv venv && venv/bin/pip install onnxruntime tokenizers numpy pytrec-eval-terrier scipy
    venv/bin/python benches/quality/reference.py MODEL.onnx TOKENIZER.json retrieval COLLECTION [--export EXPORT.jsonl]
    venv/bin/python benches/quality/reference.py MODEL.onnx TOKENIZER.json sts FILE.jsonl

Mean pooling over a text's own tokens, unit length, cosine, every document looked at, pytrec_eval for the figures. Without --export a
document is one vector of its title and text, cut at 256 tokens, as the published figures of the model are made. With --export
(what `floodmark export --state STATE` wrote of the collection) it is the best of its chunks, as floodmark has it.
"""
import argparse
import json
import os
import re

import numpy as np
import onnxruntime
import pytrec_eval
import scipy.stats
import tokenizers

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("tokenizer")
parser.add_argument("task", choices=["retrieval", "sts"])
parser.add_argument("data")
parser.add_argument("--export")
parser.add_argument("--qrels", default="test")
parser.add_argument("--threads", type=int, default=2)
args = parser.parse_args()

tokenizer = tokenizers.Tokenizer.from_file(args.tokenizer)
tokenizer.no_padding()
tokenizer.enable_truncation(256)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = args.threads
# int8 products are exact on every processor, as floodmark has them
options.add_session_config_entry("session.x64quantprecision", "1")
session = onnxruntime.InferenceSession(args.model, options, providers=["CPUExecutionProvider"])
wanted = [i.name for i in session.get_inputs()]


def embed(texts):
    rows = tokenizer.encode_batch(texts)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].ids))
    vectors = np.zeros((len(rows), 384), np.float32)
    at = 0
    while at < len(order):
        batch = [order[at]]
        while at + len(batch) < len(order) and (len(batch) + 1) * len(rows[order[at + len(batch)]].ids) <= 1024:
            batch.append(order[at + len(batch)])
        at += len(batch)
        width = max(len(rows[i].ids) for i in batch)
        ids, mask = np.zeros((len(batch), width), np.int64), np.zeros((len(batch), width), np.int64)
        for k, i in enumerate(batch):
            ids[k, : len(rows[i].ids)], mask[k, : len(rows[i].ids)] = rows[i].ids, 1
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        tokens = session.run(None, {name: given[name] for name in wanted})[0]
        for k, i in enumerate(batch):
            vector = tokens[k, : len(rows[i].ids)].mean(0)
            vectors[i] = vector / np.linalg.norm(vector)
    return vectors


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


if args.task == "sts":
    pairs = lines(args.data)
    a, b = embed([p["sentence1"] for p in pairs]), embed([p["sentence2"] for p in pairs])
    print(json.dumps({"pairs": len(pairs), "spearman": float(scipy.stats.spearmanr((a * b).sum(1), [p["score"] for p in pairs]).statistic)}))
    raise SystemExit

if args.export:
    with open(os.path.join(args.data, "corpus.jsonl"), "rb") as file:
        corpus = file.read()

    def chunk_text(chunk):
        # the bytes of the file, in which a chunk of title and text has the end of one field and the beginning of the other
        raw = re.sub(rb'",\s*"text":\s*"', rb"\\n\\n", corpus[chunk["start"] : chunk["end"]])
        return json.loads(b'"' + raw + b'"')

    chunks = [(c["document"], chunk_text(c)) for c in lines(args.export)]
else:
    chunks = [(d["_id"], (d.get("title", "") + " " + d["text"]).strip()) for d in lines(os.path.join(args.data, "corpus.jsonl"))]
qrels = {}
with open(os.path.join(args.data, "qrels", args.qrels + ".tsv"), encoding="utf-8") as file:
    for row in list(file)[1:]:
        query, document, score = row.rstrip("\n").split("\t")
        qrels.setdefault(query, {})[document] = int(score)
queries = [q for q in lines(os.path.join(args.data, "queries.jsonl")) if q["_id"] in qrels]
scores = embed([q["text"] for q in queries]) @ embed([text for _, text in chunks]).T
run = {}
for query, row in zip(queries, scores):
    best = {}
    for (document, _), score in zip(chunks, row):
        best[document] = max(best.get(document, -2.0), float(score))
    run[query["_id"]] = dict(sorted(best.items(), key=lambda x: -x[1])[:100])
found = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10", "recall.100"}).evaluate(run)
top = {q: dict(list(r.items())[:10]) for q, r in run.items()}
ranks = pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank"}).evaluate(top)
mean = lambda name, of: float(np.mean([of[q][name] for q in qrels]))
print(json.dumps({"documents": len({d for d, _ in chunks}), "chunks": len(chunks), "queries": len(queries),
                  "ndcg@10": mean("ndcg_cut_10", found), "mrr@10": mean("recip_rank", ranks), "recall@100": mean("recall_100", found)}))
