"""One temporary folder and one set of children for each scenario, gone when it ends."""

import contextlib
import tempfile
from pathlib import Path

from .children import Children
from .upstreams import HouseModel, SlowModel, StandIn


class Scene:
    """What one scenario starts and where it writes; pictures go where somebody wants to look at them."""

    def __init__(self, tools, children, folder, pictures):
        self.children, self.folder, self.pictures = children, folder, pictures
        self._tools = tools

    def stand_in(self):
        return StandIn(self.children, self._tools, self.folder)

    def model_server(self, **settings):
        return HouseModel(self.children, self._tools, self.folder, **settings)

    def slow_model(self, **settings):
        return SlowModel(self.children, self._tools, self.folder, **settings)


class House:
    """Makes scenes."""

    def __init__(self, tools, report, pictures=None):
        self.tools = tools
        self._report, self._pictures = report, pictures

    @contextlib.contextmanager
    def scenario(self, title):
        """A scene; whatever fails outside of a check becomes one failed check named after it."""
        with tempfile.TemporaryDirectory(prefix="clients-") as name, Children() as children:
            try:
                yield Scene(self.tools, children, Path(name), self._pictures)
            except Exception as error:  # A server that does not start is a result too.
                self._report.failed_set_up(title, error, children.tails())
