#!/usr/bin/env python3
"""What FETCH gives of large and odd messages, octet by octet: every section and partial is compared with the same cut
of the message that was delivered, its line ends turned into CRLF. And what happens when a file isn't what its name says.

    content.py BUILD_DIRECTORY [NAME ...]
"""

import glob
import os
import random
import re
import sys
import time

import harness
from harness import PASSWORD, Server


def wire(data):
    """Every line end as CRLF; a lone CR stays."""
    return re.sub(rb"\r?\n", b"\r\n", data)


class Client:
    def __init__(self, server, user="ann"):
        self.s = server.connect("imap")
        self.s.settimeout(60)
        self.f = self.s.makefile("rb", 1 << 18)
        self.f.readline()
        self.tag = 0
        self.command(b"LOGIN %s %s" % (user.encode(), PASSWORD.encode()))

    def command(self, text):
        """Untagged lines, with their literals, and the tagged one."""
        self.tag += 1
        tag = b"c%d " % self.tag
        self.s.sendall(tag + text + b"\r\n")
        got = []
        while True:
            line = self.f.readline()
            if not line:
                raise ConnectionError("closed")
            literal = re.search(rb"\{(\d+)\}\r\n$", line)
            while literal:
                octets = self.f.read(int(literal.group(1)))
                if len(octets) != int(literal.group(1)):
                    raise ConnectionError("closed in a literal")
                got.append(octets)
                line = self.f.readline()
                literal = re.search(rb"\{(\d+)\}\r\n$", line)
            if line.startswith(tag):
                return got, line
            got.append(line)

    def literal(self, item, number=1):
        got, status = self.command(b"FETCH %d %s" % (number, item.encode()))
        assert b" OK" in status, status
        return got[0]


def big_message(rng, octets):
    """Two parts, lines of every length and ending, octets of every value but NUL."""
    body = bytearray()
    while len(body) < octets:
        n = rng.choice((0, 1, 10, 76, 998, 5000))
        body += bytes(rng.choice(b"abc def\xe4\x80\xff\rxyz-=") for _ in range(n))
        body += rng.choice((b"\n", b"\r\n"))
    return (b"From: ann@example.org\nSubject: big\nContent-Type: multipart/mixed; boundary=\"=b\"\n\npreamble\n"
            b"--=b\nContent-Type: text/plain\n\nsmall\r\n--=b\n"
            b"Content-Type: application/octet-stream\r\nX-Fold: a\n b\n\n" + bytes(body) + b"\n--=b--\nepilogue")


def test_sections_and_partials_of_a_large_message(build):
    rng = random.Random(1)
    message = big_message(rng, 400000)
    full = wire(message)
    head = full[:full.index(b"\r\n\r\n") + 4]
    second = full.index(b"Content-Type: application")
    part_head = full[second:full.index(b"\r\n\r\n", second) + 4]
    part = full[second + len(part_head):full.rindex(b"\r\n--=b--")]
    expected = {"": full, "HEADER": head, "TEXT": full[len(head):], "1": b"small", "2": part, "2.MIME": part_head}
    with Server(build) as server:
        client = Client(server)  # the Maildir is made at the first login
        server.deliver(message)
        client.command(b"SELECT INBOX")
        for section, content in expected.items():
            assert client.literal("BODY.PEEK[%s]" % section) == content, section
            for _ in range(40):
                skip = rng.choice((0, rng.randrange(len(content) + 10)))
                count = rng.choice((1, 2, rng.randrange(1, 70000), len(content) + 5))
                got = client.literal("BODY.PEEK[%s]<%d.%d>" % (section, skip, count))
                assert got == content[skip:skip + count], (section, skip, count)
        got, _ = client.command(b"FETCH 1 (RFC822.SIZE BODY)")
        assert b"RFC822.SIZE %d " % len(full) in got[0], got
        assert b"\"7BIT\" %d) \"mixed\"" % len(part) in got[0], (got, len(part))


def test_twenty_megabytes_in_chunks(build):
    """As Thunderbird reads it; the time must not grow with the square of the size."""
    body = b"".join(b"%075d\n" % i for i in range(280000))
    with Server(build) as server:
        client = Client(server)
        server.deliver(b"Subject: x\n\n" + body)
        client.command(b"SELECT INBOX")
        started = time.monotonic()
        content = wire(b"Subject: x\n\n" + body)
        for skip in range(0, len(content), 65536):
            got = client.literal("BODY.PEEK[]<%d.65536>" % skip)
            assert got == content[skip:skip + 65536], skip
        assert time.monotonic() - started < 10


def put(server, message, name):
    """A file in cur/ under a name that lies."""
    path = os.path.join(server.maildir("ann"), "cur", name)
    server.deliver(message)
    new = os.path.join(server.maildir("ann"), "new")
    os.rename(os.path.join(new, os.listdir(new)[0]), path)
    return path


def opened(server, part):
    """Open files of the server's processes whose path has this part."""
    found = []
    for pid in server.children():
        for fd in glob.glob("/proc/%d/fd/*" % pid):
            try:
                found.append(os.readlink(fd))
            except OSError:
                pass
    return [path for path in found if part in path]


