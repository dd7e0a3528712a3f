#!/usr/bin/env python3
"""Hostile and broken clients: every limit before and after login ends in a clear answer or a disconnection with a log
line that says which, and the other clients don't feel it.

    limits.py BUILD_DIRECTORY [NAME ...]
"""

import random
import re
import socket
import ssl
import sys
import threading
import time

import harness
import samples
from harness import PASSWORD, Server, wait_until


class Client:
    """A line client that sends what it likes."""

    def __init__(self, server, service="imap", login=False, greeting=True):
        self.s = server.connect(service)
        self.f = self.s.makefile("rb")
        self.service = service
        if greeting:
            self.greeting = self.f.readline()
            assert self.greeting.startswith((b"* OK", b"+OK")), self.greeting
        if login and "imap" in service:
            assert b" OK" in self.ask(b"l login ann " + PASSWORD.encode())
        elif login:
            assert self.ask(b"USER ann").startswith(b"+OK")
            assert self.ask(b"PASS " + PASSWORD.encode()).startswith(b"+OK")

    def send(self, data):
        self.s.sendall(data)

    def line(self):
        return self.f.readline()

    def ask(self, line):
        """One command; its status line. IMAP commands bring their tag."""
        self.send(line + b"\r\n")
        return self.status(line.split(b" ")[0])

    def status(self, tag):
        while True:
            got = self.line()
            if not got or "pop" in self.service or got.startswith((tag + b" ", b"* BYE", b"* BAD", b"+")):
                return got

    def ended(self, seconds=15):
        """True when the server closes the connection within that time."""
        self.s.settimeout(seconds)
        try:
            while self.s.recv(65536):
                pass
        except (ConnectionError, ssl.SSLError):
            return True
        except socket.timeout:
            return False
        return True

    def alive(self):
        return (b"OK" in self.ask(b"n NOOP")) if "imap" in self.service else self.ask(b"NOOP").startswith(b"+OK")

    def close(self):
        self.f.close()
        self.s.close()


class Bystander:
    """Another user's session that must not notice anything: NOOPs all the time."""

    def __init__(self, server):
        self.c = server.imap("bob")
        self.c.select("INBOX")
        self.worst = 0.0
        self.faults = []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            while not self.stop.is_set():
                started = time.monotonic()
                if self.c.noop()[0] != "OK":
                    self.faults.append("NOOP refused")
                self.worst = max(self.worst, time.monotonic() - started)
                time.sleep(0.02)
            self.c.logout()
        except Exception as error:
            self.faults.append(repr(error))

    def finish(self):
        self.stop.set()
        self.thread.join()
        assert not self.faults, self.faults
        assert self.worst < 5, "a bystander waited %.1f s" % self.worst


def logged(server, pattern, seconds=10):
    wait_until(lambda: re.search(pattern, server.log()), seconds, "log line %r in\n%s" % (pattern, server.log()[-2500:]))


def test_imap_before_login(build):
    with Server(build, {"login_timeout": "60"}) as server:
        c = Client(server)
        assert c.ask(b"a LOGIN " + b"x" * 5000).split(b" ")[1] in (b"BAD", b"NO") , "line over 4 KiB"
        assert c.alive(), "the connection stays"
        got = c.ask(b"b LOGIN {5000}")
        assert b"b BAD" in got or b"b NO" in got or b"BYE" in got, got
        c.close()
        c = Client(server)
        c.send(b"b LOGIN {5000+}\r\n" + b"x" * 5000 + b" y\r\n")
        got = c.status(b"b")
        assert b"BAD" in got or b"NO" in got or b"BYE" in got, got
        c.close()
        c = Client(server)
        assert b"BAD" in c.ask(b"c ID ((\"a\" \"b\"))"), "list depth 1"
        c.close()
        c = Client(server)
        c.send(b"x NONSENSE\r\n" * 3)
        assert c.ended(), "three bad commands"
        logged(server, "bad commands")
        for command in (b"SELECT INBOX", b"FETCH 1 FLAGS", b"LIST \"\" *", b"STATUS INBOX (MESSAGES)", b"IDLE"):
            c = Client(server)
            assert b"d BAD" in c.ask(b"d " + command) , command
            c.close()


