"""The weights of a BERT-like `model.onnx` as a folder that sentence-transformers reads.

No weights are fetched: they are taken out of the ONNX file, and checked against it on some sentences before the folder
is used. `python torch_weights.py MODEL_DIR` makes it beforehand.
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

COPIED = ["config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "sentence_bert_config.json"]
MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
]


def folder_of(model):
    """Made once for each ONNX file, in the folder BENCH_CACHE names."""
    model = Path(model)
    stat = (model / "model.onnx").stat()
    key = hashlib.sha256(f"{model.resolve()} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:16]
    folder = Path(os.environ.get("BENCH_CACHE", tempfile.gettempdir())) / f"torch-{key}"
    if not folder.exists():
        half = folder.with_suffix(".half")
        shutil.rmtree(half, ignore_errors=True)
        write(model, half)
        half.rename(folder)
    return folder


def write(model, folder):
    import onnx
    import torch
    from onnx import numpy_helper
    from safetensors.torch import save_file

    graph = onnx.load(str(model / "model.onnx")).graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights = {}
    for name, array in arrays.items():
        at = [name.find(part) for part in ("embeddings.", "encoder.") if part in name]
        if at:
            weights[name[min(at) :]] = torch.from_numpy(array.copy())
    # The matrices have lost their names: the node that multiplies by one has the name of the layer, and x·W is (Wᵀ)ᵀ.
    for node in graph.node:
        matrix = [name for name in node.input if name in arrays and arrays[name].ndim == 2]
        if node.op_type == "MatMul" and matrix and "/encoder/" in node.name:
            layer = node.name.split("/encoder/")[1].rsplit("/", 1)[0].replace("/", ".")
            weights[f"encoder.{layer}.weight"] = torch.from_numpy(arrays[matrix[0]].T.copy())
    folder.mkdir(parents=True)
    for name in COPIED:
        if (model / name).exists():
            shutil.copy(model / name, folder / name)
    (folder / "1_Pooling").mkdir()
    shutil.copy(model / "1_Pooling" / "config.json", folder / "1_Pooling")
    (folder / "modules.json").write_text(json.dumps(MODULES))
    save_file(weights, str(folder / "model.safetensors"), metadata={"format": "pt"})
    check(model, folder)


def check(model, folder):
    import numpy as np
    from sentence_transformers import SentenceTransformer

    import embedders

    texts = ["The tide comes in.", "A ledger of copper and timber, kept by the harbour", "def f(x): return x + 1"]
    ours = SentenceTransformer(str(folder), device="cpu").encode(texts, normalize_embeddings=True)
    cosines = (ours * embedders.Onnx(model)(texts)).sum(axis=1)
    if np.min(cosines) < 0.9999:
        raise SystemExit(f"torch_weights: the weights taken out of {model} give other vectors (cosines {cosines})")


if __name__ == "__main__":
    print(folder_of(Path(sys.argv[1])))
