#!/usr/bin/env python3
"""Mansio and other servers side by side: the same mail, the same client, turn and turn about.

    compare.py BUILD_DIRECTORY [--messages 20000] [--rounds 5] [--servers mansio,dovecot,courier]
               [--courier DIRECTORY] [--only WORD,...] [--connections N,...] [--peer-connections N] [--idle idle,idle-tls]
               [--settle] [--rush N] [--json FILE] [--plot DIRECTORY] [--smoke]

Installs nothing. Servers that aren't there are left out. All traffic is on loopback. bench/README says how to read
the table.
"""

import argparse
import glob
import json
import os
import pwd
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests"))
import courier  # noqa: E402
import harness  # noqa: E402
import liar  # noqa: E402
from idle import HOLD_COLUMNS, PASSWORD, RUSH_COLUMNS, hold_table, plot, ratio, write  # noqa: E402

MAIL_USER = "nobody"


class Row:
    """One line of the table. `reset` puts a fresh Maildir without index there before each round."""

    def __init__(self, label, workload, target=None, reset=False, restart=False, user="bench", args=()):
        self.label, self.workload, self.target = label, workload, target
        self.reset, self.restart, self.user, self.args = reset, restart, user, args


ROWS = [
    Row("IMAP login x200", "login", 0.5),
    Row("IMAP login, 16 clients x50", "login16", 0.5),
    Row("login, yescrypt hashes x20", "login20", user="yes"),
    Row("IMAPS login, full handshake x100", "login-tls", 0.7),
    Row("IMAPS login, resumed x100", "login-resumed"),
    Row("SELECT of a new Maildir", "select-new", 0.9, reset=True),
    Row("SELECT warm x200", "select", 0.5),
    Row("ENVELOPE BODYSTRUCTURE, first", "structure", 0.6, reset=True),
    Row("ENVELOPE BODYSTRUCTURE, again", "structure", 0.2),
    Row("7 header fields, first", "headers", reset=True),
    Row("7 header fields, again", "headers", 0.4),
    Row("FETCH FLAGS x5", "flags", 0.5),
    Row("full messages, 2000", "full", 0.7),
    Row("one random message x500", "fetch-random"),
    Row("20 MB in pieces of 64 KB", "chunks"),
    Row("STORE 1:5000 +, -", "store", 0.7),
    Row("STORE of one x1000", "store-single"),
    Row("SEARCH UNSEEN x20", "search-unseen", 0.5),
    Row("SEARCH SUBJECT", "search-subject", 0.5),
    Row("SEARCH BODY", "search-body", 0.4),
    Row("SORT (DATE)", "sort", 0.7),
    Row("THREAD REFERENCES", "thread", 0.7),
    Row("QRESYNC x20", "qresync", 0.5),
    Row("APPEND x500", "append", 0.7),
    Row("APPEND, 8 clients x100", "append8", 0.7),
    Row("COPY 2000", "copy", 0.7),
    Row("EXPUNGE 2000", "expunge", 0.7),
    Row("100 NOOP, 10 deliveries", "noop", 0.5),
    Row("delivery to EXISTS in IDLE (ms)", "idle-latency"),
    Row("STATUS of 200 folders", "status"),
    Row("50 sessions in one account", "one-account"),
    Row("500 reconnect after a restart", "storm", restart=True),
    Row("POP3 login, STAT x200", "pop3-login", 0.5),
    Row("POP3 UIDL", "pop3-uidl", 0.3),
    Row("POP3 RETR 2000", "pop3-retr", 0.7),
    Row("POP3 DELE 1000, QUIT", "pop3-dele", 0.7, reset=True),
]


def control_group(name):
    """A CPU accounting group for a server, and the file with its figure; (None, None) where there are none."""
    for base, figure in (("/sys/fs/cgroup/cpuacct", "cpuacct.usage"), ("/sys/fs/cgroup", "cpu.stat")):
        path = os.path.join(base, "mansio-bench-%d-%s" % (os.getpid(), name))
        try:
            os.mkdir(path)
        except OSError:
            continue
        if os.path.exists(os.path.join(path, figure)) and os.path.exists(os.path.join(path, "cgroup.procs")):
            return path, os.path.join(path, figure)
        os.rmdir(path)
    return None, None


