#!/usr/bin/env python3
"""Thousands of simultaneous IDLE connections: held, told of deliveries at once, and given back.

    many_idle.py BUILD_DIRECTORY      (MANSIO_IDLE_CONNECTIONS: how many, 1000; MANSIO_IDLE_TLS=1: over TLS;
                                       MANSIO_IDLE_STRICT=1: each of 100 deliveries must be announced within
                                       100 ms, and the pool come back to its band)

Prints the memory for a connection: PSS of the whole process tree divided by connections. `make idle-full` is the form
with 5,000 connections over TLS in 500 accounts; it wants a quiet machine.
"""

import concurrent.futures
import os
import pwd
import re
import resource
import signal
import statistics
import sys
import time

import harness
from harness import PASSWORD, Server, wait_until

CONNECTIONS = int(os.environ.get("MANSIO_IDLE_CONNECTIONS", "1000"))
TLS = os.environ.get("MANSIO_IDLE_TLS") == "1"
STRICT = os.environ.get("MANSIO_IDLE_STRICT") == "1"
USERS = ["user%04d" % n for n in range(max(20, CONNECTIONS // 10 if STRICT else 0))]
DELIVERIES = 100 if STRICT else 15  # at most one an account
LIMIT_KB = 250  # a connection at rest may cost, at a few hundred of them and more
LIMIT_MS = 100 if STRICT else 2000  # from a delivery to its EXISTS; other tests may run meanwhile
REST = 4  # seconds of quiet after which a session has given its memory back
THREADS = 8


def pss_kb(pids):
    total = 0
    for pid in pids:
        try:
            with open("/proc/%d/smaps_rollup" % pid) as f:
                total += int(re.search(r"^Pss:\s+(\d+) kB", f.read(), re.M).group(1))
        except OSError:
            pass
    return total


class Idler:
    def __init__(self, server, user):
        self.user = user
        self.s = server.connect("imaps" if TLS else "imap")
        self.buffer = b""
        self.until(b"\r\n")
        self.s.sendall(b"a LOGIN %s %s\r\n" % (user.encode(), PASSWORD.encode()))
        self.until(b"a OK")
        self.s.sendall(b"b SELECT INBOX\r\n")
        self.exists = int(re.search(rb"\* (\d+) EXISTS", self.until(b"b OK")).group(1))
        self.s.sendall(b"c IDLE\r\n")
        self.until(b"+ ")

    def until(self, text, seconds=60):
        """Reads up to the line that holds the text; returns what came before it."""
        self.s.settimeout(seconds)
        while text not in self.buffer:
            data = self.s.recv(65536)
            assert data, "closed; had %r" % self.buffer[-300:]
            self.buffer += data
        before, self.buffer = self.buffer.split(text, 1)
        if b"\r\n" in self.buffer:
            self.buffer = self.buffer.split(b"\r\n", 1)[1]
        return before

    def logout(self):
        self.s.sendall(b"DONE\r\nd LOGOUT\r\n")
        self.until(b"d OK")
        self.s.close()


def make_maildirs(server):
    """Five messages for each user."""
    owner = pwd.getpwnam(server.mail_user) if server.mail_user is not None else None
    for user in USERS:
        path = server.mail_dir
        made = []
        for name in (user, "Maildir"):
            path = os.path.join(path, name)
            made.append(path)
        made += [os.path.join(path, name) for name in ("cur", "new", "tmp")]
        for directory in made:
            os.mkdir(directory, 0o700)
        for n in range(5):
            made.append(os.path.join(path, "cur", "1600000000.M%dP1.test:2,S" % n))
            with open(made[-1], "w") as f:
                f.write("Subject: %d\n\nbody\n" % n)
        if owner is not None:
            for name in made:
                os.chown(name, owner.pw_uid, owner.pw_gid)


def idle_workers(server):
    """(idle, busy) workers of the IMAP pool."""
    words = re.search(r"^imap .*", server.ctl("status", check=True).stdout, re.M).group(0).split()
    return int(words[2]), int(words[3])


def check_memory(server, before):
    time.sleep(REST)
    after = pss_kb([server.process.pid] + server.children())
    print("     PSS of the process tree: %d KB before, %d KB with them, %.0f KB a connection%s" %
          (before, after, after / CONNECTIONS, " (TLS)" if TLS else ""))
    assert CONNECTIONS < 200 or after / CONNECTIONS <= LIMIT_KB, "%.0f KB a connection" % (after / CONNECTIONS)


def check_deliveries(server, idlers):
    """To one connection's account after the other; that connection must be told at once."""
    milliseconds = []
    for n in range(DELIVERIES):
        idler = idlers[n + n % (len(idlers) // len(USERS)) * len(USERS)]
        assert idler.user == USERS[n]  # its first delivery
        time.sleep(0.02)
        started = time.monotonic()
        server.deliver(b"Subject: now\n\nbody\n", idler.user)
        idler.until(b"* %d EXISTS" % (idler.exists + 1))
        milliseconds.append(1000 * (time.monotonic() - started))
    print("     %d deliveries were announced within %.1f ms (median), %.1f ms (longest)" %
          (DELIVERIES, statistics.median(milliseconds), max(milliseconds)))
    assert max(milliseconds) <= LIMIT_MS, "%.1f ms" % max(milliseconds)
    # and all connections of one account are
    mine = [c for c in idlers if c.user == USERS[-1]]
    server.deliver(b"Subject: now\n\nbody\n", USERS[-1])
    for idler in mine:
        idler.until(b"* %d EXISTS" % (idler.exists + 1))


def check_auth_process(server):
    """It is replaced while all its connections are held, and serves the next login."""
    pid = next(pid for pid in server.children() if name_of(pid) == "mansiod-auth")
    os.kill(pid, signal.SIGKILL)

    def logs_in():
        try:
            server.imap(USERS[0]).logout()
            return True
        except Exception:  # refused until the new one is there
            return False
    wait_until(logs_in, 20, "the next auth process")


def name_of(pid):
    try:
        with open("/proc/%d/comm" % pid) as f:
            return f.read().strip()
    except OSError:
        return ""


def test_thousands_of_idle_connections(build):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + 200
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, wanted), hard))
    settings = {"imap_max_workers": str(CONNECTIONS + 50), "max_connections_per_user": "0", "auto_folders": ""}
    with Server(build, settings, users=USERS) as server, concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        make_maildirs(server)
        before = pss_kb([server.process.pid] + server.children())
        started = time.monotonic()
        idlers = list(pool.map(lambda n: Idler(server, USERS[n % len(USERS)]), range(CONNECTIONS)))
        print("     %d connections in IDLE after %.1f s" % (CONNECTIONS, time.monotonic() - started))
        assert idle_workers(server)[1] >= CONNECTIONS
        assert len(server.ctl("who", check=True).stdout.splitlines()) > CONNECTIONS
        check_memory(server, before)
        check_deliveries(server, idlers)
        check_auth_process(server)
        started = time.monotonic()
        list(pool.map(Idler.logout, idlers))
        print("     all logged out after %.1f s" % (time.monotonic() - started))
        wait_until(lambda: len(server.children()) < (40 if STRICT else 100), 120, "the processes to end")
        if STRICT:
            wait_until(lambda: 5 <= idle_workers(server)[0] <= 20 and idle_workers(server)[1] == 0, 30,
                       "the pool to shrink to its band")
        print("     %d processes %.1f s after the first logout" %
              (len(server.children()), time.monotonic() - started))
        faults = [line for line in re.findall(".*error:.*", server.log()) if "killed by signal 9" not in line
                  and "auth" not in line]
        assert not faults, faults[:5]


if __name__ == "__main__":
    sys.exit(harness.main(globals()))
