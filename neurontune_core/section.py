"""What every section of the settings is made of."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict


class Section(BaseModel):
    """Base of all sections: frozen, and an unknown field is an error; an error's text leaves out what was given."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)


def as_list(value: Any) -> Any:
    """Return a list given as text, with or without brackets, split at its commas; anything else as it is."""
    if not isinstance(value, str):
        return value
    inner = value.strip()
    if inner.startswith("[") and inner.endswith("]"):
        inner = inner[1:-1]
    return tuple(part.strip().strip("'\"") for part in inner.split(",") if part.strip())


Names = Annotated[tuple[str, ...], BeforeValidator(as_list)]
"""A list of names; `a,b` and a single one are understood as well."""
