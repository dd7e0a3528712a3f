"""Plays transcripts of IMAP and POP3 sessions against a server of its own: what tests/imap/run.py and
tests/pop3/run.py share.

    run.py BUILD_DIRECTORY [WORD ...]     only tests whose file or name has one of the words

A transcript file (*.txt beside that program) has tests that begin with a line `== name`. Each test has a user of
its own with an empty Maildir; a file has one server, whose settings it may give at its top: `settings KEY=VALUE ...`.

    # text           comment
    C: text          the client sends a line
    R: text          the client sends octets, with \\r \\n \\x00, and no line end of its own
    S: text          the server sends exactly this line
    S> text          the server sends some lines and then this one
    U: text          neighbouring U: lines are expected in any order
    X: text          no line up to the next S> may look like this
    quiet SECONDS    nothing comes for so long
    eof              the server closes the connection
    connect [SERVICE] [raw]
                     a new connection; logged in unless `raw`. SERVICE: imap, imaps, pop3, pop3s; else this directory's.
                     Without this, the first use connects and logs in.
    tls              the client begins a TLS handshake
    close            the client closes its connection
    deliver [FOLDER] a message arrives in new/        remove N [FOLDER]  another program removes the N-th file
    message TEXT     a message of these octets arrives in INBOX, with escapes as of R:
    files N          there are N files in INBOX, at once or soon
    mode OCTAL DIR   permissions of a directory of INBOX: cur or new
    account WORDS    the user's extra words in the users file: pop3=no
    terminate        SIGTERM for the server; only in the last test of a file
    sleep SECONDS    log WORDS                        the server's log has these words (regular expression)

`B C: text` is session B; without a letter it's A. In a line `{...}` stands for anything, `{name}` for a word that is
remembered, and must be the same the next time; in what the client sends it's put in. `{12}` and `{12+}` are literals
as they are. `{user}` is the user's name, `{x*500}` is 500 times x, `{base64 \\0ann\\0pw}` is that in Base64, and
`{md5 text}` its MD5 digest in hexadecimal digits.
"""

import base64
import glob
import hashlib
import os
import re
import signal
import socket
import ssl
import sys
import time

import harness
from harness import PASSWORD, Server, wait_until

LINE = re.compile(r"^(?:([A-Z]) )?(C:|R:|S:|S>|U:|X:|quiet|eof|connect|tls|close|deliver|remove|message|files|mode|"
                  r"terminate|sleep|log)(?: (.*))?$")
MESSAGE = (b"From: Ann <ann@example.org>\nTo: bob@example.org\nSubject: number %d\n"
           b"Date: Mon, 7 Feb 1994 21:52:25 -0800\nMessage-ID: <%d@example.org>\n\nHello.\n")
SECONDS = 15


class Mismatch(Exception):
    pass


def unescape(text):
    """Octets of a text with \\r \\n \\0 \\x80; other backslashes stay (they are IMAP's)."""
    text = re.sub(r"\\(x[0-9a-f]{2}|[rn0])", lambda m: {"r": "\r", "n": "\n", "0": "\0"}.get(m.group(1)) or
                  chr(int(m.group(1)[1:], 16)), text)
    return text.encode("latin-1")


class Session:
    """One connection; lines as bytes without CRLF."""

    def __init__(self, play, service, login):
        self.play = play
        self.s = play.server.connect(service)
        self.buffer = b""
        self.seen = []
        if not login:
            if service.startswith("imap"):
                self.line()  # a POP3 transcript shows the greeting: it has APOP's timestamp
        elif service.startswith("imap"):
            self.login(b"login LOGIN %s %s\r\n", b"login OK")
        else:
            self.login(b"USER %s\r\nPASS %s\r\n", b"+OK Logged in")

    def login(self, command, answer):
        self.send(command % (self.play.user.encode(), PASSWORD.encode()))
        while not self.line().startswith(answer):
            pass

    def send(self, data):
        self.seen.append("C: " + data.decode(errors="replace").rstrip()[:200])
        self.s.sendall(data)

    def line(self, seconds=SECONDS):
        self.s.settimeout(seconds)
        while b"\n" not in self.buffer:
            try:
                data = self.s.recv(65536)
            except socket.timeout:
                raise Mismatch("no answer; so far: %r" % self.buffer)
            if not data:
                raise Mismatch("the server closed the connection; so far: %r" % self.buffer)
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        line = line.rstrip(b"\r")
        self.seen.append("S: " + line.decode(errors="replace")[:200])
        return line

    def starttls(self):
        self.s = self.play.server.tls_client().wrap_socket(self.s, server_hostname="localhost")

    def quiet(self, seconds):
        self.s.settimeout(seconds)
        try:
            data = self.buffer or self.s.recv(65536)
        except socket.timeout:
            return
        raise Mismatch("expected silence, got %r" % data)

    def eof(self):
        self.s.settimeout(SECONDS)
        try:
            data = self.buffer + self.s.recv(65536)
        except (ConnectionError, ssl.SSLError):
            data = b""
        except socket.timeout:
            raise Mismatch("the connection stays open")
        if data:
            raise Mismatch("expected the end, got %r" % data)

    def close(self):
        self.s.close()


