"""The real hal9000-gateway in front of one server; gateway_driver plays the hal9000d of both."""

import subprocess

PATH = "/mcp/fixture"


class Gateway:
    """`program` is started whenever the gateway asks for a process."""

    def __init__(self, build, mode, program, log):
        self.driver = subprocess.Popen(
            [build / "tests/conformance/gateway_driver", build / "src/gateway/hal9000-gateway", mode, *program],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        line = self.driver.stdout.readline()
        if not line:
            raise RuntimeError(f"gateway_driver ended with {self.driver.wait(timeout=10)}")
        port, self.token = line.split()
        self.port = int(port)

    def close(self):
        """The gateway's exit code."""
        self.driver.stdin.close()
        self.driver.stdout.close()
        return self.driver.wait(timeout=10)
