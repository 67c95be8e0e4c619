"""What is known of a machine's accelerators. Values only."""

from typing import Literal

from msgspec import Struct

Vendor = Literal["nvidia", "amd", "intel", "apple"]
Version = tuple[int, int]


class Gpu(Struct, frozen=True):
    """A GPU, or an instance of a partitioned one (MIG), which has its `parent`'s UUID."""

    vendor: Vendor
    name: str
    uuid: str = ""
    memory_bytes: int = 0
    capability: Version | None = None
    """NVIDIA's compute capability."""
    parent: str = ""


class Facts(Struct, frozen=True):
    """What a probe has found: the GPUs that this process may use, and of the vendors without one, why there is none."""

    gpus: tuple[Gpu, ...] = ()
    absent: dict[Vendor, str] = {}
    driver: str = ""
    """NVIDIA's driver, as 570.124.06."""
    cuda: Version | None = None
    """The newest CUDA that the driver says it runs."""
    compat: bool = False
    """Whether a newer CUDA's driver library (forward compatibility) is installed beside the driver."""

    def of(self, vendor: str) -> tuple[Gpu, ...]:
        """A vendor's GPUs."""
        return tuple(gpu for gpu in self.gpus if gpu.vendor == vendor)


def version_of(text: str) -> Version | None:
    """The first two numbers of a version; None where there are none."""
    parts = text.split(".")
    try:
        return int(parts[0]), int(parts[1]) if len(parts) > 1 else 0
    except ValueError:
        return None


def show(version: Version) -> str:
    """A version as people write it."""
    return f"{version[0]}.{version[1]}"