class Play:
    """One test."""

    def __init__(self, server, service, user, lines):
        self.server, self.service, self.user, self.lines = server, service, user, lines
        self.sessions = {}
        self.variables = {"user": user}
        self.delivered = 0
        self.unordered = []
        self.forbidden = []

    def fill(self, text):
        """Variables and repetitions of a client's line."""
        text = re.sub(r"\{(.)\*(\d+)\}", lambda m: m.group(1) * int(m.group(2)), text)
        text = re.sub(r"\{([a-z]+)\}", lambda m: self.variables.get(m.group(1), m.group(0)), text)
        text = re.sub(r"\{base64 (.*?)\}", lambda m: base64.b64encode(unescape(m.group(1))).decode(), text)
        return re.sub(r"\{md5 (.*?)\}", lambda m: hashlib.md5(m.group(1).encode()).hexdigest(), text)

    def pattern(self, text):
        """A regular expression for a server's line; names of groups are variables not yet known."""
        out, new = "", set()
        for part in re.split(r"(\{\.\.\.\}|\{[a-z]+\})", text):
            name = part[1:-1]
            if part == "{...}":
                out += ".*"
            elif re.fullmatch(r"\{[a-z]+\}", part):
                if name in self.variables:
                    out += re.escape(self.variables[name])
                elif name in new:
                    out += "(?P=%s)" % name
                else:
                    new.add(name)
                    out += r"(?P<%s>[^\s\])]+)" % name
            else:
                out += re.escape(part)
        return re.compile("^" + out + "$", re.S)

    def matches(self, text, line):
        m = self.pattern(text).match(line.decode("utf-8", "surrogateescape"))
        if m:
            self.variables.update(m.groupdict())
        return bool(m)

    def session(self, name):
        if name not in self.sessions:
            self.sessions[name] = Session(self, self.service, login=True)
        return self.sessions[name]

    def finish_unordered(self):
        """The U: lines collected so far."""
        while self.unordered:
            name = self.unordered[0][0]
            wanted = [text for n, text in self.unordered if n == name]
            self.unordered = [u for u in self.unordered if u[0] != name]
            while wanted:
                line = self.session(name).line()
                hit = next((w for w in wanted if self.matches(w, line)), None)
                if hit is None:
                    raise Mismatch("got %r\n  expected one of %r" % (line, wanted))
                wanted.remove(hit)

    def expect(self, name, text):
        line = self.session(name).line()
        if not self.matches(text, line):
            raise Mismatch("got      %r\n  expected %r" % (line, text))

    def skip_to(self, name, text):
        for _ in range(100000):
            line = self.session(name).line()
            if self.matches(text, line):
                break
            if any(self.matches(f, line) for f in self.forbidden):
                raise Mismatch("got %r, which is forbidden here" % line)
        self.forbidden = []

    def files(self, folder):
        base = os.path.join(self.server.maildir(self.user), "." + folder if folder else "")
        found = [os.path.join(base, d, f) for d in ("cur", "new") for f in os.listdir(os.path.join(base, d))]
        return sorted(found, key=os.path.basename)

    def deliver(self, data, folder=""):
        if not os.path.isdir(self.server.maildir(self.user)):
            if self.service.startswith("imap"):
                self.server.imap(self.user).logout()
            else:
                self.server.pop3(self.user).quit()
        self.server.deliver(data, self.user, folder)

    def connect(self, name, words):
        if name in self.sessions:
            self.sessions[name].close()
        service = next((w for w in words if w != "raw"), self.service)
        self.sessions[name] = Session(self, service, login="raw" not in words)

    def terminate(self):
        """The session ends by SIGTERM, and so does the server."""
        self.server.process.send_signal(signal.SIGTERM)
        self.server.terminated = True

    def step(self, name, verb, text):
        if verb != "U:":
            self.finish_unordered()
        if not self.step_of_session(name, verb, text):
            self.step_of_server(verb, text)

    def step_of_session(self, name, verb, text):
        """What one connection does. False: it's another kind of step."""
        if verb == "C:":
            self.session(name).send(self.fill(text).encode("utf-8", "surrogateescape") + b"\r\n")
        elif verb == "R:":
            self.session(name).send(unescape(self.fill(text)))
        elif verb == "S:":
            self.expect(name, text)
        elif verb == "S>":
            self.skip_to(name, text)
        elif verb == "U:":
            self.unordered.append((name, text))
        elif verb == "X:":
            self.forbidden.append(text)
        elif verb == "quiet":
            self.session(name).quiet(float(text))
        elif verb == "eof":
            self.session(name).eof()
        elif verb == "connect":
            self.connect(name, text.split())
        elif verb == "tls":
            self.session(name).starttls()
        elif verb == "close":
            self.sessions.pop(name).close()
        else:
            return False
        return True

    def step_of_server(self, verb, text):
        """What happens to the mailbox and the server."""
        words = text.split()
        if verb == "deliver":
            self.delivered += 1
            self.deliver(MESSAGE % (self.delivered, self.delivered), text)
        elif verb == "message":
            self.deliver(unescape(self.fill(text)))
        elif verb == "remove":
            os.unlink(self.files(words[1] if len(words) > 1 else "")[int(words[0]) - 1])
        elif verb == "files":
            wait_until(lambda: len(self.files("")) == int(text), 10, "%s files, not %s" % (text, self.files("")))
        elif verb == "mode":
            os.chmod(os.path.join(self.server.maildir(self.user), words[1]), int(words[0], 8))
        elif verb == "terminate":
            self.terminate()
        elif verb == "sleep":
            time.sleep(float(text))
        elif verb == "log":
            wait_until(lambda: re.search(self.fill(text), self.server.log()), 10, "%r in the log" % text)

    def run(self):
        try:
            for number, line in self.lines:
                m = LINE.match(line)
                if not m:
                    raise AssertionError("line %d isn't of a transcript: %s" % (number, line))
                try:
                    self.step(m.group(1) or "A", m.group(2), m.group(3) or "")
                except (Mismatch, OSError) as error:
                    name = m.group(1) or "A"
                    seen = self.sessions[name].seen[-12:] if name in self.sessions else []
                    raise AssertionError("line %d: %s\n  %s\n  session %s:\n    %s" %
                                         (number, line, error, name, "\n    ".join(seen))) from None
            self.finish_unordered()
        finally:
            for s in self.sessions.values():
                s.close()


