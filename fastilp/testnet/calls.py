"""JSON over HTTP, for the programs of a test network. Imports errors.

They are all on this machine, and started by us: what does not answer is a failure.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from fastilp.errors import FastILPError

_SECONDS_MAX = 60.0
_TEXT_SIZE_MAX = 500


def ask(
    method: str,
    url: str,
    body: Mapping[str, Any] | None = None,
    token: str | None = None,
) -> Any:
    """The decoded answer. Raises FastILPError for any status but 2xx."""
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, content, {"Content-Type": "application/json"})
    request.method = method
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        # A proxy of somebody's environment has no business on this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=_SECONDS_MAX) as response:
            return json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            text = error.read().decode("utf-8", "replace")[:_TEXT_SIZE_MAX]
        raise FastILPError(f"{method} {url}: {error.code}: {text}") from None
    except (OSError, ValueError) as error:
        raise FastILPError(f"{method} {url}: {error}") from None


def rpc(url: str, method: str, *params: Any) -> Any:
    """JSON-RPC 2.0."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    answer = ask("POST", url, body)
    if "result" not in answer:
        raise FastILPError(f"{method} at {url}: {answer.get('error')}")
    return answer["result"]
