"""`/v1/classifiers`: who can label what a model without classes draws."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from app.api.services import Provided, Tenant
from app.api.strict import StrictRoute
from models.spec import ImageShape

router = APIRouter(prefix="/v1/classifiers", tags=["classifiers"], route_class=StrictRoute)


class ClassifierView(BaseModel):
    """A classifier: what it tells apart, on which images, and how well."""

    name: str
    version: str
    sha256: str
    classes: list[str]
    image: ImageShape
    licence: str
    description: str
    figures: dict[str, Any]


class ClassifierList(BaseModel):
    """Every classifier, by name."""

    classifiers: list[ClassifierView]


@router.get("")
def list_classifiers(services: Provided, tenant: Tenant) -> ClassifierList:
    """The classifiers that `labelled_by` of a job can name; they come with the package."""
    return ClassifierList(
        classifiers=[
            ClassifierView(
                name=spec.name,
                version=spec.version,
                sha256=spec.sha256,
                classes=list(spec.classes),
                image=spec.image,
                licence=spec.licence,
                description=spec.description,
                figures=spec.figures,
            )
            for spec in services.limits.classifiers
        ]
    )
