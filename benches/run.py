#!/usr/bin/env python3
"""`make bench`: builds the benches, runs everything in turn, and writes what came out.

    BENCH=quick   some minutes, small inputs: does it run, and roughly how does it stand (the default is `full`)
    ONLY=a,b      of: build is always done; ingest known walk change restart scaling memory query search peers operators
    BENCH_MODEL=DIR     folder of the f32 model that the peers use (model.onnx, tokenizer.json, 1_Pooling/config.json)
    BENCH_DATA=DIR      folder with passages.jsonl and streams/slatedb-md/events.jsonl; without it texts are made up
    BENCH_TORCH=1       take torch from PyPI too (gigabytes), for the peers that need it
    BENCH_MILLION=1     changes and restarts of a million chunks too, where only the stand-in for the model is used; a walk over a million files
    BENCH_PATIENCE=2    so many times as long before a section is ended
    BENCH_RENEW=1       with ONLY: these sections take the place of those of the last full run of everything, and the page
                        says of which build each is

All that is written is below the target folder, but for docs/performance.md and its plots, which only a full run of
everything replaces, or renews in part. A section that fails or does not end is told of, in the results and on the page; the others go on.
"""

import datetime
import json
import os
import platform
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP / "benches" / "peers"))
sys.dont_write_bytecode = True

import report  # noqa: E402

