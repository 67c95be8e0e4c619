"""Great-circle distance between pairs of places, in kilometres."""

import numpy as np

from kfunc import TensorSpec

EARTH_RADIUS_KM = 6371.0088  # mean radius (IUGG)

inputs = [TensorSpec("origin", "FP64", [-1, 2]), TensorSpec("destination", "FP64", [-1, 2])]
outputs = [TensorSpec("kilometres", "FP64", [-1])]


def predict(origin: np.ndarray, destination: np.ndarray) -> np.ndarray:
    """Haversine formula; each row is latitude and longitude in degrees."""
    latitude, longitude = np.radians(origin).T
    other_latitude, other_longitude = np.radians(destination).T
    haversine = (
        np.sin((other_latitude - latitude) / 2) ** 2
        + np.cos(latitude) * np.cos(other_latitude) * np.sin((other_longitude - longitude) / 2) ** 2
    )
    kilometres: np.ndarray = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(haversine))
    return kilometres
