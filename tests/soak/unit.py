"""The gateway as its unit, and what a service manager does for it: a socket, a store for one descriptor, a next process."""

import array
import asyncio
import contextlib
import fcntl
import os
import signal
import socket

LINK, STORED = 3, 4  # as sd_listen_fds has them


class Unit:
    def __init__(self, program, folder, log):
        self.program, self.log, self.stored, self.process = str(program), log, None, None
        self.path, self.notify_path = str(folder / "gateway.sock"), str(folder / "notify")
        self.link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        self.link.bind(self.path)
        self.link.listen()
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.notify.bind(self.notify_path)

    @property
    def pid(self):
        return self.process.pid

    async def start(self):
        asyncio.get_running_loop().add_reader(self.notify, self.take)
        await self.launch()

    async def restart(self):
        """As `systemctl restart`."""
        self.process.send_signal(signal.SIGTERM)
        await self.process.wait()
        await self.launch()

    async def kill(self):
        self.process.kill()
        await self.process.wait()
        await self.launch()

    async def close(self):
        self.process.terminate()
        code = await self.process.wait()
        asyncio.get_running_loop().remove_reader(self.notify)
        self.keep(None)
        self.link.close()
        self.notify.close()
        return code

    async def launch(self):
        names = ["hal9000-gateway.socket", *(["hal9000-state"] if self.stored is not None else [])]
        # Above those that they become.
        sources = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (self.link.fileno(), self.stored) if fd is not None]

        def place():
            for fd, target in zip(sources, (LINK, STORED)):
                os.dup2(fd, target, inheritable=True)

        self.process = await asyncio.create_subprocess_exec(
            "sh", "-c", 'LISTEN_PID=$$ exec "$0"', self.program, preexec_fn=place, pass_fds=[LINK, STORED][:len(sources)],
            stderr=self.log, env={"PATH": os.environ["PATH"], "NOTIFY_SOCKET": self.notify_path,
                                  "LISTEN_FDS": str(len(sources)), "LISTEN_FDNAMES": ":".join(names)})
        for fd in sources:
            os.close(fd)
        self.keep(None)

    def keep(self, fd):
        if self.stored is not None:
            os.close(self.stored)
        self.stored = fd

    def take(self):
        with contextlib.suppress(BlockingIOError):
            text, ancillary, _, _ = self.notify.recvmsg(4096, socket.CMSG_SPACE(array.array("i").itemsize),
                                                        socket.MSG_CMSG_CLOEXEC)
            for _, _, data in ancillary:
                fd = array.array("i", data)[0]
                if text.startswith(b"FDSTORE=1\n"):
                    self.keep(fd)
                else:
                    os.close(fd)  # a barrier
