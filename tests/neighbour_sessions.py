"""Clients that work on an account while other programs do (tests/neighbours.py), and the model of what must be there.

Model: a message's id stands in its header. Whoever may cause a message to go (\\Deleted, DELE, unlink) says so first
("doomed"); of every other id as many copies must be there as were made and acknowledged. (UIDVALIDITY, UID) stands for
one id for ever. Session n alone sets and removes the keyword own<n>: what it was told OK must be so in the end.
"""

import collections
import os
import random
import re
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "imap"))
from harness import PASSWORD  # noqa: E402
from neighbour_programs import FOLDERS, text  # noqa: E402
from storm import COPYUID, UID, Client  # noqa: E402

X_ID = re.compile(rb"X-Id: (\S+)")
UIDVALIDITY = re.compile(rb"\[UIDVALIDITY (\d+)\]")
APPENDUID = re.compile(rb"\[APPENDUID (\d+) ([\d:,]+)\]")
COPY_TO = re.compile(rb"\[COPYUID (\d+) ")
MAY_FAIL = (b"[EXPUNGEISSUED]", b"[UNAVAILABLE] Temporary failure")  # of a command that another program was quicker than


def wire(ident):
    return text(ident).replace(b"\n", b"\r\n")


def numbers(uids):
    """The numbers of a set, in its order."""
    found = []
    for part in uids.decode().split(","):
        first, _, last = part.partition(":")
        found += range(int(first), int(last or first) + 1)
    return found


class Model:
    def __init__(self):
        self.lock = threading.Lock()
        self.made = collections.Counter()   # id -> copies that must be there, if not doomed
        self.maybe = collections.Counter()  # ... that may be there
        self.doomed = set()
        self.ident = {}        # (UIDVALIDITY, UID) -> id
        self.expunged = set()  # (UIDVALIDITY, UID) that a client was told to be gone
        self.own = {}          # (UIDVALIDITY, UID, session) -> its keyword is set
        self.uidvalidity = {}  # of FOLDERS
        self.uidl = {}
        self.said_no = collections.Counter()
        self.actions = collections.Counter()

    def create(self, ident, copies=1):
        with self.lock:
            self.made[ident] += copies

    def see(self, uidvalidity, uid, ident):
        with self.lock:
            known = self.ident.setdefault((uidvalidity, uid), ident)
        assert known == ident, "UID %d of UIDVALIDITY %d was %s and is %s" % (uid, uidvalidity, known, ident)

    def folder(self, name, uidvalidity):
        if name in FOLDERS:
            known = self.uidvalidity.setdefault(name, uidvalidity)
            assert known == uidvalidity, "UIDVALIDITY of %s was %d and is %d" % (name, known, uidvalidity)


