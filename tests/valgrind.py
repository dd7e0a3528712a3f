#!/usr/bin/env python3
"""Runs every unit test program of a build directory under valgrind's memcheck; an error or a definite leak fails.

libcheck forks a process a test by default; CK_FORK=no keeps everything in the one that valgrind sees. Tests that need
the fork (they end their process) are counted by their program as usual.
"""

import glob
import os
import subprocess
import sys

build = os.path.abspath(sys.argv[1])
# Programs that kill their own processes at random for seconds say nothing more under valgrind, and take minutes.
SLOW = {"check_index_crash", "check_lockfile"}
passed = failed = skipped = 0
for source in sorted(glob.glob(os.path.join(os.path.dirname(os.path.abspath(__file__)), "check_*.c"))):
    name = os.path.splitext(os.path.basename(source))[0]
    program = os.path.join(build, "tests", name)
    if name in SLOW or not os.path.exists(program):
        continue
    env = dict(os.environ, CK_FORK="yes", CK_TIMEOUT_MULTIPLIER="30", CK_VERBOSITY="minimal",
               MANSIO_TEST_VALGRIND="1")
    command = ["valgrind", "-q", "--error-exitcode=99", "--leak-check=full", "--show-leak-kinds=definite",
               "--errors-for-leak-kinds=definite", "--trace-children=no", "--child-silent-after-fork=no", program]
    done = subprocess.run(command, env=env, text=True, errors="replace", capture_output=True, timeout=900)
    text = done.stdout + done.stderr
    if done.returncode == 0 and "== " not in text:
        passed += 1
        print("ok   %s" % name)
    else:
        failed += 1
        print("FAIL %s: exit %d\n%s" % (name, done.returncode, text[-6000:]))
    sys.stdout.flush()
print("%d passed, %d failed, %d skipped" % (passed, failed, skipped))
sys.exit(1 if failed else 0)
