#!/usr/bin/env python3
"""The power goes while sessions work: what may be on the disk then, and does the next session find all that was promised?

    powercut.py BUILD_DIRECTORY [STATES [SEED]]

One account goes through its life, from the first login on: deliveries, APPEND, COPY, MOVE, STORE, EXPUNGE, folders, POP3,
a rebuild, and enough flags that Berkeley DB changes its log and removes old ones. strace writes down each operation on
files, and when the client got its answers. Then, for many points in that log, directories are made as a file system may
leave them (powerlog.py has the rules), and tests/power_state opens each as after a reboot. It must find

  - each message that the client was told of, or that was delivered, in its folder, octet by octet, with its UID; what was
    being done when the power went is done, not done, or done for some messages, each whole
  - UIDVALIDITY as before; no UID that a client saw given to another message, also not to the next one
  - flags as they were at some time of the message's life: STORE waits for no disk, so that the last ones may be lost
  - subscriptions and folders as before or after the last command
  - an index that `mailbox check` has nothing to say about, and that works

and the same when the power goes again during that. Needs strace; is skipped where tracing isn't allowed.
"""

import copy
import os
import random
import re
import subprocess
import sys
import tempfile
import time

import powerlog
from crash_matrix import Client, Pop3
from harness import Results, Server, Skip, wait_until

