#!/usr/bin/env python3
"""A worker is killed, or gets an error, at every system call of every operation that changes mail.

    crash_matrix.py BUILD_DIRECTORY [short|full] [OPERATION ...]

For each operation the calls that change something on disk are counted first, by strace. Then the operation is run once
for each of them, in a fresh copy of one account, and the worker

  kill    gets SIGKILL as it enters the call: a new session must find the operation done or not done, whole, with each UID
          meaning what it meant, and done if the client was told OK;
  error   gets an error from the call (ENOSPC, EIO; EMFILE for open): the client must be told NO (or OK, if it was done all
          the same), nothing may be left in tmp/, and the same session must be able to do it again.

Afterwards `mansioctl mailbox check` must have nothing to say, and the operation must work. `short` takes a sample of the
calls; which ones is a matter of MANSIO_SEED. Needs strace and the right to trace; is skipped without.
"""

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from harness import PASSWORD, Results, Server, Skip, wait_until

CALLS = ("write", "pwrite64", "fsync", "fdatasync", "rename", "renameat", "renameat2", "linkat", "unlinkat", "openat",
         "mkdirat", "ftruncate", "fallocate", "utimensat")
KILL_ONLY = ("fcntl",)  # around the account's lock: an error of it isn't a full disk
TRACED = ",".join(CALLS + KILL_ONLY)
ERRORS = {"openat": "EMFILE", "fsync": "EIO", "fdatasync": "EIO", "unlinkat": "EIO", "utimensat": "EIO"}
USER = "ann"
SUBSCRIBED = None  # the key of what LSUB says, among the folders
SHORT = 5  # cases of an operation and kind, in the short form


class Gone(Exception):
    """The session ended under the client."""


class Client:
    """IMAP with nothing in between: commands as octets, answers as lists of lines with their literals."""

    def __init__(self, server, login=True):
        self.s = socket.create_connection(("127.0.0.1", server.ports["imap"]), timeout=30)
        self.f = self.s.makefile("rb")
        self.n = 0
        self.line()
        if login:
            assert self.do(b"LOGIN %s %s" % (USER.encode(), PASSWORD.encode()))[0] == b"OK"

    def line(self):
        text = self.f.readline()
        if not text.endswith(b"\n"):
            raise Gone()
        literal = re.search(rb"\{(\d+)\}\r\n$", text)
        if literal:
            text += self.f.read(int(literal.group(1))) + self.line()
        return text

    def do(self, command):
        """The status, and all lines of the answer."""
        self.n += 1
        tag = b"t%d" % self.n
        lines = []
        try:
            self.s.sendall(tag + b" " + command + b"\r\n")
            while True:
                lines.append(self.line())
                if lines[-1].startswith(tag + b" "):
                    return lines[-1].split()[1], lines
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
            raise Gone()

    def close(self):
        self.f.close()
        self.s.close()


class Pop3(Client):
    def __init__(self, server):
        self.s = socket.create_connection(("127.0.0.1", server.ports["pop3"]), timeout=30)
        self.f = self.s.makefile("rb")
        self.f.readline()
        for command in (b"USER " + USER.encode(), b"PASS " + PASSWORD.encode(), b"DELE 1", b"DELE 2"):
            assert self.do(command)[0] == b"OK", command

    def do(self, command):
        try:
            self.s.sendall(command + b"\r\n")
            line = self.f.readline()
        except OSError:
            raise Gone()
        if not line.endswith(b"\n"):
            raise Gone()
        return (b"OK" if line.startswith(b"+OK") else b"NO"), [line]


def message(token):
    return b"Subject: %s\r\nFrom: a@example.org\r\n\r\n%s\r\n" % (token, token * 20)


def literal(token):
    text = message(token)
    return b"{%d+}\r\n%s" % (len(text), text)


