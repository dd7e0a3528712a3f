"""Clients with nothing in between, and what they see of an account: for crash_matrix.py, damage.py and powercut.py."""

import os
import re
import socket
import subprocess
import time

from harness import PASSWORD

USER = "ann"
SUBSCRIBED = None  # the key of what LSUB says, among the folders


class Gone(Exception):
    """The session ended under the client."""


class Client:
    """IMAP with nothing in between: commands as octets, answers as lists of lines with their literals."""

    def __init__(self, server, login=True, user=USER):
        self.s = socket.create_connection(("127.0.0.1", server.ports["imap"]), timeout=30)
        self.f = self.s.makefile("rb")
        self.n = 0
        self.user = user
        self.line()
        if login:
            status, lines = self.login()
            assert status == b"OK", lines

    def login(self):
        return self.do(b"LOGIN %s %s" % (self.user.encode(), PASSWORD.encode()))

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


def folder_names(client):
    status, lines = client.do(b'LIST "" *')
    assert status == b"OK", lines
    return [line.rsplit(b" ", 1)[1].strip().strip(b'"') for line in lines[:-1]
            if b"\\NonExistent" not in line and b"\\Noselect" not in line]


FETCHED = re.compile(rb"\* \d+ FETCH \(UID (\d+) FLAGS \(([^)]*)\) BODY\[\] \{\d+\}\r\n(.*)\)\r\n$", re.S)


def read_folder(client, name):
    """(uidvalidity, uidnext, {uid: (token, flags)}); contents are compared octet by octet."""
    status, answer = client.do(b"EXAMINE " + name)
    assert status == b"OK", answer
    text = b"".join(answer)
    validity = int(re.search(rb"UIDVALIDITY (\d+)", text).group(1))
    uidnext = int(re.search(rb"UIDNEXT (\d+)", text).group(1))
    exists = int(re.search(rb"\* (\d+) EXISTS", text).group(1))
    messages = {}
    if exists:
        status, answer = client.do(b"UID FETCH 1:* (UID FLAGS BODY.PEEK[])")
        assert status == b"OK", answer
        for item in answer[:-1]:
            found = FETCHED.match(item)
            assert found, item
            body = found.group(3)
            token = re.match(rb"Subject: (\S+)", body).group(1)
            assert body == message(token), "a message that is not whole: %r" % body
            uid = int(found.group(1))
            assert uid < uidnext, "UID %d, but UIDNEXT %d" % (uid, uidnext)
            messages[uid] = (token, frozenset(found.group(2).replace(b"\\Recent", b"").split()))
    assert len(messages) == exists, "%s: %d EXISTS, %d messages" % (name, exists, len(messages))
    return validity, uidnext, messages


def read_state(server):
    """{folder: (uidvalidity, uidnext, {uid: (token, flags)})} of the account, by a new session."""
    c = Client(server)
    folders = {name: read_folder(c, name) for name in folder_names(c)}
    folders[SUBSCRIBED] = c.do(b'LSUB "" *')[1][:-1]
    c.do(b"LOGOUT")
    c.close()
    return folders


built = set()


def highest_modseqs(server):
    """{folder: (id, uidvalidity, highestmodseq)}, of the index itself (tests/index_dump)."""
    program = server.program(os.path.join("tests", "index_dump"))
    if program not in built:
        subprocess.run(["make", "-s", "tests/index_dump"], cwd=server.build, check=not os.path.exists(program),
                       stdout=subprocess.DEVNULL)
        built.add(program)
    as_owner = {"user": server.mail_user, "group": os.stat(server.mail_dir).st_gid, "extra_groups": []} if server.mail_user else {}
    done = subprocess.run([program, server.maildir()], capture_output=True, text=True, timeout=60, cwd="/", **as_owner)
    assert done.returncode == 0, done.stderr
    found = {}
    for line in done.stdout.split("\n"):
        words = line.split(" ", 7)
        if words[0] == "M":
            found[words[7].encode()] = int(words[1]), int(words[2]), int(words[4])
    return found


def worker_of(server, client):
    """The pid of the process at the other end of a client's connection."""
    ours = client.s.getsockname()[1]
    theirs = client.s.getpeername()[1]
    end = time.monotonic() + 10
    while time.monotonic() < end:
        inode = None
        with open("/proc/net/tcp") as f:
            for line in f.readlines()[1:]:
                words = line.split()
                if words[1].endswith(":%04X" % theirs) and words[2].endswith(":%04X" % ours):
                    inode = words[9]
        for pid in server.children() if inode not in (None, "0") else []:
            if "socket:[%s]" % inode in open_files(pid):
                return pid
        time.sleep(0.01)
    raise AssertionError("nobody serves port %d" % ours)


def open_files(pid):
    try:
        return [os.readlink("/proc/%d/fd/%s" % (pid, n)) for n in os.listdir("/proc/%d/fd" % pid)]
    except OSError:
        return []


def wait_for_quiet(server):
    """Until no worker has anything of the mail open: what a session does when its client has gone is over."""
    end = time.monotonic() + 20
    while any(name.startswith(server.mail_dir + "/") for pid in server.children() for name in open_files(pid)):
        assert time.monotonic() < end, "a session doesn't end"
        time.sleep(0.005)
