import importlib.util
import subprocess
import sys

import jax.numpy as jnp
import matplotlib.pyplot as plt
import pytest

from jaxopt_course import plot
from jaxopt_course.plot._axes import axes


def test_what_is_given_is_drawn_into():
    _, ax = plt.subplots()
    assert axes(ax) is ax
    assert axes(None) is not ax


def test_anything_else_is_refused_by_name():
    with pytest.raises(TypeError, match="ax must be a matplotlib Axes or None, got 3"):
        axes(3)


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'jaxopt_course\[plot\]'"):
        plot.path(jnp.zeros((1, 2)))


def test_importing_plot_does_not_import_matplotlib():
    code = "import sys, jaxopt_course.plot; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
