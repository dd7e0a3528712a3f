#!/usr/bin/env python3
"""mansioctl: users, certificates, mailboxes, exit statuses and prompts; the init script around it.

    ctl.py BUILD_DIRECTORY [WORD ...]
"""

import os
import pty
import re
import signal
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness  # noqa: E402
from harness import Server, Skip, wait_until  # noqa: E402

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def idle(build, **more):
    return Server(build, start=False, **more)


def users(server):
    with open(server.users_path) as f:
        return f.read()


# Users

def test_add_list_test_delete(build):
    with idle(build, users=()) as server:
        done = server.ctl("user", "add", "Ann@Example.org", "quota=1G", "pop3=no", stdin="first\n")
        assert (done.returncode, done.stdout) == (0, "ann@example.org added\n"), done
        assert re.fullmatch(r"ann@example\.org:\$y\$\S+::::::quota=1G pop3=no\n", users(server)), users(server)
        assert os.stat(server.users_path).st_mode & 0o777 == 0o600
        lines = server.ctl("user", "list").stdout.splitlines()
        assert lines[0].split() == ["user", "scheme", "imap", "pop3", "words"]
        assert lines[1].split() == ["ann@example.org", "YESCRYPT", "yes", "no", "quota=1G", "pop3=no"], lines
        good = server.ctl("user", "test", "ann@example.org", stdin="first\n")
        assert good.returncode == 0 and "password  right" in good.stdout and "quota     1G" in good.stdout, good
        assert server.mail_dir in good.stdout
        bad = server.ctl("user", "test", "ann@example.org", stdin="other\n")
        assert bad.returncode == 1 and "password  wrong" in bad.stdout, bad
        assert server.ctl("user", "del", "ann@example.org").returncode == 0
        assert users(server) == ""


def test_scheme_option(build):
    with idle(build, users=()) as server:
        assert server.ctl("user", "add", "-s", "SHA512-CRYPT", "bob", stdin="x\n").returncode == 0
        assert users(server).startswith("bob:") and "$6$" in users(server)
        assert server.ctl("user", "passwd", "-s", "BLF-CRYPT", "bob", stdin="y\n").returncode == 0
        assert "$2" in users(server)
        assert server.ctl("user", "test", "bob", stdin="y\n").returncode == 0
        done = server.ctl("user", "passwd", "-s", "NONSENSE", "bob", stdin="y\n")
        assert done.returncode == 64 and "NONSENSE" in done.stderr, done


def test_answers_no(build):
    """Exit status 1, and a text that says what is wrong."""
    with idle(build) as server:
        before = users(server)
        for args in (("add", "ann"), ("passwd", "nobody-here"), ("del", "nobody-here"), ("test", "nobody-here"),
                     ("add", "root"), ("add", "../x"), ("add", ".hidden"), ("add", "a:b"), ("add", "a b"),
                     ("add", "x" * 300), ("add", "new", "words\nwith=newline")):
            done = server.ctl("user", *args, stdin="pw\n")
            assert done.returncode == 1 and done.stderr.startswith("mansioctl: "), (args, done)
        assert users(server) == before


def test_empty_and_missing_passwords(build):
    with idle(build) as server:
        before = users(server)
        for text in ("", "\n", "x" * 2000 + "\n"):
            assert server.ctl("user", "add", "new", stdin=text).returncode == 1, repr(text)
        assert users(server) == before
        # without a line's end, as a file may be
        assert server.ctl("user", "add", "new", stdin="pw").returncode == 0
        assert server.ctl("user", "test", "new", stdin="pw\r\n").returncode == 0


def prompt(server, args, answers):
    """Runs mansioctl on a terminal of its own. Returns its exit status and what the terminal showed."""
    pid, fd = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored, if the tests run in the background
        os.execv(server.program("mansioctl"), ["mansioctl", "-c", server.conf_path, *args])
    shown = b""
    try:
        for text in answers:
            while not shown.endswith(b": "):
                shown += os.read(fd, 1000)
            time.sleep(0.1)  # the echo is switched off after the prompt is written
            os.write(fd, text)
            shown += b"|"
        while True:
            more = os.read(fd, 1000)
            if not more:
                break
            shown += more
    except OSError:  # the terminal's end
        pass
    os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def test_prompt_asks_twice_without_echo(build):
    with idle(build, users=()) as server:
        status, shown = prompt(server, ["user", "add", "ann"], [b"topsecret\n", b"topsecret\n"])
        assert status == 0, shown
        assert "topsecret" not in shown and shown.count("Password for ann: ") == 1 and "Again: " in shown, shown
        assert server.ctl("user", "test", "ann", stdin="topsecret\n").returncode == 0
        status, shown = prompt(server, ["user", "passwd", "ann"], [b"one\n", b"two\n"])
        assert status == 1 and "differ" in shown, shown
        status, shown = prompt(server, ["user", "test", "ann"], [b"topsecret\n"])
        assert status == 0 and "topsecret" not in shown and "Again" not in shown, shown