def test_imap_after_login(build):
    with Server(build, {"append_limit": "100K"}) as server:
        c = Client(server, login=True)
        assert b"BAD" in c.ask(b"a NOOP " + b"x" * 70000), "line over 64 KiB"
        assert c.alive()
        assert b"OK" in c.ask(b"s SELECT INBOX")
        depth = b"(" * 40 + b"SEEN" + b")" * 40
        assert b"BAD" in c.ask(b"b SEARCH " + depth), "depth over 32"
        keys = b" ".join([b"SEEN"] * 1100)
        answer = c.ask(b"c SEARCH " + keys)
        assert b"c BAD" in answer or b"c NO" in answer, answer
        ranges = b",".join(b"%d" % n for n in range(1, 40000, 2))
        c.send(b"d UID FETCH {%d+}\r\n" % len(ranges) + ranges + b" FLAGS\r\n")
        answer = c.status(b"d")
        assert b"d BAD" in answer or b"d NO" in answer, answer
        assert c.alive()
        # a literal announced at the end of a line that is too long is no command
        for length in (70000, 65536 - 4, 65536 - 3, 65536 - 2, 65536 - 1, 65536, 65537):
            literal = b"v LOGOUT\r\n"
            head = b"u SEARCH SUBJECT "
            mark = b" {%d+}" % len(literal)
            c.send(head + b"x" * (length - len(head) - len(mark)) + mark + b"\r\n" + literal + b"\r\n")
            answer = c.status(b"u")
            assert b"u BAD" in answer or b"u OK" in answer, (length, answer)
            assert c.alive(), "what was announced as a literal was taken for a command (%d)" % length
        # literals of one command count together
        big = b"x" * 600000
        c.send(b"e SEARCH OR SUBJECT {%d+}\r\n%s SUBJECT {%d+}\r\n%s\r\n" % (len(big), big, len(big), big))
        answer = c.status(b"e")
        assert b"BAD" in answer or b"NO" in answer, answer
        if b"BYE" in answer:
            c = Client(server, login=True)
        assert c.alive()
        # APPEND over the limit: refused before the data is asked for, or after it was thrown away
        answer = c.ask(b"f APPEND INBOX {200000}")
        assert b"f NO" in answer and b"TOOBIG" in answer, answer
        c.send(b"g APPEND INBOX {200000+}\r\n" + b"y" * 200000 + b"\r\n")
        answer = c.status(b"g")
        assert b"g NO" in answer and b"TOOBIG" in answer, answer
        assert c.alive()
        c.send(b"x NONSENSE\r\n" * 25)
        assert c.ended(), "bad commands after login"
        logged(server, "bad commands")
        d = Client(server, login=True)
        assert b"OK" in d.ask(b"s STATUS INBOX (MESSAGES)")
        d.close()


def test_pop3_limits(build):
    with Server(build) as server:
        c = Client(server, "pop3")
        assert c.ask(b"USER " + b"x" * 5000).startswith(b"-ERR"), "line over the limit"
        c.send(b"NONSENSE\r\n" * 4)
        assert c.ended(), "bad commands before login"
        logged(server, "bad commands")
        c = Client(server, "pop3", login=True)
        for argument in (b"RETR 99999999999999999999", b"RETR -1", b"RETR 0", b"TOP 1 x", b"DELE 1x", b"RETR"):
            assert c.ask(argument).startswith(b"-ERR"), argument
        assert c.alive()
        c.send(b"NONSENSE\r\n" * 25)
        assert c.ended(), "bad commands after login"


def test_garbage(build):
    """Random octets at every port; the bystander goes on."""
    rng = random.Random(11)
    with Server(build, {"login_timeout": "5"}) as server:
        bystander = Bystander(server)
        for round_ in range(40):
            for service in ("imap", "imaps", "pop3", "pop3s"):
                s = socket.create_connection(("127.0.0.1", server.ports[service]), timeout=10)
                try:
                    s.sendall(rng.randbytes(rng.choice((1, 10, 1000, 20000))))
                    s.shutdown(socket.SHUT_WR)
                    while s.recv(65536):
                        pass
                except OSError:  # reset, or closed before we were done
                    pass
                s.close()
        bystander.finish()
        assert server.process.poll() is None
        assert "panic" not in server.log() and "signal" not in server.log(), server.log()[-2000:]


def test_login_timeout_and_silent_handshake(build):
    with Server(build, {"login_timeout": "2"}) as server:
        bystander = Bystander(server)
        silent = [Client(server, "imap"), Client(server, "pop3")]
        handshake = [socket.create_connection(("127.0.0.1", server.ports[n]), timeout=10) for n in ("imaps", "pop3s")]
        for c in silent:
            assert c.ended(8), "login_timeout"
        for s in handshake:
            s.settimeout(8)
            assert s.recv(100) == b"", "a handshake that never begins"
        logged(server, "(?i)timed? ?out|timeout")
        bystander.finish()


def test_login_timeout_of_a_busy_client(build):
    """Neither one that always has the next command ready, nor one that takes its answers slowly, is kept longer."""
    with Server(build, {"login_timeout": "2", "write_timeout": "20"}) as server:
        for service, command in (("imap", b"a NOOP\r\n" * 50), ("pop3", b"CAPA\r\n" * 50)):
            for reads in (True, False):
                c = Client(server, service)
                sender = threading.Thread(target=flood, args=(c, command))
                sender.start()
                started = time.monotonic()
                if reads:
                    assert c.ended(8), service
                sender.join(8)
                assert not sender.is_alive() and time.monotonic() - started < 6, "%s, reads: %s" % (service, reads)


def flood(client, data):
    end = time.monotonic() + 10
    try:
        while time.monotonic() < end:
            client.send(data)
    except OSError:
        pass


