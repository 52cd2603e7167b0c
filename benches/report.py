"""docs/performance.md and its plots from results.json.

    report.py results.json DIR
"""

import json
import re
import statistics
import sys
from pathlib import Path

import plots
from plots import figure

TEMPLATE = Path(__file__).with_name("performance.in.md")

# What is wanted of a row: section, a part of its name, of what, how much.
TARGETS = [
    ("ingest", "", "ratio", ">=", 0.97),
    ("ingest", "passages in", "value", ">=", 400),
    ("ingest", "short records", "value", ">=", 400),
    ("overhead", "", "ratio", "<=", 1.03),
    ("without the model", "stand-in", "chunks/s", ">=", 20_000),
    ("walk", "a scan by a run", "ratio", "<=", 1.5),
    ("walk", "a whole run", "ratio", "<=", 1.5),
    ("change", "p50", "value", "<=", 30),
    ("change", "p99", "value", "<=", 100),
    ("change without the model", "p50", "value", "<=", 30),
    ("change without the model", "p99", "value", "<=", 100),
    ("restart", "first answer", "value", "<=", 0.5),
    ("restart", "caught up", "value", "<=", 3),
    ("large restart", "store and view", "value", "<=", 2),
    ("large restart", "first answer", "value", "<=", 2),
    ("large restart", "caught up", "value", "<=", 15),
    ("scaling", "2 workers", "ratio", ">=", 1.9),
    ("scaling", "2 processes", "ratio", ">=", 1.9),
    ("query", "hybrid, p50", "value", "<=", 5),
    ("query", "hybrid, p99", "value", "<=", 15),
    ("query", "hybrid, its embedding included", "value", "<=", 20),
    ("query", "hybrid beside a run, p50", "ratio", "<=", 2),
]
HEADS = {
    "ingest": "Ingestion, the model included",
    "overhead": "What the dataflow itself costs: processor time beside the bare loop's",
    "without the model": "Without the model",
    "walk": "Nothing has changed",
    "change": "One changed file: closed → searchable",
    "change without the model": "The same without the model",
    "restart": "Restart",
    "large restart": "The same of a larger index, whose vectors the stand-in for the model made",
    "scaling": "Workers and processes",
    "memory": "Memory, resident",
    "query": "Queries in a large index",
}
PEER_ROWS = [
    ("unchanged", "unchanged re-run"),
    ("change", "one file changed"),
    ("move", "one file moved"),
    ("delete", "one file deleted"),
]


def write(results, folder):
    """Returns the page."""
    folder = Path(folder)
    images = folder / "performance"
    images.mkdir(parents=True, exist_ok=True)
    rows = [digest(row) for row in results["rows"]]
    parts = {
        "machine": machine(results),
        "sections": "\n\n".join(section(name, rows) for name in HEADS if any(row["section"] == name for row in rows)),
        "flatness": flatness(rows),
        "search": search(results),
        "peers": peers(results),
        "operators": operators(results),
        "behind": behind(rows, results),
        "plots": "\n".join(f"![{title}](performance/{name})" for name, title in draw(rows, results, images)),
    }
    page = re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], TEMPLATE.read_text())
    page = re.sub(r"\n{3,}", "\n\n", page)
    file = folder / "performance.md"
    file.write_text(page)
    return file


def digest(row):
    """A row with its median, its limit's, their ratio, and what is wanted of it."""
    row = dict(row)
    row["value"] = statistics.median(row["samples"]) if row["samples"] else float("nan")
    row["ratio"] = row["of"] = None
    if row["limit"]:
        row["of"] = statistics.median(row["limit"]["samples"])
        row["ratio"] = row["value"] / row["of"] if row["of"] else None
    row["wanted"] = []
    for section_name, part, of, sign, bound in TARGETS:
        if row["section"] != section_name or part not in row["what"]:
            continue
        have = row["ratio"] if of == "ratio" else row["value"] if of in ("value", row["unit"]) else None
        if have is not None:
            met = have >= bound if sign == ">=" else have <= bound
            unit = " of the limit" if of == "ratio" else f" {row['unit']}"
            row["wanted"].append((f"{'≥' if sign == '>=' else '≤'} {bound:,}{unit}", met))
    return row


