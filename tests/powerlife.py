"""One account's life with a server that strace watches, for powercut.py: what was done, and what the client was told.

    log, steps, known, regions = record(build)

log: all operations on files (powerlog.Log); steps: Step by Step what was promised, each with the whole World as the client
knew it then; known: contents of messages; regions: Berkeley DB's shared memory at the end.
"""

import copy
import os
import random
import re
import subprocess
import time

import powerlog
from crash_client import Client, Pop3
from harness import Server, Skip, wait_until

FLAGS = {"\\Answered": None, "\\Seen": None, "\\Deleted": None, "\\Flagged": None, "\\Draft": None}


def fnv(data):
    value = 0xcbf29ce484222325
    for octet in data:
        value = (value ^ octet) * 0x100000001b3 & 0xffffffffffffffff
    return value


class Message:
    """content: (octets, sum). flags, keywords: all that it had, one after the other."""

    def __init__(self, content, flags=0, keywords=frozenset()):
        self.content, self.flags, self.keywords = content, [flags], [frozenset(keywords)]


class Folder:
    def __init__(self, validity=None):
        self.validity, self.uidnext, self.messages = validity, 1, {}
        self.loose = []  # delivered, and no UID seen yet


class World:
    """What the client was told."""

    def __init__(self):
        self.folders, self.subscribed = {}, set()


class Step:
    def __init__(self, name, world, time, local):
        self.name, self.world, self.time, self.local = name, world, time, local


class TracedServer(Server):
    """mansiod under strace; one worker a protocol, so that few processes are followed."""

    def start(self):
        self.trace = os.path.join(self.dir, "trace")
        original = self.program

        def program(name):
            return original(name)
        self.program = program
        self.stderr = open(os.path.join(self.dir, "stderr"), "ab")
        command = powerlog.Recorder.command(self.trace) + [self.program("mansiod"), "-F", "-c", self.conf_path]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.stderr, stderr=self.stderr,
                                        start_new_session=True)
        ports = [self.ports["imap"], self.ports["pop3"]]
        wait_until(lambda: self._answers(ports), 30, "the server to start under strace\n" + self.tail())


