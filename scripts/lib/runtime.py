"""A node of the runtime beside jaros, the Python runtime that it follows: both are given the same jobs, by files.

    runtime.py JOS [JAROS…]     each JAROS a virtual environment with that version in it

Prints rows of Markdown. Everything that is compared takes turns in this one run; medians of what is said in the row.
"""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

SIZES = (250, 1000, 10000)
# A runtime that needs longer than this for its jobs is not asked for the next size.
PATIENCE = 240


class System:
    def __init__(self, name, init, serve, replay, log):
        self.name, self.init, self.serve, self.replay, self.log = name, init, serve, replay, log


class Node:
    """A data directory of its own, and `serve` on it."""

    def __init__(self, system):
        self.system = system
        self.folder = tempfile.TemporaryDirectory()
        self.data = pathlib.Path(self.folder.name) / "data"
        environment = {**os.environ, "JOS_DATA_DIR": str(self.data), "JAROS_DATA_DIR": str(self.data)}
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
        self.quiet = quiet
        subprocess.run(system.init + ["--data-dir", str(self.data)], check=True, **quiet)
        began = time.perf_counter()
        self.process = subprocess.Popen(system.serve + ["--data-dir", str(self.data)], **quiet)
        self.submit("first")
        self.wait(["first"])
        self.started = time.perf_counter() - began

    def submit(self, name):
        text = json.dumps({"id": name, "kind": "advance", "input": {}})
        temp = self.data / "inbox" / ("." + name)
        temp.write_text(text)
        temp.rename(self.data / "inbox" / (name + ".json"))

    def wait(self, names, patience=PATIENCE):
        """Whether all results came in time. Each is waited for in its turn: who looks for all of them again and again
        takes more of the machine the more there are."""
        due = time.perf_counter() + patience
        pause = 0.0001 if len(names) == 1 else 0.01
        for name in names:
            result = self.data / "outbox" / (name + ".json")
            while not result.exists():
                if time.perf_counter() > due:
                    return False
                time.sleep(pause)
        return True

    def ticks(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def pss(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return int(next(line for line in text.splitlines() if line.startswith("Pss:")).split()[1])

    def end(self):
        self.process.terminate()
        self.process.wait()

    def replay(self):
        began = time.perf_counter()
        subprocess.run(self.system.replay + ["--data-dir", str(self.data)], check=True, **self.quiet)
        return time.perf_counter() - began

    def bytes(self):
        return sum(path.stat().st_size for pattern in self.system.log for path in self.data.glob(pattern))


def row(what, figures):
    print(f"| {what} | {' · '.join(figures)} |", flush=True)


def main():
    jos, *environments = sys.argv[1:]
    systems = [System("jos", [jos, "runtime", "init"], [jos, "serve"], [jos, "replay"], ["state/runtime/ledger/*.jsl"])]
    for environment in environments:
        program = str(pathlib.Path(environment) / "bin" / "jaros")
        asked = [str(pathlib.Path(environment) / "bin" / "python"), "-c", "import importlib.metadata as m; print(m.version('jaros'))"]
        version = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
        logs = ["state/decisions.log", "state/transitions.log"]
        systems.append(System(f"jaros {version}", [program, "init"], [program, "serve"], [program, "replay"], logs))

    figures = {what: [] for what in ("start", "latency", "idle", "memory")}
    for system in systems:
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
        before = node.ticks()
        time.sleep(5)
        idle = (node.ticks() - before) / 5
        figures["start"].append(f"{system.name} {statistics.median(starts) * 1000:.0f} ms")
        figures["latency"].append(f"{system.name} {statistics.median(latencies) * 1000:.2f} ms")
        figures["idle"].append(f"{system.name} {idle * 100:.2f} %")
        figures["memory"].append(f"{system.name} {node.pss()} KiB")
        node.end()
    row("runtime: start to first result, median of 3", figures["start"])
    row("runtime: submit to result, median of 100", figures["latency"])
    row("runtime: CPU of an idle node, 5 s", figures["idle"])
    row("runtime: memory of an idle node (PSS)", figures["memory"])

    slow = set()
    for size in SIZES:
        rates, replays, sizes = [], [], []
        for system in systems:
            if system.name in slow:
                rates.append(f"{system.name} not asked")
                continue
            node = Node(system)
            names = [f"j{number}" for number in range(size)]
            began = time.perf_counter()
            for name in names:
                node.submit(name)
            done = node.wait(names)
            took = time.perf_counter() - began
            node.end()
            if not done:
                slow.add(system.name)
                rates.append(f"{system.name} more than {PATIENCE} s")
                continue
            rates.append(f"{system.name} {size / took:.0f}/s")
            sizes.append(f"{system.name} {node.bytes() / (size + 1):.0f}")
            replays.append(f"{system.name} {size / node.replay():.0f}/s")
            if took > PATIENCE / 8:
                slow.add(system.name)
        row(f"runtime: jobs through the daemon, N = {size}", rates)
        row(f"runtime: replay of their decisions, the program's start included, N = {size}", replays)
        row(f"runtime: bytes of the log for each job, N = {size}", sizes)


main()
