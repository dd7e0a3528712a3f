#!/usr/bin/env python3
"""mansioctl selftest on file systems of several kinds.

    selftest.py BUILD_DIRECTORY [WORD ...]
"""

import glob
import os
import re
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness  # noqa: E402
from harness import Server, Skip  # noqa: E402


def run(build, *words, base=None):
    """(finished process, what is left of the directory) of a run in a new directory, by a user who isn't root."""
    with tempfile.TemporaryDirectory(dir=base) as top, Server(build, start=False) as server:
        os.chmod(top, 0o755)
        place = os.path.join(top, "mail")
        os.mkdir(place)
        if server.mail_user is not None:
            os.chmod(place, 0o777)
        done = subprocess.run([server.program("mansioctl"), "-c", server.conf_path, "selftest", *words, place],
                              capture_output=True, text=True, timeout=900)
        return done, os.listdir(place)


def test_memory(build):
    """On a tmpfs: all of the matrix, quickly, and a note on the speed of flushing."""
    if not os.access("/dev/shm", os.W_OK):
        raise Skip("no /dev/shm")
    done, left = run(build, base="/dev/shm")
    assert done.returncode == 0, (done.stdout, done.stderr)
    rows = re.findall(r"^(\w[\w ]*\w) +(\d+) +(\d+) +(\d+)$", done.stdout, re.M)
    names = [name for name, _, _, _ in rows]
    assert len(rows) == 14 and {"delivery", "MULTIAPPEND", "RENAME INBOX", "first index", "rebuild"} <= set(names), rows
    for name, steps, kills, failures in rows:
        assert int(steps) > 0 and int(kills) >= int(steps) and failures == "0", (name, steps, kills, failures)
    assert re.search(r"^NOTE +speed of fdatasync", done.stdout, re.M), done.stdout
    assert "This file system can hold mail." in done.stdout
    assert left == [], left
    assert done.stderr == "", done.stderr


def test_places_that_can_not_be(build):
    with Server(build, start=False) as server:
        for words, status in ((["/nonexistent"], 1), (["/proc"], 1), ([], 64), (["-x", "/tmp"], 64), (["/tmp", "/tmp"], 64)):
            done = server.ctl("selftest", *words)
            assert done.returncode == status and "mansioctl: " in done.stderr, (words, done)


def test_broken_off(build):
    """Each signal that breaks it off leaves neither the directory nor a process."""
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        with tempfile.TemporaryDirectory() as top, Server(build, start=False) as server:
            os.chmod(top, 0o755)
            running = subprocess.Popen([server.program("mansioctl"), "-c", server.conf_path, "selftest", top],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            harness.wait_until(lambda: glob.glob(os.path.join(top, "*", "run")) or running.poll() is not None, 60)
            running.send_signal(sig)
            errors = running.communicate(timeout=60)[1]
            assert running.returncode == 75 and "broken off" in errors, (sig, running.returncode, errors)
            assert os.listdir(top) == [], (sig, os.listdir(top))


def test_no_place_for_mail(build):
    """A directory that can't be written to; as root: one that mail_user can't reach."""
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as top, Server(build, start=False) as server:
        os.chmod(top, 0o700 if root else 0o500)
        done = server.ctl("selftest", top)
        os.chmod(top, 0o700)
        assert done.returncode == 1, done
        if root:
            assert re.search(r"^NO +directories", done.stdout, re.M), done
        else:
            assert "can't be made" in done.stderr, done
        assert os.listdir(top) == [], os.listdir(top)


if __name__ == "__main__":
    sys.exit(harness.main(globals()))
