"""A simulated fleet against hubs, for scripts/bench: rows of a Markdown table on standard output.

    load.py --jos JOS --hub JOS_HUB --dir SCRATCH --devices N [--ramp S] [--stay S] [--interval S] [--hubs H]

One hub stands on SQLite; several on the PostgreSQL whose socket's folder is $JOS_TEST_POSTGRES. Each hub has a load process of its own,
which calls from 127.0.K.1. A process holds as many devices as it may open files, so both limits are met by more of both. All devices
come up over the ramp, and beyond it for as long as more of them keep coming; half of the stay later one state is pushed to all. CPU
and memory of hubs, database and load are counted apart. Whatever ends this ends all that it started.
"""

import argparse
import ctypes
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

# Files of a process that are no device's connection: the database, listeners, devices that enrol at the moment.
SPARE_FILES = 300
# A machine without memory kills processes, not always ours.
SPARE_MEMORY = 700 << 20
# Without one more device for so long, the fleet has come to its end.
STALLED = 60
LOOK = 2
TICK = os.sysconf("SC_CLK_TCK")
STATE = """kind = "jos.agent.desired_state"
[meta]
name = "simulated"
version = 1
expires = "2035-01-01T00:00:00Z"
audience = { tenant = "default" }
[[spec.apply]]
type = "file"
path = "/etc/motd"
content = "hello\\n"
"""


class Stopped(Exception):
    """Why it ended before its time, in words."""


def note(text):
    print(text, file=sys.stderr, flush=True)


def row(what, figure):
    print(f"| {what} | {figure} |", flush=True)


def first_line(path):
    with open(path, encoding="ascii") as file:
        return file.readline()


def dies_with_us():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def available():
    with open("/proc/meminfo", encoding="ascii") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("MemAvailable"))


def machine():
    """Ticks that the machine worked, and all that it had."""
    ticks = [int(word) for word in first_line("/proc/stat").split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def stat(pid):
    return first_line(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()


def ticks(pid):
    return sum(int(word) for word in stat(pid)[11:13])


def memory(pid):
    """Bytes of a process' own, with its share of what several have."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("Pss:"))


def most(pid):
    """Bytes that a process had resident at some time."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM:"))


class Postgres:
    """The server's processes, found by its folder."""

    def __init__(self, folder):
        self.folder = folder
        self.pid = int(first_line(f"{folder}/data/postmaster.pid"))

    def url(self):
        return f"postgres://hub@localhost/postgres?host={self.folder}"

    def pids(self):
        found = [self.pid]
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                if int(stat(name)[1]) == self.pid:
                    found.append(int(name))
            except OSError:
                pass
        return found

    def ticks(self):
        # What its children used that are gone counts as well.
        return sum(map(ticks, self.pids())) + sum(int(word) for word in stat(self.pid)[13:15])

    def memory(self):
        return sum(map(memory, self.pids()))


