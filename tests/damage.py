#!/usr/bin/env python3
"""Index files are damaged under a running server, and clients look: is every message there, with its UID?

    damage.py BUILD_DIRECTORY [SECONDS [SEED]]

One account, five folders. Each round copies it afresh, lets a session work a little, and damages what is on the disk:
index files deleted, cut off, filled with noise in part or in whole, put back from a backup of some time ago; the log
removed; the shared regions removed, or as after a reboot, or of another library version; the lock file; all of it. Mostly
between two sessions, at times while a session is in IDLE. Then a client must

  - be able to log in and open every folder, within the time of a scan (of a look at an account without an index, that is)
  - find every message octet by octet, with its flags; keywords too, where the file name has them
  - find the UIDs it knew under a UIDVALIDITY it knew: a UID that came back means the same message, and a message has its
    UID wherever a surviving file still knows it (all but messages.db); else the UIDVALIDITY is higher. No UID is given
    twice
  - go on: APPEND, STORE, EXPUNGE

The log has one line, no more, that says what happened to the index (none where nothing of worth was damaged).
`mailbox check` finds nothing then. Afterwards rows and files are set at odds, so that `mailbox check` must name it, and
`mailbox rebuild` must mend it while a session is open.
"""

import os
import random
import re
import shutil
import subprocess
import sys
import time

import harness
from crash_client import USER, Client, folder_names, highest_modseqs, literal, read_folder, wait_for_quiet
from harness import Results, Server

SECONDS = 15
MESSAGES = {b"INBOX": 150, b"Archive": 40, b"Work": 12, b"Work.Sub": 3, b"Empty": 0}
TOLD = re.compile(r"\bindex: (?:\S+ (?:was damaged|could not be read|recovered in|can't be used)|\S+: .*makes no sense)")
OTHER_BOOT = b"00000000-0000-4000-8000-000000000000"


def fill(server):
    c = Client(server)
    for name, count in MESSAGES.items():
        if name != b"INBOX":
            assert c.do(b"CREATE " + name)[0] == b"OK"
        tokens = [b"%s-%d" % (name, i) for i in range(count)]
        for i in range(0, count, 10):
            batch = b" ".join(b"(%s) %s" % (b"\\Seen" if n % 3 == 0 else b"key" if n % 7 == 0 else b"", literal(t))
                              for n, t in enumerate(tokens[i:i + 10]))
            status, lines = c.do(b"APPEND %s %s" % (name, batch))
            assert status == b"OK", lines
    c.do(b"LOGOUT")
    c.close()


def look(server):
    """{folder: (uidvalidity, uidnext, messages)}, and the seconds until the last folder was open."""
    begun = time.monotonic()
    c = Client(server)
    names = folder_names(c)
    for name in names:
        status, lines = c.do(b"EXAMINE " + name)
        assert status == b"OK", lines
    seconds = time.monotonic() - begun
    state = {name: read_folder(c, name) for name in names}
    c.do(b"LOGOUT")
    c.close()
    return state, seconds


