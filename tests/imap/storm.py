#!/usr/bin/env python3
"""Several sessions change one mailbox at random, with another program's deliveries and removals; each keeps the book
that a real client keeps, and checks every untagged response against it:

    - a sequence number means the same UID until an EXPUNGE moves it (RFC 3501 2.3.1.2, 7.4.1);
    - no EXPUNGE while FETCH, STORE or SEARCH by number are answered (RFC 3501 7.4.1);
    - EXISTS never shrinks without EXPUNGE (RFC 3501 7.3.1); UIDs ascend (RFC 3501 2.3.1.1);
    - in the end all sessions see the same messages, those that are on disk.

    storm.py BUILD_DIRECTORY [SECONDS [SEED]]
"""

import os
import random
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness  # noqa: E402
from harness import PASSWORD, Server  # noqa: E402

SESSIONS = 4
UNTAGGED = re.compile(rb"\* (\d+) (EXISTS|EXPUNGE|RECENT|FETCH)(.*)", re.S)
UID = re.compile(rb"\bUID (\d+)")
COPYUID = re.compile(rb"\[COPYUID \d+ ([\d:,]+) ([\d:,]+)\]")
MESSAGE = b"From: a@example.org\r\nSubject: storm\r\n\r\nx\r\n"


def size_of(numbers):
    """How many numbers a set has."""
    total = 0
    for part in numbers.split(b","):
        first, _, last = part.partition(b":")
        total += int(last or first) - int(first) + 1
    return total


class Client:
    """One session and its book: uids[n - 1] is the UID of message n, None while not known."""

    def __init__(self, server, name, rng):
        self.name, self.rng = name, rng
        self.s = server.connect("imap")
        self.f = self.s.makefile("rb")
        self.f.readline()
        self.uids, self.count = [], 0
        self.history = []
        self.ask("LOGIN ann " + PASSWORD)
        self.ask("SELECT INBOX")

    def fail(self, what):
        raise AssertionError("session %s: %s\n    %s" % (self.name, what, "\n    ".join(self.history[-25:])))

    def line(self):
        line = self.f.readline()
        self.history.append("S: %r" % line[:160])
        if not line:
            self.fail("the server closed the connection")
        m = re.search(rb"\{(\d+)\}\r\n$", line)
        if m:
            line += self.f.read(int(m.group(1))) + self.line()
        return line

    def take(self, line, expunge):
        """An untagged response goes into the book."""
        m = UNTAGGED.match(line)
        if not m:
            return
        n, what = int(m.group(1)), m.group(2)
        if what == b"EXISTS":
            if n < len(self.uids):
                self.fail("EXISTS %d, but %d are known" % (n, len(self.uids)))
            self.uids += [None] * (n - len(self.uids))
        elif what == b"EXPUNGE":
            if not expunge:
                self.fail("EXPUNGE where it's forbidden")
            if not 1 <= n <= len(self.uids):
                self.fail("EXPUNGE %d of %d" % (n, len(self.uids)))
            del self.uids[n - 1]
        elif what == b"FETCH":
            if not 1 <= n <= len(self.uids):
                self.fail("FETCH %d of %d" % (n, len(self.uids)))
            u = UID.search(m.group(3))
            if u and self.uids[n - 1] not in (None, int(u.group(1))):
                self.fail("message %d was UID %s and is UID %s" % (n, self.uids[n - 1], u.group(1)))
            if u:
                self.uids[n - 1] = int(u.group(1))
        known = [u for u in self.uids if u is not None]
        if known != sorted(set(known)):
            self.fail("UIDs don't ascend: %s" % known)

    def ask(self, text, literal=b"", expunge=True):
        self.count += 1
        tag = b"%d" % self.count
        self.history.append("C: %s %s" % (tag.decode(), text))
        self.s.sendall(tag + b" " + text.encode() + literal + b"\r\n")
        while True:
            line = self.line()
            m = COPYUID.search(line)
            if m and size_of(m.group(1)) != size_of(m.group(2)):
                self.fail("COPYUID sets of different sizes")
            if line.startswith(tag + b" "):
                if b" BAD " in line:
                    self.fail("BAD")
                return line
            if line.startswith(b"* BYE"):
                self.fail("BYE")
            self.take(line, expunge)

    def some(self):
        """A set of sequence numbers."""
        a, b = self.rng.randint(1, len(self.uids)), self.rng.randint(1, len(self.uids))
        return self.rng.choice(("%d" % a, "%d:%d" % (a, b), "%d,%d" % (a, b), "%d:*" % a))

    def idle(self):
        self.count += 1
        self.s.sendall(b"%d IDLE\r\n" % self.count)
        while not self.line().startswith(b"+"):
            pass
        time.sleep(self.rng.random() / 50)
        self.s.sendall(b"DONE\r\n")
        while True:
            line = self.line()
            if line.startswith(b"%d " % self.count):
                return
            self.take(line, True)

    def act(self):
        rng = self.rng
        if not self.uids or rng.random() < 0.15:
            return self.ask("APPEND INBOX {%d+}\r\n" % len(MESSAGE), MESSAGE)
        kind = rng.randrange(14)
        if kind < 3:
            return self.ask("STORE %s %sFLAGS (%s)" % (self.some(), rng.choice("+-"), rng.choice(
                ("\\Seen", "\\Deleted", "\\Flagged work", "play \\Answered"))), expunge=False)
        if kind < 5:
            return self.ask("FETCH %s (UID FLAGS)" % self.some(), expunge=False)
        if kind == 5:
            return self.ask("FETCH %s (UID BODY.PEEK[])" % self.some(), expunge=False)
        if kind == 6:
            return self.ask("SEARCH DELETED", expunge=False)
        if kind == 7:
            return self.ask("EXPUNGE")
        if kind == 8:
            return self.ask("UID EXPUNGE 1:%d" % rng.randint(1, 400))
        if kind == 9:
            return self.ask("COPY %d INBOX" % rng.randint(1, len(self.uids)))
        if kind == 10:
            return self.ask("MOVE %d %s" % (rng.randint(1, len(self.uids)), rng.choice(("INBOX", "Trash"))))
        if kind == 11:
            return self.ask("UID STORE %d:%d +FLAGS.SILENT (\\Deleted)" % (rng.randint(1, 300), rng.randint(1, 300)))
        if kind == 12:
            return self.idle()
        return self.ask("NOOP")


