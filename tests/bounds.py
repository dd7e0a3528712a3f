#!/usr/bin/env python3
"""What is large or odd, and legal: file names of other servers, thousands of folders, a large message.

    bounds.py BUILD_DIRECTORY [NAME ...]      reduced; with MANSIO_FULL=1 10,000 folders and 500 MB (a million messages:
                                              bench/growth.py)
"""

import hashlib
import os
import pwd
import random
import re
import sys
import threading
import time

import harness
from harness import Server, wait_until

FULL = os.environ.get("MANSIO_FULL") == "1"
FOLDERS = 10000 if FULL else 600
LARGE_MB = 500 if FULL else 24
PRIVATE_LIMIT_KB = 64 * 1024

# Name in cur/ (the Maildir page, Courier, Dovecot, qmail, mutt, offlineimap and cp have all made such) -> flags
NAMES = {
    "1700000000.M1P1.host": "",
    "1700000001.M1P1.host:2,": "",
    "1700000002.M1P1.host:2,S": "\\Seen",
    "1700000003.M1P1.host,S=%d:2,RS": "\\Answered \\Seen",
    "1700000004.M1P1.host,S=%d,W=%d:2,FS": "\\Flagged \\Seen",
    "1700000005.M1P1.host,S=99999999:2,S": "\\Seen",              # says a false size
    "1700000006.M1P1.host,W=3:2,": "",
    "1700000007.M1P1.host,S=%d,X=abc,Y=:2,DT": "\\Draft \\Deleted",  # fields nobody knows
    "1700000008.M1P1V0000000000000803I0000000000ABCDEF_0.HOST.EXAMPLE.ORG,S=%d:2,S": "\\Seen",
    "1700000009.12345_1.MAIL\\057BOX\\072X:2,F": "\\Flagged",      # slash and colon of a host's name
    "1700000010_1.1234.host,U=17,FMD5=7e33429f656f1e6e9d79b29c3f82c57e:2,S": "\\Seen",
    "1700000011.M1P1.host:2,SR": "\\Seen \\Answered",             # letters in the wrong order
    "1700000012.M1P1.host:2,SSS": "\\Seen",
    "1700000013.M1P1.host:2,SXYZ": "\\Seen",                      # letters nobody knows
    "1700000014.M1P1.host:2,S,Xfield=1": "\\Seen",                # a field behind the letters
    "1700000015.M1P1.host:1,experimental": "",
    "1700000016.M1P1.host:3,S": "",
    "1700000017.M1P1.host:S": "",
    "1700000018.M1P1.host:2": "",
    "1700000019.M1P1.host!2,S": "",                               # where a colon can't be in a name
    "1700000020.M1P1.host;2,S": "",
    "1700000021.M1P1.host:2,S:2,F": "\\Seen",
    "1700000022 with spaces in it:2,S": "\\Seen",
    " begins with a space": "",
    "tab\tand\x01control:2,S": "\\Seen",
    "1700000023.caf\u00e9.\u6771\u4eac:2,F": "\\Flagged",
    b"1700000024.latin1.\xe9\xff:2,F": "\\Flagged",
    "no digits at all": "",
    "-": "",
    "7": "",
    "%s %d {5} \"quote\\back*(": "",
    "message.eml": "",
    "99999999999999999999.M99999999999P1.host:2,S": "\\Seen",
    "n" * 255: "",
    "m" * 250 + ":2,FS": "\\Flagged \\Seen",
    "k" * 252 + ":2,": "",
}
IGNORED = (".1700000100.hidden", ".1700000101.host:2,S", "..odd", ":2,S", "two\nlines")


def text(n):
    return ("From: a@example.org\nSubject: message %d\nMessage-ID: <%d@bounds.example.org>\n\nbody of %d\n%s\n" %
            (n, n, n, "line\n" * (n % 7))).encode()


def wire(n):
    return text(n).replace(b"\n", b"\r\n")


def put(server, path, data):
    if isinstance(path, str):
        path = path.encode()
    with open(path, "wb") as f:
        f.write(data)
    if server.mail_user is not None:
        entry = pwd.getpwnam(server.mail_user)
        os.chown(path, entry.pw_uid, entry.pw_gid)


