"""One training step from its formulas to the GPU, every line of the plan with its numbers.

For each kernel: the equation, the plan's lines, the NumPy code and the CUDA code that compute it,
and what each gives. The page that this prints is FORMULA_TO_GPU.md; --out FOLDER writes it anew.

Run it: python examples/formula_to_gpu.py [--backend cupy] [--out FOLDER]
"""

import ctypes
import inspect
import re
import shutil
import subprocess
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import fill

import numpy as np
from tutorial import TOLERANCE, fixed, options

import portable_nn as pnn
from portable_nn_numpy import LOWERINGS
from portable_nn_numpy.lowering import Scratch, lower
from portable_nn_numpy.memory import BoundCall

X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
Y = np.array([[0.0], [1.0], [1.0], [0.0]])
HIDDEN = pnn.Dense(2, weight=fixed([[0.8, -0.6], [0.5, 0.9]]), bias=fixed([-0.2, 0.3]))
OUTPUT = pnn.Dense(1, weight=fixed([[0.7], [-0.4]]), bias=fixed([0.1]))
RATE = 0.1

SOURCE = Path(__file__).with_suffix(".cu")
THREADS = 128  # of a block
NAMES = {"float64": "double", "float32": "float"}  # of the types, in C

SIZES = {
    "take_rows": lambda data, rows: (len(rows), data.shape[1]),
    "linear": lambda x, weight, bias: (*x.shape, weight.shape[1]),
    "relu": lambda z: (z.size,),
    "half_squared_error": lambda z, *others: z.shape,
    "linear_grad_input": lambda grad, weight: (len(grad), *weight.shape),
    "linear_grad_weight": lambda x, grad: (*x.shape, grad.shape[1]),
    "linear_grad_bias": lambda grad: grad.shape,
    "relu_backward": lambda grad, a: (a.size,),
    "sgd": lambda parameter, *others: (parameter.size,),
}
"""The whole numbers that a CUDA kernel takes after its arrays, by its inputs."""

EQUATIONS = {
    "take_rows": r"x_{ij} = X_{r_i j}",
    "linear": r"z_{ij} = \sum_k x_{ik} w_{kj} + b_j",
    "relu": r"a_{ij} = \max(z_{ij}, 0)",
    "half_squared_error": r"L = \frac{s}{2} \sum_i v_i \sum_j (z_{ij} - t_{ij})^2"
    r" \qquad \frac{\partial L}{\partial z_{ij}} = (z_{ij} - t_{ij}) v_i s",
    "linear_grad_input": r"\frac{\partial L}{\partial x_{ik}}"
    r" = \sum_j \frac{\partial L}{\partial z_{ij}} w_{kj}",
    "linear_grad_weight": r"\frac{\partial L}{\partial w_{kj}}"
    r" = \sum_i x_{ik} \frac{\partial L}{\partial z_{ij}}",
    "linear_grad_bias": r"\frac{\partial L}{\partial b_j}"
    r" = \sum_i \frac{\partial L}{\partial z_{ij}}",
    "relu_backward": r"\frac{\partial L}{\partial z_{ij}}"
    r" = \frac{\partial L}{\partial a_{ij}} \cdot [a_{ij} > 0]",
    "sgd": r"w \leftarrow w - \eta \frac{\partial L}{\partial w}",
}

WORDS = {
    "take_rows": "The batch: rows $r_i$ of the data, which stay on the device.",
    "linear": "A dense layer. Row $i$ is one example.",
    "relu": "The activation. NaN stays NaN in all of them.",
    "half_squared_error": "The loss and its gradient in one call; $v_i$ is the weight of a row and "
    "$s$ is one over their sum, so this is the mean over the rows.",
    "linear_grad_input": "Back through the output layer, to what went into it.",
    "linear_grad_weight": "The gradient of the weights: a sum over the rows.",
    "linear_grad_bias": "The same for the biases. To NumPy it is a product with ones.",
    "relu_backward": "Back through the activation. The derivative at 0 is 0.",
    "sgd": "The update, by gradient descent. On NumPy the four lines are one call, over flat "
    "arrays that hold all parameters and all gradients.",
}