def read_state(server):
    """{folder: (uidvalidity, uidnext, {uid: (token, flags)})} of the account, by a new session; contents are compared
    octet by octet."""
    c = Client(server)
    folders = {}
    status, lines = c.do(b'LIST "" *')
    assert status == b"OK", lines
    for line in lines[:-1]:
        if b"\\NonExistent" in line or b"\\Noselect" in line:
            continue
        name = line.rsplit(b" ", 1)[1].strip().strip(b'"')
        status, answer = c.do(b"EXAMINE " + name)
        assert status == b"OK", answer
        text = b"".join(answer)
        validity = int(re.search(rb"UIDVALIDITY (\d+)", text).group(1))
        uidnext = int(re.search(rb"UIDNEXT (\d+)", text).group(1))
        exists = int(re.search(rb"\* (\d+) EXISTS", text).group(1))
        messages = {}
        status, answer = c.do(b"UID FETCH 1:* (UID FLAGS BODY.PEEK[])")
        assert status == b"OK", answer
        for item in answer[:-1]:
            found = re.match(rb"\* \d+ FETCH \(UID (\d+) FLAGS \(([^)]*)\) BODY\[\] \{\d+\}\r\n(.*)\)\r\n$", item, re.S)
            assert found, item
            body = found.group(3)
            token = re.match(rb"Subject: (\S+)", body).group(1)
            assert body == message(token), "a message that is not whole: %r" % body
            uid = int(found.group(1))
            assert uid < uidnext, "UID %d, but UIDNEXT %d" % (uid, uidnext)
            messages[uid] = (token, frozenset(found.group(2).replace(b"\\Recent", b"").split()))
        assert len(messages) == exists, "%s: %d EXISTS, %d messages" % (name, exists, len(messages))
        folders[name] = (validity, uidnext, messages)
    folders[SUBSCRIBED] = c.do(b'LSUB "" *')[1][:-1]
    c.do(b"LOGOUT")
    c.close()
    return folders


def tokens(state, folder):
    return sorted(t for t, _ in state[folder][2].values()) if folder in state else None


class Operation:
    """`commands` make it ready; `command` is what is cut short; done(before, after) says whether it was done (True), was
    not (False), only for some messages ("part"), or is neither (None). `again`: what a client would do after a failure,
    and its answer must be OK. by_files: what was renamed or removed before the error stays so (files are the truth, and
    nothing can be un-removed): NO may mean done."""

    def __init__(self, name, command, done, commands=(b"SELECT INBOX",), prepare=None, again=None, pop3=False, by_files=False):
        self.name, self.command, self.done, self.commands = name, command, done, commands
        self.prepare, self.again, self.pop3, self.by_files = prepare, again or command, pop3, by_files

    def session(self, server):
        if self.pop3:
            return Pop3(server)
        c = Client(server)
        for command in self.commands:
            assert c.do(command)[0] == b"OK", command
        return c


def either(folder, without, with_it):
    """Done if the folder holds these tokens, not done if those."""
    def check(before, after):
        now = tokens(after, folder)
        if now == sorted(with_it):
            return True
        return False if now == sorted(without) else None
    return check


BASE = [b"base%d" % i for i in range(1, 5)]
WORK = [b"work1"]


def moved(before, after):
    inbox, work = tokens(after, b"INBOX"), tokens(after, b"Work")
    if sorted(inbox + work) != sorted(BASE + WORK):
        return None
    if work == WORK:
        return False
    return True if inbox == BASE[2:] else "part"


def flagged(before, after):
    n = sum(b"\\Flagged" in f for _, f in after[b"INBOX"][2].values())
    if tokens(after, b"INBOX") != BASE:
        return None
    return True if n == 2 else (False if n == 0 else "part")


def expunged(before, after):
    now = tokens(after, b"INBOX")
    if now == BASE[2:]:
        return True
    if now == BASE:
        return False
    return "part" if set(BASE[2:]) < set(now) < set(BASE) else None


def renamed(before, after):
    names = {b"Work", b"Work.Sub"}, {b"Job", b"Job.Sub"}
    have = {n for n in after if n and n.startswith((b"Work", b"Job"))}
    if have == names[1]:
        for old, new in ((b"Work", b"Job"), (b"Work.Sub", b"Job.Sub")):
            if before[old] != after[new]:
                return None
        return True
    return False if have == names[0] and all(before[n] == after[n] for n in have) else None


