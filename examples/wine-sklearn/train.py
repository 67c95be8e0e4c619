"""Train the wine classifier and save it as model.skops beside this file: `python examples/wine-sklearn/train.py`.

skops, not pickle: the file holds data only, so that loading it cannot run code.
"""

from pathlib import Path
from zipfile import ZIP_DEFLATED

import numpy as np
import skops.io
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

MODEL = Path(__file__).with_name("model.skops")


def main() -> None:
    data = load_wine()
    classifier = make_pipeline(StandardScaler(), LogisticRegression())
    scores = cross_val_score(classifier, data.data, data.target, cv=5)
    classifier.fit(data.data, data.target)
    skops.io.dump(classifier, MODEL, compression=ZIP_DEFLATED)
    unknown = skops.io.get_untrusted_types(file=MODEL)
    if unknown:
        raise SystemExit(f"the file needs types that skops does not trust: {', '.join(unknown)}")
    if not np.array_equal(skops.io.load(MODEL).predict(data.data), classifier.predict(data.data)):
        raise SystemExit("the saved model does not predict what the trained one predicts")
    accuracy = classifier.score(data.data, data.target)
    print(f"accuracy: {scores.mean():.3f} (5-fold cross-validation), {accuracy:.3f} (all 178 wines)")
    print(f"wrote {MODEL.name}, {MODEL.stat().st_size} bytes")


if __name__ == "__main__":
    main()
