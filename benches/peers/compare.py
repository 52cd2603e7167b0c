"""floodmark and its peers on the same files, in turn: what each does, how long it takes, and whether it is right then."""

import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from contestants import Failed, Floodmark, Peer

PEERS = [
    ("script: ONNX Runtime + FAISS + watchdog", "with_script.py", "script", "onnx"),
    ("script: sentence-transformers + FAISS + watchdog", "with_script.py", "script-torch", "torch"),
    ("txtai", "with_txtai.py", "txtai", "onnx"),
    ("LlamaIndex IngestionPipeline", "with_llamaindex.py", "llamaindex", "onnx"),
    ("LangChain index()", "with_langchain.py", "langchain", "onnx"),
    ("CocoIndex", "with_cocoindex.py", "cocoindex", "onnx"),
    ("Pathway", "with_pathway.py", "pathway", "onnx"),
]
# Of what takes a second or less one time says little.
TURNS = 3
BARE = ("bare embed loop, ONNX Runtime f32 in Python", "bare.py", "script", "onnx")


def everyone(given):
    own = [Floodmark("floodmark", [], given)]
    if (given.model / "model.onnx").exists():
        own.append(Floodmark("floodmark, the peers' f32 model", ["--model", given.model / "model.onnx"], given))
    return own + [Peer(*peer, given) for peer in PEERS]


def compare(given, texts, rounds, trials, seconds):
    """{"rows": {who: {row: …}}, "missing": {who: why}}; no further round is begun after so many seconds."""
    print("bench: peers", file=sys.stderr)
    all_of_them = everyone(given)
    missing = {one.name: one.missing for one in all_of_them if one.missing}
    here = [one for one in all_of_them if not one.missing]
    bare = Peer(*BARE, given)
    rows = {one.name: {} for one in here}
    with tempfile.TemporaryDirectory(prefix="fmb") as scratch:
        scratch = Path(scratch).resolve()
        limits = []
        for one in all_of_them:
            if isinstance(one, Floodmark):
                one.start_up(scratch)
        begun, turns = time.monotonic(), 0
        while turns == 0 or turns < rounds and time.monotonic() - begun < seconds:
            turn, turns = turns, turns + 1
            # Another order each time: whoever comes after a hot neighbour is not always the same.
            random.Random(turn).shuffle(here)
            if not bare.missing:
                folder = files(scratch / f"bare-{turn}", texts)
                limits.append(bare.once(folder, scratch / "bare-state"))
            for one in list(here):
                folder = files(scratch / f"{number(all_of_them, one)}-{turn}", texts)
                attempt(rows, one, "full", lambda: one.once(folder, scratch / f"s{number(all_of_them, one)}-{turn}"))
                if rows[one.name]["full"][-1].get("failed"):
                    here.remove(one)
        for one in here:
            print(f"bench: {one.name}", file=sys.stderr)
            name = number(all_of_them, one)
            last = scratch / f"{name}-{turns - 1}", scratch / f"s{name}-{turns - 1}"
            afterwards(rows, one, *last, texts, trials)
            folder = files(scratch / f"{name}-kill", texts)
            attempt(rows, one, "kill", lambda: resume(one, folder, scratch / f"s{name}-kill", rows[one.name]["full"]))
            for turn in range(turns):
                shutil.rmtree(scratch / f"s{name}-{turn}", ignore_errors=True)
    return {"rows": rows, "missing": missing, "bare": limits, "texts": len(texts)}


def number(all_of_them, one):
    return all_of_them.index(one)


def attempt(rows, one, row, work):
    try:
        figure = work()
    except (Failed, OSError, KeyError, ValueError) as error:
        figure = {"failed": str(error) or type(error).__name__}
        print(f"bench: {one.name}: {row}: {figure['failed']}", file=sys.stderr)
    rows[one.name].setdefault(row, []).append(figure)


def files(folder, texts):
    """A text a file, a hundred a folder."""
    for at, text in enumerate(texts):
        below = folder / f"{at // 100:03}"
        below.mkdir(parents=True, exist_ok=True)
        (below / f"{at:05}.txt").write_text(text)
    return folder


def afterwards(rows, one, folder, state, texts, trials):
    """What changes in an indexed folder."""
    paths = sorted(folder.rglob("*.txt"))
    again = lambda: one.once(folder, state)  # noqa: E731
    for turn in range(TURNS):
        changed, moved, deleted = paths[3 * turn : 3 * turn + 3]
        attempt(rows, one, "unchanged", again)
        changed.write_text(f"The sluice keeper wrote that gate {turn} had rusted shut overnight.")
        attempt(rows, one, "change", again)
        moved.rename(moved.with_name(f"moved-{turn}.txt"))
        attempt(rows, one, "move", again)
        deleted.unlink()
        attempt(rows, one, "delete", again)
        for row in ("unchanged", "change", "move", "delete"):
            rows[one.name][row][turn]["expected"] = len(texts) - turn - (row == "delete")
    attempt(rows, one, "live", lambda: live(one, folder, state, trials))


def live(one, folder, state, trials):
    times, right = [], []

    def done(ms, found):
        times.append(ms)
        right.append(found)

    def each():
        for trial in range(trials):
            text = f"Trial {trial}: the lighthouse keeper counted {trial * 37 + 11} gulls before the fog bell rang."
            yield folder / "000" / f"live-{trial}.txt", text, done

    one.live(folder, state, each())
    return {"ms": times, "median_ms": statistics.median(times), "found_first": sum(right), "trials": trials}


def resume(one, folder, state, full):
    """Killed in the middle, run again: what is done twice, and what is missing afterwards."""
    one.killed(folder, state, full[-1])
    figure = one.once(folder, state)
    figure["expected"] = sum(1 for _ in folder.rglob("*.txt"))
    return figure