class Server:
    """A server under test: directory, ports, mail of its own, control group."""

    name = ""
    without = frozenset()  # workloads that don't fit it
    inotify = False  # needs an instance for each connection in IDLE, or polls
    announces = True  # deliveries within seconds
    rest = 5  # seconds after which it has given back what an idle connection doesn't need

    def __init__(self, work):
        self.dir = os.path.join(work, self.name)
        os.mkdir(self.dir, 0o755)
        self.mail = os.path.join(self.dir, "mail")
        os.mkdir(self.mail, 0o755)
        self.ports = {n: harness.free_port() for n in ("imap", "imaps", "pop3", "pop3s")}
        self.process = None
        self.group = self.cpu_file = None  # made with the first process

    def maildir(self, user):
        return os.path.join(self.mail, user, "Maildir")

    def own(self, path):
        entry = pwd.getpwnam(MAIL_USER)
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", "%d:%d" % (entry.pw_uid, entry.pw_gid), path], check=True)

    def fill(self, user, source):
        """Gives a user the mail of `source` (hard links), without any index."""
        target = os.path.join(self.mail, user)
        if os.path.exists(target):
            old = target + ".old"  # out of the way of a session that still writes
            os.rename(target, old)
            shutil.rmtree(old, ignore_errors=True)
        os.mkdir(target, 0o700)
        subprocess.run(["cp", "-al", source, self.maildir(user)], check=True)
        self.own(target)

    def spawn(self, command):
        if self.group is None:
            self.group, self.cpu_file = control_group(self.name)

        def enter():
            os.setsid()
            if self.group:
                write(os.path.join(self.group, "cgroup.procs"), "%d\n" % os.getpid())
        with open(os.path.join(self.dir, "output"), "ab") as output:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                            preexec_fn=enter)

    def wait(self):
        def ready():
            if self.process.poll() is not None:
                with open(os.path.join(self.dir, "output"), errors="replace") as f:
                    raise AssertionError("%s ended: %s" % (self.name, f.read()[-1000:]))
            return all(self.answers(p) for p in self.ports.values())
        harness.wait_until(ready, 20, self.name + " to start")

    def answers(self, port):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=2).close()
            return True
        except OSError:
            return False

    def stop(self):
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            pass
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        self.process = None

    def pids(self):
        """Every process of the server: of its control group, or of its session."""
        if self.group:
            with open(os.path.join(self.group, "cgroup.procs")) as f:
                return [int(w) for w in f.read().split()]
        found = []
        for path in glob.glob("/proc/[0-9]*/stat"):
            try:
                with open(path) as f:
                    fields = f.read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[3]) == self.process.pid:
                found.append(int(path.split("/")[2]))
        return found

    def memory_kb(self):
        total = 0
        for pid in self.pids():
            try:
                with open("/proc/%d/smaps_rollup" % pid) as f:
                    total += int(re.search(r"^Pss:\s+(\d+)", f.read(), re.M).group(1))
            except (OSError, AttributeError):
                pass
        return total

    def complaint(self):
        """The first error in its log since the last call; "" if it has none, or none is looked for."""
        return ""

    def close(self):
        self.stop()
        if self.group:
            for _ in range(50):
                try:
                    os.rmdir(self.group)
                    break
                except OSError:
                    time.sleep(0.1)


class Mansio(Server):
    name = "mansio"

    def __init__(self, work, build):
        super().__init__(work)
        self.build = build
        users = "".join("%s:{PLAIN}%s\n" % (u, PASSWORD) for u in ["bench", "yes"] + ["u%d" % n for n in range(50)])
        write(os.path.join(self.dir, "users"), users, 0o600)
        entry = pwd.getpwnam(MAIL_USER)
        self.conf = os.path.join(self.dir, "mansio.conf")
        text = "".join("%s_listen = 127.0.0.1:%d\n" % (n, p) for n, p in self.ports.items())
        text += ("tls_certificate = {0}/cert.pem\ntls_key = {0}/key.pem\nlogin_security = any\nuser_db = file:{0}/users\n"
                 "mail_location = {0}/mail/%u/Maildir\nstate_dir = {0}/state\nrun_dir = {0}/run\n"
                 "pid_file = {0}/run/pid\nlog = {0}/log\nmax_connections_per_user = 0\nimap_max_workers = 6000\n"
                 "pop3_max_workers = 200\nauto_folders =\n").format(self.dir)
        if os.geteuid() == 0:
            text += "mail_user = %d:%d\n" % (entry.pw_uid, entry.pw_gid)
        write(self.conf, text)
        subprocess.run([self.build + "/mansioctl", "-c", self.conf, "cert", "selfsigned"], check=True,
                       stdout=subprocess.DEVNULL)
        subprocess.run([self.build + "/mansioctl", "-c", self.conf, "user", "passwd", "yes"], input=PASSWORD + "\n",
                       text=True, check=True, stdout=subprocess.DEVNULL)
        self.own(self.mail)
        self.log_seen = 0

    def start(self):
        self.spawn([self.build + "/mansiod", "-F", "-c", self.conf])
        self.wait()

    def complaint(self):
        try:
            with open(os.path.join(self.dir, "log"), "rb") as f:
                f.seek(self.log_seen)
                text = f.read()
        except FileNotFoundError:
            return ""
        self.log_seen += len(text)
        found = re.search(rb".*error:.*", text)
        return found.group(0).decode(errors="replace")[:200] if found else ""


