#!/usr/bin/env python3
"""How the cost of single operations grows with the size of a mailbox, and how much memory a session with it takes.

    growth.py BUILD_DIRECTORY [--sizes 1000,10000,100000,1000000] [--servers mansio,dovecot] [--times N]
              [--memory] [--json FILE] [--plot DIRECTORY] [--smoke]

The messages have 1 KB and lie in cur/ of one folder (a million take 5 GB of disk and some minutes). Dovecot is measured
up to 100,000. For each operation: microseconds of wall time (the median of all repetitions, client included) and of CPU
time of the whole server (the mean). --memory walks through the largest mailbox from end to end with one session, and
samples what its worker holds (/proc/PID/smaps_rollup): private memory is the limit of 64 MB, shared pages are files'.
--smoke: 2,000 and 10,000 messages, Mansio alone; fails if an operation that needn't grows, or the memory is over the limit.
"""

import argparse
import json
import os
import pwd
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from compare import MAIL_USER, PASSWORD, Dovecot, Mansio, clean_up, end_by_signals, write  # noqa: E402
from idle import draw  # noqa: E402

PRIVATE_LIMIT_KB = 64 * 1024
DOVECOT_MOST = 100000
PATIENCE_S = 10
TOUCHED = "NOOP after another program's change"
FLAT = ("STATUS", "warm SELECT", "FETCH one FLAGS", "FETCH one by number", "FETCH one body", "STORE one", "APPEND",
        "NOOP after APPEND", "COPY one", "EXPUNGE one", "NOOP")  # what need not grow
WORDS = "the letter of march came late because road to harbour was closed and nobody knew which boat carried it".split()


