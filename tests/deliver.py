#!/usr/bin/env python3
"""mansio-deliver(8) against a running server: exit statuses, what's stored, and that nothing is left of what failed.

    deliver.py BUILD_DIRECTORY [TEST ...]

What needs root (another user's process, a small file system) is skipped without.
"""

import contextlib
import fcntl
import glob
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time

import harness
from harness import PASSWORD, Server, Skip, wait_until

MESSAGE = b"Subject: hello\nMessage-ID: <1@example.org>\n\nbody\n"
WIRE = MESSAGE.replace(b"\n", b"\r\n")
OK, USAGE, DATA, NO_USER, UNAVAILABLE, NO_FOLDER, TEMPORARY, PERMISSION, CONFIG = 0, 64, 65, 67, 69, 73, 75, 77, 78


class Host(Server):
    """A server, and the agent beside it."""

    def command(self, *arguments):
        return [self.program("mansio-deliver"), "-c", self.conf_path, *arguments]

    def agent(self, *arguments, data=MESSAGE, uid=None, expect=OK):
        """Runs the agent, checks the exit status and the form of what it says; returns that."""
        more = {} if uid is None else {"user": uid, "group": uid, "extra_groups": []}
        done = subprocess.run(self.command(*arguments), input=data, capture_output=True, timeout=100, **more)
        text = done.stderr.decode()
        assert done.returncode == expect, "%r: exit status %d, not %d: %s" % (arguments, done.returncode, expect, text)
        assert done.stdout == b"", done.stdout
        if expect == OK:
            assert text == "", text
        else:
            assert re.fullmatch(r"[45]\.\d\.\d [^\n]+\n", text), repr(text)
            final = expect in (DATA, NO_USER, UNAVAILABLE, NO_FOLDER)
            assert text[0] == ("5" if final else "4"), "%d: %s" % (expect, text)
        return text

    def files(self, part, user="ann", folder=""):
        return os.listdir(os.path.join(self.maildir(user), "." + folder if folder else "", part))

    def nothing_left(self, messages=0, user="ann"):
        """Nothing in tmp/, so many messages in new/ and cur/, and no fault."""
        assert self.files("tmp", user) == [], self.files("tmp", user)
        assert len(self.files("new", user) + self.files("cur", user)) == messages
        done = self.ctl("mailbox", "check", user)
        assert done.returncode == 0, done.stdout

    def bodies(self, folder="INBOX", user="ann"):
        """{UID: octets} of a folder, as a client gets them."""
        c = self.imap(user)
        status, answer = c.select('"%s"' % folder, readonly=True)
        assert status == "OK", answer
        status, answer = c.uid("fetch", "1:*", "(BODY.PEEK[])")
        assert status == "OK", answer
        c.logout()
        return {int(re.search(rb"UID (\d+)", item[0]).group(1)): item[1] for item in answer if isinstance(item, tuple)}

    def idle(self, user="ann"):
        """A socket in IDLE on INBOX."""
        s = self.connect("imap")
        f = s.makefile("rb")
        f.readline()
        for tag, command in ((b"a", b"LOGIN %s %s" % (user.encode(), PASSWORD.encode())), (b"b", b"SELECT INBOX")):
            s.sendall(tag + b" " + command + b"\r\n")
            while not f.readline().startswith(tag + b" OK"):
                pass
        s.sendall(b"c IDLE\r\n")
        assert f.readline().startswith(b"+")
        return s, f


def need_root():
    if os.geteuid() != 0:
        raise Skip("needs root")