def storm(build, seconds, seed):
    rng = random.Random(seed)
    with Server(build) as server:
        clients = [Client(server, "ABCDEFGH"[n], rng) for n in range(SESSIONS)]
        end, actions = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            choice = rng.random()
            if choice < 0.02:
                server.deliver(MESSAGE.replace(b"\r\n", b"\n"))
            elif choice < 0.04:
                remove_one(server, rng)
            else:
                rng.choice(clients).act()
            actions += 1
        for c in clients:
            c.ask("NOOP")
        for c in clients:
            c.ask("NOOP")
            if c.uids:
                c.ask("FETCH 1:* (UID)", expunge=False)
        files = sum(len(os.listdir(os.path.join(server.maildir(), d))) for d in ("cur", "new"))
        for c in clients:
            assert c.uids == clients[0].uids, "sessions differ: %s %s" % (c.uids, clients[0].uids)
        assert len(clients[0].uids) == files, "%d messages, %d files" % (len(clients[0].uids), files)
        assert "panic" not in server.log() and "error:" not in server.log(), server.log()[-3000:]
        print("seed %d: %d actions, %d messages in the end" % (seed, actions, files))


def remove_one(server, rng):
    base = os.path.join(server.maildir(), "cur")
    names = sorted(os.listdir(base))
    if names:
        os.unlink(os.path.join(base, rng.choice(names)))


def main():
    build = sys.argv[1] if len(sys.argv) > 1 else "."
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 15
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else int(time.time())
    results = harness.Results()
    results.run("storm", storm, build, seconds, seed)
    return results.finish()


if __name__ == "__main__":
    sys.exit(main())
