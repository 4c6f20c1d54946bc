"""What must agree between a checkpoint and what continues it."""

import os
from typing import Any


def check_about(
    folder: str | os.PathLike[str], what: str, stored: dict[str, Any], wanted: dict[str, Any]
) -> None:
    """Raise ValueError unless a checkpoint's description agrees with that of the batch.

    Args:
        folder: The checkpoint's folder, for the message.
        what: What is checkpointed, for the message: "batch".
        stored: The checkpoint's description.
        wanted: The batch's. Every name in it must have the same value in `stored`; of values that
            are dictionaries the message names the first entry that differs.
    """
    for name, value in wanted.items():
        found = stored.get(name)
        if isinstance(value, dict) and isinstance(found, dict):
            for entry in found | value:
                if found.get(entry) != value.get(entry):
                    raise ValueError(
                        f"checkpoint {folder} is of another {name}: it has "
                        f"{found.get(entry, 'nothing')} at {entry}, "
                        f"not {value.get(entry, 'nothing')}; take another folder, or delete this"
                    )
        elif found != value:
            raise ValueError(
                f"checkpoint {folder} is of a {what} with {name} = {stored.get(name)}, "
                f"this one has {value}; take another folder, or delete this"
            )
