"""Does mansio-bench notice wrong answers? For compare.py --smoke: a proxy before the server falsifies one answer, or one
thing that is sent to it, and the workload must say that it's wrong.
"""

import re
import socket
import subprocess
import threading

from idle import PASSWORD

# Workload, what goes wrong, pattern of a line, its replacement; "sent": in what the client sends. Every match is
# replaced, where not "once"; "" ends the connection.
LIES = [
    ("login", "a login refused", rb"^t1 OK", b"t1 NO", "once"),
    ("login16", "a login refused", rb"^t1 OK", b"t1 NO", "once"),
    ("login-tls", "a connection lost", rb"^.", b"", "sent"),
    ("select-new", "a message missing", rb"^\* 200 EXISTS", b"* 199 EXISTS", ""),
    ("select", "a message missing in an answer but the first", rb"^(\* OK \[UIDNEXT )\d+", rb"\g<1>3", ""),
    ("flags", "no flags", rb"FLAGS \([^)]*\)", b"FLAGS ()", ""),
    ("flags", "one message again and again", rb"^\* \d+ FETCH", b"* 1 FETCH", ""),
    ("structure", "one size", rb"RFC822\.SIZE \d", b"RFC822.SIZE 9", "once"),
    ("structure", "an envelope of another message", rb"<7@bench", b"<8@bench", ""),
    ("structure", "a structure of another message", rb'"=_7"', b'"=_3"', ""),
    ("headers", "a subject", rb"^Subject: Re", b"Subject: Fw", "once"),
    ("full", "a letter", rb"harbour", b"hArbour", "once"),
    ("fetch-random", "a letter", rb"harbour", b"hArbour", "once"),
    ("chunks", "a letter", rb"abbb", b"aBbb", "once"),
    ("store", "flags not set", rb"\\Flagged", rb"\\Draft", "sent"),
    ("store-single", "flags not set", rb"\\Flagged", rb"\\Draft", "sent"),
    ("search-unseen", "a hit too few", rb"^(\* SEARCH.*) \d+", rb"\1", ""),
    ("search-unseen", "another hit", rb"^\* SEARCH 10 ", b"* SEARCH 11 ", ""),
    ("search-subject", "a hit too few", rb"^(\* SEARCH.*) \d+", rb"\1", ""),
    ("search-body", "a hit too few", rb"^(\* SEARCH.*) \d+", rb"\1", ""),
    ("append", "a letter", rb"xxxx", b"xxxy", "sent"),
    ("append", "one refused", rb"^t9 OK", b"t9 NO", ""),
    ("append8", "a letter", rb"xxxx", b"xxxy", "sent"),
    ("copy", "a message missing", rb"COPY 1:\d+", b"COPY 1:199", "sent"),
    ("copy", "a letter in a copy", rb"harbour", b"hArbour", "once"),
    ("expunge", "other messages", rb"STORE 1:\d+ \+FLAGS.SILENT \(.Deleted", rb"STORE 1:9 +FLAGS.SILENT (\\Deleted", "sent"),
    ("noop", "a delivery missing", rb"^\* 210 EXISTS", b"* 209 EXISTS", ""),
    ("idle-latency", "a connection lost", rb"^\* 205 EXISTS", b"", ""),
    ("status", "messages that aren't there", rb"MESSAGES 1\b", b"MESSAGES 2", ""),
    ("one-account", "a message missing", rb"^\* 1[0-9]3 FETCH", b"* OK", ""),
    ("storm", "a login refused", rb"^t1 OK", b"t1 NO", "once"),
    ("pop3-login", "the size of a maildrop", rb"^(\+OK 200 )\d", rb"\g<1>9", ""),
    ("pop3-uidl", "one identifier for all", rb"^(\d+) \S+", rb"\1 same", ""),
    ("pop3-uidl", "a line missing", rb"^7 .*\r\n", b"\r\n", ""),
    ("pop3-retr", "a letter", rb"harbour", b"hArbour", "once"),
    ("pop3-dele", "one not deleted", rb"DELE 77", b"NOOP", "sent"),
    ("idle", "no IDLE", rb"^\+ ", b"* OK ", ""),
    ("idle", "an empty mailbox", rb"^\* \d+ EXISTS", b"* 0 EXISTS", ""),
    ("rush", "an empty mailbox", rb"^\* \d+ EXISTS", b"* 0 EXISTS", ""),
    ("rush-tls", "a connection lost", rb"^.", b"", "sent"),
]


class Liar:
    """Stands before a server's port, and falsifies what the pattern matches."""

    def __init__(self, port, pattern, wrong, how):
        self.target, self.pattern, self.wrong, self.how = port, re.compile(pattern, re.M), wrong, how
        self.told = 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=600)
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            for source, sink, false in ((client, server, self.how == "sent"), (server, client, self.how != "sent")):
                sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self.carry, args=(source, sink, false), daemon=True).start()

    def falsify(self, data):
        if self.how == "once" and self.told > 0:
            return data
        data, count = self.pattern.subn(self.wrong, data, count=1 if self.how == "once" else 0)
        self.told += count
        return data

    def carry(self, source, sink, false):
        """Whole lines, so that no pattern is cut in two."""
        rest = b""
        try:
            while True:
                block = source.recv(1 << 16)
                rest += block
                end = rest.rfind(b"\n") + 1 if block and false else len(rest)
                data, rest = rest[:end], rest[end:]
                if false and data:
                    before = self.told
                    data = self.falsify(data)
                    if self.told > before and not self.wrong:
                        break
                sink.sendall(data)
                if not block:
                    break
        except OSError:
            pass
        for s in (source, sink):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept(), which would take a connection more
        self.thread.join()
        self.listener.close()


def unnoticed(bench, server, source, messages):
    """Tells all lies; what wasn't called wrong, or was never told."""
    faults = []
    for workload, what, pattern, wrong, how in LIES:
        server.fill("bench", source)
        service = "pop3" if workload.startswith("pop3") else "imaps" if workload.endswith("-tls") else "imap"
        liar = Liar(server.ports[service], pattern, wrong, how)
        try:
            done = subprocess.run([bench, "--messages", str(messages), "--user", "bench", "--password", PASSWORD,
                                   "--users", "u", "--connections", "20", "--maildir", server.maildir("bench"),
                                   "--" + service, str(liar.port), workload],
                                  input="end\n", capture_output=True, text=True, timeout=60)
        except subprocess.TimeoutExpired:
            faults.append("%s, %s: hangs" % (workload, what))
            continue
        finally:
            liar.close()
        if liar.told == 0:
            faults.append("%s, %s: never told, %s" % (workload, what, done.stdout.strip()))
        elif done.returncode != 1:
            faults.append("%s, %s: taken for right (status %d)" % (workload, what, done.returncode))
    return faults
