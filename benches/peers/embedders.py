"""The same model for every peer: a folder with `model.onnx` (f32) and `tokenizer.json`, mean pooling, unit length.

`onnx` is ONNX Runtime with the texts of a call sorted by length and batched by padded tokens, which is the fastest
that a script does with it. `torch` is sentence-transformers on the same weights (see torch_weights.py).
"""

import os

import numpy as np

DIMENSION = 384
TOKENS_MAX = 256
BATCH_TOKENS = 1024
THREADS = len(os.sched_getaffinity(0))


class Onnx:
    def __init__(self, folder):
        import onnxruntime
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(TOKENS_MAX)
        self.tokenizer.no_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self.embedded = 0

    def __call__(self, texts):
        """n texts → [n, 384] f32 of unit length."""
        rows = [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]
        self.embedded += len(rows)
        out = np.empty((len(rows), DIMENSION), dtype=np.float32)
        order = sorted(range(len(rows)), key=lambda at: len(rows[at]), reverse=True)
        start = 0
        while start < len(order):
            width = len(rows[order[start]])
            some = order[start : start + max(1, BATCH_TOKENS // width)]
            start += len(some)
            ids = np.zeros((len(some), width), dtype=np.int64)
            mask = np.zeros_like(ids)
            for row, at in enumerate(some):
                ids[row, : len(rows[at])] = rows[at]
                mask[row, : len(rows[at])] = 1
            hidden = self.session.run(
                None,
                {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)},
            )[0]
            pooled = (hidden * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
            out[some] = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        return out


class Torch:
    def __init__(self, folder):
        import torch
        from sentence_transformers import SentenceTransformer

        import torch_weights

        torch.set_num_threads(THREADS)
        self.model = SentenceTransformer(str(torch_weights.folder_of(folder)), device="cpu")
        self.embedded = 0

    def __call__(self, texts):
        texts = list(texts)
        self.embedded += len(texts)
        return self.model.encode(texts, normalize_embeddings=True, show_progress_bar=False)


def make(kind, folder):
    return Torch(folder) if kind == "torch" else Onnx(folder)
