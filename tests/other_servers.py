"""Dovecot and Courier from their Debian packages, unpacked into a directory of the test's own: nothing is installed,
no daemon is started. Their IMAP and POP3 programs talk over a pipe, already authenticated, as the owner of the mail.

    servers = Unpacked(cache, directory)      # downloads what isn't in `cache` yet
    c = servers.dovecot_imap(home, conf)      # an imaplib.IMAP4
"""

import atexit
import functools
import glob
import imaplib
import os
import pwd
import re
import shutil
import subprocess
import tempfile

PACKAGES = ("dovecot-core", "dovecot-imapd", "dovecot-pop3d", "courier-imap", "courier-pop", "courier-base",
            "courier-authlib")


def output(*command, cwd=None):
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300)
    if done.returncode != 0:
        raise AssertionError("%s: %s" % (" ".join(command[:3]), (done.stderr or done.stdout)[-1000:]))
    return done.stdout


def libraries():
    """The shared libraries that the packages need, and those need in turn, as far as they aren't installed."""
    found = set()
    wanted = list(PACKAGES)
    for _ in range(2):
        text = output("apt-cache", "depends", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks",
                      "--no-replaces", "--no-enhances", *wanted)
        names = set(re.findall(r"Depends: (lib[a-z0-9.+-]+)$", text, re.M)) - found
        found |= names
        wanted = sorted(names)
        if not wanted:
            break
    return sorted(name for name in found if not installed(name))


def installed(package):
    done = subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Status}", package], capture_output=True, text=True)
    return done.stdout == "installed"


def download(cache):
    """Gets the packages once; a directory that's complete has the file `complete`."""
    if os.path.exists(os.path.join(cache, "complete")):
        return
    shutil.rmtree(cache, ignore_errors=True)
    os.makedirs(cache)
    try:
        output("apt-get", "download", "-q", *PACKAGES, *libraries(), cwd=cache)
    except AssertionError:
        if os.geteuid() != 0:
            raise
        output("apt-get", "update", "-q")
        output("apt-get", "download", "-q", *PACKAGES, *libraries(), cwd=cache)
    open(os.path.join(cache, "complete"), "w").close()


@functools.lru_cache(None)
def unpacked(cache):
    """A directory with the packages' files, where the owner of the mail can read them; gone when the test ends."""
    download(cache)
    root = tempfile.mkdtemp(prefix="other-servers-")
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    for package in sorted(glob.glob(os.path.join(cache, "*.deb"))):
        output("dpkg-deb", "-x", package, root)
    os.chmod(root, 0o755)
    return root


class Pipe(imaplib.IMAP4):
    """IMAP over the standard input and output of a program that begins with PREAUTH."""

    def __init__(self, spawn):
        self.spawn = spawn
        super().__init__()

    def open(self, host="", port=0, timeout=None):
        self.process = self.spawn()
        self.first = b""
        while b"PREAUTH" not in self.first:  # Courier may complain of what it lacks before that
            self.first = self.process.stdout.readline()
            if not self.first:
                raise AssertionError("the server doesn't greet")

    def read(self, size):
        return self.process.stdout.read(size)

    def readline(self):
        line, self.first = self.first, b""
        return line or self.process.stdout.readline()

    def send(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def shutdown(self):
        self.process.stdin.close()
        self.process.stdout.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Unpacked:
    def __init__(self, cache, directory, mail_user):
        self.root = unpacked(cache)
        self.user = pwd.getpwnam(mail_user) if mail_user else pwd.getpwuid(os.geteuid())
        self.switch = bool(mail_user)
        # what is installed comes first, as in a real system; the rest from here
        self.libraries = ":".join(self.path(p) for p in (
            "usr/lib/dovecot", "usr/lib", "usr/lib/courier-authlib", "usr/lib/x86_64-linux-gnu",
            "lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "lib/aarch64-linux-gnu"))
        self.conf = os.path.join(directory, "dovecot.conf")

    def path(self, name):
        return os.path.join(self.root, name)

    def spawn(self, command, home, env):
        full = {"PATH": "/usr/bin:/bin", "HOME": home, "USER": "ann", "LD_LIBRARY_PATH": self.libraries, "TZ": "UTC"}
        full.update(env)
        who = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []} if self.switch else {}
        return subprocess.Popen(command, cwd=home, env=full, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, **who)

    def write_dovecot_conf(self, lines=""):
        with open(self.conf, "w") as f:
            f.write("mail_location = maildir:~/Maildir\nfirst_valid_uid = 1\nprotocols = imap pop3\nssl = no\nmail_fsync = never\n"
                    "base_dir = %s/run\nmail_uid = %d\nmail_gid = %d\nmail_access_groups =\nmail_privileged_group =\n"
                    "namespace inbox {\n  inbox = yes\n  separator = /\n}\n%s\n" %
                    (os.path.dirname(self.conf), self.user.pw_uid, self.user.pw_gid, lines))

    def dovecot(self, service, home):
        """doveconf turns the file into the environment that the program takes its settings from."""
        command = [self.path("usr/bin/doveconf"), "-c", self.conf, "-m", service, "-e",
                   self.path("usr/lib/dovecot/" + service)]
        return self.spawn(command, home, {})

    def dovecot_imap(self, home):
        return Pipe(lambda: self.dovecot("imap", home))

    def courier_env(self):
        # with locks, each command would wait for the File Access Monitor, which isn't there
        return {"AUTHENTICATED": "ann", "AUTHADDR": "ann", "IMAP_KEYWORDS": "1", "IMAP_USELOCKS": "0",
                "IMAP_CAPABILITY": "IMAP4rev1 UIDPLUS CHILDREN NAMESPACE"}

    def courier_imap(self, home):
        return Pipe(lambda: self.spawn([self.path("usr/bin/imapd"), "Maildir"], home, self.courier_env()))

    def courier_make(self, home):
        done = self.spawn([self.path("usr/bin/maildirmake.courier"), "Maildir"], home, {})
        done.communicate()
        assert done.returncode == 0

    def pop3(self, name, home):
        """{Subject: UIDL} as the server's POP3 says."""
        if name == "dovecot":
            process = self.dovecot("pop3", home)
        else:
            process = self.spawn([self.path("usr/lib/courier/courier/courierpop3d"), "Maildir"], home,
                                 self.courier_env())

        def answer(multi):
            line = process.stdout.readline()
            assert line.startswith(b"+OK"), line
            lines = []
            while multi:
                line = process.stdout.readline()
                if line in (b".\r\n", b""):
                    break
                lines.append(line.rstrip(b"\r\n"))
            return lines

        def command(text, multi=False):
            process.stdin.write(text.encode() + b"\r\n")
            process.stdin.flush()
            return answer(multi)
        if name == "courier":  # Dovecot's login program would have said it
            answer(False)
        found = {}
        for line in command("UIDL", True):
            number, uidl = line.decode().split(" ", 1)
            subject = [t for t in command("TOP %s 0" % number, True) if t.startswith(b"Subject: ")]
            found[subject[0][9:].decode()] = uidl
        command("QUIT")
        process.stdin.close()
        process.wait(20)
        return found