RUST = ["ingest", "known", "walk", "change", "restart", "scaling", "memory", "query"]
# As the program starts itself (docs/decisions/0017-memory.md): what is measured inside of a bench is to run as it does there.
MEMORY = {
    "MALLOC_ARENA_MAX": str(max(2, len(os.sched_getaffinity(0)))),
    "MALLOC_MMAP_THRESHOLD_": str(1 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 20),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
SECTIONS = [*RUST, "search", "peers", "operators"]
# Short records are indexed by the first and used by the others: one process, and renewed together or not at all.
TOGETHER = ["ingest", "change", "restart", "memory"]
# Rows that bear another name than the section that measured them.
ROWS = {
    "ingest": ["ingest", "overhead"],
    "known": ["without the model"],
    "change": ["change", "change without the model"],
    "restart": ["restart", "large restart"],
}

SIZES = {
    "quick": {
        "flags": "--rounds 2 --seconds 30 --texts 300 --short 1000 --scaling 100 --chunks 5000 --files 5000 --sizes 200,1000 "
        "--stand-in-sizes 1000,10000 --changes 30 --replay-mb 10 --query-chunks 5000 --queries 50",
        "search": [5000],
        "search_rounds": 2,
        "peers": {"texts": 60, "rounds": 1, "trials": 3, "seconds": 120},
        "operators": ["--quick"],
    },
    "full": {
        "flags": "--rounds 3 --seconds 120 --texts 4000 --short 100000 --scaling 2400 --chunks 100000 --files 100000 "
        "--sizes 1000,10000,100000 --stand-in-sizes 1000,10000,100000 --changes 200 --replay-mb 1000 --query-chunks 100000 --queries 800",
        "search": [10000, 100000],
        "search_rounds": 5,
        "peers": {"texts": 500, "rounds": 3, "trials": 20, "seconds": 240},
        "operators": ["--warm-up-time", "0.5", "--measurement-time", "1.5", "--sample-size", "20"],
    },
}

# Minutes after which a section is ended and told of as failed. Well above what it takes: on two quiet cores all of them
# together take about fifty. A busy machine, or a slower one, gets more by BENCH_PATIENCE=2.
MINUTES = {
    "ingest": 25,
    "known": 5,
    "walk": 5,
    "change": 8,
    "restart": 6,
    "scaling": 10,
    "memory": 8,
    "query": 25,
    "search": 6,
    "peers": 20,
    "operators": 30,
}


class Failed(Exception):
    """Why a section has no figures."""


def late(*_):
    raise Failed("not done in its time")


def main():
    if sys.version_info < (3, 10):
        raise SystemExit(f"bench: Python {platform.python_version()} is too old: 3.10 or newer runs the benches")
    mode = os.environ.get("BENCH") or "full"
    if mode not in SIZES:
        raise SystemExit(f"bench: BENCH={mode}: quick or full")
    only = [name for name in (os.environ.get("ONLY") or "").split(",") if name] or SECTIONS
    if unknown := sorted(set(only) - set(SECTIONS)):
        raise SystemExit(f"bench: ONLY={','.join(unknown)}: there are {', '.join(SECTIONS)}")
    sizes = dict(SIZES[mode])
    if os.environ.get("BENCH_MILLION"):
        sizes["flags"] = sizes["flags"].replace("100000 --changes", "100000,1000000 --changes").replace("--files 100000", "--files 1000000")
    target = Path(os.environ.get("CARGO_TARGET_DIR") or TOP / "target").resolve()
    out = target / "bench"
    out.mkdir(parents=True, exist_ok=True)
    before = whole(out / "results.json", mode, only) if os.environ.get("BENCH_RENEW") else None
    # Of others: the build is our own.
    load = os.getloadavg()
    programs = build("operators" in only)
    ticks = processor_ticks()
    started = time.monotonic()
    results = {
        "mode": mode,
        "only": only,
        "command": command(mode),
        "machine": machine(),
        "commit": text("git", "describe", "--always", "--dirty"),
        "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "load_before": load,
        "facts": {},
        "failed": {},
        "took": {},
        "rows": [],
    }

    def keep():
        results["load_after"] = os.getloadavg()
        results["stolen"] = stolen(ticks)
        results["seconds"] = round(time.monotonic() - started)
        # What is to be renewed is kept until all of it is.
        (out / ("results.json" if before is None else "renewal.json")).write_text(json.dumps(results, indent=1))

    if rust := [name for name in RUST if name in only]:
        end_to_end(programs["end_to_end"], rust, sizes, out, results)
        keep()
    signal.signal(signal.SIGALRM, late)
    others = {
        "search": lambda: search(programs["vector_view"], sizes, out),
        "peers": lambda: peers(programs["floodmark"], sizes, out),
        "operators": lambda: operators(programs["operators"], sizes["operators"], out, minutes(["operators"])),
    }
    for name, work in others.items():
        if name in only:
            begun = time.monotonic()
            signal.alarm(round(minutes([name])))
            try:
                results[name] = work()
            except Exception as error:  # noqa: BLE001: whatever it is, the other sections are worth having
                traceback.print_exc()
                fail(results, name, str(error) or type(error).__name__)
            finally:
                signal.alarm(0)
            results["took"][name] = round(time.monotonic() - begun)
            keep()
    complete = mode == "full" and set(only) == set(SECTIONS)
    if before is not None and not results["failed"]:
        results, complete = renewed(before, results), True
        (out / "results.json").write_text(json.dumps(results, indent=1))
    print(f"bench: {out / 'results.json'}", file=sys.stderr)
    page = report.write(results, TOP / "docs" if complete else out)
    print(f"bench: {page}", file=sys.stderr)
    for name, why in results["failed"].items():
        print(f"bench: {name} failed: {why}", file=sys.stderr)
    if results["failed"]:
        raise SystemExit(1)


def processor_ticks():
    """(stolen, all) clock ticks of all processors since the machine started; None where the kernel does not say."""
    try:
        ticks = [int(number) for number in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    except (OSError, ValueError, IndexError):
        return None
    return (ticks[7], sum(ticks)) if len(ticks) == 8 else None


def stolen(before):
    """The share of the processors' time that a virtual machine's host has given to others since then."""
    now = processor_ticks()
    if before is None or now is None or now[1] <= before[1]:
        return None
    return round((now[0] - before[0]) / (now[1] - before[1]), 4)


def whole(file, mode, only):
    """The last full run of everything, of which the sections `only` are to be renewed."""
    results = json.loads(file.read_text()) if file.exists() else {}
    if mode != "full" or set(results.get("only", [])) != set(SECTIONS) or results["mode"] != "full" or results["machine"] != machine():
        raise SystemExit(f"bench: BENCH_RENEW: {file} is of no full run of everything on this machine: run `make bench` without it")
    if 0 < len(set(only) & set(TOGETHER)) < len(TOGETHER):
        raise SystemExit(f"bench: BENCH_RENEW: {', '.join(TOGETHER)} are renewed together")
    return results


def renewed(before, results):
    """The whole run of before, with the sections that have just been measured."""
    names = {row for section in results["only"] for row in ROWS.get(section, [section])}
    before["rows"] = [row for row in before["rows"] if row["section"] not in names] + results["rows"]
    for section in results["only"]:
        if section in results:
            before[section] = results[section]
        before["failed"].pop(section, None)
        before["took"][section] = results["took"].get(section)
        before.setdefault("renewed", {})[section] = {name: results[name] for name in ("command", "commit", "started", "load_before", "load_after", "stolen")}
    return before


def build(with_operators):
    """The programs that are run: name → path. All that is compiled is compiled before the clock starts."""
    cargo = os.environ.get("CARGO", "cargo")
    asked = [cargo, "build", "--release", "--bin", "floodmark", "--bench", "end_to_end", "--bench", "vector_view"]
    # One build for all: the features stay as they are, and nothing is compiled twice.
    asked += ["--bench", "operators"] if with_operators else []
    built = subprocess.run(
        [*asked, "--message-format=json-render-diagnostics"], cwd=TOP, stdout=subprocess.PIPE, text=True
    )
    if built.returncode:
        raise SystemExit("bench: the build failed")
    found = {}
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("reason") == "compiler-artifact" and message.get("executable"):
            found[message["target"]["name"]] = Path(message["executable"])
    return found


def end_to_end(program, sections, sizes, out, results):
    file = out / "end_to_end.jsonl"
    file.unlink(missing_ok=True)
    flags = sizes["flags"].split()
    if data := os.environ.get("BENCH_DATA"):
        given = {"--passages": "passages.jsonl"}
        if results["mode"] == "full":
            given["--edits"] = "streams/slatedb-md/events.jsonl"
        for flag, path in given.items():
            if (Path(data) / path).exists():
                flags += [flag, str(Path(data) / path)]
    if "query" in sections:
        # `search` takes the vectors of its index.
        shutil.rmtree(out / "query-index", ignore_errors=True)
        flags += ["--sentences", str(sentences(out)), "--query-index", str(out / "query-index")]
    # One section a process: what one has left in memory is not the next one's.
    together = [name for name in sections if name in TOGETHER]
    groups = [",".join(together)] if together else []
    groups += [name for name in sections if name not in together]
    for group in groups:
        wanted = group.split(",")
        while wanted:
            command = [str(program), "--bench", "--only", ",".join(wanted), "--results", str(file), *flags]
            reason = child(command, minutes(wanted), {"ORT_DISABLE_TELEMETRY": "1", **MEMORY})
            ended = ends(file, results)
            left = [name for name in wanted if name not in ended]
            # What died in the middle is not tried again; what would have come after it is.
            if left and (reason or left != wanted):
                fail(results, left[0], reason or "ended without a word")
            wanted = left[1:]
    for line in file.read_text().splitlines() if file.exists() else []:
        row = json.loads(line)
        if "fact" in row:
            results["facts"][row["fact"]] = row["value"]
        elif "section" in row:
            results["rows"].append(row)


def sentences(out):
    """A file of the sentences in the documentation of the dependencies, which everyone has who can build: real texts, and many."""
    asked = [os.environ.get("CARGO") or "cargo", "metadata", "--locked", "--format-version", "1"]
    metadata = json.loads(subprocess.run(asked, cwd=TOP, stdout=subprocess.PIPE, check=True).stdout)
    found = {}
    for package in sorted(metadata["packages"], key=lambda package: package["id"]):
        if package["source"] is None:  # our own: they change
            continue
        for file in sorted(Path(package["manifest_path"]).parent.rglob("*.rs")):
            comments = (re.match(r"\s*//[/!] ?(.*)", line) for line in file.read_text(errors="replace").splitlines())
            lines = [comment.group(1).strip() if comment else "" for comment in comments]
            for paragraph in "\n".join(lines).split("\n\n"):
                for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z])", paragraph):
                    words = sentence.split()
                    if 5 <= len(words) <= 60:
                        found.setdefault(" ".join(words))
    texts = list(found)
    random.Random(0).shuffle(texts)
    file = out / "sentences.jsonl"
    file.write_text("".join(json.dumps(text) + "\n" for text in texts))
    return file


