"""Loss surfaces as one HTML page that is turned around with the mouse and needs no network."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

Surface = tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike | None, ArrayLike | None]


def surface_page(surfaces: Mapping[str, Surface]) -> str:
    """Return a page that shows one surface at a time, chosen by its name.

    Args:
        surfaces: By name: coordinates x of shape (m,) and y of shape (n,), losses of shape
            (m, n), and a path of shape (points, 2) with its own losses, or None twice. The path's
            losses are true ones: where the path is off the plane it is off the surface, too.

    Returns:
        The page, with the script that draws it.
    """
    from plotly import graph_objects

    figure = graph_objects.Figure()
    owners = []
    for name, (x, y, losses, path, path_losses) in surfaces.items():
        heights = np.log10(np.asarray(losses, float)).T
        figure.add_surface(
            x=np.asarray(x), y=np.asarray(y), z=heights, colorscale="Viridis", name=name,
            colorbar={"title": {"text": "log10 loss"}}, opacity=0.9,
        )  # fmt: skip
        owners.append(name)
        if path is not None:
            along = np.asarray(path, float)
            figure.add_scatter3d(
                x=along[:, 0], y=along[:, 1], z=np.log10(np.asarray(path_losses, float)),
                mode="lines+markers", marker={"size": 3}, line={"color": "#D55E00", "width": 5},
                name="path",
            )  # fmt: skip
            owners.append(name)

    def only(name):
        return [owner == name for owner in owners]

    first = next(iter(surfaces))
    for number, visible in enumerate(only(first)):
        figure.update_traces(visible=visible, selector=number)
    buttons = [
        {"label": name, "method": "update", "args": [{"visible": only(name)}]} for name in surfaces
    ]
    figure.update_layout(
        title={"text": "Slices through loss surfaces (log10 of the loss)"},
        updatemenus=[{"buttons": buttons, "x": 0, "xanchor": "left", "y": 1.05}],
        scene={"zaxis": {"title": {"text": "log10 loss"}}},
        height=800,
    )
    return figure.to_html(include_plotlyjs=True, div_id="surface")