class Session(Client):
    """storm.Client checks numbers; this one knows messages by id, moves between folders, and keeps the model."""

    def __init__(self, server, number, seed, model):
        self.server, self.number, self.model = server, number, model
        self.name, self.rng = "session %d" % number, random.Random("%s/session%d" % (seed, number))
        self.made = self.private = 0
        self.connect()

    def connect(self):
        self.s = self.server.connect("imap")
        self.s.settimeout(60)
        self.f = self.s.makefile("rb")
        self.f.readline()
        self.uids, self.count, self.history = [], 0, []
        self.folder = self.uidvalidity = None
        self.read_only = False
        self.ask("LOGIN ann " + PASSWORD)

    def close(self):
        self.f.close()
        self.s.close()

    def take(self, line, expunge):
        before = list(self.uids) if b" EXPUNGE" in line[:40] else None
        super().take(line, expunge)
        if before is not None and len(self.uids) < len(before):
            gone = before[int(line.split(b" ")[1]) - 1]
            if gone is not None:
                self.model.expunged.add((self.uidvalidity, gone))
        found = X_ID.search(line)
        if found and b" FETCH (" in line:
            self.model.see(self.uidvalidity, int(UID.search(line).group(1)), found.group(1).decode())

    def ok(self, command, literal=b"", expunge=True):
        """True if the answer is OK; any NO that another program can't be blamed for fails the test."""
        self.model.actions[command.partition("{")[0].split(" ")[1 if command.startswith("UID ") else 0]] += 1
        answer = self.ask(command, literal, expunge)
        if b" OK" in answer[:20]:
            return answer
        self.model.said_no[answer.partition(b" ")[2][:60].decode()] += 1
        if not any(reason in answer for reason in MAY_FAIL):
            self.fail("refused: %r" % answer)
        return b""

    def select(self, folder, read_only=False):
        """False: there is no such folder (another program's went away)."""
        self.uids, self.folder = [], None
        lines = []
        take, self.take = self.take, lambda line, expunge: (lines.append(line), take(line, expunge))
        answer = self.ask("%s %s" % ("EXAMINE" if read_only else "SELECT", folder))
        del self.take
        if b" OK" not in answer[:20]:
            assert folder not in FOLDERS, answer
            return False
        self.folder, self.read_only = folder, read_only
        self.uidvalidity = int(UIDVALIDITY.search(b"".join(lines)).group(1))
        self.model.folder(folder, self.uidvalidity)
        return True

    def known(self, count=1):
        """UIDs of this view whose message is known."""
        known = [u for u in self.uids if u is not None and (self.uidvalidity, u) in self.model.ident]
        return sorted(self.rng.sample(known, min(count, len(known))))

    def ident(self, uid):
        return self.model.ident[(self.uidvalidity, uid)]

    def act(self):
        rng = self.rng
        if self.folder is None or rng.random() < 0.04:
            return self.go()
        kind = rng.choices(ACTIONS, WEIGHTS)[0]
        if kind in NEEDS_WRITE and self.read_only:
            kind = "look"
        return getattr(self, kind)()

    def go(self):
        folder = self.rng.choice(FOLDERS + ("INBOX", "INBOX", "other"))
        if folder == "other":
            names = [n for n in os.listdir(self.server.maildir()) if n.startswith(".nb")]
            folder = self.rng.choice(names)[1:] if names else "INBOX"
        if not self.select(folder, self.rng.random() < 0.2):
            self.select("INBOX")

    def look(self):
        if not self.uids:
            return self.ok("NOOP")
        missing = [n for n, u in enumerate(self.uids, 1) if u is None or (self.uidvalidity, u) not in self.model.ident]
        which = ",".join(str(n) for n in missing[:200]) or self.some()
        return self.ok("FETCH %s (UID FLAGS BODY.PEEK[HEADER.FIELDS (X-ID)])" % which, expunge=False)

    def read(self):
        """A whole message by UID: the octets that its id stands for."""
        for uid in self.known():
            texts = []
            take, self.take = self.take, lambda line, expunge: (texts.append(line), take(line, expunge))
            self.ok("UID FETCH %d (RFC822.SIZE BODY.PEEK[])" % uid)
            del self.take
            for line in texts:
                if b"BODY[] {" in line and int(UID.search(line).group(1)) == uid:
                    data = wire(self.ident(uid))
                    if data not in line or b"RFC822.SIZE %d" % len(data) not in line:
                        self.fail("wrong octets of %s: %r" % (self.ident(uid), line))

    def keyword(self):
        for uid in self.known(self.rng.choice((1, 1, 4))):
            on = self.rng.random() < 0.6
            key = (self.uidvalidity, uid, self.number)
            if self.ok("UID STORE %d %sFLAGS%s (own%d)" % (uid, "+" if on else "-", self.rng.choice(("", ".SILENT")),
                                                          self.number)):
                self.model.own[key] = on
            else:
                self.model.own.pop(key, None)

    def seen(self):
        if self.uids:
            self.ok("STORE %s %sFLAGS (\\Seen)" % (self.some(), self.rng.choice("+-")), expunge=False)

    def delete(self):
        uids = self.known(self.rng.choice((1, 3)))
        if uids and len(self.uids) > 15:
            self.model.doomed.update(self.ident(u) for u in uids)
            self.ok("UID STORE %s +FLAGS.SILENT (\\Deleted)" % ",".join(map(str, uids)))

    def expunge(self):
        self.ok(self.rng.choice(("EXPUNGE", "EXPUNGE", "UID EXPUNGE 1:%d" % self.rng.randint(1, 3000))))

    def closing(self):
        self.ok("CLOSE")
        self.folder, self.uids = None, []

    def copied(self, answer, uids):
        """The target's UIDs in the order of ours."""
        found = COPYUID.search(answer)
        if not found:
            return [], []
        ours, theirs = numbers(found.group(1)), numbers(found.group(2))
        uidvalidity = int(COPY_TO.search(answer).group(1))
        if not set(ours) <= set(uids):
            self.fail("COPYUID names %s, of %s" % (ours, uids))
        for old, new in zip(ours, theirs):
            self.model.see(uidvalidity, new, self.ident(old))
        return ours, theirs

    def copy(self):
        uids = self.known(self.rng.choice((1, 1, 3))) if len(self.uids) < 150 or self.folder == "B" else []
        if uids and self.folder in FOLDERS:
            answer = self.ok("UID COPY %s %s" % (",".join(map(str, uids)), self.rng.choice(FOLDERS)))
            for uid in self.copied(answer, uids)[0]:
                self.model.create(self.ident(uid))
            if not answer:
                self.model.maybe.update(self.ident(u) for u in uids)

    def move(self):
        uids = self.known(self.rng.choice((1, 2)))
        if uids and self.folder in FOLDERS:
            self.move_to(uids, self.rng.choice(FOLDERS))

    def move_to(self, uids, target):
        """COPYUID comes in an untagged OK (RFC 6851 4.3)."""
        lines = []
        take, self.take = self.take, lambda line, expunge: (lines.append(line), take(line, expunge))
        answer = self.ok("UID MOVE %s %s" % (",".join(map(str, uids)), target))
        del self.take
        self.copied(b"".join(lines) + answer, uids)

    def append(self):
        self.made += 1
        ident = "s%d.%d" % (self.number, self.made)
        data, target = wire(ident), self.rng.choice(FOLDERS)
        self.model.maybe[ident] += 1  # the connection may end before the answer
        answer = self.ok("APPEND %s (own%d \\Draft) {%d+}\r\n" % (target, self.number, len(data)), data)
        if not answer:
            return
        del self.model.maybe[ident]
        self.model.create(ident)
        uidvalidity, uid = map(int, APPENDUID.search(answer).groups())
        self.model.see(uidvalidity, uid, ident)
        self.model.own[(uidvalidity, uid, self.number)] = True

    def search(self):
        uids = self.known()
        key = self.rng.choice(("KEYWORD own%d" % self.number, "DELETED", "UNSEEN", "HEADER X-ID s1.1",
                               "BODY aab" if not uids else "HEADER X-ID " + self.ident(uids[0])))
        self.ok("SEARCH " + key, expunge=False)

    def status(self):
        self.ok("STATUS %s (MESSAGES UIDNEXT UNSEEN)" % self.rng.choice([f for f in FOLDERS if f != self.folder]))
        self.ok('LIST "" *')

    def noop(self):
        self.ok("NOOP")

    def check(self):
        self.ok("CHECK")

    def folders(self):
        """CREATE, COPY, RENAME, look, DELETE of a folder that nobody else touches."""
        if self.folder not in FOLDERS:
            return
        self.private += 1
        first, second = ("p%d.%d%s" % (self.number, self.private, x) for x in "ab")
        self.ok("CREATE " + first)
        uids = self.known(4)
        copies = self.copied(self.ok("UID COPY %s %s" % (",".join(map(str, uids)), first)), uids)[1] if uids else []
        self.ok("RENAME %s %s" % (first, second))
        back = self.folder
        if not self.select(second):
            self.fail("%s isn't there after RENAME" % second)
        if len(self.uids) != len(copies):
            self.fail("%d messages copied, %d there" % (len(copies), len(self.uids)))
        if self.uids:
            self.ok("FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (X-ID)])", expunge=False)
        if self.uids != copies:
            self.fail("UIDs %s after RENAME, not %s" % (self.uids, copies))
        self.select(back)
        self.ok("DELETE " + second)

    def run(self, until):
        """Works until the event; a connection that ends because its folder went away is made anew."""
        while not until.is_set():
            try:
                self.act()
            except AssertionError:
                if not self.folder_went():
                    raise
                self.close()
                self.connect()

    def folder_went(self):
        return (self.folder or "").startswith("nb") and any("mailbox was deleted" in line for line in self.history[-3:])