def test_dripping_client(build):
    """A byte a second: the command's deadline ends it, not the idle timeout."""
    with Server(build, {"command_timeout": "3", "login_timeout": "600", "min_transfer_rate": "100"}) as server:
        bystander = Bystander(server)
        for service, text, login in (("imap", b"a LOGIN ann secret\r\n", False), ("pop3", b"USER ann\r\n", False),
                                     ("imap", b"a SEARCH SUBJECT something long\r\n", True), ("imaps", b"a NOOP    \r\n", True)):
            c = Client(server, service, login=login)
            started = time.monotonic()
            ended = False
            for n in range(12):
                try:
                    c.send(text[n:n + 1])
                except (ConnectionError, ssl.SSLError):
                    ended = True
                    break
                time.sleep(1)
                if n > 4:
                    c.s.settimeout(0.05)
                    try:
                        while True:
                            if not c.s.recv(4096):
                                ended = True
                                break
                    except socket.timeout:
                        pass
                    except (ConnectionError, ssl.SSLError):
                        ended = True
                    if ended:
                        break
            assert ended and time.monotonic() - started < 11, "%s: dripping went on" % service
        # a literal that trickles in
        c = Client(server, login=True)
        assert c.ask(b"a APPEND INBOX {50000}").startswith(b"+")
        ended = False
        for n in range(20):
            try:
                c.send(b"x")
                time.sleep(0.5)
            except ConnectionError:
                ended = True
                break
        assert ended or c.ended(10), "a trickling literal"
        logged(server, "(?i)too slow|time")
        bystander.finish()
        c = Client(server, login=True)
        c.send(b"s SELECT INBOX\r\n")
        assert any(b"* 0 EXISTS" in c.line() for _ in range(8)), "half a message was kept"


def test_client_that_never_reads(build):
    with Server(build, {"write_timeout": "2"}) as server:
        m = server.imap()
        for _ in range(4):
            m.append("INBOX", None, None, samples.large(2 * 1024 * 1024))
        m.logout()
        bystander = Bystander(server)
        for service, command in (("imap", b"a SELECT INBOX\r\n" + b"b FETCH 1:* BODY.PEEK[]\r\n" * 20),
                                 ("pop3", b"RETR 1\r\nRETR 2\r\nRETR 3\r\nRETR 4\r\n" * 5),
                                 ("imaps", b"a SELECT INBOX\r\n" + b"b FETCH 1:* BODY.PEEK[]\r\n" * 20)):
            before = len(re.findall("(?i)write_timeout|takes nothing|took no data", server.log()))
            c = Client(server, service, login=True)
            c.send(command)
            wait_until(lambda: len(re.findall("(?i)write_timeout|takes nothing|took no data",
                                              server.log())) > before, 15,
                       "a log line about the client that doesn't read:\n" + server.log()[-1500:])
            c.close()
        bystander.finish()


def test_idle_timeouts(build):
    with Server(build, {"imap_idle_timeout": "2", "pop3_idle_timeout": "2"}) as server:
        c = Client(server, login=True)
        d = Client(server, "pop3", login=True)
        e = Client(server, login=True)
        assert e.ask(b"i IDLE").startswith(b"+")
        assert c.ended(8) and d.ended(8) and e.ended(8)
        logged(server, "(?i)idle")


def test_too_many_connections_of_one_user(build):
    with Server(build, {"max_connections_per_user": "3"}) as server:
        clients = [Client(server, login=True) for _ in range(3)]
        c = Client(server)
        answer = c.ask(b"a LOGIN ann " + PASSWORD.encode())
        assert b"a NO" in answer and b"LIMIT" in answer, answer
        p = Client(server, "pop3")
        p.ask(b"USER ann")
        assert p.ask(b"PASS " + PASSWORD.encode()).startswith(b"-ERR [IN-USE]")
        server.imap("bob").logout()
        clients[0].ask(b"z LOGOUT")
        clients[0].close()
        wait_until(lambda: b" OK" in Client(server).ask(b"a LOGIN ann " + PASSWORD.encode()), 5, "a free place")


def test_failed_logins_are_delayed_in_parallel_too(build):
    """Eight guesses at once take as long as eight one after the other."""
    with Server(build, {"login_failure_delay": "1"}) as server:
        bystander = Bystander(server)
        started = time.monotonic()
        answers = []

        def guess():
            c = Client(server)
            c.s.settimeout(60)
            answers.append(c.ask(b"a LOGIN ann wrong"))

        threads = [threading.Thread(target=guess) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert len(answers) == 4 and all(b"AUTHENTICATIONFAILED" in a for a in answers), answers
        assert time.monotonic() - started > 3, "parallel guesses weren't delayed: %.1f s" % (time.monotonic() - started)
        bystander.finish()
        assert len(re.findall("login failed.*user=<?ann", server.log())) == 4, server.log()[-2000:]


def test_unknown_user_and_wrong_password_look_the_same(build):
    with Server(build, users=("ann", "bob")) as server:
        def ask(line):
            c = Client(server)
            answer = c.ask(line)
            c.close()
            return answer
        assert ask(b"a LOGIN ann wrong") == ask(b"a LOGIN nobodyhere wrong") == ask(b"a LOGIN root secret") == \
            ask(b"a LOGIN anonymous x@y") == ask(b"a LOGIN \"../ann\" secret")


if __name__ == "__main__":
    sys.exit(harness.main(globals()))
