"""How answers are explained: the block `explain` of func.yaml."""

from typing import Annotated, Literal

from msgspec import Meta

from kfunc.config.block import Block

Method = Literal["shap-tree", "shap-linear", "shap-kernel", "lime", "captum"]
Attribution = Literal["integrated-gradients", "saliency", "input-x-gradient", "deep-lift", "feature-ablation"]

NEED_ROWS = ("shap-linear", "shap-kernel", "lime")
"""Methods that compare with usual rows."""


class Explain(Block, frozen=True, kw_only=True):
    """What V1's `:explain` and V2's `/explain` answer with."""

    method: Annotated[
        Method, Meta(description="SHAP for trees, for linear models or for any; LIME; captum for PyTorch's models.")
    ]
    background: Annotated[
        str,
        Meta(description="File of usual rows (.npy, .csv), relative to func.yaml; shap-linear, shap-kernel and lime need it."),
    ] = ""
    background_rows: Annotated[int, Meta(ge=1, le=10_000, description="Most rows of it that are used, evenly chosen.")] = 100
    samples: Annotated[
        int, Meta(ge=10, le=1_000_000, description="Rows that shap-kernel and lime ask the model about, for one explained.")
    ] = 500
    seed: Annotated[
        int,
        Meta(ge=0, le=4_294_967_295, description="What shap-kernel and lime draw these with: the same one, the same answer."),
    ] = 0
    output: Annotated[str, Meta(description="Output that is explained; predict_proba, else the first, by default.")] = ""
    lazy: Annotated[
        bool, Meta(description="Ready sooner: the first question, not the start, imports the library and builds the explainer.")
    ] = False
    attribution: Annotated[Attribution, Meta(description="captum's algorithm.")] = "integrated-gradients"
