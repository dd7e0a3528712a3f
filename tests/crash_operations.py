"""What crash_matrix.py cuts short: every operation that changes mail, and what must be there when it's done."""

import os
import shutil

from harness import PASSWORD

from crash_client import SUBSCRIBED, USER, Client, Pop3, literal, message

BASE = [b"base%d" % i for i in range(1, 5)]
KEYWORDS = [b"k%02d" % i for i in range(26)]  # of the folder Many: a further one has no letter
SELECT = (b"SELECT INBOX",)
MANY = (b"SELECT Many",)
STATUS = b'LIST "" * RETURN (STATUS (MESSAGES UIDNEXT UIDVALIDITY))'


def fill(server):
    """The account that each case begins with a copy of."""
    c = Client(server)
    for name in (b"Work", b"Work.Sub", b"Many"):
        assert c.do(b"CREATE " + name)[0] == b"OK"
    for folder, token, flags in [(b"INBOX", t, b"") for t in BASE] + [
            (b"Work", b"work1", b"\\Seen"), (b"Work.Sub", b"sub1", b""), (b"Many", b"many1", b" ".join(KEYWORDS)), (b"Many", b"many2", b"")]:
        assert c.do(b"APPEND %s (%s) %s" % (folder, flags, literal(token)))[0] == b"OK"
    for command in (b"SELECT INBOX", b"CLOSE", b"SUBSCRIBE Many"):
        assert c.do(command)[0] == b"OK"
    c.do(b"LOGOUT")
    c.close()


def picture(state):
    """What a state shows but for UIDs: {folder: {token: flags}}, and the subscriptions."""
    shown = {name: dict(folder[2].values()) for name, folder in state.items() if name is not SUBSCRIBED}
    shown[SUBSCRIBED] = {line.rsplit(b" ", 1)[1].strip(): frozenset() for line in state[SUBSCRIBED]}
    return shown


class Change:
    """Edits a picture."""

    def __init__(self, shown):
        self.shown = {name: dict(tokens) for name, tokens in shown.items()}

    def add(self, folder, *tokens, flags=()):
        self.shown[folder].update({t: frozenset(flags) for t in tokens})

    def flag(self, folder, flag, *tokens):
        for t in tokens:
            self.shown[folder][t] = self.shown[folder][t] | {flag}

    def copy(self, source, target, *tokens):
        for t in tokens:
            self.shown[target][t] = self.shown[source][t]

    def remove(self, folder, *tokens):
        for t in tokens:
            del self.shown[folder][t]

    def move(self, source, target, *tokens):
        self.copy(source, target, *tokens)
        self.remove(source, *tokens)

    def rename(self, names):
        for old, new in names.items():
            self.shown[new] = self.shown.pop(old)


def in_part(before, wanted, now):
    """Each message (or subscription) by itself is as before or as it should be, and none that should be there is lost."""
    for folder in now:
        was, will = before.get(folder, {}), wanted.get(folder, {})
        for token, flags in now[folder].items():
            if flags not in [p[token] for p in (was, will) if token in p]:
                return False
    for folder in set(before) | set(wanted):
        was, will = before.get(folder), wanted.get(folder)
        if was is not None and will is not None and not set(was) & set(will) <= set(now.get(folder, ())):
            return False
    everywhere = {t for tokens in now.values() for t in tokens}
    lost = {t for tokens in before.values() for t in tokens} & {t for tokens in wanted.values() for t in tokens} - everywhere
    return not lost


