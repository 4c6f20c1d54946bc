"""What must agree between a checkpoint and what continues it."""

import os
from typing import Any


def check_about(
    folder: str | os.PathLike[str], what: str, stored: dict[str, Any], wanted: dict[str, Any]
) -> None:
    """Raise ValueError, naming the first that differs, unless `stored` has all that is `wanted`."""
    for name, value in wanted.items():
        if stored.get(name) != value:
            raise ValueError(
                f"checkpoint {folder} is of a {what} with {name} = {stored.get(name)}, "
                f"this one has {value}"
            )
