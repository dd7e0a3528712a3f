#!/usr/bin/env python3
"""Other programs and ten IMAP sessions (and one of POP3) at work in one account, at the same time and at random; now and
then all pause, and everything must agree:

    - the sessions with each other and with a fresh one: UIDs, flags, keywords;
    - the fresh one, the index and the files: names, flags, contents by UID, counts, UIDNEXT, `mailbox check`;
    - mod-sequences: those of the index only grow, and a changed message has one above all of the last pause;
    - the model (neighbour_sessions.py): nothing acknowledged is lost or doubled, a UID never means another message and
      never comes back, a POP3 UIDL never means another message.

A pause is of two kinds. Either cur/ of each folder gets a new time, so that the next look reads it; or all wait for as
long as the server allows itself to miss what fell between two looks of its own (store/scan.c, rule 4), six seconds.

    neighbours.py BUILD_DIRECTORY [SECONDS [SEED ...]]      SECONDS for each seed; MANSIO_SEED is the seed if none is given

The seed fixes what each program and each client chooses, not how they are interleaved.
"""

import multiprocessing
import os
import pwd
import random
import re
import subprocess
import sys
import threading
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness  # noqa: E402
from harness import Server  # noqa: E402
from neighbour_programs import FOLDERS, FULL, LETTERS, Neighbour, directory, split, text  # noqa: E402
from neighbour_sessions import X_ID, Model, Pop3, Session, wire  # noqa: E402

SESSIONS = 10
NEIGHBOURS = 2
PROGRAMS = ("tests/index_dump", "tests/neighbour_fast")
AUDIT_SECONDS = 6.2
SYSTEM = {"D": "\\Draft", "F": "\\Flagged", "R": "\\Answered", "S": "\\Seen", "T": "\\Deleted", "P": "$Forwarded"}
BITS = "SRFTDP"  # of the index's flags, from the lowest
FETCHED = re.compile(rb"UID (\d+) FLAGS \(([^)]*)\)")


class Dump:
    """What the index says (tests/index_dump.c)."""

    def __init__(self, text):
        self.folders = {}
        for line in text.splitlines():
            kind, *rest = line.split(" ", 7)
            if kind == "M":
                folder = {"uidvalidity": int(rest[1]), "uidnext": int(rest[2]), "highest": int(rest[3]),
                          "messages": int(rest[4]), "unseen": int(rest[5]), "uids": {}, "keywords": {}}
                self.folders[rest[6]] = folder
            elif kind == "K":
                folder["keywords"][int(rest[0])] = rest[1]
            else:
                flags = {SYSTEM[c] for bit, c in enumerate(BITS) if int(rest[2], 16) >> bit & 1}
                bits = int(rest[3], 16)
                words = {folder["keywords"].get(n, "?%d" % n) for n in range(64) if bits >> n & 1}
                folder["uids"][int(rest[0])] = {"modseq": int(rest[1]), "flags": flags | words, "in_new": rest[4] == "1",
                                                "name": rest[6]}


def as_user(user):
    if user is None:
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def serve(number, maildir, seed, user, pipe):
    """The process of a neighbour, with the rights of the mail's owner."""
    if user is not None:
        entry = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    os.umask(0o077)
    Neighbour(maildir, number, seed).serve(pipe)


class Fast:
    """The program that renames without end (tests/neighbour_fast.c)."""

    def __init__(self, server):
        parts = [os.path.join(directory(server.maildir(), folder), "cur") for folder in FOLDERS + ("B",) * 3]
        self.process = subprocess.Popen([os.path.join(server.build, "tests", "neighbour_fast"), LETTERS[2], *parts],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/",
                                        **as_user(server.mail_user))

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def log(self):
        """Base names with its letter set or not."""
        self.tell("pause")
        found = {}
        for line in iter(self.process.stdout.readline, ".\n"):
            assert line, "neighbour_fast ended"
            found[line[2:-1]] = line[0] == "1"
        return found

    def end(self):
        self.process.stdin.close()
        self.process.wait(10)


