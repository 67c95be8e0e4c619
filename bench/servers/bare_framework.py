"""What a handler cannot do without: import the framework, open the model, run it once, say so. `FRAMEWORK MODEL`."""

import sys

import numpy as np


def main(framework: str, model: str) -> None:
    """Print a line when the model has answered."""
    rows = np.zeros((1, 4), np.float32)
    if framework == "torch":
        import torch

        with torch.inference_mode():
            torch.jit.load(model)(torch.from_numpy(rows))
    else:
        import tensorflow as tf

        tf.saved_model.load(model).signatures["serving_default"](tf.constant(rows))
    print("ready", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
