#!/usr/bin/env python3
"""The server's processes: start, second start, bad configuration, reload, stop, log rotation, kick, the spare band,
and what happens when a worker or the master is killed.

    server.py BUILD_DIRECTORY [WORD ...]
"""

import os
import pwd
import re
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness  # noqa: E402
from harness import PASSWORD, Server, Skip, wait_until  # noqa: E402

POOL = {"imap_min_spare": "3", "imap_max_spare": "5", "imap_max_workers": "200", "pop3_min_spare": "2",
        "pop3_max_spare": "4", "pop3_max_workers": "50", "shutdown_grace": "3"}


class Client:
    """An IMAP connection by hand: what a test sends is what goes out."""

    def __init__(self, server, service="imap", login=False):
        self.socket = server.connect(service)
        self.file = self.socket.makefile("rb")
        self.greeting = self.line()
        if login:
            done = self.command("LOGIN ann " + PASSWORD)
            assert b"OK" in done[-1], done

    def line(self):
        return self.file.readline()

    def send(self, text):
        self.socket.sendall(text.encode() + b"\r\n")

    def command(self, text):
        """All lines up to the tagged one."""
        self.send("t " + text)
        lines = [self.line()]
        while lines[-1] and not lines[-1].startswith(b"t "):
            lines.append(self.line())
        return lines

    def rest(self, seconds=10):
        """What comes until the server ends the connection."""
        self.socket.settimeout(seconds)
        return self.file.read()

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


def answers(client):
    try:
        return b"OK" in client.command("NOOP")[-1]
    except OSError:
        return False


class Watched(Server):
    """Fails the test when a process of it wrote a sanitizer's report."""

    def __exit__(self, kind, *unused):
        self.stop()
        text = self.tail(100000)
        self.close()
        if kind is None and ("Sanitizer" in text or "runtime error" in text or "panic" in text):
            raise AssertionError(text)


def new(build, settings=None, **more):
    """A server whose start has worked: the ports answer a moment before its processes are there."""
    server = Watched(build, {**POOL, **(settings or {})}, **more)
    if server.process is not None:
        try:
            wait_until(lambda: logged(server, " started: "), 20, "the start")
        except BaseException:
            server.close()
            raise
    return server


def status(server):
    """service -> column -> text, of `mansioctl status`."""
    lines = server.ctl("status", check=True).stdout.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("service"))
    names = lines[start].split()
    return {line.split()[0]: dict(zip(names, line.split())) for line in lines[start + 1:]}


def who(server):
    lines = server.ctl("who", check=True).stdout.splitlines()
    names = lines[0].split()
    return [dict(zip(names, line.split(None, len(names) - 1))) for line in lines[1:]]


def comm(pid):
    try:
        with open("/proc/%d/comm" % pid) as f:
            return f.read().strip()
    except OSError:
        return ""


def workers(server, protocol="imap"):
    return [pid for pid in server.children() if comm(pid) == "mansiod-" + protocol]


