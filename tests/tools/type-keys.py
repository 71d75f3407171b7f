#!/usr/bin/env python3
"""type-keys.py KEYS PROGRAM [ARGUMENT...] - runs a program on this terminal and types for it.

KEYS are bytes with Python's escapes; a tab-separated part is typed half a second after the one
before. For screenshots.sh: what an X terminal shows cannot be typed into from outside.
"""
import os
import pty
import select
import sys
import termios
import tty
import time
import fcntl

parts = [p.encode().decode("unicode_escape").encode("latin-1") for p in sys.argv[1].split("\t") if p]
pid, fd = pty.fork()
if pid == 0:
    time.sleep(0.1)  # the size comes first
    os.execvp(sys.argv[2], sys.argv[2:])
fcntl.ioctl(fd, termios.TIOCSWINSZ, fcntl.ioctl(0, termios.TIOCGWINSZ, b"\0" * 8))
tty.setraw(0)
due = time.monotonic() + 1.5
while True:
    ready, _, _ = select.select([fd, 0], [], [], 0.05)
    try:
        if fd in ready:
            os.write(1, os.read(fd, 65536))
        if 0 in ready:
            os.write(fd, os.read(0, 4096))
    except OSError:
        break
    if parts and time.monotonic() >= due:
        os.write(fd, parts.pop(0))
        due = time.monotonic() + 0.5
