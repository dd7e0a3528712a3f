#!/usr/bin/env python3
"""Moving in from Dovecot and Courier, and out to Dovecot, with the real servers (other_servers.py): what a client saw
there is what it sees here, and back again.

    migrate.py BUILD [NAME ...]
"""

import atexit
import glob
import imaplib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness  # noqa: E402
from harness import Server  # noqa: E402
from other_servers import Unpacked  # noqa: E402

FOLDERS = ("Sent", "A&AOQ-x/Sub", "A&AOQ-x", "R&-D", "odd name (x)", "&ZeVnLIqe-", "Empty")
SUBSCRIBED = ("INBOX", "Sent", "A&AOQ-x/Sub", "R&-D", "odd name (x)")
KEYWORDS = ("Work", "$Label1", "Later", "NonJunk", "$MDNSent")


class Site:
    """A Mansio that isn't running, and the other servers, over the same mail."""

    def __init__(self, build, style):
        self.style = style
        prefix = {"namespace_prefix": "INBOX.", "hierarchy_separator": "."} if style == "courier" else \
            {"hierarchy_separator": "/"}
        self.server = Server(build, settings=dict(prefix, auto_folders=""), start=False)
        self.others = Unpacked(os.path.join(self.server.build, "other-servers"), self.server.dir,
                               self.server.mail_user)
        self.others.write_dovecot_conf()
        self.home = os.path.join(self.server.mail_dir, "ann")
        os.mkdir(self.home, 0o700)
        if self.server.mail_user:
            os.chown(self.home, self.others.user.pw_uid, self.others.user.pw_gid)
        if style == "courier":
            self.others.courier_make(self.home)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.server.close()

    def other(self):
        return getattr(self.others, self.style + "_imap")(self.home)

    def name(self, folder):
        """A folder as the clients of this style call it."""
        if self.style != "courier" or folder == "INBOX":
            return folder
        return "INBOX." + folder.replace("/", ".")

    def deliver(self, n):
        self.server.deliver(message("delivered %d" % n).replace(b"\r\n", b"\n"))

    def mansio(self):
        """What clients see of a running Mansio."""
        self.server.start()
        try:
            c = self.server.imap()
            seen = snapshot(c)
            c.logout()
            seen["uidl"] = uidls(self.server.pop3())
            done = self.server.ctl("mailbox", "check", "ann")
            assert done.returncode == 0, done.stdout
        finally:
            self.server.stop()
        return seen

    def before(self):
        c = self.other()
        seen = snapshot(c)
        c.logout()
        seen["uidl"] = self.others.pop3(self.style, self.home)
        return seen

    def ctl(self, *arguments, status=0):
        done = self.server.ctl(*arguments)
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        return done.stdout


def message(subject, size=0):
    body = "".join("line %d of some text\r\n" % n for n in range(size))
    return ("From: a@example.org\r\nTo: b@example.org\r\nSubject: %s\r\n\r\n%s\r\nend" % (subject, body)
            + ("\r\n" if size % 7 else "")).encode()


def quoted(name):
    return '"%s"' % name


def ok(answer):
    assert answer[0] == "OK", answer
    return answer[1]


def number_of(data, what):
    found = re.search(rb"%s (\d+)" % what.encode(), b" ".join(d for d in data if d))
    return int(found.group(1)) if found else None


def names_of(data):
    found = []
    for line in data:
        if isinstance(line, tuple):
            found.append(line[1].decode())
        elif line:
            m = re.match(rb'\([^)]*\) (?:"."|NIL) (.*)$', line)
            if m and b"\\Noselect" not in line and b"\\NonExistent" not in line:
                found.append(m.group(1).decode().strip('"'))
    return sorted(found)


