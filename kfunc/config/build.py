"""How the function's image is made by `kfunc build`: a block that the pod never sees."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType, field

from kfunc.config.block import Block

PlatformName = Literal["linux/amd64", "linux/arm64"]
PythonVersion = Annotated[
    str,
    Meta(
        pattern=r"^3\.(1[1-9]|[2-9][0-9])$",
        extra_json_schema={
            "patternErrorMessage": 'expected a version of Python from 3.11 on, such as "3.12" (with its quotes)'
        },
    ),
]
GlibcVersion = Annotated[
    str,
    Meta(
        pattern=r"^2\.(1[7-9]|[2-9][0-9])$",
        extra_json_schema={"patternErrorMessage": 'expected a version of glibc from 2.17 on, such as "2.36" (with its quotes)'},
    ),
]


class ImageBuild(Block, frozen=True):
    """How the image is made."""

    base: Annotated[str, Meta(description="Image that it stands on, with Python in it; build.baseImage if absent.")] = ""
    cuda_base: Annotated[str, Meta(description="The same for the variant with CUDA; `base` if absent.")] = ""
    python: Annotated[PythonVersion, Meta(description="The base's Python, where the base does not say it.")] | UnsetType = UNSET
    glibc: Annotated[
        GlibcVersion,
        Meta(description="The base's glibc; wheels for newer ones are not taken. Debian 12 has 2.36."),
    ] = "2.28"
    platforms: Annotated[
        list[PlatformName],
        Meta(
            min_length=1,
            max_length=2,
            description="Platforms of the image; several make an index.",
            extra_json_schema={"default": ["linux/amd64"]},
        ),
    ] = field(default_factory=lambda: ["linux/amd64"])
    packages: Annotated[
        list[str], Meta(description="Requirements beside those of requirements.txt, as `transformers==4.57`.")
    ] = []
