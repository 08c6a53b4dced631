"""The similarity clause of a filter, and its anchors."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, StrictBool, Tag, model_validator

from pgsim.errors import InvalidInputError
from pgsim.filters.messages import problem, validator
from pgsim.filters.values import check_value, clean
from pgsim.limits import DEFAULT_SCORE_RANGE
from pgsim.types import Combine

#: More than any workspace may allow; how many one search may have is the workspace's limit.
MAX_ANCHORS: Final = 100
#: pgvector's own limit on a vector's length.
MAX_VECTOR: Final = 16_000


class Model(BaseModel):
    """Base of the parts of a filter: immutable, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidInputError("must be a string")
    return clean(value)


def _name(value: object) -> str:
    text = _text(value)
    if not text:
        raise InvalidInputError("must not be empty")
    return text


def _real(value: object) -> float:
    number = check_value(value) if isinstance(value, int | float) else None
    if number is None or isinstance(number, bool):
        raise InvalidInputError("must be a number")
    try:
        return float(number)
    except OverflowError:
        raise InvalidInputError("the number is too large for a vector or a score") from None


Text = Annotated[str, BeforeValidator(validator(_text))]
Name = Annotated[str, BeforeValidator(validator(_name))]
Real = Annotated[float, BeforeValidator(validator(_real))]


class RowAnchor(Model):
    """A data row's stored vector as anchor."""

    row: Annotated[Name, Field(max_length=200)]


class VectorAnchor(Model):
    """A vector as anchor; with the text, or the image's name, where a model made it of one."""

    vector: Annotated[tuple[Real, ...], Field(min_length=1, max_length=MAX_VECTOR)]
    text: Name | None = None
    image: Name | None = None


class TextAnchor(Model):
    """A text as anchor, encoded by the embedding type's model."""

    text: Name


class ImageAnchor(Model):
    """An image file as anchor, encoded by the embedding type's model."""

    image: Name


_ANCHORS: Final[dict[str, type[Model]]] = {
    "row": RowAnchor,
    "vector": VectorAnchor,
    "text": TextAnchor,
    "image": ImageAnchor,
}


def _anchor_tag(value: Any) -> str | None:
    for key, model in _ANCHORS.items():
        if isinstance(value, model) or (isinstance(value, dict) and key in value):
            return f"<{key}>"
    return None


Anchor = Annotated[
    Annotated[RowAnchor, Tag("<row>")]
    | Annotated[VectorAnchor, Tag("<vector>")]
    | Annotated[TextAnchor, Tag("<text>")]
    | Annotated[ImageAnchor, Tag("<image>")],
    Discriminator(
        _anchor_tag,
        custom_error_type="filter",
        custom_error_message="is not an anchor; it needs one of row, vector, text, image",
    ),
]


def _default_min_score(data: dict[str, Any]) -> float:
    # Text and image vectors lie apart, so a text finds little in the range that two rows are near by.
    texts = any(getattr(anchor, "text", None) is not None for anchor in data.get("anchors", ()))
    return 0.0 if texts else DEFAULT_SCORE_RANGE[0]


Score = Annotated[Real, Field(ge=0, le=1)]


class SimilarityClause(Model):
    """Similar, within a range of scores, to anchors.

    Parameters
    ----------
    anchors : tuple of Anchor
        Positive anchors, at least one.
    not_anchors : tuple of Anchor
        Negative anchors.
    embedding : str, optional
        The embedding type; by default the only searchable one for the anchors.
    combine : {"nearest", "mean", "centroid"}
        How several positive anchors make one distance.
    min_score, max_score : float
        Range of scores, both ends inclusive; by default 0.85 to 1, and 0 to 1 where an anchor is a text.
    exclude_anchors : bool
        Whether data rows that are anchors are left out.
    name : str, optional
        What ``score_from`` calls the clause.
    """

    anchors: Annotated[tuple[Anchor, ...], Field(min_length=1, max_length=MAX_ANCHORS)]
    not_anchors: Annotated[tuple[Anchor, ...], Field(max_length=MAX_ANCHORS)] = ()
    embedding: Name | None = None
    combine: Literal["nearest", "mean", "centroid"] = Combine.NEAREST.value
    min_score: Score = Field(default_factory=_default_min_score)
    max_score: Score = DEFAULT_SCORE_RANGE[1]
    exclude_anchors: StrictBool = False
    name: Name | None = None

    @model_validator(mode="after")
    def _check(self) -> SimilarityClause:
        if self.min_score > self.max_score:
            raise problem(f"{self.min_score} is above max_score, {self.max_score}", "min_score")
        seen = set()
        for key, anchors in (("anchors", self.anchors), ("not_anchors", self.not_anchors)):
            for position, anchor in enumerate(anchors):
                if anchor in seen:
                    raise problem("the same anchor stands in the clause twice", key, position)
                seen.add(anchor)
        return self