def alive(pid):
    """Runs; not a zombie."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def mansiod(server, *options):
    return subprocess.run([server.program("mansiod"), "-c", server.conf_path, *options], stdin=subprocess.DEVNULL,
                          text=True, capture_output=True, timeout=60)


def logged(server, text):
    return os.path.exists(server.log_path) and text in server.log()


# Configuration and start

def test_check_option_prints_every_error(build):
    with new(build, start=False) as server:
        assert mansiod(server, "-t").returncode == 0
        server.settings.update({"imap_min_spare": "x", "imap_listne": "*:143", "login_timeout": "9999999",
                                "mail_location": "relative"})
        server.write_conf()
        done = mansiod(server, "-t")
        assert done.returncode == 78, done
        for word in ("imap_min_spare", "imap_listne", "imap_listen", "login_timeout", "mail_location"):
            assert word in done.stderr, (word, done.stderr)
        assert len(re.findall(r"mansio\.conf:\d+: ", done.stderr)) == 4, done.stderr
        check = server.ctl("config", "check")
        assert (check.returncode, check.stderr) == (78, done.stderr), check


def test_check_option_looks_at_certificate_users_and_accounts(build):
    with new(build, start=False) as server:
        os.rename(server.cert, server.cert + ".away")
        os.rename(server.users_path, server.users_path + ".away")
        if os.geteuid() == 0:
            server.settings["mail_user"] = "no-such-user"
            server.write_conf()
        done = mansiod(server, "-t")
        assert done.returncode == 78, done
        assert "mansioctl cert selfsigned" in done.stderr and "mansioctl user add" in done.stderr, done.stderr
        assert os.geteuid() != 0 or "no-such-user" in done.stderr, done.stderr


def test_bad_configuration_does_not_start(build):
    with new(build, start=False) as server:
        server.settings["imap_max_workers"] = "none"
        server.write_conf()
        for option in ([], ["-F"]):
            done = mansiod(server, *option)
            assert done.returncode == 78 and "imap_max_workers" in done.stderr, done


def test_print_option_reads_back(build):
    with new(build, start=False) as server:
        first = mansiod(server, "-T")
        path = os.path.join(server.dir, "second.conf")
        with open(path, "w") as f:
            f.write(first.stdout)
        second = subprocess.run([server.program("mansiod"), "-T", "-c", path], text=True, capture_output=True)
        assert first.returncode == second.returncode == 0 and first.stdout == second.stdout != ""


def test_wrong_usage(build):
    with new(build, start=False) as server:
        assert mansiod(server, "-x").returncode == 64
        assert mansiod(server, "word").returncode == 64
        assert mansiod(server, "-V").stdout.startswith("mansiod ")


def test_start_in_the_background_and_stop(build):
    """The exit status of the start is 0 only when clients are served; `mansioctl stop` waits for the end."""
    with new(build, start=False) as server:
        done = mansiod(server)
        assert done.returncode == 0, done
        assert done.stderr == "", done.stderr
        with open(server.settings["pid_file"]) as f:
            pid = int(f.read())
        try:
            with Client(server) as c:
                assert c.greeting.startswith(b"* OK"), c.greeting
            with open("/proc/%d/stat" % pid) as f:
                session = int(f.read().rsplit(")", 1)[1].split()[3])
            assert session != pid and session != os.getsid(0), "the daemon leads a session or is in ours"
            assert os.readlink("/proc/%d/cwd" % pid) == "/"
            for fd in ("0", "1", "2"):
                assert os.readlink("/proc/%d/fd/%s" % (pid, fd)) == "/dev/null"
            assert server.ctl("stop").stdout == "stopped\n"
            wait_until(lambda: not alive(pid), 2, "the daemon's end")
        finally:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        assert not os.path.exists(server.settings["pid_file"])
        assert os.listdir(server.settings["run_dir"]) == []
        assert server.ctl("status").returncode == 69


def test_second_start_is_refused(build):
    with new(build) as server:
        done = mansiod(server)
        assert done.returncode == 69, done
        assert "runs already" in done.stderr and str(server.process.pid) in done.stderr, done.stderr
        # without a pid file, the control socket tells
        server.settings["pid_file"] = ""
        server.write_conf()
        done = mansiod(server)
        assert done.returncode == 69 and "runs already" in done.stderr, done
        with Client(server) as c:
            assert c.greeting.startswith(b"* OK")


def test_address_in_use(build):
    with new(build, start=False) as server, socket.socket() as s:
        s.bind(("127.0.0.1", server.ports["pop3"]))
        s.listen()
        done = mansiod(server)
        assert done.returncode == 69, done
        assert "127.0.0.1:%d" % server.ports["pop3"] in done.stderr and "in use" in done.stderr, done.stderr
        assert not os.path.exists(server.settings["pid_file"])


def test_stale_files_are_no_obstacle(build):
    """After a crash of the machine the pid file and the sockets are still there."""
    with new(build, start=False) as server:
        os.mkdir(server.settings["run_dir"])
        with open(server.settings["pid_file"], "w") as f:
            f.write("1\n")
        for name in ("control", "auth"):
            with socket.socket(socket.AF_UNIX) as s:
                s.bind(os.path.join(server.settings["run_dir"], name))
        server.start()
        with Client(server, login=True):
            pass


# Privileges

def ids_of(pid):
    with open("/proc/%d/status" % pid) as f:
        text = f.read()
    return {k: re.search(r"^%s:(.*)$" % k, text, re.M).group(1).split()
            for k in ("Uid", "Gid", "Groups", "CapPrm", "CapEff", "NoNewPrivs")}


def test_workers_gave_root_up(build):
    if os.geteuid() != 0:
        raise Skip("needs root")
    with new(build) as server:
        entry = pwd.getpwnam(server.mail_user)
        with Client(server, login=True):
            for protocol in ("imap", "pop3"):
                pids = workers(server, protocol)
                assert pids
                for pid in pids:
                    ids = ids_of(pid)
                    assert ids["Uid"] == [str(entry.pw_uid)] * 4, ids
                    assert ids["Gid"] == [str(entry.pw_gid)] * 4, ids
                    assert ids["Groups"] == [] and ids["NoNewPrivs"] == ["1"], ids
                    assert ids["CapPrm"] == ids["CapEff"] == ["0" * 16], ids
        assert ids_of(server.process.pid)["Uid"][0] == "0"
        for name in ("control", "auth"):
            info = os.stat(os.path.join(server.settings["run_dir"], name))
            assert info.st_mode & 0o777 == 0o600 and info.st_uid == (0 if name == "control" else entry.pw_uid)


def parent_of(pid):
    with open("/proc/%d/status" % pid) as f:
        return int(re.search(r"^PPid:\s*(\d+)", f.read(), re.M).group(1))


def test_hashing_processes_gave_root_up(build):
    if os.geteuid() != 0:
        raise Skip("needs root")
    with new(build) as server:
        auth = [pid for pid in server.children() if comm(pid) == "mansiod-auth"]
        hashing = [pid for pid in auth if server.process.pid != parent_of(pid)]
        assert hashing, auth
        for pid in hashing:
            ids = ids_of(pid)
            assert "0" not in ids["Uid"] + ids["Gid"] + ids["Groups"], ids
            assert ids["CapPrm"] == ["0000000000000000"] and ids["NoNewPrivs"] == ["1"], ids
        # and one that is started later
        os.kill(hashing[0], signal.SIGKILL)
        late = wait_until(lambda: [pid for pid in server.children() if comm(pid) == "mansiod-auth"
                                   and pid not in auth], 5, "a new hashing process")
        wait_until(lambda: "0" not in ids_of(late[0])["Uid"], 5, "its drop of root")


def test_workers_hold_only_their_sockets(build):
    """No worker has the control socket, the auth listener, or the other protocol's listeners."""
    with new(build) as server:
        def sockets(pid):
            found = set()
            for fd in os.listdir("/proc/%d/fd" % pid):
                target = os.readlink("/proc/%d/fd/%s" % (pid, fd))
                if target.startswith("socket:"):
                    found.add(target)
            return found
        imap, pop3 = (set().union(*(sockets(p) for p in workers(server, name))) for name in ("imap", "pop3"))
        assert len(imap) == 2 and len(pop3) == 2 and not imap & pop3, (imap, pop3)
        for pid in workers(server):
            links = [os.readlink("/proc/%d/fd/%s" % (pid, fd)) for fd in os.listdir("/proc/%d/fd" % pid)]
            assert server.settings["pid_file"] not in links, links