class Dovecot(Server):
    """Tuned for speed as its documentation advises: login processes in high-performance mode, mail processes that are used
    again, no extra plug-ins."""

    name = "dovecot"
    inotify = True
    extra = ""

    @staticmethod
    def installed():
        return (shutil.which("dovecot") is not None and os.geteuid() == 0 and
                all(os.path.exists("/usr/lib/dovecot/" + p) for p in ("imap", "pop3")))

    def __init__(self, work, build):
        super().__init__(work)
        entry = pwd.getpwnam(MAIL_USER)
        with open(os.path.join(work, "mansio", "users")) as f:
            hashes = f.read()
        write(os.path.join(self.dir, "users"),
              "".join(":".join(line.split(":")[:2]).replace(":$", ":{CRYPT}$") + "\n" for line in hashes.splitlines()),
              0o644)
        listen = "".join("""
service %s-login {
  inet_listener %s {
    port = %d
  }
  inet_listener %ss {
    port = %d
    ssl = yes
  }
  service_count = 0
  process_min_avail = 2
  client_limit = 6000
}
service %s {
  process_limit = 6000
  process_min_avail = 5
  service_count = 100
}
""" % (p, p, self.ports[p], p, self.ports[p + "s"], p) for p in ("imap", "pop3"))
        self.conf = os.path.join(self.dir, "dovecot.conf")
        write(self.conf, """
base_dir = {0}/run
state_dir = {0}/run
log_path = {0}/log
protocols = imap pop3
listen = 127.0.0.1
ssl = yes
ssl_cert = <{1}/mansio/cert.pem
ssl_key = <{1}/mansio/key.pem
disable_plaintext_auth = no
auth_mechanisms = plain login
mail_location = maildir:{0}/mail/%u/Maildir
mail_max_userip_connections = 0
maildir_very_dirty_syncs = yes
first_valid_uid = 1
mail_uid = {2}
mail_gid = {3}
default_client_limit = 20000
default_process_limit = 10000
auth_cache_size = 1M
auth_failure_delay = 0
service auth {{
  client_limit = 20000
}}
service anvil {{
  client_limit = 20000
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {0}/users
}}
userdb {{
  driver = static
  args = uid={2} gid={3} home={0}/mail/%u
}}
{4}{5}
""".format(self.dir, work, entry.pw_uid, entry.pw_gid, listen, self.extra))
        self.own(self.mail)

    def start(self):
        self.spawn(["dovecot", "-F", "-c", self.conf])
        self.wait()


class Hibernating(Dovecot):
    """Dovecot that moves connections in IDLE to one process for all (imap_hibernate_timeout, off by default), and ends the
    process of each."""

    name = "hibernating"
    announces = False  # now and then one only after more than a minute
    rest = 10
    extra = """
imap_hibernate_timeout = 2s
service imap {
  service_count = 1
  extra_groups = $default_internal_group
  unix_listener imap-master {
    user = $default_internal_user
  }
}
service imap-hibernate {
  client_limit = 6000
}
"""


