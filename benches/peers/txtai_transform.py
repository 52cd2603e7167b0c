"""The embedder under a name that txtai can save and find again."""

embedder = None


def transform(texts):
    return embedder(texts)