class Test:
    """A test as its file has it: lines with their numbers, and what the users file says of its user."""

    def __init__(self, name):
        self.name, self.lines, self.account = name, [], ""


def read_file(path):
    """Settings, and the tests."""
    settings, tests = {}, []
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            line = line.rstrip("\n")
            if line.startswith("== "):
                tests.append(Test(line[3:]))
            elif line.startswith("settings "):
                settings.update(pair.split("=", 1) for pair in line.split()[1:])
            elif line.startswith("account "):
                tests[-1].account = line[8:]
            elif line and not line.startswith("#"):
                tests[-1].lines.append((number, line))
    return settings, tests


def write_users(server, users):
    """mansio-users(5): the extra words are the eighth field."""
    with open(server.users_path, "w") as f:
        for user, test in users:
            f.write("%s:{PLAIN}%s%s\n" % (user, PASSWORD, "::::::" + test.account if test.account else ""))


def play_file(build, service, path, words, results):
    base = os.path.basename(path)[:-4]
    settings, tests = read_file(path)
    chosen = [t for t in tests if not words or any(w in base + " " + t.name for w in words)]
    if not chosen:
        return
    users = [("user%d" % n, test) for n, test in enumerate(chosen)]
    with Server(build, settings, users=(), start=False) as server:
        write_users(server, users)
        server.start()
        server.terminated = False
        for user, test in users:
            results.run(base + ": " + test.name, Play(server, service, user, test.lines).run)
        complaint = complaints(server)
        if complaint:
            results.run(base + ": server is well", fail, complaint)


def complaints(server):
    """Ends the server. What shows that it wasn't well: an early end, a panic, a sanitizer's report."""
    died = server.process.poll() is not None and not server.terminated
    server.stop()
    with open(os.path.join(server.dir, "stderr"), errors="replace") as f:
        text = f.read()
    if died or "panic" in server.log():
        return server.tail()
    return text if "Sanitizer" in text or "runtime error:" in text else None


def fail(text):
    raise AssertionError(text)


def main(program, service):
    """Plays the transcripts beside a program, on a service if they don't say another."""
    build, words = sys.argv[1] if len(sys.argv) > 1 else ".", sys.argv[2:]
    results = harness.Results()
    for path in sorted(glob.glob(os.path.join(os.path.dirname(os.path.abspath(program)), "*.txt"))):
        play_file(build, service, path, words, results)
    return results.finish()
