"""Tables and pictures of connections held in IDLE, for compare.py: what they cost in memory, how soon they are told of
deliveries, and what happens when all begin at one instant. mansio-bench holds them; it says in idle_work.c and rush_work.c
which words it reads and writes meanwhile.
"""

import contextlib
import os
import shutil
import subprocess
import time

PASSWORD = "bench"


def ratio(a, b):
    return None if a is None or not b else a / b


def write(path, text, mode=0o644):
    with open(path, "w") as f:
        os.fchmod(f.fileno(), mode)
        f.write(text)


SETTLED = 4  # seconds without a change of the number of processes
INSTANCES = "/proc/sys/fs/inotify/max_user_instances"


@contextlib.contextmanager
def inotify_for(server, connections):
    """Instances of inotify for a server that needs one a connection: raised, where that's allowed, and put back."""
    with open(INSTANCES) as f:
        before = f.read()
    wanted = 2 * connections + 100
    raised = False
    if server.inotify and wanted > int(before):
        try:
            write_setting(INSTANCES, "%d\n" % wanted)
            raised = True
        except OSError:
            print("    %s can't be raised: %s polls" % (INSTANCES, server.name))
    try:
        yield
    finally:
        if raised:
            write_setting(INSTANCES, before)


def write_setting(path, text):
    with open(path, "w") as f:
        f.write(text)


def wait_settled(server, limit=180):
    """Until the server's processes have stopped to come or go: (seconds that took, how many are left)."""
    started = changed = time.monotonic()
    count = len(server.pids())
    while time.monotonic() - changed < SETTLED and time.monotonic() - started < limit:
        time.sleep(0.25)
        now = len(server.pids())
        if now != count:
            count, changed = now, time.monotonic()
    return changed - started, count