class Operation:
    """`commands` make a session ready, `command` is what is cut short; or `program` is the command line of one of our
    programs, with `stdin`. `change` makes of a Change what is there when it's done.

    part    after a kill it may be done for some messages and not for others
    by_files  the same after an error, and NO may mean done: what was renamed or removed before it stays so (files are the
            truth, and nothing can be un-removed)
    fresh   UIDVALIDITY may be new
    alone   the client can't do it again in the same session
    ready   what `commands` changed, of a Change
    quiet   not done and done look the same, or the next session does it
    """

    def __init__(self, name, command, change, commands=SELECT, prepare=None, program=None, stdin=b"", pop3=False, login=True,
                 part=False, by_files=False, fresh=False, alone=False, quiet=False,
                 ready=None):
        self.name, self.command, self.change, self.commands = name, command, change, commands
        self.prepare, self.program, self.stdin, self.pop3, self.login = prepare, program, stdin, pop3, login
        self.part, self.by_files, self.fresh, self.quiet = part or by_files, by_files, fresh, quiet
        self.ready = ready
        self.alone = alone or pop3 or program is not None or not login

    def begun(self, before):
        change = Change(before)
        if self.ready:
            self.ready(change)
        return change.shown

    def wanted(self, before):
        change = Change(self.begun(before))
        self.change(change)
        return change.shown

    def session(self, server):
        if self.pop3:
            return Pop3(server)
        c = Client(server, login=self.login)
        for command in self.commands if self.login else ():
            status, lines = c.do(command)
            assert status == b"OK", lines
        return c


def deliver_two(server):
    for i in range(2):
        server.deliver(message(b"new%d" % i).replace(b"\r\n", b"\n"))


def index_of(server):
    return os.path.join(server.maildir(), "mansio-index")


def drop_index(server):
    shutil.rmtree(index_of(server))


def token_of(path):
    with open(path, "rb") as f:
        return f.readline().split()[1]


def of_another_server(server):
    """A Maildir as Dovecot leaves it; server.listed is what its lists say: {folder: (uidvalidity, {uid: token})}."""
    drop_index(server)
    server.listed = {}
    for path, names, files in list(os.walk(server.maildir())):
        for name in files:
            if name.startswith("mansio-"):
                os.unlink(os.path.join(path, name))
        if "cur" not in names:
            continue
        n = 100 * (len(server.listed) + 1)
        cur = os.path.join(path, "cur")
        uids = {n + 2 * i: name for i, name in enumerate(sorted(os.listdir(cur)))}
        server.listed[os.path.basename(path)[1:].encode() if path != server.maildir() else b"INBOX"] = (
            1000 + n, {uid: token_of(os.path.join(cur, name)) for uid, name in uids.items()})
        write(server, os.path.join(path, "dovecot-uidlist"), "3 V%d N%d G0123456789abcdef0123456789abcdef\n%s" % (
            1000 + n, n + 50, "".join("%d :%s\n" % (uid, name.split(":")[0]) for uid, name in sorted(uids.items()))))
        if path.endswith(".Many"):
            write(server, os.path.join(path, "dovecot-keywords"), "".join("%d %s\n" % (i, k.decode()) for i, k in enumerate(KEYWORDS)))
        elif path.endswith(".Work"):
            write(server, os.path.join(path, "dovecot-keywords"), "0 key\n")


def write(server, path, text):
    with open(path, "w") as f:
        f.write(text)
    if server.mail_user:
        shutil.chown(path, server.mail_user)


def nothing(change):
    pass


def _new_mail(change):
    change.add(b"INBOX", b"new0", b"new1")


def _first_login(change):
    folders = b"INBOX", b"Trash"
    change.shown.clear()
    change.shown.update({f: {} for f in folders})
    change.shown[SUBSCRIBED] = {b"Trash": frozenset()}


def no_maildir(server):
    shutil.rmtree(server.maildir())