def put_names(server, part):
    """Every odd name in a part of ann's INBOX: number of the message -> (name, flags)."""
    placed = {}
    for n, (name, flags) in enumerate(NAMES.items()):
        raw = name if isinstance(name, bytes) else name.encode()
        data = text(n)
        if b",S=%d" in raw:
            raw = raw.replace(b",S=%d", b",S=%d" % len(data)).replace(b",W=%d", b",W=%d" % len(wire(n)))
        put(server, os.path.join(server.maildir().encode(), part.encode(), raw), data)
        placed[n] = (raw, set(flags.split()))
    for name in IGNORED:
        put(server, os.path.join(server.maildir(), part, name), b"not a message\n")
    os.mkdir(os.path.join(server.maildir(), part, "directory"))
    return placed


def listing(c):
    """Number of the message -> (UID, flags); every octet and size checked."""
    found = {}
    if c.select("INBOX")[1] == [b"0"]:
        return found
    for item in c.uid("FETCH", "1:*", "(FLAGS RFC822.SIZE ENVELOPE BODY.PEEK[])")[1]:
        if not isinstance(item, tuple):
            continue
        n = int(re.search(rb"Subject: message (\d+)", item[1]).group(1))
        assert item[1] == wire(n), "message %d: %r" % (n, item[1])
        assert b"RFC822.SIZE %d " % len(wire(n)) in item[0], item[0]
        assert b"<%d@bounds" % n in item[0], item[0]
        uid = int(re.search(rb"UID (\d+)", item[0]).group(1))
        flags = set(re.search(rb"FLAGS \(([^)]*)\)", item[0]).group(1).decode().split()) - {"\\Recent"}
        assert n not in found, "message %d is there twice" % n
        found[n] = (uid, flags)
    return found


def names_on_disk(server, part="cur"):
    folder = os.path.join(server.maildir().encode(), part.encode())
    return {n for n in os.listdir(folder) if os.path.isfile(os.path.join(folder, n)) and n[:1] != b"."
            and n != b":2,S" and b"\n" not in n}


def letters_of(name):
    return name.partition(b":2,")[2].partition(b",")[0]


def test_names_of_other_servers(build):
    with Server(build) as server:
        server.imap().logout()
        placed = put_names(server, "cur")
        c = server.imap()
        first = listing(c)
        assert first.keys() == placed.keys(), "not seen: %s" % [placed[n][0] for n in placed.keys() - first.keys()]
        for n, (name, flags) in placed.items():
            assert first[n][1] - {"x"} == flags or flags == first[n][1], "%r: %s" % (name, first[n][1])
        assert c.select("INBOX")[0] == "OK" and names_on_disk(server) == {name for name, _ in placed.values()}, \
            "looking renamed files"
        # one flag more: the UID stays, and so do fields and letters that aren't ours
        assert c.store("1:*", "+FLAGS", "(\\Answered)")[0] == "OK"
        second = listing(c)
        for n, (uid, flags) in first.items():
            assert second[n] == (uid, flags | {"\\Answered"}), "%r: %s, %s" % (placed[n][0], second[n], first[n])
        for name in names_on_disk(server):
            assert b"R" in letters_of(name), name
        kept = b"\n".join(names_on_disk(server))
        for piece in (b",X=abc,Y=:2,DRT", b":2,RSXYZ", b":2,RS,Xfield=1", b"host:1,experimental:2,R", b"MAIL\\057BOX\\072X:2,FR",
                      b"host!2,S:2,R", b"latin1.\xe9\xff:2,FR", b"HOST.EXAMPLE.ORG,S="):
            assert piece in kept, "%r isn't there any more:\n%r" % (piece, kept)
        # another session, POP3, COPY, MOVE
        other = server.imap()
        assert listing(other) == second, "a second session sees something else"
        p = server.pop3()
        assert p.stat()[0] == len(placed)
        sizes = [int(line.split()[1]) for line in p.list()[1]]
        assert sorted(sizes) == sorted(len(wire(n)) for n in placed), "sizes in POP3"
        assert b"\r\n".join(p.retr(1)[1]) + b"\r\n" in [wire(n) for n in placed]
        p.quit()
        other.create("copies")
        other.create("moved")
        assert other.copy("1:*", "copies")[0] == "OK"
        other.noop()
        assert other.uid("MOVE", "1:*", "moved")[0] == "OK"
        for folder in ("copies", "moved"):
            assert other.select(folder)[1] == [b"%d" % len(placed)], folder
            assert other.store("1:*", "+FLAGS", "(\\Deleted)")[0] == "OK"
            assert len(other.expunge()[1]) == len(placed)
        assert listing(c) == {} and names_on_disk(server) == set()
        assert server.ctl("mailbox", "check", "ann").returncode == 0
        assert "panic" not in server.log() and "error:" not in server.log(), server.log()[-2000:]


