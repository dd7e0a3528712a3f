#!/usr/bin/env python3
"""Runs every unit test program of a build directory under valgrind's memcheck; an error or a definite leak fails.

    valgrind.py BUILD_DIRECTORY [NAME ...]

libcheck forks a process a test, and valgrind follows; a child that ends with an error fails its test.
"""

import concurrent.futures
import glob
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
# Programs that kill their own processes at random for seconds say nothing more under valgrind, and take minutes.
SLOW = {"check_index_crash", "check_lockfile"}
OPTIONS = ["-q", "--error-exitcode=99", "--leak-check=full", "--show-leak-kinds=definite",
           "--errors-for-leak-kinds=definite", "--suppressions=" + os.path.join(HERE, "valgrind.supp")]


def run(program):
    env = dict(os.environ, CK_TIMEOUT_MULTIPLIER="30", CK_VERBOSITY="minimal", MANSIO_TEST_VALGRIND="1")
    try:
        done = subprocess.run(["valgrind", *OPTIONS, program], env=env, text=True, errors="replace",
                              capture_output=True, timeout=900)
    except subprocess.TimeoutExpired:
        return "timed out"
    text = done.stdout + done.stderr
    return "" if done.returncode == 0 and "== " not in text else "exit %d\n%s" % (done.returncode, text[-6000:])


def main():
    build, words = os.path.abspath(sys.argv[1]), sys.argv[2:]
    sources = sorted(glob.glob(os.path.join(HERE, "check_*.c")), key=os.path.getsize, reverse=True)  # the slow first
    names = [os.path.splitext(os.path.basename(p))[0] for p in sources]
    names = [n for n in names if n not in SLOW and (not words or any(w in n for w in words))]
    failed = 0
    # twice the processors: half of the time goes to waiting for the disk, and for clocks
    with concurrent.futures.ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
        for name, fault in zip(names, pool.map(run, [os.path.join(build, "tests", n) for n in names])):
            print("FAIL %s: %s" % (name, fault) if fault else "ok   %s" % name, flush=True)
            failed += bool(fault)
    print("%d passed, %d failed, 0 skipped" % (len(names) - failed, failed))
    return 1 if failed or not names else 0


if __name__ == "__main__":
    sys.exit(main())
