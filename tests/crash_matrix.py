#!/usr/bin/env python3
"""A worker is killed, or gets an error, at every system call of every operation that changes mail.

    crash_matrix.py BUILD_DIRECTORY [short|full] [OPERATION ...]

For each operation (crash_operations.py) the calls that change something on disk are listed first, by strace. Then the
operation is run once for each of them, in a fresh copy of one account, and the process

  kill    gets SIGKILL as it enters the call
  again   gets SIGKILL there, and then the next session gets it at one of the calls of its login, recovery and first SELECT
  error   gets an error from the call: ENOSPC, EDQUOT, EIO; from open() also EMFILE and ENOMEM

A new session must then find

  - the operation done or not done, whole, octet by octet, and done if the client was told OK; after an error, not done if
    it was told NO. Only where each message stands for itself (MOVE, STORE, EXPUNGE) it may be done for some of them
  - UIDVALIDITY as it was; UIDs that mean what they meant, and none given twice; mod-sequences that never fall, and have
    grown where something changed
  - no lock, nothing pending, and after an error nothing in tmp/
  - an index that `mansioctl mailbox check` has nothing to say about

and the operation must work, after an error in the same session. `short` takes a sample; which one is a matter of
MANSIO_SEED. `full` writes a table to crash-matrix.txt in the current directory. Needs strace and the right to trace; is
skipped without.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from crash_client import (SUBSCRIBED, USER, Client, Gone, Pop3, folder_names, highest_modseqs, literal,  # noqa: F401
                          read_state, wait_for_quiet, worker_of)
from crash_operations import OPERATIONS, fill, in_part, no_maildir, of_another_server, picture
from harness import Results, Server, Skip

DISK = ["ENOSPC", "EDQUOT", "EIO"]
ERRORS = {"write": DISK, "pwrite64": DISK, "fsync": DISK, "fdatasync": DISK, "syncfs": DISK, "rename": DISK, "renameat": DISK, "renameat2": DISK,
          "linkat": DISK, "unlinkat": ["EIO"], "openat": ["EMFILE", "ENOMEM", "EIO"], "mkdirat": DISK, "mkdir": DISK,
          "ftruncate": ["EIO"], "fallocate": DISK, "utimensat": ["EIO"]}
KILL_ONLY = ("fcntl",)  # the account's lock
TRACED = ",".join(sorted(set(ERRORS) | set(KILL_ONLY)))
KINDS = ("kill", "again", "error")
SHORT = {"kill": 2, "again": 1, "error": 2}  # cases of an operation and kind, in the short form
RUN_KEPT = 3  # of a run of writes one behind the other (the log that recovery fills with zeros)
REPORT = "crash-matrix.txt"


class Trace:
    """strace of one process: which calls, the n-th of its name each."""

    def __init__(self, directory):
        self.output = tempfile.NamedTemporaryFile(dir=directory, delete=False).name

    def options(self, inject):
        return ["-o", self.output, "-e", "trace=" + TRACED] + (["-e", "inject=" + inject] if inject else [])

    def attach(self, pid, inject):
        self.process = subprocess.Popen(["strace", *self.options(inject), "-p", str(pid)], stdin=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True)
        line = self.process.stderr.readline()
        if "attached" not in line:
            self.process.wait()
            raise Skip("strace: " + line.strip())

    def detach(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.wait()
        self.process.stderr.close()

    def calls(self, behind=None):
        """[(name, n, line)] in order; only from the first line on that names `behind`."""
        with open(self.output, errors="replace") as f:
            lines = f.read().split("\n")
        os.unlink(self.output)
        counts, found, begun = {}, [], behind is None
        for line in lines:
            name = re.match(r"(\w+)\(", line)
            if not name or name.group(1) not in ERRORS and name.group(1) not in KILL_ONLY:
                continue
            counts[name.group(1)] = counts.get(name.group(1), 0) + 1
            begun = begun or behind in line
            if begun:
                found.append((name.group(1), counts[name.group(1)], line))
        return found


def changes(call):
    """Is anything different behind this call? A kill at one that only reads is a kill at the next that writes."""
    name, n, line = call
    return (name != "openat" or "O_CREAT" in line) and (name != "fcntl" or "F_SETLK" in line)


def thin(calls, reads=False):
    """What is worth a kill: without calls that only read, and without the middle of long runs of write()."""
    kept = []
    calls = [call for call in calls if reads or changes(call)]
    for i, call in enumerate(calls):
        before = after = 0
        while i - before > 0 and calls[i - before - 1][0] == call[0] == "write":
            before += 1
        while i + after + 1 < len(calls) and calls[i + after + 1][0] == call[0] == "write":
            after += 1
        if before < RUN_KEPT or after < RUN_KEPT:
            kept.append(call)
    return kept


class Matrix:
    def __init__(self, server):
        self.server = server
        self.template = os.path.join(server.dir, "template")
        fill(server)
        time.sleep(1.2)  # else the times of cur/ are of this second, and each session scans: no two would do the same
        read_state(server)
        wait_for_quiet(server)
        subprocess.run(["cp", "-a", server.maildir(), self.template], check=True)
        self.before = read_state(server)
        self.modseqs = highest_modseqs(server)
        self.shown = picture(self.before)

    def quiet_start(self):
        assert "recovered" not in self.server.log(), self.server.log()

    def reset(self, op):
        maildir = self.server.maildir()
        wait_for_quiet(self.server)
        shutil.rmtree(maildir)
        subprocess.run(["cp", "-a", self.template, maildir], check=True)
        if op.prepare:
            op.prepare(self.server)

    def run(self, op, inject=None):
        """One operation under strace: (status or None, answer, calls, session or None)."""
        self.reset(op)
        trace = Trace(self.server.dir)
        if op.program:
            return self.run_program(op, trace, inject)
        c = op.session(self.server)
        trace.attach(worker_of(self.server, c), inject)
        try:
            status, lines = c.do(op.command)
        except Gone:
            status, lines = None, []
        finally:
            trace.detach()
        return status, lines, trace.calls(), c

    def run_program(self, op, trace, inject):
        words = [self.server.program(op.program[0])] + [self.server.conf_path if w == "CONF" else w for w in op.program[1:]]
        done = subprocess.run(["strace", *trace.options(inject), *words], input=op.stdin, capture_output=True, timeout=60)
        if b"ptrace" in done.stderr.lower():
            raise Skip("strace: %r" % done.stderr)
        status = b"OK" if done.returncode == 0 else (None if done.returncode < 0 or done.returncode == 137 else b"NO")
        return status, [done.stdout, done.stderr], trace.calls(self.server.mail_dir), None

    def count(self, op):
        status, lines, calls, c = self.run(op)
        if c is not None:
            c.close()
        assert status == b"OK", lines
        assert calls, "%s: no system call was seen" % op.name
        return calls

    def count_recovery(self, op, calls):
        """The calls of the session after a kill in the midst."""
        name, n, line = calls[len(calls) // 2]
        c = self.run(op, "%s:signal=KILL:when=%d" % (name, n))[3]
        if c is not None:
            c.close()
        return thin(self.next_session(None)[1])

    def next_session(self, inject):
        """Login and a look at everything, under strace from the greeting on. True if it wasn't killed; its calls."""
        c = Client(self.server, login=False)
        trace = Trace(self.server.dir)
        trace.attach(worker_of(self.server, c), inject)
        whole = True
        try:
            assert c.login()[0] == b"OK"
            for name in folder_names(c):
                c.do(b"EXAMINE " + name)
            c.do(b"SELECT INBOX")
        except Gone:
            whole = False
        finally:
            trace.detach()
            c.close()
        return whole, trace.calls()

    def leftovers(self, tmp=True):
        found = []
        for path, names, files in os.walk(self.server.maildir()):
            if tmp and os.path.basename(path) == "tmp":
                found += [os.path.join(path, f) for f in files]
            found += [os.path.join(path, n) for n in names if n.startswith(("mansio-new.", "mansio-deleted."))]
            found += [os.path.join(path, f) for f in files if f in ("mansio-pending", "mansio-undo")]
        return found

    def tidy(self):
        """The daily tidying. It leaves what is younger than 36 hours in tmp/; check_account tests that."""
        then = time.time() - 40 * 3600
        os.utime(os.path.join(self.server.maildir(), "mansio-purged"), (then, then))
        Client(self.server).do(b"LOGOUT")
        assert not self.leftovers(tmp=False), "left for ever: %s" % self.leftovers(tmp=False)

    def compare(self, op, status, after):
        """UIDs mean what they meant; True, False or "part": was it done?"""
        for name in self.before if op.prepare is not no_maildir else ():  # there's nothing to keep to
            if name is SUBSCRIBED or name not in after:
                continue
            validity, uidnext, messages = self.before[name]
            if op.prepare is of_another_server:
                listed = self.server.listed[name]
                assert after[name][0] == listed[0], "%s: not the UIDVALIDITY of the list" % name
                assert {u: t for u, (t, _) in after[name][2].items()} == listed[1], "%s: not the UIDs of the list" % name
                continue
            if op.fresh and after[name][0] != validity:
                assert after[name][0] > validity, "%s: UIDVALIDITY fell" % name
                continue
            assert after[name][0] == validity, "%s: UIDVALIDITY changed" % name
            assert after[name][1] >= uidnext, "%s: UIDNEXT fell" % name
            for uid, (token, _) in after[name][2].items():
                assert uid >= uidnext or messages.get(uid, (None,))[0] == token, "UID %d is another message" % uid
        now, begun, wanted = picture(after), op.begun(self.shown), op.wanted(self.shown)
        if now == wanted:
            done = True
        elif now == begun:
            done = False
        else:
            assert op.part and in_part(begun, wanted, now), "neither done nor not done: %r" % now
            done = "part"
        if status == b"OK":
            assert done is True, "OK, but done: %s: %r" % (done, now)
        return done

    def compare_modseqs(self, op, after):
        """Never fall; grow where anything changed. By id, which a renaming keeps."""
        if op.prepare is no_maildir:
            return
        now = {row[0]: (row[1], row[2], name) for name, row in highest_modseqs(self.server).items()}
        for name, (number, validity, modseq) in self.modseqs.items():
            if number not in now or (op.fresh and now[number][0] != validity):
                continue
            assert now[number][1] >= modseq, "%s: mod-sequence fell from %d to %d" % (name, modseq, now[number][1])
            called = now[number][2]
            if called in after and after[called][2] != self.before[name][2]:
                assert now[number][1] > modseq, "%s: changed, but the mod-sequence didn't grow" % name

    def mailbox_check(self):
        done = self.server.ctl("mailbox", "check", USER)
        assert done.returncode == 0, "mailbox check: %s%s" % (done.stdout, done.stderr)

    def works(self, op, c, done, after):
        """What a client would do next: it again, if it wasn't done, and another APPEND."""
        if c is None:
            c = Client(self.server)
        if done is False and not op.alone:
            for command in op.commands:
                assert c.do(command)[0] == b"OK", command
            status, lines = c.do(op.command)
            assert status == b"OK", "again: %r" % lines
        status, lines = c.do(b"APPEND INBOX " + literal(b"last"))
        assert status == b"OK", "APPEND afterwards: %r" % lines
        uid = int(re.search(rb"APPENDUID \d+ (\d+)", lines[-1]).group(1))
        assert uid >= after[b"INBOX"][1], "UID %d was given twice" % uid
        c.do(b"LOGOUT")
        c.close()
        shown = picture(read_state(self.server))
        assert shown[b"INBOX"].pop(b"last", None) is not None, "the last APPEND is lost"
        if done is False and not op.alone:
            assert shown == op.wanted(self.shown), "done again: %r" % shown

    def case(self, op, kind, what, second=None):
        name, n, how = what
        status, lines, calls, c = self.run(op, "%s:%s:when=%d" % (name, how, n))
        injected = any("INJECTED" in line for _, _, line in calls)
        if kind == "error":
            assert status is not None, "the session ended: %s" % self.server.tail(600)
            assert status in (b"OK", b"NO"), lines
            # a folder that's deleted but can't be emptied is emptied by the daily tidying
            # and what a first login couldn't make is made by the next
            assert name == "unlinkat" or op.name in ("DELETE", "first login") or not self.leftovers(), "left behind: %s" % self.leftovers()
        elif c is not None:
            c.close()
            c = None
        if second is not None:
            self.next_session("%s:signal=KILL:when=%d" % second[:2])
        after = read_state(self.server)
        done = self.compare(op, status, after)
        if kind == "error" and status == b"NO":
            assert op.by_files or op.quiet or done is False, "NO, but done: %s" % done
        self.compare_modseqs(op, after)
        if c is not None and (op.pop3 or not op.login):
            c.close()
            c = None
        self.works(op, c, done if not op.quiet else True, after)
        self.mailbox_check()
        self.tidy()
        outcome = {None: "gone", b"OK": "OK", b"NO": "NO"}[status] if injected or kind != "error" else "not met"
        return "%s%s" % (outcome, {True: ", done", False: ", not done", "part": ", in part"}[done])


