"""Explanations of loaded models, by SHAP, LIME and captum: one file each, imported where func.yaml asks for it."""
