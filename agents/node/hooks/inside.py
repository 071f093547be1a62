"""Runs inside a lease's sandbox and starts the buyer's sessions there, all in one process namespace.

So a job goes on after its session has ended, and one session sees the other's processes. It needs nothing but Python's
own library, since its text is all that the sandbox is given of us: `python -I -c TEXT FD`. Each request on the socket
is JSON `{"id": …, "argv": […], "env": {…}, "size": null}` with the session's standard streams; where `size` is
`[rows, columns]`, the session gets a terminal, whose other end comes back with `{"id": …}`. When a session has ended,
the answer is `{"id": …, "status": …}`, as `subprocess` counts it.
"""

import fcntl
import json
import os
import pty
import selectors
import signal
import socket
import struct
import subprocess
import sys
import termios

MESSAGE_BYTES_MAX = 256 * 1024
STREAMS = 3
NOT_FOUND = 127


def start(request: dict, streams: list[int]) -> subprocess.Popen:
    """Start one session on three streams, or on one that is a terminal."""
    is_terminal = request["size"] is not None

    def lead() -> None:
        if is_terminal:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    return subprocess.Popen(
        request["argv"],
        stdin=streams[0],
        stdout=streams[1],
        stderr=streams[2],
        env=os.environ | request["env"],
        start_new_session=True,
        preexec_fn=lead,
    )


def open_terminal(request: dict, channel: socket.socket) -> list[int]:
    """Make a terminal that the sandbox knows by name, and hand its other end out."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *request["size"], 0, 0))
    socket.send_fds(channel, [json.dumps({"id": request["id"]}).encode()], [ours])
    os.close(ours)
    return [theirs] * STREAMS


def main(channel: socket.socket) -> None:
    """Serve until the other side is gone."""
    running: dict[int, subprocess.Popen] = {}
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    selector = selectors.DefaultSelector()
    selector.register(channel, selectors.EVENT_READ)
    selector.register(wake_read, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj == wake_read:
                os.read(wake_read, 4096)
                continue
            message, streams, _, _ = socket.recv_fds(channel, MESSAGE_BYTES_MAX, STREAMS)
            if not message:
                return
            request = json.loads(message)
            if request["size"] is not None:
                streams = open_terminal(request, channel)
            try:
                running[request["id"]] = start(request, streams)
            except (OSError, ValueError):
                channel.send(json.dumps({"id": request["id"], "status": NOT_FOUND}).encode())
            for stream in set(streams):
                os.close(stream)
        for number, session in list(running.items()):
            status = session.poll()
            if status is not None:
                del running[number]
                channel.send(json.dumps({"id": number, "status": status}).encode())


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
