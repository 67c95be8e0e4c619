"""A recipe becomes an image: what is in it, and that equal input gives an equal image."""

import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from kfunc.errors import BuildError, StartupError
from kfunc.images.building import Product, build
from kfunc.images.platforms import PLATFORMS
from kfunc.images.recipes import Libraries, Recipe
from kfunc.images.store import Store
from kfunc.images.transport import Transport, Trust
from tests.images.fakes import Quiet, write_base, write_wheel

AMD64, ARM64 = PLATFORMS["linux/amd64"], PLATFORMS["linux/arm64"]


def function(folder: Path) -> Path:
    """A function with code of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "handler.py").write_text("import json\nNAMES = {'a', 'b', 'c'}\n\ndef predict(inputs):\n    return inputs\n")
    (folder / "weights.npy").write_bytes(b"\x93NUMPY" * 1000)
    return folder


def recipe(folder: Path, base: str, **more: Any) -> Recipe:
    """The recipe of that function."""
    made = Recipe(
        name="greeter", base=base, platforms=(AMD64,), libraries=Libraries(), folder=folder, models=(folder / "handler.py",),
        has_code=True,
    )  # fmt: skip
    return replace(made, **more)


def made(wanted: Recipe, store: Store, environ: dict[str, str], reporter: Quiet | None = None) -> Product:
    with Transport(Trust(), environ) as transport:
        return build(wanted, store, transport, reporter or Quiet(), environ)


def files(product: Product, number: int = 0) -> dict[str, str]:
    """The image's own files, by the layer that they are in."""
    found: dict[str, str] = {}
    for layer in product.images[number].layers:
        with tarfile.open(layer.blob.path) as archive:
            found |= {member.name: layer.created_by for member in archive if not member.isdir()}
    return found


def config(product: Product, number: int = 0) -> dict[str, Any]:
    value: dict[str, Any] = msgspec.json.decode(product.images[number].config.path.read_bytes())
    return value


def test_packages_kfunc_weights_and_code_are_layers_of_their_own(
    tmp_path: Path, warm: Store, base: str, environ: dict[str, str]
) -> None:
    found = files(made(recipe(function(tmp_path / "f"), base), warm, environ))
    assert found["opt/kfunc/lib/msgspec.py"] == "dependencies"
    assert found["opt/kfunc/lib/kfunc/handlers/main.py"].startswith("kfunc ")
    assert found["function/weights.npy"] == "weights"
    assert found["function/handler.py"] == "code"


def test_every_module_is_compiled(tmp_path: Path, warm: Store, base: str, environ: dict[str, str]) -> None:
    found = files(made(recipe(function(tmp_path / "f"), base), warm, environ))
    modules = [path for path in found if path.endswith(".py")]
    wanted = {path.replace(path.rpartition("/")[2], f"__pycache__/{Path(path).stem}.cpython-311.pyc") for path in modules}
    assert wanted - found.keys() == set()


def test_two_builds_in_other_folders_at_other_times_give_the_same_image(
    tmp_path: Path, base: str, environ: dict[str, str]
) -> None:
    digests = []
    for number, place in enumerate(("a", "another/folder")):
        folder = function(tmp_path / place)
        os.utime(folder / "handler.py", (number * 10**9, number * 10**9))
        digests.append(made(recipe(folder, base), Store(tmp_path / f"cache-{number}"), environ).root.digest)
    assert digests[0] == digests[1]


def test_a_changed_line_of_code_changes_the_code_layer_alone(
    tmp_path: Path, warm: Store, base: str, environ: dict[str, str]
) -> None:
    folder = function(tmp_path / "f")
    before = made(recipe(folder, base), warm, environ).images[0].layers
    (folder / "handler.py").write_text("def predict(inputs):\n    return {}\n")
    after = made(recipe(folder, base), warm, environ).images[0].layers
    changed = [new.created_by for old, new in zip(before, after, strict=True) if old != new]
    assert changed == ["code"]


def test_the_second_build_takes_the_packages_from_before(
    tmp_path: Path, warm: Store, base: str, environ: dict[str, str]
) -> None:
    wanted, reporter = recipe(function(tmp_path / "f"), base), Quiet()
    made(wanted, warm, environ)
    made(wanted, warm, environ, reporter)
    assert any(line.endswith("packages, as before") for line in reporter.lines)


def test_it_runs_as_a_user_without_rights_in_the_functions_folder(
    tmp_path: Path, warm: Store, base: str, environ: dict[str, str]
) -> None:
    found = config(made(recipe(function(tmp_path / "f"), base), warm, environ))["config"]
    assert (found["User"], found["WorkingDir"]) == ("65532:65532", "/function")
    assert found["Entrypoint"] == ["python", "-P", "-m", "kfunc.handlers"]
    assert "PYTHONPATH=/opt/kfunc/lib" in found["Env"]
    assert "PATH=/usr/local/bin:/opt/kfunc/bin" in found["Env"]
    assert found["Labels"] == {"of": "base", "org.opencontainers.image.title": "greeter"}


