#!/usr/bin/env python3
"""Rules about the source tree itself: who includes whom, banned calls, layout, manual pages.

    check_tree.py BUILD_DIRECTORY
"""

import glob
import os
import re
import subprocess
import sys

import harness

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Folder -> folders that it may include (HACKING, "Layout").
MAY_INCLUDE = {
    "base": {"base"},
    "net": {"base", "net"},
    "format": {"base", "format"},
    "store": {"base", "format", "store"},
    "auth": {"base", "net", "format", "store", "auth"},
    "imap": {"base", "net", "format", "store", "auth", "imap"},
    "pop3": {"base", "net", "format", "store", "auth", "pop3"},
    "proc": {"base", "net", "format", "store", "auth", "imap", "pop3", "proc"},
}
# Header of a library -> the only files that may see it.
OWNERS = {
    "db.h": r"src/store/index_db(_\w+)?\.[ch]$",
    "gnutls/": r"src/net/(tls\w*|stream\w*)\.[ch]$",
    "crypt.h": r"src/auth/password\w*\.c$",
    "nettle/": r"src/auth/\w+\.c$",
}
BANNED = re.compile(r"\b(strcpy|strcat|strncat|sprintf|vsprintf|gets|alloca|atoi|atol|system|popen|strtok|tmpnam|mktemp)\s*\(")
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK|unimplemented|placeholder)\b")


def sources(pattern="src/*/*.[ch]"):
    return sorted(glob.glob(os.path.join(TOP, pattern)))


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def without_comments(text):
    return re.sub(r"/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"", lambda m: "\n" * m.group(0).count("\n"), text, flags=re.S)


def fail_if(faults):
    if faults:
        raise AssertionError("\n  " + "\n  ".join(faults))


def test_include_direction(build):
    faults = []
    for path in sources():
        folder = os.path.basename(os.path.dirname(path))
        for included in re.findall(r'^#include "([a-z0-9]+)/', read(path), re.M):
            if included not in MAY_INCLUDE[folder]:
                faults.append("%s includes %s/" % (os.path.relpath(path, TOP), included))
    fail_if(faults)


def test_library_headers_have_one_owner(build):
    faults = []
    for path in sources():
        name = os.path.relpath(path, TOP)
        for header in re.findall(r"^#include <([^>]+)>", read(path), re.M):
            for prefix, owner in OWNERS.items():
                if header.startswith(prefix) and not re.search(owner, name):
                    faults.append("%s includes <%s>" % (name, header))
    fail_if(faults)


def test_no_banned_calls(build):
    faults = []
    for path in sources():
        for number, line in enumerate(without_comments(read(path)).split("\n"), 1):
            found = BANNED.search(line)
            if found:
                faults.append("%s:%d: %s" % (os.path.relpath(path, TOP), number, found.group(1)))
    fail_if(faults)


def test_no_unfinished_work(build):
    faults = []
    for path in sources() + sources("tests/*.[ch]") + sources("man/*"):
        for number, line in enumerate(read(path).split("\n"), 1):
            if UNFINISHED.search(line):
                faults.append("%s:%d: %s" % (os.path.relpath(path, TOP), number, line.strip()))
    fail_if(faults)


def test_every_file_opens_with_a_comment(build):
    fail_if([os.path.relpath(p, TOP) for p in sources() if not read(p).startswith("/*\n * ")])


def test_long_files_say_why(build):
    """Beyond 500 lines the first comment must have a word on it."""
    faults = []
    for path in sources():
        text = read(path)
        if text.count("\n") > 500 and "long" not in text[:text.find("*/")]:
            faults.append("%s: %d lines" % (os.path.relpath(path, TOP), text.count("\n")))
    fail_if(faults)


def test_layout(build):
    """One layout for all: .clang-format."""
    paths = sources() + sources("tests/*.[ch]") + sources("tests/fuzz/*.[ch]") + sources("bench/*.[ch]")
    done = subprocess.run(["clang-format", "--dry-run", "--Werror", *paths], cwd=TOP, capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError("\n".join(done.stderr.split("\n")[:20]))


def test_manual_pages_are_lint_free(build):
    pages = sources("man/*.[1-8]") + sources("man/*.[1-8].in")
    assert pages, "no manual pages"
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", *pages], capture_output=True, text=True)
    if done.returncode != 0 or done.stdout:
        raise AssertionError(done.stdout)


def plain(page):
    """The text of a manual page without font changes."""
    done = subprocess.run(["mandoc", "-T", "utf8", page], capture_output=True, text=True, check=True)
    return re.sub(r".\x08", "", done.stdout)


def test_configuration_page_names_every_key(build):
    """mansio.conf(5) and the sample have exactly the keys of the program's table."""
    printed = subprocess.run([os.path.join(build, "mansiod"), "-T", "-c", "/dev/null"], capture_output=True, text=True)
    keys = re.findall(r"^#?\s?([a-z][a-z0-9_]+) =", printed.stdout, re.M)
    assert len(keys) > 30, printed.stdout + printed.stderr
    source = read(os.path.join(TOP, "man", "mansio.conf.5"))
    documented = re.findall(r"^\.It Cm (\w+)", source, re.M)
    sample = re.findall(r"^#?([a-z][a-z0-9_]+) =", read(os.path.join(TOP, "etc", "mansio.conf")), re.M)
    assert sorted(documented) == sorted(keys), "page and table differ: %s" % (set(documented) ^ set(keys))
    assert sorted(sample) == sorted(keys), "sample and table differ: %s" % (set(sample) ^ set(keys))


def test_mansioctl_page_names_every_command(build):
    printed = subprocess.run([os.path.join(build, "mansioctl"), "help"], capture_output=True, text=True).stdout
    commands = re.findall(r"^  ([a-z]+(?: [a-z]+)?)(?:  | [A-Z\[-])", printed, re.M)
    assert len(commands) >= 14, printed
    page = re.sub(r"\s+", " ", plain(os.path.join(TOP, "man", "mansioctl.8")))
    fail_if([c for c in commands if c not in page])


def test_every_manual_page_is_there(build):
    names = ["mansiod.8", "mansioctl.8", "mansio.conf.5", "mansio-users.5", "mansio-index.5", "mansio.7"]
    fail_if([n for n in names if not glob.glob(os.path.join(TOP, "man", n + "*"))])


def test_ci_runs_the_whole_check(build):
    assert "./quickstart check" in read(os.path.join(TOP, ".ci", "run"))


def test_shell_scripts_parse(build):
    for script in ("quickstart", "etc/mansio.init.in"):
        path = os.path.join(TOP, script)
        if os.path.exists(path):
            subprocess.run(["sh", "-n", path], check=True)


if __name__ == "__main__":
    sys.exit(harness.main(globals()))
