#!/usr/bin/env python3
"""Quotas from end to end: maildirsize as other programs keep it, mansioctl quota, POP3, changes of the configuration, and
a disk whose own quota is full (EDQUOT, by strace). What IMAP answers is in imap/quota.txt.

    quota.py BUILD_DIRECTORY [WORD ...]
"""

import os
import re
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness  # noqa: E402
import other_servers  # noqa: E402
from harness import PASSWORD, Server, Skip, wait_until  # noqa: E402

BODY = b"Subject: x\r\n\r\n" + b"y" * 84 + b"\r\n"  # 97 octets in its file


def size_file(server, user="ann"):
    try:
        with open(os.path.join(server.maildir(user), "maildirsize")) as f:
            return f.read()
    except FileNotFoundError:
        return None


def put_size_file(server, text, user="ann"):
    path = os.path.join(server.maildir(user), "maildirsize")
    with open(path, "w") as f:
        f.write(text)
    st = os.stat(server.maildir(user))
    os.chown(path, st.st_uid, st.st_gid)


def words(server, user, text):
    with open(server.users_path) as f:
        lines = f.read().splitlines()
    with open(server.users_path, "w") as f:
        f.writelines("%s::::::%s\n" % (":".join(l.split(":")[:2]), text) if l.split(":")[0] == user else l + "\n"
                     for l in lines)


def append(c, data=BODY, folder="INBOX"):
    return c.append(folder, None, None, data)[0]


def files(server, folder="", user="ann"):
    """Names in cur/ and new/, and what was left in tmp/."""
    base = os.path.join(server.maildir(user), folder)
    return sorted(os.listdir(base + "/cur") + os.listdir(base + "/new")), os.listdir(base + "/tmp")


def row(server, *arguments):
    done = server.ctl("quota", *arguments)
    assert done.returncode == 0, done
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["user", "octets", "max-octets", "messages", "max-messages", "used"], lines
    return [line.split() for line in lines[1:]]


def test_without_quota_no_file_is_made(build):
    with Server(build) as server:
        c = server.imap()
        assert append(c) == "OK"
        c.select()
        c.store("1", "+FLAGS", "\\Deleted")
        c.expunge()
        c.logout()
        assert size_file(server) is None
        assert row(server, "ann") == [["ann", "0", "-", "0", "-", "-"]]


def test_limit_of_courier_holds(build):
    """No limit of ours: the first line of maildirsize, in lines of 14 octets."""
    with Server(build) as server:
        server.imap().logout()
        put_size_file(server, "300S         \n    0        0\n")
        c = server.imap()
        assert append(c) == "OK" and append(c) == "OK" and append(c) == "OK"
        assert size_file(server) == "300S         \n    0        0\n97 1\n97 1\n97 1\n"
        assert append(c) == "NO"  # counted: the file had several lines
        assert size_file(server) == "300S\n291 3\n"
        c.logout()
        assert row(server, "ann") == [["ann", "291", "300", "3", "-", "97%"]]
        # a delivery by a program that keeps the file, in its form
        server.deliver(b"z" * 5)
        with open(os.path.join(server.maildir(), "maildirsize"), "a") as f:
            f.write("     5      1\n")
        assert row(server, "ann") == [["ann", "296", "300", "4", "-", "98%"]]
        # another program makes room
        for name in files(server)[0][:2]:
            path = os.path.join(server.maildir(), "cur", name)
            if os.path.exists(path):
                os.unlink(path)
        with open(os.path.join(server.maildir(), "maildirsize"), "a") as f:
            f.write("  -194     -2\n")
        c = server.imap()
        assert append(c) == "OK" and append(c) == "OK"
        c.logout()


def test_pop3_quit_gives_room_back(build):
    with Server(build, {"quota": "300"}) as server:
        c = server.imap()
        assert append(c) == "OK" and append(c) == "OK" and append(c) == "OK" and append(c) == "NO"
        p = server.pop3()
        p.dele(1)
        p.dele(3)
        assert append(c) == "NO"
        p.rset()
        p.dele(1)
        p.dele(3)
        p.quit()
        assert size_file(server).endswith("\n-194 -2\n"), size_file(server)
        assert append(c) == "OK" and append(c) == "OK" and append(c) == "NO"
        c.logout()


