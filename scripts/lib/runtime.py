"""A node of the runtime beside jaros, the Python runtime that it follows: both are given the same jobs, by files.

    runtime.py JOS [JAROS…]     each JAROS a virtual environment with that version in it

Prints rows of Markdown. Everything that is compared takes turns in this one run; each row says of how many runs it is the
median. A runtime that needs more than its patience is stopped, and the row says how far it came.
"""
import hashlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

SIZES = (250, 1000, 10000)
# Seconds for the jobs of one size, and for their replay; a runtime that needs more is not asked for the next size.
PATIENCE = 90
# Runs of a size, where they are as fast as that.
RUNS = 5
# Decisions of tools that are replayed, and how many of them a job has.
TOOLS, EACH = 100_000, 250


class System:
    """One runtime: how it is started, and which member of a job names the agent."""

    def __init__(self, name, program, agent, serve, log, environment=None):
        self.name, self.agent, self.log = name, agent, log
        self.program, self.serve, self.environment = program, serve, environment or {}

    def init(self):
        return [self.program] + (["runtime"] if self.name == "jos" else []) + ["init"]


class Node:
    """A data directory of its own, and `serve` on it."""

    def __init__(self, system, prepare=None):
        self.system = system
        self.folder = tempfile.TemporaryDirectory()
        self.data = pathlib.Path(self.folder.name) / "data"
        paths = {"JOS_DATA_DIR": str(self.data), "JAROS_DATA_DIR": str(self.data)}
        environment = {**os.environ, **paths, **system.environment}
        self.quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
        subprocess.run([*system.init(), "--data-dir", str(self.data)], check=True, **self.quiet)
        if prepare:
            prepare(self.data)
        began = time.perf_counter()
        self.process = subprocess.Popen([system.program, *system.serve, "--data-dir", str(self.data)], **self.quiet)
        self.submit("first")
        if self.wait(["first"]) != 1:
            sys.exit(f"error: {system.name} does not run the first job")
        self.started = time.perf_counter() - began

    def submit(self, name, agent="advance"):
        text = json.dumps({"id": name, self.system.agent: agent, "input": {}})
        temp = self.data / "inbox" / ("." + name)
        temp.write_text(text)
        temp.rename(self.data / "inbox" / (name + ".json"))

    def wait(self, names, patience=PATIENCE):
        """How many results came in time. Each is waited for in its turn: who looks for all of them again and again
        takes more of the machine the more there are."""
        due = time.perf_counter() + patience
        pause = 0.0001 if len(names) == 1 else 0.01
        for count, name in enumerate(names):
            result = self.data / "outbox" / (name + ".json")
            while not result.exists():
                if time.perf_counter() > due:
                    return sum((self.data / "outbox" / (name + ".json")).exists() for name in names[count:]) + count
                time.sleep(pause)
        return len(names)

    def ticks(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def pss(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return int(next(line for line in text.splitlines() if line.startswith("Pss:")).split()[1])

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def replay(self):
        """Seconds; none where it takes more than its patience."""
        began = time.perf_counter()
        words = [self.system.program, "replay", "--data-dir", str(self.data)]
        try:
            subprocess.run(words, check=True, timeout=PATIENCE, **self.quiet)
        except subprocess.TimeoutExpired:
            return None
        return time.perf_counter() - began

    def bytes(self):
        return sum(path.stat().st_size for pattern in self.system.log for path in self.data.glob(pattern))


def row(what, figures):
    print(f"| {what} | {' · '.join(figures)} |", flush=True)


def ask(system):
    """Start, latency, idle CPU and memory of one runtime."""
    starts, node = [], None
    for _ in range(3):
        if node:
            node.end()
        node = Node(system)
        starts.append(node.started)
    latencies = []
    for turn in range(100):
        began = time.perf_counter()
        node.submit(f"l{turn}")
        node.wait([f"l{turn}"])
        latencies.append(time.perf_counter() - began)
    before, began = node.ticks(), time.perf_counter()
    time.sleep(5)
    idle = (node.ticks() - before) / (time.perf_counter() - began)
    memory = node.pss()
    node.end()
    tail = sorted(latencies)[len(latencies) * 95 // 100]
    return {
        "start": f"{system.name} {statistics.median(starts) * 1000:.0f} ms",
        "latency": f"{system.name} {statistics.median(latencies) * 1000:.2f} ms (95th {tail * 1000:.2f})",
        "idle": f"{system.name} {idle * 100:.2f} %",
        "memory": f"{system.name} {memory} KiB",
    }


def jobs(system, size, runs):
    """Rate, replay and log bytes of `size` jobs; whether the next size may be asked for."""
    rates, replays, bytes_each, patient = [], [], 0, True
    for _ in range(runs):
        node = Node(system)
        names = [f"j{number}" for number in range(size)]
        began = time.perf_counter()
        for name in names:
            node.submit(name)
        done = node.wait(names)
        took = time.perf_counter() - began
        node.end()
        if done < size:
            return f"{system.name} stopped after {took:.0f} s with {done} done ({done / took:.0f}/s)", None, None, False
        rates.append(size / took)
        bytes_each = node.bytes() / (size + 1)
        again = node.replay()
        if again is None:
            patient = False
            break
        replays.append((size + 1) / again)
        if took + again > PATIENCE / 4:
            patient = took < PATIENCE / 2
            break
    rate = f"{system.name} {statistics.median(rates):.0f}/s ({len(rates)})"
    replay = f"{system.name} {statistics.median(replays):.0f}/s ({len(replays)})" if replays else f"{system.name} more than {PATIENCE} s"
    return rate, replay, f"{system.name} {bytes_each:.0f}", patient


def burst(data):
    """An agent that proposes so many decisions at once, and the module that executes them and does nothing."""
    module = '(module (memory (export "memory") 1) (func (export "validate") (result i32) i32.const 0) (func (export "execute") (result i32) i32.const 0))'
    (data / "tools" / "idle.wat").write_text(module)
    tool = {"kind": "jos.tool", "name": "idle", "decisions": ["bench.idle"], "wasm": hashlib.sha256(module.encode()).hexdigest()}
    (data / "tools" / "idle.json").write_text(json.dumps(tool))
    say = {"type": "prompt", "prompt": "x", "propose": [{"kind": "bench.idle", "payload": {"n": n}} for n in range(EACH)]}
    agent = {
        "id_jos": "burst",
        "orchestration_contract": {"version": "0.0.7"},
        "orchestration": {"definitions": {"say": say}, "flows": {"main": {"steps": ["say"]}}},
    }
    (data / "agents" / "burst.jos").write_text(json.dumps(agent))


def tools(system):
    node = Node(system, burst)
    names = [f"t{number}" for number in range(TOOLS // EACH)]
    began = time.perf_counter()
    for name in names:
        node.submit(name, "burst")
    done = node.wait(names, 2 * PATIENCE)
    took = time.perf_counter() - began
    node.end()
    decided = done * EACH
    row(f"runtime: decisions of a module that does nothing, {EACH} a job, each durable before it acts", [f"{system.name} {decided / took:.0f}/s of {decided}"])
    times = [again for again in (node.replay() for _ in range(3)) if again]
    if times:
        rate = decided / statistics.median(times)
        row(f"runtime: replay of {decided} tool decisions, the program's start included, median of {len(times)}", [f"{system.name} {rate:.0f}/s"])
    row("runtime: bytes of the log for each tool decision", [f"{system.name} {node.bytes() / max(decided, 1):.0f}"])


def main():
    program, *environments = sys.argv[1:]
    jos = System("jos", program, "agent", ["serve"], ["state/runtime/ledger/*.jsl"])
    systems, ticking = [jos], []
    for environment in environments:
        inside = pathlib.Path(environment) / "bin"
        asked = [str(inside / "python"), "-c", "import importlib.metadata as m; print(m.version('jaros'))"]
        version = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
        logs = ["state/decisions.log", "state/transitions.log"]
        # 0.2.0 names the agent of a job by `kind` and has no console; from 0.5.0 on it is `agent`, and the console comes along.
        old = tuple(map(int, version.split("."))) < (0, 5)
        words = ("kind", ["serve"]) if old else ("agent", ["serve", "--no-console"])
        systems.append(System(f"jaros {version}", str(inside / "jaros"), *words, logs))
        if not old:
            ticking.append(System(f"jaros {version} without its pause", str(inside / "jaros"), *words, logs, {"JAROS_TICK_MS": "0"}))

    told = [ask(system) for system in systems + ticking]
    for what, key in (
        ("start to first result, median of 3", "start"),
        ("submit to result, median of 100", "latency"),
        ("CPU of an idle node, 5 s", "idle"),
        ("memory of an idle node (PSS)", "memory"),
    ):
        row(f"runtime: {what}", [figures[key] for figures in told])

    slow = set()
    for size in SIZES:
        rates, replays, sizes = [], [], []
        for system in systems:
            if system in slow:
                rates.append(f"{system.name} not asked")
                continue
            rate, replay, each, patient = jobs(system, size, RUNS if system is jos else 1)
            rates.append(rate)
            replays += [replay] if replay else []
            sizes += [each] if each else []
            if not patient:
                slow.add(system)
        row(f"runtime: jobs through the daemon, N = {size}, median of (runs)", rates)
        row(f"runtime: replay of their decisions, the program's start included, N = {size}, median of (runs)", replays)
        row(f"runtime: bytes of the log for each job, N = {size}", sizes)
    tools(jos)


main()
