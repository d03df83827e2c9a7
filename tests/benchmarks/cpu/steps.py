"""Step times of every workload beside the rivals, and whether the targets are met."""

from statistics import median

from .contenders import OURS
from .report import say
from .samples import OTHER_EPSILON, TOLERANCE, measure, summary
from .workloads import WORKLOADS

HEADS = (
    f"{'':27}{'losses':>8}{'median':>10}{'least':>10}{'most':>10}"
    f"{'epochs/it':>11}{'(least-most)':>14}{'steps/it':>10}{'cores':>7}  target"
)
EXPLAINED = f"""\
Step times in microseconds. epochs/it: our time over whole epochs over theirs, steps/it: ours step
by step; both are medians over the rounds, below 1 we are faster. Ours gathers each batch from
the whole array and keeps every loss; the rivals take batches that are cut before, scikit-learn
slices. losses: how far the first ten are from the control's, from the same weights on
the same batches, relative to the largest; {TOLERANCE:.0e} is allowed
({OTHER_EPSILON:.0e} where Adam's epsilon is another), and who is further off is not timed.
cores: CPU time over wall time. A target is for epochs/it; all were set on an AMD Zen 5, where
NumPy's products are twice as fast as where AVX-512 takes two passes, and torch's are not."""


def verdict(row):
    if row["target"] is None:
        return ""
    met = "met" if median(row["ratios"][OURS]) <= row["target"] else "MISSED"
    return f"{row['target']:.2f} {met}"


def line(row):
    """One contender's line of the table."""
    apart = f"{row['apart']:.0e}" if row["apart"] is not None else "none" if row["why"] else "?"
    if row["out"]:
        return f"{row['title']:27}{apart:>8}  left out: {row['out']}"
    times = "".join(f"{row[key]:10.1f}" for key in ("median", "least", "most"))
    found, steps = row["ratios"].get(OURS), row["ratios"].get("ours_steps")
    spread = f"({min(found):.2f}-{max(found):.2f})" if found else ""
    epochs, by_step = (f"{median(r):.2f}" if r else "" for r in (found, steps))
    last = f"{row['cores']:7.2f}  {verdict(row) if found else ''}"
    return f"{row['title']:27}{apart:>8}{times}{epochs:>11}{spread:>14}{by_step:>10}{last}".rstrip()


def steps(options):
    """Measure, say and return ``{workload: summary}``."""
    say(EXPLAINED)
    found = {}
    for name in options.workloads:
        workload = WORKLOADS[name]
        names = options.contenders
        lanes = measure(workload, names, options.rounds, options.seconds, options.one_thread)
        found[name] = summary(lanes, workload)
        say(f"\n{workload}; {options.rounds} rounds", HEADS, *map(line, found[name]))
    return found