def test_interrupted_prompt(build):
    with idle(build) as server:
        before = users(server)
        status, shown = prompt(server, ["user", "passwd", "ann"], [b"abc\x03"])
        assert status == -2, (status, shown)
        assert users(server) == before


def test_running_server_takes_changes(build):
    with Server(build) as server:
        assert server.ctl("user", "add", "dora", stdin="one\n").returncode == 0
        server.imap("dora", "one").logout()
        assert server.ctl("user", "passwd", "dora", stdin="two\n").returncode == 0
        server.imap("dora", "two").logout()
        assert server.ctl("user", "del", "dora").returncode == 0
        try:
            server.imap("dora", "two")
        except harness.imaplib.IMAP4.error:
            return
        raise AssertionError("a deleted user logged in")


# Usage and the server's state

def test_usage(build):
    with idle(build) as server:
        for args in ((), ("nonsense",), ("user",), ("user", "add"), ("user", "list", "x"), ("kick",), ("status", "x"),
                     ("cert", "selfsigned", "-d", "0"), ("mailbox", "check"), ("help", "nonsense"), ("-x",)):
            done = server.ctl(*args)
            assert done.returncode == 64 and done.stderr and not done.stdout, (args, done)
        done = server.ctl("help", "user", "add")
        assert done.returncode == 0 and "user add" in done.stdout and "passwd" not in done.stdout, done
        assert len(server.ctl("help").stdout.splitlines()) >= 19


def test_not_running(build):
    with idle(build) as server:
        for args in (("status",), ("who",), ("kick", "ann"), ("reload",), ("reopen",), ("stop",)):
            done = server.ctl(*args)
            assert done.returncode == 69 and "isn't running" in done.stderr, (args, done)


def test_bad_configuration(build):
    with idle(build) as server:
        server.settings["user_db"] = "nonsense"
        server.write_conf()
        for args in (("user", "list"), ("cert", "show"), ("config", "check"), ("mailbox", "check", "ann")):
            done = server.ctl(*args)
            assert done.returncode == 78 and "user_db" in done.stderr, (args, done)


# Certificates

def test_certificates(build):
    with idle(build) as server:
        done = server.ctl("cert", "selfsigned")
        assert done.returncode == 1, done  # they're there already, and stay
        shown = server.ctl("cert", "show").stdout
        assert "localhost" in shown and "SHA-256" in shown, shown
        for path in (server.cert, server.key):
            os.remove(path)
        assert server.ctl("cert", "selfsigned", "-d", "30", "mail.example.org").returncode == 0
        assert os.stat(server.key).st_mode & 0o777 == 0o600
        text = subprocess.run(["openssl", "x509", "-in", server.cert, "-noout", "-ext", "subjectAltName", "-checkend",
                               str(29 * 86400)], capture_output=True, text=True)
        assert text.returncode == 0 and "DNS:mail.example.org" in text.stdout, text
        assert "mail.example.org" in server.ctl("cert", "show", server.cert).stdout
        assert server.ctl("cert", "show", "/nonexistent").returncode != 0


# Mailboxes

def test_mailbox_check_and_rebuild(build):
    with Server(build) as server:
        c = server.imap()
        c.create("Work")
        c.logout()
        for folder in ("", "Work"):
            for n in range(3):
                server.deliver(b"Subject: %d\r\n\r\nbody\r\n" % n, folder=folder)
        c = server.imap()
        c.select("Work")
        uids = c.uid("SEARCH", "ALL")[1]
        done = server.ctl("mailbox", "check", "ann", "Work")
        assert done.returncode == 0 and done.stdout.endswith("no faults\n"), done
        done = server.ctl("mailbox", "rebuild", "ann")
        assert done.returncode == 0, done
        assert c.uid("SEARCH", "ALL")[1] == uids, "a rebuild keeps UIDs"
        c.logout()
        owner = os.stat(server.maildir()).st_uid
        for root, dirs, files in os.walk(server.maildir()):
            for name in dirs + files:
                assert os.lstat(os.path.join(root, name)).st_uid == owner, (root, name)
        assert server.ctl("mailbox", "check", "ann", "Nowhere").returncode == 1
        assert server.ctl("mailbox", "check", "nobody-here").returncode == 1
        assert server.ctl("mailbox", "check", "carl").returncode == 1, "no mail yet, and none is made"
        assert not os.path.exists(server.maildir("carl"))


def test_all_who_can_be_reached(build):
    """import -a and export -a: one user whose mail can't be reached is named once, and doesn't stop the others."""
    with Server(build) as server:
        for user in ("ann", "bob"):
            server.imap(user).logout()
        home = os.path.dirname(server.maildir("ann"))
        owner = os.stat(home)
        os.chown(home, os.geteuid(), os.getegid())
        os.chmod(home, 0)
        try:
            for word in ("import", "export"):
                done = server.ctl(word, "-a")
                assert done.returncode == 77 and done.stderr.count("Permission denied") == 1, done
                assert "bob: " in done.stdout and "ann: " not in done.stdout and "carl" not in done.stdout, done
        finally:
            os.chown(home, owner.st_uid, owner.st_gid)
            os.chmod(home, owner.st_mode & 0o7777)


