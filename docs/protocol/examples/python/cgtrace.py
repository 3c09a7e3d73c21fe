#!/usr/bin/env python3
"""A Varlink client for cgtrace that needs only the standard library.

cgtrace.py exists PATH        exit code 0 if it exists, 1 if not
cgtrace.py wait PATH SECONDS  exit code 0 as soon as it exists, 1 after the timeout
cgtrace.py watch PATTERN N    prints the next N events, one JSON object per line
"""

import json
import os
import socket
import sys


def connect():
    """Connects to CGTRACE_SOCKET if set, else to the private socket if this user may open it, else to the
    public one."""
    directory = os.environ.get("CGTRACE_RUNTIME_DIR") or "/run/cgtrace"
    one = os.environ.get("CGTRACE_SOCKET")
    paths = [one] if one else [directory + "/private/io.cgtrace", directory + "/public/io.cgtrace"]
    for path in paths:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(path)
            return connection
        except (FileNotFoundError, PermissionError):
            connection.close()
            if path == paths[-1]:
                raise


class Cgtrace:
    """A connection. It supports one call at a time."""

    def __init__(self):
        self.socket = connect()
        self.input = self.socket.makefile("rb")

    def replies(self, method, more=False, **parameters):
        """Calls a method, and yields the parameters of each reply."""
        call = {"method": "io.cgtrace." + method, "parameters": parameters, "more": more}
        self.socket.sendall(json.dumps(call).encode() + b"\0")
        while True:
            reply = json.loads(self.message())
            if "error" in reply:
                raise RuntimeError(f"{reply['error']}: {reply.get('parameters')}")
            yield reply.get("parameters", {})
            if not reply.get("continues"):
                return

    def call(self, method, **parameters):
        (reply,) = self.replies(method, **parameters)
        return reply

    def message(self):
        """Reads up to the next NUL."""
        message = bytearray()
        while (byte := self.input.read(1)) != b"\0":
            if not byte:
                raise ConnectionError("cgtrace closed the connection")
            message += byte
        return message


def main(arguments):
    match arguments:
        case ["exists", path]:
            (result,) = Cgtrace().call("Lookup", paths=[path])["results"]
            for found in result["hierarchies"]:
                print(found["hierarchy"], "present" if found["present"] else "absent")
            return 0 if result["present"] else 1
        case ["wait", path, seconds]:
            timeout = int(float(seconds) * 1000)
            reply = Cgtrace().call("Wait", path=path, state="present", timeout_ms=timeout)
            return 0 if reply["reached"] else 1
        case ["watch", pattern, count]:
            left = int(count)
            for reply in Cgtrace().replies("Watch", more=True, patterns=[pattern]):
                if "dropped" in reply:
                    print(f"{reply['dropped']} events dropped", file=sys.stderr)
                if "gap" in reply:
                    print(f"events are missing: {reply['gap']['reason']}", file=sys.stderr)
                if "seq" in reply:
                    print(f"every event after {reply['seq']}", file=sys.stderr, flush=True)
                if "event" in reply:
                    print(json.dumps(reply["event"]), flush=True)
                    left -= 1
                    if left == 0:
                        return 0
        case _:
            print(__doc__, file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
