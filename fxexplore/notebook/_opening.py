import dataclasses

from fxexplore.model_graph import open_model


class Opening:
    def __init__(self, model, example_inputs=None, **options):
        self._full = open_model(model, example_inputs, **options)
        self.graph = (
            self._full
            if self._full.backend == "recorded"
            else dataclasses.replace(
                self._full,
                flops=None,
                nodes=tuple(
                    dataclasses.replace(n, shape=None, flops=None) for n in self._full.nodes
                ),
                modules=tuple(
                    dataclasses.replace(n, shape=None, flops=None) for n in self._full.modules
                ),
            )
        )

    def annotated(self):
        return self._full
