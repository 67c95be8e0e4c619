"""The floor under the handler's start: import onnxruntime, open the session, say so.

`python bare_session.py MODEL` prints the model's first input as JSON.
"""

import sys

import onnxruntime as ort

options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
first = session.get_inputs()[0]
print(f'{{"name": "{first.name}", "columns": {first.shape[1]}}}', flush=True)