INTRODUCTION = """\
# From the formula to the GPU

One training step of one small network (two inputs, two ReLU units, one linear output) on the four
rows of XOR, in float64. Every kernel of the plan is shown as an equation, as the code that NumPy
runs and as a CUDA kernel, with every number on the way. The numbers are short enough to check
with a pencil. All of it is printed by `python examples/formula_to_gpu.py`, which ends with an
error if two of the numbers differ by more than rounding.

- **formula**: the kernel's meaning in `portable_nn/kernels/`, on the numbers of the lines before.
  NumPy and CUDA get the same inputs.
- **NumPy**: the kernel's lowering in `portable_nn_numpy/lowering.py`. It returns NumPy functions
  with their arguments, the array to write to among them. They are bound once to memory laid out
  once; a step then calls one after another (`_product` is `dot`, for results that lie row after row
  or column after column). A kernel without a lowering runs its meaning.
{rows}
A CUDA kernel runs once for each number of its result, each time in a thread of its own, t. Threads
come in blocks of 128: `linear<<<1, 128>>>(...)` launches one block, enough for the 8 numbers of
dense1, and the other 120 threads return at once. The dots stand for the sizes (n, inputs, outputs).

The CuPy backend of this project does not run these CUDA kernels. It runs each line as CuPy's own
kernels: one or several launches a line, and cuBLAS for the matrix products. Fused kernels, or a
step captured as a CUDA graph, do not exist here yet.

## The plan

The calls in order; the sections below follow it line by line. An operation is one product or sum
(two for each weight of a matrix product).

```text
{plan}
```

What the step begins with; `|` stands between the rows of an array:

```text
{given}
```
"""
NOT_YET = """\
- **CUDA**: the kernel in `examples/formula_to_gpu.cu`, compiled **for the CPU** by the C++ compiler
  and run one thread after another. **These kernels have not run on a GPU yet.**
"""
ON_GPU = "- **CUDA**: the kernel in `examples/formula_to_gpu.cu`, run on {backend!r}.\n"
NO_COMPILER = "- **CUDA** is left out: there is no C++ compiler (c++, g++ or clang++) here.\n"


def find_compiler():
    """The path of a C++ compiler, or None."""
    return next(filter(None, map(shutil.which, ["c++", "g++", "clang++"])), None)


def on_cpu(compiler, dtype):
    """The CUDA kernels as C++: a function that runs one of them, thread after thread."""
    with TemporaryDirectory() as folder:
        library = str(Path(folder) / "kernels.so")
        command = [compiler, "-x", "c++", "-O2", "-shared", "-fPIC", f"-DREAL={NAMES[dtype]}"]
        subprocess.run([*command, str(SOURCE), "-o", library], check=True)
        kernels = ctypes.CDLL(library)
    places = ("blockIdx", "blockDim", "threadIdx")
    block, width, thread = [ctypes.c_uint.in_dll(kernels, name) for name in places]
    width.value = THREADS

    def launch(name, blocks, inputs, outputs, sizes):
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in [*inputs, *outputs]]
        for block.value in range(blocks):
            for thread.value in range(THREADS):
                kernels[name](*pointers, *sizes)

    return launch


def on_gpu(device, dtype):
    """The CUDA kernels compiled by CuPy: a function that runs one of them on the GPU."""
    import cupy

    kernels = cupy.RawModule(code=SOURCE.read_text(), options=(f"-DREAL={NAMES[dtype]}",))

    def launch(name, blocks, inputs, outputs, sizes):
        with device:
            arrays = [cupy.asarray(array) for array in [*inputs, *outputs]]
            arguments = [*arrays, *map(np.int32, sizes)]
            kernels.get_function(name)((blocks,), (THREADS,), tuple(arguments))
            for output, array in zip(outputs, arrays[len(inputs) :], strict=True):
                output[...] = array.get()

    return launch


