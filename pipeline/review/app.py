"""The panel's application: its routes and what guards them."""

from __future__ import annotations

from collections.abc import Collection
from importlib.metadata import version

from fastapi import FastAPI

from pipeline.review.panel_context import PanelContext
from pipeline.review.problems import install_problems
from pipeline.review.request_guard import LOOPBACK_HOSTS, RequestGuard
from pipeline.review.routes import (
    audit,
    dashboard,
    features,
    joint_reviews,
    labels,
    masks,
    outlines,
    pages,
    properties,
    queues,
    reviews,
    session,
    sheet,
    tiles,
)
from pipeline.review.routes.session import FailedSignIns


def create_app(context: PanelContext, hosts: Collection[str] = ()) -> FastAPI:
    """The application over a database.

    Args:
        hosts: names under which it may be asked for, besides those of loopback.
    """
    # Without the pages of Swagger and ReDoc, whose scripts come from elsewhere.
    app = FastAPI(
        title="Lotline",
        version=version("lotline"),
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    app.state.context = context
    app.state.failed_sign_ins = FailedSignIns()
    for routes in (
        pages,
        session,
        features,
        properties,
        labels,
        outlines,
        reviews,
        masks,
        joint_reviews,
        queues,
        audit,
        sheet,
        dashboard,
        tiles,
    ):
        app.include_router(routes.router)
    install_problems(app)
    app.add_middleware(RequestGuard, hosts={*LOOPBACK_HOSTS, *(h.lower() for h in hosts)})
    return app
