"""Pictures in the pages: made from the page's own code when the site is built, and not committed.

A comment `<!-- drawn: what is to be seen -->` below a code block and its output stands for what the
block draws: it becomes an image for each of its figures, with the comment as its description. A
picture is made once and kept until its code changes, as the outputs of the course are;
`DOCS_EXECUTE=off` leaves all of them out. On pages read elsewhere the comment is invisible.
"""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

MARK = re.compile(r"^<!-- drawn: (.*?) -->$", re.M | re.S)
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)
SAVE = """
import sys as _sys
from matplotlib import pyplot as _pyplot
for _number in _pyplot.get_fignums():
    _figure = _pyplot.figure(_number)
    _figure.savefig(f"{_sys.argv[1]}-{_number}.png", dpi=144)
"""


def drawing(text: str, mark: re.Match) -> str:
    """Return the code that a mark stands below: the last block before it.

    Raises:
        ValueError: If there is none.
    """
    blocks = BLOCK.findall(text, 0, mark.start())
    if not blocks:
        raise ValueError(f"no code block before {mark.group()!r}")
    return blocks[-1]


def draw(code: str, folder: Path) -> list[Path]:
    """Run code that draws, unless that was done before, and return its figures' files.

    Raises:
        ValueError: If it fails, or draws nothing.
    """
    name = hashlib.sha256((code + SAVE).encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    if not (kept := sorted(folder.glob(f"{name}-*.png"))):
        done = subprocess.run(
            [sys.executable, "-c", code + SAVE, str(folder / name)],
            env=os.environ | {"MPLBACKEND": "agg"},
            capture_output=True,
            text=True,
            check=False,
        )
        kept = sorted(folder.glob(f"{name}-*.png"))
        if done.returncode or not kept:
            raise ValueError(f"no figure from the code\n{code}\n{done.stderr}")
    return kept


def insert(app, page: str, source: list[str]) -> None:
    """Put images in place of a page's marks: Sphinx's event `source-read`."""
    folder = Path(app.srcdir) / "api" / "drawn"
    text = source[0]

    def images(mark):
        up = "../" * page.count("/")
        described = " ".join(mark.group(1).split())
        return "\n\n".join(
            f"![{described}]({up}api/drawn/{path.name})"
            for path in draw(drawing(text, mark), folder)
        )

    if os.environ.get("DOCS_EXECUTE") != "off":
        source[0] = MARK.sub(images, text)
