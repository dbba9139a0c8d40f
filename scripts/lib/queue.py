"""Nodes of the runtime with their queue in PostgreSQL: jobs a second, with one node and with two.

    queue.py JOS FOLDER     FOLDER has the socket of a cluster; JOS was built with the feature postgres

Prints rows of Markdown: the median of three runs, the turns taken alternately.
"""
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

JOBS = 1000
RUNS = 3


def psql(folder, database, sql):
    command = ["psql", "-X", "-q", "-A", "-t", "-U", "hub", "-h", folder, "-d", database, "-c", sql]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def jobs_a_second(jos, folder, nodes, turn):
    database = f"bench_{nodes}_{turn}"
    psql(folder, "postgres", f"CREATE DATABASE {database}")
    serving = []
    with tempfile.TemporaryDirectory() as scratch:
        try:
            for node in range(nodes):
                data = str(pathlib.Path(scratch) / str(node))
                environment = {**os.environ, "JOS_QUEUE_URL": f"postgres://hub@localhost/{database}?host={folder}"}
                quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
                subprocess.run([jos, "runtime", "init", "--data-dir", data], check=True, **quiet)
                serving.append(subprocess.Popen([jos, "serve", "--data-dir", data], **quiet))
            connected = f"SELECT count(DISTINCT application_name) FROM pg_stat_activity WHERE datname = '{database}' AND application_name LIKE 'jos node %'"
            while psql(folder, database, connected) != str(nodes):
                time.sleep(0.05)
            psql(folder, database, "INSERT INTO jos_jobs (id, document, ticket, state) SELECT 'j' || n, '{\"agent\":\"advance\",\"input\":{}}', "
                 f"'t' || n, 'waiting' FROM generate_series(1, {JOBS}) n")
            began = time.perf_counter()
            psql(folder, database, "NOTIFY jos_waiting")
            while psql(folder, database, "SELECT count(*) FROM jos_jobs WHERE state = 'done'") != str(JOBS):
                time.sleep(0.02)
            return JOBS / (time.perf_counter() - began)
        finally:
            for process in serving:
                process.terminate()
            for process in serving:
                process.wait()


def main():
    jos, folder = sys.argv[1:]
    rates = {1: [], 2: []}
    for turn in range(RUNS):
        for nodes, taken in rates.items():
            taken.append(jobs_a_second(jos, folder, nodes, turn))
    one, two = (statistics.median(rates[nodes]) for nodes in (1, 2))
    print(f"| runtime: jobs through a queue in PostgreSQL, N = {JOBS} | one node {one:.0f}/s · two nodes {two:.0f}/s |", flush=True)


main()
