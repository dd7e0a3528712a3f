#!/usr/bin/env python3
"""A thousand simultaneous IDLE connections: held, told of a delivery at once, and given back.

    many_idle.py BUILD_DIRECTORY      (MANSIO_IDLE_CONNECTIONS: how many, 1000; MANSIO_IDLE_TLS=1: over TLS)

Prints the memory for a connection: PSS of the whole process tree divided by connections.
"""

import os
import re
import resource
import select
import sys
import time

import harness
from harness import PASSWORD, Server, wait_until

CONNECTIONS = int(os.environ.get("MANSIO_IDLE_CONNECTIONS", "1000"))
TLS = os.environ.get("MANSIO_IDLE_TLS") == "1"
USERS = ["user%03d" % n for n in range(20)]


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
        self.s = server.connect("imaps" if TLS else "imap")
        self.buffer = b""
        self.until(b"\r\n")
        self.s.sendall(b"a LOGIN %s %s\r\n" % (user.encode(), PASSWORD.encode()))
        self.until(b"a OK")
        self.s.sendall(b"b SELECT INBOX\r\n")
        self.until(b"b OK")
        self.s.sendall(b"c IDLE\r\n")
        self.until(b"+ ")

    def until(self, text, seconds=60):
        self.s.settimeout(seconds)
        while text not in self.buffer:
            data = self.s.recv(65536)
            assert data, "closed; had %r" % self.buffer[-300:]
            self.buffer += data
        self.buffer = self.buffer[self.buffer.index(text) + len(text):]
        if b"\r\n" in self.buffer:
            self.buffer = self.buffer.split(b"\r\n", 1)[1]

    def logout(self):
        self.s.sendall(b"DONE\r\nd LOGOUT\r\n")
        self.until(b"d OK")
        self.s.close()


def test_thousand_idle_connections(build):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + 200
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, wanted), hard))
    settings = {"imap_max_workers": str(CONNECTIONS + 50), "max_connections_per_user": "0", "log_level": "info"}
    with Server(build, settings, users=USERS) as server:
        for user in USERS:
            server.imap(user).logout()
            for n in range(5):
                server.deliver(b"Subject: %d\n\nbody\n" % n, user)
        before = pss_kb([server.process.pid] + server.children())
        started = time.monotonic()
        idlers = [Idler(server, USERS[n % len(USERS)]) for n in range(CONNECTIONS)]
        print("     %d connections in IDLE after %.1f s" % (CONNECTIONS, time.monotonic() - started))
        time.sleep(1)
        after = pss_kb([server.process.pid] + server.children())
        print("     PSS of the process tree: %d KB before, %d KB with them, %.0f KB a connection%s" %
              (before, after, after / CONNECTIONS, " (TLS)" if TLS else ""))
        # a delivery reaches every connection of that user
        mine = [c for n, c in enumerate(idlers) if USERS[n % len(USERS)] == USERS[0]]
        started = time.monotonic()
        server.deliver(b"Subject: now\n\nbody\n", USERS[0])
        for c in mine:
            c.until(b"EXISTS")
        print("     a delivery was announced to all %d sessions of its user within %.0f ms" %
              (len(mine), 1000 * (time.monotonic() - started)))
        server.imap("user001").logout()
        for c in idlers:
            c.logout()
        wait_until(lambda: len(server.children()) < 80, 60 + CONNECTIONS, "the pool to shrink to its band")
        assert "error:" not in server.log(), re.findall(".*error:.*", server.log())[:5]


if __name__ == "__main__":
    sys.exit(harness.main(globals()))
