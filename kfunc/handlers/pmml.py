"""The runtime for PMML 3 and 4: JPMML's evaluator in a Java virtual machine within this process."""

import pickle
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jpmml_evaluator
import jpype
import numpy as np

from kfunc.errors import InvalidRequest, ModelLoadError
from kfunc.handlers.contract import Handler
from kfunc.handlers.tabular import wanted_outputs
from kfunc.handlers.tensors import texts_of
from kfunc.protocol.messages import TensorSpec

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays

NEWEST = (4, 4)
HEAD_BYTES = 64 * 1024
ROOT = re.compile(rb"<(?:\w+:)?PMML\b[^>]*?\bversion\s*=\s*[\"'](\d+)\.(\d+)", re.DOTALL)
# A document type may name files and addresses, which an XML parser would read. JPMML refuses it, in any encoding; here it is
# told in words.
FORBIDDEN = (b"<!DOCTYPE", b"<!ENTITY")
DATATYPES = {"double": "FP64", "float": "FP32", "integer": "INT64", "boolean": "BOOL"}  # the others are BYTES
DTYPES = {"FP64": np.float64, "FP32": np.float32, "INT64": np.int64, "BOOL": np.bool_}
UTILITY = "org.jpmml.evaluator.python.PythonEvaluatorUtil"
# The process's signals are its own; the rest of the memory is Python's.
OPTIONS = ("-Xrs", "-XX:+UseSerialGC", "-XX:MaxRAMPercentage=50")


class PmmlHandler(Handler):
    """One evaluator, which threads may share. Fields are inputs, targets and output fields are outputs, all of shape [-1]."""

    platform = "pmml"
    exact_datatypes = False

    def load(self, path: Path) -> None:
        """Start Java, read the document, run the checks that it brings. Raises ModelLoadError."""
        _check(path)
        _start_java(path)
        backend = jpmml_evaluator.make_backend("jpype")
        try:
            builder = jpmml_evaluator.LoadingModelEvaluatorBuilder(backend)
            evaluator = builder.loadFile(path).build()
            evaluator.verify()
        except (jpmml_evaluator.JavaError, jpype.JException) as error:
            raise ModelLoadError(f"{path}: JPMML cannot use it: {_reason(error)}") from None
        self._java = evaluator.javaEvaluator
        self._evaluate_all = jpype.JClass(UTILITY).evaluateAll
        self._failures = jpype.JClass("java.lang.Error")
        self.inputs = [TensorSpec(each.name, _datatype(each), [-1]) for each in evaluator.getInputFields()]
        self._take_numbers()
        there = {each.name: _datatype(each) for each in (*evaluator.getTargetFields(), *evaluator.getOutputFields())}
        wanted = wanted_outputs(path, self.config.model.outputs, list(there)) or list(there)
        self.outputs = [TensorSpec(name, there[name], [-1]) for name in wanted]

    def _take_numbers(self) -> None:
        """Where all fields are fractions, a matrix of them does as well."""
        self._names = [spec.name for spec in self.inputs]
        self.is_table = len(self.inputs) > 1
        if {spec.datatype for spec in self.inputs} <= {"FP64", "FP32"}:
            self.columns = tuple(self._names)
            self.inputs = [TensorSpec("input", "FP64", [-1, len(self._names)])]

    def predict(self, inputs: "Arrays") -> "Arrays":
        """Evaluate the rows. Raises InvalidRequest with JPMML's words for a value that a field does not take."""
        if self.columns:
            columns = [_values("input", column) for column in inputs["input"].T]
        else:
            columns = [_values(name, inputs[name]) for name in self._names]
        question = pickle.dumps({"columns": self._names, "data": columns}, protocol=2)
        try:
            answer = pickle.loads(self._evaluate_all(self._java, question, None, -1))  # noqa: S301  (of our own virtual machine)
        except jpype.JException as error:
            if isinstance(error, self._failures):
                raise  # as OutOfMemoryError: not the caller's
            raise InvalidRequest(f"the model cannot be evaluated: {_reason(error)}") from None
        wrong = next((each for each in answer["errors"] or () if each), None)
        if wrong is not None:
            raise InvalidRequest(f"the model does not take a row: {str(wrong).partition(': ')[2] or wrong}")
        found = dict(zip(answer["columns"], answer["data"], strict=True))
        return {spec.name: _array(found.get(spec.name), spec.datatype, len(columns[0])) for spec in self.outputs}


def _datatype(field: Any) -> str:
    return DATATYPES.get(field.dataType, "BYTES")


def _values(name: str, column: Any) -> list[Any]:
    """A column as Python's values; NaN is a missing one, and so is an empty string."""
    if column.dtype == np.object_:
        return [each or None for each in texts_of(name, column)]
    values = column.ravel().tolist()
    return [None if value != value else value for value in values] if column.dtype.kind == "f" else values


def _array(values: Any, datatype: str, rows: int) -> Any:
    """An output's values; what the model does not say of a row is NaN, 0, false or an empty string."""
    values = [None] * rows if values is None else values
    if datatype == "BYTES":
        return np.array(["" if each is None else str(each) for each in values], np.object_)
    missing = np.nan if datatype.startswith("FP") else 0
    return np.array([missing if each is None else each for each in values], DTYPES[datatype])


def _start_java(path: Path) -> None:
    if jpype.isJVMStarted():
        return
    jars = [str(jar) for jar in sorted(Path(jpmml_evaluator.__file__).parent.glob("*/*.jar"))]
    try:
        jpype.startJVM(*OPTIONS, classpath=jars)
    except (jpype.JVMNotFoundException, OSError) as error:
        raise ModelLoadError(
            f"{path}: runtime pmml needs Java 11 or newer: install a Java runtime, or set JAVA_HOME ({error})"
        ) from None


def _check(path: Path) -> None:
    """The root element, its version, and nothing that makes a parser read other files."""
    with path.open("rb") as file:
        content = file.read()
    found = ROOT.search(content[:HEAD_BYTES])
    if found is None:
        raise ModelLoadError(f"{path}: is no PMML: there is no element PMML with a version at its beginning")
    if (int(found[1]), int(found[2])) > NEWEST:
        version = f"{int(found[1])}.{int(found[2])}"
        raise ModelLoadError(f"{path}: is PMML {version}, newer than {'.'.join(map(str, NEWEST))}: save it as that")
    if any(each in content for each in FORBIDDEN):
        raise ModelLoadError(f"{path}: has a document type or entities, which PMML does not need: remove them")


def _reason(error: Exception) -> str:
    """The last words of a chain of Java's exceptions, in one line."""
    text = " ".join(str(error).split())
    return re.sub(r"^(?:[\w.$]+(?:Exception|Error): )+", "", text)[:300]