def hold(bench, server, connections, workload, messages, rest, deliver, settle):
    """What so many connections in IDLE cost: KB (PSS of the whole tree by connections), wall and CPU of connecting and
    logging in, milliseconds of deliveries, seconds until the processes that served them are gone."""
    command = [bench, "--password", PASSWORD, "--connections", str(connections), "--users", "u", "--mail", server.mail,
               "--messages", str(messages)]
    for name, port in server.ports.items():
        command += ["--" + name, str(port)]
    if server.cpu_file:
        command += ["--cpu", server.cpu_file]
    process = subprocess.Popen(command + [workload], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    entry = {}
    try:
        words = process.stdout.readline().split()
        if words[:1] == ["rush"]:
            entry.update(zip(("served", "refused", "lost", "resent"), map(int, words[1:5])))
            entry["median_s"], entry["max_s"] = float(words[5]), float(words[6])
            words = process.stdout.readline().split()
        if words == ["ready", str(connections)]:
            time.sleep(rest)
            entry["kb"] = server.memory_kb() / connections
            entry["processes"] = len(server.pids())
            if deliver:
                process.stdin.write("deliver\n")
                process.stdin.flush()
                words = process.stdout.readline().split()
            if len(words) == 4:
                entry["told"], entry["median_ms"], entry["max_ms"] = int(words[1]), float(words[2]), float(words[3])
        out, _ = process.communicate("end\n", timeout=600)
    finally:
        process.kill()
    fields = out.strip().split("\n")[-1].split("\t")
    if len(fields) == 7:
        entry["wall"] = float(fields[1])
        entry["cpu"] = float(fields[2]) if float(fields[2]) >= 0 else None
    if len(fields) != 7 or fields[6] != "ok":
        entry["fault"] = fields[6] if len(fields) == 7 else "no figures"
    complaint = server.complaint()
    if complaint:
        entry.setdefault("fault", complaint)
    if settle:
        entry["back_s"], entry["left"] = wait_settled(server)
    return entry


HOLD_COLUMNS = [("kb", "KB each", "%.0f"), ("ratio", "ratio", "%.2f"), ("wall", "login s", "%.2f"), ("cpu", "CPU s", "%.2f"),
                ("told", "told", "%d"), ("median_ms", "median ms", "%.1f"), ("max_ms", "max ms", "%.1f"),
                ("processes", "processes", "%d"), ("back_s", "back s", "%.0f"), ("left", "left", "%d")]
RUSH_COLUMNS = [("served", "served", "%d"), ("refused", "refused", "%d"), ("lost", "lost", "%d"), ("resent", "resent", "%d"),
                ("median_s", "median s", "%.2f"), ("max_s", "longest s", "%.2f"), ("cpu", "CPU s", "%.2f"),
                ("max_ms", "max ms", "%.1f"), ("back_s", "back s", "%.0f"), ("left", "left", "%d")]


def hold_table(bench, servers, counts, workloads, columns, options):
    """Connections held in IDLE: one line a count, a workload and a server. Each begins with a server just started, so that
    nothing is left of the one before; mail is delivered, and the processes are watched going away, at the largest only."""
    table = []
    print("\n%-26s" % "connections in IDLE" + "".join("%10s" % title for _, title, _ in columns), flush=True)
    for connections in counts:
        for workload in workloads:
            last = connections == max(counts)
            line = {"connections": connections, "workload": workload, "kb": {}, "servers": {}}
            for server in servers:
                if server.name != "mansio" and connections > options.peer_connections:
                    continue
                if not options.smoke:
                    server.stop()
                    server.start()
                with inotify_for(server, connections):
                    entry = hold(bench, server, connections, workload, min(1000, options.messages),
                                 1 if options.smoke else server.rest, last and server.announces, last and options.settle)
                line["servers"][server.name] = entry
                line["kb"][server.name] = entry.get("kb")
                if server.name != "mansio":
                    entry["ratio"] = ratio(line["kb"].get("mansio"), entry.get("kb"))
                print("%-26s" % ("%s %s, %d" % (server.name, workload, connections)) +
                      "".join("%10s" % ("" if key == "ratio" and server.name == "mansio" else
                                        "n/a" if entry.get(key) is None else form % entry[key]) for key, _, form in columns) +
                      ("\n    WRONG: %s" % entry["fault"] if "fault" in entry else ""), flush=True)
            table.append(line)
    return table


def draw(directory, name, size, commands):
    """A gnuplot script and, where gnuplot is there, its picture."""
    script = os.path.join(directory, name + ".gnuplot")
    write(script, "set terminal png size %d,%d font ',11'\nset output '%s/%s.png'\nset grid\n%s" %
          (*size, directory, name, commands))
    if shutil.which("gnuplot"):
        subprocess.run(["gnuplot", script], check=False)
    else:
        print("gnuplot isn't installed: no picture, but its script and data are in %s" % directory)


KIND = {"idle": "plain", "idle-tls": "TLS"}


def plot(directory, memory):
    """Memory by connections: a panel for plain connections and one for TLS, a line for each server; and the data files."""
    os.makedirs(directory, exist_ok=True)
    workloads = sorted({line["workload"] for line in memory})
    counts = sorted({line["connections"] for line in memory})
    panels = ""
    for workload in workloads:
        lines = [line for line in memory if line["workload"] == workload]
        names = list(dict.fromkeys(name for line in lines for name in line["servers"]))
        data = "".join("%d %s\n" % (line["connections"], " ".join(
            "nan" if line["kb"].get(name) is None else "%.1f" % line["kb"][name] for name in names)) for line in lines)
        path = os.path.join(directory, workload + ".dat")
        write(path, "# connections %s\n%s" % (" ".join(names), data))
        panels += "set title '%s'\nplot %s\n" % (KIND[workload], ", ".join(
            "'%s' using 1:%d with linespoints linewidth 2 pointtype 7 linecolor %d title '%s'" % (path, n + 2, n + 1, name)
            for n, name in enumerate(names)))
    if len(counts) < 2:
        return  # a point is no line
    draw(directory, "memory", (560 * len(workloads), 480),
         "set multiplot layout 1,%d title 'Memory of an idle connection: PSS of all processes / connections'\n"
         "set logscale xy\nset xrange [%g:%g]\nset yrange [20:*]\nset xtics (%s)\nset ytics (%s)\nset key top right\n"
         "set xlabel 'connections in IDLE'\nset ylabel 'KB each'\n%sunset multiplot\n" %
         (len(workloads), counts[0] / 1.2, counts[-1] * 1.2, ", ".join(map(str, counts)),
          ", ".join(str(n * 10 ** e) for e in range(1, 5) for n in (1, 2, 5)), panels))