def run_workload(bench, server, row, messages):
    """One round of one row on one server: a dictionary of figures, None where it doesn't apply."""
    if row.workload in server.without:
        return None
    command = [bench, "--messages", str(messages), "--user", row.user, "--password", PASSWORD, "--users", "u"]
    for name, port in server.ports.items():
        command += ["--" + name, str(port)]
    if server.cpu_file:
        command += ["--cpu", server.cpu_file]
    command += ["--maildir", server.maildir(row.user), *row.args, row.workload]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    except subprocess.TimeoutExpired:
        return {"fault": "not done in 600 s"}
    fields = done.stdout.strip().split("\n")[-1].split("\t")
    if len(fields) != 7:
        return {"fault": "no figures: " + (done.stderr or done.stdout)[-200:]}
    if fields[6] == "n/a":
        return None
    result = {"wall": float(fields[1]), "cpu": float(fields[2]), "ops": int(fields[3])}
    if fields[5] != "-":
        result["value"] = float(fields[4])
    if fields[6] != "ok" or done.returncode != 0:
        result["fault"] = fields[6] if fields[6] != "ok" else "the benchmark ended with status %d" % done.returncode
    return result


def median(rounds, key):
    values = [r[key] for r in rounds if r and key in r and r[key] >= 0]
    return statistics.median(values) if values else None


def compare(bench, servers, rows, rounds, messages, source):
    table = []
    for row in rows:
        figures = {s.name: [] for s in servers}
        for _ in range(rounds):
            for server in servers:  # turn and turn about, so that a change of the machine's speed meets both
                if row.reset:
                    server.fill(row.user, source)
                if row.restart:
                    server.stop()
                    server.start()
                figures[server.name].append(run_workload(bench, server, row, messages))
        line = {"label": row.label, "workload": row.workload, "target": row.target, "servers": {}}
        for name, results in figures.items():
            entry = {"wall": median(results, "wall"), "cpu": median(results, "cpu"), "value": median(results, "value")}
            faults = [r["fault"] for r in results if r and "fault" in r]
            if faults:
                entry["fault"] = faults[0]
            line["servers"][name] = entry
        table.append(line)
        print(format_line(line, [s.name for s in servers]), flush=True)
    return table


def show(value):
    return "%9s" % "n/a" if value is None else "%9.4f" % value


def format_line(line, names):
    text = "%-34s" % line["label"]
    for name in names:
        entry = line["servers"][name]
        text += " %s %s" % (show(entry["wall"] if entry["value"] is None else entry["value"]), show(entry["cpu"]))
    own = line["servers"][names[0]]
    for name in names[1:]:
        peer = line["servers"][name]
        wall = ratio(own["wall"], peer["wall"]) if own["value"] is None else ratio(own["value"], peer["value"])
        cpu = ratio(own["cpu"], peer["cpu"])
        if "fault" in own or "fault" in peer:
            wall = cpu = None  # figures of a wrong answer mean nothing
        line.setdefault("ratios", {})[name] = {"wall": wall, "cpu": cpu}
        text += "  %5s %5s" % tuple("n/a" if r is None else "%.2f" % r for r in (wall, cpu))
        if name == "dovecot" and line["target"] is not None and wall is not None:
            line["met"] = max(wall, cpu or 0) <= line["target"]
            text += "  <= %.1f %s" % (line["target"], "met" if line["met"] else "NOT MET")
    for name in names:
        if "fault" in line["servers"][name]:
            text += "\n    WRONG (%s): %s" % (name, line["servers"][name]["fault"])
    return text


def end_by_signals():
    """SIGTERM and a closed terminal end the program as Ctrl-C does: with the clean-up."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: sys.exit(1))


def clean_up(servers, work):
    """Ends the servers, and takes away what was made; nothing interrupts it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for server in servers:
        try:
            server.close()
        except (OSError, subprocess.SubprocessError) as e:
            print("%s can't be ended: %s" % (server.name, e))
    shutil.rmtree(work, ignore_errors=True)


