"""Times commands side by side: one run of each, round after round, so that what else the machine does meets all alike.

    measure.py [--rounds N] [--prepare COMMAND] COMMAND…

Prints for each command, one a line: the median wall time, the median CPU time of it and of all it started, both in
milliseconds. A first round is not counted. The prepared command runs, untimed, before each. A failure ends it all.
"""

import os
import shlex
import statistics
import subprocess
import sys
import time


def run(words):
    begin = time.monotonic()
    quiet = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, flags, 0) for fd, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY))]
    pid = os.posix_spawnp(words[0], words, os.environ, file_actions=quiet)
    _, status, usage = os.wait4(pid, 0)
    wall = time.monotonic() - begin
    if status != 0:
        sys.exit(f"measure.py: {shlex.join(words)}: exit status {os.waitstatus_to_exitcode(status)}")
    return wall, usage.ru_utime + usage.ru_stime


def main(arguments):
    rounds, prepare = 7, None
    while arguments and arguments[0] in ("--rounds", "--prepare"):
        if arguments[0] == "--rounds":
            rounds = int(arguments[1])
        else:
            prepare = shlex.split(arguments[1])
        arguments = arguments[2:]
    commands = [shlex.split(command) for command in arguments]
    taken = [[] for _ in commands]
    for counted in [False] + [True] * rounds:
        for command, times in zip(commands, taken):
            if prepare:
                subprocess.run(prepare, check=True, stdout=subprocess.DEVNULL)
            took = run(command)
            if counted:
                times.append(took)
    for times in taken:
        print(*(f"{statistics.median(column) * 1000:.1f}" for column in zip(*times)))


main(sys.argv[1:])
