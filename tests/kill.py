#!/usr/bin/env python3
"""SIGKILL of random workers under mixed load: nothing acknowledged is lost, UIDs stay, no session of another account
notices, and the server heals itself.

    kill.py BUILD_DIRECTORY        (MANSIO_KILL_SECONDS: how long, 60; MANSIO_SEED: random seed)
"""

import imaplib
import os
import random
import re
import signal
import sys
import threading
import time

import harness
from harness import PASSWORD, Server, wait_until

SECONDS = float(os.environ.get("MANSIO_KILL_SECONDS", "60"))
SEED = int(os.environ.get("MANSIO_SEED", "1"))
BROKEN = (imaplib.IMAP4.abort, OSError, EOFError)  # the worker died under this client


class Account(threading.Thread):
    """One account's client: works on two folders, and keeps the model of what was acknowledged."""

    FOLDERS = ("INBOX", "Work")

    def __init__(self, server, user, end, seed):
        super().__init__()
        self.server, self.user, self.end_at = server, user, end
        self.rng = random.Random(seed)
        self.sure = {f: {} for f in self.FOLDERS}      # uid -> token: acknowledged and must be there
        self.doubtful = {f: {} for f in self.FOLDERS}  # uid -> token: a removal was under way when the worker died
        self.seen = {f: {} for f in self.FOLDERS}      # uid -> token: for ever; a UID never means anything else
        self.flags = {f: {} for f in self.FOLDERS}     # uid -> acknowledged \Flagged
        self.validity = {}
        self.moving = set()                            # tokens of a MOVE under way: must be in one folder or the other
        self.gone = {f: set() for f in self.FOLDERS}   # expunge acknowledged: must not come back
        self.counter = self.operations = self.reconnects = self.checks = 0
        self.fault = None
        self.c = None

    def run(self):
        try:
            while time.monotonic() < self.end_at:
                try:
                    self.connect()
                    while time.monotonic() < self.end_at:
                        self.step()
                        self.operations += 1
                except BROKEN:
                    self.reconnects += 1
            self.connect_patiently()
            self.verify()
        except BaseException as error:
            import traceback
            self.fault = "%s: %r\n%s" % (self.user, error, traceback.format_exc())

    def connect_patiently(self):
        for _ in range(50):
            try:
                self.connect()
                return
            except BROKEN:
                time.sleep(0.1)
        raise AssertionError("no way back in")

    def connect(self):
        self.c = self.server.imap(self.user)
        typ, data = self.c.create("Work")
        self.verify()

    def fetch_tokens(self, folder):
        """uid -> (token, flags) of everything in a folder, as a client sees it."""
        typ, data = self.c.select(folder)
        assert typ == "OK", (folder, data)
        validity = self.c.response("UIDVALIDITY")[1][0]
        assert self.validity.setdefault(folder, validity) == validity, "UIDVALIDITY of %s changed" % folder
        found = {}
        if data[0] == b"0":
            return found
        typ, data = self.c.uid("FETCH", "1:*", "(FLAGS BODY.PEEK[])")
        assert typ == "OK", data
        for item in data:
            if isinstance(item, tuple):
                uid = int(re.search(rb"UID (\d+)", item[0]).group(1))
                token = re.search(rb"^Subject: (\S+)\r\n", item[1], re.M)
                assert token and item[1].endswith(b"body of " + token.group(1) + b"\r\n"), "torn message: %r" % item[1][-100:]
                found[uid] = (token.group(1).decode(), b"\\Flagged" in item[0])
        return found

    def verify(self):
        everywhere = set()
        for folder in self.FOLDERS:
            found = self.fetch_tokens(folder)
            everywhere.update(token for token, _ in found.values())
            for uid, (token, flagged) in found.items():
                assert self.seen[folder].setdefault(uid, token) == token, \
                    "UID %d of %s was %s and is %s" % (uid, folder, self.seen[folder][uid], token)
                assert uid not in self.gone[folder], "expunged UID %d of %s is back" % (uid, folder)
                if uid in self.flags[folder]:
                    assert self.flags[folder][uid] == flagged, "flag of UID %d in %s lost" % (uid, folder)
            for uid, token in self.sure[folder].items():
                assert uid in found and found[uid][0] == token, \
                    "acknowledged UID %d (%s) of %s is lost; there: %s" % (uid, token, folder, sorted(found)[-5:])
            for uid in list(self.doubtful[folder]):
                if uid in found:
                    self.sure[folder][uid] = self.doubtful[folder][uid]
                del self.doubtful[folder][uid]
            # a message whose acknowledgement was lost on the way is there or not; from now on it is sure
            for uid, (token, flagged) in found.items():
                self.sure[folder][uid] = token
                self.flags[folder][uid] = flagged
        assert self.moving <= everywhere, "lost while moved: %s" % (self.moving - everywhere)
        self.moving.clear()
        self.checks += 1

    def step(self):
        folder = self.rng.choice(self.FOLDERS)
        what = self.rng.random()
        sure = self.sure[folder]
        if what < 0.45 or len(sure) < 5:
            self.append(folder)
        elif what < 0.65:
            self.flag(folder)
        elif what < 0.75:
            self.transfer(folder, self.rng.choice(("COPY", "MOVE")))
        elif what < 0.9:
            self.remove(folder)
        else:
            self.verify()

    def append(self, folder):
        self.counter += 1
        token = "%s-%d-%d" % (self.user, self.counter, self.rng.randrange(10**9))
        body = "From: x@example.org\r\nSubject: %s\r\n\r\n%sbody of %s\r\n" % (
            token, "filler line\r\n" * self.rng.randrange(0, 400), token)
        typ, data = self.c.append(folder, None, None, body.encode())
        assert typ == "OK", data
        uid = int(re.search(rb"APPENDUID \d+ (\d+)", data[0]).group(1))
        self.acknowledged(folder, uid, token)

    def acknowledged(self, folder, uid, token):
        assert self.seen[folder].setdefault(uid, token) == token, "UID %d given twice" % uid
        self.sure[folder][uid] = token

    def some(self, folder):
        uids = sorted(self.sure[folder])
        start = self.rng.randrange(len(uids))
        return uids[start:start + self.rng.randrange(1, 6)]

    def flag(self, folder):
        self.c.select(folder)
        uids, on = self.some(folder), self.rng.random() < 0.6
        for uid in uids:
            self.flags[folder].pop(uid, None)
        typ, data = self.c.uid("STORE", ",".join(map(str, uids)), "+FLAGS" if on else "-FLAGS", "(\\Flagged)")
        assert typ == "OK", data
        for uid in uids:
            self.flags[folder][uid] = on

    def transfer(self, folder, command):
        target = [f for f in self.FOLDERS if f != folder][0]
        self.c.select(folder)
        uids = self.some(folder)
        if command == "MOVE":
            for uid in uids:
                self.doubtful[folder][uid] = self.sure[folder].pop(uid)
        tokens = [self.seen[folder][uid] for uid in uids]
        if command == "MOVE":
            self.moving.update(tokens)
        typ, data = self.c.uid(command, ",".join(map(str, uids)), target)
        assert typ == "OK", data
        code = self.c.response("COPYUID")[1][-1] or data[0]
        new = re.search(rb"\d+ [\d:,]+ ([\d:,]+)", code).group(1).decode()
        numbers = []
        for part in new.split(","):
            first, _, last = part.partition(":")
            numbers += range(int(first), int(last or first) + 1)
        for uid, token in zip(numbers, tokens):
            self.acknowledged(target, uid, token)
        if command == "MOVE":
            self.removed(folder, uids)
            self.moving.clear()

    def removed(self, folder, uids):
        for uid in uids:
            self.doubtful[folder].pop(uid, None)
            self.flags[folder].pop(uid, None)
            self.gone[folder].add(uid)

    def remove(self, folder):
        self.c.select(folder)
        uids = self.some(folder)
        for uid in uids:
            self.doubtful[folder][uid] = self.sure[folder].pop(uid)
        text = ",".join(map(str, uids))
        assert self.c.uid("STORE", text, "+FLAGS.SILENT", "(\\Deleted)")[0] == "OK"
        typ, data = self.c.uid("EXPUNGE", text)
        assert typ == "OK", data
        self.removed(folder, uids)


