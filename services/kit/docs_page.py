"""The page at `/docs`: the service's OpenAPI document to read, without any script, its own or a stranger's."""

from html import escape
from typing import Any

from fastapi import Response

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
STYLE = (
    "body{font:15px sans-serif;max-width:60em;margin:2em auto;padding:0 1em}td{padding:0 1em 0 0;vertical-align:top}"
)


def docs_page(document: dict[str, Any]) -> Response:
    """Returns the page."""
    title = escape(document["info"]["title"])
    parts = [f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>"]
    parts.append(f"<h1>{title}</h1><p>The whole document: <a href=/openapi.json>/openapi.json</a>.")
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts.append(f"<h2><code>{method.upper()} {escape(path)}</code></h2>")
            parts.append(f"<p>{escape(operation.get('description') or operation.get('summary') or '')}")
            parts.append(f"<table>{''.join(map(_row, operation.get('parameters', ())))}</table>")
    headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
    return Response("".join(parts), 200, headers, "text/html; charset=utf-8")


def _row(parameter: dict[str, Any]) -> str:
    need = "needed" if parameter.get("required") else ""
    words = escape(parameter.get("description", ""))
    return f"<tr><td><code>{escape(parameter['name'])}</code><td>{escape(parameter['in'])}<td>{need}<td>{words}</tr>"