ACTIONS = ["look", "read", "keyword", "seen", "delete", "expunge", "closing", "copy", "move", "append", "search", "status",
           "noop", "check", "idle", "folders"]
WEIGHTS = [18, 10, 14, 5, 5, 5, 1, 5, 4, 4, 4, 3, 6, 1, 4, 1]
NEEDS_WRITE = ("keyword", "seen", "delete", "expunge", "closing", "move")


class Pop3:
    """A mail reader that empties a part of the maildrop now and then."""

    def __init__(self, server, seed, model):
        self.server, self.model = server, model
        self.rng = random.Random("%s/pop3" % seed)

    def run(self, until):
        while not until.is_set():
            p = self.server.pop3()
            listed = dict(line.split(b" ")[:2] for line in p.uidl()[1])
            for number, uidl in self.rng.sample(sorted(listed.items()), min(5, len(listed))):
                self.one(p, int(number), uidl, len(listed))
            p.quit()
            self.model.actions["POP3"] += 1
            until.wait(self.rng.random() * 0.3)

    def one(self, p, number, uidl, count):
        p._putcmd("RETR %d" % number)
        try:
            lines = p._getlongresp()[1]
        except Exception as error:
            assert "removed by another session" in str(error), error
            return
        ident = lines[0].split(b" ")[1].decode()
        assert b"\r\n".join(lines) + b"\r\n" == wire(ident), "wrong octets of %s" % ident
        with self.model.lock:
            known = self.model.uidl.setdefault(uidl, ident)
        assert known == ident, "UIDL %s was %s and is %s" % (uidl, known, ident)
        if count > 15 and self.rng.random() < 0.3:
            self.model.doomed.add(ident)
            p.dele(number)