def test_changes_of_the_configuration(build):
    with Server(build, {"quota": "100"}) as server:
        c = server.imap()
        assert append(c) == "OK" and append(c) == "NO"
        c.logout()
        assert size_file(server) == "100S\n97 1\n"
        words(server, "ann", "quota=0:3")  # the user's own; the auth process notices by itself
        c = server.imap()
        assert append(c) == "OK" and append(c) == "OK" and append(c) == "NO"
        c.logout()
        assert size_file(server) == "3C\n291 3\n", size_file(server)
        words(server, "ann", "")
        server.settings["quota"] = "1M:1000"
        server.write_conf()
        assert server.ctl("reload").returncode == 0

        def applied():
            c = server.imap()
            result = append(c)
            c.logout()
            return result == "OK"
        wait_until(applied, 10, "the new quota")
        assert size_file(server).startswith("1048576S,1000C\n"), size_file(server)
        server.settings["quota"] = "0"
        server.write_conf()
        assert server.ctl("reload").returncode == 0
        wait_until(lambda: applied() and size_file(server) is None, 10, "no quota")


def test_faulty_configuration_is_told(build):
    with Server(build, start=False) as server:
        server.settings["quota"] = "lots"
        server.write_conf()
        done = server.ctl("config", "check")
        assert done.returncode == 78 and "\"lots\" is not a quota" in done.stderr, done


def test_mansioctl(build):
    with Server(build, {"quota": "1000"}, users=("ann", "bob", "carl")) as server:
        words(server, "bob", "quota=2K:4")
        c = server.imap()
        assert append(c) == "OK"
        c.logout()
        server.imap("bob").logout()
        assert row(server) == [["ann", "97", "1000", "1", "-", "9%"], ["bob", "0", "2048", "0", "4", "0%"],
                               ["carl", "0", "1000", "0", "-", "0%"]]
        assert not os.path.exists(server.maildir("carl")), "looking made a Maildir"
        # what another program brought is seen by a new count only
        server.deliver(b"z" * 500, "bob")
        server.deliver(b"z" * 500, "bob", "Trash")
        assert row(server, "bob") == [["bob", "0", "2048", "0", "4", "0%"]]
        assert row(server, "-r", "bob") == [["bob", "1000", "2048", "2", "4", "50%"]]
        assert row(server, "bob", "ann")[0][1] == "1000"
        assert size_file(server, "bob") == "2048S,4C\n1000 2\n"
        assert server.ctl("quota", "nobody-here").returncode == 1
        assert server.ctl("quota", "-x").returncode == 64
        assert "quota     2K:4" in server.ctl("user", "test", "bob", stdin=PASSWORD + "\n").stdout
        assert "quota     1000, by the configuration" in server.ctl("user", "test", "ann", stdin=PASSWORD + "\n").stdout
        done = server.ctl("user", "add", "dora", "quota=10Q", stdin="x\n")
        assert done.returncode == 1 and "quota=10Q" in done.stderr, done


def test_mail_in_the_home(build):
    """mail=%h/... of the users file is expanded for mansioctl as for a login."""
    with Server(build) as server:
        home = os.path.join(server.mail_dir, "home")
        with open(server.users_path, "a") as f:
            f.write("dora:{PLAIN}%s::::%s::mail=%%h/Mail quota=1K\n" % (PASSWORD, home))
        c = server.imap("dora")
        assert append(c) == "OK"
        c.logout()
        assert os.path.exists(home + "/Mail/cur")
        assert row(server, "dora") == [["dora", "97", "1024", "1", "-", "9%"]]


# Programs that keep the same file: from their packages, which aren't installed for it.

def other_program(build, name):
    """A program of another server, and the environment that it needs."""
    root = other_servers.unpacked(os.path.join(os.path.abspath(build), "other-servers"))
    folders = ("usr/lib/dovecot", "usr/lib", "usr/lib/courier-authlib", "usr/lib/x86_64-linux-gnu",
               "usr/lib/aarch64-linux-gnu")
    return os.path.join(root, name), {"LD_LIBRARY_PATH": ":".join(os.path.join(root, f) for f in folders)}


def as_owner(server, command, data, env=None):
    """Runs a program as the owner of the mail."""
    who = {}
    if os.geteuid() == 0:
        st = os.stat(server.maildir())
        who = {"user": st.st_uid, "group": st.st_gid, "extra_groups": []}
    return subprocess.run(command, input=data, capture_output=True, env=dict(os.environ, **(env or {})), timeout=60, **who)