def message(n):
    """About 1 KB, each different."""
    lines = [" ".join(WORDS[(n * 7 + i * 3 + j) % len(WORDS)] for j in range(10)) for i in range(10)]
    return ("From: \"Sender %d\" <sender%d@example.org>\nTo: user@example.com\nSubject: letter number %d\n"
            "Date: %02d Sep 2020 10:%02d:%02d +0000\nMessage-ID: <%d@growth.example.org>\nMIME-Version: 1.0\n"
            "Content-Type: text/plain; charset=us-ascii\n\n%s\nend of %d\n" %
            (n % 97, n % 97, n, 1 + n % 28, n // 60 % 60, n % 60, n, "\n".join(lines), n)).encode()


def make_maildir(path, count):
    """cur/ with messages 1 to count, every tenth unread, owned by the mail's user."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if os.geteuid() == 0:
                entry = pwd.getpwnam(MAIL_USER)
                os.setgroups([])
                os.setgid(entry.pw_gid)
                os.setuid(entry.pw_uid)
            for part in ("", "tmp", "new", "cur"):
                os.makedirs(os.path.join(path, part), 0o700, exist_ok=True)
            os.chdir(os.path.join(path, "cur"))
            for n in range(1, count + 1):
                data = message(n)
                name = "%d.M%dP1.growth,S=%d,W=%d:2,%s" % (1600000000 + n, n, len(data), len(data) + data.count(b"\n"),
                                                         "" if n % 10 == 0 else "S")
                fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                os.write(fd, data)
                os.close(fd)
            status = 0
        finally:
            os._exit(status)
    if os.waitpid(child, 0)[1] != 0:
        raise AssertionError("cannot make " + path)


class Client:
    """One IMAP session; answers are read to the tagged line and checked for OK."""

    def __init__(self, server, service="imap"):
        self.s = socket.create_connection(("127.0.0.1", server.ports[service]), timeout=3600)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.tag = 0
        self.s.recv(4096)
        if service == "imap":
            self.ask("LOGIN bench " + PASSWORD)

    def ask(self, command, expect=b"", keep=True):
        """The answer, which must hold `expect`; or, of a long one (keep = False), how many octets and lines."""
        self.tag += 1
        self.s.sendall(b"%d %s\r\n" % (self.tag, command.encode()))
        got = self.read(b"\r\n%d " % self.tag, command, keep)
        if expect and expect not in got:
            raise AssertionError("%s: %r isn't in %r" % (command, expect, got[:1000]))
        return got

    def read(self, end, command, keep):
        data, octets, lines = b"\r\n", 0, 0
        while True:
            block = self.s.recv(1 << 18)
            if not block:
                raise AssertionError("connection closed: " + command)
            octets += len(block)
            lines += block.count(b"\n")
            data += block
            at = data.rfind(end)
            if at >= 0 and data.endswith(b"\r\n"):
                break
            if not keep:
                data = data[-400:]
        if not data[at + len(end):].startswith(b"OK"):
            raise AssertionError("%s: %r" % (command, data[at:]))
        return data if keep else (octets, lines)

    def append(self, folder, data):
        self.tag += 1
        self.s.sendall(b"%d APPEND %s {%d}\r\n" % (self.tag, folder.encode(), len(data)))
        got = self.s.recv(4096)
        if not got.startswith(b"+"):
            raise AssertionError("APPEND: %r" % got)
        self.s.sendall(data + b"\r\n")
        return self.read(b"\r\n%d " % self.tag, "APPEND", True)

    def close(self):
        self.ask("LOGOUT")
        self.s.close()


class Meter:
    """Repeats operations; wall and CPU of each kind."""

    def __init__(self, server):
        self.server = server
        self.table = {}

    def cpu(self):
        """Seconds of CPU of the whole server, None if nobody counts them."""
        if not self.server.cpu_file:
            return None
        with open(self.server.cpu_file) as f:
            text = f.read()
        found = re.search(r"usage_usec (\d+)", text)
        return int(found.group(1)) / 1e6 if found else int(text) / 1e9

    def run(self, name, times, operation):
        """How often it was done: fewer times where a server takes very long."""
        walls, before = [], self.cpu()
        for n in range(times):
            started = time.perf_counter()
            operation(n)
            walls.append(time.perf_counter() - started)
            if sum(walls) > PATIENCE_S:
                times = n + 1
                break
        after = self.cpu()
        self.table[name] = {"wall": 1e6 * statistics.median(walls), "least": 1e6 * min(walls),
                            "cpu": None if before is None else 1e6 * (after - before) / times}
        return times


def measure(server, size, times, watch=None):
    """All operations on a mailbox of that size. watch: a list for the memory of the first look."""
    meter = Meter(server)
    target = os.path.join(server.mail, "bench")
    shutil.rmtree(target, ignore_errors=True)
    os.mkdir(target, 0o700)
    server.own(target)
    make_maildir(server.maildir("bench"), size)
    first = Client(server)
    sampler = Sampler(worker_of(server)) if watch is not None else None
    if sampler:
        sampler.doing = "first SELECT"
        sampler.start()
    exists = b"\r\n* %d EXISTS" % size
    meter.run("first SELECT", 1, lambda n: first.ask("SELECT INBOX", exists))
    if sampler:
        sampler.stop.set()
        watch.append(sampler.row(meter.table["first SELECT"]["wall"] / 1e6, 0, 0))
    first.ask("CREATE other")
    time.sleep(2.5)  # times of directories younger than a second are looked at again
    first.ask("SELECT INBOX")
    c, other = Client(server), Client(server)
    middle = [1 + (n * 7919) % size for n in range(times)]
    data = message(0).replace(b"\n", b"\r\n")
    meter.run("login, SELECT, LOGOUT", max(3, times // 10), lambda n: session(server, exists))
    meter.run("warm SELECT", times, lambda n: c.ask("SELECT INBOX", exists))
    meter.run("STATUS", times, lambda n: other.ask("STATUS INBOX (MESSAGES UIDNEXT UNSEEN)", b"MESSAGES %d" % size))
    c.ask("FETCH 1 UID")  # the numbers are loaded once
    meter.run("NOOP", times, lambda n: c.ask("NOOP"))
    meter.run("FETCH one FLAGS", times, lambda n: c.ask("UID FETCH %d FLAGS" % middle[n], b"* %d FETCH" % middle[n]))
    meter.run("FETCH one by number", times, lambda n: c.ask("FETCH %d (UID FLAGS)" % middle[n], b"UID %d" % middle[n]))
    meter.run("FETCH one body", times, lambda n: c.ask("UID FETCH %d BODY.PEEK[]" % middle[n],
                                                           message(middle[n]).replace(b"\n", b"\r\n")))
    meter.run("STORE one", times, lambda n: c.ask("UID STORE %d %sFLAGS (\\Flagged)" % (middle[n // 2], "+-"[n % 2]),
                                                      b"* %d FETCH" % middle[n // 2]))
    appended = meter.run("APPEND", times, lambda n: other.append("INBOX", data))
    meter.run("NOOP after APPEND", times, lambda n: (other.append("INBOX", data), c.ask("NOOP", b" EXISTS\r\n")))
    meter.run("COPY one", times, lambda n: c.ask("UID COPY %d other" % middle[n]))
    meter.run("EXPUNGE one", appended, lambda n: (c.ask("UID STORE %d +FLAGS.SILENT (\\Deleted)" % (size + 1 + n)),
                                              c.ask("UID EXPUNGE %d" % (size + 1 + n),
                                                    b"* %d EXPUNGE" % (size + 1))))
    meter.run("SEARCH UNSEEN", 5, lambda n: c.ask("UID SEARCH UNSEEN", keep=False))
    meter.run("FETCH 1:* FLAGS", 3, lambda n: every_line(c, "FETCH 1:* (UID FLAGS)", size))
    meter.run("first POP3 STAT", 1, lambda n: pop3(server, size))
    meter.run("POP3 login, STAT", max(3, times // 10), lambda n: pop3(server, size))
    for client in (first, c, other):
        client.close()
    return meter.table


def every_line(c, command, size):
    """An answer with a line at least for each message."""
    lines = c.ask(command, keep=False)[1]
    if lines <= size:
        raise AssertionError("%s: %d lines for %d messages" % (command, lines, size))


def session(server, exists):
    c = Client(server)
    c.ask("SELECT INBOX", exists)
    c.close()


def pop3(server, size):
    """At least so many messages."""
    s = socket.create_connection(("127.0.0.1", server.ports["pop3"]), timeout=600)
    f = s.makefile("rb")
    for line in (None, b"USER bench", b"PASS " + PASSWORD.encode(), b"STAT", b"QUIT"):
        if line:
            s.sendall(line + b"\r\n")
        answer = f.readline()
        if not answer.startswith(b"+OK"):
            raise AssertionError("%r: %r" % (line, answer))
        if line == b"STAT" and int(answer.split()[1]) < size:
            raise AssertionError("STAT: %r" % answer)
    s.close()


class Sampler(threading.Thread):
    """The largest private and shared memory of a worker, by the command it was at."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.doing, self.most, self.stop = pid, "", {}, threading.Event()

    def run(self):
        while not self.stop.wait(0.05):
            self.sample()

    def sample(self):
        with open("/proc/%d/smaps_rollup" % self.pid) as f:
            kb = {k: int(v) for k, v in re.findall(r"^(\w+):\s+(\d+) kB", f.read(), re.M)}
        got = (kb["Private_Dirty"] + kb["Private_Clean"], kb["Shared_Clean"] + kb["Shared_Dirty"], kb["Rss"])
        old = self.most.get(self.doing, (0, 0, 0))
        self.most[self.doing] = tuple(map(max, got, old))

    def row(self, seconds, octets, lines):
        """What was seen during the command, printed too."""
        self.sample()
        private, shared, rss = self.most[self.doing]
        print("%-52s %8.2f s %9d lines %11d octets  private %6d KB  shared %6d KB" %
              (self.doing, seconds, lines, octets, private, shared), flush=True)
        return {"command": self.doing, "seconds": seconds, "lines": lines, "octets": octets, "private_kb": private,
                "shared_kb": shared, "rss_kb": rss}


def worker_of(server):
    """The process that serves the only session."""
    done = subprocess.run([server.build + "/mansioctl", "-c", server.conf, "who"], capture_output=True, text=True, check=True)
    found = [line.split()[2] for line in done.stdout.splitlines()[1:] if line.split()[3] == "bench"]
    if len(found) != 1:
        raise AssertionError("who: " + done.stdout)
    return int(found[0])


def memory(server, size):
    """One session goes through the mailbox from end to end."""
    c = Client(server)
    sampler = Sampler(worker_of(server))
    sampler.sample()
    sampler.start()
    most = size // 20
    table = []
    for name, command in (
            ("SELECT", "SELECT INBOX"), ("FETCH 1:* (FLAGS)", "FETCH 1:* (FLAGS)"),
            ("UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)", "UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)"),
            ("ENVELOPE of 5 %", "FETCH 1:%d (ENVELOPE)" % most), ("ENVELOPE of 5 %, again", "FETCH 1:%d (ENVELOPE)" % most),
            ("bodies of 5 %", "FETCH %d:%d (BODY.PEEK[])" % (size - most, size)),
            ("UID SEARCH ALL", "UID SEARCH ALL"), ("SEARCH UNSEEN", "SEARCH UNSEEN"),
            ("SEARCH NOT SEEN OR ...", "SEARCH OR FLAGGED (NOT SEEN SMALLER 100000)"),
            ("SEARCH BODY", "UID SEARCH BODY \"end of %d\"" % (size // 2)),
            ("SEARCH SUBJECT", "UID SEARCH SUBJECT \"number %d\"" % (size // 3)),
            ("STORE 10 %", "STORE 1:%d +FLAGS.SILENT (\\Flagged)" % (size // 10)),
            ("STORE every second of 10 %", "UID STORE %s +FLAGS.SILENT (\\Deleted)" %
             ",".join(str(n) for n in range(1, min(size // 10, 16000), 2))),
            ("EXPUNGE", "EXPUNGE"), ("STORE 5 %, with answers", "STORE 1:%d +FLAGS (\\Deleted)" % most), ("EXPUNGE 5 %", "EXPUNGE"),
            ("COPY 1 %", "UID COPY %d:%d other" % (size - size // 100, size)), ("NOOP", "NOOP"),
            (TOUCHED, "NOOP"), ("CLOSE", "CLOSE")):
        sampler.doing = name
        started = time.monotonic()
        if name == TOUCHED:
            os.utime(os.path.join(server.maildir("bench"), "cur"))
        octets, lines = c.ask(command, keep=False)
        table.append(sampler.row(time.monotonic() - started, octets, lines))
    sampler.stop.set()
    c.close()
    return table


def show(results, sizes):
    """A row for each operation; for each size wall (CPU)."""
    for name, tables in results.items():
        done = [s for s in sizes if s in tables]
        print("\n%s: microseconds for one, wall (CPU)\n%-24s" % (name, "") + "".join("%22d" % s for s in done))
        for operation in tables[done[0]]:
            cells = [tables[s][operation] for s in done]
            print("%-24s" % operation + "".join("%22s" % ("%.0f (%s)" % (c["wall"], "n/a" if c["cpu"] is None else "%.0f" % c["cpu"]))
                                                for c in cells))
    sys.stdout.flush()


def plot(directory, results, sizes):
    """A panel for each operation, a line for each server, all of one scale; and the data files. The last panel is the key."""
    os.makedirs(directory, exist_ok=True)
    lines, walls, key = [], [], []
    for name, tables in results.items():
        done = [s for s in sizes if s in tables]
        data = os.path.join(directory, "growth-%s.dat" % name)
        write(data, "# messages\t" + "\t".join(FLAT) + "\n" + "".join(
            "%d\t%s\n" % (s, "\t".join("%f" % tables[s][o]["wall"] for o in FLAT)) for s in done))
        walls += [tables[s][o]["wall"] for s in done for o in FLAT]
        style = "with linespoints linewidth 2 pointtype 7 linecolor %d title '%s'" % (len(lines) + 1, name)
        lines.append("'%s' using 1:{column} %s" % (data, style))
        key.append("NaN " + style)
    panels = "".join("set title '%s'\nplot %s\n" % (o, ", ".join(lines).format(column=n + 2)) for n, o in enumerate(FLAT))
    ticks = [(10, "10 us"), (100, "100 us"), (1000, "1 ms"), (10000, "10 ms"), (100000, "0.1 s"), (1000000, "1 s")]
    draw(directory, "growth", (1200, 820),
         "set multiplot layout 3,4 title 'Wall time of one operation, by the messages in the mailbox'\nset logscale xy\n"
         "set xrange [%g:%g]\nset yrange [%g:%g]\nset xtics (%s)\nset ytics (%s)\nunset key\n%s"
         "set key center center\nset title 'key'\nunset border\nunset xtics\nunset ytics\nunset grid\nplot %s\nunset multiplot\n" %
         (sizes[0] / 1.5, sizes[-1] * 1.5, min(walls) / 2, max(walls) * 4,
          ", ".join("'%s' %d" % ("%dM" % (s // 1000000) if s % 1000000 == 0 else "%dk" % (s // 1000) if s % 1000 == 0 else s, s)
                    for s in sizes), ", ".join("'%s' %d" % (t, n) for n, t in ticks), panels, ", ".join(key)))


def smoke_faults(results, table, sizes):
    """What grew with the mailbox, by its quickest run, which other load disturbs least; or took too much memory."""
    small, large = (results["mansio"][s] for s in sizes)
    faults = ["%s: %.0f us with %d messages, %.0f with %d" % (o, small[o]["least"], sizes[0], large[o]["least"], sizes[1])
              for o in FLAT if large[o]["least"] > 2 * small[o]["least"] + 150]
    return faults + ["%s: %d KB of private memory" % (row["command"], row["private_kb"])
                     for row in table if row["private_kb"] > PRIVATE_LIMIT_KB]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("build")
    parser.add_argument("--sizes", default="1000,10000,100000,1000000", help="messages in the mailbox")
    parser.add_argument("--servers", default="mansio,dovecot", help="mansio, or mansio,dovecot")
    parser.add_argument("--times", type=int, default=200, help="repetitions of quick operations")
    parser.add_argument("--memory", action="store_true", help="of a session that walks through the largest mailbox")
    parser.add_argument("--json", help="a file for all figures")
    parser.add_argument("--plot", help="a directory for pictures")
    parser.add_argument("--smoke", action="store_true", help="2,000 and 10,000 messages, Mansio alone: what grows?")
    options = parser.parse_args()
    if options.smoke:
        options.sizes, options.servers, options.memory, options.times = "2000,10000", "mansio", True, 100
    sizes = [int(n) for n in options.sizes.split(",")]
    work = tempfile.mkdtemp(prefix="mansio-growth-")
    os.chmod(work, 0o755)
    end_by_signals()
    results, table, servers = {}, [], []
    try:
        servers.append(Mansio(work, os.path.abspath(options.build)))
        if "dovecot" in options.servers and Dovecot.installed():
            servers.append(Dovecot(work, os.path.abspath(options.build)))
        elif "dovecot" in options.servers:
            print("dovecot isn't installed (or needs root): left out")
        for server in servers:
            server.start()
        for size in sizes:
            for server in servers:
                if server.name == "dovecot" and size > DOVECOT_MOST:
                    continue
                watch = table if options.memory and size == sizes[-1] and server is servers[0] else None
                try:
                    results.setdefault(server.name, {})[size] = measure(server, size, options.times, watch)
                except AssertionError as error:
                    if server is servers[0]:
                        raise
                    print("%s with %d messages: %s: left out" % (server.name, size, error))
            show(results, sizes)
        if options.memory:
            print("\none session and %d messages" % sizes[-1])
            table += memory(servers[0], sizes[-1])
        if options.json:
            write(options.json, json.dumps({"growth": results, "memory": table}, indent=1))
        if options.plot:
            plot(options.plot, results, sizes)
    finally:
        clean_up(servers, work)
    if not options.smoke:
        return 0
    faults = smoke_faults(results, table, sizes)
    print("\n".join(faults))
    print("%d passed, %d failed, 0 skipped" % (len(FLAT) + len(table) - len(faults), len(faults)))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
