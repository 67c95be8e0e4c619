"""`kfunc convert`: models of other libraries as ONNX, checked against what they were made from. Never loads in the pod."""