def test_together_with_courier(build):
    """Courier's deliverquota (maildrop's too) and this server fill one Maildir: each counts what the other brought."""
    program, env = other_program(build, "usr/bin/deliverquota.courier")
    with Server(build, {"quota": "1000:8"}) as server:
        c = server.imap()
        assert append(c) == "OK"
        message = b"Subject: x\n\n" + b"z" * 288  # 300 octets
        assert as_owner(server, [program, server.maildir()], message, env).returncode == 0
        assert re.fullmatch(r"1000S,8C\n0 0\n97 1\n +300 +1 *\n", size_file(server)), size_file(server)
        assert append(c, b"x" * 604) == "NO"  # counted: as much as deliverquota said
        assert size_file(server) == "1000S,8C\n397 2\n", size_file(server)
        assert append(c, b"x" * 500) == "OK"
        assert as_owner(server, [program, server.maildir()], message, env).returncode in (75, 77)  # Courier's, maildrop's
        assert re.fullmatch(r"1000S,8C\n +897 +3 *\n", size_file(server)), size_file(server)
        assert row(server, "ann") == [["ann", "897", "1000", "3", "8", "89%"]]
        c.select()
        c.store("1", "+FLAGS", "\\Deleted")
        c.expunge()
        c.logout()
        assert as_owner(server, [program, server.maildir()], b"x\n\ny\n", env).returncode == 0
        assert row(server, "ann") == row(server, "-r", "ann") == [["ann", "805", "1000", "3", "8", "80%"]]


DOVECOT = """
mail_location = maildir:%(mail)s
mail_plugins = quota
base_dir = %(mail)s/dovecot-run
mail_uid = %(uid)d
mail_gid = %(gid)d
first_valid_uid = 1
first_valid_gid = 1
userdb {
  driver = static
  args = uid=%(uid)d gid=%(gid)d home=%(mail)s
}
plugin {
  quota = maildir:User quota
}
"""


def test_together_with_dovecot(build):
    """Dovecot's maildir quota, by doveadm, takes limit and count from our file, and we count what it brings and takes."""
    program, env = other_program(build, "usr/bin/doveadm")
    plugins = os.path.join(os.path.dirname(program), "../lib/dovecot/modules")
    with Server(build, {"quota": "100K:8"}) as server:
        c = server.imap()
        assert append(c) == "OK" and append(c, b"x" * 50000) == "OK"
        st = os.stat(server.maildir())
        conf = os.path.join(server.dir, "dovecot.conf")
        with open(conf, "w") as f:
            f.write(DOVECOT % {"mail": server.maildir(), "uid": st.st_uid, "gid": st.st_gid})

        def doveadm(*words, data=b""):
            done = as_owner(server, [program, "-o", "stats_writer_socket_path=", "-o", "mail_plugin_dir=" + plugins, "-c", conf,
                                     *words], data, dict(env, USER="ann", HOME=server.maildir()))
            assert done.returncode == 0, done
            return done.stdout.decode()
        shown = doveadm("quota", "get")
        assert re.search(r"STORAGE\s+49\s+100\s", shown) and re.search(r"MESSAGE\s+2\s+8\s", shown), shown
        doveadm("save", data=b"Subject: y\n\nhello\n")
        assert size_file(server) == "102400S,8C\n0 0\n97 1\n50000 1\n18 1\n", size_file(server)
        assert row(server, "ann") == [["ann", "50115", "102400", "3", "8", "48%"]]
        doveadm("expunge", "mailbox", "INBOX", "2")
        assert row(server, "ann") == row(server, "-r", "ann") == [["ann", "115", "102400", "2", "8", "25%"]]
        assert append(c, b"x" * 102286) == "NO" and append(c, b"x" * 102285) == "OK"
        c.logout()


# A user without a limit pays nothing.

def test_cost_without_a_limit(build):
    """One open() that finds nothing, at the first change of a session. With a limit the file is opened three times for
    an APPEND or a COPY, once for an EXPUNGE."""
    with Server(build) as server:
        for quota, expected in (("", 1), ("1G", 4 * 3 + 1 + 3)):
            words(server, "ann", quota and "quota=" + quota)
            c = server.imap()
            c.select()
            log = os.path.join(server.dir, "trace")
            with Traced(server, "openat", log):
                for _ in range(4):
                    assert append(c) == "OK"
                c.store("1:3", "+FLAGS", "\\Deleted")
                c.expunge()
                c.copy("1", "Trash")
            c.logout()
            with open(log) as f:
                calls = f.read().count("maildirsize")
            assert calls == expected, (quota, calls)