def section(name, rows):
    lines = [f"### {HEADS[name]}", "", "| what | input | figure | limit beside it | figure ÷ limit | to reach |", "|---|---|---|---|---|---|"]
    for row in (row for row in rows if row["section"] == name):
        spread = ""
        if 1 < len(row["samples"]) < 20:
            spread = f" ({figure(min(row['samples']))} to {figure(max(row['samples']))})"
        limit = f"{row['limit']['what']}: {figure(row['of'])} {row['unit']}" if row["limit"] else ""
        ratio = f"{row['ratio']:.3f}" if row["ratio"] is not None else ""
        wanted = "; ".join(f"{text}: {'yes' if met else '**no**'}" for text, met in row["wanted"])
        lines.append(f"| {row['what']} | {row['input']} | {figure(row['value'])} {row['unit']}{spread} | {limit} | {ratio} | {wanted} |")
    return "\n".join(lines)


def flatness(rows):
    lines = []
    for name in ("change", "change without the model"):
        sizes = by_size(rows, name, "p50")
        if len(sizes) > 1:
            (small, first), (large, last) = sizes[0], sizes[-1]
            met = "yes" if last / first <= 1.3 else "**no**"
            lines.append(
                f"- {HEADS[name]}: p50 at {large:,} chunks ÷ p50 at {small:,}: {last / first:.2f} (to reach ≤ 1.3: {met})."
            )
    return "\n".join(lines)


def by_size(rows, name, part):
    found = []
    for row in rows:
        if row["section"] == name and row["what"].startswith(part):
            found.append((int(re.search(r"of (\d+) chunks", row["what"])[1]), row["value"]))
    return sorted(found)


def search(results):
    if "search" not in results:
        return absent(results, "search")
    lines = ["| vectors | index | | recall@10 | p50, one thread | p99 | queries/s, all cores |", "|---|---|---|---|---|---|---|"]
    for row in results["search"]:
        for who in ("floodmark", "faiss"):
            if who not in row:
                lines.append(f"| {row['vectors']:,} | | Python faiss-cpu: {row['missing']} | | | | |")
                continue
            one = row[who]
            name = "floodmark" if who == "floodmark" else f"Python faiss-cpu {one['version']}"
            lines.append(
                f"| {row['vectors']:,} {'real sentences' if row['floodmark']['real'] else 'made-up vectors'} | {row['floodmark']['factory']} | {name} | {one['recall']:.3f} "
                f"| {median(one['one'], 'p50'):.3f} ms | {median(one['one'], 'p99'):.3f} ms | {median(one['many'], 'per_second'):,.0f} |"
            )
        if "faiss" in row:
            ratio = median(row["floodmark"]["one"], "p50") / median(row["faiss"]["one"], "p50")
            met = "yes" if ratio <= 1 else "**no**"
            lines.append(f"| | | p50, floodmark ÷ FAISS | | {ratio:.2f} (to reach ≤ 1.0: {met}) | | |")
    return "\n".join(lines)


def absent(results, name):
    return "Failed in this run." if name in results.get("failed", {}) else "Not run."


def median(rows, name):
    return statistics.median(row[name] for row in rows)


def full(figures):
    """The row of whole ingestions in short: medians, or why there are none."""
    good = [row for row in figures.get("full", []) if "failed" not in row]
    if not good:
        return None
    return {name: statistics.median(row[name] for row in good) for name in ("process_s", "work_s", "peak_mb")}