def on_small_disk(build, size, work, *args):
    """work(server, its directory, ...) with a user's directory on a disk of that size."""
    if os.geteuid() != 0:
        raise Skip("mounting needs root")
    with Server(build) as server:
        place = os.path.join(server.mail_dir, USER)
        os.mkdir(place)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%dm,mode=777" % size, "none", place], stderr=subprocess.DEVNULL).returncode:
            raise Skip("no right to mount")
        try:
            work(server, place, *args)
        finally:
            server.stop()
            subprocess.run(["umount", place], check=True)


def fill_disk(place, left):
    with open(os.path.join(place, "fill"), "wb", buffering=0) as f:
        try:
            while True:
                f.write(b"x" * 4096)
        except OSError:
            pass
        f.truncate(max(0, f.tell() - left))


def full_disk(server, place):
    """No block is left: mail can still be read and removed, and nothing has changed when there's room again."""
    c = Client(server)
    for i in range(40):
        assert c.do(b"APPEND INBOX " + literal(b"m%d" % i))[0] == b"OK"
    c.do(b"LOGOUT")
    c.close()
    before = read_state(server)
    fill_disk(place, 0)
    c = Client(server)
    if c.do(b"SELECT INBOX")[0] != b"OK":  # the log needed a block just now
        assert c.do(b"SELECT INBOX")[0] == b"OK"
    failed = 0
    for i in range(1000):  # some day the log needs a block
        status, lines = c.do(b"UID STORE 1:30 %sFLAGS.SILENT (\\Deleted)" % (b"+" if i % 2 == 0 else b"-"))
        failed += status == b"NO"
        assert (i % 8 != 0 and not failed) or c.do(b"UID FETCH 1:* (FLAGS BODY.PEEK[])")[0] == b"OK", \
            "no reading after STORE %d: %r\n%s" % (i, lines, server.tail(1500))
        if failed:
            break
    assert failed, "the disk wasn't full"
    assert c.do(b"APPEND INBOX " + literal(b"big" * 15000))[0] == b"NO"
    assert c.do(b"UID STORE 1:30 +FLAGS (\\Deleted)")[0] == b"OK"
    assert c.do(b"EXPUNGE")[0] == b"OK"
    c.do(b"LOGOUT")
    c.close()
    os.unlink(os.path.join(place, "fill"))
    after = read_state(server)
    assert after[b"INBOX"][0] == before[b"INBOX"][0]
    assert after[b"INBOX"][2] == {u: m for u, m in before[b"INBOX"][2].items() if u > 30}
    assert server.ctl("mailbox", "check", USER).returncode == 0


