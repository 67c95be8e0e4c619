"""The Flask application of the page: one document and its files. What changes it asks for itself, as JSON."""

from flask import Flask, Response, render_template

import kfunc
from kfunc.config.pod import PodConfig

# Nothing from elsewhere, nothing inline: text that a model or a caller made cannot become a script.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-cache",
}


def make_app(config: PodConfig) -> Flask:
    """The page of one function."""
    app = Flask("kfunc.pages", static_url_path="/page", static_folder="static", template_folder="templates")
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = None
    told = {
        "function": config.function,
        "namespace": config.namespace,
        "model": config.model.name,
        "protocols": config.protocols,
        "version": kfunc.__version__,
        "batcher": config.batcher is not None,
        "logger": config.logger is not None,
    }

    @app.get("/")
    def page() -> str:
        return render_template("page.html", **told)

    @app.after_request
    def protect(response: Response) -> Response:
        for name, value in HEADERS.items():
            response.headers[name] = value
        return response

    return app
