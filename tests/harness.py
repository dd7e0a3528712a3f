"""A mansiod of its own for a test: temporary directory, free loopback ports, users, clean-up.

    with Server(build_dir) as server:
        server.imap()    # an imaplib.IMAP4 connection, logged in as "ann"

Uses only Python's standard library. Ends only processes that it started.
"""

import contextlib
import imaplib
import os
import poplib
import pwd
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

# nohup and background shells leave these ignored, and programs keep to that
for _signal in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_signal) == signal.SIG_IGN:
        signal.signal(_signal, signal.SIG_DFL)

PASSWORD = "secret"
USERS = ("ann", "bob", "carl")
START_SECONDS = 20


def free_port():
    """A loopback port that nobody listens on now, below those that the system gives to clients: a connection of another
    test could take one of them before the server binds it."""
    for _ in range(1000):
        port = random.SystemRandom().randint(10240, 32000)
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise AssertionError("no free port")


def wait_until(condition, seconds=10, what="condition"):
    """Polls until condition() is true; fails the test after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        result = condition()
        if result:
            return result
        time.sleep(0.02)
    raise AssertionError("timed out waiting for " + what)


class Server:
    """One running server. `settings` override or add configuration keys (value None leaves a key out)."""

    def __init__(self, build, settings=None, users=USERS, mail_user=None, start=True):
        self.build = os.path.abspath(build)
        self.dir = tempfile.mkdtemp(prefix="mansio-test-")
        os.chmod(self.dir, 0o755)
        self.ports = {name: free_port() for name in ("imap", "imaps", "pop3", "pop3s")}
        self.process = None
        self.log_path = os.path.join(self.dir, "log")
        self.conf_path = os.path.join(self.dir, "mansio.conf")
        self.users_path = os.path.join(self.dir, "users")
        self.cert = os.path.join(self.dir, "cert.pem")
        self.key = os.path.join(self.dir, "key.pem")
        self.mail_dir = os.path.join(self.dir, "mail")
        os.mkdir(self.mail_dir, 0o700)
        if mail_user is None:
            mail_user = "nobody" if os.geteuid() == 0 else None
        self.mail_user = mail_user
        self.settings = {
            "imap_listen": "127.0.0.1:%d" % self.ports["imap"],
            "imaps_listen": "127.0.0.1:%d" % self.ports["imaps"],
            "pop3_listen": "127.0.0.1:%d" % self.ports["pop3"],
            "pop3s_listen": "127.0.0.1:%d" % self.ports["pop3s"],
            "tls_certificate": self.cert,
            "tls_key": self.key,
            "login_security": "any",
            "user_db": "file:" + self.users_path,
            "mail_location": self.mail_dir + "/%u/Maildir",
            "state_dir": os.path.join(self.dir, "state"),
            "run_dir": os.path.join(self.dir, "run"),
            "pid_file": os.path.join(self.dir, "run", "mansiod.pid"),
            "log": self.log_path,
            "login_failure_delay": "0",
        }
        if mail_user is not None:
            entry = pwd.getpwnam(mail_user)
            self.settings["mail_user"] = "%d:%d" % (entry.pw_uid, entry.pw_gid)
            os.chown(self.mail_dir, entry.pw_uid, entry.pw_gid)
        self.settings.update(settings or {})
        self.write_conf()
        with open(self.users_path, "w") as f:
            os.fchmod(f.fileno(), 0o600)
            for user in users:
                f.write("%s:{PLAIN}%s\n" % (user, PASSWORD))
        self.ctl("cert", "selfsigned", check=True)
        if start:
            try:
                self.start()
            except BaseException:
                self.close()
                raise

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def program(self, name):
        return os.path.join(self.build, name)

    def write_conf(self):
        with open(self.conf_path, "w") as f:
            for key, value in self.settings.items():
                if value is not None:
                    f.write("%s = %s\n" % (key, value))

    def ctl(self, *args, stdin="", check=False):
        """Runs mansioctl; returns the finished process (text)."""
        done = subprocess.run([self.program("mansioctl"), "-c", self.conf_path, *args], input=stdin,
                              text=True, capture_output=True, timeout=60)
        if check and done.returncode != 0:
            raise AssertionError("mansioctl %s: exit %d\n%s%s" %
                                 (" ".join(args), done.returncode, done.stdout, done.stderr))
        return done

    def start(self):
        """Starts mansiod in the foreground and waits until its ports answer."""
        self.stderr = open(os.path.join(self.dir, "stderr"), "ab")
        command = [self.program("mansiod"), "-F", "-c", self.conf_path]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.stderr,
                                        stderr=self.stderr, start_new_session=True)
        ports = [self.ports[n] for n in self.ports if self.settings.get(n + "_listen")]
        wait_until(lambda: self._answers(ports), START_SECONDS, "the server to start\n" + self.tail())

    def _answers(self, ports):
        if self.process.poll() is not None:
            raise AssertionError("mansiod ended with status %d\n%s" %
                                 (self.process.returncode, self.tail()))
        for port in ports:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=2).close()
            except OSError:
                return False
        return True

    def stop(self, seconds=20):
        """SIGTERM, then waits; returns the exit status. SIGKILL for the whole group after `seconds`."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        status = self.process.wait()
        self.process = None
        self.stderr.close()
        return status

    def close(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def tail(self, octets=3000):
        text = ""
        for name in ("stderr", "log"):
            with contextlib.suppress(OSError):
                with open(os.path.join(self.dir, name), errors="replace") as f:
                    text += "--- %s\n%s" % (name, f.read()[-octets:])
        return text

    def children(self):
        """Pids of the master's children and their children."""
        found, queue = [], [self.process.pid]
        while queue:
            pid = queue.pop()
            with contextlib.suppress(OSError):
                with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
                    for word in f.read().split():
                        found.append(int(word))
                        queue.append(int(word))
        return found

    def maildir(self, user="ann"):
        return os.path.join(self.mail_dir, user, "Maildir")

    def deliver(self, data, user="ann", folder=""):
        """Puts a message into new/ as a delivery agent does. Returns the file name."""
        base = self.maildir(user)
        if folder:
            base = os.path.join(base, "." + folder)
        Server.counter = getattr(Server, "counter", 0) + 1
        name = "%d.M%dP%d.test" % (time.time(), Server.counter, os.getpid())
        path = os.path.join(base, "tmp", name)
        with open(path, "wb") as f:
            f.write(data)
        if self.mail_user is not None:
            entry = pwd.getpwnam(self.mail_user)
            os.chown(path, entry.pw_uid, entry.pw_gid)
        os.rename(path, os.path.join(base, "new", name))
        return name

    def tls_client(self):
        """A client's TLS context that trusts this server's certificate, and checks names."""
        return ssl.create_default_context(cafile=self.cert)

    def connect(self, service="imap"):
        """A bare socket to a service, TLS already on for imaps and pop3s."""
        s = socket.create_connection(("127.0.0.1", self.ports[service]), timeout=20)
        if service.endswith("s"):
            s = self.tls_client().wrap_socket(s, server_hostname="localhost")
        return s

    def imap(self, user="ann", password=PASSWORD, tls=False):
        if tls:
            c = imaplib.IMAP4_SSL("127.0.0.1", self.ports["imaps"], ssl_context=self._loopback_tls(),
                                  timeout=60)
        else:
            c = imaplib.IMAP4("127.0.0.1", self.ports["imap"], timeout=60)
        c.login(user, password)
        return c

    def pop3(self, user="ann", password=PASSWORD, tls=False):
        if tls:
            c = poplib.POP3_SSL("127.0.0.1", self.ports["pop3s"], context=self._loopback_tls(), timeout=60)
        else:
            c = poplib.POP3("127.0.0.1", self.ports["pop3"], timeout=60)
        c.user(user)
        c.pass_(password)
        return c

    def _loopback_tls(self):
        return self.tls_client()


class Results:
    """Counts test functions and prints `N passed, N failed, N skipped` as the last line."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def run(self, name, function, *args):
        started = time.monotonic()
        try:
            function(*args)
        except Skip as reason:
            self.skipped += 1
            print("skip %s: %s" % (name, reason))
        except Exception as error:  # a test's failure of any kind is reported, and the next one runs
            import traceback
            self.failed += 1
            print("FAIL %s: %s" % (name, error))
            traceback.print_exc(file=sys.stdout)
        else:
            self.passed += 1
            print("ok   %s (%.1f s)" % (name, time.monotonic() - started))
        sys.stdout.flush()

    def finish(self):
        print("%d passed, %d failed, %d skipped" % (self.passed, self.failed, self.skipped))
        return 1 if self.failed or not self.passed + self.skipped else 0


class Skip(Exception):
    """Raised by a test that can't run here; the text is the reason."""


def main(namespace, arguments=None):
    """Runs every test_* function of a module with the build directory (first argument); further
    arguments choose tests by a part of their name."""
    arguments = sys.argv[1:] if arguments is None else arguments
    build = arguments[0] if arguments else "."
    results = Results()
    for name, function in list(namespace.items()):
        if name.startswith("test_") and callable(function):
            if len(arguments) < 2 or any(word in name for word in arguments[1:]):
                results.run(name, function, build)
    return results.finish()