def test_start_without_root(build):
    """On high ports, everything works with the caller's own uid."""
    if os.geteuid() != 0:
        raise Skip("every other test shows it")
    with new(build, mail_user="nobody", start=False) as server:
        entry = pwd.getpwnam("nobody")
        for root, dirs, files in os.walk(server.dir):
            for name in dirs + files:
                os.chown(os.path.join(root, name), entry.pw_uid, entry.pw_gid)
        os.chown(server.dir, entry.pw_uid, entry.pw_gid)
        program = os.path.join(server.dir, "mansiod")
        with open(server.program("mansiod"), "rb") as source, open(program, "wb") as copy:
            copy.write(source.read())  # the build directory may be closed to others
        os.chmod(program, 0o755)

        def become():
            os.setgroups([])
            os.setgid(entry.pw_gid)
            os.setuid(entry.pw_uid)
        server.stderr = open(os.path.join(server.dir, "stderr"), "ab")
        server.process = subprocess.Popen([program, "-F", "-c", server.conf_path], preexec_fn=become, cwd="/",
                                          stdin=subprocess.DEVNULL, stdout=server.stderr, stderr=server.stderr,
                                          start_new_session=True)
        wait_until(lambda: server._answers(list(server.ports.values())), 20, "the start\n" + server.tail())
        with Client(server, login=True):
            assert {ids_of(p)["Uid"][0] for p in server.children()} == {str(entry.pw_uid)}
        assert server.stop() == 0


