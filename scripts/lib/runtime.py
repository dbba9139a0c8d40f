"""A node of the runtime beside jaros, the Python runtime that it follows: both are given the same jobs, by files.

    runtime.py JOS [JAROS…]     each JAROS a virtual environment with that version in it

Prints rows of Markdown. Everything that is compared takes turns in this one run; each row says of how many runs it is the
median: of five, unless one run takes so long that the row says how many there were. A runtime that needs more than the patience
is stopped, and the row says when and how far it came; it is not asked for more after that.

For a trial: JOS_BENCH_SIZES and JOS_BENCH_TOOLS are the sizes (250,1000), JOS_BENCH_PATIENCE is in seconds.
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

def sizes(name, default):
    said = os.environ.get(name)
    return tuple(int(size) for size in said.split(",")) if said else default


SIZES = sizes("JOS_BENCH_SIZES", (250, 1000, 10000))
# Seconds for the jobs of one size, and as many for one replay.
PATIENCE = int(os.environ.get("JOS_BENCH_PATIENCE", "600"))
# Runs of a row; no further one is begun when those so far took this many seconds.
RUNS, LONG = 5, 120
# Decisions of tools that are replayed, and how many of them a job of ours has.
TOOLS, EACH = sizes("JOS_BENCH_TOOLS", (1000, 10_000, 100_000)), 250


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
        return replayed(self.system, self.data, self.quiet)

    def bytes(self):
        return sum(path.stat().st_size for pattern in self.system.log for path in self.data.glob(pattern))


def replayed(system, data, quiet):
    """Seconds of one replay, the program's start included; none where it takes more than the patience."""
    began = time.perf_counter()
    words = [system.program, "replay", "--data-dir", str(data)]
    try:
        subprocess.run(words, check=True, timeout=PATIENCE, **quiet)
    except subprocess.TimeoutExpired:
        return None
    return time.perf_counter() - began


def repeated(act):
    """What each run gave, until there are enough of them or they took too long; and whether the last one was stopped."""
    began, found = time.perf_counter(), []
    while len(found) < RUNS and (not found or time.perf_counter() - began < LONG):
        one = act()
        if one is None:
            return found, True
        found.append(one)
    return found, False


def row(what, figures):
    print(f"| {what} | {' · '.join(figures)} |", flush=True)


