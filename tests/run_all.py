#!/usr/bin/env python3
"""The whole test run behind `./quickstart check`: builds what the suites need, runs every suite, and ends with
`N passed, N failed, N skipped`. The packages must be there (quickstart sees to that).

    run_all.py            everything
    run_all.py NAME ...   suites whose name contains one of the words (`run_all.py -l` lists them)
"""

import os
import re
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILDS = {  # directory -> what configure gets
    "build": {"options": ["--enable-werror"], "env": {}},
    "build-asan": {"options": ["--enable-werror", "--enable-sanitizers"], "env": {"CFLAGS": "-g -O1"}},
    "build-clang": {"options": ["--enable-werror"], "env": {"CC": "clang"}},
}
SANITIZER_ENV = {
    # leaks are valgrind's: LeakSanitizer stops the process by ptrace, which one that can't be dumped (the auth
    # process, a worker that gave root up) doesn't allow
    "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0:detect_stack_use_after_return=0",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "CK_TIMEOUT_MULTIPLIER": "4",
}
JOBS = "-j%d" % (os.cpu_count() or 2)
COUNTS = re.compile(r"^(?:\w+: )?(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", re.M)
CHECK_COUNTS = re.compile(r"^\d+%: Checks: (\d+), Failures: (\d+), Errors: (\d+)$", re.M)


class Failed(Exception):
    pass


def run(command, env=None, timeout=1500, cwd=TOP):
    """Runs a command, its output shown as it comes and returned; the exit status with it."""
    full = dict(os.environ, **(env or {}))
    process = subprocess.Popen(command, cwd=cwd, env=full, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, errors="replace")
    end = time.monotonic() + timeout
    text = []
    for line in process.stdout:
        text.append(line)
        sys.stdout.write(line)
        sys.stdout.flush()
        if time.monotonic() > end:
            process.kill()
            text.append("timed out after %d s\n" % timeout)
            break
    return process.wait(), "".join(text)


def build(name):
    """Configures (once) and makes a build directory, unit tests included."""
    directory = os.path.join(TOP, name)
    configure = os.path.join(TOP, "configure")
    if not os.path.exists(configure) or os.path.getmtime(configure) < os.path.getmtime(configure + ".ac"):
        check_call(["autoreconf", "-fi"])
    os.makedirs(directory, exist_ok=True)
    if not os.path.exists(os.path.join(directory, "Makefile")):
        check_call([configure, "-q", "--sysconfdir=/etc", "--localstatedir=/var", *BUILDS[name]["options"]],
                   env=BUILDS[name]["env"], cwd=directory)
    check_call(["make", "-s", JOBS, "all"], cwd=directory)
    return directory


def check_call(command, env=None, cwd=TOP):
    status, text = run(command, env=env, cwd=cwd)
    if status != 0:
        raise Failed("%s: exit %d" % (" ".join(command), status))
    return text


def unit_logs(directory):
    """Sums the counts of all libcheck logs of a build directory."""
    passed = failed = 0
    tests = os.path.join(directory, "tests")
    for name in sorted(os.listdir(tests)):
        if not name.endswith(".log"):
            continue
        with open(os.path.join(tests, name), errors="replace") as f:
            found = CHECK_COUNTS.findall(f.read())
        if not found:
            print("FAIL %s: the program printed no result" % name)
            failed += 1
        for checks, failures, errors in found:
            bad = int(failures) + int(errors)
            passed += int(checks) - bad
            failed += bad
    return passed, failed, 0


def suite_units(name):
    def suite():
        directory = build(name)
        env = SANITIZER_ENV if "asan" in name else None
        status, text = run(["make", "-s", JOBS, "check", "VERBOSE=1"], env=env, cwd=directory)
        passed, failed, skipped = unit_logs(directory)
        if status != 0 and failed == 0:
            failed = 1
        return passed, failed, skipped
    return suite


def suite_valgrind():
    """Every unit test once more under valgrind: one test a program."""
    directory = build("build")
    check_call(["make", "-s", JOBS, "check", "TESTS="], cwd=directory)
    status, text = run([sys.executable, os.path.join(TOP, "tests", "valgrind.py"), directory])
    return counts(status, text)