def snapshot(c):
    """All that a client can tell of the mail: folders, UIDVALIDITY, next UID, and each message."""
    seen = {"folders": {}, "subscribed": names_of(ok(c.lsub('""', "*")))}
    for name in names_of(ok(c.list('""', "*"))):
        status = ok(c.status(quoted(name), "(UIDVALIDITY UIDNEXT MESSAGES)"))
        ok(c.select(quoted(name), readonly=True))
        messages = {}
        if number_of(status, "MESSAGES"):
            data = ok(c.uid("FETCH", "1:*", "(FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])"))
            for item in data:
                if not isinstance(item, tuple):
                    continue
                head = item[0] + b" " + tail_of(data, item)
                uid = int(re.search(rb"UID (\d+)", head).group(1))
                flags = re.search(rb"FLAGS \(([^)]*)\)", head).group(1).decode().split()
                messages[uid] = {
                    "flags": sorted(f for f in flags if f != "\\Recent"),
                    "size": int(re.search(rb"RFC822.SIZE (\d+)", head).group(1)),
                    "date": time.mktime(imaplib.Internaldate2tuple(head)),
                    "body": item[1],
                }
        seen["folders"][name] = {"uidvalidity": number_of(status, "UIDVALIDITY"),
                                 "uidnext": number_of(status, "UIDNEXT"), "messages": messages}
    return seen


def tail_of(data, item):
    """What follows the literal of one FETCH answer."""
    after = data[data.index(item) + 1]
    return after if isinstance(after, bytes) else b""


def uidls(p):
    found = {}
    for line in p.uidl()[1]:
        number, uidl = line.decode().split(" ", 1)
        subject = [t for t in p.top(int(number), 0)[1] if t.startswith(b"Subject: ")]
        found[subject[0][9:].decode()] = uidl
    p.quit()
    return found


filled = {}  # style -> a Maildir as fill_anew() left it: made once, copied for each test


def fill(site):
    maildir = site.home + "/Maildir"
    if site.style not in filled:
        fill_anew(site, 12)
        filled[site.style] = tempfile.mkdtemp(prefix="migrate-")
        atexit.register(shutil.rmtree, filled[site.style], ignore_errors=True)
        subprocess.run(["cp", "-a", maildir, filled[site.style]], check=True)
    else:
        shutil.rmtree(maildir, ignore_errors=True)
        subprocess.run(["cp", "-a", filled[site.style] + "/Maildir", site.home], check=True)


def fill_anew(site, messages):
    """Mail in several folders, with flags, keywords, dates, and UIDs that have gaps."""
    c = site.other()
    for folder in FOLDERS:
        ok(c.create(quoted(site.name(folder))))
    for folder in SUBSCRIBED:
        ok(c.subscribe(quoted(site.name(folder))))
    for f, folder in enumerate(("INBOX",) + FOLDERS[:-1]):
        for n in range(messages):
            flags = [x for bit, x in ((1, "\\Seen"), (2, "\\Answered"), (4, "\\Flagged"), (3, "\\Draft")) if n & bit == bit]
            date = '"%02d-Feb-2019 08:%02d:07 +0100"' % (1 + n, f)
            ok(c.append(quoted(site.name(folder)), "(%s)" % " ".join(flags), date,
                        message("%s %d" % (folder, n), n * 3)))
        ok(c.select(quoted(site.name(folder))))
        for n, keyword in enumerate(KEYWORDS[:2 + f % 4]):
            ok(c.store("%d,%d" % (1 + n, 3 + 2 * n), "+FLAGS", "(%s)" % keyword))
        ok(c.store("2", "-FLAGS", "(Work)"))
        ok(c.store("4:5,%d" % messages, "+FLAGS", "(\\Deleted)"))  # gaps, one of them at the end
        ok(c.expunge())
        ok(c.store("1", "+FLAGS", "(\\Deleted)"))  # and one that stays
    c.logout()


def work_on(site):
    """What a user does at the other server between two imports."""
    c = site.other()
    ok(c.select(site.name("INBOX")))
    ok(c.append("INBOX", "(\\Seen)", None, message("later", 5)))
    ok(c.noop())
    ok(c.uid("STORE", "2", "+FLAGS", "(\\Flagged Later)"))
    ok(c.uid("STORE", "3", "-FLAGS", "(%s)" % " ".join(KEYWORDS)))
    ok(c.expunge())
    ok(c.append(quoted(site.name("Sent")), "(\\Answered)", None, message("sent later")))
    ok(c.create(quoted(site.name("New one"))))
    ok(c.append(quoted(site.name("New one")), None, None, message("in a new one")))
    ok(c.subscribe(quoted(site.name("New one"))))
    c.logout()


