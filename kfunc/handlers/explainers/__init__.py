"""Explanations of loaded models, by SHAP, LIME and captum: one file each, imported by the first question."""
