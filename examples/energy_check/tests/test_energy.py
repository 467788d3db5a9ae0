"""Does a forward pass cost more than it did, or more than it must?"""

import numpy as np
from tinynet import TinyNet

NET = TinyNet()
INPUTS = np.random.default_rng(1).normal(size=(32, 64)).astype(np.float32)


def plain() -> np.ndarray:
    """Do what the network does, in the plainest loop that does it."""
    hidden = INPUTS
    for weights in NET.weights:
        hidden = np.maximum(hidden @ weights, 0)
    return hidden


def test_both_give_the_same():
    np.testing.assert_array_equal(NET.forward(INPUTS), plain())


def test_the_network_costs_no_more_than_a_plain_loop(joules):
    joules.pair(plain, lambda: NET.forward(INPUTS))


def test_a_forward_pass_costs_no_more_than_on_the_base(joules):
    joules.measure(lambda: NET.forward(INPUTS))