class Damage:
    """Ways to damage the index; each gives its name."""

    def __init__(self, server, rng, backup):
        self.server, self.rng, self.backup = server, rng, backup
        self.index = os.path.join(server.maildir(), "mansio-index")

    def files(self, kind=None):
        db = os.path.join(self.index, "db")
        found = [os.path.join(db, n) for n in sorted(os.listdir(db))]
        return [f for f in found if os.path.isfile(f) and (kind is None or kind(os.path.basename(f)))]

    def database(self):
        return self.rng.choice(self.files(lambda n: n.endswith(".db") and not n.startswith("__")))

    def delete(self):
        path = self.database()
        os.unlink(path)
        return "%s deleted" % os.path.basename(path), "messages.db" not in path

    def cut_off(self):
        path = self.database()
        size = os.path.getsize(path)
        where = self.rng.randrange(size)
        os.truncate(path, where)
        return "%s cut off at %d of %d" % (os.path.basename(path), where, size), "messages.db" not in path

    def noise(self):
        path = self.database()
        with open(path, "r+b") as f:
            f.write(self.rng.randbytes(os.path.getsize(path)))
        return "%s filled with noise" % os.path.basename(path), "messages.db" not in path

    def spot_of_noise(self):
        path = self.database()
        size = os.path.getsize(path)
        where, length = self.rng.randrange(size), self.rng.randrange(1, 9000)
        with open(path, "r+b") as f:
            f.seek(where)
            f.write(self.rng.randbytes(min(length, size - where)))
        return "%s noise at %d of %d" % (os.path.basename(path), where, size), "messages.db" not in path

    def zeros(self):
        path = self.database()
        where = self.rng.randrange(os.path.getsize(path)) // 4096 * 4096
        with open(path, "r+b") as f:
            f.seek(where)
            f.write(b"\0" * 4096)
        return "%s a page of zeros at %d" % (os.path.basename(path), where), "messages.db" not in path

    def old_backup(self):
        path = self.database()
        shutil.copy2(os.path.join(self.backup, os.path.basename(path)), path)
        return "%s from an old backup" % os.path.basename(path), False

    def old_backup_of_all(self):
        for path in self.files(lambda n: n.endswith(".db")):
            shutil.copy2(os.path.join(self.backup, os.path.basename(path)), path)
        return "all of the files from an old backup", False

    def no_log(self):
        for path in self.files(lambda n: n.startswith("log.")):
            os.unlink(path)
        return "the log removed", False

    def log_of_noise(self):
        for path in self.files(lambda n: n.startswith("log.")):
            with open(path, "r+b") as f:
                f.write(self.rng.randbytes(os.path.getsize(path)))
        return "the log filled with noise", False

    def no_regions(self):
        for path in self.files(lambda n: n.startswith("__db.")):
            os.unlink(path)
        return "the regions removed", True

    def other_boot(self):
        """As after a reboot: another boot id in the lock file, and regions of noise."""
        path = os.path.join(self.index, "lock")
        with open(path, "r+b") as f:
            data = f.read()
            here = open("/proc/sys/kernel/random/boot_id", "rb").read(36)
            at = data.find(here)
            if at < 0:
                at = data.find(bytes.fromhex(here.decode().replace("-", "")))
                f.seek(at)
                f.write(bytes(16))
            else:
                f.seek(at)
                f.write(OTHER_BOOT)
        assert at >= 0, "the lock file has no boot id"
        for region in self.files(lambda n: n.startswith("__db.")):
            with open(region, "r+b") as f:
                f.write(self.rng.randbytes(os.path.getsize(region)))
        return "regions of another boot", True

    def other_version(self):
        """Another release of the library finds another magic and version in the first region."""
        for region in self.files(lambda n: n.startswith("__db.")):
            with open(region, "r+b") as f:
                f.write(self.rng.randbytes(64))
        return "regions of another library version", True

    def no_lock(self):
        os.unlink(os.path.join(self.index, "lock"))
        return "the lock file removed", True

    def no_files(self):
        for path in self.files(lambda n: n.endswith(".db")):
            os.unlink(path)
        return "all files removed", False

    def nothing_left(self):
        shutil.rmtree(self.index)
        return "the whole index removed", False


WAYS = [getattr(Damage, n) for n in ("delete", "cut_off", "noise", "spot_of_noise", "zeros", "old_backup", "old_backup_of_all",
                                     "no_log", "log_of_noise", "no_regions", "other_boot", "other_version", "no_lock", "no_files",
                                     "nothing_left")]