# Reload

def test_bad_reload_changes_nothing(build):
    with new(build) as server, Client(server, login=True) as c:
        before = sorted(server.children())
        generation = re.search(r"^generation (\d+)$", server.ctl("status").stdout, re.M).group(1)
        server.settings.update({"imap_min_spare": "x", "pop3_max_spare": "y"})
        server.write_conf()
        done = server.ctl("reload")
        assert done.returncode == 78, done
        assert "imap_min_spare" in done.stderr and "pop3_max_spare" in done.stderr, done.stderr
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: server.log().count("the configuration from before stays") == 2, 5, "the log line")
        assert server.log().count("imap_min_spare") >= 2
        assert sorted(server.children()) == before
        assert "\ngeneration %s\n" % generation in server.ctl("status").stdout
        assert b"OK" in c.command("NOOP")[-1]
        with Client(server) as other:
            assert other.greeting.startswith(b"* OK")


def test_bad_certificate_at_reload_changes_nothing(build):
    with new(build) as server:
        with open(server.cert) as f:
            good = f.read()
        with open(server.cert, "w") as f:
            f.write("nonsense\n")
        assert server.ctl("reload").returncode == 78
        with open(server.cert, "w") as f:
            f.write(good)
        with Client(server, "imaps") as c:
            assert c.greeting.startswith(b"* OK")
        assert server.ctl("reload").returncode == 0
        with Client(server, "imaps") as c:
            assert c.greeting.startswith(b"* OK")


def test_reload_replaces_idle_workers_and_keeps_sessions(build):
    with new(build) as server, Client(server, login=True) as c:
        old = int(who(server)[0]["pid"])
        before = set(workers(server) + workers(server, "pop3"))
        assert server.ctl("reload", check=True).stdout == "loaded\n"
        wait_until(lambda: set(workers(server)) & before == {old}, 10, "the idle workers' end")
        wait_until(lambda: int(status(server)["imap"]["idle"]) >= 3, 10, "new workers")
        assert b"OK" in c.command("NOOP")[-1]
        c.command("LOGOUT")
        wait_until(lambda: not alive(old), 10, "the old worker's end")
        with Client(server, login=True):
            pass
        assert not re.search(r"(error|warning): ", server.log()), server.log()


def test_denied_users_follow_a_reload(build):
    with new(build, users=("ann", "root@example.org")) as server:
        server.settings["username_default_domain"] = "example.org"
        server.write_conf()
        server.ctl("reload", check=True)
        time.sleep(0.5)
        with Client(server) as c:  # root's name in the default domain is root's name
            assert b"NO [AUTHENTICATIONFAILED]" in c.command("LOGIN root " + PASSWORD)[-1]
        assert logged(server, "denied user")


