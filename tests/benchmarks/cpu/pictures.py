"""Pictures of what was measured, out of the raw numbers; readable on light and dark pages."""

import json
from statistics import geometric_mean, median

from .contenders import OURS, TITLES
from .report import RESULTS, path, say
from .workloads import WORKLOADS

MARKS = {
    "naive": ("#7f7f7f", "x"),
    "jax_step": ("#d62728", "o"),
    "jax_scan": ("#d62728", "^"),
    "torch_eager": ("#e8790c", "o"),
    "torch_compiled": ("#e8790c", "^"),
    "scikit_learn": ("#1f77b4", "s"),
    "thinc": ("#2ca02c", "D"),
}


def new(columns, rows, width, height):
    """Axes on an opaque, nearly white ground; None without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        say("no picture: pip install matplotlib")
        return None, None
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="#fcfcfa")
    axes = figure.subplots(rows, columns, squeeze=False)
    for one in axes.flat:
        one.set_facecolor("#fcfcfa")
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def draw_steps(found, name):
    """A row a workload, a dot a rival: our time over theirs."""
    figure, axes = new(1, 1, 8.0, 0.55 * len(found) + 1.7)
    if figure is None:
        return
    axes = axes[0, 0]
    for place, rows in enumerate(found.values()):
        axes.axhline(place, color="#e4e4e0", linewidth=1, zorder=0)
        for row in rows:
            if row["name"] in MARKS and row.get("ratios", {}).get(OURS):
                color, mark = MARKS[row["name"]]
                ratio = median(row["ratios"][OURS])
                axes.scatter(ratio, place, 55, color, mark, label=row["title"], zorder=2)
    axes.axvline(1, color="#444444", linewidth=1)
    axes.set(xscale="log", xlabel="time of portable_nn over theirs: left of the line, it is faster")
    axes.set_yticks(range(len(found)), [_label(WORKLOADS[key]) for key in found])
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    marks = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    order = [TITLES[key] for key in MARKS if TITLES[key] in marks]
    figure.legend(
        [marks[title] for title in order],
        order,
        loc="outside upper center",
        ncols=4,
        frameon=False,
        fontsize=9,
    )
    _write(figure, name)


def _label(workload):
    sizes = "-".join(map(str, workload.sizes))
    optimizer = " SGD" if workload.optimizer != "adam" else ""
    return f"{sizes}, batch {workload.batch_size}{optimizer}"


def draw_scaling(found, name):
    """A log-log panel a sweep, with the lines of the exponents."""
    figure, axes = new(2, 2, 8.5, 6.5)
    if figure is None:
        return
    colors = {"ours": "#1f77b4", "products": "#7f7f7f"}
    for one, (axis, sweep) in zip(axes.flat, found.items(), strict=True):
        for kind, times in sweep["times"].items():
            values, slope = sweep["values"], sweep["exponents"][kind]
            half = len(values) // 2
            center = geometric_mean(times[half:]) / geometric_mean(values[half:]) ** slope
            line = [center * value**slope for value in values[half:]]
            label = f"{kind}, exponent {slope:.2f}"
            one.plot(values, times, "o", markersize=4, color=colors[kind])
            one.plot(values[half:], line, color=colors[kind], linewidth=1, label=label)
        unit = "of an epoch of fit" if axis == "rows" else "of a step"
        one.set(xscale="log", yscale="log", xlabel=axis, ylabel=f"microseconds {unit}")
        one.legend(frameon=False, fontsize=9)
    _write(figure, name)


def _write(figure, name):
    file = path(f"{name}.png")
    figure.savefig(file, dpi=130)
    print(f"written: {file}", flush=True)


DRAWN = {"steps": draw_steps, "scaling": draw_scaling}


def plot(options):
    """Draw again what was measured last."""
    for part, draw in DRAWN.items():
        for file in sorted(RESULTS.glob(f"*-cpu-{part}.json"))[-1:]:
            draw(json.loads(file.read_text()), part)
