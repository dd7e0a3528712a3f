#!/usr/bin/env python3
"""Real mail programs against a running server, over cleartext, STARTTLS/STLS and TLS with the certificate verified.

    clients.py BUILD_DIRECTORY [NAME ...]
"""

import glob
import imaplib
import os
import poplib
import re
import shlex
import subprocess
import sys
import time

import harness
import samples
from harness import PASSWORD, Server, Skip, wait_until

imaplib.MapCRLF = re.compile(b"(?!)")  # it would rewrite line ends that we want to send as they are
LARGE = samples.large(20 * 1024 * 1024)


def need(program):
    if subprocess.run(["which", program], capture_output=True).returncode != 0:
        raise Skip("%s is not installed" % program)


def run(command, **options):
    options.setdefault("timeout", 120)
    done = subprocess.run(command, capture_output=True, **options)
    if done.returncode != 0:
        raise AssertionError("%s: exit %d\n%s\n%s" % (" ".join(command[:4]), done.returncode,
                                                      done.stdout[-2000:].decode(errors="replace"),
                                                      done.stderr[-2000:].decode(errors="replace")))
    return done.stdout


def connections(server, protocol):
    """The three ways to the server, as connected and logged-in imaplib or poplib objects."""
    context = server.tls_client()
    if protocol == "imap":
        plain = imaplib.IMAP4("localhost", server.ports["imap"], timeout=60)
        started = imaplib.IMAP4("localhost", server.ports["imap"], timeout=60)
        started.starttls(context)
        tls = imaplib.IMAP4_SSL("localhost", server.ports["imaps"], ssl_context=context, timeout=60)
        for c in (plain, started, tls):
            c.login("ann", PASSWORD)
    else:
        plain = poplib.POP3("localhost", server.ports["pop3"], timeout=60)
        started = poplib.POP3("localhost", server.ports["pop3"], timeout=60)
        started.stls(context)
        tls = poplib.POP3_SSL("localhost", server.ports["pop3s"], context=context, timeout=60)
        for c in (plain, started, tls):
            c.user("ann")
            c.pass_(PASSWORD)
    return plain, started, tls


def pop3_bytes(lines):
    return b"\r\n".join(lines) + b"\r\n"


def test_python_imaplib_and_poplib_round_trip(build):
    """Every sample by APPEND, back by FETCH and RETR over all three transports, byte by byte."""
    poplib._MAXLINE = 1 << 20
    with Server(build) as server:
        names = list(samples.MESSAGES)
        messages = [samples.MESSAGES[n] for n in names] + [LARGE]
        for c in connections(server, "imap"):
            assert c.select("INBOX")[0] == "OK"
            for old in range(int(c.select("INBOX")[1][0])):
                c.store(str(old + 1), "+FLAGS", "\\Deleted")
            c.expunge()
            for data in messages:
                answer = c.append("INBOX", "(\\Flagged)", '"02-Mar-2026 08:00:00 +0100"', data)
                assert answer[0] == "OK", answer
            assert int(c.select("INBOX")[1][0]) == len(messages)
            for number, data in enumerate(messages, 1):
                status, got = c.fetch(str(number), "(RFC822.SIZE BODY.PEEK[])")
                assert status == "OK" and got[0][1] == data, "message %d differs" % number
                assert b"RFC822.SIZE %d" % len(data) in got[0][0] + b"".join(
                    g for g in got[1:] if isinstance(g, bytes)), got[0][0]
                status, got = c.fetch(str(number), "(BODY.PEEK[HEADER] BODY.PEEK[TEXT])")
                assert got[0][1] + got[1][1] == data, "message %d: header + text" % number
            c.logout()
        for c in connections(server, "pop3"):
            count, octets = c.stat()
            assert count == len(messages), count
            assert octets == sum(len(m) for m in messages)
            for number, data in enumerate(messages, 1):
                response, lines, _ = c.retr(number)
                want = data if data.endswith(b"\r\n") else data + b"\r\n"
                assert pop3_bytes(lines) == want, "message %d differs" % number
                assert int(c.list(number).split()[2]) == len(data)
            c.quit()


def curl_urls(server, scheme):
    """(url base, options) for the three transports."""
    cleartext = "%s://localhost:%d" % (scheme, server.ports[scheme])
    tls = "%ss://localhost:%d" % (scheme, server.ports[scheme + "s"])
    login = ["--user", "ann:" + PASSWORD, "--silent", "--show-error", "--max-time", "60"]
    return ((cleartext, login),
            (cleartext, login + ["--ssl-reqd", "--cacert", server.cert]),
            (tls, login + ["--cacert", server.cert]))