def test_reload_moves_listeners(build):
    """New addresses are bound, removed ones closed at once, even while an old worker still has a session."""
    with new(build) as server, Client(server, login=True) as c:
        old, fresh = server.ports["imap"], harness.free_port()
        server.settings["imap_listen"] = "127.0.0.1:%d" % fresh
        server.settings["pop3_listen"] = ""
        server.settings["pop3s_listen"] = ""
        server.write_conf()
        server.ctl("reload", check=True)
        for port in (old, server.ports["pop3"], server.ports["pop3s"]):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
            except ConnectionRefusedError:
                continue
            raise AssertionError("port %d still listens" % port)
        server.ports["imap"] = fresh
        with Client(server) as other:
            assert other.greeting.startswith(b"* OK")
        assert status(server)["pop3"]["state"] == "off"
        wait_until(lambda: workers(server, "pop3") == [], 10, "the pop3 workers' end")
        assert b"OK" in c.command("NOOP")[-1]


def test_no_connection_is_lost_over_reloads(build):
    """Listeners that stay the same never close: clients that connect all the time notice nothing."""
    with new(build) as server:
        end = time.monotonic() + 4
        served = 0
        reloads = [subprocess.Popen([sys.executable, "-c",
                                     "import os, signal, time\n"
                                     "for i in range(12):\n"
                                     "    os.kill(%d, signal.SIGHUP); time.sleep(0.3)" % server.process.pid])]
        while time.monotonic() < end:
            with Client(server) as c:
                assert c.greeting.startswith(b"* OK"), (served, c.greeting)
                c.command("LOGOUT")
            served += 1
        reloads[0].wait()
        assert served > 50, served
        assert server.log().count("loaded again") >= 10


# Stop

def test_stop_says_bye_within_grace(build):
    with new(build) as server, Client(server, login=True) as c, Client(server) as before_login:
        started = time.monotonic()
        server.process.terminate()
        assert b"* BYE" in c.rest()
        assert b"* BYE" in before_login.rest()
        assert server.process.wait(10) == 0
        assert time.monotonic() - started < 3, "waited for the whole grace"
        assert not logged(server, "error: "), server.log()
        assert not os.path.exists(server.settings["pid_file"])


def test_stop_refuses_new_connections_at_once(build):
    with new(build) as server, Client(server, login=True) as c:
        c.send("t IDLE")
        server.process.terminate()
        wait_until(lambda: logged(server, "stopping: SIGTERM"), 5, "the stop")
        try:
            socket.create_connection(("127.0.0.1", server.ports["imap"]), timeout=5).close()
        except ConnectionRefusedError:
            pass
        else:
            raise AssertionError("connected to a server that stops")
        assert server.process.wait(10) == 0


def test_stop_kills_after_the_grace(build):
    with new(build, {"shutdown_grace": "1"}) as server, Client(server, login=True):
        pid = int(who(server)[0]["pid"])
        os.kill(pid, signal.SIGSTOP)  # it can't say anything any more
        started = time.monotonic()
        server.process.terminate()
        assert server.process.wait(10) == 0
        assert 1 <= time.monotonic() - started < 6
        assert logged(server, "killed")
        wait_until(lambda: not alive(pid), 5, "the worker's end")


def memory_holds(pid, octets):
    with open("/proc/%d/maps" % pid) as maps, open("/proc/%d/mem" % pid, "rb", 0) as memory:
        for line in maps:
            low, high = (int(x, 16) for x in line.split()[0].split("-"))
            if line.split()[1][:2] != "rw" or "[v" in line or high - low > 100 << 20:
                continue
            try:
                memory.seek(low)
                if octets in memory.read(high - low):
                    return True
            except OSError:
                pass
    return False


