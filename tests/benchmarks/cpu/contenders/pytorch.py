"""torch: eager, and compiled; always with the fused optimizer, its fastest here.

On an AMD processor MKL, the library of torch's products, takes its slower path. A library that
answers "Intel" when MKL asks, put in front by ``LD_PRELOAD``, made torch's large steps twice as
fast where that was measured; it is no part of this suite, as no user has it.
"""

from itertools import cycle, pairwise

from ._contender import stepwise


def network_of(workload):
    """``(network, loss, optimizer)``, on the workload's weights."""
    import torch

    modules = [(torch.nn.Linear(*sizes), torch.nn.ReLU()) for sizes in pairwise(workload.sizes)]
    network = torch.nn.Sequential(*[module for pair in modules for module in pair][:-1])
    put(network, workload.weights())
    loss = torch.nn.CrossEntropyLoss() if workload.labels else torch.nn.MSELoss()
    return network, loss, optimizer_of(workload, network.parameters())


def put(network, weights):
    """Give it these weights."""
    import torch

    with torch.no_grad():
        for linear, (weight, bias) in zip(network[::2], weights, strict=True):
            linear.weight.copy_(torch.from_numpy(weight.T))
            linear.bias.copy_(torch.from_numpy(bias))


def optimizer_of(workload, parameters):
    from torch import optim

    hyper = workload.hyper
    if workload.optimizer == "sgd_momentum":
        return optim.SGD(parameters, hyper["learning_rate"], hyper["momentum"], fused=True)
    betas = hyper["beta1"], hyper["beta2"]
    return optim.Adam(parameters, hyper["learning_rate"], betas, hyper["epsilon"], fused=True)


def torch_eager(workload, compiled=False):
    import torch

    network, loss_of, optimizer = network_of(workload)

    def forward(x, y):
        return loss_of(network(x), y)

    forward = torch.compile(forward) if compiled else forward

    def step(x, y):
        optimizer.zero_grad()
        loss = forward(x, y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    batches = [tuple(map(torch.from_numpy, batch)) for batch in workload.batches()]
    return stepwise(step, cycle(batches))


def torch_compiled(workload):
    """Forward pass and loss compiled, and with them the backward pass."""
    return torch_eager(workload, compiled=True)
