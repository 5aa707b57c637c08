"""A unix socket before the engine's that can act just when a certain request arrives or has been done."""

import pathlib
import socket
import threading

END_OF_HEAD = b"\r\n\r\n"
# What the daemon asks by itself at any time.
BACKGROUND = ("/_ping", "/version", "/info", "/events")


class EngineProxy:
    """Passes all on. The daemon opens a connection for each request."""

    def __init__(self, path, engine):
        self.path, self.engine = pathlib.Path(path), str(engine)
        self.lock = threading.Lock()
        self.seen, self.left, self.when, self.act = [], 0, None, None
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(str(self.path))
        self.listening.listen(128)
        threading.Thread(target=self.accept, daemon=True).start()

    def arm(self, number, when, act):
        """Calls act() once at the number-th request from now: as it "arrives", is "sent" to the engine or is "done" there."""
        with self.lock:
            self.seen, self.left, self.when, self.act = [], number, when, act

    def disarm(self):
        """Gives the requests since arm(), and whether act() was not called."""
        with self.lock:
            unused, self.left = self.left > 0, 0
            return self.seen, unused

    def close(self):
        self.listening.close()

    def accept(self):
        while True:
            try:
                client, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with client, socket.socket(socket.AF_UNIX) as engine:
            try:
                head = b""
                while END_OF_HEAD not in head:
                    data = client.recv(65536)
                    if not data:
                        return
                    head += data
                act = self.note(head.split(b"\r\n", 1)[0].decode())
                if act and self.when == "arrives":
                    act()
                    return
                engine.connect(self.engine)
                engine.sendall(head)
                threading.Thread(target=self.copy, args=(client, engine), daemon=True).start()
                if act and self.when == "sent":
                    act()
                if act and self.when == "done":
                    engine.recv(1, socket.MSG_PEEK)  # it answers when it has done it
                    act()
                    return
                self.copy(engine, client)
            except OSError:  # one of them is gone
                pass

    def note(self, line):
        if any(word in line for word in BACKGROUND):
            return None
        with self.lock:
            self.seen.append(line.rsplit(" ", 1)[0])
            self.left -= 1
            return self.act if self.left == 0 else None

    @staticmethod
    def copy(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass
