"""Bursts of every contender in turn, and what they come to."""

import statistics
import sys
from dataclasses import dataclass, field

import numpy as np

from .contenders import CONTENDERS, OURS, TITLES
from .processes import Process

TOLERANCE, OTHER_EPSILON = 1e-4, 5e-4
"""Of each of the first ten losses, relative to the largest; the second for who corrects epsilon.

Float32 rounds at 6e-8, and sums of up to 1024 products in another order differ by more. Adam's
first moves are ``learning_rate * sign(gradient)``, so a weight whose gradient is 0 but for rounding
moves by up to 2e-3 apart: up to 2e-5 was seen (d). scikit-learn and thinc add epsilon to a root
that is not corrected yet, 30 times more of it at the first step: 2e-4 was seen (c). A learning
rate that is 1 % off moves the losses by 3e-4 (a) to 2e-2 (d), a beta1 of 0.91 by 6e-5 (a) to 5e-3
(c); ten steps do not tell a beta2 of 0.998.
"""


@dataclass
class Lane:
    """One contender on one workload: its process, and what it has said."""

    name: str
    process: Process
    said: dict = field(default_factory=dict)
    bursts: list = field(default_factory=list)
    out: str = ""  # why it is not timed

    @property
    def microseconds(self):
        return [1e6 * burst["seconds"] / burst["steps"] for burst in self.bursts]

    @property
    def cores(self):
        return statistics.median(burst["cpu"] / burst["seconds"] for burst in self.bursts)


def difference(losses, wanted):
    """Of the two lists of losses, relative to the largest wanted one."""
    return float(np.abs(np.subtract(losses, wanted)).max() / np.abs(wanted).max())


def judge(lanes):
    """Put out who fails, and who does not compute the losses of the naive control."""
    control = next(lane for lane in lanes if lane.name == "naive")
    wanted = control.said.get("losses")
    if wanted is None:
        sys.exit(f"the control does not run, so nobody can be judged: {control.said['failed']}")
    for lane in lanes:
        losses = lane.said.get("losses")
        if "failed" in lane.said:
            lane.out = lane.said["failed"]
        elif losses:
            lane.said["apart"] = apart = difference(losses, wanted)
            allowed = OTHER_EPSILON if lane.said["other_epsilon"] else TOLERANCE
            if not apart <= allowed:
                lane.out = f"other losses: {apart:.1e} apart, {allowed:.0e} allowed"


def started(workload, names, seconds, one_thread):
    """The lanes of these contenders, built, one after another, and at rest."""
    lanes = []
    for name in names:
        process = Process("worker", name, workload.name, seconds, one_thread=one_thread)
        lane = Lane(name, process)
        lanes.append(lane)
        lane.said = process.answer()
        process.rest()
    return lanes


def measure(workload, names, rounds, seconds, one_thread=False):
    """The lanes of one workload, each with ``rounds`` bursts, taken in turn."""
    names = [name for name in CONTENDERS if name in {*names, "naive", OURS}]
    lanes = started(workload, names, seconds, one_thread)
    try:
        judge(lanes)
        for turn in range(rounds + 1):
            for lane in lanes:
                if not lane.out:
                    burst = lane.process.ask()
                    lane.out = burst.get("failed", "")
                    if turn and not lane.out:  # the first also finds how long a burst is
                        lane.bursts.append(burst)
    finally:
        for lane in lanes:
            lane.process.end()
    return lanes


def ratios(ours, rival):
    """Ours over the rival's, round by round."""
    return [a / b for a, b in zip(ours.microseconds, rival.microseconds, strict=True)]


def summary(lanes, workload):
    """A dict a lane, of plain numbers, for the report and for JSON."""
    ours = {lane.name: lane for lane in lanes if lane.name.startswith("ours") and not lane.out}
    return [
        {"name": lane.name, "title": TITLES[lane.name], "out": lane.out}
        | {key: lane.said.get(key) for key in ("setup", "apart", "why")}
        | ({} if lane.out else _figures(lane, ours))
        | {"target": workload.targets.get(lane.name)}
        for lane in lanes
    ]


def _figures(lane, ours):
    times = lane.microseconds
    return {
        "median": statistics.median(times),
        "least": min(times),
        "most": max(times),
        "cores": lane.cores,
        "microseconds": times,
        "ratios": {name: ratios(one, lane) for name, one in ours.items()},
    }