def peers(results):
    if "peers" not in results:
        return absent(results, "peers")
    told = results["peers"]
    lines = []
    if told["bare"]:
        bare = statistics.median(row["work_s"] for row in told["bare"])
        lines += [f"The bare embed loop of the same model in Python, length-sorted: {figure(told['texts'] / bare)} texts/s.", ""]
    lines += [
        "Each cell: the whole process, and in brackets its work without start-up: after imports and the opening of the model, as the peer itself "
        f"says; for floodmark less the same command over an empty folder. {told['texts']:,} files of one passage. "
        "What takes a second was done three times; the median is shown.",
        "",
        "| | all files, s | texts/s | " + " | ".join(f"{name}, s" for _, name in PEER_ROWS) + " | kill -9, then again, s | live, median ms | peak MB |",
        "|---|---|---|" + "---|" * len(PEER_ROWS) + "---|---|---|",
    ]
    notes = []
    for who, figures in told["rows"].items():
        whole = full(figures)
        if not whole:
            failed = figures.get("full", [{}])[-1].get("failed", "did not run")
            lines.append(f"| {who} | {failed} |" + " |" * (len(PEER_ROWS) + 4))
            continue
        cells = [seconds(whole), figure(told["texts"] / whole["work_s"])]
        for row, name in PEER_ROWS:
            cells.append(cell(figures, row, who, name, notes))
        cells.append(cell(figures, "kill", who, "kill -9 and again", notes))
        live = figures.get("live", [{}])[-1]
        cells.append(figure(live["median_ms"]) if "median_ms" in live else live.get("failed", ""))
        if live.get("trials") and live["found_first"] < live["trials"]:
            notes.append(f"{who}, live: found {live['found_first']} of {live['trials']} at once.")
        cells.append(figure(whole["peak_mb"]))
        lines.append(f"| {who} | " + " | ".join(cells) + " |")
    for who, why in told["missing"].items():
        lines.append(f"| {who} | not run: {why} |" + " |" * (len(PEER_ROWS) + 4))
    if notes:
        lines += ["", "What was done twice, or is wrong afterwards:", "", *[f"- {note}" for note in notes]]
    return "\n".join(lines)


def seconds(row):
    return f"{figure(row['process_s'])} ({figure(row['work_s'])})"


def tried(figures, row):
    """All times that something was done as one: medians of seconds, and of what must be right the worst."""
    tries = figures.get(row) or [{}]
    worst = max(tries, key=lambda one: ("failed" in one, one.get("documents") != one.get("expected"), one.get("embedded") or 0))
    if "failed" in worst:
        return worst
    seconds = {name: statistics.median(one[name] for one in tries) for name in ("process_s", "work_s") if name in worst}
    return {**worst, **seconds}


def cell(figures, row, who, name, notes):
    told = tried(figures, row)
    if "failed" in told:
        notes.append(f"{who}, {name}: {told['failed']}")
        return "failed"
    if not told:
        return ""
    if told["documents"] != told["expected"]:
        notes.append(f"{who}, {name}: {told['documents']} documents in the index, {told['expected']} files in the folder.")
    again = {"unchanged": 0, "change": 1, "move": 0, "delete": 0}.get(row)
    if again is not None and told["embedded"] is not None and told["embedded"] > again:
        notes.append(f"{who}, {name}: {told['embedded']} texts embedded, {again} had to be.")
    if row == "kill" and told["embedded"] is not None:
        notes.append(f"{who}, {name}: {told['embedded']} of {told['expected']} texts embedded by the second run.")
    return seconds(told)


def operators(results):
    if not results.get("operators"):
        return absent(results, "operators")
    lines = ["| bench | time | |", "|---|---|---|"]
    for name, told in results["operators"].items():
        rate, amount = "", told["throughput"]
        if amount and "Elements" in amount:
            rate = f"{figure(amount['Elements'] / told['ns'] * 1e3)} M/s"
        lines.append(f"| {name} | {figure(told['ns'] / 1e3)} µs | {rate} |")
    return "\n".join(lines)


def behind(rows, results):
    """Every row in which what is wanted is not reached, or another is faster."""
    lines = []
    for row in rows:
        for text, met in row["wanted"]:
            if not met:
                ratio = f", {row['ratio']:.3f} of the limit" if row["ratio"] is not None else ""
                lines.append(f"- {HEADS[row['section']]}; {row['what']}: {figure(row['value'])} {row['unit']}{ratio}; wanted {text}.")
    told = results.get("peers", {"rows": {}})["rows"]
    own = told.get("floodmark", {})
    for who, figures in told.items():
        if who.startswith("floodmark") or not full(figures) or not full(own):
            continue
        ours, theirs = full(own), full(figures)
        if theirs["peak_mb"] < ours["peak_mb"]:
            lines.append(f"- {who}: {figure(theirs['peak_mb'])} MB at most, floodmark {figure(ours['peak_mb'])} MB.")
        pairs = [(ours, theirs, "all files")]
        for row, name in [*PEER_ROWS, ("kill", "kill -9 and again")]:
            pairs.append((tried(own, row), tried(figures, row), name))
        for a, b, name in pairs:
            for part, words in [("process_s", "the whole process"), ("work_s", "without start-up")]:
                if part in a and part in b and b[part] < a[part]:
                    lines.append(f"- {who}, {name}, {words}: {figure(b[part])} s, floodmark {figure(a[part])} s.")
        a, b = own.get("live", [{}])[-1], figures.get("live", [{}])[-1]
        if "median_ms" in a and "median_ms" in b and b["median_ms"] < a["median_ms"]:
            lines.append(f"- {who}, live: {figure(b['median_ms'])} ms, floodmark {figure(a['median_ms'])} ms.")
    return "\n".join(lines) or "In no row of this run."