class Bench:
    def __init__(self, asked):
        self.asked = asked
        self.hubs, self.loads, self.postgres = [], [], None
        self.watched = []
        self.busy = 0.0

    def path(self, *names):
        return os.path.join(self.asked.dir, *names)

    def start(self, words, name, env=None):
        with open(self.path(f"{name}.out"), "wb") as out, open(self.path(f"{name}.log"), "wb") as log:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=out, stderr=log, cwd=self.asked.dir, env=env, preexec_fn=dies_with_us
            )
        process.name = name
        self.watched.append(process)
        return process

    def run(self, *words):
        done = subprocess.run(words, cwd=self.asked.dir, stdin=subprocess.DEVNULL, capture_output=True, timeout=300, check=False)
        if done.returncode != 0:
            raise Stopped(f"{' '.join(words[:3])}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout.decode()

    def tail(self, process):
        with open(self.path(f"{process.name}.log"), encoding="utf-8", errors="replace") as file:
            return " / ".join(line.strip() for line in file.read().splitlines()[-3:])

    # --- coming up ------------------------------------------------------------------------------------------------------

    def prepare(self):
        asked, hub = self.asked, self.asked.hub
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        each = max(files - SPARE_FILES, 1)
        needed = -(-asked.devices // each)
        asked.hubs = asked.hubs or needed
        if asked.hubs < needed:
            most = asked.hubs * each
            raise Stopped(f"files: a process may open {files}, so {asked.hubs} hubs hold {most:,} devices at most; {needed} would do")
        init = [hub, "init", "--data", "hub", "--address", "https://127.0.0.1:1"]
        if asked.hubs > 1:
            folder = os.environ.get("JOS_TEST_POSTGRES")
            if not folder:
                raise Stopped("several hubs stand on a PostgreSQL, and $JOS_TEST_POSTGRES names none")
            self.postgres = Postgres(folder)
            init += ["--database", self.postgres.url()]
        self.run(*init)
        for number in range(asked.hubs):
            data = "hub" if number == 0 else f"hub{number}"
            if number > 0:
                own = shutil.ignore_patterns("server.*")
                shutil.copytree(self.path("hub"), self.path(data), ignore=own)
            serve = [hub, "serve", "--data", data, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--json", "--log", "warn"]
            process = self.start(serve, f"serve-{number}")
            process.devices = self.address(process)
            self.hubs.append(process)
        self.run(asked.jos, "key", "new", "--out", "root.key")
        self.run(asked.jos, "trust", "init", "--key", "root.key", "--tenant", "default", "--expires", "2035-01-31")
        self.run(asked.jos, "trust", "add", "trust.json", "--role", "freshness=hub/freshness.key.pub", "--key", "root.key")
        self.run(hub, "trust", "push", "trust.json", "trust.v2.json", "--data", "hub")
        with open(self.path("state.toml"), "w", encoding="utf-8") as file:
            file.write(STATE)
        self.run(asked.jos, "sign", "--key", "root.key", "--trust", "trust.v2.json", "state.toml")

    def address(self, process):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            self.alive()
            with open(self.path(f"{process.name}.out"), encoding="utf-8") as file:
                line = file.readline()
            if line.endswith("\n"):
                return json.loads(line)["devices"]
            time.sleep(0.1)
        raise Stopped(f"{process.name} did not come up within a minute: {self.tail(process)}")

    def alive(self):
        for process in self.watched:
            if process.poll() is not None:
                code = process.returncode
                ended = f"signal {-code}" if code < 0 else f"status {code}"
                raise Stopped(f"{process.name} ended with {ended}: {self.tail(process)}")
        if available() < SPARE_MEMORY:
            raise Stopped(f"memory: less than {SPARE_MEMORY >> 20} MiB of the machine's are left")

    def load(self):
        asked, share = self.asked, self.asked.devices // self.asked.hubs
        # Longer than all of this: the loads are told to end.
        stay = 10 * asked.ramp + 2 * asked.stay + 3600
        for number, hub in enumerate(self.hubs):
            devices = share + (1 if number < asked.devices % asked.hubs else 0)
            made = json.loads(self.run(asked.hub, "token", "new", "--uses", str(devices), "--json", "--data", "hub"))
            with open(self.path(f"token-{number}"), "w", encoding="ascii") as file:
                file.write(made["line"])
            words = [asked.hub, "simulate", "--devices", str(devices), "--hub", f"https://{hub.devices}", "--enrol-file", f"token-{number}"]
            words += ["--ramp", str(asked.ramp), "--for", str(stay), "--interval", str(asked.interval), "--seed", str(number + 1)]
            words += ["--from", f"127.0.{number + 1}.1", "--json"]
            self.loads.append(self.start(words, f"load-{number}"))

    # --- looking ----------------------------------------------------------------------------------------------------------

    def connected(self):
        found = 0
        for process in self.loads:
            with open(self.path(f"{process.name}.log"), encoding="utf-8", errors="replace") as file:
                said = re.findall(r"(\d+) connected,", file.read())
            found += int(said[-1]) if said else 0
        return found

    def wait(self, seconds):
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.alive()
            time.sleep(min(left, LOOK))

    def until_connected(self):
        """Until all are there, or no more come. A load tells how many it has each ten seconds."""
        end = time.monotonic() + 3 * self.asked.ramp + 300
        most, since, before = 0, time.monotonic(), machine()
        ramp_over = time.monotonic() + self.asked.ramp
        while (found := self.connected()) < self.asked.devices:
            now = time.monotonic()
            if found > most:
                most, since = found, now
                note(f"{found:,} of {self.asked.devices:,} connected, {available() >> 20:,} MiB left, {self.utilised(before):.0%} of the CPU")
                before = machine()
            if now > end or (now > ramp_over and now - since > STALLED):
                return
            self.wait(LOOK)

    @staticmethod
    def utilised(before):
        worked, had = (after - then for after, then in zip(machine(), before))
        return worked / max(had, 1)

    def counted(self):
        kinds = {"hubs": sum(ticks(p.pid) for p in self.hubs), "load": sum(ticks(p.pid) for p in self.loads)}
        if self.postgres:
            kinds["PostgreSQL"] = self.postgres.ticks()
        return time.monotonic(), kinds, machine()

    def cpu(self, what, before):
        began, then, then_machine = before
        now, kinds, _ = self.counted()
        seconds = now - began
        shares = [f"{name} {(ticks - then[name]) * 1000 / TICK / seconds:,.0f}" for name, ticks in kinds.items()]
        self.busy = self.utilised(then_machine)
        row(f"CPU {what}, ms a second", f"{', '.join(shares)}; the machine {self.busy:.0%} busy, of {os.cpu_count()} cores")

    def sizes(self):
        kinds = {"hubs": sum(memory(p.pid) for p in self.hubs), "load": sum(memory(p.pid) for p in self.loads)}
        if self.postgres:
            kinds["PostgreSQL"] = self.postgres.memory()
        return kinds

    # --- the bench ----------------------------------------------------------------------------------------------------------

    def measure(self):
        asked = self.asked
        self.prepare()
        on = f"{asked.hubs} hubs on one PostgreSQL" if self.postgres else "one hub on SQLite"
        row("devices asked for", f"{asked.devices:,} at {asked.interval} s: {on}, {asked.hubs} load processes")
        time.sleep(1)
        empty = self.sizes()
        self.load()
        self.until_connected()
        # What a ramp leaves behind is no part of the steady time.
        self.wait(min(asked.interval, asked.stay / 4))
        steady = self.counted()
        self.wait(asked.stay / 2)
        self.cpu("while devices wait and call", steady)
        full, held = self.sizes(), max(self.connected(), 1)
        for kind, size in full.items():
            own = size - empty.get(kind, 0)
            row(f"memory of {kind}, PSS, before the push", f"{size >> 20:,} MiB, {own / held / 1000:.1f} kB for each device more")
        pushing, pushed = self.counted(), time.time() * 1000
        self.run(asked.hub, "push", "state.json", "--data", "hub")
        self.wait(asked.stay / 2)
        self.cpu("from the push on", pushing)
        for kind, size in self.sizes().items():
            row(f"memory of {kind}, PSS, at the end", f"{size >> 20:,} MiB")
        row("most memory of a hub, resident", f"{max(most(p.pid) for p in self.hubs) >> 20:,} MiB")
        return pushed

    def end(self):
        """The loads' figures, once they have ended."""
        figures = []
        for process in self.loads:
            self.watched.remove(process)
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in self.loads:
            try:
                process.wait(120)
                with open(self.path(f"{process.name}.out"), encoding="utf-8") as file:
                    figures.append(json.load(file))
            except (subprocess.TimeoutExpired, ValueError):
                note(f"{process.name} has no figures: {self.tail(process)}")
        self.loads = []
        return figures

    def stop(self):
        for process in self.loads + self.hubs:
            if process.poll() is None:
                process.terminate()
        for process in self.loads + self.hubs:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def quantile(counts, share):
    """Of counts by their upper bound in microseconds, the milliseconds that this share did not exceed."""
    wanted, seen = sum(counts.values()) * share, 0
    for upper in sorted(counts):
        seen += counts[upper]
        if seen >= wanted:
            return upper / 1000
    return 0.0


def report(figures, pushed):
    names = {
        "connect": "TLS connection with both certificates",
        "enrol": "enrolment",
        "heartbeat": "heartbeat, the whole run",
        "heartbeat_steady": "heartbeat, after the ramp, without the push",
        "heartbeat_push": "heartbeat, while devices took the version and reported it",
        "report": "report",
    }
    connected = sum(of["connected"] for of in figures)
    row("devices connected at the end", f"{connected:,}")
    for name, words in names.items():
        counts, most = {}, 0
        for of in figures:
            most = max(most, of["times"][name]["max_ms"])
            for upper, count in of["times"][name]["up_to_us"]:
                counts[upper] = counts.get(upper, 0) + count
        row(f"{words}: how many, p50, p99, most", f"{sum(counts.values()):,}, {quantile(counts, 0.5):.1f}, {quantile(counts, 0.99):.1f}, {most:.0f} ms")
    told = [version for of in figures for version in of["told"]]
    if told and pushed:
        last = max(version["last_at_unix_ms"] for version in told) - pushed
        row(f"push → {sum(version['devices'] for version in told):,} devices told, the last one", f"{last:,.0f} ms after the push began")
    errors = {}
    for of in figures:
        for what, count in of["errors"].items():
            errors[what] = errors.get(what, 0) + count
    row("errors", "; ".join(f"{what}: {count:,}" for what, count in sorted(errors.items(), key=lambda each: -each[1])) or "none")
    return connected, errors


def why_fewer(bench, errors):
    """What kept devices out, by what was seen."""
    text = " ".join(errors).lower()
    if "address not available" in text or "addr in use" in text or "address in use" in text:
        return "ports: a source address had none left"
    if bench.busy > 0.95:
        return f"CPU: the machine was {bench.busy:.0%} busy"
    if errors:
        return f"errors, of which most are: {max(errors, key=errors.get)}"
    return "time: they were still coming; give a longer ramp"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("jos", "hub", "dir"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--devices", type=int, required=True)
    for name, default in (("ramp", 240), ("stay", 120), ("interval", 60), ("hubs", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    asked.dir = os.path.abspath(asked.dir)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        # Where that is allowed, one process holds them all.
        resource.setrlimit(resource.RLIMIT_NOFILE, (1048576, 1048576))
    except (OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    bench, pushed, stopped = Bench(asked), None, None
    try:
        try:
            pushed = bench.measure()
        except (Stopped, OSError, subprocess.TimeoutExpired) as error:
            # A file of /proc that is gone: its process is, too.
            stopped = str(error)
        connected, errors = report(bench.end(), pushed) if bench.loads else (0, {})
        if stopped is None and connected < asked.devices:
            stopped = why_fewer(bench, errors)
        row("what stopped it", stopped or "nothing: all were held")
        sys.exit(1 if stopped else 0)
    finally:
        bench.stop()


if __name__ == "__main__":
    main()