def make_source(bench, work, messages):
    path = os.path.join(work, "source-%d" % messages)
    if not os.path.isdir(path):
        subprocess.run([bench, "--make-maildir", path, str(messages)], check=True)
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("build")
    parser.add_argument("--messages", type=int, default=20000, help="in the mailbox of most rows")
    parser.add_argument("--rounds", type=int, default=5, help="of each row; the table has the median")
    parser.add_argument("--servers", default="mansio,dovecot", help="of mansio,dovecot,hibernating,courier")
    parser.add_argument("--courier", default="/", help="where Courier's packages are unpacked (bench/courier.py)")
    parser.add_argument("--only", default="", help="words of rows; memory: the table of connections in IDLE")
    parser.add_argument("--json", help="a file for all figures")
    parser.add_argument("--plot", help="a directory for pictures of the connections in IDLE")
    parser.add_argument("--connections", default="500", help="how many are held in IDLE, e.g. 10,100,500,1000,5000")
    parser.add_argument("--peer-connections", type=int, default=1000, help="at most so many with the other servers")
    parser.add_argument("--idle", default="idle,idle-tls", help="plain, over TLS, or both")
    parser.add_argument("--settle", action="store_true", help="after the largest number, wait until the processes are gone")
    parser.add_argument("--rush", type=int, default=0, help="so many connect at one instant, then idle (table of its own)")
    parser.add_argument("--smoke", action="store_true", help="Mansio alone, few messages: does the benchmark work?")
    options = parser.parse_args()
    if options.smoke:
        options.messages, options.rounds, options.servers, options.connections, options.rush = 200, 1, "mansio", "20", 20
    build = os.path.abspath(options.build)
    bench = os.path.join(build, "bench", "mansio-bench")
    for path in (bench, os.path.join(build, "mansiod"), os.path.join(build, "mansioctl")):
        if not os.path.exists(path):
            parser.error("%s isn't there: run make all bench/mansio-bench in %s" % (path, build))
    if options.messages < 100:
        parser.error("the rows need 100 messages at least")
    work = tempfile.mkdtemp(prefix="mansio-bench-")
    os.chmod(work, 0o755)
    end_by_signals()
    servers = []
    words = [w for w in options.only.split(",") if w]
    rows = [r for r in ROWS if not words or any(w in r.label or w == r.workload for w in words)]
    faults = 0
    result = {"messages": options.messages, "rounds": options.rounds, "kernel": os.uname().release}
    try:
        source = make_source(bench, work, options.messages)
        small = make_source(bench, work, min(1000, options.messages))
        servers.append(Mansio(work, build))
        for name in options.servers.split(","):
            if name in ("dovecot", "hibernating") and Dovecot.installed():
                servers.append((Dovecot if name == "dovecot" else Hibernating)(work, build))
            elif name == "courier" and courier.unpacked(options.courier) and os.geteuid() == 0:
                servers.append(courier.server_class(Server, PASSWORD, os.path.abspath(options.courier))(work, build))
            elif name not in ("mansio", ""):
                print("%s isn't installed (or needs root): left out" % name)
        for server in servers:
            for user in ["bench", "yes"]:
                server.fill(user, source)
            for n in range(50):
                server.fill("u%d" % n, small)
            server.start()
        names = [s.name for s in servers]
        if rows:
            print("%d messages, median of %d rounds; seconds: wall and CPU of the whole server; ratios: wall, CPU" %
                  (options.messages, options.rounds))
            print("%-34s" % "" + "".join(" %-19s" % n for n in names))
        result["table"] = compare(bench, servers, rows, options.rounds, options.messages, source)
        offered = {"sort", "thread", "qresync"}  # n/a is right for these until the server has them
        for line in result["table"]:
            own = line["servers"]["mansio"]
            if own["wall"] is None and "fault" not in own and line["workload"] not in offered:
                own["fault"] = "not offered"
        if not words or "memory" in words:
            result["memory"] = hold_table(bench, servers, [int(n) for n in options.connections.split(",")],
                                          options.idle.split(","), HOLD_COLUMNS, options)
        if options.rush > 0:
            rushes = [w.replace("idle", "rush") for w in options.idle.split(",")]
            result["rush"] = hold_table(bench, servers, [options.rush], rushes, RUSH_COLUMNS, options)
        held = result.get("memory", []) + result.get("rush", [])
        faults = sum("fault" in e for line in result["table"] + held for e in line["servers"].values())
        if options.json:
            write(options.json, json.dumps(result, indent=1))
        if options.plot and result.get("memory"):
            plot(options.plot, result["memory"])
        if options.smoke:
            lies = liar.unnoticed(bench, servers[0], source, options.messages)
            for text in lies:
                print("A wrong answer that wasn't noticed: " + text)
            faults += len(lies)
            done = len(result["table"]) + len(held) + len(liar.LIES)
            print("%d passed, %d failed, 0 skipped" % (done - faults, faults))
    finally:
        clean_up(servers, work)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