def test_names_in_new(build):
    """The same names as a delivery: each becomes a message, and moves to cur/ when a session selects."""
    with Server(build) as server:
        server.imap().logout()
        placed = put_names(server, "new")
        c = server.imap()
        c.select("INBOX", readonly=True)
        assert len(names_on_disk(server, "new")) == len(placed), "EXAMINE moved files"
        assert listing(c).keys() == placed.keys()
        assert names_on_disk(server, "new") == set() and len(names_on_disk(server)) == len(placed)
        assert server.ctl("mailbox", "check", "ann").returncode == 0


def test_two_files_of_one_base(build):
    """Names that differ only in the info, and one name in new/ and cur/: different messages, none is lost or hidden."""
    with Server(build) as server:
        server.imap().logout()
        folder = server.maildir()
        put(server, os.path.join(folder, "cur", "1700000000.twin:2,"), text(0))
        put(server, os.path.join(folder, "cur", "1700000000.twin:2,S"), text(1))
        put(server, os.path.join(folder, "cur", "1700000000.twin:2,FRS"), text(2))
        put(server, os.path.join(folder, "cur", "1700000001.other:2,S"), text(3))
        put(server, os.path.join(folder, "new", "1700000001.other"), text(4))
        c = server.imap()
        wait_until(lambda: len(listing(c)) == 5, 15, "five messages")
        before = listing(c)
        assert c.store("1:*", "+FLAGS", "(\\Flagged)")[0] == "OK"
        after = listing(c)
        assert {n: u for n, (u, _) in before.items()} == {n: u for n, (u, _) in after.items()}
        # and beside a message that is known: its UID goes on to mean it
        first = next(n for n in names_on_disk(server) if n.startswith(b"1700000001.other"))
        uid = {n: u for n, (u, _) in after.items()}
        put(server, os.path.join(folder.encode(), b"cur", first.partition(b":2,")[0] + b":2,DS"), text(5))
        wait_until(lambda: len(listing(c)) == 6, 15, "six messages")
        assert {n: u for n, (u, _) in listing(c).items() if n != 5} == uid
        assert server.ctl("mailbox", "check", "ann").returncode == 0


def timed(limits, name, seconds, call, *arguments):
    started = time.monotonic()
    result = call(*arguments)
    took = time.monotonic() - started
    print("    %-44s %8.3f s" % (name, took))
    if took > seconds:
        limits.append("%s took %.1f s" % (name, took))
    return result


def make_folders(server, names):
    for name in names:
        for part in ("", "tmp", "new", "cur"):
            path = os.path.join(server.maildir(), "." + name, part)
            os.mkdir(path, 0o700)
            if server.mail_user is not None:
                entry = pwd.getpwnam(server.mail_user)
                os.chown(path, entry.pw_uid, entry.pw_gid)