def full_disk_and_cache(server, place, left):
    """The cache doesn't take what is left for reading and removing."""
    text = b"To: %s@example.org\r\n\r\nx\r\n" % (b"b" * 300)
    c = Client(server)
    assert c.do(b"APPEND INBOX" + b" {%d+}\r\n%s" % (len(text), text) * 1200)[0] == b"OK"
    c.do(b"LOGOUT")
    c.close()
    fill_disk(place, left)
    c = Client(server)
    c.do(b"SELECT INBOX")  # may fail once: the log needed a block
    for i in range(3):
        for command in (b"SELECT INBOX", b"FETCH 1:* (ENVELOPE BODYSTRUCTURE)"):
            status, lines = c.do(command)
            assert status == b"OK", "%r %d with %d octets left: %r\n%s" % (command, i, left, lines[-1], server.tail(1500))
    for command in (b"STORE 1:300 +FLAGS.SILENT (\\Deleted)", b"EXPUNGE", b"LOGOUT"):
        assert c.do(command)[0] == b"OK", "%r with %d octets left\n%s" % (command, left, server.tail(1500))
    c.close()
    os.unlink(os.path.join(place, "fill"))
    c = Client(server)
    assert b"* 900 EXISTS\r\n" in c.do(b"SELECT INBOX")[1]
    c.close()
    assert server.ctl("mailbox", "check", USER).returncode == 0


