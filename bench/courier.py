"""Courier-IMAP as a peer of compare.py.

Its Debian packages can't be installed beside Dovecot's. So they may also be unpacked into a directory (`dpkg-deb -x`:
courier-imap courier-pop courier-base courier-authdaemon courier-authlib courier-authlib-userdb, and the libraries that
they miss, gamin among them), which is laid over /usr and /etc in a mount namespace that only this server sees.
"""

import base64
import hashlib
import os
import pwd

PASSWORD_FIELDS = ("imappw", "pop3pw", "systempw")

# What the packages' own start scripts do, with the ports given and no daemon left behind.
START = """
set -e
{overlay}
mount -t tmpfs tmpfs /run
mkdir -p /run/courier/authdaemon
{libexec}/courier-authlib/authdaemond &
umask 022
cd {dir}
tcpd="/usr/sbin/couriertcpd -address=127.0.0.1 -maxprocs=6000 -maxperip=6000 -nodnslookup -noidentlookup"
tls="/usr/bin/couriertls -server -tcpd"
imap="{libexec}/courier/imaplogin /usr/bin/imapd Maildir"
pop3="{libexec}/courier/courierpop3login {libexec}/courier/courierpop3d Maildir"
set -a
. /etc/courier/imapd
. /etc/courier/imapd-ssl
TLS_CERTFILE={dir}/both.pem
TLS_CACHEFILE=
TLS_TRUSTCERTS=
IMAP_TRASHFOLDERNAME=
IMAP_EMPTYTRASH=
$tcpd {imap} $imap &
IMAP_TLS=1 $tcpd {imaps} $tls $imap &
POP3DSTARTTLS=NO $tcpd {pop3} $pop3 &
POP3_TLS=1 $tcpd {pop3s} $tls $pop3 &
wait
"""


def overlay(root, layer):
    """Commands that lay the packages, and this server's own settings, over the system."""
    installed = os.path.realpath(root) == "/"
    usr = "" if installed else "mount -t overlay overlay -o lowerdir=%s/usr:/usr /usr\n" % root
    etc = "/etc" if installed else root + "/etc:/etc"
    return ("mount --make-rprivate /\n%s/usr/sbin/makeuserdb -f %s/etc/courier/userdb\n"
            "mount -t overlay overlay -o lowerdir=%s/etc:%s /etc\n" % (usr, layer, layer, etc))


def unpacked(root):
    return os.path.exists(os.path.join(root, "usr/lib/courier/courier/imaplogin"))


def server_class(base, password, root):
    """The class of the peer, made of compare.py's Server. `root`: where the packages are unpacked."""

    class Courier(base):
        name = "courier"
        announces = False  # polls once a minute, without gamin
        # they use LITERAL+, and folders whose names don't begin with INBOX.
        without = frozenset(("append", "append8", "copy", "expunge", "status", "chunks", "idle-latency", "noop"))

        def __init__(self, work, build):
            super().__init__(work)
            self.layer = os.path.join(self.dir, "layer")
            etc = os.path.join(self.layer, "etc/courier")
            os.makedirs(etc)
            entry = pwd.getpwnam("nobody")
            with open(os.path.join(work, "mansio", "users")) as f:
                users = [line.strip().split(":")[:2] for line in f]
            plain = "{SHA}" + base64.b64encode(hashlib.sha1(password.encode()).digest()).decode()
            with open(os.path.join(etc, "userdb"), "w") as f:
                os.fchmod(f.fileno(), 0o600)
                for user, given in users:
                    crypted = plain if given.startswith("{PLAIN}") else "{CRYPT}" + given
                    fields = ["uid=%d" % entry.pw_uid, "gid=%d" % entry.pw_gid, "home=%s/%s" % (self.mail, user)]
                    f.write("%s\t%s\n" % (user, "|".join(fields + ["%s=%s" % (p, crypted) for p in PASSWORD_FIELDS])))
            with open(os.path.join(root, "etc/courier/authdaemonrc")) as f:
                settings = f.read().replace('authmodulelist="authpam"', 'authmodulelist="authuserdb"')
            with open(os.path.join(etc, "authdaemonrc"), "w") as f:
                f.write(settings)
            with open(os.path.join(self.dir, "both.pem"), "w") as f:
                os.fchmod(f.fileno(), 0o600)
                for part in ("cert", "key"):
                    with open(os.path.join(work, "mansio", part + ".pem")) as g:
                        f.write(g.read())
            script = START.format(overlay=overlay(root, self.layer), libexec="/usr/lib/courier", dir=self.dir,
                                  **self.ports)
            with open(os.path.join(self.dir, "start.sh"), "w") as f:
                f.write(script)
            self.own(self.mail)

        def start(self):
            self.spawn(["unshare", "-m", "sh", os.path.join(self.dir, "start.sh")])
            self.wait()

    return Courier
