"""Ask the service in this container whether it is ready; the exit status answers Docker."""

import os
import sys
from http.client import HTTPConnection, HTTPException

TIME_LIMIT_S = 4.0


def is_ready(port: int) -> bool:
    """Whether the service on this port of the loopback says that it is ready."""
    connection = HTTPConnection("127.0.0.1", port, timeout=TIME_LIMIT_S)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(not is_ready(int(os.environ.get("ECHO2PHENO_PORT", "8000"))))
