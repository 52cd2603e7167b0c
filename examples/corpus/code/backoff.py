"""Calls to services that are sometimes briefly away."""

import random
import time


def with_backoff(call, tries=5, base_s=0.2, cap_s=30.0, sleep=time.sleep, rng=random.random):
    """Runs `call` up to `tries` times; the pause doubles each time up to `cap_s`, with jitter so that clients spread out."""
    for done in range(tries):
        try:
            return call()
        except (TimeoutError, ConnectionError):
            if done + 1 == tries:
                raise
            sleep(min(cap_s, base_s * 2**done) * (0.5 + rng() / 2))


def chunked(items, size):
    """Lists of at most `size` elements, in order; the last may be shorter."""
    piece = []
    for item in items:
        piece.append(item)
        if len(piece) == size:
            yield piece
            piece = []
    if piece:
        yield piece