def test_curl(build):
    need("curl")
    with Server(build) as server:
        server.imap().logout()  # makes the Maildir
        uid = 0
        for base, options in curl_urls(server, "imap"):
            for name in samples.WELL_FORMED:
                data = samples.MESSAGES[name]
                path = os.path.join(server.dir, "message")
                with open(path, "wb") as f:
                    f.write(data)
                run(["curl", *options, "-T", path, base + "/INBOX"])
                uid += 1
                got = run(["curl", *options, base + "/INBOX;UID=%d" % uid])
                assert got == data, "%s over %s differs" % (name, base)
            listing = run(["curl", *options, base + "/"])
            assert b"INBOX" in listing and b"Sent" in listing, listing
            assert b"EXISTS" in run(["curl", *options, "-X", "EXAMINE INBOX", base + "/"])
        number = 0
        for name in samples.WELL_FORMED:
            number += 1
            for base, options in curl_urls(server, "pop3"):
                got = run(["curl", *options, base + "/%d" % number])
                assert got == samples.MESSAGES[name], "%s over %s differs" % (name, base)


def test_openssl_s_client(build):
    """The handshake of each TLS service, verified against the certificate; the greeting shows."""
    need("openssl")
    with Server(build) as server:
        for service, start, greeting in (("imaps", None, b"* OK"), ("pop3s", None, b"+OK"),
                                         ("imap", "imap", b""), ("pop3", "pop3", b"")):
            command = ["openssl", "s_client", "-connect", "127.0.0.1:%d" % server.ports[service], "-CAfile",
                       server.cert, "-verify_return_error", "-verify_hostname", "localhost", "-crlf", "-ign_eof"]
            if start:
                command += ["-starttls", start]
            quit_line = b"QUIT\n" if "pop" in service else b"a logout\n"
            client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT)
            time.sleep(0.7)
            out, _ = client.communicate(quit_line, timeout=20)
            assert b"Verify return code: 0 (ok)" in out, out[-1500:]
            assert greeting in out and (b"BYE" in out or b"+OK" in out or start), out[-800:]


def mbsync_conf(server, directory, transport):
    port = server.ports["imaps" if transport == "IMAPS" else "imap"]
    return """
IMAPAccount a
Host localhost
Port %d
User ann
Pass %s
SSLType %s
CertificateFile %s
AuthMechs *

IMAPStore remote
Account a

MaildirStore local
Path %s/
Inbox %s/INBOX
SubFolders Verbatim

Channel c
Far :remote:
Near :local:
Patterns *
Create Both
Remove Both
Expunge Both
SyncState *
CopyArrivalDate yes
""" % (port, PASSWORD, transport, server.cert, directory, directory)


def test_mbsync_two_way(build):
    """Messages and flags travel in both directions; the second run has nothing to do."""
    need("mbsync")
    with Server(build) as server:
        c = server.imap()
        for name in samples.WELL_FORMED:
            c.append("INBOX", "(\\Seen)", None, samples.MESSAGES[name])
        c.append("Sent", None, None, LARGE)
        for transport in ("None", "STARTTLS", "IMAPS"):
            directory = os.path.join(server.dir, "local-" + transport)
            os.mkdir(directory)
            conf = os.path.join(server.dir, "mbsyncrc")
            with open(conf, "w") as f:
                f.write(mbsync_conf(server, directory, transport))
            run(["mbsync", "-q", "-c", conf, "c"])
            files = glob.glob(directory + "/INBOX/cur/*")
            fresh = glob.glob(directory + "/INBOX/new/*")
            assert len(files) + len(fresh) == int(c.select("INBOX")[1][0]), files
            wanted = {samples.on_disk(samples.MESSAGES[n]) for n in samples.WELL_FORMED}
            found = set()
            for path in files:
                assert re.search(r":2,[A-Z]*S", path), "flag lost: " + path
                with open(path, "rb") as f:
                    found.add(re.sub(rb"X-TUID: .*\n", b"", f.read()))
            assert wanted <= found, "messages differ"
            with open(glob.glob(directory + "/Sent/new/*")[0], "rb") as f:
                assert re.sub(rb"X-TUID: .*\n", b"", f.read()) == samples.on_disk(LARGE)
            # the other way: a new message here, a deletion and a flag
            os.rename(files[0], re.sub(r":2,.*", ":2,FS", files[0]))
            new = crlf_message("from mbsync " + transport)
            with open(directory + "/INBOX/new/1.1.x", "wb") as f:
                f.write(samples.on_disk(new))
            os.makedirs(directory + "/Made-" + transport + "/cur")
            os.makedirs(directory + "/Made-" + transport + "/new")
            os.makedirs(directory + "/Made-" + transport + "/tmp")
            run(["mbsync", "-q", "-c", conf, "c"])
            c.select("INBOX")
            assert c.search(None, "SUBJECT", '"from mbsync %s"' % transport)[1][0] != b"", "not uploaded"
            assert c.search(None, "FLAGGED")[1][0] != b"", "flag not uploaded"
            assert any(b"Made-" + transport.encode() in line for line in c.list()[1]), c.list()
            c.store("1:*", "-FLAGS", "\\Flagged")
        c.logout()