class Run:
    def __init__(self, server, seed):
        self.server, self.seed = server, seed
        self.rng = random.Random("%s/run" % seed)
        self.model = Model()
        self.last = None        # the dump of the last pause
        self.flags = {}         # (base, letter) -> set, by a neighbour since then
        self.moved = set()      # base names that went to another folder since then, and may be back
        self.sessions, self.pipes, self.programs = [], [], []
        self.pauses = 0
        self.fast = None

    def begin(self):
        first = self.server.imap()
        for name in FOLDERS[1:]:
            first.create(name)
        # in C the sessions' keywords get no letter: those are all taken
        first.append("C", "(%s)" % " ".join("word%d" % n for n in range(26)), None, wire("first"))
        self.model.create("first")
        for n in range(FULL["B"] - 100):
            self.server.deliver(text("big.%d" % n), folder="B")
            self.model.create("big.%d" % n)
        first.logout()
        self.sessions = [Session(self.server, n, self.seed, self.model) for n in range(SESSIONS)]
        self.pop3 = Pop3(self.server, self.seed, self.model)
        for number in range(NEIGHBOURS):
            ours, theirs = multiprocessing.Pipe()
            program = multiprocessing.Process(target=serve, args=(number, self.server.maildir(), self.seed,
                                                                  self.server.mail_user, theirs))
            program.start()
            self.pipes.append(ours)
            self.programs.append(program)
        self.fast = Fast(self.server)

    def end(self):
        for pipe in self.pipes:
            pipe.send("end")
        for program in self.programs:
            program.join(10)
            program.kill()
        for session in self.sessions:
            session.close()
        if self.fast is not None:
            self.fast.end()

    def work(self, seconds):
        """Everybody at once, for that long; then the neighbours' logs go into the model."""
        until, faults = threading.Event(), []

        def worker(client):
            try:
                client.run(until)
            except BaseException:
                faults.append(traceback.format_exc())
                until.set()

        threads = [threading.Thread(target=worker, args=(c,)) for c in [*self.sessions, self.pop3]]
        for pipe in self.pipes:
            pipe.send("go")
        self.fast.tell("go %d" % self.rng.randrange(1 << 30))
        for thread in threads:
            thread.start()
        until.wait(seconds)
        until.set()
        for thread in threads:
            thread.join()
        for pipe in self.pipes:
            pipe.send("pause")
        logs = [pipe.recv() for pipe in self.pipes]
        fast = self.fast.log()
        assert not faults, faults[0]
        self.flags.update({(base, LETTERS[2]): on for base, on in fast.items()})
        self.model.actions["neighbour fast"] += len(fast)
        for log in logs:
            for what, *rest in log:
                if what == "made" and not rest[0].startswith("x"):
                    self.model.create(rest[0])
                elif what == "doom":
                    self.model.doomed.add(rest[0])
                elif what == "moved":
                    self.moved.add(rest[0])
                elif what == "flag":
                    self.flags[(rest[0], rest[1])] = rest[2]
                self.model.actions["neighbour " + what] += 1

    def pause(self, wait):
        self.pauses += 1
        if wait:
            time.sleep(AUDIT_SECONDS)
        else:
            for folder in self.on_disk():
                os.utime(os.path.join(directory(self.server.maildir(), folder), "cur"))
        fresh = self.server.imap()
        self.learn(fresh)
        told = {folder: self.fresh_list(fresh, folder) for folder in self.on_disk()}
        dump = self.dump()
        self.compare_sessions(told, dump)
        self.compare_index(told, dump)
        self.compare_files(dump)
        self.compare_last(dump)
        self.compare_model(told, dump)
        self.compare_pop3(told)
        fresh.logout()
        done = self.server.ctl("mailbox", "check", "ann")  # rows of folders that went away are tidied up later
        named = [line for line in done.stdout.splitlines() if "has no directory" not in line and "repairs" not in line]
        assert done.returncode == 0 or not named, named
        self.last, self.flags, self.moved = dump, {}, set()

    def on_disk(self):
        names = sorted(os.listdir(self.server.maildir()))
        return ["INBOX"] + [n[1:] for n in names if n[0] == "." and
                            os.path.isdir(os.path.join(self.server.maildir(), n, "cur"))]

    def learn(self, fresh):
        """Everybody looks twice: what the first look moves, the second sees."""
        for _ in range(2):
            for folder in self.on_disk():
                fresh.status(folder, "(MESSAGES)")
            for session in self.sessions:
                try:
                    session.ask("NOOP")
                except AssertionError:
                    if not session.folder_went():
                        raise
                    session.close()
                    session.connect()

    def fresh_list(self, fresh, folder):
        """UID -> (flags, id) as a new session sees a folder; contents are compared with what the id stands for."""
        kind, data = fresh.select(folder, readonly=True)
        assert kind == "OK", "EXAMINE %s: %s" % (folder, data)
        listed = {}
        if int(data[0]) == 0:
            return listed
        for item in fresh.uid("FETCH", "1:*", "(FLAGS RFC822.SIZE BODY.PEEK[])")[1]:
            if not isinstance(item, tuple):
                continue
            uid, flags = FETCHED.search(item[0]).groups()
            ident = X_ID.search(item[1]).group(1).decode()
            assert item[1] == wire(ident), "%s, UID %s: wrong octets of %s" % (folder, uid.decode(), ident)
            assert b"RFC822.SIZE %d " % len(item[1]) in item[0], item[0]
            listed[int(uid)] = (set(flags.decode().split()) - {"\\Recent"}, ident)
        assert len(listed) == int(data[0]), "%s: EXISTS %s, %d fetched" % (folder, data[0], len(listed))
        return listed

    def compare_sessions(self, told, dump):
        names = {folder["uidvalidity"]: name for name, folder in dump.folders.items()}  # another program may rename
        for session in self.sessions:
            if session.folder is None:
                continue
            want = told.get(names.get(session.uidvalidity))
            assert want is not None, "%s has %s, which is gone" % (session.name, session.folder)
            found = {}
            take = session.take
            session.take = lambda line, expunge, take=take, found=found: (
                [found.update({int(m.group(1)): set(m.group(2).decode().split()) - {"\\Recent"}})
                 for m in [FETCHED.search(line)] if m], take(line, expunge))
            if session.uids:
                session.ask("FETCH 1:* (UID FLAGS)", expunge=False)
            del session.take
            assert session.uids == sorted(want), "%s in %s has %s, a fresh session %s\n%s" % (
                session.name, session.folder, differ(session.uids, want), differ(want, session.uids),
                "\n".join(session.history[-20:]))
            for uid, flags in found.items():
                assert flags == want[uid][0], "%s: UID %d of %s has %s, a fresh session says %s" % (
                    session.name, uid, session.folder, flags, want[uid][0])

    def dump(self):
        program = os.path.join(self.server.build, "tests", "index_dump")
        done = subprocess.run([program, self.server.maildir()], capture_output=True, text=True, timeout=60,
                              cwd="/", **as_user(self.server.mail_user))
        assert done.returncode == 0, done.stderr
        return Dump(done.stdout)

    def compare_index(self, told, dump):
        for name, want in told.items():
            folder = dump.folders.get(name)
            assert folder is not None, "%s isn't in the index" % name
            assert sorted(folder["uids"]) == sorted(want), "%s: index and session differ" % name
            assert folder["messages"] == len(want), "%s: %d counted, %d there" % (name, folder["messages"], len(want))
            assert folder["unseen"] == sum("\\Seen" not in flags for flags, _ in want.values()), "%s: unseen" % name
            assert folder["uidnext"] > max(want, default=0), "%s: UIDNEXT" % name
            for uid, (flags, _) in want.items():
                message = folder["uids"][uid]
                assert message["flags"] == flags, "%s, UID %d: index %s, session %s" % (name, uid, message["flags"], flags)
                assert 0 < message["modseq"] <= folder["highest"], "%s, UID %d: mod-sequence" % (name, uid)

    def compare_files(self, dump):
        for name in self.on_disk():
            folder = dump.folders[name]
            files = {}
            for part in ("new", "cur"):
                for n in os.listdir(os.path.join(directory(self.server.maildir(), name), part)):
                    files[(part == "new", n)] = n
            rows = {(m["in_new"], m["name"]): m for m in folder["uids"].values()}
            assert set(rows) == set(files), "%s: only in the index %s, only on disk %s" % (
                name, sorted(set(rows) - set(files))[:5], sorted(set(files) - set(rows))[:5])
            for key, row in rows.items():
                letters = split(key[1])[2]
                want = {SYSTEM[c] for c in letters if c in SYSTEM}
                want |= {folder["keywords"].get(ord(c) - ord("a"), c) for c in letters if c.islower()}
                slots = {folder["keywords"].get(n) for n in range(26)}
                got = {f for f in row["flags"] if f in SYSTEM.values() or f in slots}
                assert got == want, "%s: the file %s says %s, the index %s" % (name, key[1], want, got)

    def compare_last(self, dump):
        """Nothing of an index goes back, and a file that stayed where it was is the same message."""
        before = {f["uidvalidity"]: f for f in self.last.folders.values()} if self.last else {}
        for name, now in dump.folders.items():
            old = before.get(now["uidvalidity"])
            if old is None:
                continue
            assert now["uidnext"] >= old["uidnext"] and now["highest"] >= old["highest"], "%s went back" % name
            uid_of = {split(row["name"])[0]: uid for uid, row in old["uids"].items()}
            for uid, row in now["uids"].items():
                base = split(row["name"])[0]
                assert base in self.moved or uid_of.get(base, uid) == uid, "%s: %s was UID %d and is %d" % (
                    name, base, uid_of[base], uid)
                was = old["uids"].get(uid)
                if was is None:
                    assert uid >= old["uidnext"], "%s: UID %d came back" % (name, uid)
                    least = old["highest"] + 1
                else:
                    least = old["highest"] + 1 if row["flags"] != was["flags"] else was["modseq"]
                assert row["modseq"] >= least, "%s, UID %d: mod-sequence %d, should be %d or more" % (
                    name, uid, row["modseq"], least)

    def compare_model(self, told, dump):
        model, count = self.model, {}
        for name, listed in told.items():
            folder = dump.folders[name]
            for uid, (flags, ident) in listed.items():
                key = (folder["uidvalidity"], uid)
                model.see(*key, ident)
                assert key not in model.expunged, "%s: UID %d came back" % (name, uid)
                for n in range(SESSIONS):
                    expected = model.own.get((*key, n))
                    assert expected is None or expected == ("own%d" % n in flags), \
                        "%s: UID %d: own%d should be %s" % (name, uid, n, expected)
                base, _, letters, _ = split(folder["uids"][uid]["name"])
                for letter in LETTERS:
                    expected = self.flags.get((base, letter))
                    assert expected is None or expected == (letter in letters), \
                        "%s: %s: a neighbour set %s to %s" % (name, base, letter, expected)
                if name in FOLDERS:
                    count[ident] = count.get(ident, 0) + 1
        for ident in set(count) | set(model.made):
            least = 0 if ident in model.doomed else model.made[ident]
            most = model.made[ident] + model.maybe[ident]
            assert least <= count.get(ident, 0) <= most, "%s: %d copies, should be %d to %d%s" % (
                ident, count.get(ident, 0), least, most, ", or fewer" if ident in model.doomed else "")

    def compare_pop3(self, told):
        p = self.server.pop3()
        assert p.stat()[0] == len(told["INBOX"]), "POP3 has %d, IMAP %d" % (p.stat()[0], len(told["INBOX"]))
        p.quit()


