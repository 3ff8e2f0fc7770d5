"""The OpenAPI document as a page for people: plain HTML, no script, nothing from other hosts.
Imports nothing of fastilp.
"""

import json
from html import escape
from typing import Any

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccc }
code, pre { font: 14px/1.4 ui-monospace, monospace }
pre { background: #f4f4f4; padding: .8rem; overflow: auto }
summary { cursor: pointer; padding: .3rem 0 }
.method { display: inline-block; width: 5rem; font-weight: bold }
td { padding: 0 1rem 0 0; vertical-align: top }
@media (prefers-color-scheme: dark) {
  body { background: #181818; color: #ddd } pre { background: #262626 }
}
"""


def page_of(document: dict[str, Any]) -> str:
    title = escape(f"{document['info']['title']} {document['info']['version']}")
    sections: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method == "parameters":
                continue
            tag = operation.get("tags", ["other"])[0]
            sections.setdefault(tag, []).append(_operation(method, path, operation))
    body = "".join(f"<h2>{escape(tag)}</h2>{''.join(each)}" for tag, each in sections.items())
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        f"<style>{_STYLE}</style><h1>{title}: admin API</h1>"
        '<p>The same for programs: <a href="/openapi.json">/openapi.json</a>. Calls need '
        "<code>Authorization: Bearer &lt;token&gt;</code> unless they say otherwise.</p>"
        f"{body}</html>"
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    text = escape(operation.get("description", ""))
    head = f"<span class=method>{method.upper()}</span><code>{escape(path)}</code>"
    return (
        f"<details><summary>{head} {text}</summary>"
        f"{_parameters(operation)}{_body(operation)}{_responses(operation)}</details>"
    )


def _parameters(operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(each['name'])}</code><td>{each['in']}"
        f"<td>{escape(each.get('description', ''))}"
        for each in operation.get("parameters", [])
    )
    return f"<table>{rows}</table>" if rows else ""


def _body(operation: dict[str, Any]) -> str:
    content = operation.get("requestBody", {}).get("content", {})
    return "".join(
        f"<p>Body, {escape(media)}:</p><pre>{escape(json.dumps(each['schema'], indent=1))}</pre>"
        for media, each in content.items()
    )


def _responses(operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{status}<td>{escape(each.get('description', ''))}"
        for status, each in operation["responses"].items()
    )
    return f"<table>{rows}</table>"