def test_idle_keeps_no_message_open(build):
    with Server(build) as server:
        client = Client(server)
        put(server, b"Subject: x\n\n" + b"a line\n" * 40000, "1.M1P1.test:2,")
        client.command(b"SELECT INBOX")
        client.literal("BODY.PEEK[]<0.10>")
        assert opened(server, "/cur/1.M1"), "a client that reads in pieces gets it from an open file"
        client.s.sendall(b"i IDLE\r\n")
        assert client.f.readline().startswith(b"+")
        assert not opened(server, "/cur/1.M1")


def test_small_message_with_a_false_size_in_its_name(build):
    message = b"Subject: x\n\none\ntwo\n"
    with Server(build) as server:
        client = Client(server)
        put(server, message, "1.M1P1.test,S=%d,W=999:2," % len(message))
        client.command(b"SELECT INBOX")
        assert client.literal("BODY.PEEK[]") == wire(message)
        assert client.literal("BODY.PEEK[TEXT]") == b"one\r\ntwo\r\n"
        put(server, message, "2.M1P1.test,S=%d,W=%d:2," % (len(message), len(message) + 1))
        client.command(b"NOOP")
        assert client.literal("BODY.PEEK[]", 2) == wire(message)
        assert b"RFC822.SIZE %d" % len(wire(message)) in b"".join(client.command(b"FETCH 2 RFC822.SIZE")[0])


def test_large_message_with_a_false_size_drops_the_connection(build):
    """A wrong literal would make the client take the rest for responses."""
    message = b"Subject: x\n\n" + b"a line\n" * 40000
    with Server(build) as server:
        client = Client(server)
        put(server, message, "1.M1P1.test,S=%d,W=%d:2," % (len(message), len(message) + 50000))
        client.command(b"SELECT INBOX")
        try:
            client.literal("BODY.PEEK[]")
        except ConnectionError:
            pass
        else:
            raise AssertionError("no disconnection")
        harness.wait_until(lambda: "connection dropped" in server.log(), 10, "the reason in the log")
        again = Client(server)
        again.command(b"SELECT INBOX")
        assert again.literal("BODY.PEEK[]") == wire(message), "the second time it's known better"
        assert b"RFC822.SIZE %d" % len(wire(message)) in b"".join(again.command(b"FETCH 1 RFC822.SIZE")[0])


def test_large_message_with_too_small_a_size_is_not_cut(build):
    message = b"Subject: x\n\n" + b"a line\n" * 40000
    for items in ("BODY.PEEK[]", "BODY.PEEK[]<100000.1000000>"):
        with Server(build) as server:
            client = Client(server)
            put(server, message, "1.M1P1.test,S=%d,W=%d:2," % (len(message), len(wire(message)) - 5))
            client.command(b"SELECT INBOX")
            try:
                client.literal(items)
            except ConnectionError:
                pass
            else:
                raise AssertionError("no disconnection")
            again = Client(server)
            again.command(b"SELECT INBOX")
            assert again.literal("BODY.PEEK[]") == wire(message)


def test_an_impossible_size_is_not_believed(build):
    message = b"Subject: x\n\n" + b"a line\n" * 40000
    for w in (len(message) - 1, 2 * len(message) + 1, 2 ** 63 - 1):
        with Server(build) as server:
            client = Client(server)
            put(server, message, "1.M1P1.test,S=%d,W=%d:2," % (len(message), w))
            client.command(b"SELECT INBOX")
            assert client.literal("BODY.PEEK[]") == wire(message)


def test_a_file_that_shrank_gives_what_is_there(build):
    """Seen before the literal is announced: the rest of the session isn't affected."""
    message = b"Subject: x\n\n" + b"a line\n" * 40000
    with Server(build) as server:
        client = Client(server)
        path = put(server, message, "1.M1P1.test,S=%d:2," % len(message))
        client.command(b"SELECT INBOX")
        client.command(b"FETCH 1 RFC822.SIZE")
        with open(path, "r+b") as f:
            f.truncate(100000)
        assert client.literal("BODY.PEEK[]") == wire(message[:100000])
        assert b" OK" in client.command(b"NOOP")[1]


def test_no_literal_has_a_nul(build):
    """RFC 3501 9: CHAR8. 0x80 stands for it, in small and large messages, in sections and selected fields."""
    small = b"Subject: a\0b\n\nx\0y\0\n"
    large = b"Subject: \0\n\n" + b"a\0 line\0\n" * 40000
    with Server(build) as server:
        client = Client(server)
        put(server, small, "1.M1P1.test:2,")
        put(server, large, "2.M1P1.test:2,")
        client.command(b"SELECT INBOX")
        for number, message in (1, small), (2, large):
            shown = wire(message).replace(b"\0", b"\x80")
            header, text = shown.split(b"\r\n\r\n", 1)
            for _ in range(2):  # the second time from the cache
                assert client.literal("BODY.PEEK[]", number) == shown
                assert client.literal("BODY.PEEK[TEXT]", number) == text
                assert client.literal("BODY.PEEK[1]", number) == text
                assert client.literal("BODY.PEEK[]<5.300000>", number) == shown[5:300005]
                assert client.literal("BODY.PEEK[HEADER]", number) == header + b"\r\n\r\n"
                assert client.literal("BODY.PEEK[HEADER.FIELDS (Subject)]", number) == header + b"\r\n\r\n"
                assert client.literal("BODY.PEEK[HEADER.FIELDS.NOT (To)]", number) == header + b"\r\n\r\n"


if __name__ == "__main__":
    sys.exit(harness.main(globals()))