def test_many_folders(build):
    """LIST, LSUB, STATUS, RENAME of a parent, and a login, in an account of very many folders."""
    slow = []
    with Server(build, {"auto_folders": ""}) as server:
        server.imap().logout()
        names = ["f%02d.g%02d.h%05d" % (n % 20, n // 20 % 20, n) for n in range(FOLDERS)]
        make_folders(server, names)
        with open(os.path.join(server.maildir(), "subscriptions"), "w") as f:
            f.write("".join(n + "\n" for n in names[::2]))
        os.chmod(os.path.join(server.maildir(), "subscriptions"), 0o666)
        c = server.imap()
        for again in ("", ", again"):
            listed = timed(slow, "LIST \"\" *" + again, 10, c.list, '""', "*")[1]
            assert len(listed) == 1 + FOLDERS, "%d of %d listed" % (len(listed), FOLDERS)
        assert len(timed(slow, "LIST \"\" %", 10, c.list, '""', "%")[1]) == 21
        assert len(timed(slow, "LIST \"\" f07.%", 10, c.list, '""', "f07.%")[1]) == \
            len({n.split(".")[1] for n in names if n.startswith("f07")})
        assert len(timed(slow, "LIST one", 10, c.list, '""', names[7])[1]) == 1
        assert len(timed(slow, "LSUB \"\" *", 10, c.lsub, '""', "*")[1]) == (FOLDERS + 1) // 2
        typ, data = timed(slow, "LIST RETURN (STATUS), first", 20, c._simple_command,
                          "LIST", '"" * RETURN (STATUS (MESSAGES UIDNEXT))')
        assert typ == "OK" and len(c.untagged_responses.pop("STATUS")) == FOLDERS + 1
        c.untagged_responses.pop("LIST", None)
        typ, data = timed(slow, "LIST RETURN (STATUS), again", 10, c._simple_command,
                          "LIST", '"" * RETURN (STATUS (MESSAGES UIDNEXT))')
        assert typ == "OK" and len(c.untagged_responses.pop("STATUS")) == FOLDERS + 1
        c.untagged_responses.pop("LIST", None)
        timed(slow, "login", 10, lambda: server.imap().logout())
        assert timed(slow, "STATUS one", 1, c.status, names[3], "(MESSAGES)")[0] == "OK"
        assert timed(slow, "CREATE one", 2, c.create, "new.folder")[0] == "OK"
        assert timed(slow, "APPEND to one", 2, c.append, names[3], None, None, wire(3))[0] == "OK"
        assert timed(slow, "SUBSCRIBE one", 2, c.subscribe, "new.folder")[0] == "OK"
        assert timed(slow, "RENAME of a parent", 60, c.rename, "f07", "renamed")[0] == "OK"
        under = [n for n in names if n.startswith("f07.")]
        assert c.list('""', "f07.*")[1] == [None]
        assert len(c.list('""', "renamed.*")[1]) == len(under)
        assert c.select(names[3])[1] == [b"1"]
        assert timed(slow, "DELETE one", 2, c.delete, names[9])[0] == "OK"
        assert timed(slow, "mailbox check", 60, server.ctl, "mailbox", "check", "ann").returncode == 0
        assert "panic" not in server.log() and "error:" not in server.log(), server.log()[-2000:]
        assert not slow, slow


class Memory(threading.Thread):
    """The most private memory that any worker of the server had."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.most, self.stop = server, 0, threading.Event()

    def run(self):
        while not self.stop.wait(0.05):
            for pid in self.server.children():
                try:
                    with open("/proc/%d/smaps_rollup" % pid) as f:
                        self.most = max(self.most, sum(map(int, re.findall(r"^Private_\w+:\s+(\d+)", f.read(), re.M))))
                except OSError:
                    pass


def large_parts(octets):
    """A message with an attachment of that size, in pieces; and a text behind it that nothing else holds."""
    rng = random.Random(5)
    yield (b"From: a@example.org\r\nSubject: large\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=zz\r\n\r\n"
           b"--zz\r\nContent-Type: text/plain\r\n\r\nsmall\r\n--zz\r\nContent-Type: application/octet-stream; name=x.bin\r\n"
           b"Content-Transfer-Encoding: base64\r\n\r\n")
    block = b"".join(b"%0152x" % rng.getrandbits(608) for _ in range(512))
    block = b"".join(block[i:i + 76] + b"\r\n" for i in range(0, len(block), 76))
    done = 0
    while done < octets:
        yield b"%076d\r\n" % done + block
        done += len(block) + 78
    yield b"--zz\r\nContent-Type: text/plain\r\n\r\nneedle-at-the-end\r\n--zz--\r\n"


def large_message(n_mb):
    """Its size and hash, without keeping it."""
    size, sha = 0, hashlib.sha256()
    for piece in large_parts(n_mb << 20):
        size += len(piece)
        sha.update(piece)
    return size, sha.hexdigest()


class Line:
    """A client that doesn't keep what it reads."""

    def __init__(self, server):
        self.s = server.connect("imap")
        self.s.settimeout(600)
        self.f = self.s.makefile("rb", 1 << 18)
        self.f.readline()
        self.ask(b"LOGIN ann " + harness.PASSWORD.encode())

    def ask(self, command, pieces=()):
        """Untagged lines, literals as (size, hash, first octets); an OK is required."""
        self.s.sendall(b"a " + command + b"\r\n")
        lines = []
        while True:
            line = self.f.readline()
            if line.startswith(b"+"):
                for piece in pieces:
                    self.s.sendall(piece)
                self.s.sendall(b"\r\n")
                continue
            if line.startswith(b"a "):
                assert line.startswith(b"a OK"), line
                return lines + [line]
            lines.append(line)
            found = re.search(rb"\{(\d+)\}\r\n$", line)
            if found:
                lines.append(self.literal(int(found.group(1))))

    def literal(self, size):
        left, sha, head = size, hashlib.sha256(), b""
        while left > 0:
            block = self.f.read(min(left, 1 << 18))
            assert block, "connection closed in a literal"
            sha.update(block)
            head = head or block[:200]
            left -= len(block)
        return size, sha.hexdigest(), head


def test_large_message(build):
    size, sha = large_message(LARGE_MB)
    slow = []
    with Server(build, {"append_limit": "1000M", "command_timeout": "600", "auto_folders": ""}) as server:
        memory = Memory(server)
        memory.start()
        c = Line(server)
        timed(slow, "APPEND %d octets" % size, 300, c.ask, b"APPEND INBOX {%d}" % size, large_parts(LARGE_MB << 20))
        c.ask(b"SELECT INBOX")
        whole = timed(slow, "FETCH BODY[]", 120, c.ask, b"FETCH 1 (RFC822.SIZE BODY.PEEK[])")
        assert b"RFC822.SIZE %d " % size in whole[0] and whole[1][:2] == (size, sha), whole[:2]
        got = timed(slow, "FETCH BODYSTRUCTURE", 60, c.ask, b"FETCH 1 (BODYSTRUCTURE ENVELOPE)")[0]
        assert b"x.bin" in got and b"\"large\"" in got, got
        got = timed(slow, "FETCH BODY[3]", 60, c.ask, b"FETCH 1 BODY.PEEK[3]")
        assert got[1][2].rstrip() == b"needle-at-the-end", got
        want = b"".join(large_parts(LARGE_MB << 20)) if LARGE_MB <= 64 else None
        for at in (0, 65536, size // 2, size - 100, size + 5):
            got = timed(slow, "FETCH BODY[]<%d.100000>" % at, 60, c.ask, b"FETCH 1 BODY.PEEK[]<%d.100000>" % at)
            expected = max(0, min(100000, size - at))
            assert (got[1][0] if isinstance(got[1], tuple) else 0) == expected, got[:2]
            if want is not None and expected:
                assert got[1][1] == hashlib.sha256(want[at:at + 100000]).hexdigest(), "octets at %d" % at
        part = hashlib.sha256()
        for at in range(0, size, 1 << 22) if LARGE_MB <= 64 else ():
            c.s.sendall(b"b FETCH 1 BODY.PEEK[]<%d.%d>\r\n" % (at, 1 << 22))
            n = int(re.search(rb"\{(\d+)\}", c.f.readline()).group(1))
            part.update(c.f.read(n))
            while not c.f.readline().startswith(b"b OK"):
                pass
        assert LARGE_MB > 64 or part.hexdigest() == sha, "pieces differ from the whole"
        got = timed(slow, "SEARCH BODY", 120, c.ask, b"SEARCH BODY needle-at-the-end")
        assert b"SEARCH 1" in got[0], got
        c.ask(b"CREATE other")
        timed(slow, "COPY", 10, c.ask, b"COPY 1 other")
        c.ask(b"SELECT other")
        got = c.ask(b"FETCH 1 (RFC822.SIZE BODY.PEEK[])")
        assert got[1][:2] == (size, sha)
        timed(slow, "POP3 RETR", 120, pop3_retr, server, size, sha)
        memory.stop.set()
        print("    most private memory of a worker: %d KB" % memory.most)
        assert memory.most < PRIVATE_LIMIT_KB, "%d KB of private memory" % memory.most
        assert "panic" not in server.log() and "error:" not in server.log(), server.log()[-2000:]
        assert not slow, slow


def pop3_retr(server, size, sha):
    s = server.connect("pop3")
    f = s.makefile("rb", 1 << 18)
    f.readline()
    for line in (b"USER ann", b"PASS " + harness.PASSWORD.encode(), b"LIST 1"):
        s.sendall(line + b"\r\n")
        answer = f.readline()
        assert answer.startswith(b"+OK"), answer
    assert int(answer.split()[2]) == size, answer
    s.sendall(b"RETR 1\r\n")
    assert f.readline().startswith(b"+OK")
    got, total = hashlib.sha256(), 0
    for line in f:
        if line == b".\r\n":
            break
        line = line[1:] if line[:1] == b"." else line
        got.update(line)
        total += len(line)
    assert (total, got.hexdigest()) == (size, sha), "%d octets" % total
    s.sendall(b"QUIT\r\n")
    s.close()


if __name__ == "__main__":
    sys.exit(harness.main(globals()))
