"""Runs a program on a terminal of its own, and Python code that uses it: terminal.py CODE PROGRAM [ARGUMENT...]"""
import fcntl, os, pty, select, signal, struct, subprocess, sys, termios, time

master, slave = pty.openpty()
raw = b""
shown = ""  # the same as text
seen = 0  # how much of what was shown has been expected


def resize(rows, columns):
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def settings():
    return termios.tcgetattr(slave)


def is_raw():
    return settings()[3] & (termios.ICANON | termios.ECHO | termios.ISIG) == 0


def take(seconds):
    """What the terminal shows within this time; False when nothing came."""
    global raw, shown
    if not select.select([master], [], [], seconds)[0]:
        return False
    raw += os.read(master, 65536)
    shown = raw.decode(errors="replace").replace("\r\n", "\n")
    return True


def expect(text, seconds=10):
    """Waits until the terminal shows a text, behind what was expected before."""
    global seen
    limit = time.time() + seconds
    while text not in shown[seen:]:
        if not take(0.05) and time.time() > limit:
            print("EXPECTED", repr(text), "SEEN", repr(shown[seen:]))
            raise SystemExit(1)
    seen = shown.index(text, seen) + len(text)


def keys(text):
    os.write(master, text.encode())


def becomes(condition, seconds=5):
    limit = time.time() + seconds
    while not condition() and time.time() < limit:
        time.sleep(0.01)
    return condition()


def begin_session():
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def status(seconds=10):
    """The program's exit status, as the shell has it; what it shows meanwhile is kept."""
    limit = time.time() + seconds
    while program.poll() is None and time.time() < limit:
        take(0.05)
    while take(0.05):
        pass
    return program.returncode


resize(24, 80)
before = settings()
program = subprocess.Popen(sys.argv[2:], stdin=slave, stdout=slave, stderr=slave, preexec_fn=begin_session)
try:
    exec(sys.argv[1])
finally:
    if program.poll() is None:
        program.kill()
        program.wait()