class Bystander(threading.Thread):
    """A session whose worker isn't killed: must never notice."""

    def __init__(self, server, end):
        super().__init__()
        self.c = server.imap("dora")
        self.c.append("INBOX", None, None, b"Subject: quiet\r\n\r\nbody\r\n")
        self.c.select("INBOX")
        self.end_at, self.fault, self.rounds = end, None, 0

    def run(self):
        try:
            while time.monotonic() < self.end_at:
                assert self.c.noop()[0] == "OK"
                assert b"body" in self.c.fetch("1", "(BODY.PEEK[TEXT])")[1][0][1]
                self.rounds += 1
                time.sleep(0.05)
            self.c.logout()
        except BaseException as error:
            self.fault = repr(error)


def test_kill_workers_under_load(build):
    users = ("ann", "bob", "carl", "dora")
    rng = random.Random(SEED)
    with Server(build, users=users) as server:
        end = time.monotonic() + SECONDS
        quiet = Bystander(server, end)
        clients = [Account(server, user, end, SEED * 100 + n) for n, user in enumerate(users[:3])]
        quiet.start()
        for c in clients:
            c.start()
        kills = 0
        while time.monotonic() < end - 1:
            time.sleep(rng.uniform(0.05, 0.4))
            lines = server.ctl("who").stdout.split("\n")
            pids = [int(w) for line in lines if "dora" not in line and any(u in line.split() for u in users)
                    for w in line.split() if w.isdigit() and int(w) in server.children()]
            if pids:
                try:
                    os.kill(rng.choice(pids), signal.SIGKILL)
                    kills += 1
                except ProcessLookupError:
                    pass
        for c in clients:
            c.join()
        quiet.join()
        print("     %d kills, %s" % (kills, ", ".join("%s: %d operations, %d reconnects, %d checks" %
              (c.user, c.operations, c.reconnects, c.checks) for c in clients)))
        faults = [c.fault for c in clients if c.fault] + ([quiet.fault] if quiet.fault else [])
        assert not faults, "\n".join(faults) + "\n" + server.tail()
        assert kills > SECONDS / 2, "only %d kills" % kills
        assert quiet.rounds > SECONDS, quiet.rounds
        assert sum(c.reconnects for c in clients) > 0
        for user in users:
            done = server.ctl("mailbox", "check", user)
            assert done.returncode == 0, done.stdout + done.stderr
        wait_until(lambda: server.imap().logout(), 5, "the server to serve")


if __name__ == "__main__":
    sys.exit(harness.main(globals()))
