"""Train the iris classifier and export it to model.onnx beside this file: `python examples/iris/train.py`.

The same versions of the libraries (constraints/examples.txt) write the same bytes.
"""

from pathlib import Path

import numpy as np
import onnxruntime
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

MODEL = Path(__file__).with_name("model.onnx")
TARGET_OPSET = 20  # any onnxruntime from 1.17 on reads it


def export(classifier: Pipeline) -> bytes:
    """The ONNX file: `input` FP32 [-1, 4] to `label` INT64 [-1] and `probabilities` FP32 [-1, 3]."""
    model = to_onnx(
        classifier,
        name="iris",
        initial_types=[("input", FloatTensorType([None, 4]))],
        options={"zipmap": False},
        target_opset=TARGET_OPSET,
    )
    content: bytes = model.SerializeToString()
    return content


def largest_difference(content: bytes, classifier: Pipeline, rows: np.ndarray) -> float:
    """Largest difference in any probability between the ONNX file and scikit-learn; 1.0 if a label differs."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    labels, probabilities = session.run(["label", "probabilities"], {"input": rows})
    if not np.array_equal(labels, classifier.predict(rows)):
        return 1.0
    return float(np.abs(probabilities - classifier.predict_proba(rows)).max())


def main() -> None:
    data = load_iris()
    rows = data.data.astype(np.float32)
    classifier = make_pipeline(StandardScaler(), LogisticRegression())
    scores = cross_val_score(classifier, rows, data.target, cv=5)
    classifier.fit(rows, data.target)
    content = export(classifier)
    difference = largest_difference(content, classifier, rows)
    if difference > 1e-5:
        raise SystemExit(f"the ONNX file does not compute what scikit-learn computes: difference {difference:.2g}")
    MODEL.write_bytes(content)
    print(
        f"accuracy: {scores.mean():.3f} (5-fold cross-validation), {classifier.score(rows, data.target):.3f} (all 150 flowers)"
    )
    print(f"ONNX against scikit-learn: same labels, probabilities within {difference:.1g}")
    print(f"wrote {MODEL.name}, {len(content)} bytes")


if __name__ == "__main__":
    main()