def differ(a, b):
    return sorted(set(a) - set(b))[:10]


def faults_of(log):
    """Lines of the log that no neighbour explains: a folder that goes away under a session is none."""
    return [line for line in log.splitlines() if re.search(r"panic|error:|signal", line) and
            not re.search(r"No such file|does not exist", line)]


def neighbours(build, seconds, seed):
    if not all(os.path.exists(os.path.join(build, program)) for program in PROGRAMS):
        subprocess.run(["make", "-s", *PROGRAMS], cwd=build, check=True)
    with Server(build, {"max_connections_per_user": "0", "auto_folders": ""}) as server:
        run = Run(server, seed)
        try:
            run.begin()
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                run.work(min(run.rng.uniform(1, 6), max(1, end - time.monotonic())))
                run.pause(run.rng.random() < 0.4 or time.monotonic() >= end)
            faults = faults_of(server.log())
            assert not faults, "\n".join(faults[:10])
        finally:
            run.end()
        actions = run.model.actions
        print("seed %s: %d s, %d pauses, %d commands, %d of neighbours, %d messages made, NO: %s" % (
            seed, seconds, run.pauses, sum(n for a, n in actions.items() if not a.startswith("neighbour")),
            sum(n for a, n in actions.items() if a.startswith("neighbour")), sum(run.model.made.values()),
            dict(run.model.said_no)))


def main():
    build = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else ".")
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 22
    seeds = sys.argv[3:] or [os.environ.get("MANSIO_SEED") or str(int(time.time()))]
    results = harness.Results()
    for seed in seeds:
        results.run("neighbours, seed " + seed, neighbours, build, seconds, seed)
    return results.finish()


if __name__ == "__main__":
    sys.exit(main())
