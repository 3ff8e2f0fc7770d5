"""Scenarios and their order: every load on every target, in turns, so that a slow minute of the
machine hits all of them.

Imports the tasks, runs, targets and the summary.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from fastilp.errors import FastILPError, UsageError
from fastilp.loadtest.complaints import complaints
from fastilp.loadtest.run import Result, Timing, run_target
from fastilp.loadtest.summary import Document, document, entry
from fastilp.loadtest.targets import TARGETS, Target, target
from fastilp.loadtest.task import Load


class Scenario(BaseModel):
    """A file of bench/scenarios."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    load: dict[str, Any]
    targets: tuple[str, ...] = tuple(TARGETS)
    vary: dict[str, tuple[Any, ...]] = {}
    """One key of the load, and the values that it takes, each a point of its own."""


@dataclass(frozen=True)
class Point:
    """One load on one target."""

    scenario: str
    title: str
    load: Load
    target: str
    make: Callable[[], Target]


class Progress(Protocol):
    def begin(self, name: str) -> None: ...
    def __call__(self, event: dict[str, Any]) -> None: ...


class Suite:
    """Runs all points in turns; a point that fails is left out, with the reason. An interrupt ends
    the run that it hits, and no other one begins."""

    def __init__(
        self, points: Sequence[Point], timing: Timing, runs: int, progress: Progress
    ) -> None:
        self._points = points
        self._timing = timing
        self._runs = runs
        self._progress = progress
        self._results: dict[int, list[Result]] = {}
        self._left_out: dict[int, str] = {}
        self._interrupted = False

    def run(self) -> Document:
        for number, point in enumerate(self._points):
            reason = _reason_against(point)
            if reason:
                self._left_out[number] = reason
        self._run_all()
        if not self._results and len(self._points) == 1:
            raise UsageError(next(iter(self._left_out.values())))
        return self._document()

    def _run_all(self) -> None:
        for turn in range(self._runs):
            for number, point in enumerate(self._points):
                if self._interrupted:
                    self._leave_out_the_rest()
                    return
                if number not in self._left_out:
                    self._run_point(turn, number, point)

    def _leave_out_the_rest(self) -> None:
        for number in range(len(self._points)):
            if number not in self._results:
                self._left_out.setdefault(number, "interrupted before it began")

    def _run_point(self, turn: int, number: int, point: Point) -> None:
        of = f" ({turn + 1} of {self._runs})" if self._runs > 1 else ""
        self._progress.begin(f"{point.title} on {point.target}{of}")
        try:
            result = run_target(point.make(), point.load, self._timing, self._progress)
        except FastILPError as error:
            if len(self._points) == 1:
                raise
            self._left_out[number] = str(error)
            return
        self._interrupted = result["interrupted"]
        # Beside whole runs a part of one would only blur their median.
        if not self._interrupted or number not in self._results:
            self._results.setdefault(number, []).append(result)

    def _document(self) -> Document:
        entries = [
            entry(point.scenario, point.title, point.target, self._results[number])
            for number, point in enumerate(self._points)
            if self._results.get(number)
        ]
        left_out = [
            {
                "scenario": self._points[number].scenario,
                "target": self._points[number].target,
                "reason": reason,
            }
            for number, reason in self._left_out.items()
        ]
        return document(entries, left_out, interrupted=self._interrupted)


def _reason_against(point: Point) -> str | None:
    made = point.make()
    return made.refuses(point.load) or made.missing()


def load_scenarios(paths: Iterable[Path], only: set[str] | None = None) -> list[Point]:
    """The points of all files, in the order of their names. Raises UsageError."""
    files = [
        file
        for path in paths
        for file in (sorted(path.glob("*.json"), key=_order) if path.is_dir() else [path])
    ]
    if not files:
        raise UsageError("there are no scenario files")
    return [point for file in files for point in _points(file, only)]


def _order(file: Path) -> list[tuple[str, int]]:
    """By name, numbers in it by their size."""
    return [(text, int(part or 0)) for text, part in re.findall(r"(\D+)(\d*)", file.stem)]


def _points(file: Path, only: set[str] | None) -> list[Point]:
    try:
        scenario = Scenario.model_validate(json.loads(file.read_text()))
        loads = list(_loads(scenario))
    except ValidationError as error:
        model = Load if error.title == Load.__name__ else Scenario
        raise UsageError(f"{file}: {complaints(error, model)}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{file}: {error}") from None
    return [
        Point(
            file.stem,
            scenario.title + suffix,
            load,
            name,
            lambda name=name: target(name),  # type: ignore[misc]
        )
        for suffix, load in loads
        for name in scenario.targets
        if only is None or name in only
    ]


def _loads(scenario: Scenario) -> Iterable[tuple[str, Load]]:
    if not scenario.vary:
        yield "", Load.model_validate(scenario.load)
    for key, values in scenario.vary.items():
        for value in values:
            shown = f"{value:,}" if isinstance(value, int) else str(value)
            yield f", {shown} {key}", Load.model_validate({**scenario.load, key: value})
