"""The base class of all sections of the settings."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    GetCoreSchemaHandler,
    Tag,
    ValidationInfo,
    field_validator,
)
from pydantic_core import CoreSchema

LARGEST_NUMBER = 10_000_000
"""Largest number in a setting; a run with a larger number of anything would never end."""
LARGEST_SEED = 2**32 - 1
UNKNOWN_METHOD = "unknown_method"
"""Type of the error that pydantic reports for an unknown method."""


class Section(BaseModel):
    """Base of all sections: frozen, and an unknown field is an error; error texts leave out the given value."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_flag(cls, value: Any, field: ValidationInfo) -> Any:
        # Python takes true for 1, but nobody who writes true means one step or layer
        takes = _types_in(cls.model_fields[field.field_name or ""].annotation)
        if takes & {int, float} and bool not in takes and any(isinstance(part, bool) for part in _parts(value)):
            raise ValueError("a number is needed, not true or false")
        return value

    @field_validator("*")
    @classmethod
    def _is_not_absurd(cls, value: Any, field: ValidationInfo) -> Any:
        largest = LARGEST_SEED if field.field_name == "seed" else LARGEST_NUMBER
        for part in _parts(value):
            if isinstance(part, int | float) and part > largest:
                raise ValueError(f"more than any run needs; give at most {largest}")
            if isinstance(part, str) and "\0" in part:
                raise ValueError("a text with a NUL character names nothing; leave it out")
            if isinstance(part, str) and part.isspace():
                raise ValueError("a text of only blanks names nothing; leave it out")
        return value


def _parts(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else (value,)


def _types_in(annotation: Any) -> set[Any]:
    parts = get_args(annotation)
    return set().union(*map(_types_in, parts)) if parts else {annotation}


def as_list(value: Any) -> Any:
    """Return a list that is given as text, with or without brackets, split at its commas, or as a single number.

    Other values are returned unchanged.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (value,)
    if not isinstance(value, str):
        return value
    inner = value.strip()
    if inner.startswith("[") and inner.endswith("]"):
        inner = inner[1:-1]
    return tuple(part.strip().strip("'\"") for part in inner.split(",") if part.strip())


Names = Annotated[tuple[str, ...], BeforeValidator(as_list)]
"""A list of names; `a,b` and a single name are accepted as well."""


def _whole_as_int(value: int | float) -> int | float:
    return int(value) if isinstance(value, float) and value.is_integer() else value


CountOrFraction = Annotated[int | float, AfterValidator(_whole_as_int)]
"""A count, or a fraction below 1. Prefect's form gives 500 as 500.0, which would change the key of the stage."""


def methods_of(forms: Any) -> dict[str, type[Section]]:
    """Return the settings of each method by its name: the names that the field `method` of a class can be.

    Example: `methods_of(MamlSettings | DialSettings)` is `{"maml": MamlSettings, "dial": DialSettings}`.
    """
    return {name: form for form in get_args(forms) for name in get_args(form.model_fields["method"].annotation)}


@dataclass(frozen=True)
class ByMethod:
    """Annotation of a union of settings: the field `method` decides which class settings belong to."""

    methods: Mapping[str, type[Section]]
    default: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return pydantic's schema: the union with a tag for each method."""
        tagged = Union[tuple(Annotated[form, Tag(name)] for name, form in self.methods.items())]  # type: ignore[valid-type]  # noqa: UP007
        told = Discriminator(
            self._method_of,
            custom_error_type=UNKNOWN_METHOD,
            custom_error_message=f"unknown method; choose one of {', '.join(self.methods)}",
        )
        return handler.generate_schema(Annotated[tagged, told])

    def _method_of(self, value: Any) -> Any:
        return value.get("method", self.default) if isinstance(value, dict) else getattr(value, "method", self.default)