def inbox_renamed(before, after):
    inbox, old = tokens(after, b"INBOX"), tokens(after, b"Old")
    if sorted(inbox + (old or [])) != BASE:
        return None
    return False if old is None else (True if inbox == [] else "part")


def subscribed(before, after):
    added = [line for line in after[SUBSCRIBED] if line not in before[SUBSCRIBED]]
    if not set(before[SUBSCRIBED]) <= set(after[SUBSCRIBED]) or len(added) > 1:
        return None
    return bool(added) and added[0].rstrip().endswith(b"Work")


def indexed(before, after):
    return True if tokens(after, b"INBOX") == BASE and tokens(after, b"Work") == WORK else None


def drop_index(server):
    shutil.rmtree(os.path.join(server.maildir(), "mansio-index"))


def deliver_two(server):
    for i in range(2):
        server.deliver(message(b"new%d" % i).replace(b"\r\n", b"\n"))


OPERATIONS = [
    Operation("APPEND", b"APPEND Work (\\Seen key) " + literal(b"added"), either(b"Work", WORK, WORK + [b"added"])),
    Operation("MULTIAPPEND", b"APPEND Work " + literal(b"add1") + b" (\\Seen) " + literal(b"add2"),
              lambda b, a: either(b"Work", WORK, WORK + [b"add1", b"add2"])(b, a) if b"add1" not in tokens(a, b"Work") or
              b"add2" in tokens(a, b"Work") else "part"),
    Operation("COPY", b"UID COPY 1:2 Work", lambda b, a: {0: False, 1: "part", 2: True}.get(
        len(tokens(a, b"Work")) - 1) if tokens(a, b"INBOX") == BASE and set(tokens(a, b"Work")) <= set(WORK + BASE[:2]) else None),
    Operation("MOVE", b"UID MOVE 1:2 Work", moved),
    Operation("STORE", b"UID STORE 1:2 +FLAGS (\\Flagged)", flagged, by_files=True),
    Operation("EXPUNGE", b"EXPUNGE", expunged, commands=(b"SELECT INBOX", b"UID STORE 1:2 +FLAGS (\\Deleted)"), by_files=True),
    Operation("QUIT", b"QUIT", expunged, pop3=True, by_files=True),
    Operation("new mail", b"SELECT INBOX", lambda b, a: True if tokens(a, b"INBOX") == BASE + [b"new0", b"new1"] else None,
              commands=(), prepare=deliver_two, by_files=True),
    Operation("CREATE", b"CREATE Fresh", lambda b, a: b"Fresh" in a, again=b"CREATE Fresh2"),
    Operation("DELETE", b"DELETE Work", lambda b, a: b"Work" not in a if tokens(a, b"Work") in (None, WORK) else None,
              again=b"DELETE Trash"),
    Operation("RENAME", b"RENAME Work Job", renamed, again=b"RENAME Trash Bin"),
    Operation("RENAME INBOX", b"RENAME INBOX Old", inbox_renamed, commands=(), again=b"CREATE Other"),
    Operation("SUBSCRIBE", b"SUBSCRIBE Work", subscribed, by_files=True),
    Operation("first index", b"SELECT INBOX", indexed, commands=(), prepare=drop_index, by_files=True),
]