def test_idle_sees_it_at_once(build):
    """EXISTS within 100 ms of the agent's end, UID in the log, and the same UID for the client."""
    with Host(build) as host:
        host.agent("ann")
        s, f = host.idle()
        waits = []
        for n in range(2, 11):
            host.agent("ann")
            ended = time.monotonic()
            line = f.readline()
            while b"EXISTS" not in line:
                line = f.readline()
            waits.append(time.monotonic() - ended)
            assert line == b"* %d EXISTS\r\n" % n, line
        s.close()
        median = sorted(waits)[len(waits) // 2]
        print("     EXISTS after the agent's end: median %.1f ms, longest %.1f ms" % (1000 * median, 1000 * max(waits)))
        assert median < 0.1, waits
        assert re.findall(r"delivered: user=<ann> folder=\"INBOX\" uid=(\d+) size=%d msgid=<1@example.org>" % len(MESSAGE),
                          host.log()) == [str(n) for n in range(1, 11)]
        assert host.bodies() == {n: WIRE for n in range(1, 11)}
        host.nothing_left(10)


def test_uid_before_any_session(build):
    with Host(build) as host:
        host.agent("ann")
        host.agent("ann")
        names = host.files("new")
        assert len(names) == 2 and all(",S=%d,W=%d" % (len(MESSAGE), len(WIRE)) in n and ":2," not in n for n in names), names
        c = host.imap()
        assert b"(MESSAGES 2 UIDNEXT 3 UNSEEN 2)" in c.status("INBOX", "(MESSAGES UIDNEXT UNSEEN)")[1][0]
        c.logout()


def test_exit_statuses(build):
    with Host(build) as host:
        assert "there is no user <zoe>" in host.agent("zoe", expect=NO_USER)
        for name in ("../ann", "", ".", "ann/..", "ann\n", "a" * 300, "ann@", "ann+x"):
            assert host.agent("--", name, expect=NO_USER).startswith("5.1.1 ")
        host.agent(expect=USAGE)
        host.agent("ann", "bob", expect=USAGE)
        host.agent("-d", "ann", "bob", expect=USAGE)
        host.agent("-x", "ann", expect=USAGE)
        host.agent("-m", expect=USAGE)
        host.agent("-d", "ann")
        host.agent("ANN")
        assert host.bodies() == {1: WIRE, 2: WIRE}
        assert host.agent("-c", host.dir + "/none", "ann", expect=CONFIG).startswith("4.3.5 ")
        bad = host.dir + "/bad.conf"
        with open(bad, "w") as f:
            f.write("# x\nimap_lissten = *:143\nlog = %s\n" % host.log_path)
        assert "bad.conf:2: " in host.agent("-c", bad, "ann", expect=CONFIG)
        host.nothing_left(2)


def test_folders(build):
    with Host(build) as host:
        host.agent("ann")
        for name in ("Lists.dev", "a..b", "../bob", "a/b", "x" * 300):
            host.agent("-m", name, "ann")  # to INBOX
            host.agent("-s", "-m", name, "ann", expect=NO_FOLDER)
        assert len(host.bodies()) == 6
        assert host.log().count("delivered to INBOX") == 5
        host.agent("-C", "-m", "Lists.dev", "ann")
        host.agent("-m", "Lists.dev", "ann")
        host.agent("-s", "-m", "Lists.dev", "ann")
        assert host.bodies("Lists.dev") == {n: WIRE for n in (1, 2, 3)}
        host.agent("-C", "-m", "Entw\u00fcrfe", "ann")
        host.agent("-m", "Entw&APw-rfe", "ann")
        host.agent("-C", "-s", "-m", "R&D", "ann")
        host.agent("-m", "inbox", "ann")
        assert len(host.bodies("Entw&APw-rfe")) == 2
        assert len(host.bodies("R&-D")) == 1
        assert len(host.bodies()) == 7
        host.agent("-C", "-s", "-m", "../bob", "ann", expect=NO_FOLDER)
        c = host.imap()
        subscribed = b"".join(c.lsub()[1])
        assert b"Lists.dev" in subscribed and b"Entw&APw-rfe" in subscribed, subscribed
        c.logout()
        assert not os.path.exists(host.maildir("bob"))


def test_names_as_clients_show_them(build):
    with Host(build, {"hierarchy_separator": "/", "namespace_prefix": "INBOX/"}) as host:
        host.agent("-C", "-m", "INBOX/Lists/dev", "ann")
        host.agent("-s", "-m", "Lists/dev", "ann")
        assert len(host.bodies("INBOX/Lists/dev")) == 2
        assert "folder=\"INBOX/Lists/dev\"" in host.log()


def test_headers(build):
    def stored(*arguments, data=MESSAGE):
        host.agent(*arguments, "ann", data=data)
        bodies = host.bodies()
        return bodies[max(bodies)]

    with Host(build) as host:
        assert stored("-f", "bob@example.org") == b"Return-Path: <bob@example.org>\r\n" + WIRE
        assert stored("-f", "<bob@example.org>") == b"Return-Path: <bob@example.org>\r\n" + WIRE
        assert stored("-f", "") == b"Return-Path: <>\r\n" + WIRE
        assert stored("-f", "x", data=b"return-path: <y>\n" + MESSAGE) == b"return-path: <y>\r\n" + WIRE
        assert stored("-f", "x", data=b"A: b\nReturn-Path: <y>\n\n") == b"Return-Path: <x>\r\nA: b\r\nReturn-Path: <y>\r\n\r\n"
        assert stored("-f", "x", "-a", "ann+y@example.org") == \
            b"Return-Path: <x>\r\nDelivered-To: ann+y@example.org\r\n" + WIRE
        assert stored("-f", "x>\nEvil: 1\r\n\r\n", "-a", "y\nEvil: 2") == \
            b"Return-Path: <x>?Evil: 1????>\r\nDelivered-To: y?Evil: 2\r\n" + WIRE
        assert stored("-f", "x" * 2000) == WIRE
        assert stored("-f", "\u00e4@example.org") == "Return-Path: <\u00e4@example.org>\r\n".encode() + WIRE
        assert stored(data=b"From x Sat Jan  1\n" + MESSAGE) == WIRE
        assert stored(data=b"From x Sat Jan  1\r\n" + WIRE) == WIRE
        assert stored("-f", "z", data=b"From x Sat Jan  1\nReturn-Path: <y>\n" + MESSAGE) == b"Return-Path: <y>\r\n" + WIRE


def test_details(build):
    with Host(build, users=("ann", "bob+work", "carl@example.org")) as host:
        host.agent("-e", "+", "ann+lists")
        host.agent("-e", "+-", "ANN-x+y")
        host.agent("-e", "+", "bob+work")
        host.agent("-e", "+", "bob+other", expect=NO_USER)
        host.agent("-e", "+", "carl+../x@example.org")
        host.agent("ann+lists", expect=NO_USER)
        assert len(host.bodies()) == 2
        assert sorted(os.listdir(host.mail_dir)) == ["ann", "bob+work", "carl@example.org"]


def test_octets(build):
    """What comes out is what went in, with CRLF; nothing else changes."""
    every = b"Subject: x\n\n" + bytes(range(256)) * 3
    wire = every.replace(b"\n", b"\r\n").replace(b"\r\r\n", b"\r\n")
    cases = [
        (b"x", b"x"), (b"\n", b"\r\n"), (b"a: b", b"a: b"), (b"a\r\nb\nc\r", b"a\r\nb\r\nc\r"), (every, wire),
        (b"S: x\n\n.\n..\nFrom y\n>From z\n", b"S: x\r\n\r\n.\r\n..\r\nFrom y\r\n>From z\r\n"),
        (b"S: x\n\n" + b"y" * 3000000, b"S: x\r\n\r\n" + b"y" * 3000000),  # one line
        (b"z" * 200000 + b"\n", b"z" * 200000 + b"\r\n"),
        (b"From " + b"z" * 100000, b"From " + b"z" * 100000),  # no line of mbox
        (b"\0" * 70000, b"\0" * 70000),
        (b"\n" * 100000, b"\r\n" * 100000),
    ]
    with Host(build) as host:
        for sent, _ in cases:
            host.agent("ann", data=sent)
        stored = []
        for name in host.files("new"):
            with open(os.path.join(host.maildir(), "new", name), "rb") as f:
                stored.append(f.read())
            assert ",S=%d," % len(stored[-1]) in name, name
        assert sorted(stored) == sorted(sent.replace(b"\r\n", b"\n") for sent, _ in cases)
        # NUL can't be sent in a literal (RFC 3501 4.3); POP3 sends all
        p = host.pop3()
        for n, (_, expected) in enumerate(cases, 1):
            assert p.list(n).split()[2] == b"%d" % len(expected)
        p.quit()
        host.nothing_left(len(cases))


def test_empty_and_too_long(build):
    with Host(build, {"append_limit": "10K"}) as host:
        host.agent("ann")
        assert "empty" in host.agent("ann", data=b"", expect=TEMPORARY)
        assert "empty" in host.agent("ann", data=b"From x\n", expect=TEMPORARY)
        assert "append_limit" in host.agent("ann", data=b"x" * 10241, expect=DATA)
        host.agent("ann", data=b"x" * 10240)
        host.nothing_left(2)


def test_large_in_little_memory(build):
    block = b"x" * 998 + b"\r\n"
    with Host(build, {"append_limit": "200M"}) as host:
        process = subprocess.Popen(host.command("ann"), stdin=subprocess.PIPE)
        for _ in range(120):
            process.stdin.write(block * 1000)
        process.stdin.close()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
        assert status == 0, status
        print("     120 MB: %d KB at most" % usage.ru_maxrss)
        assert usage.ru_maxrss < 40000 or "asan" in build
        host.nothing_left(1)
        assert ",S=%d,W=%d" % (120000 * 999, 120000 * 1000) in host.files("new")[0]


def test_quota(build):
    with Host(build, users=()) as host:
        with open(host.users_path, "a") as f:
            f.write("ann:{PLAIN}secret::::::quota=1K:4\n")
        host.agent("ann", data=b"x" * 600)
        text = host.agent("ann", data=b"x" * 600, expect=TEMPORARY)
        assert text.startswith("4.2.2 ") and "full" in text, text
        assert host.agent("-q", "ann", data=b"x" * 600, expect=UNAVAILABLE).startswith("5.2.2 ")
        host.agent("-C", "-m", "Work", "ann", data=b"x")
        host.agent("ann", data=b"x" * 100)
        host.agent("ann", data=b"x")
        host.agent("-C", "-m", "Never", "ann", data=b"x", expect=TEMPORARY)
        assert not os.path.exists(host.maildir() + "/.Never")
        host.nothing_left(3)
        with open(host.maildir() + "/maildirsize") as f:
            lines = [[int(n) for n in line.split()] for line in f.read().split("\n")[1:-1]]
        assert [sum(column) for column in zip(*lines)] == [702, 4], lines
        c = host.imap()
        c.select("INBOX")
        c.store("1", "+FLAGS", "\\Deleted")
        c.expunge()
        host.agent("ann", data=b"x" * 600)
        c.logout()


@contextlib.contextmanager
def locked(host, user="ann"):
    """Another process holds the account's lock."""
    with open(os.path.join(host.maildir(user), "mansio-index", "lock"), "r+b") as f:
        fcntl.fcntl(f, fcntl.F_SETLKW, struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        yield


def test_locked_account(build):
    """75 after lock_timeout, and nothing is left; a delivery that waits gets in when the lock is free."""
    with Host(build, {"lock_timeout": "1"}) as host:
        host.agent("ann")
        with locked(host):
            began = time.monotonic()
            assert "locked" in host.agent("ann", expect=TEMPORARY)
            assert 0.9 < time.monotonic() - began < 5
            host.agent("-C", "-m", "Work", "ann", expect=TEMPORARY)
            process = subprocess.Popen(host.command("ann"), stdin=subprocess.PIPE)
            process.stdin.write(MESSAGE)
            process.stdin.close()
            time.sleep(0.3)
        assert process.wait(20) == 0
        host.nothing_left(2)


def feeding(host, folder=""):
    """An agent in the middle of a message: its file is in tmp/."""
    arguments = ("-m", folder) if folder else ()
    process = subprocess.Popen(host.command(*arguments, "ann"), stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdin.write(b"Subject: half\n\n" + b"x" * 70000)
    process.stdin.flush()
    wait_until(lambda: host.files("tmp", folder=folder), what="the file in tmp/")
    return process


def test_killed_in_the_middle(build):
    with Host(build) as host:
        host.agent("ann")
        for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            process = feeding(host)
            process.send_signal(sig)
            assert process.wait(10) == TEMPORARY, process.returncode
            assert process.stderr.read().startswith(b"4.3.0 ")
            process.stdin.close()
            host.nothing_left(1)
        process = feeding(host)
        process.kill()
        process.wait()
        assert len(host.files("tmp")) == 1  # the Maildir rule: it's removed after 36 hours
        assert host.bodies() == {1: WIRE}
        host.agent("ann")
        assert host.bodies() == {1: WIRE, 2: WIRE}


def test_folder_deleted_meanwhile(build):
    """What was read is gone with the folder: the next try puts it into INBOX."""
    with Host(build) as host:
        host.agent("-C", "-m", "Work", "ann")
        process = feeding(host, "Work")
        c = host.imap()
        assert c.delete("Work")[0] == "OK"
        c.logout()
        text = process.communicate()[1]
        assert process.returncode in (74, TEMPORARY) and text.startswith(b"4."), (process.returncode, text)
        host.agent("-m", "Work", "ann")
        host.nothing_left(1)


def test_feeder_dies(build):
    """The end of the pipe isn't the end of the message: whoever feeds it was killed."""
    with Host(build) as host:
        host.agent("ann")
        script = "import subprocess, sys, time\n" \
                 "p = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE)\n" \
                 "p.stdin.write(b'Subject: half\\n\\n' + b'x' * 70000); p.stdin.flush()\n" \
                 "time.sleep(100)\n"
        for _ in range(5):
            before = host.log().count("not delivered")
            feeder = subprocess.Popen([sys.executable, "-c", script, *host.command("ann")], stderr=subprocess.DEVNULL)
            wait_until(lambda: host.files("tmp"), what="the file in tmp/")
            feeder.kill()
            feeder.wait()
            wait_until(lambda: host.log().count("not delivered") > before, what="the log line")
        wait_until(lambda: not host.files("tmp"), what="tmp/ to be empty")
        assert "may be cut short" in host.log()
        host.nothing_left(1)


def test_stalled_lock_and_closed_descriptors(build):
    """No standard error, no standard output: delivered all the same."""
    with Host(build) as host:
        done = subprocess.run(["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *host.command("ann")], input=MESSAGE)
        assert done.returncode == OK
        done = subprocess.run(["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *host.command("zoe")], input=MESSAGE)
        assert done.returncode == NO_USER
        done = subprocess.run(["sh", "-c", 'exec "$@" <&-', "sh", *host.command("ann")], stderr=subprocess.DEVNULL)
        assert done.returncode == TEMPORARY
        assert host.bodies() == {1: WIRE}


def test_concurrent(build):
    """8 agents at a time, 50 deliveries each, into INBOX and a folder that's made meanwhile, beside a session in IDLE."""
    failed = []

    def work(n):
        for i in range(50):
            data = b"Subject: %d-%d\n\n" % (n, i) + b"x" * (n * 1000)
            arguments = ("-C", "-m", "Work", "ann") if i % 5 == 0 else ("ann",)
            try:
                host.agent(*arguments, data=data)
            except BaseException as error:
                failed.append(error)

    with Host(build) as host:
        host.agent("ann", data=b"Subject: 8-0\n\n")
        s, f = host.idle()
        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        began = time.monotonic()
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        print("     400 deliveries in %.1f s" % (time.monotonic() - began))
        assert not failed, failed
        line = b""
        while line != b"* 321 EXISTS\r\n":
            line = f.readline()
            assert line, "the session ended"
        s.close()
        inbox, work_folder = host.bodies(), host.bodies("Work")
        assert sorted(inbox) == list(range(1, 322)) and sorted(work_folder) == list(range(1, 81))
        subjects = [body.split(b"\r\n")[0] for body in [*inbox.values(), *work_folder.values()]]
        assert len(set(subjects)) == 401
        assert host.files("tmp", folder="Work") == []
        host.nothing_left(321)


def test_started_by_mail_user(build):
    """Who can't read the users file asks the server; without a server it waits."""
    need_root()
    with Host(build, users=("ann", "bob")) as host:
        uid = int(host.settings["mail_user"].split(":")[0])
        with open(host.users_path, "a") as f:
            f.write("dan:{PLAIN}secret:::::::\neve:!::::/home/eve::mail=%s/elsewhere/Maildir nologin\n" % host.mail_dir)
        assert os.stat(host.users_path).st_mode & 0o777 == 0o600
        host.agent("ann", uid=uid)
        host.agent("zoe", uid=uid, expect=NO_USER)
        host.agent("dan", uid=uid)
        host.agent("eve", uid=uid)
        assert len(os.listdir(host.mail_dir + "/elsewhere/Maildir/new")) == 1
        assert "looked up" in host.agent("ann", uid=12345, expect=TEMPORARY)  # nobody whom the server answers
        host.stop()
        assert "looked up" in host.agent("ann", uid=uid, expect=TEMPORARY)
        host.agent("ann")  # root reads the file
        os.chmod(host.users_path, 0o644)
        host.agent("ann", uid=uid)
        assert "can't be written" in host.agent("ann", uid=12345, expect=PERMISSION)
        for path in (host.mail_dir, host.mail_dir + "/ann"):
            os.chmod(path, 0o777)
        assert "mail_user" in host.agent("ann", uid=12345, expect=PERMISSION)
        host.nothing_left(3)


def test_root_is_given_up_first(build):
    """Invariant 1: before a byte of the message is read."""
    need_root()
    root_is_given_up(build, lambda uid: None)


def test_half_of_root_is_given_up_too(build):
    """Another effective user's id, but root's real one: it could go back."""
    need_root()
    root_is_given_up(build, os.seteuid)
    root_is_given_up(build, lambda uid: os.seteuid(12345))


def root_is_given_up(build, before):
    with Host(build) as host:
        uid, gid = host.settings["mail_user"].split(":")
        process = subprocess.Popen(host.command("ann"), stdin=subprocess.PIPE, preexec_fn=lambda: before(int(uid)))

        def status():
            with open("/proc/%d/status" % process.pid) as f:
                return dict(line.split(":\t", 1) for line in f.read().split("\n") if ":\t" in line)

        def waits():
            with open("/proc/%d/syscall" % process.pid) as f:
                return f.read().startswith("271 ")  # ppoll

        if os.uname().machine == "x86_64":
            wait_until(waits, what="the agent to wait for input")
        else:
            time.sleep(1)
        now = status()
        assert now["Uid"].split() == [uid] * 4 and now["Gid"].split() == [gid] * 4, now
        assert now["Groups"].split() == [] and now["NoNewPrivs"] == "1", now
        process.communicate(MESSAGE)
        assert process.returncode == 0
        for path in glob.glob(host.maildir() + "/**", recursive=True):
            assert os.lstat(path).st_uid == int(uid), path


def test_full_disk(build):
    """A small file system: 75, nothing is left, and it works again when there is room."""
    need_root()
    with Host(build, start=False) as host:
        place = os.path.join(host.dir, "small")
        os.mkdir(place)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4M,mode=0777", "none", place], capture_output=True)
        if mounted.returncode != 0:
            raise Skip("mount: " + mounted.stderr.decode().strip())
        try:
            host.settings["mail_location"] = place + "/%u/Maildir"
            host.mail_dir = place
            host.write_conf()
            host.start()
            host.agent("ann", data=b"x" * 100000)
            text = host.agent("ann", data=b"x" * 4000000, expect=TEMPORARY)
            assert text.startswith("4.3.1 "), text
            host.nothing_left(1)
            for _ in range(100):  # to the brim: what is said to be delivered is there
                done = subprocess.run(host.command("ann"), input=b"x" * 50000, capture_output=True)
                if done.returncode != OK:
                    break
            assert done.returncode == TEMPORARY, done
            count = len(host.files("new"))
            assert count > 10 and host.files("tmp") == []
            c = host.imap()
            answer = c.select("INBOX")
            if answer[0] == "NO":  # the index was left as it is; now its reserve is used
                answer = c.select("INBOX")
            assert answer == ("OK", [b"%d" % count]), (answer, count)
            c.store("1:10", "+FLAGS", "\\Deleted")
            c.expunge()
            c.logout()
            host.agent("ann")
            host.nothing_left(count - 9)
        finally:
            host.stop()
            subprocess.run(["umount", "-l", place], check=True)


def test_fetchmail(build):
    """fetchmail takes bob's mail from here, and gives it to the agent for ann."""
    if shutil.which("fetchmail") is None:
        raise Skip("fetchmail isn't installed")
    with Host(build) as host:
        for n in range(3):
            host.agent("bob", data=b"Subject: %d\nFrom: x@example.org\n\n.\nbody\n" % n)
        path = os.path.join(host.dir, "fetchmailrc")
        with open(path, "w") as f:
            os.fchmod(f.fileno(), 0o600)
            f.write('poll 127.0.0.1 service %d protocol pop3 auth password user bob password %s sslproto "" '
                    'mda "%s -f %%F ann"\n' % (host.ports["pop3"], PASSWORD, " ".join(host.command())))
        done = subprocess.run(["fetchmail", "-f", path, "--nosyslog", "--nodetach", "-s"], capture_output=True, text=True,
                              timeout=60, env=dict(os.environ, HOME=host.dir, FETCHMAILHOME=host.dir, LC_ALL="C"))
        assert done.returncode == 0, done.stdout + done.stderr
        bodies = host.bodies()
        assert len(bodies) == 3
        for n, body in enumerate(bodies.values()):
            assert body.startswith(b"Return-Path: <x@example.org>\r\n"), body
            assert b"Subject: %d\r\n" % n in body and body.endswith(b"\r\n\r\n.\r\nbody\r\n"), body
        assert host.bodies(user="bob") == {}


if __name__ == "__main__":
    sys.exit(harness.main(globals()))
