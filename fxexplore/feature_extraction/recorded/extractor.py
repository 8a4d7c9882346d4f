"""An extractor that runs the model's own code again, and stops after the last wanted value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from fxexplore.feature_extraction.common.isolation import make_room_to_recurse, nesting_of, restores
from fxexplore.feature_extraction.common.wrappers import plain_module

from .capture import Capture, CapturingFollower, Showing, StopForward, run_with_hooks
from .follower import allow_stopping
from .plan import Plan, planned
from .recording import Recording


class RecordedFeatureExtractor(nn.Module):
    """Runs a model's own code, and returns chosen values from inside it.

    Nothing after the last wanted value is run. The parameters and submodules are the
    model's, under the same names; ``train()`` and ``eval()`` switch the model itself.
    Several threads may run one extractor at the same time.

    Args:
        model: the model that was recorded.
        train_keys: names of the values wanted in train mode, with their output keys.
        eval_keys: the same for eval mode.
        train_recording: a recording in train mode; ``None`` if the model has none.
        eval_recording: a recording in eval mode; ``None`` if the model has none.

    Raises:
        ValueError: if a name is unknown, or there is no recording.

    Example:
        >>> import torch
        >>> from fxexplore.feature_extraction.recorded.recorder import record
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU()).eval()
        >>> recording = record(model, (torch.ones(1, 2),))
        >>> extractor = RecordedFeatureExtractor(model, {}, {"0": "hidden"}, None, recording)
        >>> extractor(torch.ones(5, 2))["hidden"].shape
        torch.Size([5, 3])
    """

    _recorded_model: nn.Module

    def __init__(
        self,
        model: nn.Module,
        train_keys: Mapping[str, str],
        eval_keys: Mapping[str, str],
        train_recording: Recording | None = None,
        eval_recording: Recording | None = None,
    ) -> None:
        super().__init__()
        if train_recording is None and eval_recording is None:
            raise ValueError("no recording: give train_recording or eval_recording")
        model = plain_module(model)
        self.__dict__["_recorded_model"] = model
        # The very same dicts, so that what is replaced in one is replaced in the other.
        for shared in ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"):
            self.__dict__[shared] = getattr(model, shared)
        self._plans: dict[bool, Plan] = {}
        if train_recording is not None:
            self._plans[True] = planned(model, train_recording, train_keys, "train", eval_recording)
        if eval_recording is not None:
            self._plans[False] = planned(model, eval_recording, eval_keys, "eval", train_recording)
        self._copied_too: set[str] = set()
        self._nesting = nesting_of(model)
        self.training = model.training

    def train(self, mode: bool = True) -> RecordedFeatureExtractor:
        """Switch the model, and the extractor with it."""
        self._recorded_model.train(mode)
        object.__setattr__(self, "training", mode)
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "training" and "_recorded_model" in self.__dict__:
            self._recorded_model.training = value  # all other modules are submodules

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Run the model on the arguments of its forward.

        Returns:
            The wanted values by key, in order of execution.

        Raises:
            RuntimeError: if a wanted value was not reached on these inputs.
        """
        capture = Capture(self._plan(), self._copied_too)
        self._captured(capture, args, kwargs)
        return capture.results(args, kwargs)

    def each_value(
        self, look: Callable[[str, Any], None], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Run the model, and show each wanted value as it is made; none is kept.

        Args:
            look: is given a key and the value.
            args: positional arguments of the model's forward.
            kwargs: keyword arguments of it.
        """
        self._captured(Showing(self._plan(), look), args, kwargs)

    def _plan(self) -> Plan:
        plan = self._plans.get(self.training)
        if plan is None:
            mode, other = ("train", "eval") if self.training else ("eval", "train")
            raise RuntimeError(
                f"the model was recorded in {other} mode only, and this is {mode} mode; call "
                f".{other}() first"
            )
        return plan

    def _captured(self, capture: Capture, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        try:
            self._run(capture.plan, capture, args, kwargs)
        except StopForward as stop:
            if stop.capture is not capture:
                raise
        finally:
            # The hooks of a traceback that somebody keeps do nothing any more.
            capture.is_over = True

    @restores
    def _run(
        self, plan: Plan, capture: Capture, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        capture.arguments(self._recorded_model, args, kwargs)
        allow_stopping()
        make_room_to_recurse(self._nesting)
        if plan.follows:
            CapturingFollower(self._recorded_model, plan, capture).run(args, kwargs)
        else:
            run_with_hooks(self._recorded_model, plan, capture, args, kwargs)