class Rounds:
    def __init__(self, server, seed):
        self.server, self.rng = server, random.Random(seed)
        self.template = os.path.join(server.dir, "template")
        self.backup = os.path.join(server.dir, "backup")
        fill(server)
        time.sleep(1.2)
        look(server)
        wait_for_quiet(server)
        shutil.copytree(os.path.join(server.maildir(), "mansio-index", "db"), self.backup)
        self.work()  # so that the backup is an old one
        wait_for_quiet(server)
        subprocess.run(["cp", "-a", server.maildir(), self.template], check=True)
        self.scan = self.measure_scan()
        self.slowest = 0.0
        self.kept = self.renewed = 0

    def reset(self):
        wait_for_quiet(self.server)
        shutil.rmtree(self.server.maildir())
        subprocess.run(["cp", "-a", self.template, self.server.maildir()], check=True)

    def work(self):
        c = Client(self.server)
        for command in (b"SELECT INBOX", b"APPEND INBOX " + literal(b"late-%d" % self.rng.randrange(10**6)),
                        b"UID STORE 5:9 +FLAGS.SILENT (\\Deleted)", b"UID EXPUNGE 5:6", b"UID STORE 20:30 +FLAGS.SILENT (\\Flagged)",
                        b"UID COPY 20:22 Work", b"LOGOUT"):
            status, lines = c.do(command)
            assert status == b"OK", (command, lines)
        c.close()

    def measure_scan(self):
        """The first login without any index: what damage is measured against."""
        times = []
        for _ in range(3):
            self.reset()
            shutil.rmtree(os.path.join(self.server.maildir(), "mansio-index"))
            times.append(look(self.server)[1])
        return sorted(times)[1]

    def told(self, before):
        return [line for line in self.server.log()[before:].split("\n") if TOLD.search(line)]

    def round(self, way):
        self.reset()
        self.work()
        before, _ = look(self.server)
        held = Client(self.server) if self.rng.random() < 0.25 else None
        if held:
            held.do(b"SELECT INBOX")
        else:
            wait_for_quiet(self.server)
        name, keeps = way(Damage(self.server, self.rng, self.backup))
        mark = len(self.server.log())
        try:
            state, seconds = look(self.server)
            self.compare(before, state, keeps)
            lines = self.told(mark)
            assert len(lines) <= 1, "%d lines say what happened:\n%s" % (len(lines), "\n".join(lines))
            # one bad moment of the machine is no fault of ours
            assert seconds < 10 * self.scan + 0.5, "login took %.3f s, a scan %.3f s" % (seconds, self.scan)
            if not held:
                self.slowest = max(self.slowest, seconds)
            self.go_on(state)
            done = self.server.ctl("mailbox", "check", USER)
            assert done.returncode == 0, done.stdout + done.stderr
            if held:
                held.do(b"NOOP")  # an answer of any kind, or BYE
        except Exception as error:
            raise AssertionError("%s%s: %s: %s\n%s" % (name, " under a session" if held else "", type(error).__name__, error,
                                                       self.server.log()[mark:][-1500:]))
        finally:
            if held:
                held.close()

    def compare(self, before, now, keeps):
        assert set(now) == set(before), "folders: %s, were %s" % (sorted(now), sorted(before))
        for name, (validity, uidnext, messages) in before.items():
            there = now[name]
            strip = (lambda m: sorted((t, f & {b"\\Seen", b"\\Flagged", b"\\Deleted"}) for t, f in m.values()))
            assert strip(there[2]) == strip(messages), "%s: other messages or flags" % name
            if there[0] == validity:
                self.kept += 1
                assert there[1] >= uidnext, "%s: UIDNEXT fell from %d to %d" % (name, uidnext, there[1])
                for uid, (token, _) in there[2].items():
                    assert uid >= uidnext or messages.get(uid, (None,))[0] == token, "%s: UID %d is another message" % (name, uid)
            else:
                self.renewed += 1
                assert there[0] > validity, "%s: UIDVALIDITY fell" % name
            if keeps:
                assert there[0] == validity and there[2].keys() == messages.keys(), "%s: UIDs changed" % name

    def go_on(self, state):
        c = Client(self.server)
        status, lines = c.do(b"APPEND INBOX " + literal(b"after"))
        assert status == b"OK", lines
        uid = int(re.search(rb"APPENDUID \d+ (\d+)", lines[-1]).group(1))
        assert uid >= state[b"INBOX"][1], "UID %d was given before" % uid
        for command in (b"SELECT INBOX", b"UID STORE %d +FLAGS (\\Deleted new)" % uid, b"UID EXPUNGE %d" % uid, b"LOGOUT"):
            status, lines = c.do(command)
            assert status == b"OK", (command, lines)
        c.close()

    def faults_are_named_and_mended(self):
        """Files and rows at odds behind the scan's back: the times of cur/ are put back."""
        self.reset()
        look(self.server)
        wait_for_quiet(self.server)
        cur = os.path.join(self.server.maildir(), "cur")
        times = os.stat(cur)
        names = sorted(os.listdir(cur))
        os.unlink(os.path.join(cur, names[3]))
        os.rename(os.path.join(cur, names[10]), os.path.join(cur, names[10].split(":")[0] + ":2,FT"))
        shutil.copy2(os.path.join(cur, names[20]), os.path.join(cur, "1700000000.M1P1.unknown:2,S"))
        shutil.chown(os.path.join(cur, "1700000000.M1P1.unknown:2,S"), self.server.mail_user)
        os.utime(cur, ns=(times.st_atime_ns, times.st_mtime_ns))
        shutil.rmtree(os.path.join(self.server.maildir(), ".Work"))
        done = self.server.ctl("mailbox", "check", USER)
        assert done.returncode != 0, done.stdout
        for fault in (names[3] + " isn't there", "its file is " + names[10].split(":")[0], "1700000000.M1P1.unknown:2,S has no UID",
                      "Work: the index knows this folder, but it has no directory"):
            assert fault in done.stdout, "not named: %s\n%s" % (fault, done.stdout)
        before = highest_modseqs(self.server)
        open_session = Client(self.server)
        assert open_session.do(b"EXAMINE Archive")[0] == b"OK"
        self.server.ctl("mailbox", "rebuild", USER, check=True)
        assert open_session.do(b"UID FETCH 1:* (FLAGS BODY.PEEK[])")[0] == b"OK"
        open_session.close()
        done = self.server.ctl("mailbox", "check", USER)
        assert done.returncode == 0, done.stdout
        after = highest_modseqs(self.server)
        assert b"Work" not in after and after[b"INBOX"][1] == before[b"INBOX"][1] and after[b"INBOX"][2] > before[b"INBOX"][2]
        state, _ = look(self.server)
        tokens = [t for t, _ in state[b"INBOX"][2].values()]
        assert len(tokens) == len(names), "%d messages, %d files" % (len(tokens), len(names))


def main():
    build = sys.argv[1] if len(sys.argv) > 1 else "."
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else SECONDS
    seed = int(sys.argv[3] if len(sys.argv) > 3 else os.environ.get("MANSIO_SEED", "1"))
    results = Results()
    with Server(build, {"auto_folders": ""}) as server:
        rounds = Rounds(server, seed)
        end = time.monotonic() + seconds
        tried = {}
        for i in range(10**6):
            if i >= len(WAYS) and time.monotonic() > end:
                break
            way = WAYS[i % len(WAYS)]
            try:
                rounds.round(way)
                results.passed += 1
                tried[way.__name__] = tried.get(way.__name__, 0) + 1
            except Exception as error:
                results.failed += 1
                print("FAIL round %d, seed %d: %s" % (i, seed, str(error)[:3000]))
        results.run("faults are named and mended", rounds.faults_are_named_and_mended)
        print("     %d rounds; folders with their UIDs: %d, with a higher UIDVALIDITY: %d" %
              (sum(tried.values()), rounds.kept, rounds.renewed))
        print("     first login after damage: at most %.0f ms; without an index: %.0f ms" % (rounds.slowest * 1000, rounds.scan * 1000))
    return results.finish()


if __name__ == "__main__":
    sys.exit(main())