class Matrix:
    def __init__(self, server):
        self.server = server
        self.template = os.path.join(server.dir, "template")
        c = Client(server)
        for i, token in enumerate(BASE):
            assert c.do(b"APPEND INBOX " + literal(token))[0] == b"OK"
        for name in (b"Work", b"Work.Sub"):
            assert c.do(b"CREATE " + name)[0] == b"OK"
        assert c.do(b"APPEND Work " + literal(WORK[0]))[0] == b"OK"
        c.do(b"LOGOUT")
        c.close()
        subprocess.run(["cp", "-a", server.maildir(), self.template], check=True)
        self.before = read_state(server)

    def quiet_start(self):
        assert "recovered" not in self.server.log(), self.server.log()

    def reset(self, op):
        maildir = self.server.maildir()
        shutil.rmtree(maildir)
        subprocess.run(["cp", "-a", self.template, maildir], check=True)
        if op.prepare:
            op.prepare(self.server)

    def worker(self):
        """The pid of the worker that wrote the last login line."""
        def find():
            found = re.findall(r"mansiod\[(\d+)\]: (?:imap|pop3)\(%s\)\[\w+\]: (login|logged out)" % USER, self.server.log())
            return int(found[-1][0]) if found and found[-1][1] == "login" else None
        return wait_until(find, 10, "the login line")

    def trace(self, pid, inject):
        """strace of that process, attached."""
        output = tempfile.NamedTemporaryFile(dir=self.server.dir, delete=False)
        command = ["strace", "-o", output.name, "-p", str(pid), "-e", "trace=" + TRACED]
        if inject:
            command += ["-e", "inject=" + inject]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        line = process.stderr.readline()
        if "attached" not in line:
            process.wait()
            raise Skip("strace: " + line.strip())
        return process, output

    def run(self, op, inject=None):
        """One operation under strace. (status or None, trace as text, session)"""
        self.reset(op)
        c = op.session(self.server)
        process, output = self.trace(self.worker(), inject)
        try:
            status, lines = c.do(op.command)
        except Gone:
            status, lines = None, []
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait()
        process.stderr.close()
        output.close()
        with open(output.name) as f:
            text = f.read()
        os.unlink(output.name)
        return status, lines, text, c

    def count(self, op):
        """How often each call is made."""
        status, lines, text, c = self.run(op)
        c.close()
        assert status == b"OK", lines
        counts = {}
        for name in re.findall(r"^(\w+)\(", text, re.M):
            counts[name] = counts.get(name, 0) + 1
        return counts

    def leftovers(self):
        found = []
        for path, names, files in os.walk(self.server.maildir()):
            if os.path.basename(path) == "tmp":
                found += [os.path.join(path, f) for f in files]
            found += [os.path.join(path, n) for n in names if n.startswith(("mansio-new.", "mansio-deleted."))]
        return found

    def compare(self, op, status, after):
        """UIDs mean what they meant; the operation was done, or not."""
        for name in self.before:
            if name is SUBSCRIBED or name not in after or op.prepare is drop_index:
                continue
            validity, uidnext, messages = self.before[name]
            assert after[name][0] == validity, "%s: UIDVALIDITY changed" % name
            assert after[name][1] >= uidnext, "%s: UIDNEXT fell" % name
            for uid, (token, _) in after[name][2].items():
                assert uid >= uidnext or messages.get(uid, (None,))[0] == token, "UID %d is another message" % uid
        done = op.done(self.before, after)
        assert done is not None, "neither done nor not done: %r" % after
        if status == b"OK":
            assert done is True, "OK, but done: %s: %r" % (done, after)
        return done

    def mailbox_check(self, op):
        """A row that outlived its directory is dropped with the next day's tidying; all else is a fault."""
        done = self.server.ctl("mailbox", "check", USER)
        if op.name == "DELETE" and "Work: the index knows this folder, but it has no directory\n1 fault;" in done.stdout:
            self.server.ctl("mailbox", "rebuild", USER, check=True)
            done = self.server.ctl("mailbox", "check", USER)
        assert done.returncode == 0, "mailbox check: %s%s" % (done.stdout, done.stderr)

    def case(self, op, kind, call, n):
        what = "signal=KILL" if kind == "kill" else "error=" + ERRORS.get(call, "ENOSPC")
        status, lines, text, c = self.run(op, "%s:%s:when=%d" % (call, what, n))
        try:
            if kind == "kill":
                assert status is None or "KILL" in text or status == b"OK", "not killed, but %r" % lines
            elif status is not None:
                assert status in (b"OK", b"NO"), lines
                assert call == "unlinkat" or op.name == "DELETE" or not self.leftovers(), "left behind: %s" % self.leftovers()
        finally:
            if kind == "kill" or status is None:
                c.close()
        done = self.compare(op, status, read_state(self.server))
        if kind == "error" and status == b"NO":
            assert done is not True or op.by_files, "NO, but done"
        if kind == "error" and status is not None:
            if not op.pop3:
                answer = c.do(op.again)
                assert answer[0] == b"OK" or (done == "part" and op.name == "MOVE"), "again: %r" % answer[1]
            c.close()
        with_session = op.session(self.server) if not op.pop3 and done is False else None
        if with_session is not None and kind == "kill":
            answer = with_session.do(op.again)
            assert answer[0] == b"OK", "after the crash: %r" % answer[1]
        if with_session is not None:
            with_session.close()
        read_state(self.server)
        self.mailbox_check(op)
        return "%s%s" % ({None: "gone", b"OK": "OK", b"NO": "NO"}[status],
                         {True: ", done", False: ", not done", "part": ", in part"}[done])