def test_no_password_stays_in_a_worker(build):
    """Neither a right one nor one in a command that was refused, with and without TLS."""
    secret = "an-unusual-password"
    if os.geteuid() != 0:
        raise Skip("needs root to read a worker's memory")
    with new(build) as server:
        with open(server.users_path, "a") as f:
            f.write("eve:{PLAIN}%s\n" % secret)
        refused, literal = "a LOGIN eve %s more" % secret, "b LOGIN eve {%d+}\r\n%s" % (len(secret), secret)
        for service, lines in (("imap", (refused, literal)),
                               ("imaps", ("b LOGIN eve \"%s\"" % secret,)),
                               ("pop3", ("USER eve", "PASS " + secret)), ("pop3s", ("USER eve", "PASS " + secret))):
            with Client(server, service) as c:
                for text in lines:
                    c.send(text)
                    answer = c.line()
                assert b"OK" in answer, answer
                for pid in workers(server, service[:4]):
                    assert not memory_holds(pid, secret.encode()), service


# Killed processes

def test_killed_workers_are_replaced(build):
    with new(build) as server, Client(server, login=True) as c:
        busy = int(who(server)[0]["pid"])
        for round_ in range(3):
            idle = [p for p in workers(server) if p != busy]
            for pid in idle:
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda: len([p for p in workers(server) if p != busy and p not in idle and alive(p)]) >= 3,
                       5, "new workers")
            with Client(server, login=True):
                pass
        assert b"OK" in c.command("NOOP")[-1]
        assert int(status(server)["imap"]["crashes"]) >= 6


def test_killed_session_hurts_nobody_else(build):
    with new(build) as server, Client(server, login=True) as a, Client(server, login=True) as b:
        lines = who(server)
        victim = int(lines[0]["pid"])
        os.kill(victim, signal.SIGKILL)
        assert [answers(c) for c in (a, b)].count(False) == 1
        wait_until(lambda: logged(server, "process %d ended: killed by signal 9" % victim), 5, "the log line")
        wait_until(lambda: len(who(server)) == 1, 5, "the end in who")


def test_killed_auth_process_is_replaced(build):
    with new(build) as server:
        old = wait_until(lambda: workers(server, "auth"), 5, "the auth process")[0]
        time.sleep(3.2)  # it counts as working
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: [p for p in workers(server, "auth") if p != old and alive(p)], 5, "a new auth process")
        wait_until(lambda: not alive(old), 5, "its end")
        with Client(server, login=True):
            pass


def test_workers_end_after_their_master(build):
    """The idle ones at once, the busy ones after their session; the next master can bind meanwhile."""
    with new(build) as server:
        c = Client(server, login=True)
        busy = int(who(server)[0]["pid"])
        children = server.children()
        server.process.kill()
        server.process.wait()
        wait_until(lambda: not any(alive(p) for p in children if p != busy), 5, "the others' end")
        assert alive(busy)
        assert b"OK" in c.command("NOOP")[-1]
        server.stderr.close()
        server.start()
        with Client(server, login=True):
            pass
        c.command("LOGOUT")
        c.close()
        wait_until(lambda: not alive(busy), 5, "the last worker's end")


# Log, kick, spare band

def log_files(pid):
    links = [os.readlink("/proc/%d/fd/%s" % (pid, fd)) for fd in os.listdir("/proc/%d/fd" % pid)]
    return {link for link in links if "/log" in link}


def test_log_rotation(build):
    """SIGUSR1: every process writes to the new file, those in the middle of a session too."""
    with new(build) as server, Client(server, login=True) as c:
        os.rename(server.log_path, server.log_path + ".1")
        server.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: os.path.exists(server.log_path) and logged(server, "opened again"), 5, "the new file")
        for pid in [server.process.pid] + workers(server) + workers(server, "pop3"):
            wait_until(lambda: log_files(pid) == {server.log_path}, 5, "%s %d, %s" % (comm(pid), pid, log_files(pid)))
        c.command("LOGOUT")
        wait_until(lambda: logged(server, "imap(ann)"), 5, "the session's last line in the new file")
        os.rename(server.log_path, server.log_path + ".2")
        assert server.ctl("reopen").returncode == 0
        wait_until(lambda: os.path.exists(server.log_path), 5, "the third file")


