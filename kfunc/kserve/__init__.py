"""KServe's InferenceService → func.yaml. Pure: documents in, documents and what is to be said of them out."""
