"""The OpenAPI 3.1 document: to FastAPI's own the routes of order entry are added, with their models."""

from typing import Any

from pydantic.json_schema import models_json_schema

from services.gateway.routes.table import HOT_ROUTES
from services.kit.openapi import REFERENCE


def add_hot_routes(document: dict[str, Any]) -> None:
    """Add the routes that FastAPI does not handle, and their models."""
    models: dict[type, str] = {}
    for route in HOT_ROUTES:
        document["paths"].setdefault(route.path, {})[route.method.lower()] = route.describe()
        for model in (*route.forms, *(reply for _, reply in route.answers.values())):
            models[model] = "validation"
    document["components"]["schemas"] |= models_json_schema([*models.items()], ref_template=REFERENCE)[1]["$defs"]