def crlf_message(subject):
    return samples.crlf(samples.HEADERS % (subject, re.sub(r"\W", "", subject)) + "\nA message.\n")


def test_fetchmail(build):
    need("fetchmail")
    with Server(build) as server:
        for protocol in ("POP3", "IMAP"):
            for ssl in ("", "sslproto TLS1.2+", "ssl"):
                c = server.imap()
                for name in ("plain", "eight-bit", "dots"):
                    c.append("INBOX", None, None, samples.MESSAGES[name])
                c.logout()
                port = server.ports[protocol.lower() + ("s" if ssl == "ssl" else "")]
                out = os.path.join(server.dir, "fetched")
                if os.path.exists(out):
                    os.unlink(out)
                conf = os.path.join(server.dir, "fetchmailrc")
                tls = "sslproto ''" if not ssl else "%s sslcertck sslcertfile %s" % (ssl, server.cert)
                with open(conf, "w") as f:
                    f.write('set no bouncemail\npoll localhost protocol %s port %d user "ann" password "%s" is "nobody" here\n'
                            ' no rewrite fetchall mda "cat >>%s" %s\n' % (protocol, port, PASSWORD, shlex.quote(out), tls))
                os.chmod(conf, 0o600)
                environment = dict(os.environ, FETCHMAILHOME=server.dir, HOME=server.dir, LC_ALL="C")
                run(["fetchmail", "--nodetach", "--nosyslog", "-f", conf], env=environment)
                with open(out, "rb") as f:
                    text = f.read()
                for name in ("plain", "eight-bit", "dots"):
                    body = samples.on_disk(samples.MESSAGES[name]).split(b"\n\n", 1)[1]
                    assert body in text, "%s %s: %s differs" % (protocol, ssl, name)
                c = server.imap()
                assert c.select("INBOX")[1] == [b"0"], "not deleted after the fetch"
                c.logout()


def test_mpop(build):
    """mpop: CAPA, PIPELINING, UIDL; a message that was fetched isn't fetched again."""
    need("mpop")
    with Server(build) as server:
        c = server.imap()
        for name in samples.WELL_FORMED:
            c.append("INBOX", None, None, samples.MESSAGES[name])
        c.logout()
        for tls in ("off", "starttls", "tls"):
            maildir = os.path.join(server.dir, "mpop-" + tls)
            for part in ("cur", "new", "tmp"):
                os.makedirs(os.path.join(maildir, part))
            conf = os.path.join(server.dir, "mpoprc-" + tls)
            port = server.ports["pop3s" if tls == "tls" else "pop3"]
            with open(conf, "w") as f:
                f.write("account default\nhost localhost\nport %d\nuser ann\npassword %s\nkeep on\nreceived_header off\n"
                        "delivery maildir %s\nuidls_file %s.uidls\nauth %s\n" %
                        (port, PASSWORD, maildir, conf, "user" if tls == "off" else "plain"))
                f.write("tls off\n" if tls == "off" else "tls on\ntls_trust_file %s\ntls_starttls %s\n" %
                        (server.cert, "on" if tls == "starttls" else "off"))
            os.chmod(conf, 0o600)
            run(["mpop", "-q", "-C", conf])
            found = set()
            for path in glob.glob(maildir + "/new/*"):
                with open(path, "rb") as f:
                    found.add(f.read())
            assert found == {samples.on_disk(samples.MESSAGES[n]) for n in samples.WELL_FORMED}, "messages differ"
            run(["mpop", "-q", "-C", conf])
            assert len(glob.glob(maildir + "/new/*")) == len(samples.WELL_FORMED), "fetched twice"


class Terminal:
    """A terminal program in tmux: keys in, screen out."""

    def __init__(self, server, command, environment):
        need("tmux")
        self.socket = os.path.join(server.dir, "tmux")
        settings = "".join("%s=%s " % (k, shlex.quote(v)) for k, v in environment.items())
        run(["tmux", "-S", self.socket, "-f", "/dev/null", "new-session", "-d", "-s", "t", "-x", "110", "-y", "40",
             "env " + settings + command + "; echo ENDED; sleep 30"])

    def keys(self, *keys):
        run(["tmux", "-S", self.socket, "send-keys", "-t", "t", *keys])

    def screen(self):
        return run(["tmux", "-S", self.socket, "capture-pane", "-p", "-t", "t"]).decode(errors="replace")

    def wait(self, text, seconds=20):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            screen = self.screen()
            if re.search(text, screen):
                return screen
            time.sleep(0.1)
        raise AssertionError("never saw %r; the screen is:\n%s" % (text, self.screen()))

    def close(self):
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], capture_output=True)


