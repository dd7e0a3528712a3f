#!/usr/bin/env python3
"""The power goes while sessions work: what may be on the disk then, and does the next session find all that was promised?

    powercut.py BUILD_DIRECTORY [STATES [SEED]]

One account goes through its life, from the first login on: deliveries, APPEND, COPY, MOVE, STORE, EXPUNGE, folders, POP3,
a rebuild, and enough flags that Berkeley DB changes its log and removes old ones; another one has its first index made of
1,100 messages, and one finds folders of other programs. strace writes down each operation on files, and when the client got its answers. Then, for many points in
that log, directories are made as a file system may leave them (powerlog.py has the rules), and tests/power_state opens each
as after a reboot. It must find

  - each message that the client was told of, or that was delivered, in its folder, octet by octet, with its UID; what was
    being done when the power went is done, not done, or done for some messages, each whole
  - UIDVALIDITY as before; no UID that a client saw given to another message, also not to the next one
  - flags as they were at some time of the message's life: STORE waits for no disk, so that the last ones may be lost
  - subscriptions and folders as before or after the last command
  - an index that `mailbox check` has nothing to say about, and that works

and the same when the power goes again during that. Needs strace; is skipped where tracing isn't allowed.
"""

import os
import random
import subprocess
import sys
import tempfile
import time

import powerlog
from harness import Results
from powerlife import FirstIndex, FirstStatus, Folder, Life, Message, fnv, record

STATES = 240
MODES = ("posix", "journal", "random", "random", "all")
LOCK = "mansio-index/lock"
NOISE = bytes((i * 7 + i // 256) % 256 for i in range(65536))


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
        return [0] + positions[1:]

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
        if unsynced_zeros(log):
            self.report((k, 0), mode, seed, n, ["records were written before the zeros behind them were synced"])
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
            for kind in rng.sample(sorted(kinds), min(count, len(kinds))):
                yield rng.choice(kinds[kind])
                count -= 1


def unsynced_zeros(log):
    """Recovery overwrites the end of a log, which may hold records of before the power cut, with zeros. Those must be on the
    disk before a record is written in front of them. (A log without any record is only made as long as logs are.) Returns how
    many weren't."""
    logs = {i for names in log.start.dirs.values() for name, i in names.items()
            if name.startswith("log.") and any(log.start.files[i])}
    zeros, found = set(), 0
    for op in log.ops:
        if op.kind == "sync":
            zeros.discard(op.args[0])
        elif op.kind == "write" and op.args[0] in logs and not any(op.args[2]):
            zeros.add(op.args[0])
        elif op.kind == "write" and op.args[0] in zeros:
            zeros.discard(op.args[0])
            found += 1
    return found


def choose_top():
    """Memory, where there is some: flushing costs nothing there."""
    for base in ("/dev/shm", None):
        try:
            if base is None or os.statvfs(base).f_bavail * 4096 > 300 << 20:
                return tempfile.mkdtemp(prefix="mansio-power-", dir=base)
        except OSError:
            continue
    return tempfile.mkdtemp(prefix="mansio-power-")


def run(build, kind, states, seed):
    log, steps, known, regions = record(build, kind)
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
    subprocess.run(["make", "-s", "tests/power_state"], cwd=build, stdin=subprocess.DEVNULL, check=True)
    results.run("power cut", run, build, Life, states, seed)
    results.run("power cut in a first index", run, build, FirstIndex, states // 12, seed)
    results.run("power cut in a first STATUS of many folders", run, build, FirstStatus, states // 6, seed)
    return results.finish()


if __name__ == "__main__":
    sys.exit(main())