def ends(file, results):
    """The sections that have said that they ended; those that failed are noted."""
    lines = file.read_text().splitlines() if file.exists() else []
    said = [line for line in map(json.loads, lines) if "ended" in line]
    for line in said:
        results["took"][line["ended"]] = line["seconds"]
        if line["failed"]:
            fail(results, line["ended"], line["failed"])
    return {line["ended"] for line in said}


def fail(results, name, why):
    if name not in results["failed"]:
        print(f"bench: {name} failed: {why}", file=sys.stderr)
    results["failed"][name] = why


def minutes(sections):
    """Until when these must be done, in seconds."""
    return 60 * sum(MINUTES[name] for name in sections) * float(os.environ.get("BENCH_PATIENCE") or 1)


def child(command, seconds, more=()):
    """Runs it; why it failed, or None. What it has started ends with it."""
    process = subprocess.Popen(command, cwd=TOP, env={**os.environ, **dict(more)}, start_new_session=True)
    try:
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return f"not done after {seconds / 60:.0f} min"
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return f"exit status {status}" if status else None


def search(program, sizes, out):
    """floodmark's vector view and FAISS from PyPI on the same vectors, in turn."""
    import environments

    python, missing = environments.python_of("script", out / "environments")
    found = []
    # Of real texts, where `query` has just embedded some.
    state = out / "query-index" / "query-state"
    real = ["--state", str(state)] if state.exists() else []
    for size in sizes["search"]:
        folder = out / "search"
        own = Talk([str(program), "--serve", str(folder), str(size), *real], {**os.environ, **MEMORY})
        first = own.answer()
        row = {"vectors": first["vectors"], "floodmark": {**first, "one": [], "many": []}, "missing": missing}
        pairs = [(own, row["floodmark"])]
        if not missing:
            script = TOP / "benches" / "peers" / "faiss_search.py"
            other = Talk([str(python), str(script), str(folder), first["factory"], str(first["recall"])])
            row["faiss"] = {**other.answer(), "one": [], "many": []}
            pairs.append((other, row["faiss"]))
        try:
            for _ in range(sizes["search_rounds"]):
                for what in ("one", "many"):
                    for talk, into in pairs:
                        into[what].append(talk.ask(what))
        finally:
            for talk, _ in pairs:
                talk.end()
        for name in ("vectors.f32", "queries.f32", "truth.u32"):
            (folder / name).unlink(missing_ok=True)
        found.append(row)
        print(f"bench: search: {json.dumps(row)}", file=sys.stderr)
    shutil.rmtree(out / "query-index", ignore_errors=True)
    return found


