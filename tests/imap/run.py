#!/usr/bin/env python3
"""Plays IMAP transcripts against a server of its own.

    run.py BUILD_DIRECTORY [WORD ...]     only tests whose file or name has one of the words

A transcript file (*.txt beside this program) has tests that begin with a line `== name`. Each test has a user of
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
    connect [raw]    a new connection; logged in unless `raw`. Without this, the first use connects and logs in.
    tls              the client begins a TLS handshake
    close            the client closes its connection
    deliver [FOLDER] a message arrives in new/        remove N [FOLDER]  another program removes the N-th file
    sleep SECONDS    log WORDS                        the server's log has these words (regular expression)

`B C: text` is session B; without a letter it's A. In a line `{...}` stands for anything, `{name}` for a word that is
remembered, and must be the same the next time; in what the client sends it's put in. `{12}` and `{12+}` are literals
as they are. `{user}` is the user's name, `{x*500}` is 500 times x, `{base64 \\0ann\\0pw}` is that in Base64.
"""

import base64
import glob
import os
import re
import socket
import ssl
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness  # noqa: E402
from harness import PASSWORD, Server, wait_until  # noqa: E402

LINE = re.compile(r"^(?:([A-Z]) )?(C:|R:|S:|S>|U:|X:|quiet|eof|connect|tls|close|deliver|remove|sleep|log)(?: (.*))?$")
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

    def __init__(self, play, login):
        self.play = play
        self.s = play.server.connect("imap")
        self.buffer = b""
        self.seen = []
        self.line()
        if login:
            self.send(b"login LOGIN %s %s\r\n" % (play.user.encode(), PASSWORD.encode()))
            while not self.line().startswith(b"login OK"):
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

    def __init__(self, server, user, lines):
        self.server, self.user, self.lines = server, user, lines
        self.sessions = {}
        self.variables = {"user": user}
        self.delivered = 0
        self.unordered = []
        self.forbidden = []

    def fill(self, text):
        """Variables and repetitions of a client's line."""
        text = re.sub(r"\{(.)\*(\d+)\}", lambda m: m.group(1) * int(m.group(2)), text)
        text = re.sub(r"\{([a-z]+)\}", lambda m: self.variables.get(m.group(1), m.group(0)), text)
        return re.sub(r"\{base64 (.*?)\}", lambda m: base64.b64encode(unescape(m.group(1))).decode(), text)

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
            self.sessions[name] = Session(self, login=True)
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

    def step(self, name, verb, text):
        if verb != "U:":
            self.finish_unordered()
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
            if name in self.sessions:
                self.sessions[name].close()
            self.sessions[name] = Session(self, login=text != "raw")
        elif verb == "tls":
            self.session(name).starttls()
        elif verb == "close":
            self.sessions.pop(name).close()
        elif verb == "deliver":
            self.delivered += 1
            if not os.path.isdir(self.server.maildir(self.user)):
                self.server.imap(self.user).logout()
            self.server.deliver(MESSAGE % (self.delivered, self.delivered), self.user, text or "")
        elif verb == "remove":
            words = text.split()
            os.unlink(self.files(words[1] if len(words) > 1 else "")[int(words[0]) - 1])
        elif verb == "sleep":
            time.sleep(float(text))
        elif verb == "log":
            wait_until(lambda: re.search(text, self.server.log()), 10, "%r in the log" % text)

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


def read_file(path):
    """Settings, and a list of (name, lines)."""
    settings, tests = {}, []
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            line = line.rstrip("\n")
            if line.startswith("== "):
                tests.append((line[3:], []))
            elif line.startswith("settings "):
                settings.update(pair.split("=", 1) for pair in line.split()[1:])
            elif line and not line.startswith("#"):
                tests[-1][1].append((number, line))
    return settings, tests


def main():
    build, words = sys.argv[1] if len(sys.argv) > 1 else ".", sys.argv[2:]
    results = harness.Results()
    for path in sorted(glob.glob(os.path.join(os.path.dirname(os.path.abspath(__file__)), "*.txt"))):
        base = os.path.basename(path)[:-4]
        settings, tests = read_file(path)
        chosen = [t for t in tests if not words or any(w in base + " " + t[0] for w in words)]
        if not chosen:
            continue
        users = ["user%d" % n for n in range(len(chosen))]
        with Server(build, settings, users=users) as server:
            for user, (name, lines) in zip(users, chosen):
                results.run(base + ": " + name, Play(server, user, lines).run)
            if server.process.poll() is not None or "panic" in server.log():
                results.run(base + ": server is well", lambda: (_ for _ in ()).throw(AssertionError(server.tail())))
    return results.finish()


if __name__ == "__main__":
    sys.exit(main())