def suite_script(path, build_name="build", arguments=(), env=None):
    def suite():
        directory = build(build_name)
        full = dict(SANITIZER_ENV if "asan" in build_name else {}, **(env or {}))
        status, text = run([sys.executable, os.path.join(TOP, path), directory, *arguments], env=full)
        return counts(status, text)
    return suite


def counts(status, text):
    """The last `N passed, N failed, N skipped` of a suite's output; an exit status without one is a failure."""
    found = COUNTS.findall(text)
    if not found:
        return 0, 1, 0
    passed, failed, skipped = (int(n or 0) for n in found[-1])
    return passed, failed if failed or status == 0 else 1, skipped


def suite_compile(name):
    def suite():
        build(name)
        return 1, 0, 0
    return suite


def suite_distcheck():
    """The release archive builds, installs and uninstalls by itself."""
    directory = build("build")
    check_call(["make", "-s", JOBS, "distcheck", "DISTCHECK_CONFIGURE_FLAGS=CFLAGS=-O0",
                "DISTCHECK_TESTS=tests/check_base"], cwd=directory)
    return 1, 0, 0


def suite_bench():
    """Does the benchmark work? Mansio alone, few messages, every answer verified."""
    directory = build("build")
    status, text = run(["make", "-s", "bench-smoke"], cwd=directory)
    return counts(status, text)


SUITES = [
    ("tree", suite_script("tests/check_tree.py")),
    ("units", suite_units("build")),
    ("units-sanitizers", suite_units("build-asan")),
    ("units-valgrind", suite_valgrind),
    ("clang", suite_compile("build-clang")),
    ("distcheck", suite_distcheck),
    ("imap", suite_script("tests/imap/run.py")),
    ("imap-sanitizers", suite_script("tests/imap/run.py", "build-asan")),
    ("pop3", suite_script("tests/pop3/run.py")),
    ("pop3-sanitizers", suite_script("tests/pop3/run.py", "build-asan")),
    ("proc", suite_script("tests/proc/server.py")),
    ("mansioctl", suite_script("tests/proc/ctl.py")),
    ("selftest", suite_script("tests/proc/selftest.py")),
    ("content", suite_script("tests/content.py")),
    ("content-sanitizers", suite_script("tests/content.py", "build-asan")),
    ("deliver", suite_script("tests/deliver.py")),
    ("deliver-sanitizers", suite_script("tests/deliver.py", "build-asan")),
    ("limits", suite_script("tests/limits.py")),
    ("bounds", suite_script("tests/bounds.py")),
    ("quota", suite_script("tests/quota.py")),
    ("clients", suite_script("tests/clients.py")),
    ("kill", suite_script("tests/kill.py")),
    ("crash-matrix", suite_script("tests/crash_matrix.py", arguments=("short",))),
    ("damage", suite_script("tests/damage.py", arguments=("8",))),
    ("powercut", suite_script("tests/powercut.py")),
    ("neighbours", suite_script("tests/neighbours.py")),
    ("idle", suite_script("tests/many_idle.py")),
    ("idle-tls", suite_script("tests/many_idle.py", env={"MANSIO_IDLE_TLS": "1", "MANSIO_IDLE_CONNECTIONS": "200"})),
    ("migrate", suite_script("tests/migrate.py")),
    ("bench", suite_bench),
    ("growth", suite_script("bench/growth.py", arguments=("--smoke",))),
]


def main():
    words = [a for a in sys.argv[1:] if a != "-l"]
    if "-l" in sys.argv:
        print("\n".join(name for name, _ in SUITES))
        return 0
    total = [0, 0, 0]
    table = []
    for name, suite in SUITES:
        if words and not any(word in name for word in words):
            continue
        print("\n=== %s" % name)
        sys.stdout.flush()
        started = time.monotonic()
        try:
            result = suite()
        except Failed as error:
            print("FAIL %s: %s" % (name, error))
            result = (0, 1, 0)
        table.append("%-20s %5d passed %3d failed %3d skipped %7.1f s" % (name, *result, time.monotonic() - started))
        total = [a + b for a, b in zip(total, result)]
    print("\n" + "\n".join(table))
    print("%d passed, %d failed, %d skipped" % tuple(total))
    return 1 if total[1] or not total[0] else 0


if __name__ == "__main__":
    sys.exit(main())