def errors_of(name, line):
    return ERRORS[name] + (["ENOSPC", "EDQUOT"] if name == "openat" and "O_CREAT" in line else [])


def cases_of(kind, calls, recovery):
    """[((call, n, what strace does), (call, n) of the second kill or None)]."""
    if kind == "error":  # which one goes in turn
        return [((name, n, "error=" + errors_of(name, line)[i % len(errors_of(name, line))]), None)
                for i, (name, n, line) in enumerate(c for c in thin(calls, reads=True) if c[0] not in KILL_ONLY)]
    kills = [(name, n, "signal=KILL") for name, n, line in thin(calls)]
    if kind == "kill":
        return [(kill, None) for kill in kills]
    return [(kills[i % len(kills)], recovery[i % len(recovery)]) for i in range(max(len(kills), len(recovery)))]


def run_operation(matrix, op, results, rng, short):
    calls = matrix.count(op)
    recovery = matrix.count_recovery(op, calls)
    for kind in KINDS:
        cases = cases_of(kind, calls, recovery)
        steps = len(cases)
        if short and steps > SHORT[kind]:
            cases = [cases[i] for i in sorted(rng.sample(range(steps), SHORT[kind]))]
        outcomes = {}
        bad = 0
        for what, second in cases:
            try:
                outcome = matrix.case(op, kind, what, second)
                outcomes[outcome] = outcomes.get(outcome, 0) + 1
                results.passed += 1
            except Skip:
                raise
            except Exception as error:
                bad += 1
                results.failed += 1
                print("FAIL %s: %s at %s %d%s: %s: %s" % (op.name, what[2], what[0], what[1], " and %s %d" % second[:2] if second else "",
                                                         type(error).__name__, str(error)[:600]))
        yield "%-14s %-5s %5d %5d %6d   %s" % (op.name, kind, steps, len(cases), bad,
                                               "; ".join("%d %s" % (c, o) for o, c in sorted(outcomes.items())))