STATES = 300
MODES = ("posix", "journal", "random", "random", "all")
FLAGS = {"\\Answered": None, "\\Seen": None, "\\Deleted": None, "\\Flagged": None, "\\Draft": None}
LOCK = "mansio-index/lock"
NOISE = bytes((i * 7 + i // 256) % 256 for i in range(65536))


def fnv(data):
    value = 0xcbf29ce484222325
    for octet in data:
        value = (value ^ octet) * 0x100000001b3 & 0xffffffffffffffff
    return value


class Message:
    """content: (octets, sum). flags, keywords: all that it had, one after the other."""

    def __init__(self, content, flags=0, keywords=frozenset()):
        self.content, self.flags, self.keywords = content, [flags], [frozenset(keywords)]


class Folder:
    def __init__(self, validity=None):
        self.validity, self.uidnext, self.messages = validity, 1, {}
        self.loose = []  # delivered, and no UID seen yet


class World:
    """What the client was told."""

    def __init__(self):
        self.folders, self.subscribed = {}, set()


class Step:
    def __init__(self, name, world, time, local):
        self.name, self.world, self.time, self.local = name, world, time, local


class TracedServer(Server):
    """mansiod under strace; one worker a protocol, so that few processes are followed."""

    def start(self):
        self.trace = os.path.join(self.dir, "trace")
        original = self.program

        def program(name):
            return original(name)
        self.program = program
        self.stderr = open(os.path.join(self.dir, "stderr"), "ab")
        command = powerlog.Recorder.command(self.trace) + [self.program("mansiod"), "-F", "-c", self.conf_path]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.stderr, stderr=self.stderr,
                                        start_new_session=True)
        ports = [self.ports["imap"], self.ports["pop3"]]
        wait_until(lambda: self._answers(ports), 30, "the server to start under strace\n" + self.tail())


class Life:
    """What the account goes through; self.steps is what was promised when."""

    def __init__(self, server, record):
        self.server, self.record = server, record
        self.world = World()
        self.steps = []
        self.count = 0
        self.texts = {}
        self.traces = [server.trace]
        self.selected = None
        self.acknowledged("start", local=True)

    def acknowledged(self, name, local=False):
        self.steps.append(Step(name, copy.deepcopy(self.world), time.time(), local))

    def text(self, size=300):
        self.count += 1
        token = "m%d" % self.count
        body = "".join("%s line %d\r\n" % (token, i) for i in range(size // 14 + 1))
        data = ("Subject: %s\r\nFrom: a@example.org\r\n\r\n%s" % (token, body)).encode()
        return data

    def content(self, data):
        key = len(data), fnv(data)
        self.texts[key] = data
        return key

    def do(self, command, name=None):
        """The lines of the answer; the caller changes the world and calls acknowledged()."""
        status, lines = self.c.do(command)
        assert status == b"OK", (command, lines)
        return b"".join(lines)

    def plain(self, command, name):
        self.do(command)
        self.acknowledged(name)

    # -- one step each

    def login(self):
        self.c = Client(self.server)
        for name in ("INBOX", "Drafts", "Sent"):
            self.world.folders.setdefault(name, Folder())
        self.world.subscribed |= {"Drafts", "Sent"}
        self.acknowledged("login")
        for name in sorted(self.world.folders):
            self.status(name)

    def logout(self):
        self.do(b"LOGOUT")
        self.c.close()
        self.selected = None
        self.acknowledged("logout")

    def status(self, name):
        text = self.do(b"STATUS %s (UIDVALIDITY UIDNEXT)" % name.encode())
        f = self.world.folders[name]
        validity = int(re.search(rb"UIDVALIDITY (\d+)", text).group(1))
        assert f.validity in (None, validity)
        f.validity = validity
        f.uidnext = int(re.search(rb"UIDNEXT (\d+)", text).group(1))
        self.acknowledged("STATUS " + name)

    def select(self, name):
        self.plain(b"SELECT " + name.encode(), "SELECT " + name)
        self.selected = name

    def append(self, name, sizes=(300,), flags=(), keywords=()):
        f = self.world.folders[name]
        texts = [self.text(n) for n in sizes]
        command = b"APPEND " + name.encode()
        for data in texts:
            command += b" (%s) {%d+}\r\n%s" % (" ".join(flags + keywords).encode(), len(data), data)
        found = re.search(rb"APPENDUID (\d+) (\d+)", self.do(command))
        assert f.validity == int(found.group(1))
        for n, data in enumerate(texts):
            f.messages[int(found.group(2)) + n] = Message(self.content(data), sum(FLAGS[x] for x in flags), keywords)
        f.uidnext = max(f.messages) + 1
        self.acknowledged("APPEND %s (%d)" % (name, len(sizes)))

    def deliver(self, folder="", size=300):
        name = folder or "INBOX"
        data = self.text(size)
        stored = data.replace(b"\r\n", b"\n")
        begun = time.time()
        filed = self.server.deliver(stored, folder=folder)
        base = self.server.maildir() + ("/." + folder if folder else "")
        self.record.note(begun, "deliver", base, filed, stored)
        self.world.folders[name].loose.append(self.content(data))
        self.acknowledged("delivery to " + name, local=True)

    def look(self):
        """Fetches what was delivered to the selected folder."""
        f = self.world.folders[self.selected]
        self.do(b"NOOP")
        text = self.do(b"UID FETCH %d:* (UID FLAGS BODY.PEEK[])" % f.uidnext)
        for m in re.finditer(rb"FETCH \(UID (\d+) FLAGS \(([^)]*)\) BODY\[\] \{(\d+)\}\r\n", text):
            data = text[m.end():m.end() + int(m.group(3))]
            uid = int(m.group(1))
            if uid >= f.uidnext:
                words = m.group(2).decode().split()
                f.messages[uid] = Message(self.content(data), sum(FLAGS.get(w, 0) for w in words),
                                          [w for w in words if w[0] != "\\"])
                f.loose.remove(self.content(data))
        f.uidnext = max(list(f.messages) + [f.uidnext - 1]) + 1
        self.acknowledged("FETCH of new mail in " + self.selected)

    def store(self, uids, mode, flags=(), keywords=()):
        text = ",".join(map(str, uids)) if uids else "1:*"
        self.do(b"UID STORE %s %sFLAGS.SILENT (%s)" % (text.encode(), mode.encode(), " ".join(flags + keywords).encode()))
        f = self.world.folders[self.selected]
        bits = sum(FLAGS[x] for x in flags)
        for uid in uids or f.messages:
            m = f.messages[uid]
            m.flags.append(m.flags[-1] | bits if mode == "+" else m.flags[-1] & ~bits)
            m.keywords.append(m.keywords[-1] | set(keywords) if mode == "+" else m.keywords[-1] - set(keywords))
        self.acknowledged("STORE %s%s" % (mode, " ".join(flags + keywords)))

    def copy(self, uids, name, move=False):
        source, target = self.world.folders[self.selected], self.world.folders[name]
        text = self.do(b"UID %s %s %s" % (b"MOVE" if move else b"COPY", ",".join(map(str, uids)).encode(), name.encode()))
        found = re.search(rb"COPYUID (\d+) (\S+) ([\d,:]+)", text)
        assert int(found.group(1)) == target.validity
        for old, new in zip(numbers(found.group(2)), numbers(found.group(3))):
            m = source.messages[old]
            target.messages[new] = Message(m.content, m.flags[-1], m.keywords[-1])
            # what STORE did to the source isn't safe yet, but the link to it is
            if move:
                del source.messages[old]
        target.uidnext = max(target.messages) + 1
        self.acknowledged("%s to %s" % ("MOVE" if move else "COPY", name))

    def expunge(self, uids=None):
        f = self.world.folders[self.selected]
        gone = [u for u, m in f.messages.items() if m.flags[-1] & FLAGS["\\Deleted"] and (uids is None or u in uids)]
        self.do(b"EXPUNGE" if uids is None else b"UID EXPUNGE " + ",".join(map(str, uids)).encode())
        for uid in gone:
            del f.messages[uid]
        self.acknowledged("EXPUNGE")

    def create(self, name):
        self.do(b"CREATE " + name.encode())
        self.world.folders[name] = Folder()
        self.acknowledged("CREATE " + name)
        self.status(name)

    def delete(self, name):
        self.do(b"DELETE " + name.encode())
        del self.world.folders[name]
        self.acknowledged("DELETE " + name)

    def rename(self, old, new):
        self.do(b"RENAME %s %s" % (old.encode(), new.encode()))
        for name in list(self.world.folders):
            if name == old or name.startswith(old + "."):
                self.world.folders[new + name[len(old):]] = self.world.folders.pop(name)
        self.acknowledged("RENAME %s %s" % (old, new))

    def rename_inbox(self, new):
        self.do(b"RENAME INBOX " + new.encode())
        inbox = self.world.folders["INBOX"]
        f = self.world.folders[new] = Folder()
        f.loose = [m.content for m in inbox.messages.values()] + inbox.loose
        inbox.messages, inbox.loose = {}, []
        self.acknowledged("RENAME INBOX " + new)
        self.select(new)
        self.status(new)
        f.uidnext = 1
        self.look()

    def subscribe(self, name, on=True):
        self.do((b"SUBSCRIBE " if on else b"UNSUBSCRIBE ") + name.encode())
        (self.world.subscribed.add if on else self.world.subscribed.discard)(name)
        self.acknowledged(("SUBSCRIBE " if on else "UNSUBSCRIBE ") + name)

    def pop3(self):
        """DELE 1, DELE 2, QUIT."""
        c = Pop3(self.server)
        assert c.do(b"QUIT")[0] == b"OK"
        c.close()
        f = self.world.folders["INBOX"]
        for uid in sorted(f.messages)[:2]:
            del f.messages[uid]
        self.acknowledged("QUIT")

    def other(self, name, *words, stdin=b""):
        """Another program of ours, traced too."""
        output = "%s.%d" % (self.server.trace, len(self.traces))
        self.traces.append(output)
        done = subprocess.run(powerlog.Recorder.command(output) + [self.server.program(words[0]), "-c", self.server.conf_path] +
                              list(words[1:]), input=stdin, capture_output=True, timeout=60)
        assert done.returncode == 0, (words, done.stderr)
        time.sleep(0.1)  # strace closes its file after that
        self.acknowledged(name, local=True)

    def live(self):
        self.login()
        self.select("INBOX")
        self.append("INBOX", flags=("\\Seen",))
        self.append("INBOX", sizes=(300, 9000, 5000))
        self.deliver(size=2000)
        self.deliver()
        self.look()
        self.create("Work")
        self.create("Work.Sub")
        self.append("Work", keywords=("alpha",))
        self.append("Work.Sub", flags=("\\Flagged",), keywords=("beta", "gamma"))
        self.store((1, 2), "+", ("\\Flagged",))
        self.store((2, 3), "+", ("\\Answered",), ("alpha",))
        self.copy((1, 2), "Work")
        self.copy((3, 5), "Work", move=True)
        self.subscribe("Work")
        self.deliver("Work")
        self.rename("Work", "Job")
        self.select("Job")
        self.look()
        self.store((1,), "+", (), tuple("k%d" % i for i in range(30)))
        self.store((2,), "+", ("\\Deleted",))
        self.expunge()
        self.select("INBOX")
        self.append("INBOX", sizes=(200,) * 20)
        self.do(b"FETCH 1:* (ENVELOPE BODYSTRUCTURE)")
        everything = (None, "+", ("\\Seen",)), (None, "-", ("\\Seen",)), (None, "+", (), ("seen-by-me",)), (None, "-", (),
                                                                                                            ("seen-by-me",))
        first_log = self.logs()
        for i in range(400):
            self.store(*everything[i % 4])
            if i % 8 == 7:
                self.append("INBOX", flags=("\\Draft",))
            if i % 40 == 39 and min(self.logs()) > max(first_log) + 1:
                break
        assert min(self.logs()) > max(first_log) + 1, "logs weren't changed: %r" % self.logs()
        self.store(tuple(sorted(self.world.folders["INBOX"].messages))[3:9], "+", ("\\Deleted",))
        self.expunge(tuple(sorted(self.world.folders["INBOX"].messages))[3:5])
        self.expunge()
        self.create("Gone")
        self.append("Gone")
        self.delete("Gone")
        self.create("Gone")
        self.append("Gone")
        self.logout()
        self.pop3()
        self.other("mailbox rebuild", "mansioctl", "mailbox", "rebuild", "ann")
        self.login()
        self.subscribe("Drafts", False)
        self.rename("Job", "Trade")
        self.rename_inbox("Old")
        self.deliver()
        self.logout()

    def logs(self):
        return sorted(int(n[4:]) for n in os.listdir(self.server.maildir() + "/mansio-index/db") if n.startswith("log."))


def numbers(text):
    found = []
    for part in text.split(b","):
        a, _, b = part.partition(b":")
        found += range(int(a), int(b or a) + 1)
    return found


class Found:
    """What tests/power_state says of one directory."""

    def __init__(self, lines):
        self.folders, self.subscribed, self.faults, self.next = {}, set(), [], None
        folder = None
        for line in lines:
            kind, _, rest = line.partition(" ")
            if kind == "F":
                validity, uidnext, _, name = rest.split(" ", 3)
                folder = self.folders[name] = Folder(int(validity))
                folder.uidnext = int(uidnext)
            elif kind == "M":
                uid, flags, size, total, keywords = rest.split(" ", 4)
                folder.messages[int(uid)] = Message((int(size), int(total, 16)), int(flags),
                                                    frozenset(k for k in keywords.split(",") if k))
            elif kind == "S":
                self.subscribed.add(rest)
            elif kind == "U":
                self.next = int(rest)
            else:
                self.faults.append(line)


class Judge:
    """Compares what was promised with what was found."""

    def __init__(self, steps, known):
        self.steps = steps
        self.known = set(known) | {(23, fnv(b"Subject: afterwards\r\n\r\n"))}
        self.seen = []  # by step: {(validity, uid): content}
        all_seen = {}
        for step in steps:
            for f in step.world.folders.values():
                for uid, m in f.messages.items():
                    if f.validity is not None:
                        all_seen[f.validity, uid] = m.content
            self.seen.append(dict(all_seen))

    def faults(self, n, found):
        """n: the last step that the client was answered. What is wrong, as a list of texts."""
        before = self.steps[n].world
        after = self.steps[min(n + 1, len(self.steps) - 1)].world
        wrong = list(found.faults)
        wrong += self.folder_faults(before, after, found)
        if found.subscribed not in (before.subscribed, after.subscribed) and n > 0:
            wrong.append("subscriptions %r" % found.subscribed)
        seen = self.seen[n]
        for name, f in found.folders.items():
            for uid, m in f.messages.items():
                if m.content not in self.known:
                    wrong.append("%s: UID %d is half a message: %r" % (name, uid, m.content))
                if seen.get((f.validity, uid), m.content) != m.content:
                    wrong.append("%s: UID %d is another message" % (name, uid))
        if found.next is not None and "INBOX" in found.folders:
            used = [u for v, u in seen if v == found.folders["INBOX"].validity]
            if used and found.next <= max(used):
                wrong.append("INBOX: UID %d was given again" % found.next)
        return wrong

    def folder_faults(self, before, after, found):
        wrong = []
        by_validity = {f.validity: name for name, f in after.folders.items() if f.validity is not None}
        have = {}
        for f in found.folders.values():
            for m in f.messages.values():
                have[m.content] = have.get(m.content, 0) + 1
        kept = {m.content for f in after.folders.values() for m in f.messages.values()} | {
            c for f in after.folders.values() for c in f.loose}
        for name, f in before.folders.items():
            for content in [m.content for m in f.messages.values()] + f.loose:
                if content in kept and content not in have:
                    wrong.append("%s: message %r is lost" % (name, content))
            new_name = by_validity.get(f.validity) if f.validity is not None else (name if name in after.folders else None)
            if new_name is None:
                continue  # being deleted
            now = [x for x in {name, new_name} if x in found.folders]
            if not now:
                wrong.append("%s: no such folder" % name)
                continue
            g = found.folders[now[0]]
            if f.validity is not None and g.validity != f.validity:
                wrong.append("%s: UIDVALIDITY %d, not %d" % (name, g.validity, f.validity))
                continue
            wrong += self.message_faults(name, f, after.folders[new_name], g)
        for name in found.folders:
            if name not in before.folders and name not in after.folders:
                wrong.append("%s: a folder that nobody made" % name)
        return wrong

    def message_faults(self, name, before, after, found):
        wrong = []
        if found.uidnext < before.uidnext:
            wrong.append("%s: UIDNEXT %d, not %d" % (name, found.uidnext, before.uidnext))
        for uid, m in before.messages.items():
            if uid not in after.messages:
                continue  # being expunged
            x = found.messages.get(uid)
            if x is None:
                wrong.append("%s: UID %d is gone" % (name, uid))
                continue
            later = after.messages[uid]
            if x.flags[0] not in later.flags:
                wrong.append("%s: UID %d never had flags %d" % (name, uid, x.flags[0]))
            if not frozenset.intersection(*later.keywords) <= x.keywords[0] <= frozenset.union(*later.keywords):
                wrong.append("%s: UID %d never had keywords %r" % (name, uid, sorted(x.keywords[0])))
        return wrong


class Viewer:
    """tests/power_state, kept running."""

    def __init__(self, build):
        self.program = os.path.join(build, "tests", "power_state")
        self.process = subprocess.Popen([self.program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)

    def look(self, path):
        self.process.stdin.write(path + "\n")
        self.process.stdin.flush()
        lines = []
        for line in self.process.stdout:
            if line == ".\n":
                return Found(lines)
            lines.append(line.rstrip("\n"))
        raise AssertionError("power_state ended")

    def traced(self, path, output):
        """The same once, with its operations on files recorded."""
        subprocess.run(powerlog.Recorder.command(output) + [self.program], input=path + "\n", stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, text=True, timeout=60, check=True)
        time.sleep(0.05)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Cuts:
    def __init__(self, build, log, steps, known, top, seed, regions):
        self.log, self.top, self.seed, self.regions = log, top, seed, regions
        self.judge = Judge(steps, known)
        self.viewer = Viewer(build)
        self.tried = dict.fromkeys(("all", "posix", "journal", "random", "again"), 0)
        self.failed = 0
        self.at = self.answered(steps)

    def answered(self, steps):
        """For each step the number of operations after which its answer is out."""
        positions, n, last_mark = [], 0, 0
        for step in steps:
            while n < len(self.log.ops) and self.log.ops[n].time <= step.time:
                if self.log.ops[n].kind == "mark":
                    last_mark = n + 1
                n += 1
            positions.append(n if step.local else last_mark)
        return positions

    def step_at(self, k):
        """The last step that was answered before operation k."""
        return max(i for i, at in enumerate(self.at) if at <= k)

    def changed(self, rng):
        """The octets of files that are memory: the lock's page, and regions."""
        page = b"MANSIOL1" + rng.randbytes(16) + rng.randbytes(8) + rng.randrange(1, 1000).to_bytes(8, "little") + bytes(24)
        lock = rng.choice((page, page, b"", NOISE[:64], bytes(64)))

        def give(path, data):
            return lock if path.endswith(LOCK) else data
        return give

    def put(self, tree, rng):
        """Writes the state. Its Maildir's path."""
        top = os.path.join(self.top, "state")
        powerlog.remove(top)
        tree.write(top, changed=self.changed(rng))
        maildir = os.path.join(top, "Maildir")
        db = os.path.join(maildir, "mansio-index", "db")
        if os.path.isdir(db):
            kind = rng.choice(("none", "stale", "noise"))
            for name, data in self.regions.items() if kind != "none" else ():
                with open(os.path.join(db, name), "wb") as f:
                    f.write(data if kind == "stale" else NOISE)
        return maildir

    def one(self, k, mode, seed):
        rng = random.Random(seed)
        maildir = self.put(self.log.cut(k, mode, rng), rng)
        n = self.step_at(k)
        self.tried[mode] += 1
        self.report(k, mode, seed, n, self.judge.faults(n, self.viewer.look(maildir)))

    def again(self, k, mode, seed, cuts):
        """The power goes a second time while the first session after it begins."""
        rng = random.Random(seed)
        maildir = self.put(self.log.cut(k, mode, rng), rng)
        record = powerlog.Recorder(os.path.dirname(maildir))
        output = os.path.join(self.top, "trace")
        self.viewer.traced(maildir, output)
        log = record.read([output])
        n = self.step_at(k)
        for _ in range(cuts):
            k2, mode2 = rng.randint(0, len(log.ops)), rng.choice(MODES)
            state = rng.getstate()
            tree = log.cut(k2, mode2, rng)
            maildir = self.put(tree, rng)
            self.tried["again"] += 1
            self.report((k, k2), mode + ", " + mode2, seed, n, self.judge.faults(n, self.viewer.look(maildir)))
            del state

    def report(self, k, mode, seed, n, faults):
        if not faults:
            return
        self.failed += 1
        if self.failed <= 20:
            print("cut at %r (%s, seed %r) after %s, during %s:" % (
                k, mode, seed, self.judge.steps[n].name,
                self.judge.steps[min(n + 1, len(self.judge.steps) - 1)].name))
            for fault in faults[:8]:
                print("    " + fault)

    def points(self, count, rng):
        """Operations that change something, spread over the kinds of steps: each step's name gets its share, and so does
        the time in which pages of a database are on their way."""
        kinds, loose, pages = {}, set(), set()
        for k, op in enumerate(self.log.ops):
            if op.kind in ("link", "rename") and str(op.args[-2]).endswith(".db"):
                pages.add(op.args[-1])
            if op.kind == "write" and op.args[0] in pages:
                loose.add(op.args[0])
            if op.kind == "sync":
                loose.discard(op.args[0])
            if loose:
                kinds.setdefault("pages", []).append(k + 1)
            if op.kind not in ("seen", "date"):
                kinds.setdefault(self.judge.steps[self.step_at(k)].name.split()[0], []).append(k + 1)
        while count > 0:
            for points in kinds.values():
                yield rng.choice(points)
                count -= 1


def choose_top():
    """Memory, where there is some: flushing costs nothing there."""
    for base in ("/dev/shm", None):
        try:
            if base is None or os.statvfs(base).f_bavail * 4096 > 300 << 20:
                return tempfile.mkdtemp(prefix="mansio-power-", dir=base)
        except OSError:
            continue
    return tempfile.mkdtemp(prefix="mansio-power-")


def read_flags():
    """The bits of enum in mdname.h, so that the two can't go apart."""
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "src", "format", "mdname.h")) as f:
        text = f.read()
    for name in FLAGS:
        FLAGS[name] = int(re.search(r"MSG_%s\b[^0-9]*(0x[0-9a-f]+|\d+)" % name[1:].upper(), text).group(1), 0)


def record(build):
    """One life: log of operations, steps, contents, regions."""
    settings = {"imap_min_spare": "1", "imap_max_spare": "1", "pop3_min_spare": "1", "pop3_max_spare": "1",
                "imaps_listen": "", "pop3s_listen": "", "auto_folders": "Drafts:\\Drafts, Sent:\\Sent"}
    probe = subprocess.run(["strace", "-o", "/dev/null", "true"], stdin=subprocess.DEVNULL, capture_output=True)
    if probe.returncode != 0:
        raise Skip("strace can't trace here")
    with TracedServer(build, settings, users=("ann",)) as server:
        os.mkdir(os.path.join(server.mail_dir, "ann"), 0o700)
        user = os.stat(server.mail_dir)
        os.chown(os.path.join(server.mail_dir, "ann"), user.st_uid, user.st_gid)
        recorder = powerlog.Recorder(os.path.join(server.mail_dir, "ann"))
        life = Life(server, recorder)
        life.live()
        db = os.path.join(server.maildir(), "mansio-index", "db")
        regions = {}
        for name in os.listdir(db):
            if powerlog.REGION.match(name):
                with open(os.path.join(db, name), "rb") as f:
                    regions[name] = f.read()
        server.stop()
        time.sleep(0.2)
        log = recorder.read(life.traces)
        # the replay itself: all operations together are what is there now
        difference = powerlog.same(log.cut(len(log.ops), "all", random.Random(0)), recorder.root)
        assert not difference, "the log doesn't give the disk: " + difference
        return log, life.steps, life.texts, regions


def run(build, states, seed):
    read_flags()
    subprocess.run(["make", "-s", "tests/power_state"], cwd=build, stdin=subprocess.DEVNULL, check=True)
    log, steps, known, regions = record(build)
    rng = random.Random(seed)
    top = choose_top()
    started = time.monotonic()
    cuts = Cuts(build, log, steps, known, top, seed, regions)
    try:
        for n, k in enumerate(cuts.points(states * 5 // 6, rng)):
            cuts.one(k, MODES[n % len(MODES)], "%d/%d" % (seed, n))
        for n, k in enumerate(cuts.points(states // 30, rng)):
            cuts.again(k, MODES[n % len(MODES)], "%d/again/%d" % (seed, n), 5)
    finally:
        cuts.viewer.close()
        powerlog.remove(top)
    print("%d operations of %d steps; states: %s; %.1f s" % (
        len(log.ops), len(steps), ", ".join("%s %d" % item for item in cuts.tried.items()), time.monotonic() - started))
    assert cuts.failed == 0, "%d states lost something" % cuts.failed


def main():
    build = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else ".")
    states = int(sys.argv[2]) if len(sys.argv) > 2 else STATES
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else int(os.environ.get("MANSIO_SEED", "1"))
    results = Results()
    results.run("power cut", run, build, states, seed)
    return results.finish()


if __name__ == "__main__":
    sys.exit(main())
