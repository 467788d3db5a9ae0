"""A small network in numpy: a hundred layers of 64 neurons."""

import numpy as np

LAYERS, WIDTH = 100, 64

EXTRA_LAYERS = 0
"""The planted regression: layers whose outputs are thrown away. 20 of them are 20 % more work."""


class TinyNet:
    """Linear layers with ReLU between them.

    Args:
        seed: Of its weights.
    """

    def __init__(self, seed: int = 0) -> None:
        draw = np.random.default_rng(seed)
        scale = np.sqrt(2 / WIDTH)
        self.weights = draw.normal(0, scale, (LAYERS, WIDTH, WIDTH)).astype(np.float32)

    def forward(self, inputs: np.ndarray) -> np.ndarray:
        """Return the outputs, of shape ``(batch, 64)`` as the inputs."""
        hidden = inputs
        for index in range(LAYERS + EXTRA_LAYERS):
            outputs = np.maximum(hidden @ self.weights[index % LAYERS], 0)
            if index < LAYERS:
                hidden = outputs
        return hidden