# The disk's own quota: EDQUOT from the system.

class Traced:
    """strace on the worker that serves the last login."""

    def __init__(self, server, inject, log="/dev/null"):
        if shutil.which("strace") is None:
            raise Skip("no strace")

        def find():
            # the end of the session before may be logged behind the begin of this one
            begun = re.findall(r"mansiod\[(\d+)\]: \w+\(ann\)\[(\w+)\]: login:", server.log())
            ended = re.findall(r"\(ann\)\[(\w+)\]: [^:]+: in=", server.log())
            left = [pid for pid, session in begun if session not in ended]
            return left[0] if len(left) == 1 else None
        pid = wait_until(find, 10, "the login line")
        command = ["strace", "-o", log, "-p", pid, "-e", "trace=" + inject.split(":")[0]]
        if ":" in inject:
            command += ["-e", "inject=" + inject]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        line = self.process.stderr.readline()
        if "attached" not in line:
            self.process.wait()
            raise Skip("strace: " + line.strip())

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.wait()
        self.process.stderr.close()


EDQUOT_CASES = ("write:error=EDQUOT:when=1", "write:error=EDQUOT:when=2", "fsync:error=EDQUOT:when=1",
                "pwrite64:error=EDQUOT:when=1", "openat:error=EDQUOT:when=1", "openat:error=EDQUOT:when=2",
                "fdatasync:error=EDQUOT:when=1", "fdatasync:error=EDQUOT:when=2")


def test_full_disk_quota_at_append(build):
    """NO [OVERQUOTA] and nothing left, or OK and the message is there: for each call that may say EDQUOT."""
    refused = 0
    with Server(build) as server:
        c = server.imap()
        assert append(c) == "OK"
        for case in EDQUOT_CASES:
            before = files(server)
            with Traced(server, case):
                status, data = c.append("INBOX", None, None, BODY * 1000)
            after = files(server)
            assert after[1] == [], (case, after)
            if status == "OK":
                assert len(after[0]) == len(before[0]) + 1, case
            else:
                refused += 1
                assert b"[OVERQUOTA]" in data[0], (case, data)
                assert after == before, case
        assert refused >= 3, refused
        assert append(c) == "OK"
        c.select()
        assert len(c.search(None, "ALL")[1][0].split()) == len(files(server)[0])
        c.logout()
        assert server.ctl("mailbox", "check", "ann").returncode == 0


def test_full_disk_quota_at_copy(build):
    """Where the system has no room for the new name: NO [OVERQUOTA], none of the copies stays."""
    with Server(build) as server:
        c = server.imap()
        assert append(c) == "OK" and append(c) == "OK" and append(c) == "OK"
        c.select()
        for case in ("linkat:error=EDQUOT:when=1", "linkat:error=EDQUOT:when=2"):
            with Traced(server, case):
                status, data = c.copy("1:3", "Trash")
            assert status == "NO" and b"[OVERQUOTA]" in data[0], (case, status, data)
            assert files(server, ".Trash") == ([], []), case
        assert c.copy("1:3", "Trash")[0] == "OK"
        c.logout()
        assert server.ctl("mailbox", "check", "ann").returncode == 0


def test_full_disk_quota_at_pop3_quit(build):
    """A deletion needs room in the index: -ERR, or done; a later session finds a whole mailbox in both cases."""
    with Server(build) as server:
        c = server.imap()
        for _ in range(4):
            assert append(c) == "OK"
        c.logout()
        for case in ("pwrite64:error=EDQUOT:when=1", "unlinkat:error=EDQUOT:when=1", "fsync:error=EDQUOT:when=1"):
            p = server.pop3()
            count = p.stat()[0]
            p.dele(1)
            with Traced(server, case):
                try:
                    line = p.quit()
                except harness.poplib.error_proto as error:
                    line = error.args[0]
            left = len(files(server)[0])
            p = server.pop3()
            assert p.stat()[0] == left, (case, line)
            p.quit()
            if line.startswith(b"+OK"):
                assert left == count - 1, (case, line)
            else:
                assert line.startswith(b"-ERR [SYS/TEMP]") and left in (count, count - 1), (case, line)
        assert server.ctl("mailbox", "check", "ann").returncode == 0


if __name__ == "__main__":
    sys.exit(harness.main(globals()))
