"""Blueprints whose views are bound to pydantic models and described in the OpenAPI document.

    routes = Routes("invoices", __name__, url_prefix="/api/v1/invoices")

    class InvoicePath(Input):
        invoice_id: UUID

    @routes.get("/<invoice_id>", responses={200: InvoiceAnswer})
    @allowed(Permission.INVOICES_READ)
    def read_invoice(path: InvoicePath) -> Response:
        ...
        return respond(answer)

`path`, `query` and `body` are given by name. What does not fit never reaches the view: 404 for
the path, 422 for query and body. Fields that a model does not have are refused. A body of which
nothing is required may be left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from threading import Lock
from typing import Any, Self, TypeVar, get_origin

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.utils import parse_parameters
from pydantic import BaseModel, ConfigDict, ValidationError

from web.auth import guard_of
from web.bodies import write
from web.openapi import describe
from web.problems import FieldError, Problem, invalid_fields

Model = TypeVar("Model", bound=BaseModel)
# Where the library's tuple of an operation's models has the body's.
BODY = 5
_DESCRIBING = Lock()


class Input(BaseModel):
    """What a caller sends; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Routes(APIBlueprint):
    """A blueprint a noun.

    Its routes are described when the document is first asked for: for all of them that takes as
    long as to import the rest of the application.
    """

    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        self._undescribed: list[tuple[str, Callable[..., Any], dict[str, Any]]] = []

    def _collect_openapi_info(self, rule: str, func: Callable[..., Any], **options: Any) -> Any:
        self._undescribed.append((rule, func, options))
        return parse_parameters(func, doc_ui=False)

    def described(self) -> Self:
        """Return these routes with `paths` and `components_schemas` filled."""
        with _DESCRIBING:
            while self._undescribed:
                rule, func, options = self._undescribed[0]
                body: Any = super()._collect_openapi_info(rule, func, **options)[BODY]
                is_optional = body is not None and _may_be_left_out(body)
                guard = guard_of(func)
                describe(self, rule, options["method"], func, guard, is_body_optional=is_optional)
                del self._undescribed[0]
        return self

    @staticmethod
    def create_view_func(  # type: ignore[override]  # noqa: PLR0913, PLR0917  the library's own
        func: Callable[..., Any],
        header: Any,  # noqa: ARG004
        cookie: Any,  # noqa: ARG004
        path: type[BaseModel] | None,
        query: type[BaseModel] | None,
        form: Any,  # noqa: ARG004
        body: type[BaseModel] | None,
        raw: Any,  # noqa: ARG004
        **_options: Any,
    ) -> Callable[..., Any]:
        """Return a view that reads its models by our rules rather than the library's."""

        @wraps(func)
        def view(**path_values: Any) -> Any:
            inputs: dict[str, Any] = {}
            if path is not None:
                inputs["path"] = _read_path(path, path_values)
            if query is not None:
                inputs["query"] = _read_query(query)
            elif request.args:
                raise Problem("invalid", "This takes no query parameters.")
            if body is not None:
                inputs["body"] = read_body(body)
            return func(**inputs)

        return view


def _read_path(model: type[Model], values: Mapping[str, Any]) -> Model:
    try:
        return model.model_validate(values)
    except ValidationError:
        raise Problem("not-found") from None


def _read_query(model: type[Model]) -> Model:
    listed = {
        field.alias or name
        for name, field in model.model_fields.items()
        if get_origin(field.annotation) is list
    }
    found: dict[str, Any] = {}
    for name, values in request.args.lists():
        if name in listed:
            found[name] = values
        elif len(values) > 1:
            error = FieldError(name, "is given more than once")
            raise Problem("invalid", f"{name} {error.detail}", errors=[error])
        else:
            found[name] = values[0]
    return _validate(model, found)


def read_body(model: type[Model]) -> Model:
    """Return the request's body by our rules; for views outside of the document."""
    if _may_be_left_out(model) and not request.get_data():
        return _validate(model, {})
    return _validate(model, request.get_json())


def _may_be_left_out(model: type[BaseModel]) -> bool:
    return not any(field.is_required() for field in model.model_fields.values())


def _validate(model: type[Model], found: Any) -> Model:
    try:
        return model.model_validate(found)
    except ValidationError as error:
        raise invalid_fields(error) from None


# What a view that answers with a document says of it.
PDF: dict[str, Any] = {
    "description": "The document",
    "content": {"application/pdf": {"schema": {"type": "string", "format": "binary"}}},
}


def respond_pdf(document: bytes, name: str) -> Response:
    """Return a document that a browser shows, and saves under its name."""
    headers = {"Content-Disposition": f'inline; filename="{name}"'}
    return Response(document, 200, headers, content_type="application/pdf")


def respond(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON answer; a pydantic model is written by its aliases."""
    if isinstance(body, BaseModel):
        body = body.model_dump(by_alias=True)
    return Response(write(body), status, headers, content_type="application/json")
