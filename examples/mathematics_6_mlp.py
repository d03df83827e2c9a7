"""The multi-layer perceptron (section 6): two hidden layers, trained on handwritten digits.

python examples/mathematics_6_mlp.py [--backend torch] [--out FOLDER] [--epochs 30]
"""

import numpy as np
from tutorial import line, options, side_by_side

import portable_nn as pnn
from portable_nn.datasets import load_digits, split

X, LABELS, X_TEST, LABELS_TEST = split(*load_digits(), seed=0)
X, LABELS, X_VALIDATION, LABELS_VALIDATION = split(X, LABELS, seed=1)
M1, M2, K = 48, 24, 10  # m_1 and m_2 neurons, k outputs
ETA, BATCH = 0.1, 32
SETTINGS = {"loss": "cross_entropy", "optimizer": pnn.SGD(ETA), "batch_size": BATCH}


def sigma(Z):
    """The ReLU of section 3; its derivative is 1 where Z > 0, else 0."""
    return np.maximum(0, Z)


def softmax(Z):
    """The softmax of each column."""
    return np.exp(Z) / np.exp(Z).sum(axis=0)


def mlp():
    """The network of section 6; sigma is the ReLU, and the softmax in the last layer."""
    hidden = pnn.mlp([M1, M2], outputs=K, activation="relu")
    return pnn.Network([*hidden, pnn.Softmax()], dtype="float64")


def one_step(backend):
    """The four steps of training on one batch, by hand and by the plan."""
    network = mlp()
    step = network.start(**SETTINGS, backend=backend)
    batch = next(step.batches(X, LABELS, epoch=0, shuffle=False))
    plan, to_host, found = step.plan, step.session.backend.to_host, step.trace(batch)
    theta = network.parameters
    W1, W2, W3 = (theta[f"dense{k}.weight"].T for k in (1, 2, 3))
    b1, b2, b3 = (theta[f"dense{k}.bias"][:, None] for k in (1, 2, 3))
    A0, y = X[:BATCH].T.astype(np.float64), np.eye(K)[:, LABELS[:BATCH]]

    print("1. Forward propagation to compute the predictions.")
    Z1 = W1 @ A0 + b1
    A1 = sigma(Z1)
    Z2 = W2 @ A1 + b2
    A2 = sigma(Z2)
    Z3 = W3 @ A2 + b3
    y_hat = softmax(Z3)
    for equation, name, by_hand in [
        ("Z(1) = W(1) X + b(1)", "dense1", Z1),
        ("A(1) = sigma(Z(1))", "relu1", A1),
        ("Z(2) = W(2) A(1) + b(2)", "dense2", Z2),
        ("A(2) = sigma(Z(2))", "relu2", A2),
        ("Z(3) = W(3) A(2) + b(3)", "dense3", Z3),
    ]:
        side_by_side(equation, line(plan, name), by_hand, found[name].T)
    predicted = network.plan(mode="predict")
    outputs = network.outputs(X[:BATCH]).T
    call = line(predicted, predicted.outputs["output"])
    side_by_side("y_hat = sigma(Z(3)), here the softmax", call, y_hat, outputs)
    print("\nCorrection: the text writes one sigma for all layers. The last layer needs another,")
    print("or y_hat is no distribution. Sum of the k outputs of the first sample:")
    print(f"  sigma of the hidden layers: {sigma(Z3)[:, 0].sum():.6f}")
    print(f"  softmax:                    {y_hat[:, 0].sum():.6f}")

    print("\n2. Loss calculation to assess the model's performance.")
    value = to_host(step.gradient(batch))
    L = -np.sum(y * np.log(y_hat)) / BATCH
    side_by_side("L = -1/m sum y log(y_hat)", line(plan, "loss"), L, value)

    print("\n3. Backpropagation to calculate the gradients.")
    delta3 = (y_hat - y) / BATCH
    delta2 = W3.T @ delta3 * (Z2 > 0)
    delta1 = W2.T @ delta2 * (Z1 > 0)
    gradients = {}
    for k, delta, A in [(3, delta3, A2), (2, delta2, A1), (1, delta1, A0)]:
        gradients[f"dense{k}.weight"] = f"dL/dW({k}) = delta({k}) A({k - 1})^T", delta @ A.T
        gradients[f"dense{k}.bias"] = f"dL/db({k}) = sum of delta({k})", delta.sum(axis=1)
    for name, (equation, gradient) in gradients.items():
        grad = plan.gradients[name]
        side_by_side(equation, line(plan, grad), gradient, to_host(step.read(grad)).T)

    print("\n4. Gradient descent to update the weights and biases iteratively.")
    step.update()
    for name, (_, gradient) in gradients.items():
        updated = theta[name].T - ETA * gradient
        after = network.parameters[name].T
        side_by_side("theta <- theta - eta dL/dtheta", line(plan, name), updated, after)


def draw(network, path):
    """Loss and accuracy, by epoch."""
    from matplotlib.figure import Figure

    from portable_nn.plotting import plot_history

    figure = Figure((10, 4), dpi=100, layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    plot_history(network, axes=loss)
    plot_history(network, "validation_accuracy", axes=accuracy)
    figure.savefig(path)


def main(backend=None, out=None, epochs=30):
    """One step by hand, then the whole training, and digits that the network has not seen."""
    one_step(backend)
    settings = {**SETTINGS, "epochs": epochs, "backend": backend, "progress": False}
    network = mlp().fit(X, LABELS, validation=(X_VALIDATION, LABELS_VALIDATION), **settings)
    accuracy = network.score(X_TEST, LABELS_TEST)
    print(f"\ntest accuracy {accuracy:.4f} after {epochs} epochs, of {len(X_TEST)} digits")
    if out:
        draw(network, out / "mathematics_6_mlp.png")


if __name__ == "__main__":
    main(**options(__doc__, epochs=30))
