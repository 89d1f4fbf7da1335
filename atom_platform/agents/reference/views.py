"""
`/api/docs`: Swagger UI over the OpenAPI document.

All files come from the installed package `flask-swagger-ui`. The page works without the internet,
and its content security policy allows no other source and no inline script.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Final

from flask import Blueprint, Response, abort, send_from_directory

__all__ = ["create_blueprint"]

ASSETS: Final = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")

PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>ATOM platform API</title>
<link rel="icon" href="/api/docs/favicon-32x32.png">
<link rel="stylesheet" href="/api/docs/swagger-ui.css">
</head>
<body>
<div id="api"><noscript>The description of the API is at
<a href="/api/openapi.json">/api/openapi.json</a>.</noscript></div>
<script src="/api/docs/swagger-ui-bundle.js"></script>
<script src="/api/docs/start.js"></script>
</body>
</html>
"""

START: Final = """"use strict";
SwaggerUIBundle({
  url: "/api/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  validatorUrl: null,
});
"""

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def create_blueprint() -> Blueprint:
    """
    Return the page and the files it needs, to be registered under `/api/docs`.

    Raises:
        ModuleNotFoundError: Swagger UI is not installed.
    """
    assets = _installed_assets()
    blueprint = Blueprint("reference", __name__)

    @blueprint.get("")
    @blueprint.get("/", endpoint="page_with_slash")
    def page() -> Response:
        return Response(PAGE, headers={"Content-Security-Policy": POLICY})

    @blueprint.get("/start.js")
    def start() -> Response:
        return Response(START, content_type="text/javascript; charset=utf-8")

    @blueprint.get("/<asset>")
    def file(asset: str) -> Response:
        if asset not in ASSETS:
            abort(404)
        return send_from_directory(assets, asset, max_age=3600)

    @blueprint.after_request
    def forbid_sniffing(answer: Response) -> Response:
        answer.headers["X-Content-Type-Options"] = "nosniff"
        return answer

    return blueprint


def _installed_assets() -> Path:
    # Located, not imported: importing the package loads its own Flask blueprint.
    found = importlib.util.find_spec("flask_swagger_ui")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("flask-swagger-ui is not installed")
    return Path(found.origin).parent / "dist"