def test_the_base_comes_first_and_the_configuration_counts_all_layers(
    tmp_path: Path, warm: Store, base: str, environ: dict[str, str]
) -> None:
    product = made(recipe(function(tmp_path / "f"), base), warm, environ)
    manifest = msgspec.json.decode(product.root.path.read_bytes())
    assert len(manifest["layers"]) == len(config(product)["rootfs"]["diff_ids"]) == 5
    assert manifest["layers"][0]["digest"] == product.images[0].base.layers[0].digest


def test_several_platforms_make_an_index(tmp_path: Path, warm: Store, base: str, environ: dict[str, str]) -> None:
    product = made(recipe(function(tmp_path / "f"), base, platforms=(AMD64, ARM64)), warm, environ)
    index = msgspec.json.decode(product.root.path.read_bytes())
    assert [each["platform"]["architecture"] for each in index["manifests"]] == ["amd64", "arm64"]
    assert [config(product, number)["architecture"] for number in (0, 1)] == ["amd64", "arm64"]


def test_each_platform_gets_its_own_wheels(tmp_path: Path, warm: Store, base: str, environ: dict[str, str]) -> None:
    folder = function(tmp_path / "f")
    for machine in ("x86_64", "aarch64"):
        content = {"native.so": machine.encode()}
        write_wheel(folder / "wheels", "native", "1.0", content, f"cp311-cp311-manylinux_2_28_{machine}")
    (folder / "requirements.txt").write_text("native==1.0\n")
    libraries = Libraries(file=folder / "requirements.txt", wheels=folder / "wheels")
    product = made(recipe(folder, base, platforms=(AMD64, ARM64), libraries=libraries), warm, environ)
    natives = []
    for image in product.images:
        with tarfile.open(image.layers[0].blob.path) as archive:
            natives.append(archive.extractfile("opt/kfunc/lib/native.so").read())  # type: ignore[union-attr]
    assert natives == [b"x86_64", b"aarch64"]


def test_a_requirement_for_another_machine_is_left_out(tmp_path: Path, warm: Store, base: str, environ: dict[str, str]) -> None:
    folder = function(tmp_path / "f")
    write_wheel(folder / "wheels", "only-arm", "1.0")
    (folder / "requirements.txt").write_text("only-arm; platform_machine == 'aarch64'\n")
    libraries = Libraries(file=folder / "requirements.txt", wheels=folder / "wheels")
    product = made(recipe(folder, base, platforms=(AMD64, ARM64), libraries=libraries), warm, environ)
    assert ["opt/kfunc/lib/only_arm.py" in files(product, number) for number in (0, 1)] == [False, True]


def test_a_requirement_for_a_release_of_python_is_asked_of_the_bases(
    tmp_path: Path, warm: Store, base: str, environ: dict[str, str]
) -> None:
    folder = function(tmp_path / "f")
    write_wheel(folder / "wheels", "fixed", "1.0", metadata="Requires-Python: !=3.11.0\n")
    libraries = Libraries(packages=("fixed; python_full_version >= '3.11.4'",), wheels=folder / "wheels")
    assert "opt/kfunc/lib/fixed.py" in files(made(recipe(folder, base, libraries=libraries), warm, environ))


def test_wheels_for_a_newer_glibc_are_taken_where_the_base_has_it(
    tmp_path: Path, warm: Store, base: str, environ: dict[str, str]
) -> None:
    folder = function(tmp_path / "f")
    write_wheel(folder / "wheels", "newer", "1.0", tag="cp311-cp311-manylinux_2_34_x86_64")
    libraries = Libraries(packages=("newer",), wheels=folder / "wheels", glibc="2.36")
    assert "opt/kfunc/lib/newer.py" in files(made(recipe(folder, base, libraries=libraries), warm, environ))
    with pytest.raises(BuildError, match="no wheel of newer"):
        made(recipe(folder, base, libraries=replace(libraries, glibc="2.33")), warm, environ)


def test_the_functions_own_version_of_a_package_wins(tmp_path: Path, warm: Store, base: str, environ: dict[str, str]) -> None:
    folder = function(tmp_path / "f")
    write_wheel(folder / "wheels", "orjson", "3.99")
    (folder / "requirements.txt").write_text("orjson==3.99\n")
    libraries = Libraries(file=folder / "requirements.txt", wheels=folder / "wheels")
    assert "opt/kfunc/lib/orjson-3.99.dist-info/METADATA" in files(
        made(recipe(folder, base, libraries=libraries), warm, environ)
    )


def test_requirements_that_kfuncs_pins_contradict_get_other_versions_and_it_is_said(
    tmp_path: Path, warm: Store, base: str, environ: dict[str, str]
) -> None:
    folder, reporter = function(tmp_path / "f"), Quiet()
    write_wheel(folder / "wheels", "needy", "1.0", metadata="Requires-Dist: orjson==3.99\n")
    write_wheel(folder / "wheels", "orjson", "3.99")
    libraries = Libraries(packages=("needy",), wheels=folder / "wheels")
    made(recipe(folder, base, libraries=libraries), warm, environ, reporter)
    assert "note: the requirements want other versions of orjson than kfunc pins: theirs are taken" in reporter.lines