def test_full_disk(build):
    """No block is left: mail can still be read and removed, and nothing has changed when there's room again."""
    if os.geteuid() != 0:
        raise Skip("mounting needs root")
    with Server(build) as server:
        place = os.path.join(server.mail_dir, USER)
        os.mkdir(place)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=777", "none", place], stderr=subprocess.DEVNULL).returncode:
            raise Skip("no right to mount")
        try:
            full_disk(server, place)
        finally:
            server.stop()
            subprocess.run(["umount", place], check=True)


def full_disk(server, place):
    c = Client(server)
    for i in range(40):
        assert c.do(b"APPEND INBOX " + literal(b"m%d" % i))[0] == b"OK"
    c.do(b"LOGOUT")
    c.close()
    before = read_state(server)
    with open(os.path.join(place, "fill"), "wb", buffering=0) as f:
        try:
            while True:
                f.write(b"x" * 4096)
        except OSError:
            pass
    c = Client(server)
    assert c.do(b"SELECT INBOX")[0] == b"OK"
    failed = 0
    for i in range(40):  # some day the log needs a block
        status, lines = c.do(b"UID STORE 1:30 %sFLAGS (\\Deleted)" % (b"+" if i % 2 == 0 else b"-"))
        failed += status == b"NO"
        assert c.do(b"UID FETCH 1:* (FLAGS BODY.PEEK[])")[0] == b"OK", "no reading after STORE %d: %r" % (i, lines)
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


def cases_of(kind, counts, rng, short):
    cases = [(call, n) for call, count in sorted(counts.items()) for n in range(1, count + 1)
             if kind == "kill" or call not in KILL_ONLY]
    if short and len(cases) > SHORT:
        cases = sorted(rng.sample(cases, SHORT))
    return cases


def run_operation(matrix, op, results, rng, short):
    counts = matrix.count(op)
    for kind in ("kill", "error"):
        cases = cases_of(kind, counts, rng, short)
        outcomes = {}
        bad = 0
        for call, n in cases:
            try:
                outcome = matrix.case(op, kind, call, n)
                outcomes[outcome] = outcomes.get(outcome, 0) + 1
                results.passed += 1
            except Skip:
                raise
            except Exception as error:
                bad += 1
                results.failed += 1
                print("FAIL %s: %s at %s %d: %s: %s" % (op.name, kind, call, n, type(error).__name__, str(error)[:600]))
        print("%-13s %-5s %4d steps %4d tried %3d failed   %s" %
              (op.name, kind, len(cases_of(kind, counts, rng, False)), len(cases), bad,
               "; ".join("%d %s" % (c, o) for o, c in sorted(outcomes.items()))))
        sys.stdout.flush()


def main():
    build = sys.argv[1] if len(sys.argv) > 1 else "."
    words = sys.argv[2:]
    short = "full" not in words
    chosen = [w for w in words if w not in ("short", "full")]
    rng = random.Random(int(os.environ.get("MANSIO_SEED", "1")))
    results = Results()
    try:
        if shutil.which("strace") is None:
            raise Skip("no strace")
        with Server(build) as server:
            matrix = Matrix(server)
            results.run("a new account is no recovery", matrix.quiet_start)
            results.run("a full disk", test_full_disk, build)
            for op in OPERATIONS:
                if not chosen or op.name in chosen:
                    run_operation(matrix, op, results, rng, short)
    except Skip as reason:
        print("skip: %s" % reason)
        results.skipped += 1
    return results.finish()


if __name__ == "__main__":
    sys.exit(main())
