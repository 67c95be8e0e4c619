"""Where things are in an image. Pure."""

HOME = "opt/kfunc"
LIBRARIES = f"{HOME}/lib"
PROGRAMS = f"{HOME}/bin"
FUNCTION = "function"
"""The function's folder, the working directory."""
MODELS = "models"
"""Of a weights-only image: where KServe's modelcars have them."""
USER = 65532
