"""Run by the Python of the image's version, alone: compiles what standard input names, as unchecked hash-based .pyc (PEP 552).

Each line is a JSON list: the path in the image, the .pyc's path, a file, and a name in it if it is a zip archive.
They become members of the zip archive that is the first argument. Nothing of kfunc is imported.
"""

import importlib.util
import json
import marshal
import sys
import zipfile

UNCHECKED = (1).to_bytes(4, "little")
"""The flags of PEP 552: bound to the source's hash, which nobody checks."""


def main() -> None:
    archives: dict[str, zipfile.ZipFile] = {}
    with zipfile.ZipFile(sys.argv[1], "w") as made:
        for line in sys.stdin:
            path, target, file, name = json.loads(line)
            if name:
                if file not in archives:
                    archives[file] = zipfile.ZipFile(file)
                source = archives[file].read(name)
            else:
                with open(file, "rb") as opened:
                    source = opened.read()
            try:
                code = compile(source, path, "exec", dont_inherit=True, optimize=0)
            except (SyntaxError, ValueError, RecursionError):
                continue  # a template, or for another version of Python: it is imported by nobody
            digest = importlib.util.source_hash(source)
            data = importlib.util.MAGIC_NUMBER + UNCHECKED + digest + marshal.dumps(code)
            made.writestr(zipfile.ZipInfo(target), data)


main()
