"""What other programs do in a Maildir, each in the way of the program that is named: a process of its own that lists,
renames, moves, delivers and removes as fast as it is let, and keeps a log of what it did.

File names are only changed by rename() from the full name that was seen, so that no other program's flag is lost; a flag
letter belongs to one neighbour (LETTERS), so that the log says what it must be in the end.
"""

import contextlib
import os
import random
import shutil
import time

FOLDERS = ("INBOX", "A", "B", "C")
LETTERS = "RFP"  # of neighbour 0, of neighbour 1, of neighbour_fast
FULL = {"B": 700}  # messages of a folder from which on more is removed than delivered; others 100. B is so large that
                   # readdir() takes several calls, between which files can be renamed


def directory(maildir, folder):
    return maildir if folder == "INBOX" else os.path.join(maildir, "." + folder)


def text(ident):
    """The message of that id, with LF: the same octets wherever it lies."""
    rng = random.Random(ident)
    lines = ["".join(rng.choice("abcdefgh   ") for _ in range(rng.randint(0, 70)))
             for _ in range(rng.choice((1, 5, 20, 60)))]
    return ("X-Id: %s\nFrom: a@example.org\nSubject: message %s\n\n%s\n" % (ident, ident, "\n".join(lines))).encode()


def split(name):
    """Base, has info, letters, the rest behind a comma."""
    base, mark, info = name.partition(":2,")
    letters, comma, rest = info.partition(",")
    return base, bool(mark), set(letters), comma + rest


def join(base, letters, rest=""):
    return base + ":2," + "".join(sorted(letters)) + rest