class Talk:
    """A child that answers a line with a line."""

    def __init__(self, command, environment=None):
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def answer(self):
        line = self.child.stdout.readline()
        if not line:
            raise Failed(f"{self.child.args[0]} ended without an answer")
        return json.loads(line)

    def ask(self, word):
        self.child.stdin.write(word + "\n")
        self.child.stdin.flush()
        return self.answer()

    def end(self):
        self.child.stdin.close()
        self.child.wait()


def peers(floodmark, sizes, out):
    import types

    import compare
    import contestants

    model = os.environ.get("BENCH_MODEL")
    if not model or not (Path(model) / "model.onnx").exists():
        why = "no model to give them: BENCH_MODEL names no folder with a model.onnx"
        print(f"bench: peers: {why}", file=sys.stderr)
        return {"rows": {}, "missing": {name: why for name, *_ in compare.PEERS}, "bare": [], "texts": 0}
    given = types.SimpleNamespace(
        floodmark=floodmark,
        model=Path(model).resolve(),
        environments=out / "environments",
        torch=bool(os.environ.get("BENCH_TORCH")),
        logs=out / "logs",
    )
    given.logs.mkdir(exist_ok=True)
    wanted = sizes["peers"]
    try:
        return compare.compare(given, texts(wanted["texts"]), wanted["rounds"], wanted["trials"], wanted["seconds"])
    finally:
        contestants.end_all()


def texts(count):
    """Passages a file each: all cut nothing, so that all embed the same."""
    data = os.environ.get("BENCH_DATA")
    passages = Path(data) / "passages.jsonl" if data else None
    if passages and passages.exists():
        some = (json.loads(line).strip() for line in passages.open())
        return list(dict.fromkeys(text for text in some if text))[:count]
    words = "harbour winter ledger copper garden signal bridge kettle meadow engine lantern river market violin".split()
    made = []
    for number in range(count):
        length = 12 + number * 7919 % 120
        made.append(f"Note {number}: " + " ".join(words[(number * 31 + at * at) % len(words)] for at in range(length)))
    return made


def operators(program, flags, out, seconds):
    home = out / "criterion"
    # What an earlier run measured is not this one's.
    shutil.rmtree(home, ignore_errors=True)
    if reason := child([str(program), "--bench", *flags], seconds, {"CRITERION_HOME": str(home)}):
        raise Failed(reason)
    return criterion(home)


def criterion(home):
    """Nanoseconds of what criterion has just measured: name → median."""
    found = {}
    for file in sorted(home.rglob("new/estimates.json")):
        name = json.loads((file.parent / "benchmark.json").read_text())
        median = json.loads(file.read_text())["median"]["point_estimate"]
        found[name["full_id"]] = {"ns": median, "throughput": name.get("throughput")}
    return found


def command(mode):
    set_here = [f"{name}={os.environ[name]}" for name in ("ONLY", "BENCH_TORCH", "BENCH_MILLION", "BENCH_PATIENCE", "BENCH_RENEW") if os.environ.get(name)]
    # Folders differ by machine: that they were given is what counts.
    set_here += [f"{name}=DIR" for name in ("BENCH_DATA", "BENCH_MODEL") if os.environ.get(name)]
    return " ".join(["make bench", f"BENCH={mode}", *set_here])


def machine():
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(memory),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
    }


def text(*command):
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True)
    return done.stdout.strip()


if __name__ == "__main__":
    main()