def machine(results):
    of = results["machine"]
    took = f"{results['seconds'] / 60:.0f} min"
    lines = [
        f"    {results['command']}",
        "",
        f"{of['cores']} cores of {of['processor']}, {of['memory_gib']} GiB, {of['system']}; release build of `{results['commit']}`; "
        f"model `{results['facts'].get('model', 'not used')}`; {results['started'][:10]}, {took}.",
    ]
    lines += quiet(results, of["cores"])
    builds = {}
    for name, how in results.get("renewed", {}).items():
        builds.setdefault(how["started"], (how, []))[1].append(name)
    for how, names in builds.values():
        lines += ["", f"Renewed since, by a build of `{how['commit']}`, {how['started'][:10]}: {', '.join(names)}.", "", f"    {how['command']}", *quiet(how, of["cores"])]
    if failed := results.get("failed"):
        lines += ["", "**Failed in this run**, so that rows are missing below:", ""]
        lines += [f"- {name}: {' '.join(why.split())[:300]}" for name, why in failed.items()]
    if results["mode"] != "full":
        lines += ["", "A quick run with small inputs: whether it runs, not how fast it is."]
    return "\n".join(lines)


def quiet(run, cores):
    why = []
    if run["load_before"][0] > 0.5 * cores:
        why.append(f"load {run['load_before'][0]:.1f} before, {run['load_after'][0]:.1f} after")
    if (run.get("stolen") or 0) > 0.01:
        why.append(f"the virtual machine's host gave {100 * run['stolen']:.0f} % of the processors' time to others")
    return ["", f"**Not a quiet machine**: {'; '.join(why)}. Take no absolute time from there."] if why else []


def draw(rows, results, folder):
    """Writes the plots; (file, title) of each."""
    done = []

    def keep(name, title, text):
        (folder / name).write_text(text)
        done.append((name, title))

    ingest = [row for row in rows if row["section"] == "ingest"]
    if ingest:
        bars, own = [], set()
        for row in ingest:
            own.add(row["what"])
            bars += [(row["what"], row["value"]), (f"bare model ({row['input']})", row["of"])]
        keep("ingest.svg", "Ingestion beside the bare model", plots.bars("Ingestion beside the bare model", bars, "texts/s", own))
    series, ticks = [], set()
    for name, label in [("change", "with the model"), ("change without the model", "without the model")]:
        if sizes := by_size(rows, name, "p50"):
            series.append((label, sizes))
            ticks |= {size for size, _ in sizes}
    if series:
        title = "One changed file, by chunks in the index (p50)"
        keep("change.svg", title, plots.lines(title, series, "ms, closed → searchable", sorted(ticks)))
    told = results.get("peers", {"rows": {}, "texts": 0})
    own = {who for who in told["rows"] if who.startswith("floodmark")}
    speeds = [(who, told["texts"] / short["work_s"]) for who, f in told["rows"].items() if (short := full(f))]
    if speeds:
        if told["bare"]:
            bare = statistics.median(row["work_s"] for row in told["bare"])
            speeds.append(("bare embed loop, f32 in Python", told["texts"] / bare))
        title = "All files, texts a second (without start-up)"
        keep("peers.svg", title, plots.bars(title, sorted(speeds, key=lambda pair: -pair[1]), "texts/s", own))
    live = [(who, f["live"][-1]["median_ms"]) for who, f in told["rows"].items() if "median_ms" in f.get("live", [{}])[-1]]
    if live:
        title = "One new file, closed → found by a search (median)"
        keep("live.svg", title, plots.bars(title, sorted(live, key=lambda pair: pair[1]), "ms", own))
    return done


if __name__ == "__main__":
    print(write(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2]))
