"Routes, parameters and answers, from the OpenAPI description that the service gives of itself."

from typing import Any

from .tables import code, table


def http() -> str:
    "Routes, parameters and answers, from the OpenAPI description that the service gives of itself."
    from runners.http.app import make_app
    from runners.http.settings import HttpSettings
    from runners.state import ServiceState

    nothing: Any = None  # no route is asked, so no database is opened
    told = make_app(nothing, ServiceState(), HttpSettings()).openapi()
    text = (
        f"# HTTP\n\n{told['info']['description']} The service listens on this machine alone, at port 8000, unless "
        "[its settings](settings.md) say otherwise; with `http.api_key` set, each request shows it in the header `X-API-Key` or as "
        "`Authorization: Bearer KEY`; health checks and the page's frame are open. The description in OpenAPI is at `/openapi.json` of a "
        "running service.\n\n"
    )
    routes = [(path, method, it) for path, methods in told["paths"].items() for method, it in methods.items()]
    text += table(
        ("route", "what it answers"), [(f"[`{m.upper()} {path}`](#{anchor(m, path)})", it.get("summary", "")) for path, m, it in routes]
    )
    for path, method, it in routes:
        text += f"\n({anchor(method, path)})=\n## {method.upper()} {path}\n\n{it.get('summary', '')}.\n\n"
        rows = [
            (code(p["name"]), p["in"], shape(p["schema"]), limits(p["schema"]), p.get("description", "")) for p in it.get("parameters", ())
        ]
        if rows:
            text += table(("parameter", "in", "type", "default and range", "what it is"), rows)
        if body := it.get("requestBody"):
            text += f"\nBody: {shape(next(iter(body['content'].values()))['schema'])}\n"
        answers = [
            (status, shape(next(iter(r.get("content", {}).values()), {}).get("schema", {})), r["description"])
            for status, r in it["responses"].items()
        ]
        text += "\n" + table(("status", "answer", "meaning"), answers)
    text += "\n## Shapes of answers\n"
    for name, schema in sorted(told.get("components", {}).get("schemas", {}).items()):
        needed = schema.get("required", ())
        rows = [
            (code(key), shape(p), "" if key in needed else "may be missing", p.get("description", ""))
            for key, p in schema.get("properties", {}).items()
        ]
        text += f"\n({name.lower()})=\n### {name}\n\n{schema.get('description', '').partition(chr(10))[0]}\n\n" + table(
            ("field", "type", "", "what it is"), rows
        )
    return text


def anchor(method: str, path: str) -> str:
    return "-".join([method, *(part.strip("{}") for part in path.strip("/").split("/"))]).strip("-").replace(".", "-").replace("_", "-")


def shape(schema: dict[str, Any]) -> str:
    "A JSON schema in a few words."
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys("nothing" if s.get("type") == "null" else shape(s) for s in schema["anyOf"]))
    if schema.get("type") == "array":
        return f"list of {shape(schema.get('items', {}))}"
    if "enum" in schema:
        return ", ".join(code(value) for value in schema["enum"])
    return {"integer": "whole number", "number": "number", "string": "text", "boolean": "yes or no", "object": "names and values"}.get(
        schema.get("type", ""), "JSON"
    )


def limits(schema: dict[str, Any]) -> str:
    "Default and bounds of a parameter."
    inner = next((s for s in schema.get("anyOf", ()) if s.get("type") != "null"), schema)
    low, high = inner.get("minimum"), inner.get("maximum")
    bounds = f"{low} to {high}" if low is not None and high is not None and high < 2**53 else f"from {low}" if low is not None else ""
    return ", ".join(filter(None, (f"`{schema['default']}`" if schema.get("default") is not None else "", bounds)))