def by_cuda(launch):
    """A call as one launch: a thread for each number of its largest output."""

    def run(kernel, inputs, outputs):
        blocks = -(-max(output.size for output in outputs) // THREADS)
        launch(kernel.name, blocks, inputs, outputs, SIZES[kernel.name](*inputs))

    return run


def by_numpy(kernel, inputs, outputs):
    """A call as the NumPy backend runs it."""
    for function, arguments in lower(BoundCall(kernel, inputs, outputs, {}), Scratch()):
        function(*arguments)


def by_formula(kernel, inputs):
    """The outputs of a kernel's meaning."""
    outputs = kernel.meaning(np, *inputs)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    return [np.array(output, order="C") for output in outputs]


def one_step(backend):
    """A whole step on a backend: the backend, the plan, what it begins with and all it gives."""
    network = pnn.Network([HIDDEN, pnn.ReLU(), OUTPUT], dtype="float64")
    step = network.start(loss="half_squared_error", optimizer=pnn.SGD(RATE), backend=backend)
    batch = next(step.batches(X, Y, epoch=0))
    plan, place, values = step.plan, step.session.backend, step.trace(batch)
    held = {name: place.to_host(value) for name, value in step.session.state.items()} | values
    given = {name: held[name] for name in plan.reads("gradient")} | {"learning_rate": RATE}
    step.gradient(batch)
    for name in [plan.outputs["loss"], *plan.gradients.values()]:
        values[name] = place.to_host(step.read(name))
    step.update()
    for name, value in plan.carry["update"].items():
        values[value] = place.to_host(step.read(name))
    return place, plan, given, values


def walk(plan, given, ways):
    """Every call of a plan with its outputs: ``(call, {way: outputs})``, the formula's first."""
    values = {name: np.array(value, order="C") for name, value in given.items()}
    for call in plan.calls:
        inputs = [values[name] for name in call.inputs]
        outputs = {"formula": by_formula(call.kernel, inputs)}
        for way, run in ways.items():
            outputs[way] = [np.full_like(output, np.nan) for output in outputs["formula"]]
            run(call.kernel, inputs, outputs[way])
        values.update(zip(call.outputs, outputs["formula"], strict=True))
        yield call, outputs


def lines_of(plan):
    """The printed lines of each call of a plan, in the order of the calls."""
    lines = (line for line in str(plan).splitlines() if line.startswith("  "))
    return [[next(lines) for _ in call.outputs] for call in plan.calls]


def numpy_code(kernel):
    """The lowering of a kernel as its source has it, or its meaning if it has none."""
    return inspect.getsource(LOWERINGS.get(kernel, kernel.meaning)).strip()


def cuda_code(kernel):
    """The CUDA kernel of this name, as its source has it."""
    pattern = rf"^__global__ void {kernel.name}\(.*?^}}$"
    return re.search(pattern, SOURCE.read_text(), re.MULTILINE | re.DOTALL)[0]


def in_digits(array):
    """The numbers of an array to six digits, on one line."""
    rows = np.atleast_2d(array) + 0.0  # no minus before a 0
    return " | ".join(" ".join(f"{value:.6g}" for value in row) for row in rows)


def table(arrays):
    """A line for each array, its name first."""
    width = max(map(len, arrays))
    return [f"{name:<{width}}  {in_digits(array)}" for name, array in arrays.items()]


def numbers(lines, outputs):
    """The printed lines of a call, each with what every way gives below it."""
    for position, line in enumerate(lines):
        yield line.strip()
        yield from table({f"  {way}": arrays[position] for way, arrays in outputs.items()})


def launch_of(call, outputs):
    """How the host launches the CUDA kernel of a call."""
    name, size = call.kernel.name, max(array.size for array in outputs["formula"])
    blocks = -(-size // THREADS)
    return f"{name}<<<{blocks}, {THREADS}>>>({', '.join([*call.inputs, *call.outputs])}, ...)"


def section(kernel, calls, first):
    """Some calls of a kernel in a row: the numbers; before the first, equation and code."""
    what = "NumPy" if kernel in LOWERINGS else "NumPy, which has no lowering: the meaning"
    lines = [line for _, printed, outputs in calls for line in numbers(printed, outputs)]
    launches = [launch_of(call, outputs) for call, _, outputs in calls]
    results = "\n".join(lines)
    if not first:
        return f"""
## {kernel.name}, again

```text
{results}
```
"""
    return f"""
## {kernel.name}

{fill(WORDS[kernel.name], 100)}

$$
{EQUATIONS[kernel.name]}
$$

{what}:

```python
{numpy_code(kernel)}
```

CUDA, launched as `{launches[0]}`:

```cuda
{cuda_code(kernel)}
```

The numbers:

```text
{results}
```
"""


def cuda_way(backend, dtype):
    """How CUDA kernels run here, ``{"CUDA": ...}`` or nothing, and the page's words for it."""
    if backend.name == "cupy":
        return {"CUDA": by_cuda(on_gpu(backend.device, dtype))}, ON_GPU.format(backend=backend)
    if compiler := find_compiler():
        return {"CUDA": by_cuda(on_cpu(compiler, dtype))}, NOT_YET
    return {}, NO_COMPILER


def compare(outputs):
    """The largest difference from the formula; an end with an error if it is not rounding."""
    pairs = [
        (way, array, wanted)
        for way, arrays in outputs.items()
        for array, wanted in zip(arrays, outputs["formula"], strict=True)
    ]
    for way, array, wanted in pairs:
        if array.shape != wanted.shape or not np.abs(array - wanted).max() <= TOLERANCE:
            raise SystemExit(f"{way} should give what the formula gives:\n{array}\n{wanted}")
    return max(float(np.abs(array - wanted).max()) for _, array, wanted in pairs)


def page(plan, given, walked, rows):
    """The whole walk in Markdown: the calls in the order of the plan."""
    printed = lines_of(plan)
    calls = [(call, lines, outputs) for (call, outputs), lines in zip(walked, printed, strict=True)]
    sections, seen = [], set()
    for kernel, group in groupby(calls, key=lambda entry: entry[0].kernel):
        sections.append(section(kernel, list(group), first=kernel not in seen))
        seen.add(kernel)
    begin = "\n".join(table(given))
    return INTRODUCTION.format(plan=plan, given=begin, rows=rows) + "".join(sections)


def main(backend=None, out=None):
    """Walk through one step in every way there is here; print the page, or write it to ``out``."""
    place, plan, given, found = one_step(backend)
    cuda, rows = cuda_way(place, plan.dtype)
    walked = list(walk(plan, given, {"NumPy": by_numpy} | cuda))
    ways = list(walked[0][1])
    for call, outputs in walked:
        outputs[place.name] = [found[name] for name in call.outputs]
    apart = max(compare(outputs) for _, outputs in walked)
    if place.name == "numpy":  # its whole step is the lowerings shown, one after another
        walked = [(call, {way: outputs[way] for way in ways}) for call, outputs in walked]
    else:
        rows += f"- **{place.name}**: a whole step on {place!r}.\n"
    text = page(plan, given, walked, rows)
    if out:
        (out / "FORMULA_TO_GPU.md").write_text(text, encoding="utf-8")
    else:
        print(text)
    print(f"largest difference of any number from the formula: {apart:.1e}")


if __name__ == "__main__":
    main(**options(__doc__))