# The init script and its neighbours

def init_script(server):
    path = os.path.join(server.dir, "mansio.init")
    with open(os.path.join(server.build, "etc", "mansio.init")) as f:
        text = f.read()
    text = re.sub(r"^DAEMON=.*$", "DAEMON=" + server.program("mansiod"), text, flags=re.M)
    text = re.sub(r"^CTL=.*$", "CTL=" + server.program("mansioctl"), text, flags=re.M)
    text = re.sub(r"^CONFIG=.*$", "CONFIG=" + server.conf_path, text, flags=re.M)
    with open(path, "w") as f:
        f.write(text)
    return lambda word: subprocess.run(["sh", path, word], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                       timeout=60).returncode


def test_init_script(build):
    """Exit statuses of the Linux Standard Base, Core 22.2."""
    with idle(build) as server:
        run = init_script(server)
        pid_file = server.settings["pid_file"]
        assert run("status") == 3
        assert run("stop") == 0
        assert run("reload") == 7
        try:
            assert run("start") == 0
            assert run("start") == 0, "a start of what runs is a success"
            assert run("status") == 0
            assert run("reload") == 0
            with open(pid_file) as f:
                first = int(f.read())
            assert run("restart") == 0
            with open(pid_file) as f:
                assert int(f.read()) != first
            assert run("force-reload") == 0
            server.settings["imap_min_spare"] = "x"
            server.write_conf()
            assert run("restart") == 6 and run("status") == 0, "a bad file doesn't stop a server that works"
        finally:
            assert run("stop") == 0
        assert run("status") == 3
        del server.settings["imap_min_spare"]
        server.write_conf()
        with open(pid_file, "w") as f:
            f.write("1\n")
        assert run("status") == 1
        assert run("nonsense") == 2


def test_unit_file(build):
    if not shutil.which("systemd-analyze"):
        raise Skip("no systemd-analyze")
    with idle(build) as server:
        path = os.path.join(server.dir, "mansio.service")
        with open(os.path.join(build, "etc", "mansio.service")) as f:
            text = f.read()
        assert "@" not in text.replace("@system-service", "")
        text = re.sub(r"=\S+/(mansiod|mansioctl)", lambda m: "=" + server.program(m.group(1)), text)
        text = re.sub(r"^Documentation=.*\n", "", text, flags=re.M)  # it asks man for the pages, which aren't installed
        with open(path, "w") as f:
            f.write(text)
        done = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True)
        about = [line for line in done.stderr.splitlines() if "mansio" in line]
        assert not about, about


def test_logrotate_file(build):
    program = shutil.which("logrotate") or shutil.which("logrotate", path="/usr/sbin:/sbin")
    if program is None:
        raise Skip("no logrotate")
    if os.geteuid() != 0:
        raise Skip("needs root")
    with Server(build) as server:
        with open(os.path.join(build, "etc", "mansio.logrotate")) as f:
            text = f.read()
        text = text.replace("/var/log/mansio.log", server.log_path)
        text = re.sub(r"\S+/mansioctl", server.program("mansioctl") + " -c " + server.conf_path, text)
        wait_until(lambda: "started" in server.log(), 10, "the first line: an empty log isn't rotated")
        path = os.path.join(server.dir, "rotate")
        with open(path, "w") as f:
            f.write(text)
        done = subprocess.run([program, "-f", "-s", path + ".state", path], capture_output=True, text=True)
        assert done.returncode == 0, done
        wait_until(lambda: os.path.exists(server.log_path) and "opened again" in server.log(), 5, "the new file")
        assert os.path.exists(server.log_path + ".1")


def told(s, name):
    """The datagram that has this word; systemd's are lines of NAME=value."""
    text = s.recv(1000).decode()
    assert name in text.split("\n"), text
    return text


def test_notify_socket(build):
    """What systemd is told: READY when clients are served, STOPPING at the end. Its socket may have no file."""
    import socket
    with idle(build) as server, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s, \
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hidden:
        path = os.path.join(server.dir, "notify")
        s.bind(path)
        os.chmod(path, 0o666)
        s.settimeout(10)
        hidden.bind("\0" + path)
        hidden.settimeout(10)
        try:
            os.environ["NOTIFY_SOCKET"] = path
            server.start()
            assert "MAINPID=%d" % server.process.pid in told(s, "READY=1")
            assert server.ctl("reload").returncode == 0
            told(s, "RELOADING=1")
            told(s, "READY=1")
            server.process.terminate()
            told(s, "STOPPING=1")
            server.stop()
            os.environ["NOTIFY_SOCKET"] = "@" + path
            server.start()
            told(hidden, "READY=1")
        finally:
            del os.environ["NOTIFY_SOCKET"]


if __name__ == "__main__":
    sys.exit(harness.main(globals()))