def ask(system):
    """Start, latency, idle CPU and memory of one runtime."""
    starts, memories, node = [], [], None
    for _ in range(RUNS):
        if node:
            node.end()
        node = Node(system)
        starts.append(node.started)
        # What came with the start is done with, as far as it is.
        time.sleep(1)
        memories.append(node.pss())
    latencies = []
    for turn in range(100):
        began = time.perf_counter()
        node.submit(f"l{turn}")
        node.wait([f"l{turn}"])
        latencies.append(time.perf_counter() - began)
    idles = []
    for _ in range(RUNS):
        before, began = node.ticks(), time.perf_counter()
        time.sleep(5)
        idles.append((node.ticks() - before) / (time.perf_counter() - began))
    idle, memory = statistics.median(idles), statistics.median(memories)
    node.end()
    tail = sorted(latencies)[len(latencies) * 95 // 100]
    return {
        "start": f"{system.name} {statistics.median(starts) * 1000:.0f} ms",
        "latency": f"{system.name} {statistics.median(latencies) * 1000:.2f} ms (95th {tail * 1000:.2f})",
        "idle": f"{system.name} {idle * 100:.2f} %",
        "memory": f"{system.name} {memory:.0f} KiB",
    }


def jobs(system, size):
    """Rate, replay and log bytes of `size` jobs; why the next size is not asked for, if it is not."""
    rates, replays, each, stopped = [], [], 0, None
    began = time.perf_counter()
    while len(rates) < RUNS and (not rates or time.perf_counter() - began < LONG):
        node = Node(system)
        names = [f"j{number}" for number in range(size)]
        submitted = time.perf_counter()
        for name in names:
            node.submit(name)
        done = node.wait(names)
        took = time.perf_counter() - submitted
        node.end()
        if done < size:
            stopped = f"stopped after {took:.0f} s with {done} of {size} done ({done / took:.0f}/s)"
            break
        rates.append(size / took)
        each = node.bytes() / (size + 1)
        again = node.replay()
        if again is None:
            stopped = f"stopped after {PATIENCE} s, below {size / PATIENCE:.1f}/s"
            break
        replays.append((size + 1) / again)
    told = lambda found: f"{statistics.median(found):.0f}/s ({len(found)})" if found else stopped
    rate = f"{system.name} {told(rates)}"
    replay = f"{system.name} {told(replays)}" if rates else f"{system.name} not asked"
    return rate, replay, f"{system.name} {each:.0f}" if each else None, stopped


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


# A tool of jaros that does nothing, and its own classes filling its own log: through its daemon a log of this size takes hours,
# and it is the replay that is timed. What is not waited for here is the disk.
IDLE = """
from jaros.core.decision_gate import ValidationResult


class IdleTool:
    NAME = "bench.idle"

    def validate(self, decision):
        return ValidationResult.accept(decision)

    def execute(self, decision, **collaborators):
        return {}
"""
FILL = """
import os, pathlib, sys
from jaros.core import create_decision
from jaros.state.decision_log import DecisionLog, record_decision
os.fsync = lambda _: None
log = DecisionLog(pathlib.Path(sys.argv[1]) / "state")
log.ensure()
for n in range(int(sys.argv[2])):
    words = dict(id=f"d{n}", source="burst", payload={"n": n})
    try:
        decision = create_decision(type="bench.idle", **words)
    except TypeError:
        decision = create_decision(kind="bench.idle", **words)
    record_decision(log, decision)
"""


def peers_tools(system, size):
    """The rate at which jaros replays as many decisions of such a tool; why it was stopped, if it was."""
    with tempfile.TemporaryDirectory() as folder:
        data = pathlib.Path(folder) / "data"
        environment = {**os.environ, "JAROS_DATA_DIR": str(data), **system.environment}
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
        subprocess.run([*system.init(), "--data-dir", str(data)], check=True, **quiet)
        (data / "tools").mkdir(exist_ok=True)
        (data / "tools" / "idle_tool.py").write_text(IDLE)
        python = str(pathlib.Path(system.program).parent / "python")
        subprocess.run([python, "-c", FILL, str(data), str(size)], check=True, env=environment)
        times, stopped = repeated(lambda: replayed(system, data, quiet))
        # It has to have replayed all of them, by the tool.
        if times:
            said = subprocess.run([system.program, "replay", "--json", "--data-dir", str(data)], capture_output=True, env=environment, check=True)
            report = json.loads(said.stdout)
            if report["decisions"] != size or not report["ok"] or report["attribution"]:
                sys.exit(f"error: {system.name} replays something else: {said.stdout}")
    if not times:
        return f"{system.name} stopped after {PATIENCE} s, below {size / PATIENCE:.1f}/s", True
    return f"{system.name} {size / statistics.median(times):.0f}/s ({len(times)})", stopped


def tools(system, peers):
    slow = {}
    for size in TOOLS:
        node = Node(system, burst)
        names = [f"t{number}" for number in range(max(1, size // EACH))]
        began = time.perf_counter()
        for name in names:
            node.submit(name, "burst")
        done = node.wait(names, 2 * PATIENCE)
        took = time.perf_counter() - began
        node.end()
        decided = done * EACH
        if size == TOOLS[-1]:
            row(f"runtime: decisions of a module that does nothing, {EACH} a job, each durable before it acts", [f"{system.name} {decided / took:.0f}/s of {decided}"])
            row("runtime: bytes of the log for each tool decision", [f"{system.name} {node.bytes() / max(decided, 1):.0f}"])
        times, _ = repeated(node.replay)
        rates = [f"{system.name} {decided / statistics.median(times):.0f}/s ({len(times)})" if times else f"{system.name} stopped after {PATIENCE} s"]
        for peer in peers:
            if peer in slow:
                rates.append(f"{peer.name} not asked: stopped at {slow[peer]}")
                continue
            rate, stopped = peers_tools(peer, decided)
            rates.append(rate)
            if stopped:
                slow[peer] = decided
        row(f"runtime: replay of {decided} decisions of a tool that does nothing, the program's start included, median of (runs)", rates)


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
        (f"start to first result, median of {RUNS}", "start"),
        ("submit to result, median of 100", "latency"),
        (f"CPU of an idle node, 5 s, median of {RUNS}", "idle"),
        (f"memory of an idle node (PSS), median of {RUNS}", "memory"),
    ):
        row(f"runtime: {what}", [figures[key] for figures in told])

    slow = {}
    for size in SIZES:
        rates, replays, each_job = [], [], []
        for system in systems:
            if system in slow:
                rates.append(f"{system.name} not asked: at {slow[system]}")
                continue
            rate, replay, each, stopped = jobs(system, size)
            rates.append(rate)
            replays.append(replay)
            each_job += [each] if each else []
            if stopped:
                slow[system] = f"N = {size} {stopped}"
        row(f"runtime: jobs through the daemon, N = {size}, median of (runs)", rates)
        row(f"runtime: replay of their decisions, the program's start included, N = {size}, median of (runs)", replays)
        row(f"runtime: bytes of the log for each job, N = {size}", each_job)
    tools(jos, systems[1:])


main()
