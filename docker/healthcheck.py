"""Ask what runs in this container whether it is well; the exit status answers Docker.

An API node says whether it is ready; a worker (with the argument ``worker``) tells its metrics.
"""

import os
import sys
from http.client import HTTPConnection, HTTPException

TIME_LIMIT_S = 4.0


def answers(port: int, path: str) -> bool:
    """Whether this path on this port of the loopback answers with 200."""
    connection = HTTPConnection("127.0.0.1", port, timeout=TIME_LIMIT_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    if sys.argv[1:] == ["worker"]:
        sys.exit(not answers(int(os.environ["ECHO2PHENO_WORKER_METRICS_PORT"]), "/metrics"))
    sys.exit(not answers(int(os.environ.get("ECHO2PHENO_PORT", "8000")), "/health/ready"))