class Life:
    """What the account goes through; self.steps is what was promised when."""

    def __init__(self, server):
        self.server = server
        self.world = World()
        self.steps = []
        self.count = 0
        self.texts = {}
        self.traces = [server.trace]
        self.selected = None
        home = os.path.join(server.mail_dir, "ann")
        os.mkdir(home, 0o700)
        self.prepare()
        user = os.stat(server.mail_dir)
        for path, names, files in os.walk(home):
            for name in [path] + [os.path.join(path, x) for x in files]:
                os.chown(name, user.st_uid, user.st_gid)
        self.record = powerlog.Recorder(home)
        self.acknowledged("start", local=True)

    def prepare(self):
        """What is there before, and safe."""

    def acknowledged(self, name, local=False):
        self.steps.append(Step(name, copy.deepcopy(self.world), time.time(), local))

    def text(self, size=300):
        self.count += 1
        token = "m%d" % self.count
        body = "".join("%s line %d\r\n" % (token, i) for i in range(size // 14 + 1))
        data = ("Subject: %s\r\nFrom: a@example.org\r\n\r\n%s" % (token, body)).encode()
        return data

    def content(self, data):
        key = len(data), fnv(data)
        self.texts[key] = data
        return key

    def do(self, command, name=None):
        """The lines of the answer; the caller changes the world and calls acknowledged()."""
        status, lines = self.c.do(command)
        assert status == b"OK", (command, lines)
        return b"".join(lines)

    def plain(self, command, name):
        self.do(command)
        self.acknowledged(name)

    # -- one step each

    def login(self):
        self.c = Client(self.server)
        for name in ("INBOX", "Drafts", "Sent"):
            self.world.folders.setdefault(name, Folder())
        self.world.subscribed |= {"Drafts", "Sent"}
        self.acknowledged("login")
        for name in sorted(self.world.folders):
            self.status(name)

    def logout(self):
        self.do(b"LOGOUT")
        self.c.close()
        self.selected = None
        self.acknowledged("logout")

    def status(self, name):
        text = self.do(b"STATUS %s (UIDVALIDITY UIDNEXT)" % name.encode())
        f = self.world.folders[name]
        validity = int(re.search(rb"UIDVALIDITY (\d+)", text).group(1))
        assert f.validity in (None, validity)
        f.validity = validity
        f.uidnext = int(re.search(rb"UIDNEXT (\d+)", text).group(1))
        self.acknowledged("STATUS " + name)

    def select(self, name):
        self.plain(b"SELECT " + name.encode(), "SELECT " + name)
        self.selected = name

    def append(self, name, sizes=(300,), flags=(), keywords=()):
        f = self.world.folders[name]
        texts = [self.text(n) for n in sizes]
        command = b"APPEND " + name.encode()
        for data in texts:
            command += b" (%s) {%d+}\r\n%s" % (" ".join(flags + keywords).encode(), len(data), data)
        found = re.search(rb"APPENDUID (\d+) (\d+)", self.do(command))
        assert f.validity == int(found.group(1))
        for n, data in enumerate(texts):
            f.messages[int(found.group(2)) + n] = Message(self.content(data), sum(FLAGS[x] for x in flags), keywords)
        f.uidnext = max(f.messages) + 1
        self.acknowledged("APPEND %s (%d)" % (name, len(sizes)))

    def deliver(self, folder="", size=300):
        name = folder or "INBOX"
        data = self.text(size)
        stored = data.replace(b"\r\n", b"\n")
        begun = time.time()
        filed = self.server.deliver(stored, folder=folder)
        base = self.server.maildir() + ("/." + folder if folder else "")
        self.record.note(begun, "deliver", base, filed, stored)
        self.world.folders[name].loose.append(self.content(data))
        self.acknowledged("delivery to " + name, local=True)

    def delivered(self, folder=""):
        """By mansio-deliver."""
        name = folder or "INBOX"
        data = self.text(700)
        self.run_other("mansio-deliver", *(("-m", folder) if folder else ()), "ann", stdin=data.replace(b"\r\n", b"\n"))
        self.world.folders[name].loose.append(self.content(data))
        self.acknowledged("mansio-deliver to " + name, local=True)

    def look(self):
        """Fetches what was delivered to the selected folder."""
        f = self.world.folders[self.selected]
        self.do(b"NOOP")
        text = self.do(b"UID FETCH %d:* (UID FLAGS BODY.PEEK[])" % f.uidnext)
        for m in re.finditer(rb"FETCH \(UID (\d+) FLAGS \(([^)]*)\) BODY\[\] \{(\d+)\}\r\n", text):
            data = text[m.end():m.end() + int(m.group(3))]
            uid = int(m.group(1))
            if uid >= f.uidnext:
                words = m.group(2).decode().split()
                f.messages[uid] = Message(self.content(data), sum(FLAGS.get(w, 0) for w in words),
                                          [w for w in words if w[0] != "\\"])
                f.loose.remove(self.content(data))
        f.uidnext = max(list(f.messages) + [f.uidnext - 1]) + 1
        self.acknowledged("FETCH of new mail in " + self.selected)

    def store(self, uids, mode, flags=(), keywords=()):
        text = ",".join(map(str, uids)) if uids else "1:*"
        self.do(b"UID STORE %s %sFLAGS.SILENT (%s)" % (text.encode(), mode.encode(), " ".join(flags + keywords).encode()))
        f = self.world.folders[self.selected]
        bits = sum(FLAGS[x] for x in flags)
        for uid in uids or f.messages:
            m = f.messages[uid]
            m.flags.append(m.flags[-1] | bits if mode == "+" else m.flags[-1] & ~bits)
            m.keywords.append(m.keywords[-1] | set(keywords) if mode == "+" else m.keywords[-1] - set(keywords))
        self.acknowledged("STORE %s%s" % (mode, " ".join(flags + keywords)))

    def copy(self, uids, name, move=False):
        source, target = self.world.folders[self.selected], self.world.folders[name]
        text = self.do(b"UID %s %s %s" % (b"MOVE" if move else b"COPY", ",".join(map(str, uids)).encode(), name.encode()))
        found = re.search(rb"COPYUID (\d+) (\S+) ([\d,:]+)", text)
        assert int(found.group(1)) == target.validity
        for old, new in zip(numbers(found.group(2)), numbers(found.group(3))):
            m = source.messages[old]
            target.messages[new] = Message(m.content, m.flags[-1], m.keywords[-1])
            # what STORE did to the source isn't safe yet, but the link to it is
            if move:
                del source.messages[old]
        target.uidnext = max(target.messages) + 1
        self.acknowledged("%s to %s" % ("MOVE" if move else "COPY", name))

    def expunge(self, uids=None):
        f = self.world.folders[self.selected]
        gone = [u for u, m in f.messages.items() if m.flags[-1] & FLAGS["\\Deleted"] and (uids is None or u in uids)]
        self.do(b"EXPUNGE" if uids is None else b"UID EXPUNGE " + ",".join(map(str, uids)).encode())
        for uid in gone:
            del f.messages[uid]
        self.acknowledged("EXPUNGE")

    def create(self, name):
        self.do(b"CREATE " + name.encode())
        self.world.folders[name] = Folder()
        self.acknowledged("CREATE " + name)
        self.status(name)

    def delete(self, name):
        self.do(b"DELETE " + name.encode())
        del self.world.folders[name]
        self.acknowledged("DELETE " + name)

    def rename(self, old, new):
        self.do(b"RENAME %s %s" % (old.encode(), new.encode()))
        for name in list(self.world.folders):
            if name == old or name.startswith(old + "."):
                self.world.folders[new + name[len(old):]] = self.world.folders.pop(name)
        self.acknowledged("RENAME %s %s" % (old, new))

    def rename_inbox(self, new):
        self.do(b"RENAME INBOX " + new.encode())
        inbox = self.world.folders["INBOX"]
        f = self.world.folders[new] = Folder()
        f.loose = [m.content for m in inbox.messages.values()] + inbox.loose
        inbox.messages, inbox.loose = {}, []
        self.acknowledged("RENAME INBOX " + new)
        self.select(new)
        self.status(new)
        f.uidnext = 1
        self.look()

    def subscribe(self, name, on=True):
        self.do((b"SUBSCRIBE " if on else b"UNSUBSCRIBE ") + name.encode())
        (self.world.subscribed.add if on else self.world.subscribed.discard)(name)
        self.acknowledged(("SUBSCRIBE " if on else "UNSUBSCRIBE ") + name)

    def pop3(self):
        """DELE 1, DELE 2, QUIT."""
        c = Pop3(self.server)
        assert c.do(b"QUIT")[0] == b"OK"
        c.close()
        f = self.world.folders["INBOX"]
        for uid in sorted(f.messages)[:2]:
            del f.messages[uid]
        self.acknowledged("QUIT")

    def other(self, name, *words):
        self.run_other(*words)
        self.acknowledged(name, local=True)

    def run_other(self, *words, stdin=b""):
        """Another program of ours, traced too."""
        output = "%s.%d" % (self.server.trace, len(self.traces))
        self.traces.append(output)
        done = subprocess.run(powerlog.Recorder.command(output) + [self.server.program(words[0]), "-c", self.server.conf_path] +
                              list(words[1:]), input=stdin, capture_output=True, timeout=60)
        assert done.returncode == 0, (words, done.stderr)
        time.sleep(0.1)  # strace closes its file after that

    def live(self):
        self.login()
        self.select("INBOX")
        self.append("INBOX", flags=("\\Seen",))
        self.append("INBOX", sizes=(300, 9000, 5000))
        self.deliver(size=2000)
        self.deliver()
        self.look()
        self.create("Work")
        self.create("Work.Sub")
        self.append("Work", keywords=("alpha",))
        self.append("Work.Sub", flags=("\\Flagged",), keywords=("beta", "gamma"))
        self.store((1, 2), "+", ("\\Flagged",))
        self.store((2, 3), "+", ("\\Answered",), ("alpha",))
        self.copy((1, 2), "Work")
        self.copy((3, 5), "Work", move=True)
        self.subscribe("Work")
        self.deliver("Work")
        self.delivered()
        self.look()
        self.rename("Work", "Job")
        self.delivered("Job")
        self.select("Job")
        self.look()
        self.store((1,), "+", (), tuple("k%d" % i for i in range(30)))
        self.store((2,), "+", ("\\Deleted",))
        self.expunge()
        self.select("INBOX")
        self.append("INBOX", sizes=(200,) * 20)
        self.do(b"FETCH 1:* (ENVELOPE BODYSTRUCTURE)")
        everything = (None, "+", ("\\Seen",)), (None, "-", ("\\Seen",)), (None, "+", (), ("seen-by-me",)), (None, "-", (),
                                                                                                            ("seen-by-me",))
        first_log = self.logs()
        for i in range(400):
            self.store(*everything[i % 4])
            if i % 8 == 7:
                self.append("INBOX", flags=("\\Draft",))
            if i % 40 == 39 and min(self.logs()) > max(first_log) + 1:
                break
        assert min(self.logs()) > max(first_log) + 1, "logs weren't changed: %r" % self.logs()
        self.store(tuple(sorted(self.world.folders["INBOX"].messages))[3:9], "+", ("\\Deleted",))
        self.expunge(tuple(sorted(self.world.folders["INBOX"].messages))[3:5])
        self.expunge()
        self.create("Gone")
        self.append("Gone")
        self.delete("Gone")
        self.create("Gone")
        self.append("Gone")
        self.logout()
        self.pop3()
        self.other("mailbox rebuild", "mansioctl", "mailbox", "rebuild", "ann")
        self.login()
        self.subscribe("Drafts", False)
        self.rename("Job", "Trade")
        self.rename_inbox("Old")
        self.deliver()
        self.logout()

    def logs(self):
        return sorted(int(n[4:]) for n in os.listdir(self.server.maildir() + "/mansio-index/db") if n.startswith("log."))


class FirstIndex(Life):
    """A Maildir of more than a thousand messages gets its index, and more than 256 KB go to the cache: Berkeley DB doesn't
    log new pages then."""

    MESSAGES = 1100

    def prepare(self):
        for part in ("", "cur", "new", "tmp"):
            os.mkdir(os.path.join(self.server.maildir(), part), 0o700)
        inbox = self.world.folders["INBOX"] = Folder()
        for i in range(self.MESSAGES):
            data = b"To: " + b"b" * 200 + b"@example.org\r\n" + self.text(20)
            with open(os.path.join(self.server.maildir(), "cur", "17000%05d.M1P1.test:2," % i), "wb") as f:
                f.write(data.replace(b"\r\n", b"\n"))
            inbox.loose.append(self.content(data))

    def live(self):
        self.login()
        self.select("INBOX")
        self.world.folders["INBOX"].uidnext = 1
        self.look()
        self.plain(b"FETCH 1:* (ENVELOPE BODYSTRUCTURE)", "cached")
        self.append("INBOX")
        self.store(None, "+", ("\\Seen",), ("alpha",))
        self.store((1, 2), "+", ("\\Deleted",))
        self.expunge()
        self.logout()


class FirstStatus(Life):
    """Folders of other programs, two in three with Dovecot's lists, are seen first by one LIST with STATUS."""

    FOLDERS = 9

    def prepare(self):
        for i in range(self.FOLDERS):
            name = "Other%d" % i
            base = os.path.join(self.server.maildir(), "." + name)
            for part in ("cur", "new", "tmp"):
                os.makedirs(os.path.join(base, part), 0o700)
            f = self.world.folders[name] = Folder()
            lines = ["3 V%d N50" % (1000 + i)]
            for n in range(i % 4):
                data = self.text(20)
                base_name = "17000%05d.M1P1.test" % n
                with open(os.path.join(base, "cur", base_name + ":2,"), "wb") as out:
                    out.write(data.replace(b"\r\n", b"\n"))
                if i % 3:
                    f.messages[7 + n] = Message(self.content(data))
                    lines.append("%d :%s" % (7 + n, base_name))
                else:
                    f.loose.append(self.content(data))
            if i % 3:  # what the list says is as good as told
                f.validity, f.uidnext = 1000 + i, 50
                with open(os.path.join(base, "dovecot-uidlist"), "w") as out:
                    out.write("\n".join(lines) + "\n")
        for part in ("cur", "new", "tmp"):
            os.mkdir(os.path.join(self.server.maildir(), part), 0o700)
        self.world.folders["INBOX"] = Folder()

    def look_all(self):
        text = self.do(b'LIST "" * RETURN (STATUS (UIDVALIDITY UIDNEXT MESSAGES))')
        for m in re.finditer(rb'STATUS (\S+) \(([^)]*)\)', text):
            values = dict(zip(m.group(2).split()[::2], map(int, m.group(2).split()[1::2])))
            f = self.world.folders[m.group(1).decode()]
            assert f.validity in (None, values[b"UIDVALIDITY"]), m.group(0)
            assert values[b"MESSAGES"] == len(f.messages) + len(f.loose), m.group(0)
            f.validity, f.uidnext = values[b"UIDVALIDITY"], values[b"UIDNEXT"]
        self.acknowledged("LIST with STATUS")

    def live(self):
        self.c = Client(self.server)
        for name in ("Drafts", "Sent"):
            self.world.folders.setdefault(name, Folder())
        self.world.subscribed |= {"Drafts", "Sent"}
        self.acknowledged("login")
        self.look_all()
        for name in ("Other3", "Other8"):
            self.append(name)
        self.rename("Other7", "Other7x")
        self.look_all()
        self.logout()


def numbers(text):
    found = []
    for part in text.split(b","):
        a, _, b = part.partition(b":")
        found += range(int(a), int(b or a) + 1)
    return found


def read_flags():
    """The bits of enum in mdname.h, so that the two can't go apart."""
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "src", "format", "mdname.h")) as f:
        text = f.read()
    for name in FLAGS:
        FLAGS[name] = int(re.search(r"MSG_%s\b[^0-9]*(0x[0-9a-f]+|\d+)" % name[1:].upper(), text).group(1), 0)


def record(build, kind=Life):
    """One life."""
    read_flags()
    settings = {"imap_min_spare": "1", "imap_max_spare": "1", "pop3_min_spare": "1", "pop3_max_spare": "1",
                "imaps_listen": "", "pop3s_listen": "", "auto_folders": "Drafts:\\Drafts, Sent:\\Sent"}
    probe = subprocess.run(["strace", "-o", "/dev/null", "true"], stdin=subprocess.DEVNULL, capture_output=True)
    if probe.returncode != 0:
        raise Skip("strace can't trace here")
    with TracedServer(build, settings, users=("ann",)) as server:
        life = kind(server)
        life.live()
        db = os.path.join(server.maildir(), "mansio-index", "db")
        regions = {}
        for name in os.listdir(db):
            if powerlog.REGION.match(name):
                with open(os.path.join(db, name), "rb") as f:
                    regions[name] = f.read()
        server.stop()
        time.sleep(0.2)
        log = life.record.read(life.traces)
        # the replay itself: all operations together are what is there now
        difference = powerlog.same(log.cut(len(log.ops), "all", random.Random(0)), life.record.root)
        assert not difference, "the log doesn't give the disk: " + difference
        return log, life.steps, life.texts, regions
