"""Run the README's line that starts JupyterLab, and stop it when it serves the quickstart."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request

LIMIT = 300.0


def main(line: str) -> int:
    process = subprocess.Popen(
        ["bash", "-c", line],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    watchdog = threading.Timer(LIMIT, os.killpg, (process.pid, signal.SIGKILL))
    watchdog.start()
    try:
        for said in process.stdout:
            sys.stdout.write(said)
            address = re.search(r"http://\S+/lab/tree/quickstart\.ipynb\?token=\w+", said)
            if address:
                return _served(address[0])
        print("JupyterLab did not start.")
        return 1
    finally:
        watchdog.cancel()
        os.killpg(process.pid, signal.SIGTERM)


def _served(address: str) -> int:
    """Ask until the server, which prints its address before it listens, answers."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                print(f"JupyterLab serves the quickstart: {answer.status}.")
                return 0
        except OSError:
            time.sleep(0.2)
    print("JupyterLab does not answer.")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
