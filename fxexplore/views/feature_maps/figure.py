"""The figure that feature maps are drawn in. Imported when one is: it needs matplotlib."""

from __future__ import annotations

import io

from matplotlib.figure import Figure


class FeatureMaps(Figure):
    """A figure that shows itself in a notebook, whether pyplot was asked for or not."""

    def _repr_png_(self) -> bytes:
        png = io.BytesIO()
        self.savefig(png, format="png")
        return png.getvalue()