def run_all(matrix, chosen, results, seed, short):
    rng = random.Random(seed)
    table = ["%-14s %-5s %5s %5s %6s   %s" % ("operation", "kind", "steps", "tried", "failed", "outcome")]
    print(table[0])
    for op in OPERATIONS:
        if chosen and op.name not in chosen:
            continue
        for line in run_operation(matrix, op, results, rng, short):
            print(line)
            sys.stdout.flush()
            table.append(line)
    if not short and not chosen:
        with open(REPORT, "w") as f:
            f.write("\n".join(table) + "\n")
            f.write("\n%s, seed %d: %d passed, %d failed\n" % (time.strftime("%Y-%m-%d"), seed, results.passed, results.failed))


def main():
    build = sys.argv[1] if len(sys.argv) > 1 else "."
    words = sys.argv[2:]
    short = "full" not in words
    chosen = [w for w in words if w not in ("short", "full")]
    results = Results()
    try:
        if shutil.which("strace") is None:
            raise Skip("no strace")
        with Server(build, {"auto_folders": "Trash:\\Trash"}) as server:
            matrix = Matrix(server)
            results.run("a new account is no recovery", matrix.quiet_start)
            results.run("a full disk", on_small_disk, build, 4, full_disk)
            for left in (0, 100000, 400000, 600000):
                results.run("no room for the cache, %d octets left" % left, on_small_disk, build, 16, full_disk_and_cache, left)
            run_all(matrix, chosen, results, int(os.environ.get("MANSIO_SEED", "1")), short)
    except Skip as reason:
        print("skip: %s" % reason)
        results.skipped += 1
    return results.finish()


if __name__ == "__main__":
    sys.exit(main())
