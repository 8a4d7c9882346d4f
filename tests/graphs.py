"""Graphs made by hand, without a model."""

from fxexplore.model_graph import ModelGraph, Module, Node


def big_graph(rows: int) -> ModelGraph:
    """Nested modules, every one of another structure: no siblings fold into one row."""
    nodes, modules = [], []
    for stage in range(rows // 500):
        modules.append(Module(f"stage_{stage}", "Stage", parameters=10 * stage, shape=(1, stage)))
        for block in range(31):
            path = f"stage_{stage}.block_{block}"
            modules.append(Module(path, "Block", parameters=stage + block, shape=(1, 64, stage)))
            nodes += [
                Node(
                    f"{path}.conv_{i}", "module", "Conv2d", path, detail=f"{stage}, {block}, {i}",
                    parameters=stage * i, shape=(1, 64, stage, block), flops=stage * block,
                )
                for i in range(15)
            ]  # fmt: skip
    return ModelGraph("Big", tuple(nodes), tuple(modules), parameters=10**8)