OPERATIONS = [
    Operation("first login", b"LOGIN %s %s" % (USER.encode(), PASSWORD.encode()), _first_login, commands=(),
              prepare=no_maildir, login=False, fresh=True, quiet=True),
    Operation("new mail", b"SELECT INBOX", _new_mail, commands=(), prepare=deliver_two, by_files=True, quiet=True),
    Operation("mansio-deliver", None, lambda c: c.add(b"INBOX", b"arrived"),
              program=("mansio-deliver", "-c", "CONF", USER), stdin=message(b"arrived")),
    Operation("APPEND", b"APPEND Work (\\Seen key) " + literal(b"added"),
              lambda c: c.add(b"Work", b"added", flags=(b"\\Seen", b"key"))),
    Operation("MULTIAPPEND", b"APPEND Work %s (\\Seen) %s %s" % tuple(literal(b"add%d" % i) for i in range(3)),
              lambda c: (c.add(b"Work", b"add0", b"add2"), c.add(b"Work", b"add1", flags=(b"\\Seen",)))),
    Operation("COPY", b"UID COPY 1:3 Work", lambda c: c.copy(b"INBOX", b"Work", *BASE[:3])),
    Operation("MOVE", b"UID MOVE 1:3 Work", lambda c: c.move(b"INBOX", b"Work", *BASE[:3]), part=True),
    Operation("STORE flag", b"UID STORE 1:2 +FLAGS (\\Flagged)", lambda c: c.flag(b"INBOX", b"\\Flagged", *BASE[:2]), part=True),
    Operation("STORE letter", b"UID STORE 1:2 +FLAGS (k07)", lambda c: c.flag(b"Many", b"k07", b"many1", b"many2"),
              commands=MANY, part=True),
    Operation("STORE further", b"UID STORE 1:2 +FLAGS (further)", lambda c: c.flag(b"Many", b"further", b"many1", b"many2"),
              commands=MANY, part=True),
    Operation("EXPUNGE", b"EXPUNGE", lambda c: c.remove(b"INBOX", *BASE[:2]),
              commands=SELECT + (b"UID STORE 1:2 +FLAGS (\\Deleted)",), by_files=True,
              ready=lambda c: c.flag(b"INBOX", b"\\Deleted", *BASE[:2])),
    Operation("UID EXPUNGE", b"UID EXPUNGE 2:3", lambda c: c.remove(b"INBOX", *BASE[1:3]),
              commands=SELECT + (b"UID STORE 1:3 +FLAGS (\\Deleted)",), by_files=True,
              ready=lambda c: c.flag(b"INBOX", b"\\Deleted", *BASE[:3])),
    Operation("CREATE", b"CREATE Fresh", lambda c: c.shown.update({b"Fresh": {}})),
    Operation("DELETE", b"DELETE Many", lambda c: c.shown.pop(b"Many")),
    Operation("RENAME", b"RENAME Many Job", lambda c: c.rename({b"Many": b"Job"})),
    Operation("RENAME tree", b"RENAME Work Job", lambda c: c.rename({b"Work": b"Job", b"Work.Sub": b"Job.Sub"})),
    Operation("RENAME INBOX", b"RENAME INBOX Old", lambda c: (c.shown.update({b"Old": {}}), c.move(b"INBOX", b"Old", *BASE)),
              commands=()),
    Operation("SUBSCRIBE", b"SUBSCRIBE Work", lambda c: c.shown[SUBSCRIBED].update({b"Work": frozenset()})),
    Operation("QUIT", b"QUIT", lambda c: c.remove(b"INBOX", *BASE[:2]), pop3=True, by_files=True),
    Operation("first index", b"SELECT INBOX", nothing, commands=(), prepare=drop_index, fresh=True, quiet=True),
    Operation("first open", b"SELECT INBOX", nothing, commands=(), prepare=of_another_server, fresh=True, quiet=True),
    Operation("first STATUS", STATUS, nothing, commands=(), prepare=of_another_server, fresh=True, quiet=True),
    Operation("STATUS anew", STATUS, nothing, commands=(), prepare=drop_index, fresh=True, quiet=True),
    Operation("import", None, nothing, program=("mansioctl", "-c", "CONF", "import", USER), prepare=of_another_server, fresh=True,
              quiet=True),
    Operation("rebuild", None, nothing, program=("mansioctl", "-c", "CONF", "mailbox", "rebuild", USER), quiet=True),
]
