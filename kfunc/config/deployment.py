"""How the pod of a function is made on the cluster: structs of the `inference` block that the pod itself never sees."""

from typing import Literal

Mode = Literal["knative", "raw"]