def test_a_package_without_a_wheel_is_named_with_what_to_do(
    tmp_path: Path, warm: Store, base: str, environ: dict[str, str]
) -> None:
    libraries = Libraries(packages=("absent==2",))
    with pytest.raises(
        BuildError, match=r"no wheel of absent==2 for linux/amd64, Python 3\.11 and glibc 2\.28.*build\.glibc.*pip wheel"
    ):
        made(recipe(function(tmp_path / "f"), base, libraries=libraries), warm, environ)


def test_nothing_of_the_function_is_imported(tmp_path: Path, warm: Store, base: str, environ: dict[str, str]) -> None:
    folder = function(tmp_path / "f")
    (folder / "handler.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w')\nraise SystemExit(1)\n")
    made(recipe(folder, base), warm, environ)
    assert not (tmp_path / "imported").exists()


def test_a_module_that_no_python_reads_goes_in_uncompiled(
    tmp_path: Path, warm: Store, base: str, environ: dict[str, str]
) -> None:
    folder = function(tmp_path / "f")
    (folder / "template.py").write_text("print {{ name }}\n")
    found = files(made(recipe(folder, base), warm, environ))
    assert "function/template.py" in found
    assert "function/__pycache__/template.cpython-311.pyc" not in found


def test_an_image_of_weights_holds_them_below_models_and_nothing_else(
    tmp_path: Path, warm: Store, environ: dict[str, str]
) -> None:
    folder = function(tmp_path / "f")
    wanted = Recipe(name="w", base="scratch", platforms=(AMD64,), folder=folder, models=(folder / "weights.npy",))
    assert files(made(wanted, warm, environ)) == {"models/weights.npy": "weights"}


def test_the_list_of_contents_names_packages_weights_and_base(
    tmp_path: Path, warm: Store, base: str, environ: dict[str, str]
) -> None:
    product = made(recipe(function(tmp_path / "f"), base), warm, environ)
    document = json.loads(product.images[0].sbom.path.read_bytes())
    kinds = {component["name"]: component["type"] for component in document["components"]}
    assert (kinds["msgspec"], kinds["kfunc"], kinds["function/weights.npy"]) == ("library", "library", "machine-learning-model")
    assert kinds[base] == "container"
    references = {component["bom-ref"] for component in document["components"]} | {document["metadata"]["component"]["bom-ref"]}
    used = {ref for each in document["dependencies"] for ref in (each["ref"], *each["dependsOn"])}
    assert used <= references


@pytest.mark.parametrize(
    ("variables", "platforms", "message"),
    [
        (("PATH=/bin",), ("amd64",), "does not say which Python it has: give --python"),
        (("PYTHON_VERSION=3.11.1",), ("arm64",), "is for linux/arm64 and not for linux/amd64"),
    ],
)
def test_a_base_that_does_not_fit_is_refused(
    tmp_path: Path, warm: Store, environ: dict[str, str], variables: tuple[str, ...], platforms: tuple[str, ...], message: str
) -> None:
    other = write_base(tmp_path / "other", *platforms, variables=variables)
    with pytest.raises(StartupError, match=message):
        made(recipe(function(tmp_path / "f"), f"oci:{other}"), warm, environ)


def test_a_python_that_the_base_does_not_have_is_refused(
    tmp_path: Path, warm: Store, base: str, environ: dict[str, str]
) -> None:
    with pytest.raises(StartupError, match=r"has Python 3\.11, not 3\.12: leave --python"):
        made(recipe(function(tmp_path / "f"), base, python="3.12"), warm, environ)


def test_a_python_that_is_not_here_costs_the_compiled_modules_and_it_is_said(
    tmp_path: Path, warm: Store, environ: dict[str, str]
) -> None:
    other, reporter = write_base(tmp_path / "other", variables=("PYTHON_VERSION=3.98.1",)), Quiet()
    found = files(made(recipe(function(tmp_path / "f"), f"oci:{other}"), warm, environ, reporter))
    assert not any(path.endswith(".pyc") for path in found)
    assert any("there is no python3.98 here" in line for line in reporter.lines)


def test_a_base_whose_layer_is_damaged_is_refused(tmp_path: Path, warm: Store, environ: dict[str, str]) -> None:
    other = write_base(tmp_path / "other")
    product = made(recipe(function(tmp_path / "f"), f"oci:{other}"), warm, environ)
    layer = product.images[0].base.layers[0]
    (other / "blobs" / layer.digest.replace(":", "/")).write_bytes(b"other")
    with pytest.raises(BuildError, match="damaged"):
        product.images[0].all_layers()


def test_a_folder_that_is_no_layout_is_refused(tmp_path: Path, warm: Store, environ: dict[str, str]) -> None:
    with pytest.raises(StartupError, match="is no OCI layout"):
        made(recipe(function(tmp_path / "f"), f"oci:{tmp_path}"), warm, environ)
    shutil.rmtree(tmp_path / "f")
