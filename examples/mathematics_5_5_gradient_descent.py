"""Gradient descent (sections 5.3 and 5.5): stochastic, by mini-batch and by batch, on digits.

python examples/mathematics_5_5_gradient_descent.py [--backend torch] [--out FOLDER]
"""

import numpy as np
from tutorial import line, options, side_by_side

import portable_nn as pnn
from portable_nn.datasets import load_digits, split

X, LABELS, X_TEST, LABELS_TEST = split(*load_digits())
X, LABELS = X[:400], LABELS[:400]  # rows, 64 pixels each
ETA = 0.1
DESCENTS = {  # batch size m, and the text's update
    "stochastic": (1, "theta <- theta - eta dL_i/dtheta"),
    "mini-batch": (32, "theta <- theta - eta 1/m sum_{i=1}^m dL_i/dtheta"),
    "batch": (None, "theta <- theta - eta 1/n sum_{i=1}^n dL_i/dtheta"),
}


def network():
    """Ten neurons and a softmax."""
    return pnn.Network([pnn.Dense(10), pnn.Softmax()], dtype="float64")


def update_by_hand(W, b, x, labels):
    """One update of W (10, 64) and b (10, 1) by the mean gradient of m samples, one at a time."""
    gradient_W, gradient_b, m = np.zeros_like(W), np.zeros_like(b), len(x)
    for x_i, label in zip(x, labels, strict=True):
        Z = W @ x_i[:, None] + b
        delta = np.exp(Z) / np.exp(Z).sum() - np.eye(10)[:, [label]]  # dL_i/dZ, as in 5.4
        gradient_W += delta @ x_i[None, :]  # dL_i/dW
        gradient_b += delta  # dL_i/db
    return W - ETA * gradient_W / m, b - ETA * gradient_b / m


def one_update(name, backend):
    """The first update of a descent, by hand and by the plan."""
    size, equation = DESCENTS[name]
    first = network()
    sgd = pnn.SGD(ETA)
    step = first.start(loss="cross_entropy", optimizer=sgd, batch_size=size, backend=backend)
    batch = next(step.batches(X, LABELS, epoch=0, shuffle=False))
    before = first.parameters
    W, b = before["dense1.weight"].T, before["dense1.bias"][:, None]
    W, b = update_by_hand(W, b, X[: batch.n].astype(np.float64), LABELS[: batch.n])
    step.step(batch)
    call, after = line(step.plan, "dense1.weight"), first.parameters["dense1.weight"].T
    side_by_side(f"{name}: {equation}", call, W, after)
    call, after = line(step.plan, "dense1.bias"), first.parameters["dense1.bias"][:, None]
    side_by_side(f"{name}, of the bias", call, b, after)


def draw(trained, path):
    """Loss on digits not trained on, after each epoch: by epochs, and by updates."""
    from matplotlib.figure import Figure

    figure = Figure((10, 4), dpi=100, layout="constrained")
    by_epoch, by_update = figure.subplots(1, 2, sharey=True)
    for name, (size, _) in DESCENTS.items():
        losses = trained[name].history["validation_loss"]
        epochs, updates = np.arange(1, len(losses) + 1), -(-len(X) // (size or len(X)))
        m = f"m = {size}" if size else f"m = n = {len(X)}"
        by_epoch.plot(epochs, losses)
        by_update.plot(updates * epochs, losses, ".-", markersize=4, label=f"{name}, {m}")
    by_epoch.set(title="By epochs: one is a look at every row", xlabel="epoch", yscale="log")
    by_epoch.set_ylabel("cross-entropy of the test rows")
    by_update.set(title="By updates of the parameters", xlabel="updates", xscale="log")
    by_epoch.set_yticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1", "2"])
    by_update.legend(loc="lower left")
    for axes in (by_epoch, by_update):
        axes.grid(alpha=0.3)
        axes.minorticks_off()
    figure.savefig(path)


def main(backend=None, out=None, epochs=30):
    """One update of each descent by hand, then all three trained on the same rows."""
    for name in DESCENTS:
        one_update(name, backend)
    print("\nCorrection: 5.5 names batch gradient descent but has no equation of it. It is that of")
    print(f"the mini-batch with m = n, all {len(X)} samples, which is the update of section 5.3.")

    trained = {}
    print(f"\neta = {ETA}, {epochs} epochs of {len(X)} rows")
    for name, (size, _) in DESCENTS.items():
        settings = {"loss": "cross_entropy", "optimizer": pnn.SGD(ETA), "batch_size": size}
        settings |= {"epochs": epochs, "backend": backend, "progress": False}
        test = X_TEST, LABELS_TEST
        trained[name] = network().fit(X, LABELS, validation=test, **settings)
        updates = epochs * -(-len(X) // (size or len(X)))
        loss, score = trained[name].history["validation_loss"][-1], trained[name].score(*test)
        print(f"  {name:<10} {updates:6} updates, test loss {loss:.3f}, test accuracy {score:.3f}")
    if out:
        draw(trained, out / "mathematics_5_5_gradient_descent.png")


if __name__ == "__main__":
    main(**options(__doc__, epochs=30))
