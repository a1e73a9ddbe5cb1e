"""`lava run` is transparent: exit codes, input, the terminal and signals are as if the command had been started itself."""

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

RUN = [
    sys.executable,
    "-c",
    "import os,sys; from lava_proxy.cli.launch import launch; sys.exit(launch(sys.argv[1:], os.environ))",
]
COUNTING = """
import signal, sys
seen = []
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGWINCH):
    signal.signal(number, lambda n, f: (seen.append(n), print(signal.Signals(n).name, flush=True)))
print("ready", flush=True)
while signal.SIGTERM not in seen:
    signal.pause()
sys.exit(7)
"""


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["/bin/sh", "-c", "exit 3"], 3),
        (["/bin/sh", "-c", "kill -TERM $$"], 128 + signal.SIGTERM),
        (["/bin/sh", "-c", "kill -KILL $$"], 128 + signal.SIGKILL),
        (["true"], 0),
        (["no-such-command-anywhere"], 127),
        (["/etc/hostname"], 126),
    ],
)
def test_the_exit_code_is_the_one_that_a_shell_would_give(command: list[str], code: int) -> None:
    assert subprocess.run([*RUN, *command], capture_output=True, check=False).returncode == code


def test_input_and_output_are_the_childs_own() -> None:
    answer = subprocess.run([*RUN, "cat"], input=b"through\n", capture_output=True, check=True)
    assert (answer.stdout, answer.stderr) == (b"through\n", b"")


def test_signals_sent_to_us_reach_the_child_once_each() -> None:
    with subprocess.Popen([*RUN, sys.executable, "-c", COUNTING], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGWINCH):
            process.send_signal(number)
            assert process.stdout.readline() == f"{number.name}\n"
        process.terminate()
        assert process.stdout.read() == "SIGTERM\n"
        assert process.wait(10) == 7


def test_the_child_starts_with_no_signal_blocked_or_ignored() -> None:
    code = "import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, []), signal.getsignal(signal.SIGINT))"
    direct = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    through = subprocess.run([*RUN, sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert direct.split(" at ")[0] == through.split(" at ")[0] and through.startswith("set()")


def test_ctrl_c_reaches_a_child_on_the_terminal_exactly_once() -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(RUN[0], [*RUN, sys.executable, "-c", COUNTING])
    lines = _lines(terminal)
    assert next(lines) == "ready"
    os.write(terminal, b"\x03")
    assert next(lines).endswith("SIGINT")  # the terminal echoes ^C before it
    time.sleep(0.2)  # a second one would come now
    os.kill(pid, signal.SIGTERM)
    assert next(lines) == "SIGTERM"
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    os.close(terminal)


def _lines(terminal: int) -> Iterator[str]:
    text = b""
    while True:
        while b"\n" in text:
            line, _, text = text.partition(b"\n")
            yield line.decode().strip()
        text += os.read(terminal, 1024)
