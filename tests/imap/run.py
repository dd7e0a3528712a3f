#!/usr/bin/env python3
"""Plays the IMAP transcripts of this directory against a server of its own; tests/transcript.py tells how one is written.

    run.py BUILD_DIRECTORY [WORD ...]     only tests whose file or name has one of the words
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import transcript  # noqa: E402

if __name__ == "__main__":
    sys.exit(transcript.main(__file__, "imap"))
