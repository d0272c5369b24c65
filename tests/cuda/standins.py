"""Builds stand-ins for CUDA's libraries, on which ONNX Runtime's own CUDA provider opens and runs files.

They show which nodes get a CUDA kernel, what is copied, waited for and set, and what is said when something
is missing. They compute nothing: answers and times mean nothing.
"""

import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).parent
HEADERS = Path("/usr/local/cuda/include")
SOURCES = {
    "libcudart.so.13": "cudart.c",
    "libcublas.so.13": "cublas.c",
    "libcublasLt.so.13": "cublasLt.c",
    "libcudnn.so.9": "cudnn.c",
}


def why_not() -> str | None:
    """What is missing for building them, else None."""
    import onnxruntime

    for tool in ("gcc", "nm"):
        if shutil.which(tool) is None:
            return f"no {tool}"
    if not (HEADERS / "driver_types.h").exists():
        return f"no CUDA headers in {HEADERS}"
    if not _provider().exists():
        return "this onnxruntime has no CUDA provider"
    if not onnxruntime.cuda_version.startswith("13."):
        return f"the stand-ins are those of CUDA 13, not of {onnxruntime.cuda_version}"
    return None


def build(folder: Path) -> None:
    """Compile one library for each that the provider needs."""
    for library, names in _needed().items():
        source = HERE / SOURCES[library] if library in SOURCES else None
        written = source.read_text(encoding="utf-8") if source else ""
        rest = [name for name in sorted(names) if f"{name}(" not in written]
        code = folder / f"{library}.c"
        functions = [_succeeding(name) for name in rest]
        code.write_text("\n".join(["void standin_log(const char *);", *functions, ""]), encoding="utf-8")
        command = ["gcc", "-shared", "-fPIC", "-O1", "-w", "-std=gnu17", f"-I{HEADERS}"]
        command += ["-o", library, str(code), *([str(source)] if source else []), f"-Wl,-soname,{library}"]
        if library in VERSIONED:  # as NVIDIA's are: every symbol has the library's name as its version
            script = folder / f"{library}.map"
            script.write_text(f"{library} {{ global: *; }};\n", encoding="utf-8")
            command.append(f"-Wl,--version-script,{script}")
        if library != "libcudart.so.13":
            command += ["-L.", "-l:libcudart.so.13", "-Wl,-rpath,$ORIGIN"]
        subprocess.run(command, check=True, cwd=folder)


def _succeeding(name: str) -> str:
    """A function that writes down its calls, other than those of compiled code to itself."""
    call = "" if name.startswith("__") else f'standin_log("{name}"); '
    return f"int {name}(void) {{ {call}return 0; }}"


VERSIONED = ("libcudart.so.13", "libcublas.so.13", "libcublasLt.so.13")


def _needed() -> dict[str, set[str]]:
    """The functions that the provider takes from each library, libcudart's first."""
    listed = subprocess.run(
        ["nm", "-D", "--undefined-only", _provider()], capture_output=True, text=True, check=True
    )
    needed: dict[str, set[str]] = defaultdict(set, {"libcudart.so.13": set(), "libcurand.so.10": set()})
    for line in listed.stdout.splitlines():
        name, _, version = line.split()[-1].partition("@")
        if version in VERSIONED:
            needed[version].add(name)
        elif re.match(r"cu[A-Z]", name):
            needed["libcuda.so.1"].add(name)
    # cuDNN is loaded while it runs, so its functions are names among the provider's texts.
    texts = re.findall(rb"\0(cudnn[A-Z]\w+)(?=\0)", _provider().read_bytes())
    needed["libcudnn.so.9"] = {name.decode() for name in texts}
    return needed


def _provider() -> Path:
    import onnxruntime

    return Path(onnxruntime.__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"