def differences(before, after):
    found = []
    for name in sorted(set(before["folders"]) | set(after["folders"])):
        a, b = before["folders"].get(name), after["folders"].get(name)
        if a is None or b is None:
            found.append("folder %s is only %s" % (name, "after" if a is None else "before"))
            continue
        for key in ("uidvalidity", "uidnext"):
            if a[key] != b[key]:
                found.append("%s: %s was %s and is %s" % (name, key, a[key], b[key]))
        for uid in sorted(set(a["messages"]) | set(b["messages"])):
            x, y = a["messages"].get(uid), b["messages"].get(uid)
            if x is None or y is None:
                found.append("%s: UID %d is only %s" % (name, uid, "after" if x is None else "before"))
            else:
                found += ["%s: UID %d: %s was %r and is %r" % (name, uid, k, x[k], y[k]) for k in x if x[k] != y[k]]
    if before["subscribed"] != after["subscribed"]:
        found.append("subscribed were %s and are %s" % (before["subscribed"], after["subscribed"]))
    for subject, uidl in before["uidl"].items():
        if after["uidl"].get(subject) != uidl:
            found.append("UIDL of %s was %s and is %s" % (subject, uidl, after["uidl"].get(subject)))
    return found


def same(before, after):
    found = differences(before, after)
    assert not found, "%d differences:\n%s" % (len(found), "\n".join(found[:20]))
    total = sum(len(f["messages"]) for f in before["folders"].values())
    print("     %d folders, %d messages, %d POP3 UIDLs, %d subscriptions are the same" %
          (len(before["folders"]), total, len(before["uidl"]), len(before["subscribed"])))
    assert total > 60 and len(before["subscribed"]) >= len(SUBSCRIBED)


def first_open(build, style):
    with Site(build, style) as site:
        fill(site)
        site.deliver(1)
        before = site.before()
        site.deliver(2)  # that the other server never saw
        after = site.mansio()
        inbox = after["folders"]["INBOX"]
        new = [u for u, m in inbox["messages"].items() if b"delivered 2" in m["body"]]
        assert new == [before["folders"]["INBOX"]["uidnext"]], (new, before["folders"]["INBOX"]["uidnext"])
        assert inbox["uidnext"] == new[0] + 1
        del inbox["messages"][new[0]]
        inbox["uidnext"] -= 1
        same(before, after)
        again = site.mansio()
        del again["folders"]["INBOX"]["messages"][new[0]]
        again["folders"]["INBOX"]["uidnext"] -= 1
        same(before, again)


def import_ahead(build, style):
    with Site(build, style) as site:
        fill(site)
        site.before()
        out = site.ctl("import", "ann")
        assert " 8 imported, 0 before" in out, out
        first = site.before()
        site.ctl("import", "ann")
        assert not differences(first, site.before()), "an import isn't seen at the other server"
        work_on(site)
        site.deliver(1)
        assert " 1 imported, 8 before" in site.ctl("import", "ann")
        before = site.before()
        out = site.ctl("import", "ann", "bob", status=1)  # bob has no mail
        assert " 0 imported, 9 before" in out, out
        assert "all: " in out
        assert "all: " in site.ctl("import", "-a")
        same(before, site.mansio())
        out = site.ctl("import", "ann")
        assert "refused" not in out, out


def test_dovecot_first_open(build):
    first_open(build, "dovecot")


def test_courier_first_open(build):
    first_open(build, "courier")


def test_dovecot_import_ahead(build):
    import_ahead(build, "dovecot")


def test_courier_import_ahead(build):
    import_ahead(build, "courier")


def crash_at(site, step):
    env = dict(os.environ, MANSIO_CRASH_STEP=step)
    done = subprocess.run([site.server.program("mansioctl"), "-c", site.server.conf_path, "import", "ann"], env=env,
                          capture_output=True, text=True, timeout=60)
    return done.returncode < 0