def terminal_mailbox(server):
    c = server.imap()
    c.append("INBOX", None, None, crlf_message("First letter"))
    c.append("INBOX", None, None, samples.crlf(samples.HEADERS % ("Umlauts", "uml") +
             "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\nGr\u00fc\u00dfe\n"))
    c.logout()


def test_mutt(build):
    """mutt reads, flags, saves to another folder, sees a message arrive, and expunges."""
    need("mutt")
    with Server(build) as server:
        for url, extra in (("imap://ann@localhost:%d/" % server.ports["imap"], "set ssl_starttls=no"),
                           ("imap://ann@localhost:%d/" % server.ports["imap"], "set ssl_starttls=yes ssl_force_tls=yes"),
                           ("imaps://ann@localhost:%d/" % server.ports["imaps"], "")):
            terminal_mailbox(server)
            rc = os.path.join(server.dir, "muttrc")
            with open(rc, "w") as f:
                f.write("set folder=%s spoolfile=+INBOX imap_pass=%s certificate_file=%s %s\n"
                        "set ssl_verify_host=yes confirmappend=no delete=yes mail_check=1 timeout=1 "
                        "imap_keepalive=5 wait_key=no move=no sleep_time=0 copy=no imap_idle=yes\n" %
                        (url, PASSWORD, server.cert, "\n" + extra if extra else ""))
            t = Terminal(server, "mutt -n -F %s" % rc, {"HOME": server.dir, "TERM": "screen", "LC_ALL": "C.UTF-8"})
            try:
                t.wait("First letter")
                t.keys("Enter")
                t.wait("A message\\.")
                t.keys("i")
                t.wait("Umlauts")
                server.deliver(samples.on_disk(crlf_message("Just arrived")))
                t.wait("Just arrived")
                t.keys("*")
                time.sleep(0.5)
                t.keys("s")
                t.wait("Save to mailbox|Save message")
                t.keys("C-u")
                t.keys("=Sent", "Enter")
                time.sleep(0.7)
                t.keys("$")
                time.sleep(0.7)
                t.keys("q")
                t.wait("ENDED")
            finally:
                t.close()
            c = server.imap()
            assert c.select("INBOX")[1] == [b"2"], "the saved message was not removed"
            assert c.select("Sent")[1][0] != b"0", "the message was not saved"
            c.select("INBOX")
            c.store("1:*", "+FLAGS", "\\Deleted")
            c.expunge()
            c.logout()


def test_alpine(build):
    """alpine shows the index and a message over all three transports."""
    need("alpine")
    with Server(build) as server:
        terminal_mailbox(server)
        for box in ("{localhost:%d/imap/notls/user=ann}INBOX" % server.ports["imap"],
                    "{localhost:%d/imap/tls/novalidate-cert/user=ann}INBOX" % server.ports["imap"],
                    "{localhost:%d/imap/ssl/novalidate-cert/user=ann}INBOX" % server.ports["imaps"]):
            rc = os.path.join(server.dir, "pinerc")
            with open(rc, "w") as f:
                f.write("personal-name=Ann\nuser-domain=example.org\ninbox-path=%s\nlast-time-prune-questioned=126.11\n"
                        "last-version-used=7.00\nfeature-list=quell-folder-internal-msg,disable-password-file-saving,no-quit-without-confirm\n" % box)
            t = Terminal(server, "alpine -i -p %s" % rc, {"HOME": server.dir, "TERM": "screen", "LC_ALL": "C.UTF-8"})
            try:
                for _ in range(60):
                    screen = t.wait("PASSWORD|any key|First letter|ontinue|reserve|<Return>|MAIN MENU|ENDED")
                    if "First letter" in screen and "PASSWORD" not in screen:
                        break
                    if "PASSWORD" in screen:
                        t.keys(PASSWORD, "Enter")
                        time.sleep(1)
                    elif "reserve" in screen:  # the password? no
                        t.keys("n")
                    elif "MAIN MENU" in screen:
                        t.keys("i")
                    elif "ENDED" in screen:
                        raise AssertionError("alpine ended:\n" + screen)
                    else:
                        t.keys("Enter")
                    time.sleep(0.4)
                t.wait("Umlauts")
                t.keys("Home")
                time.sleep(0.3)
                t.keys("Enter")
                t.wait("A message\\.|Gr\u00fc\u00dfe")
                t.keys("q")
                t.wait("uit|Quit")
                t.keys("y")
                t.wait("ENDED")
            finally:
                t.close()


if __name__ == "__main__":
    sys.exit(harness.main(globals()))