def test_kick_by_user_session_and_pid(build):
    with new(build) as server:
        for column in ("user", "session", "pid"):
            with Client(server, login=True) as c, Client(server) as other:
                line = next(w for w in who(server) if w["user"] == "ann")
                done = server.ctl("kick", line[column])
                assert done.returncode == 0, done
                assert b"* BYE" in c.rest(), column
                assert b"OK" in other.command("NOOP")[-1]
        done = server.ctl("kick", "nobody-here")
        assert done.returncode == 1 and "nobody-here" in done.stderr, done
        assert int(status(server)["imap"]["crashes"]) == 0, "a kicked worker goes on with the next client"


def test_who_shows_the_session(build):
    with new(build) as server, Client(server, "imaps") as c:
        assert b"OK" in c.command("LOGIN ann " + PASSWORD)[-1]
        line = wait_until(lambda: [w for w in who(server) if w["user"] == "ann"], 5, "the login in who")[0]
        assert line["service"] == "imap" and line["address"] == "127.0.0.1" and line["tls"] == "tls", line
        assert line["session"].encode() in c.greeting, (line, c.greeting)


def test_spare_band_grows_under_a_storm_and_shrinks(build):
    """A hundred clients at once are served within moments, far above max_spare; afterwards the pool
    shrinks, an eighth of what is too much a second, until the band is reached."""
    with new(build) as server:
        started = time.monotonic()
        sockets = [server.connect("imap") for _ in range(100)]
        for s in sockets:
            assert s.recv(200).startswith(b"* OK")
        took = time.monotonic() - started
        assert took < 5, "a hundred greetings took %.1f s" % took
        wait_until(lambda: int(status(server)["imap"]["busy"]) == 100, 5, "all busy")
        assert len(workers(server)) <= 200
        for s in sockets:
            s.close()
        wait_until(lambda: int(status(server)["imap"]["busy"]) == 0, 10, "all idle")
        high = len(workers(server))
        time.sleep(1.2)
        assert len(workers(server)) > high / 2, "the pool shrank at once"
        wait_until(lambda: int(status(server)["imap"]["idle"]) <= 20, 60, "the band")
        assert int(status(server)["imap"]["crashes"]) == 0


def test_band_is_reached_in_the_end(build):
    with new(build, {"imap_max_spare": "4"}) as server:
        sockets = [server.connect("imap") for _ in range(7)]
        for s in sockets:
            s.recv(200)
        for s in sockets:
            s.close()
        wait_until(lambda: 3 <= int(status(server)["imap"]["idle"]) <= 4, 20, "the band")
        time.sleep(1.5)
        assert 3 <= int(status(server)["imap"]["idle"]) <= 4


def test_full_pool_queues_clients(build):
    with new(build, {"imap_min_spare": "1", "imap_max_spare": "2", "imap_max_workers": "3"}) as server:
        clients = [Client(server) for _ in range(3)]
        waiting = server.connect("imap")
        wait_until(lambda: logged(server, "all 3 workers are busy"), 5, "the warning")
        clients[0].command("LOGOUT")
        clients[0].close()
        assert waiting.recv(200).startswith(b"* OK")
        waiting.close()
        for c in clients[1:]:
            c.close()


def test_worker_is_replaced_after_its_connections(build):
    with new(build, {"max_connections_per_worker": "5"}) as server:
        first = set(workers(server))
        for _ in range(40):
            with Client(server) as c:
                c.command("LOGOUT")
        wait_until(lambda: not first & set(workers(server)), 5, "the first workers' end")
        assert int(status(server)["imap"]["crashes"]) == 0


def test_server_commands_work_with_a_broken_file(build):
    """Who has just broken the configuration must still be able to look, and to stop the server."""
    with new(build) as server:
        server.settings["imap_min_spare"] = "x"
        server.write_conf()
        assert server.ctl("status").returncode == 0
        assert server.ctl("who").returncode == 0
        assert server.ctl("stop").stdout == "stopped\n"
        assert server.process.wait(10) == 0


if __name__ == "__main__":
    sys.exit(harness.main(globals()))