def test_import_cut_short(build):
    for style in ("dovecot", "courier"):
        with Site(build, style) as site:
            fill(site)
            before = site.before()
            cut = sum(crash_at(site, step) for step in (
                "mailbox:row", "mailbox:row:2", "scan:put", "import:renamed", "import:renamed:3", "scan:put:2",
                "scan:committed:2", "import:renamed:2"))
            assert cut >= 5, cut
            same(before, site.mansio())


def change(site):
    """What a user does in Mansio. Returns what it looks like then."""
    site.server.start()
    c = site.server.imap()
    ok(c.select("INBOX"))
    ok(c.append("INBOX", "(\\Seen Later Fresh)", None, message("written here", 3)))
    ok(c.uid("STORE", "2", "+FLAGS", "(\\Flagged \\Answered Fresh)"))
    ok(c.uid("STORE", "3", "-FLAGS", "(\\Seen)"))
    ok(c.uid("STORE", "6", "+FLAGS", "(\\Deleted)"))
    ok(c.expunge())
    ok(c.uid("COPY", "2:3", quoted(site.name("Sent"))))
    ok(c.create(quoted(site.name("Made here"))))
    ok(c.uid("COPY", "2:7", quoted(site.name("Made here"))))
    ok(c.subscribe(quoted(site.name("Made here"))))
    ok(c.unsubscribe(quoted(site.name("Sent"))))
    ok(c.rename(quoted(site.name("odd name (x)")), quoted(site.name("renamed"))))
    c.logout()
    site.server.stop()
    return site.mansio()


def remove_indexes(site):
    for path in glob.glob(site.home + "/Maildir/**/dovecot.*", recursive=True, include_hidden=True):
        os.remove(path)


def test_export_to_dovecot(build):
    with Site(build, "dovecot") as site:
        fill(site)
        same(site.before(), site.mansio())
        before = change(site)
        out = site.ctl("export", "ann")
        assert re.match(r"ann: 9 folders, \d+ messages$", out.strip()), out
        same(before, site.before())  # with Dovecot's indexes of before
        remove_indexes(site)
        same(before, site.before())
        listed = site.ctl("export", "-p", "-f", "Sent", "ann")
        assert re.match(r"3 V%d N%d G[0-9a-f]{32}\n" % (before["folders"]["Sent"]["uidvalidity"],
                                                       before["folders"]["Sent"]["uidnext"]), listed), listed[:100]
        assert len(listed.splitlines()) == 1 + len(before["folders"]["Sent"]["messages"])
        # and in again, with what Dovecot did since
        c = site.other()
        ok(c.append("INBOX", None, None, message("back")))
        c.logout()
        before = site.before()
        assert "refused" not in site.ctl("import", "ann")
        same(before, site.mansio())


def test_courier_to_dovecot(build):
    with Site(build, "courier") as site:
        fill(site)
        before = site.before()
        site.ctl("import", "-a")
        same(before, site.mansio())
        site.ctl("export", "-a")
        site.style = "dovecot"
        site.others.write_dovecot_conf("namespace inbox {\n  prefix = INBOX.\n  separator = .\n}\n")
        same(before, site.before())


def test_refusals(build):
    with Site(build, "dovecot") as site:
        fill(site)
        site.mansio()
        path = site.home + "/Maildir/dovecot-uidlist"
        with open(path) as f:
            text = f.read()
        with open(path, "w") as f:
            f.write(re.sub(r"V\d+", "V77", text, count=1))
        out = site.ctl("import", "ann", status=1)
        assert "INBOX: its UIDVALIDITY is" in out and "1 refused" in out, out
        for arguments in ((), ("-x",), ("-a", "ann")):
            site.ctl("import", *arguments, status=64)
        for arguments in ((), ("-a", "ann"), ("ann", "bob"), ("-p", "-a"), ("-f",)):
            site.ctl("export", *arguments, status=64)
        site.ctl("import", "nobody-here", status=1)
        site.ctl("export", "carl", status=1)
        site.ctl("export", "-f", "Nowhere", "ann", status=1)


if __name__ == "__main__":
    sys.exit(harness.main(globals()))
