"""Messages that mail servers get wrong, as bytes with CRLF line ends: what goes in must come out."""

import random


def crlf(text):
    return text.replace("\n", "\r\n").encode("utf-8")


def nested(depth):
    text = "Subject: innermost\n\nThe end.\n"
    for level in range(depth):
        text = ("Subject: level %d\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b%d\n\n--b%d\n"
                "Content-Type: message/rfc822\n\n%s\n--b%d--\n" % (level, level, level, text, level))
    return text


def large(octets):
    """Base64-like lines, not compressible, the same at each call."""
    rng = random.Random(7)
    lines = []
    size = 0
    while size < octets:
        line = "%0146x" % rng.getrandbits(584)
        lines.append(line[:76])
        size += 78
    return crlf("From: a@example.org\nSubject: large\nMessage-ID: <large@example.org>\n\n" + "\n".join(lines) + "\n")


HEADERS = "From: ann@example.org\nTo: bob@example.org\nSubject: %s\nMessage-ID: <%s@example.org>\nDate: Mon, 02 Mar 2026 08:00:00 +0100\n"

MESSAGES = {
    "plain": crlf(HEADERS % ("plain", "plain") + "\nHello.\n"),
    "eight-bit": crlf(HEADERS % ("8bit", "8bit") + "Content-Type: text/plain; charset=utf-8\n\nGr\u00fc\u00dfe \u2603 \U0001f600\n")
    + bytes(range(0x80, 0x100)) + b"\r\n",
    "long-lines": crlf(HEADERS % ("long", "long") + "X-Long: " + "x" * 5000 + "\n\n" + "y" * 200000 + "\nend\n"),
    "no-headers": b"\r\nonly a body, no header at all\r\n",
    "no-body": crlf(HEADERS % ("no body", "nobody") + "\n"),
    "header-only": crlf(HEADERS % ("no blank line", "header-only")),
    "no-final-newline": crlf(HEADERS % ("open end", "open") + "\nlast line without its end"),
    "dots": crlf(HEADERS % ("dots", "dots") + "\n.\n..\n...\n.x\n\n.\n"),
    "nested": crlf("MIME-Version: 1.0\n" + nested(5)),
    "many-parts": crlf(HEADERS % ("parts", "parts") + "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=zz\n\n"
                       + "".join("--zz\nContent-Type: text/plain; name=p%d\n\npart %d\n" % (i, i) for i in range(100))
                       + "--zz--\n"),
    "from-lines": crlf(HEADERS % ("from", "from") + "\nFrom the start of a line\n>From quoted\n"),
    "blank-lines": crlf(HEADERS % ("blank", "blank") + "\n\n\n\n"),
    "bare-cr": crlf(HEADERS % ("cr", "cr") + "\na") + b"\rb\rc\r\n",
}
# For clients that rewrite or can't carry what isn't a well-formed message.
WELL_FORMED = ("plain", "eight-bit", "long-lines", "no-body", "dots", "nested", "many-parts", "from-lines", "blank-lines")


def on_disk(data):
    """How the Maildir holds it: LF line ends."""
    return data.replace(b"\r\n", b"\n")