class Neighbour:
    def __init__(self, maildir, number, seed):
        self.maildir, self.number = maildir, number
        self.rng = random.Random("%s/neighbour%d" % (seed, number))
        self.count = 0
        self.log = []
        self.own_folders = []

    def serve(self, pipe):
        """Works between "go" and "pause"; answers "pause" with the log."""
        while pipe.recv() == "go":
            pace, parent = self.rng.choice((0.02, 0.3, 0.9)), os.getppid()
            while not pipe.poll():
                if os.getppid() != parent:
                    return
                with contextlib.suppress(OSError):  # another program was quicker
                    self.act()
                if self.rng.random() < pace:
                    time.sleep(self.rng.random() * 0.01)
            pipe.recv()
            pipe.send(self.log)
            self.log = []

    def act(self):
        rng = self.rng
        folder = rng.choice(FOLDERS)
        names = self.names(folder, "cur")
        kind = rng.random()
        if len(names) > FULL.get(folder, 100) and kind < 0.3:
            kind = 0.93
        if kind < 0.12:
            self.deliver(folder)
        elif kind < 0.16:
            self.deliver_into_cur(folder)
        elif kind < 0.22:
            self.take_new(folder)
        elif kind < 0.60:
            self.change_flag(folder, names)
        elif kind < 0.66:
            self.mark_deleted(folder, names)
        elif kind < 0.80:
            self.move(folder, names, rng.choice(FOLDERS))
        elif kind < 0.90:
            self.rename_base(folder, names)
        elif kind < 0.96:
            self.remove(folder, names)
        else:
            self.folders()

    def names(self, folder, part):
        return [n for n in os.listdir(os.path.join(directory(self.maildir, folder), part)) if n[0] != "."]

    def path(self, folder, part, name):
        return os.path.join(directory(self.maildir, folder), part, name)

    @staticmethod
    def ident(path):
        with open(path, "rb") as f:
            return f.readline(200).split(b" ")[1].strip().decode()

    def new_base(self, size=None, wire=None):
        self.count += 1
        base = "%d.M%dP%dQ%d.neighbour%d" % (time.time(), self.rng.randrange(1000000), os.getpid(), self.count, self.number)
        return base + (",S=%d" % size if size is not None else "") + (",W=%d" % wire if wire is not None else "")

    def write(self, folder, prefix):
        """A new message in tmp/: its path, its id, the name it gets."""
        data_id = "%s%d.%d" % (prefix, self.number, self.count)
        data = text(data_id)
        kind = self.rng.randrange(3)
        name = self.new_base(len(data) if kind else None, len(data) + data.count(b"\n") if kind > 1 else None)
        path = self.path(folder, "tmp", name)
        with open(path, "wb") as f:
            f.write(data)
        return path, data_id, name

    def put(self, path, target):
        if self.rng.random() < 0.5:
            os.rename(path, target)
        else:  # where a name must not be replaced: qmail, procmail
            os.link(path, target)
            os.unlink(path)

    def deliver(self, folder, prefix="n"):
        path, ident, name = self.write(folder, prefix)
        self.put(path, self.path(folder, "new", name))
        self.log.append(("made", ident))

    def deliver_into_cur(self, folder):
        """As mbsync and programs that move mail in do; some give no info."""
        path, ident, name = self.write(folder, "n")
        letters = self.rng.choice((None, "", "S", "DS"))
        self.put(path, self.path(folder, "cur", name if letters is None else join(name, letters)))
        self.log.append(("made", ident))

    def take_new(self, folder):
        """mutt opens the mailbox: new mail goes to cur/."""
        for name in self.names(folder, "new"):
            os.rename(self.path(folder, "new", name), self.path(folder, "cur", name + ":2,"))

    def choose(self, folder, names):
        name = self.rng.choice(names) if names else None
        return (name, self.path(folder, "cur", name)) if name else (None, None)

    def change_flag(self, folder, names):
        name, path = self.choose(folder, names)
        if name is None:
            return
        base, _, letters, rest = split(name)
        letter = LETTERS[self.number]
        letters ^= {letter}
        os.rename(path, self.path(folder, "cur", join(base, letters, rest)))
        self.log.append(("flag", base, letter, letter in letters))

    def mark_deleted(self, folder, names):
        name, path = self.choose(folder, names)
        if name is None or self.rng.random() < 0.5:
            return
        base, _, letters, rest = split(name)
        self.log.append(("doom", self.ident(path)))
        os.rename(path, self.path(folder, "cur", join(base, letters | {"T"}, rest)))

    def move(self, folder, names, target):
        """To another folder: mutt with a new name, mv with the same one. With link() a second file may stay behind, so
        that's done with a new name only: two messages of one base are no message of their own (limits.py has those)."""
        name, path = self.choose(folder, names)
        if name is None or target == folder:
            return
        base, _, letters, rest = split(name)
        ident = self.ident(path)
        by_link = self.rng.random() < 0.5
        if by_link or self.rng.random() < 0.3:
            base = self.new_base()
        else:
            self.log.append(("moved", base))
        to = self.path(target, "cur", join(base, letters, rest))
        if not by_link:
            os.rename(path, to)
            return
        os.link(path, to)
        try:
            os.unlink(path)
        except FileNotFoundError:  # renamed or moved meanwhile: now there are two
            self.log.append(("made", ident))

    def rename_base(self, folder, names):
        """mbsync writes its UID into the name."""
        name, path = self.choose(folder, names)
        if name is None:
            return
        base, _, letters, rest = split(name)
        self.count += 1
        base = base.partition(",U=")[0] + ",U=%d" % self.count
        os.rename(path, self.path(folder, "cur", join(base, letters, rest)))

    def remove(self, folder, names):
        name, path = self.choose(folder, names)
        if name is None or (len(names) < FULL.get(folder, 100) and self.rng.random() < 0.5):
            return
        self.log.append(("doom", self.ident(path)))
        os.unlink(path)

    def folders(self):
        """Makes, renames and removes folders of its own, with mail in them. Their mail is counted nowhere."""
        kind = self.rng.randrange(3)
        if kind == 0 and len(self.own_folders) < 3:
            self.count += 1
            name = "nb%d.%d" % (self.number, self.count)
            for part in ("", "tmp", "new", "cur"):
                os.mkdir(os.path.join(directory(self.maildir, name), part), 0o700)
            self.own_folders.append(name)
            for _ in range(self.rng.randrange(4)):
                self.deliver(name, "x")
        elif self.own_folders:
            name = self.own_folders.pop(self.rng.randrange(len(self.own_folders)))
            if kind == 1:
                self.count += 1
                to = "nb%d.%d" % (self.number, self.count)
                os.rename(directory(self.maildir, name), directory(self.maildir, to))
                self.own_folders.append(to)
            else:
                shutil.rmtree(directory(self.maildir, name), ignore_errors=True)
                shutil.rmtree(directory(self.maildir, name), ignore_errors=True)  # the server may have put a file there
